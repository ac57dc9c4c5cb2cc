"""X and the weights as blocks of rows: what a Dask collection is to a fit."""

from __future__ import annotations

import math
from typing import Any

import dask.array
import distributed
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import Delayed

from ckmeans import _validate
from ckmeans._places import raise_at


class DaskPoints:
    """The blocks of X, in order, with their weights.

    Attributes
    ----------
    blocks, weights : list of Delayed
        `weights` holds None for each block where every point weighs 1.
    n : int
        Number of features.
    nbytes : float
        Of X; NaN where the sizes of its blocks are not known.
    held : list of Future
        What X holds on the cluster, if it was persisted.
    """

    def __init__(self, X: Any, sample_weight: Any, columns: Any = None) -> None:
        X = _two_dimensional(X)
        self.held: list[distributed.Future] = distributed.futures_of(X)
        self.blocks = _delayed_rows(X)
        self.n = int(X.shape[1])
        self.nbytes = _bytes_of(X)
        self.weighted = sample_weight is not None
        self.weights = _weights_of(sample_weight, X, len(self.blocks))

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def persisted(self) -> bool:
        """Whether the blocks lie on the workers."""
        return len(self.held) >= len(self.blocks)


def require_collection(name: str, value: Any) -> Any:
    """Return a dask array or a dask DataFrame."""
    if not is_dask_collection(value) or not hasattr(value, "shape"):
        hint = " (ckmeans.kmeans takes what lies in this process)" if name == "X" else ""
        raise TypeError(
            f"{name} must be a dask array or a dask DataFrame, found {type(value).__name__}{hint}"
        )
    return value


def _two_dimensional(X: Any) -> Any:
    """Return X with its rows alone in chunks."""
    require_collection("X", X)
    if len(X.shape) != 2:
        raise ValueError(f"X must be 2-dimensional (points, features), found shape {X.shape}")
    _validate.require_nonempty("X", X.shape if isinstance(X, dask.array.Array) else (1, X.shape[1]))
    if isinstance(X, dask.array.Array):
        if X.dtype.kind == "c":
            raise TypeError(f"X must hold real numbers, found dtype {X.dtype}")
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
    return X


def _delayed_rows(collection: Any) -> list[Delayed]:
    return list(np.asarray(collection.to_delayed(), object).ravel())


def _bytes_of(X: Any) -> float:
    """Return the bytes of X as arrays; NaN where they are not known, or where its rows are sparse."""
    meta = getattr(X, "_meta", None)
    if not isinstance(X, dask.array.Array) or not isinstance(meta, np.ndarray):
        return math.nan
    return float(X.nbytes) if not math.isnan(X.shape[0]) else math.nan


def _weights_of(sample_weight: Any, X: Any, count: int) -> list[Any]:
    """Return the weights of each block."""
    if sample_weight is None:
        return [None] * count
    rows = X.chunks[0] if isinstance(X, dask.array.Array) else (math.nan,)
    known = not any(math.isnan(length) for length in rows)
    if not is_dask_collection(sample_weight):
        array = _validate.real_array("sample_weight", sample_weight)
        if not known:
            raise TypeError(
                "sample_weight must be a dask array or Series with the blocks of X, as their lengths are not "
                "known"
            )
        if array.shape != (sum(rows),):
            raise ValueError(
                f"sample_weight must have shape ({sum(rows)},), one a row of X, found shape {array.shape}"
            )
        sample_weight = dask.array.from_array(array, chunks=(rows,))
    if len(sample_weight.shape) != 1:
        raise ValueError(
            f"sample_weight must be 1-dimensional, one a row of X, found shape {sample_weight.shape}"
        )
    if isinstance(sample_weight, dask.array.Array) and known and sample_weight.chunks[0] != rows:
        if sample_weight.shape != (sum(rows),) and not math.isnan(sample_weight.shape[0]):
            raise ValueError(
                f"sample_weight must have shape ({sum(rows)},), one a row of X, found shape "
                f"{sample_weight.shape}"
            )
        if not math.isnan(sample_weight.shape[0]):
            sample_weight = sample_weight.rechunk((rows,))
    blocks = _delayed_rows(sample_weight)
    if len(blocks) != count:
        raise ValueError(f"sample_weight must have the {count} blocks of X, found {len(blocks)}")
    return blocks


def raise_faults(infos: list[Any], offsets: np.ndarray, names: Any = None) -> None:
    """Raise for the first value that is not finite, or the first weight that is not valid."""
    for info, offset in zip(infos, offsets, strict=False):
        if info.fault is None:
            continue
        name, row, column, value = info.fault
        if column is not None:
            raise_at(name, value, int(offset) + row, column, None)
        wanted = "be finite" if not math.isfinite(value) else "not be negative"
        raise ValueError(f"{name} must {wanted}, found {value} at row {int(offset) + row}")
