"""Objects in files: npz archives of plain arrays and a version, without pickled objects."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ckmeans import _atomic_write
from ckmeans._size_limits import check_unpacked

try:
    import zlib
except ImportError:  # a Python built without it writes archives that are not compressed
    zlib = None  # type: ignore[assignment]

__all__ = ["Format", "read", "write"]

# Exceptions of NumPy and zipfile on damaged files.
_DAMAGED = (
    ValueError, TypeError, KeyError, EOFError, OverflowError, MemoryError, OSError, NotImplementedError,
    zipfile.BadZipFile, *([zlib.error] if zlib else []),
)  # fmt: skip

_T = TypeVar("_T")


class Format(NamedTuple):
    """The kind of object that a file holds.

    Attributes
    ----------
    name : str
        As it stands in the file.
    version : int
        The newest that is read.
    noun : str
        What messages call the object.
    """

    name: str
    version: int
    noun: str


def write(
    path: str | os.PathLike[str], form: Format, about: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Write arrays and values that JSON holds under exactly this name; an existing file is replaced in one
    step at the end."""
    text = json.dumps({"format": form.name, "version": form.version, **about})
    named: dict[str, Any] = {"about": np.frombuffer(text.encode(), np.uint8), **arrays}
    with _atomic_write.replacing(path) as file:
        (np.savez_compressed if zlib else np.savez)(file, **named)


def read(
    path: str | os.PathLike[str],
    form: Format,
    parse: Callable[[dict[str, Any], dict[str, np.ndarray]], _T],
) -> _T:
    """Return what `parse` makes of the values and arrays of a file."""
    with open(path, "rb") as file:
        try:
            _check_start(file.peek(2))
            with np.load(file, allow_pickle=False) as archive:
                check_unpacked(sum(entry.file_size for entry in archive.zip.infolist()))
                about = json.loads(bytes(archive["about"]))
                _check_version(about, form)
                return parse(about, {name: archive[name] for name in archive.files if name != "about"})
        except _DAMAGED as error:
            raise ValueError(f"{os.fsdecode(path)} {_explain(error, form)}") from None


class _Refused(ValueError):
    """The file is intact, but cannot be read."""


_PICKLED = _Refused("holds pickled objects, which could run any code: it is not read")


def _check_start(start: bytes) -> None:
    if start[:1] == b"\x80":  # how pickles begin
        raise _PICKLED
    if start[:2] != b"PK":
        raise ValueError("it is no npz archive")


def _check_version(about: Any, form: Format) -> None:
    if (
        not isinstance(about, dict)
        or about.get("format") != form.name
        or not isinstance(about.get("version"), int)
    ):
        raise ValueError("its format is another one")
    if about["version"] > form.version:
        raise _Refused(
            f"was written by a newer ckmeans (format {about['version']}, this one reads {form.version}): "
            "upgrade ckmeans"
        )


def _explain(error: BaseException, form: Format) -> str:
    if "allow_pickle" in str(error):  # NumPy's, on an array of objects
        error = _PICKLED
    if isinstance(error, _Refused):
        return str(error)
    return f"is not a saved ckmeans {form.noun}, or it is damaged ({error or type(error).__name__})"
