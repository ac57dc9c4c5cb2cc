"""Calls of compiled code: engine, number of threads, and the computing dtype with its fallback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ckmeans import _dense, _engine, _lloyd, _validate
from ckmeans._config import default_threads
from ckmeans._engine import EngineEntry
from ckmeans._engines import ENGINES
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import Inputs, PersistentInputs
from ckmeans._optimal import SortedValues
from ckmeans._points import OutOfRange, Points, PreparedPoints
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans._starts import Starts

# Multiply-adds below which no thread is started, so that their number need not be determined (which
# reads files). Compiled code has the same limit.
_SERIAL_WORK = 1_000_000
_OPTIMAL_WORK = 64  # multiply-adds that take as long as the work for a value of the optimum of one feature

_T = TypeVar("_T")


def thread_count(n_threads: object, work: int) -> int:
    """Return the number of threads to use for `work` multiply-adds."""
    return _validate.threads(n_threads, (lambda: 1) if work < _SERIAL_WORK else default_threads)


# ---- computing dtype ----------------------------------------------------------------------------


def with_dtype_fallback(points: Inputs, work: Callable[[PreparedPoints], _T], **others: np.ndarray) -> _T:
    """Do `work` in the computing dtype of X, again in float64 if squares leave float32.

    `others` are the small arrays, by name, whose values may be the cause, too."""
    itemsize = points.itemsize
    while True:
        prepared = points.prepared_points(itemsize)
        try:
            return work(prepared)
        except OutOfRange as error:
            if not math.isfinite(error.args[0]):
                points.require_finite()
                for name, other in others.items():
                    _validate.require_finite(name, other)
        if itemsize == 8:
            _validate.raise_beyond_float64(X=points.rows, **others)
        itemsize = 8


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
        The (weighted) sum of squared distances; only if `measure` or `sums`.
    offsets : ndarray of shape (K, n), float64
        The (weighted) sum of x - centroid over each cluster; only if `sums`, as are the following.
    weight_sums : ndarray of shape (K,), float64
    counts : ndarray of shape (K,), int64
    """
    array = np.asarray(centroids.rows if isinstance(centroids, PersistentInputs) else centroids)
    outputs = assign * _engine.ASSIGN + sums * _engine.SUM + measure * _engine.MEASURE

    def work(prepared: PreparedPoints) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        if isinstance(centroids, PersistentInputs):
            places = centroids.packed_centroids(prepared.itemsize)
        else:
            places = _centroids(prepared, array)
        return _engine.step(prepared, ENGINES["auto"], places, labels, squared, outputs, n_threads)

    return with_dtype_fallback(points, work, centroids=array)


def _centroids(prepared: PreparedPoints, centroids: np.ndarray) -> _engine.Centroids:
    """Return centroids for one step over these points."""
    return _engine.Centroids(Points(centroids, 8), prepared.itemsize, False)


def all_distances(points: Inputs, centroids: np.ndarray, n_threads: object = None) -> np.ndarray:
    """Return the (m, K) distances of points to centroids, in the computing dtype."""
    if points.kind == "sparse":
        return _all_distances_of_sparse(points, centroids, n_threads)
    threads = thread_count(n_threads, points.size * len(centroids))

    def work(prepared: PreparedPoints) -> np.ndarray:
        check_centroids(prepared, centroids)
        rounded = np.ascontiguousarray(centroids, np.float32 if prepared.itemsize == 4 else np.float64)
        out = np.empty((len(points), len(rounded)), rounded.dtype)
        _dense.distances(prepared, rounded, out, threads)
        return out

    return with_dtype_fallback(points, work, centroids=centroids)


def _all_distances_of_sparse(points: Inputs, centroids: np.ndarray, n_threads: object) -> np.ndarray:
    """Return the same, a centroid at a time: the sparse kernels know no more than the closest centroid."""
    threads = thread_count(n_threads, points.size)
    out = np.empty((len(points), len(centroids)), points.computing_dtype)
    labels, squared = np.zeros(len(points), np.int32), np.empty(len(points))
    for k in range(len(centroids)):
        step(points, centroids[k : k + 1], labels, threads, squared=squared, assign=True)
        np.sqrt(squared, out=out[:, k], casting="same_kind")
    return out


# ---- fits ---------------------------------------------------------------------------------------


def fit(
    points: Inputs, engine: EngineEntry, starts: Starts | None, options: FitOptions, progress: bool = False
) -> Result:
    """Run all restarts; return the best one."""
    total, unit = (options.n_init, "restart") if options.n_init > 1 else (options.max_iter, "iteration")
    with ProgressBar(progress, total, unit) as on_progress:

        def work(prepared: PreparedPoints) -> dict[str, Any]:
            resolved = None if starts is None else starts.resolve(prepared, options.seed)
            try:
                return _lloyd.fit(prepared, engine, resolved, options, on_progress)
            except _lloyd.EmptyCluster as error:
                raise ValueError(_validate.empty_cluster_message(*error.args)) from None

        fields = with_dtype_fallback(points, work)
    return Result(**fields)


def fit_optimal(
    points: Inputs, K: int, n_threads: object = None, *, empty: str = "drop", progress: bool = False
) -> Result:
    """Return the result with the lowest J for K clusters of points of one feature.

    Where there are fewer distinct values of positive weight, there are as many clusters, and with "reinit"
    and "farthest" others at the last centroid, without points."""
    threads = thread_count(n_threads, points.size * _OPTIMAL_WORK)

    def work(prepared: PreparedPoints) -> dict[str, Any]:
        return _fields_of_optimum(points, prepared, K, empty, threads)

    with ProgressBar(progress, 1, "fit") as on_progress:
        fields = with_dtype_fallback(points, work)
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
