"""Calls of compiled code: engine, number of threads, and the computing dtype with its fallback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ckmeans import _dense, _engine_choice, _lloyd, _step, _validate
from ckmeans._config import default_threads
from ckmeans._fit_options import Annealing, FitOptions
from ckmeans._inputs import Inputs
from ckmeans._points import OutOfRange, Points
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans._starts import Starts
from ckmeans._store import Store as PreparedPoints

# Multiply-adds below which no thread is started, so that their number need not be determined (which
# reads files). Compiled code has the same limit.
_SERIAL_WORK = 1_000_000
# Chunks and sparse rows are read by one engine each.
_ONLY_ENGINE = {"chunks": "dense", "sparse": "sparse"}
_NO_ANNEALING = Annealing()

_T = TypeVar("_T")


def engine_name(points: Inputs, algorithm: object) -> str:
    """Return the name of an engine that can read these points, or "auto"."""
    only = _ONLY_ENGINE.get(points.kind)
    if only is None:
        return _validate.algorithm(algorithm, *points.shape)
    _validate.choice("algorithm", algorithm, ("auto", only))
    return only


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
            if not math.isfinite(_max_abs(error, prepared)):
                if place := points.first_not_finite():
                    _validate.raise_not_finite("X", *place)
                for name, other in others.items():
                    _validate.require_finite(name, other)
        if itemsize == 8:
            _validate.raise_beyond_float64(X=points.rows, **others)
        itemsize = 8


def _max_abs(error: OutOfRange, prepared: PreparedPoints) -> float:
    """Return the magnitude that left the safe range: compiled code raises with its bits, an int."""
    value = error.args[0]
    return value if isinstance(value, float) else prepared.magnitude(value)


def check_range(prepared: PreparedPoints, max_abs_bits: int) -> None:
    """Raise OutOfRange if the largest magnitude that compiled code met leaves the safe range."""
    if prepared.out_of_range(max_abs_bits):
        raise OutOfRange(prepared.magnitude(max_abs_bits))


def check_centroids(prepared: PreparedPoints, centroids: np.ndarray) -> None:
    """Raise OutOfRange if the computing dtype cannot hold the squares of these centroids."""
    max_abs = float(np.abs(centroids).max())
    if not max_abs <= prepared.largest:
        raise OutOfRange(max_abs)


# ---- single steps -------------------------------------------------------------------------------


def step(
    points: Inputs,
    centroids: np.ndarray,
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
    centroid_points = Points(centroids, 8)
    with_tree = assign and points.persistent and _engine_choice.tree_pays_for_labels(points, len(centroids))

    def work(prepared: PreparedPoints) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        if with_tree:
            check_range(prepared, _step.assign_in_boxes(prepared, centroid_points, labels, n_threads))
            if squared is None and not (measure or sums):
                return 0.0, *3 * (labels[:0],)
        max_abs_bits, *found = _step.step(
            prepared, centroid_points, labels, squared, assign and not with_tree, sums, measure, n_threads
        )
        check_range(prepared, max_abs_bits)
        return found  # type: ignore[return-value]

    return with_dtype_fallback(points, work, centroids=centroids)


def all_distances(points: Inputs, centroids: np.ndarray, n_threads: object = None) -> np.ndarray:
    """Return the (m, K) distances of the points of an array to centroids, in the computing dtype."""
    threads = thread_count(n_threads, points.size * len(centroids))

    def work(prepared: PreparedPoints) -> np.ndarray:
        check_centroids(prepared, centroids)
        rounded = np.ascontiguousarray(centroids, np.float32 if prepared.itemsize == 4 else np.float64)
        out = np.empty((len(points), len(rounded)), rounded.dtype)
        check_range(prepared, _dense.distances(prepared, rounded, out, threads))
        return out

    return with_dtype_fallback(points, work, centroids=centroids)


# ---- fits ---------------------------------------------------------------------------------------


def fit(
    points: Inputs, engine: str, starts: Starts | None, options: FitOptions, progress: bool = False
) -> Result:
    """Run all restarts; return the best one."""
    return fit_with_ends(points, engine, starts, options, progress)[0]


def fit_with_ends(
    points: Inputs, engine: str, starts: Starts | None, options: FitOptions, progress: bool = False
) -> tuple[Result, np.ndarray]:
    """Run all restarts; return the best one, and with `keep_ends` the final centroids of each."""
    total, unit = (options.n_init, "restart") if options.n_init > 1 else (options.max_iter, "iteration")
    with ProgressBar(progress, total, unit) as on_progress:

        def work(prepared: PreparedPoints) -> dict[str, Any]:
            resolved = None if starts is None else starts.resolve(prepared, options.seed)
            return _call_lloyd(prepared, points, engine, resolved, options, on_progress)

        fields = with_dtype_fallback(points, work)
    ends = fields.pop("ends")
    return Result(**fields), ends


def _call_lloyd(
    prepared: PreparedPoints,
    points: Inputs,
    engine: str,
    starts: np.ndarray | Callable[[int], np.ndarray] | None,
    options: FitOptions,
    on_progress: Callable[[int], Any] | None,
) -> dict[str, Any]:
    """Call the compiled loop: the only place that knows its signature."""
    auto = engine == "auto"
    if auto:
        engine = _engine_choice.choose_engine(points, options.K, options.n_init)
    annealing = options.annealing or _NO_ANNEALING
    given = starts if isinstance(starts, np.ndarray) else None
    try:
        return _lloyd.fit(
            prepared,
            algorithm=_lloyd.ALGORITHMS.index(engine),
            watchful=auto,
            late=auto and engine != "cells" and _engine_choice.screening_may_pay(points, options.K),
            K=options.K,
            trials=options.trials,
            given=given,
            start=None if given is not None else starts,  # type: ignore[arg-type]
            n_init=options.n_init,
            max_iter=options.max_iter,
            tol=options.tol,
            tol_shift=-1.0 if options.shift_tol is None else options.shift_tol,
            relax=annealing.relaxation,
            noise=annealing.noise,
            cooling=annealing.cooling_steps,
            empty=_lloyd.EMPTY_POLICIES[options.empty],
            seed=options.seed,
            n_threads=options.n_threads,
            callback=options.callback,
            beat=on_progress,
            keep_path=options.keep_path,
            keep_ends=options.keep_ends,
        )
    except _lloyd.EmptyCluster as error:
        raise ValueError(_validate.empty_cluster_message(*error.args)) from None
