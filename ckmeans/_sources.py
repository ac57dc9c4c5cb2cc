"""What points may come as, besides an array: chunks that are iterated over again, sparse rows, and
points that were prepared for many calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from ckmeans import _points, _validate
from ckmeans._store import Store


class Chunks:
    """2-D arrays of one dtype, one below the other, cut as the caller likes.

    The first pass counts the points; every later one must find as many.
    """

    engine = "dense"

    def __init__(self, chunks: Iterable[Any] | Callable[[], Iterable[Any]]) -> None:
        if isinstance(chunks, np.ndarray) and chunks.ndim == 2:
            chunks = [chunks]
        if not callable(chunks) and (not hasattr(chunks, "__iter__") or iter(chunks) is chunks):
            raise TypeError(
                "chunks must be a list of arrays, an object that can be iterated over again and again, or a "
                f"function that returns an iterator, found {_validate.found(chunks)}"
            )
        self.original = chunks
        m = 0
        for chunk in self._checked():
            m += len(chunk)
            self.shape, self.dtype = (m, chunk.shape[1]), chunk.dtype
        if m == 0:
            raise ValueError("chunks must have at least one row, found none")

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = 0
        for chunk in self._checked():
            rows += len(chunk)
            if rows > len(self):
                break
            yield chunk
        if rows != len(self):
            number = f"more than {len(self)}" if rows > len(self) else rows
            raise ValueError(
                f"chunks must be the same in every pass, found {number} rows, {len(self)} before"
            )

    def _checked(self) -> Iterator[np.ndarray]:
        """The chunks that are not empty, as arrays that fit together."""
        kind: tuple[int, np.dtype] | None = None
        for number, value in enumerate(self.original() if callable(self.original) else self.original):
            name = f"chunks[{number}]"
            chunk = _validate.array(name, value)
            if chunk.ndim == 2 and len(chunk) == 0:
                continue
            chunk = _validate.points(chunk, name)
            if kind is None:
                kind = chunk.shape[1], chunk.dtype
            if (chunk.shape[1], chunk.dtype) != kind:
                raise ValueError(
                    f"{name} must have {kind[0]} features of dtype {kind[1]}, as the chunks before it, "
                    f"found shape {chunk.shape} of dtype {chunk.dtype}"
                )
            yield chunk

    def min(self) -> float:
        """The smallest value."""
        return min(float(chunk.min()) for chunk in self)

    def max(self) -> float:
        """The largest value."""
        return max(float(chunk.max()) for chunk in self)

    def first_not_finite(self) -> tuple[int, int, float] | None:
        """(row, column, value) of the first NaN or infinity."""
        rows = 0
        for chunk in self:
            bad = ~np.isfinite(chunk)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                return rows + int(row), int(column), chunk[row, column]
            rows += len(chunk)
        return None


class CSR:
    """The three arrays of a SciPy sparse matrix or array in CSR format, with rising columns."""

    engine = "sparse"

    def __init__(self, X: Any, name: str = "X") -> None:
        if len(X.shape) != 2:
            raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {X.shape}")
        _validate.not_without_values(name, X.shape)
        self.original = X
        X = X.tocsr()
        self._take(X, name)
        order = _points.order_of(self)
        if order == "broken":
            raise ValueError(f"{name} must have indptr and indices that fit its shape {X.shape}")
        if order == "unsorted":
            X = X.copy()
            X.sum_duplicates()
            self._take(X, name)
        self.csr = X

    def _take(self, X: Any, name: str) -> None:
        self.shape: tuple[int, int] = X.shape
        self.data = _validate.array(name, X.data)
        self.dtype = self.data.dtype
        self.indices = np.ascontiguousarray(X.indices)
        self.indptr = np.ascontiguousarray(X.indptr, self.indices.dtype)
        if self.indices.dtype not in (np.int32, np.int64) or len(self.indptr) != X.shape[0] + 1:
            raise ValueError(f"{name} must have int32 or int64 indices and {X.shape[0] + 1} values in indptr")

    def values(self, itemsize: int) -> np.ndarray:
        """The stored values in the computing dtype."""
        return np.ascontiguousarray(self.data, np.float32 if itemsize == 4 else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of stored values."""
        return int(self.indptr[-1])

    def min(self) -> float:
        """The smallest stored value, or 0."""
        return float(self.data[: self.size].min(initial=0))

    def max(self) -> float:
        """The largest stored value, or 0."""
        return float(self.data[: self.size].max(initial=0))

    def first_not_finite(self) -> tuple[int, int, float] | None:
        """(row, column, value) of the first NaN or infinity."""
        bad = np.flatnonzero(~np.isfinite(self.data[: self.size]))
        if not len(bad):
            return None
        row = int(np.searchsorted(self.indptr, bad[0], "right")) - 1
        return row, int(self.indices[bad[0]]), self.data[bad[0]]


