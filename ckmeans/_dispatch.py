"""Calls of compiled code: engine, number of threads, and the computing dtype with its fallback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ckmeans import _arrays, _dense, _engine, _lloyd, _validate
from ckmeans._config import default_threads
from ckmeans._engine import EngineEntry
from ckmeans._engines import ENGINES
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import Inputs, PersistentInputs
from ckmeans._optimal import SortedValues
from ckmeans._points import OutOfRange, Points, PreparedPoints, ZeroRow
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans._starts import Starts

# Multiply-adds below which no thread is started, so that their number need not be determined (which
# reads files). Compiled code has the same limit.
_SERIAL_WORK = 1_000_000
OPTIMAL_WORK = 64  # multiply-adds that take as long as the work for a value of the optimum of one feature

# Weighted sums below this may have lost digits to underflow.
_TINY_SUM = 1e-250

_T = TypeVar("_T")


def thread_count(n_threads: object, work: int) -> int:
    """Return the number of threads to use for `work` multiply-adds."""
    return _validate.threads(n_threads, (lambda: 1) if work < _SERIAL_WORK else default_threads)


# ---- computing dtype and unit -------------------------------------------------------------------


def with_unit_fallback(
    points: Inputs, work: Callable[[Inputs, PreparedPoints, int], _T], **others: np.ndarray
) -> _T:
    """Do `work` in the computing dtype of X, in float64 if squares leave float32, and in another unit if they
    leave float64, too.

    It is called as ``work(points, prepared, exponent)``: these points are those of X divided by 2**exponent,
    which is 0 unless squares of X or of `others`, small arrays by name, overflow or underflow. `work` divides
    what it was given by the same power (`divided`), and returns what is in the units of X (`in_units`). Both
    are exact but where a value underflows."""
    try:
        return _in_some_unit(points, work, others)
    except ZeroRow as error:
        points.raise_zero_row(error.args[0])


def _in_some_unit(
    points: Inputs, work: Callable[[Inputs, PreparedPoints, int], _T], others: dict[str, np.ndarray]
) -> _T:
    """Do `work` as `with_unit_fallback` says."""
    found = 0.0
    for itemsize in (4, 8) if points.itemsize == 4 else (8,):
        try:
            return work(points, points.prepared_points(itemsize), 0)
        except OutOfRange as error:
            found = error.args[0]
        _require_finite(found, points, others)
    return _in_another_unit(points, work, others, found)


def with_dtype_fallback(points: Inputs, work: Callable[[PreparedPoints], _T], **others: np.ndarray) -> _T:
    """Do `work` in the computing dtype of X, again in float64 if squares leave float32; raise if they leave
    float64, too."""

    def in_units_of_X(_: Inputs, prepared: PreparedPoints, exponent: int) -> _T:
        if exponent:
            _validate.raise_beyond_float64(X=points.rows, **others)
        return work(prepared)

    return with_unit_fallback(points, in_units_of_X, **others)


def _require_finite(found: float, points: Inputs, others: dict[str, np.ndarray]) -> None:
    """Raise for the first NaN or infinity, if what was found is one."""
    if not math.isfinite(found):
        points.require_finite()
        for name, other in others.items():
            _validate.require_finite(name, other)


def _in_another_unit(
    points: Inputs,
    work: Callable[[Inputs, PreparedPoints, int], _T],
    others: dict[str, np.ndarray],
    found: float,
) -> _T:
    """Do `work` with the largest magnitude just below the limit, so that small values keep their squares.

    Directions have no unit: with the metric "cosine" only the rows are divided."""
    if points.is_cosine:
        others = {}
    limit = math.frexp(points.prepared_points(8).largest)[1] - 1
    max_abs = max(points.max_abs, *(_validate.max_abs(other) for other in others.values()), 0.0)
    max_abs = max(max_abs, found) if math.isfinite(found) else max_abs
    while True:
        exponent = math.frexp(max_abs)[1] - limit
        scaled = points.rescaled(exponent)
        prepared = scaled.prepared_points(8)
        prepared.accept_small_values()
        try:
            return work(scaled, prepared, 0 if points.is_cosine else exponent)
        except OutOfRange as error:
            larger = float(_arrays.times_power(error.args[0], exponent))
        except ZeroRow:  # which is none of X
            larger = max_abs
        if not max_abs < larger < math.inf:  # else a start that a callable returned is larger than all before
            _validate.raise_beyond_float64(X=points.rows, **others)
        max_abs = larger


def in_units(value: Any, exponent: int, **arrays: Any) -> Any:
    """Return a number or an array of numbers * 2**exponent, as it is if the exponent is 0.

    Raise if float64 cannot hold them, naming the one of `arrays` with the largest values."""
    if exponent == 0:
        return value
    scaled = _arrays.times_power(value, exponent)
    if not np.isfinite(scaled).all():
        _validate.raise_beyond_float64(**arrays)
    return scaled if isinstance(value, np.ndarray) else float(scaled)


def check_centroids(prepared: PreparedPoints, centroids: np.ndarray) -> None:
    """Raise OutOfRange if the computing dtype cannot hold the squares of these centroids."""
    max_abs = float(np.abs(centroids).max())
    if not max_abs <= prepared.largest:
        raise OutOfRange(max_abs)


# ---- single steps -------------------------------------------------------------------------------


def step(
    points: Inputs,
    centroids: np.ndarray | PersistentInputs,
    labels: np.ndarray,
    n_threads: int,
    *,
    squared: np.ndarray | None = None,
    assign: bool = False,
    sums: bool = False,
    measure: bool = False,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Pass once over the points: fill `labels` if `assign`, and `squared` distances if given.

    Returns
    -------
    squared_sum : float
        The (weighted) sum of squared distances; only if `measure` or `sums`. With the metric "cosine" that to
        the directions of the centroids.
    offsets : ndarray of shape (K, n), float64
        The (weighted) sum of x - centroid over each cluster; only if `sums`, as are the following.
    weight_sums : ndarray of shape (K,), float64
    counts : ndarray of shape (K,), int64
    """
    outputs = assign * _engine.ASSIGN + sums * _engine.SUM + measure * _engine.MEASURE
    exponent, squared_sum, offsets, weight_sums, counts = scaled_step(
        points, centroids, labels, n_threads, outputs, squared
    )
    if exponent:
        arrays = {"X": points.rows, "centroids": _rows_of(centroids)}
        squared_sum = in_units(squared_sum, 2 * exponent, **arrays) if measure or sums else 0.0
        offsets = in_units(offsets, exponent, **arrays) if sums else offsets
    return squared_sum, offsets, weight_sums, counts


