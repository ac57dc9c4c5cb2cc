"""X in any accepted form becomes one object, `Inputs`, once at the top of each public call.

X may be an array, sparse rows, chunks that are iterated over again and again, or the result of `prepare`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np

from ckmeans import _arrays, _points, _validate
from ckmeans._chunks import Chunks
from ckmeans._csr import CSR
from ckmeans._engine import Centroids
from ckmeans._optimal import SortedValues
from ckmeans._places import Names
from ckmeans._points import PreparedPoints
from ckmeans._unit_length import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


Metric: TypeAlias = Literal["euclidean", "cosine"]

_SAFE = 2.0**-256  # from here on up to its inverse there is room for squares, and for sums of many of them


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
    names : Names or None
        Of the columns and rows, if X is a data frame.
    original : object
        X as the caller passed it, for the caller's functions; an array if it became one.
    metric : {"euclidean", "cosine"}
        With "cosine" compiled code reads the rows at unit length.
    whole : Inputs or None
        The points that these are a part of, whose rows errors name.
    """

    __slots__ = ("dtype", "itemsize", "metric", "names", "original", "rows", "shape", "weights", "whole")

    persistent = False  # whether later calls use these points again

    def __init__(
        self,
        rows: np.ndarray | CSR | Chunks,
        weights: np.ndarray | None = None,
        names: Names | None = None,
        original: Any = None,
        metric: Metric = "euclidean",
    ) -> None:
        self.rows = rows
        self.shape: tuple[int, int] = rows.shape
        self.dtype: np.dtype = rows.dtype
        self.itemsize = _arrays.COMPUTING_ITEMSIZE[self.dtype]
        self.weights = weights
        self.names = names
        self.original = rows if original is None else original
        self.metric = metric
        self.whole: Inputs | None = None

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
    def is_cosine(self) -> bool:
        """Whether rows are compared by their cosines."""
        return self.metric == "cosine"

    def loss(self, squared_sum: float) -> float:
        """Return a sum of squared distances as the metric has it: as it is, or as the sum of 1 - cos."""
        return squared_sum * 0.5 if self.is_cosine else squared_sum

    def mean_loss(self, squared_sum: float) -> float:
        """Return J: the mean of the squared distances, whose sum is given, or of 1 - cos."""
        return self.loss(squared_sum) / self.total_weight

    def centroids(self, array: np.ndarray, name: str = "centroids") -> np.ndarray:
        """Return centroids as this metric compares them: as they are, or at unit length."""
        return unit_rows(array, self.itemsize, name) if self.is_cosine else array

    def select(self, which: Any) -> Any:
        """Return some of the rows, as an array or a SciPy sparse one; bfloat16 in float32."""
        assert not isinstance(self.rows, Chunks)
        return self.rows.csr[which] if isinstance(self.rows, CSR) else _arrays.widened(self.rows[which])

    def part(self, which: Any, weights: np.ndarray | None = None) -> Inputs:
        """Return some of the points."""
        selected = self.select(which)
        rows = selected if isinstance(self.rows, np.ndarray) else CSR(selected)
        part = Inputs(rows, weights, original=selected, metric=self.metric)
        part.whole = self if self.whole is None else self.whole
        return part

    def reweighted(self, weights: np.ndarray | None) -> Inputs:
        """Return the same points with other weights."""
        return self._copy(weights, self.metric)

    def with_metric(self, metric: Metric) -> Inputs:
        """Return the same points under another metric."""
        return self if metric == self.metric else self._copy(self.weights, metric)

    def _copy(self, weights: np.ndarray | None, metric: Metric) -> Inputs:
        points = Inputs(self.rows, weights, self.names, self.original, metric)
        points.whole = self.whole
        return points

    def with_weights(self, sample_weight: object) -> Inputs:
        """Return the same points with other weights, which are checked."""
        return self.reweighted(_validate.weights(sample_weight, len(self)))

    @property
    def max_abs(self) -> float:
        """The largest magnitude, NaN if there is one; found in a pass over the rows."""
        return _validate.max_abs(self.rows)

    def rescaled(self, exponent: int) -> Inputs:
        """Return the same points divided by 2**exponent, as a copy in float64 of what lies in memory."""
        rows = _rescaled_rows(self.rows, exponent)
        points = Inputs(rows, self.weights, self.names, self.original, self.metric)
        points.whole = self if self.whole is None else self.whole
        return points

    def safe_exponent(self, max_abs: float | None = None) -> int:
        """Return the exponent with which `rescaled` points have squares that neither overflow nor underflow
        where they are added up: 0 for nearly all. `max_abs` is the largest magnitude, if it is known."""
        if self.itemsize == 4 or self.is_cosine:  # float64 holds the squares of these
            return 0
        max_abs = self.max_abs if max_abs is None else max_abs
        return math.frexp(max_abs)[1] if 0 < max_abs < _SAFE or 1 / _SAFE < max_abs < math.inf else 0

    def prepared_points(self, itemsize: int) -> PreparedPoints:
        """Return the points for compiled code, in the computing dtype of this itemsize."""
        return PreparedPoints(self.rows, itemsize, self.weights, self.is_cosine)

    def sorted_values(self, prepared: PreparedPoints, n_threads: int) -> SortedValues:
        """Return the distinct values of these points of one feature, in rising order."""
        return SortedValues(prepared, n_threads)

    def require_finite(self) -> None:
        """Raise for the first NaN or infinity."""
        if self.whole is not None:
            self.whole.require_finite()
        rows = self.rows
        if isinstance(rows, Chunks):
            rows.require_finite()
            return
        found = (_points.Points(rows, 8) if isinstance(rows, np.ndarray) else rows).first_not_finite()
        if found:
            row, column, value = found
            _validate.raise_at("X", value, row, column, self.names)

    def raise_zero_row(self, row: int) -> NoReturn:
        """Raise for a row of zeros, which has no direction; of a part, for the first one of the whole."""
        if self.whole is not None:
            self.whole.require_directions()
        _validate.raise_zero_row("X", f"row {row}" if self.names is None else self.names.row(row))

    def require_directions(self) -> None:
        """Raise for the first row of zeros, if rows are compared by their cosines."""
        row = _points.Points(self.rows, self.itemsize).first_zero_row() if self.is_cosine else None
        if row is not None:
            self.raise_zero_row(row)


