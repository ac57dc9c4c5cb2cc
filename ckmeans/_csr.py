"""Sparse rows of SciPy, checked and in one format."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ckmeans import _arrays, _validate
from ckmeans._places import Place
from ckmeans._points import order_of


class CSR:
    """The rows of a SciPy sparse matrix or array, in CSR format with increasing columns."""

    kind: Literal["sparse"] = "sparse"

    def __init__(self, X: Any, name: str = "X") -> None:
        if len(X.shape) != 2:
            raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {X.shape}")
        _validate.require_nonempty(name, X.shape)
        X = X.tocsr()
        self._set_arrays(X, name)
        order = order_of(self)
        if order == "broken":
            raise ValueError(f"{name} must have indptr and indices that fit its shape {X.shape}")
        if order == "unsorted":
            X = X.copy()
            X.sum_duplicates()
            self._set_arrays(X, name)
        self.csr = X

    def _set_arrays(self, X: Any, name: str) -> None:
        self.shape: tuple[int, int] = X.shape
        self.data = _validate.real_array(name, X.data)
        self.dtype = self.data.dtype
        self.indices = np.ascontiguousarray(X.indices)
        self.indptr = np.ascontiguousarray(X.indptr, self.indices.dtype)
        if self.indices.dtype not in (np.int32, np.int64) or len(self.indptr) != X.shape[0] + 1:
            raise ValueError(f"{name} must have int32 or int64 indices and {X.shape[0] + 1} values in indptr")

    def rescaled(self, exponent: int) -> CSR:
        """Return the rows divided by 2**exponent, in float64."""
        data = _arrays.times_power(self.data[: self.size], -exponent)
        return CSR(type(self.csr)((data, self.indices, self.indptr), shape=self.shape))

    def values(self, itemsize: int) -> np.ndarray:
        """Return the stored values in the computing dtype."""
        return np.ascontiguousarray(self.data, np.float32 if itemsize == 4 else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of stored values."""
        return int(self.indptr[-1])

    def min(self) -> float:
        """Return the smallest stored value, or 0."""
        return float(self.data[: self.size].min(initial=0))

    def max(self) -> float:
        """Return the largest stored value, or 0."""
        return float(self.data[: self.size].max(initial=0))

    def first_not_finite(self) -> Place | None:
        """Return the place of the first NaN or infinity."""
        bad = np.flatnonzero(~np.isfinite(self.data[: self.size]))
        if not len(bad):
            return None
        row = int(np.searchsorted(self.indptr, bad[0], "right")) - 1
        return row, int(self.indices[bad[0]]), self.data[bad[0]]