def distortion(
    points: Inputs,
    centroids: np.ndarray | PersistentInputs,
    labels: np.ndarray,
    n_threads: int,
    *,
    assign: bool,
) -> float:
    """Return J, after filling `labels` if `assign`; float64 may hold it where it has no room for the sum."""
    outputs = assign * _engine.ASSIGN + _engine.MEASURE
    exponent, squared_sum, *_ = scaled_step(points, centroids, labels, n_threads, outputs)
    J = points.mean_loss(squared_sum)
    if squared_sum < _TINY_SUM and exponent == 0 and (exponent := points.safe_exponent()):
        # Nothing above looks at how small the values are where labels are given.
        places = divided(_rows_of(centroids), exponent)
        return float(
            _arrays.times_power(
                distortion(points.rescaled(exponent), places, labels, n_threads, assign=False), 2 * exponent
            )
        )
    scaled: float = in_units(J, 2 * exponent, X=points.rows, centroids=_rows_of(centroids))
    return scaled


def means(points: Inputs, labels: np.ndarray, K: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each cluster in float64, NaN where its weight is 0, and the numbers of points."""
    origin = np.zeros((K, points.shape[1]))
    exponent, _, sums, weight_sums, counts = scaled_step(points, origin, labels, n_threads, _engine.SUM)
    if exponent == 0 and np.abs(sums).max() < _TINY_SUM and (exponent := points.safe_exponent()):
        found, counts = means(points.rescaled(exponent), labels, K, n_threads)
        return _arrays.times_power(found, exponent), counts
    filled = weight_sums > 0
    found = np.full(sums.shape, np.nan)
    np.divide(sums, weight_sums[:, None], out=found, where=filled[:, None])
    return (_arrays.times_power(found, exponent) if exponent else found), counts


def scaled_step(
    points: Inputs,
    centroids: np.ndarray | PersistentInputs,
    labels: np.ndarray,
    n_threads: int,
    outputs: int,
    squared: np.ndarray | None = None,
) -> tuple[int, float, np.ndarray, np.ndarray, np.ndarray]:
    """Do what `step` does; return an exponent, and sums that are those of X divided by 2**exponent.

    `outputs` is the sum of the constants of `_engine.step`; `squared` is filled in the units of X."""
    array = _rows_of(centroids)

    def work(
        _: Inputs, prepared: PreparedPoints, exponent: int
    ) -> tuple[int, float, np.ndarray, np.ndarray, np.ndarray]:
        if isinstance(centroids, PersistentInputs):
            scaled = centroids.rescaled(exponent) if exponent else centroids
            places = scaled.packed_centroids(prepared.itemsize)
        else:
            places = _centroids(prepared, divided(array, exponent))
        found = _engine.step(prepared, ENGINES["auto"], places, labels, squared, outputs, n_threads)
        if exponent and squared is not None:
            squared[:] = in_units(squared, 2 * exponent, X=points.rows, centroids=array)
        return exponent, *found

    return with_unit_fallback(points, work, centroids=array)


def _rows_of(centroids: np.ndarray | PersistentInputs) -> np.ndarray:
    return np.asarray(centroids.rows if isinstance(centroids, PersistentInputs) else centroids)


def divided(array: np.ndarray, exponent: int) -> np.ndarray:
    """Return an array / 2**exponent, as it is if the exponent is 0."""
    divided: np.ndarray = _arrays.times_power(array, -exponent) if exponent else array
    return divided


def _centroids(prepared: PreparedPoints, centroids: np.ndarray) -> _engine.Centroids:
    """Return centroids for one step over these points."""
    return _engine.Centroids(Points(centroids, 8), prepared.itemsize, False)


def all_distances(points: Inputs, centroids: np.ndarray, n_threads: object = None) -> np.ndarray:
    """Return the (m, K) distances of points to centroids, in the computing dtype.

    With the metric "cosine" they are those of the rows at unit length."""
    if points.kind == "sparse":
        return _all_distances_of_sparse(points, centroids, n_threads)
    threads = thread_count(n_threads, points.size * len(centroids))

    def work(_: Inputs, prepared: PreparedPoints, exponent: int) -> np.ndarray:
        scaled = divided(centroids, exponent)
        check_centroids(prepared, scaled)
        rounded = np.ascontiguousarray(scaled, np.float32 if prepared.itemsize == 4 else np.float64)
        out = np.empty((len(points), len(rounded)), rounded.dtype)
        _dense.distances(prepared, rounded, out, threads)
        distances: np.ndarray = in_units(out, exponent, X=points.rows, centroids=centroids)
        return distances

    return with_unit_fallback(points, work, centroids=centroids)


def _all_distances_of_sparse(points: Inputs, centroids: np.ndarray, n_threads: object) -> np.ndarray:
    """Return the same, a centroid at a time: the sparse kernels know no more than the closest centroid."""
    threads = thread_count(n_threads, points.size)

    def work(_: Inputs, prepared: PreparedPoints, exponent: int) -> np.ndarray:
        out = np.empty((len(points), len(centroids)), np.float32 if prepared.itemsize == 4 else np.float64)
        labels, squared = np.zeros(len(points), np.int32), np.empty(len(points))
        for k in range(len(centroids)):
            place = _centroids(prepared, divided(centroids[k : k + 1], exponent))
            _engine.step(prepared, ENGINES["auto"], place, labels, squared, _engine.ASSIGN, threads)
            np.sqrt(squared, out=out[:, k], casting="same_kind")
        distances: np.ndarray = in_units(out, exponent, X=points.rows, centroids=centroids)
        return distances

    return with_unit_fallback(points, work, centroids=centroids)


# ---- fits ---------------------------------------------------------------------------------------


def fit(
    points: Inputs, engine: EngineEntry, starts: Starts | None, options: FitOptions, progress: bool = False
) -> Result:
    """Run all restarts; return the best one."""
    total, unit = (options.n_init, "restart") if options.n_init > 1 else (options.max_iter, "iteration")
    with ProgressBar(progress, total, unit) as on_progress:

        def work(_: Inputs, prepared: PreparedPoints, exponent: int) -> dict[str, Any]:
            resolved = None if starts is None else starts.resolve(prepared, options.seed, exponent)
            own = options.in_units(exponent) if exponent else options
            try:
                fields = _lloyd.fit(prepared, engine, resolved, own, on_progress)
            except _lloyd.EmptyCluster as error:
                raise ValueError(_validate.empty_cluster_message(*error.args)) from None
            if exponent:
                given = {} if starts is None else starts.given
                fields = _fields_in_units(fields, exponent, X=points.rows, **given)
            return fields

        fields = with_unit_fallback(points, work, **({} if starts is None else starts.given))
    return Result(**fields)


def _fields_in_units(fields: dict[str, Any], exponent: int, **arrays: Any) -> dict[str, Any]:
    """Return the fields of a result of points that were divided by 2**exponent, in the units of X."""
    changed = {"centroids": in_units(fields["centroids"], exponent, **arrays)}
    for name in ("distortion", "history", "distortions"):
        if name in fields:
            changed[name] = in_units(fields[name], 2 * exponent, **arrays)
    if fields.get("path") is not None:
        changed["path"] = [in_units(centroids, exponent, **arrays) for centroids in fields["path"]]
    return fields | changed


def fit_optimal(
    points: Inputs, K: int, n_threads: object = None, *, empty: str = "drop", progress: bool = False
) -> Result:
    """Return the result with the lowest J for K clusters of points of one feature.

    Where there are fewer distinct values of positive weight, there are as many clusters, and with "reinit"
    and "farthest" others at the last centroid, without points."""
    threads = thread_count(n_threads, points.size * OPTIMAL_WORK)

    def work(scaled: Inputs, prepared: PreparedPoints, exponent: int) -> dict[str, Any]:
        fields = _fields_of_optimum(scaled, prepared, K, empty, threads)
        return _fields_in_units(fields, exponent, X=points.rows) if exponent else fields

    with ProgressBar(progress, 1, "fit") as on_progress:
        fields = with_unit_fallback(points, work)
        if on_progress is not None:
            on_progress(1)
    J = fields["distortion"]
    return Result(
        **fields,
        history=np.array([J]),
        distortions=np.array([J]),
        n_iter=0,
        stop_reason="optimal",
        path=None,
        algorithm="optimal",
    )


def _fields_of_optimum(
    points: Inputs, prepared: PreparedPoints, K: int, empty: str, n_threads: int
) -> dict[str, Any]:
    """Return centroids with labels, counts and J; clusters that rounding leaves no point are empty, too."""
    values = points.sorted_values(prepared, n_threads)
    centroids = values.centroids(min(K, len(values)), n_threads)
    if empty in ("reinit", "farthest"):
        centroids = np.concatenate([centroids, centroids[-1:].repeat(K - len(centroids), axis=0)])
    elif empty == "error" and len(centroids) < K:
        raise ValueError(_validate.empty_cluster_message(len(centroids), 0))
    while True:
        labels = _labels_of_optimum(points, prepared, values, centroids, n_threads)
        outputs = _engine.SUM + _engine.MEASURE
        squared_sum, _, weight_sums, counts = _engine.step(
            prepared, ENGINES["auto"], _centroids(prepared, centroids), labels, None, outputs, n_threads
        )
        filled = weight_sums > 0
        if filled.all() or empty in ("reinit", "farthest"):
            break
        if empty == "error":
            raise ValueError(_validate.empty_cluster_message(int(filled.argmin()), 0))
        centroids = centroids[filled]
    return {
        "centroids": centroids,
        "labels": labels,
        "counts": counts,
        "distortion": squared_sum / points.total_weight,
        "stats": {"distances_computed": 0, "distances_avoided": len(points) * K, "bytes": values.bytes},
    }


def _labels_of_optimum(
    points: Inputs, prepared: PreparedPoints, values: SortedValues, centroids: np.ndarray, n_threads: int
) -> np.ndarray:
    """Return the labels of all points of one feature for centroids that rise; equal ones are the last."""
    labels = np.empty(len(points), np.int32)
    if len(centroids) > 1 and centroids[-1] == centroids[-2]:
        places = _centroids(prepared, centroids)
        _engine.step(prepared, ENGINES["auto"], places, labels, None, _engine.ASSIGN, n_threads)
    elif values.label(prepared, centroids, labels, n_threads):
        rows = np.flatnonzero(labels < 0)
        labels[rows] = _labels_of_rows(points, rows, prepared.itemsize, centroids, n_threads)
    return labels


def _labels_of_rows(
    points: Inputs, rows: np.ndarray, itemsize: int, centroids: np.ndarray, n_threads: int
) -> np.ndarray:
    """Return the labels of some rows, as they are among all points of one feature."""
    X = points.select(slice(None))[:, 0]
    extremes = [int(X.argmin()), int(X.argmax())]  # the range of all points, on which the dtype depends
    some = Inputs(points.select(np.append(rows, extremes))).prepared_points(itemsize)
    labels = np.empty(len(rows) + 2, np.int32)
    places = _centroids(some, centroids)
    _engine.step(some, ENGINES["auto"], places, labels, None, _engine.ASSIGN, n_threads)
    return labels[:-2]