def _rescaled_rows(rows: np.ndarray | CSR | Chunks, exponent: int) -> np.ndarray | CSR | Chunks:
    if isinstance(rows, (CSR, Chunks)):
        return rows.rescaled(exponent)
    array: np.ndarray = _arrays.times_power(_arrays.widened(rows), -exponent)
    return array


class PersistentInputs(Inputs):
    """Inputs whose preprocessing is kept for later calls, from any thread."""

    __slots__ = ("_centroids", "_lock", "_prepared", "_rescaled", "_sorted")

    persistent = True

    def __init__(self, points: Inputs) -> None:
        super().__init__(points.rows, points.weights, points.names, points.original, points.metric)
        self.whole = points.whole
        self._prepared: dict[tuple[int, str], PreparedPoints] = {}
        self._centroids: dict[tuple[int, str], Centroids] = {}
        self._sorted: dict[int, SortedValues] = {}
        self._rescaled: dict[int, PersistentInputs] = {}  # the last ones, by the exponent
        self._lock = threading.Lock()

    def with_metric(self, metric: Metric) -> PersistentInputs:
        """Return the same points under another metric; what is kept for each is kept in common."""
        if metric == self.metric:
            return self
        points = PersistentInputs(self)
        points.metric = metric
        for name in PersistentInputs.__slots__:
            setattr(points, name, getattr(self, name))
        return points

    def with_weights(self, sample_weight: object) -> NoReturn:
        """Raise: sums over these weights may be part of what is kept."""
        _validate.reject_sample_weight()

    def prepared_points(self, itemsize: int) -> PreparedPoints:
        """Return the points for compiled code, with the preprocessing done by earlier calls."""
        key = itemsize, self.metric
        with self._lock:
            if key not in self._prepared:
                prepared = super().prepared_points(itemsize)
                prepared.persistent = True
                self._prepared[key] = prepared
            return self._prepared[key]

    def rescaled(self, exponent: int) -> PersistentInputs:
        """Return the same points divided by 2**exponent, with what earlier calls prepared of them."""
        with self._lock:
            if exponent not in self._rescaled:
                self._rescaled = {exponent: PersistentInputs(super().rescaled(exponent))}
            return self._rescaled[exponent].with_metric(self.metric)

    def packed_centroids(self, itemsize: int) -> Centroids:
        """Return the points as centroids for compiled code, packed in this or an earlier call."""
        key = itemsize, self.metric
        with self._lock:
            if key not in self._centroids:
                assert isinstance(self.rows, np.ndarray)
                array = self.centroids(self.rows)
                self._centroids[key] = Centroids(_points.Points(array, 8), itemsize, True)
            return self._centroids[key]

    def sorted_values(self, prepared: PreparedPoints, n_threads: int) -> SortedValues:
        """Return the distinct values in rising order, as an earlier call found them."""
        with self._lock:
            if prepared.itemsize not in self._sorted:
                self._sorted[prepared.itemsize] = super().sorted_values(prepared, n_threads)
            return self._sorted[prepared.itemsize]

    @property
    def all_prepared(self) -> list[PreparedPoints]:
        """What was prepared so far, for each computing dtype that was used."""
        return list(self._prepared.values())

    @property
    def bytes(self) -> int:
        """Bytes of what is kept."""
        m, n = self.shape
        total = sum(prepared.bytes for prepared in self._prepared.values())
        total += sum(centroids.bytes for centroids in self._centroids.values())
        total += sum(values.bytes for values in self._sorted.values())
        return total + sum(m * n * 8 + points.bytes for points in self._rescaled.values())


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
        return self._inputs.bytes

    def __repr__(self) -> str:
        m, n = self.shape
        distinct = [prepared.distinct for prepared in self._inputs.all_prepared if prepared.distinct]
        parts = [f"{m} x {n} {_arrays.name_of(self.dtype)}", *(f"{number} distinct" for number in distinct)]
        if self.weights is not None:
            parts.append("weighted")
        return f"<ckmeans.Prepared: {', '.join(parts)}, {self.nbytes / 1e6:.1f} MB>"

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("points that were prepared are not an array: pass the original X")

    def __reduce__(self) -> NoReturn:
        raise TypeError("points that were prepared cannot be pickled or copied: prepare X again")