class Prepared:
    """Points with what was made of them, for many calls: `prepare` gives it, and it goes wherever X goes.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        Of X.
    nbytes : int
        Bytes held so far beside X and its weights. Everything is made when a call first needs it.
    """

    def __init__(self, X: Any, weights: np.ndarray | None) -> None:
        self._X, self.weights = X, weights
        self.shape: tuple[int, int] = X.shape
        self.dtype: np.dtype = X.dtype
        self._stores: dict[int, Store] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values; of sparse rows those that are stored."""
        return int(self._X.size)

    @property
    def has_rows(self) -> bool:
        """Whether they are an array."""
        return isinstance(self._X, np.ndarray)

    @property
    def nbytes(self) -> int:
        """Bytes held so far beside X and its weights."""
        return sum(store.bytes for store in list(self._stores.values()))

    def __repr__(self) -> str:
        m, n = self.shape
        distinct = [store.distinct for store in list(self._stores.values()) if store.distinct]
        parts = [f"{m} x {n} {self.dtype}", *(f"{number} distinct" for number in distinct)]
        if self.weights is not None:
            parts.append("weighted")
        return f"<ckmeans.Prepared: {', '.join(parts)}, {self.nbytes / 1e6:.1f} MB>"

    def _store(self, itemsize: int) -> Store:
        """The points in this computing dtype, and what was made of them so far."""
        with self._lock:
            if itemsize not in self._stores:
                store = Store(self._X, itemsize, self.weights)
                store.lasting = True
                self._stores[itemsize] = store
            return self._stores[itemsize]

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("points that were prepared are not an array: pass the X that they were made of")

    def __reduce__(self) -> NoReturn:
        raise TypeError("points that were prepared cannot be pickled or copied: prepare them again from X")


def original(X: Any) -> Any:
    """The points as the caller has them."""
    X = inner(X)
    return getattr(X, "original", X)


def inner(X: Any) -> Any:
    """Points that were not prepared, or were not yet."""
    return X._X if isinstance(X, Prepared) else X


def store(X: Any, itemsize: int, weights: np.ndarray | None) -> Store:
    """Points for compiled code, with what is kept of them."""
    return X._store(itemsize) if isinstance(X, Prepared) else Store(X, itemsize, weights)


def weights(X: Any, sample_weight: object) -> np.ndarray | None:
    """Weights of points in this form."""
    if isinstance(X, Prepared):
        _validate.no_other_weights(sample_weight)
        return X.weights
    return _validate.weights(sample_weight, len(X))


def points(X: Any) -> np.ndarray:
    """Points in a form that an engine takes: a 2-D array, or an object of this file, which has as much
    of an array as is asked for above the engines."""
    if type(X) is np.ndarray:  # the usual case, first: rows are assigned one by one, too
        return _validate.points(X)
    given: Any = X
    if isinstance(X, (Prepared, Chunks, CSR)):
        return given
    if _validate.is_sparse(X):
        given = CSR(X)
        return given
    return _validate.points(X)


def prepared(X: Any, sample_weight: object) -> Prepared:
    """Points that are an array or sparse rows, with their weights, prepared if they are not yet."""
    if not isinstance(X, Prepared):
        given = points(X)
        return Prepared(given, _validate.weights(sample_weight, len(given)))
    _validate.no_other_weights(sample_weight)
    return X


def rows(X: Any, which: Any) -> Any:
    """Some of the rows, as an array or as a sparse one."""
    X = inner(X)
    return X.csr[which] if isinstance(X, CSR) else X[which]


def engine(X: Any, algorithm: object) -> str:
    """The name of an engine for points in this form, or "auto": chunks and sparse rows have one that
    takes them."""
    only = getattr(inner(X), "engine", None)
    if only is None:
        return _validate.algorithm(algorithm, *X.shape)
    _validate.choice("algorithm", algorithm, ("auto", only))
    return only
