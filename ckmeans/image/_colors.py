"""Colour codes: the distinct colours of an image, counted, and labels of colours mapped to pixels.

A colour code is 0xRRGGBB or 0xRRGGBBAA. Pixels are processed in strips of rows, so that an image of any
size needs little memory beyond its own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ckmeans.image._types import Bytes, Integers

__all__ = ["count_colors", "decode_colors", "expand_labels", "merge_counts", "strips"]

STRIP_PIXELS = 1 << 20  # pixels of a strip
TABLE_PIXELS = 1 << 21  # pixels of an image from which a table of all 2**24 colours is faster than sorting


def strips(pixels: Bytes) -> Iterator[slice]:
    """Yield the slices of rows of each strip."""
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    for start in range(0, pixels.shape[0], rows):
        yield slice(start, start + rows)


def _encode_colors(pixels: Bytes) -> Integers:
    """Return the colour code of each pixel."""
    codes = pixels[..., 0].astype(np.int64)
    for channel in range(1, pixels.shape[2]):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def _uses_table(pixels: Bytes) -> bool:
    height, width, channels = pixels.shape
    return bool(channels == 3 and height * width >= TABLE_PIXELS)


def count_colors(pixels: Bytes) -> tuple[Integers, Integers]:
    """Return the distinct colour codes (u,), ascending, and the number of pixels of each (u,)."""
    if _uses_table(pixels):
        table = np.zeros(1 << 24, dtype=np.int64)
        one = np.int64(1)  # not a Python int: with it add.at is ten times slower
        for rows in strips(pixels):
            np.add.at(table, _encode_colors(pixels[rows]).ravel(), one)
        codes = np.flatnonzero(table).astype(np.int64, copy=False)
        return codes, table[codes]
    parts = [
        np.unique(_encode_colors(pixels[rows]).astype(np.uint32), return_counts=True)
        for rows in strips(pixels)
    ]
    return merge_counts(parts)


def merge_counts(parts: list[tuple[Any, Any]]) -> tuple[Integers, Integers]:
    """Return the distinct codes of several parts, ascending, and the sums of their counts."""
    codes, inverse = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(codes.size, dtype=np.int64)
    np.add.at(counts, inverse, np.concatenate([part[1] for part in parts]).astype(np.int64))
    return codes.astype(np.int64), counts


def decode_colors(codes: Integers, channels: int) -> Bytes:
    """Return the colours (u, channels) of the codes (u,)."""
    shifts = 8 * np.arange(channels - 1, -1, -1)
    return ((codes[:, None] >> shifts) & 255).astype(np.uint8)


def expand_labels(pixels: Bytes, codes: Integers, labels: Bytes) -> Bytes:
    """Return the label of each pixel (h, w), given the labels (u,) of the distinct colours."""
    expanded = np.empty(pixels.shape[:2], dtype=np.uint8)
    if _uses_table(pixels):
        table = np.zeros(1 << 24, dtype=np.uint8)
        table[codes] = labels
        for rows in strips(pixels):
            expanded[rows] = table[_encode_colors(pixels[rows])]
    else:
        for rows in strips(pixels):
            expanded[rows] = labels[np.searchsorted(codes, _encode_colors(pixels[rows]))]
    return expanded
