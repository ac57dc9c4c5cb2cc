"""Saved results: npz archives of plain arrays and a version, without pickled objects."""

from __future__ import annotations

import json
import os
import zipfile
from typing import Any

import numpy as np

from ckmeans import _atomic_write
from ckmeans._lloyd import STOP_REASONS
from ckmeans._size_limits import check_unpacked

try:
    import zlib
except ImportError:  # a Python built without it writes archives that are not compressed
    zlib = None  # type: ignore[assignment]

__all__ = ["read", "read_table_recipe", "save"]

FORMAT = "ckmeans.Result"
VERSION = 1
_ARRAYS = ("centroids", "labels", "counts", "history", "distortions")
_SCALARS = {"distortion": float, "n_iter": int, "stop_reason": str, "algorithm": str, "stats": dict}
# Exceptions of NumPy and zipfile on damaged files.
_DAMAGED = (
    ValueError, TypeError, KeyError, EOFError, OverflowError, MemoryError, OSError, NotImplementedError,
    zipfile.BadZipFile, *([zlib.error] if zlib else []),
)  # fmt: skip


def save(result: Any, path: str | os.PathLike[str], table: dict[str, Any] | None = None) -> None:
    """Write a result under exactly this name; an existing file is replaced in one step at the end.

    `table` says how the points were made from a table's columns; only `read_table_recipe` reads it.
    """
    about = {"format": FORMAT, "version": VERSION, "has_path": result.path is not None}
    if table is not None:
        about["table"] = table
    about |= {name: getattr(result, name) for name in _SCALARS}
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    if about["has_path"]:
        arrays["path"] = np.concatenate(result.path)
        arrays["path_K"] = np.array([len(centroids) for centroids in result.path], np.int64)
    with _atomic_write.replacing(path) as file:
        write = np.savez_compressed if zlib else np.savez
        write(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of a saved result."""
    return _read(path)[0]


def read_table_recipe(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Any]:
    """Return the fields of a saved result and its `table`, None if it was saved without one."""
    fields, about = _read(path)
    return fields, about.get("table")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    with open(path, "rb") as file:
        try:
            _check_start(file.peek(2))
            with np.load(file, allow_pickle=False) as archive:
                check_unpacked(sum(entry.file_size for entry in archive.zip.infolist()))
                about = json.loads(bytes(archive["about"]))
                _check_version(about)
                arrays = {name: archive[name] for name in archive.files if name != "about"}
                return _fields(about, arrays), about
        except _DAMAGED as error:
            raise ValueError(f"{os.fsdecode(path)} {_explain(error)}") from None


class _Refused(ValueError):
    """The file is intact, but cannot be read as a result."""


_PICKLED = _Refused("holds pickled objects, which could run any code: it is not read")


def _check_start(start: bytes) -> None:
    if start[:1] == b"\x80":  # how pickles begin
        raise _PICKLED
    if start[:2] != b"PK":
        raise ValueError("it is no npz archive")


def _check_version(about: Any) -> None:
    if (
        not isinstance(about, dict)
        or about.get("format") != FORMAT
        or not isinstance(about.get("version"), int)
    ):
        raise ValueError("its format is another one")
    if about["version"] > VERSION:
        raise _Refused(
            f"was written by a newer ckmeans (format {about['version']}, this one reads {VERSION}): "
            "upgrade ckmeans"
        )


def _explain(error: BaseException) -> str:
    if "allow_pickle" in str(error):  # NumPy's, on an array of objects
        error = _PICKLED
    if isinstance(error, _Refused):
        return str(error)
    return f"is not a saved ckmeans result, or it is damaged ({error or type(error).__name__})"


def _fields(about: dict[str, Any], read: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a result if they are consistent."""
    if set(read) != {*_ARRAYS, *(("path", "path_K") if about["has_path"] else ())}:
        raise ValueError("its arrays are not those of a result")
    fields: dict[str, Any] = {name: kind(about[name]) for name, kind in _SCALARS.items()}
    fields |= {name: read[name] for name in _ARRAYS}
    centroids, labels, counts = fields["centroids"], fields["labels"], fields["counts"]
    consistent = (
        centroids.ndim == 2
        and centroids.dtype in (np.float32, np.float64)
        and bool(np.isfinite(centroids).all())
        and labels.dtype == np.int32
        and labels.ndim == 1
        and counts.dtype == np.int64
        and np.array_equal(np.bincount(labels, minlength=len(centroids)), counts)
        and fields["history"].shape == (fields["n_iter"] + 1,)
        and fields["distortions"].ndim == 1
        and fields["stop_reason"] in (*STOP_REASONS, "optimal")
    )
    if not consistent:
        raise ValueError("its arrays do not agree")
    fields["path"] = None
    if about["has_path"]:
        ends = np.cumsum(read["path_K"])
        if ends[-1] != len(read["path"]):
            raise ValueError("its arrays do not agree")
        fields["path"] = np.split(read["path"], ends[:-1])
    return fields
