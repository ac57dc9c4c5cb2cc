"""Saved results: plain arrays and values in a file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ckmeans import _archive
from ckmeans._lloyd import STOP_REASONS

__all__ = ["read", "read_table_recipe", "save"]

FORMAT = _archive.Format("ckmeans.Result", 1, "result")
_ARRAYS = ("centroids", "labels", "counts", "history", "distortions")
_SCALARS = {"distortion": float, "n_iter": int, "stop_reason": str, "algorithm": str, "stats": dict}


def save(result: Any, path: str | os.PathLike[str], table: dict[str, Any] | None = None) -> None:
    """Write a result under exactly this name; an existing file is replaced in one step at the end.

    `table` says how the points were made from a table's columns; only `read_table_recipe` reads it.
    """
    about: dict[str, Any] = {"has_path": result.path is not None}
    if table is not None:
        about["table"] = table
    about |= {name: getattr(result, name) for name in _SCALARS}
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    if about["has_path"]:
        arrays["path"] = np.concatenate(result.path)
        arrays["path_K"] = np.array([len(centroids) for centroids in result.path], np.int64)
    _archive.write(path, FORMAT, about, arrays)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of a saved result."""
    return read_table_recipe(path)[0]


def read_table_recipe(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Any]:
    """Return the fields of a saved result and its `table`, None if it was saved without one."""
    return _archive.read(path, FORMAT, lambda about, arrays: (_fields(about, arrays), about.get("table")))


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
