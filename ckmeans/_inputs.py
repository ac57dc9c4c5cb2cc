"""X in any accepted form becomes one object, `Inputs`, once at the top of each public call.

X may be an array, sparse rows, chunks that are iterated over again and again, or the result of `prepare`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np

from ckmeans import _points, _validate
from ckmeans._optimal import SortedValues
from ckmeans._points import PreparedPoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Place: TypeAlias = tuple[int, int, float]  # row, column, value


class Chunks:
    """The rows of consecutive 2-D arrays of one dtype and any lengths.

    The first pass counts the points; every later one must find as many.
    """

    kind: Literal["chunks"] = "chunks"

    def __init__(self, chunks: Any) -> None:
        if isinstance(chunks, np.ndarray) and chunks.ndim == 2:
            chunks = [chunks]
        if not callable(chunks) and (not hasattr(chunks, "__iter__") or iter(chunks) is chunks):
            raise TypeError(
                "chunks must be a list of arrays, an object that can be iterated over again and again, or a "
                f"function that returns an iterator, found {_validate.shorten_repr(chunks)}"
            )
        self.original: Iterable[Any] | Callable[[], Iterable[Any]] = chunks
        self.shape: tuple[int, int]
        self.dtype: np.dtype
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
        """Yield the chunks that are not empty, as arrays of one dtype and number of features."""
        layout: tuple[int, np.dtype] | None = None  # features, dtype
        for number, value in enumerate(self.original() if callable(self.original) else self.original):
            name = f"chunks[{number}]"
            chunk = _validate.real_array(name, value)
            if chunk.ndim == 2 and len(chunk) == 0:
                continue
            chunk = _validate.points(chunk, name)
            if layout is None:
                layout = chunk.shape[1], chunk.dtype
            if (chunk.shape[1], chunk.dtype) != layout:
                raise ValueError(
                    f"{name} must have {layout[0]} features of dtype {layout[1]}, as the chunks before it, "
                    f"found shape {chunk.shape} of dtype {chunk.dtype}"
                )
            yield chunk

    def min(self) -> float:
        """Return the smallest value."""
        return min(float(chunk.min()) for chunk in self)

    def max(self) -> float:
        """Return the largest value."""
        return max(float(chunk.max()) for chunk in self)

    def first_not_finite(self) -> Place | None:
        """Return the place of the first NaN or infinity."""
        rows = 0
        for chunk in self:
            bad = ~np.isfinite(chunk)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                return rows + int(row), int(column), chunk[row, column]
            rows += len(chunk)
        return None


class CSR:
    """The rows of a SciPy sparse matrix or array, in CSR format with increasing columns."""

    kind: Literal["sparse"] = "sparse"

    def __init__(self, X: Any, name: str = "X") -> None:
        if len(X.shape) != 2:
            raise ValueError(f"{name} must be 2-dimensional (points, features), found shape {X.shape}")
        _validate.require_nonempty(name, X.shape)
        self.original = X
        X = X.tocsr()
        self._set_arrays(X, name)
        order = _points.order_of(self)
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


class Inputs:
    """Checked points with their weights: everything that a call knows of X.

    Attributes
    ----------
    rows : ndarray, CSR or Chunks
        The points as compiled code reads them.
    shape : tuple of int
        (m, n)
    dtype : numpy.dtype
        Of X.
    itemsize : int
        Bytes of a value of the computing dtype: 4 or 8.
    weights : ndarray of shape (m,), float64, or None
        None: every point weighs 1.
    """

    __slots__ = ("dtype", "itemsize", "rows", "shape", "weights")

    persistent = False  # whether later calls use these points again

    def __init__(self, rows: np.ndarray | CSR | Chunks, weights: np.ndarray | None = None) -> None:
        self.rows = rows
        self.shape: tuple[int, int] = rows.shape
        self.dtype: np.dtype = rows.dtype
        self.itemsize = _validate.COMPUTING_ITEMSIZE[self.dtype]
        self.weights = weights

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def kind(self) -> Literal["array", "sparse", "chunks"]:
        """The class of the rows."""
        return "array" if isinstance(self.rows, np.ndarray) else self.rows.kind

    @property
    def size(self) -> int:
        """Number of values; of sparse rows, of those stored."""
        return self.rows.size

    @property
    def computing_dtype(self) -> type[np.floating]:
        """float32 or float64."""
        return np.float32 if self.itemsize == 4 else np.float64

    @property
    def total_weight(self) -> float:
        """Sum of the weights, added in their order as in a fit: the bits of J depend on it."""
        return len(self) if self.weights is None else float(np.cumsum(self.weights)[-1])

    @property
    def original(self) -> Any:
        """X as the caller passed it, for the caller's functions."""
        return self.rows if isinstance(self.rows, np.ndarray) else self.rows.original

    def select(self, which: Any) -> Any:
        """Return some of the rows, as an array or a SciPy sparse one."""
        assert not isinstance(self.rows, Chunks)
        return self.rows.csr[which] if isinstance(self.rows, CSR) else self.rows[which]

    def with_weights(self, sample_weight: object) -> Inputs:
        """Return the same points with other weights, which are checked."""
        return Inputs(self.rows, _validate.weights(sample_weight, len(self)))

    def prepared_points(self, itemsize: int) -> PreparedPoints:
        """Return the points for compiled code, in the computing dtype of this itemsize."""
        return PreparedPoints(self.rows, itemsize, self.weights)

    def sorted_values(self, prepared: PreparedPoints, n_threads: int) -> SortedValues:
        """Return the distinct values of these points of one feature, in rising order."""
        return SortedValues(prepared, n_threads)

    def first_not_finite(self) -> Place | None:
        """Return the place of the first NaN or infinity."""
        rows = self.rows
        return (_points.Points(rows, 8) if isinstance(rows, np.ndarray) else rows).first_not_finite()


