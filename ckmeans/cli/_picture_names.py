"""Which files ``ckmeans quantize`` writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["STANDARD", "output_names"]

STANDARD = "-"  # standard input or output


def output_names(
    photos: Sequence[str], output: str | None, sizes: Sequence[int], several: bool
) -> list[list[str]]:
    """Return the names that each photo's results are written to, one for each size.

    Parameters
    ----------
    photos : sequence of str
        The inputs.
    output : str or None
        What ``-o`` says: a name, a folder, standard output, or nothing.
    sizes : sequence of int
        Numbers of colours.
    several : bool
        Whether the size becomes part of a name that was given.

    Raises
    ------
    ValueError
        If an input or another output would be overwritten, or if names do not fit the inputs.
    """
    if list(photos).count(STANDARD) > 1:
        raise ValueError("standard input (-) can be given only once")
    if output is None and list(photos) == [STANDARD]:
        output = STANDARD
    if output == STANDARD:
        return _standard_output(photos, sizes)
    in_folder = output is not None and (
        output.endswith(("/", os.sep)) or (len(photos) > 1 and os.path.isdir(output))
    )
    if output is not None and not in_folder:
        if len(photos) > 1:
            raise ValueError(f"-o must be a folder for {len(photos)} pictures, found {output!r}")
        return [[_with_size(output, K) for K in sizes] if several else [output]]
    names = []
    for photo in photos:
        folder, file = os.path.split("stdin.png" if photo == STANDARD else photo)
        base = os.path.splitext(os.path.join(folder if output is None else output, file))[0]
        names.append([_with_size(f"{base}.png", K) for K in sizes])
    _reject_collisions(photos, names)
    return names


def _standard_output(photos: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    if len(photos) * len(sizes) > 1:
        raise ValueError(f"-o - takes one picture, found {len(photos) * len(sizes)} to write")
    if sys.stdout is None or sys.stdout.isatty():
        raise ValueError("a picture is not written to a terminal: redirect the output, or name it with -o")
    return [[STANDARD]]


def _with_size(name: str, K: int) -> str:
    return f"-{K}".join(os.path.splitext(name))


def _reject_collisions(photos: Sequence[str], names: list[list[str]]) -> None:
    inputs = {os.path.realpath(photo) for photo in photos}
    taken: dict[str, str] = {}
    for photo, outputs in zip(photos, names, strict=True):
        for name in outputs:
            place = os.path.realpath(name)
            if place in inputs:
                raise ValueError(f"{name} is one of the inputs: name the output with -o")
            if place in taken:
                raise ValueError(f"{taken[place]} and {photo} would both be written to {name}")
            taken[place] = photo