# What the public functions accept as X; SciPy's sparse arrays, too, which have no type without SciPy.
PointsLike: TypeAlias = "ArrayLike | Prepared | Inputs"
# And as centroids of `assign` and `distortion`.
CentroidsLike: TypeAlias = "ArrayLike | Prepared"


def read(
    X: PointsLike,
    sample_weight: object = None,
    n_expected: int | None = None,
    check: Callable[[np.ndarray, str, int | None], np.ndarray] = _validate.two_dimensional,
    metric: object = None,
) -> Inputs:
    """Return checked points with their weights, from X in any accepted form.

    `n_expected` is the number of features that X should have, if that is known; `check` is
    `_validate.two_dimensional`, or another function that checks an array and raises with other messages;
    `metric` is "euclidean" for points that bring none, unless it is given."""
    if type(X) is np.ndarray and X.dtype in _arrays.COMPUTING_ITEMSIZE:  # the usual case, first
        points = Inputs(check(X, "X", n_expected))
    elif isinstance(X, Prepared):
        points = X._inputs
    elif isinstance(X, Inputs):
        points = X
    elif _arrays.is_sparse(X):
        points = Inputs(CSR(X), original=X)
    else:
        rows, names = _arrays.read("X", X, objects=True)
        check(rows, "X", n_expected)
        # An array of bfloat16 is of no use to the caller's functions.
        points = Inputs(rows, None, names, X if rows.dtype == _points.BFLOAT16 else None)
    if metric is not None:
        points = points.with_metric(_metric_of(metric))
    return points if sample_weight is None else points.with_weights(sample_weight)


def _metric_of(value: object) -> Metric:
    return "cosine" if _validate.choice("metric", value, _validate.METRICS) == "cosine" else "euclidean"


def read_with_centroids(
    X: PointsLike, centroids: CentroidsLike, sample_weight: object = None, metric: object = None
) -> tuple[Inputs, np.ndarray | PersistentInputs]:
    """Return checked points, and centroids of as many features, as the metric compares them.

    Centroids are an array, or what `prepare` made of one."""
    places = centroids._inputs if isinstance(centroids, Prepared) else None
    array = _validate.real_array("centroids", centroids) if places is None else places.rows
    if not isinstance(array, np.ndarray) or (places is not None and places.weights is not None):
        raise ValueError(f"centroids must be dense and without weights, found {centroids!r}")
    points = read(X, sample_weight, array.shape[-1] if array.ndim else None, metric=metric)
    _validate.centroids(array, points.shape[1])
    if places is not None:
        return points, places.with_metric(points.metric)
    return points, points.centroids(array)


def read_persistent(X: PointsLike, sample_weight: object = None, metric: object = None) -> PersistentInputs:
    """Return checked points whose preprocessing is kept, the caller's if X is prepared."""
    points = read(X, sample_weight, metric=metric)
    return points if isinstance(points, PersistentInputs) else PersistentInputs(points)


def read_chunks(chunks: object) -> Inputs:
    """Return checked points that come in chunks."""
    rows = Chunks(chunks)
    return Inputs(rows, original=rows.original)