class PersistentInputs(Inputs):
    """Inputs whose preprocessing is kept for later calls, from any thread."""

    __slots__ = ("_lock", "_prepared", "_sorted")

    persistent = True

    def __init__(self, rows: np.ndarray | CSR | Chunks, weights: np.ndarray | None = None) -> None:
        super().__init__(rows, weights)
        self._prepared: dict[int, PreparedPoints] = {}
        self._sorted: dict[int, SortedValues] = {}
        self._lock = threading.Lock()

    def with_weights(self, sample_weight: object) -> NoReturn:
        """Raise: sums over these weights may be part of what is kept."""
        _validate.reject_sample_weight()

    def prepared_points(self, itemsize: int) -> PreparedPoints:
        """Return the points for compiled code, with the preprocessing done by earlier calls."""
        with self._lock:
            if itemsize not in self._prepared:
                prepared = PreparedPoints(self.rows, itemsize, self.weights)
                prepared.persistent = True
                self._prepared[itemsize] = prepared
            return self._prepared[itemsize]

    def sorted_values(self, prepared: PreparedPoints, n_threads: int) -> SortedValues:
        """Return the distinct values in rising order, as an earlier call found them."""
        with self._lock:
            if prepared.itemsize not in self._sorted:
                self._sorted[prepared.itemsize] = super().sorted_values(prepared, n_threads)
            return self._sorted[prepared.itemsize]

    @property
    def nbytes(self) -> int:
        """Bytes held so far beside X and its weights."""
        held = sum(prepared.bytes for prepared in self._prepared.values())
        return held + sum(values.bytes for values in self._sorted.values())

    @property
    def all_prepared(self) -> list[PreparedPoints]:
        """What was prepared so far, for each computing dtype that was used."""
        return list(self._prepared.values())


class Prepared:
    """Points with cached preprocessing, for many calls: `prepare` returns it, and it is accepted wherever
    X is.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        Of X.
    nbytes : int
        Bytes held so far beside X and its weights. Everything is computed when a call first needs it.
    """

    def __init__(self, inputs: PersistentInputs) -> None:
        self._inputs = inputs
        self.shape: tuple[int, int] = inputs.shape
        self.dtype: np.dtype = inputs.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values; of sparse rows, of those stored."""
        return self._inputs.size

    @property
    def weights(self) -> np.ndarray | None:
        """Weight of each point, None if each is 1."""
        return self._inputs.weights

    @property
    def nbytes(self) -> int:
        """Bytes held so far beside X and its weights."""
        return self._inputs.nbytes

    def __repr__(self) -> str:
        m, n = self.shape
        distinct = [prepared.distinct for prepared in self._inputs.all_prepared if prepared.distinct]
        parts = [f"{m} x {n} {self.dtype}", *(f"{number} distinct" for number in distinct)]
        if self.weights is not None:
            parts.append("weighted")
        return f"<ckmeans.Prepared: {', '.join(parts)}, {self.nbytes / 1e6:.1f} MB>"

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("points that were prepared are not an array: pass the original X")

    def __reduce__(self) -> NoReturn:
        raise TypeError("points that were prepared cannot be pickled or copied: prepare X again")


# What the public functions accept as X; SciPy's sparse arrays, too, which have no type without SciPy.
PointsLike: TypeAlias = "ArrayLike | Prepared | Inputs"


def read(X: PointsLike, sample_weight: object = None) -> Inputs:
    """Return checked points with their weights, from X in any accepted form."""
    if type(X) is np.ndarray:  # the usual case, first: rows are assigned one by one, too
        rows = _validate.points(X)
        return Inputs(rows, None if sample_weight is None else _validate.weights(sample_weight, len(rows)))
    if isinstance(X, Prepared):
        X = X._inputs
    if not isinstance(X, Inputs):
        X = Inputs(CSR(X) if _validate.is_sparse(X) else _validate.points(X))
    return X if sample_weight is None else X.with_weights(sample_weight)


def read_persistent(X: PointsLike, sample_weight: object = None) -> PersistentInputs:
    """Return checked points whose preprocessing is kept, the caller's if X is prepared."""
    points = read(X, sample_weight)
    return points if isinstance(points, PersistentInputs) else PersistentInputs(points.rows, points.weights)


def read_chunks(chunks: object) -> Inputs:
    """Return checked points that come in chunks."""
    return Inputs(Chunks(chunks))
