"""kmeans_many: many problems in one call, each with the result of a call of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ckmeans import _dispatch, _lloyd, _optimal, _problems, _starts, _validate
from ckmeans._fit_options import EachFit, FitOptions
from ckmeans._lloyd import STOP_REASONS
from ckmeans._points import ProblemResults, ProblemRows
from ckmeans._problems import Problems
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans._starts import Init
from ckmeans._unit_length import unit_rows
from ckmeans.api import kmeans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

_REASONS = np.array([*STOP_REASONS, "optimal"])  # by status
_ROW_PADDING = 16  # values: at least those of src/simd/kernels.h
_OUT_OF_RANGE = -1  # the status of a problem whose squares leave the computing dtype

# A problem is fitted on all threads, as by `kmeans`, from so many rows or multiply-adds of a step on: it
# then takes memory for each thread, and its parts are as many as threads can use.
_LARGE_ROWS = 1 << 18
_LARGE_WORK = 1 << 31
# So it is from this work on if there are fewer than so many such problems for each thread, as at the end
# threads would wait for the last one.
_DIVISIBLE_WORK = 1 << 24
_PROBLEMS_PER_THREAD = 4


class ManyResult:
    """The results of many problems.

    Attributes
    ----------
    centroids : ndarray of shape (P, K, n), float32 or float64
        Of each problem; K is the largest number of clusters. Rows beyond a problem's clusters are NaN.
        float64 if any problem was computed in it.
    counts : ndarray of shape (P, K), int64
        Points of each cluster; 0 beyond a problem's clusters.
    labels : ndarray of shape (P, m) or (m,), or list of ndarray, int32
        Index of each point's centroid among those of its problem, in the form of the weights: (P, m) for
        a stack, a list for a list, (m,) with `groups`.
    distortions : ndarray of shape (P,), float64
        J of each problem.
    n_iter : ndarray of shape (P,), int64
        Number of updates of the best restart of each problem.
    stop_reasons : ndarray of shape (P,), str
        As ``Result.stop_reason`` of each problem.
    """

    __slots__ = ("centroids", "counts", "distortions", "labels", "n_iter", "stop_reasons")

    def __init__(
        self,
        centroids: np.ndarray,
        counts: np.ndarray,
        labels: Any,
        distortions: np.ndarray,
        n_iter: np.ndarray,
        stop_reasons: np.ndarray,
    ) -> None:
        self.centroids, self.counts, self.labels = centroids, counts, labels
        self.distortions, self.n_iter, self.stop_reasons = distortions, n_iter, stop_reasons

    def __len__(self) -> int:
        return len(self.distortions)

    @property
    def converged(self) -> np.ndarray:
        """Whether each problem's run converged, (P,)."""
        return np.isin(self.stop_reasons, ("stable", "tolerance", "optimal"))

    def __repr__(self) -> str:
        P, K, n = self.centroids.shape
        J = self.distortions.mean()
        return f"<ckmeans.ManyResult: {P} problems, K={K} x {n}, mean distortion={J:.6g}>"


def kmeans_many(
    problems: Any,
    K: int | Iterable[int],
    *,
    groups: ArrayLike | None = None,
    init: Init = "k-means++",
    frozen: int | ArrayLike | None = None,
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    empty: Literal["drop", "reinit", "farthest", "error"] = "drop",
    search: Literal["swap"] | None = None,
    max_swaps: int | None = None,
    sample_weight: Any = None,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    algorithm: Literal["auto", "dense", "cells", "screen", "optimal"] = "auto",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> ManyResult:
    """Cluster the points of many problems, each by itself, in one call.

    The result of each is bit for bit that of ``kmeans(problem, K, seed=seed, ...)``. The problems are
    shared out over the threads, without work in Python for each; a large one runs on all threads. One
    feature gives the optimum of each, as in `kmeans`.

    Parameters
    ----------
    problems : array_like of shape (P, m, n), list of array_like of shape (?, n), or points with `groups`
        The points of each problem, in any form that `kmeans` takes.
    K : int, or P of them
        Number of clusters of all problems, or of each one.
    groups : array_like of shape (m,), optional
        An integer for each row of `problems`, which are then points of shape (m, n): rows of equal ones
        are a problem. The problems are in rising order of it, as in ``numpy.unique(groups)``.
    init : {"k-means++", "random"}, array_like of shape (K, n) or (P, K, n), or callable
        As for `kmeans`: an array is the start of all problems, or the start of each.
    frozen : int or array_like of bool, optional
        As for `kmeans`, the same for all problems.
    n_init, max_iter, tol, empty, search, max_swaps : optional
        As for `kmeans`.
    sample_weight : array_like of shape (P, m), list of array_like, or array_like of shape (m,), optional
        Weights of the points: an array for a stack, a list for a list (None in it: each weighs 1), or one
        number a row with `groups`.
    metric : {"euclidean", "cosine"}
        As for `kmeans`.
    algorithm : {"auto", "dense", "cells", "screen", "optimal"}
        As for `kmeans`.
    seed : int, numpy.random.Generator or None
        The same number for each problem; a generator draws one after the other, as in a loop.
    n_threads : int, optional
        As for `kmeans`; the result does not depend on it.
    progress : bool
        Show a progress bar over the problems (needs tqdm).

    Returns
    -------
    ManyResult
        Arrays with the results of all problems.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names the problem.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> X = numpy.random.default_rng(0).random((1000, 150, 4))
    >>> r = ckmeans.kmeans_many(X, 3, seed=0)
    >>> r.centroids.shape, r.labels.shape, r.distortions.shape
    ((1000, 3, 4), (1000, 150), (1000,))
    """
    read = _problems.read(problems, groups, sample_weight)
    options: dict[str, Any] = {"n_init": n_init, "max_iter": max_iter, "tol": tol, "empty": empty}
    options |= {"metric": metric, "search": search, "max_swaps": max_swaps}
    fits = Fits(read, K, init, algorithm, seed, n_threads, options, frozen)
    with ProgressBar(progress, len(read), "problem") as on_progress:
        fits.run(on_progress)
    return fits.result()


def _padded(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of NaN with room behind it: kernels load the end of the last row as a whole vector."""
    values = np.full(math.prod(shape) + _ROW_PADDING, np.nan, dtype)
    return values[:-_ROW_PADDING].reshape(shape)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of Lloyd's algorithm and of the search, checked."""
    metric = _validate.choice("metric", options["metric"], _validate.METRICS)
    search, max_swaps = _validate.search(options["search"], options["max_swaps"], "array", metric)
    return {
        "n_init": _validate.integer("n_init", options["n_init"], 1),
        "max_iter": _validate.integer("max_iter", options["max_iter"], 1),
        "tol": _validate.tolerance(options["tol"]),
        "empty": _validate.choice("empty", options["empty"], _validate.EMPTY),
        "metric": metric,
        "search": search,
        "max_swaps": max_swaps,
    }


class Fits:
    """The fits of many problems: options, and results so far.

    Attributes
    ----------
    options : dict
        Those of `kmeans` that are checked and the same for all.
    status : ndarray of shape (P,), int32
        Why each fit stopped; negative: there is no result yet.
    """

    def __init__(
        self,
        problems: Problems,
        K: object,
        init: Any,
        algorithm: Any,
        seed: Any,
        n_threads: object,
        options: dict[str, Any],
        frozen: Any = None,
    ) -> None:
        self.problems, self.init, self.algorithm, self.seed = problems, init, algorithm, seed
        self.frozen = frozen
        self.Ks = _validate.clusters_of_each(K, problems.lengths, problems.name)
        self.options = _checked(options)
        work = int((problems.lengths * self.Ks).sum()) * problems.n
        self.options["n_threads"] = _dispatch.thread_count(n_threads, work)
        P, largest = len(problems), int(self.Ks.max())
        self.seeds = _validate.seeds(seed, P)
        self.starts = self._given_starts()
        self.optimum = _validate.wants_optimum(
            algorithm,
            "array",
            (int(problems.lengths.max()), problems.n),
            default_init=_starts.is_default(init),
            metric=self.options["metric"],
            frozen=frozen is not None,
        )
        first_start = init if self.starts is None else self.starts[0]
        self.flags = _validate.frozen(frozen, first_start, largest)
        dtype = np.float64 if (problems.itemsizes == 8).all() else np.float32
        self.centroids = _padded((P, largest, problems.n), dtype)
        self.counts = np.zeros((P, largest), np.int64)
        self.labels = np.empty(problems.first[-1], np.int32)
        self.distortions, self.n_iter = np.empty(P), np.zeros(P, np.int64)
        self.status = np.full(P, _OUT_OF_RANGE, np.int32)

    def _given_starts(self) -> np.ndarray | None:
        """Return the starts that are given as an array, (P, K, n) or (1, K, n), or with fewer rows."""
        if isinstance(self.init, str) or callable(self.init):
            return None
        P, K, n = len(self.problems), self.Ks, self.problems.n
        starts = _validate.starts_of_each(self.init, int(K.min()), n, P)
        if starts.shape[1] == K.max() and self.options["n_init"] != 1:
            raise ValueError(f"n_init must be 1 if init is an array, found {self.options['n_init']}")
        return starts

    def run(self, on_progress: Callable[[int], None] | None) -> None:
        """Fit all problems: those that are shared out over the threads, then the others one by one."""
        shared = np.zeros(len(self.problems), bool)
        if (self.problems.itemsizes > 0).any() and not callable(self.init):
            shared = (self.problems.itemsizes > 0) & ~self._are_large()
        if shared.any():
            self._run_shared(shared, on_progress)
        for i in np.flatnonzero(self.status < 0).tolist():
            self._run_alone(i)
            if on_progress is not None:
                on_progress(int((self.status >= 0).sum()))

    def _are_large(self) -> np.ndarray:
        """Return which problems are fitted on all threads."""
        per_row = _dispatch.OPTIMAL_WORK if self.optimum else self.Ks * self.problems.n
        work = self.problems.lengths * np.asarray(per_row, float)
        divisible = work >= _DIVISIBLE_WORK
        few = work * self.options["n_threads"] * _PROBLEMS_PER_THREAD > work.sum()
        return (self.problems.lengths >= _LARGE_ROWS) | (work >= _LARGE_WORK) | (divisible & few)

    # ---- shared out over the threads ----

    def _run_shared(self, shared: np.ndarray, on_progress: Callable[[int], None] | None) -> None:
        """Fit problems in their computing dtype, and in float64 those whose squares leave float32."""
        rows, itemsizes = self.problems.rows(), self.problems.itemsizes
        for itemsize in (4, 8):
            which = np.flatnonzero(shared & (self.status == _OUT_OF_RANGE) & (itemsizes <= itemsize))
            if not len(which):
                continue
            self._widen(itemsize)
            if self.optimum:
                self._find_optima(rows, which, on_progress)
            else:
                self._run_lloyd(rows, which, on_progress)

    def _find_optima(
        self, rows: ProblemRows, which: np.ndarray, on_progress: Callable[[int], None] | None
    ) -> None:
        empty, n_threads = self.options["empty"], self.options["n_threads"]
        _optimal.fit_many(rows, which, self.Ks, empty, self._places(), n_threads, on_progress)
        self.status[which[self.status[which] >= 0]] = len(STOP_REASONS)

    def _run_lloyd(
        self, rows: ProblemRows, which: np.ndarray, on_progress: Callable[[int], None] | None
    ) -> None:
        longest, n = int(self.problems.lengths.max()), self.problems.n
        engine = _validate.algorithm(self.algorithm, "array", longest, n)
        options = {name: value for name, value in self.options.items() if name != "metric"}
        of_all = FitOptions(K=self.centroids.shape[1], seed=0, trials=0, frozen=self.flags, **options)
        unit = self.options["metric"] == "cosine"
        each = EachFit(self.Ks, self._trials(), self.seeds, self._starts_in_dtype(unit), unit)
        _lloyd.fit_many(rows, which, engine, of_all, each, self._places(), on_progress)

    def _starts_in_dtype(self, unit: bool) -> np.ndarray | None:
        """Return the given starts in the dtype of the centroids."""
        starts, dtype = self.starts, self.centroids.dtype
        if starts is not None and unit:
            rows = starts.reshape(-1, starts.shape[2])
            starts = unit_rows(rows, dtype.itemsize, "init").reshape(starts.shape)
        return None if starts is None else np.ascontiguousarray(starts, dtype)

    def _trials(self) -> np.ndarray:
        """Return the candidates per centroid of k-means++ of each problem; 0 where it draws none."""
        if self.starts is not None:
            drawn = np.where(self.Ks > self.starts.shape[1], self.Ks, 0)
        else:
            method = _validate.choice("init", self.init, _validate.INITS)
            drawn = self.Ks if method == "k-means++" else np.zeros_like(self.Ks)
        trials = {int(K): _starts.default_trials(int(K)) if K else 0 for K in np.unique(drawn)}
        return np.array([trials[K] for K in drawn.tolist()], np.int64)

    def _widen(self, itemsize: int) -> None:
        """Let the values of the centroids have so many bytes, or more."""
        if itemsize > self.centroids.itemsize:
            wider = _padded(self.centroids.shape, np.float64)
            wider[:] = self.centroids
            self.centroids = wider

    def _places(self) -> ProblemResults:
        """Return the results for compiled code."""
        return ProblemResults(
            self.centroids,
            self.counts,
            self.labels,
            self.problems.first,
            self.distortions,
            self.n_iter,
            self.status,
        )

    # ---- one by one ----

    def _run_alone(self, i: int) -> None:
        """Fit a problem as `kmeans` does."""
        init = self.init
        if self.starts is not None:
            init = self.starts[i if len(self.starts) > 1 else 0]
        drawn = self.seed is None or isinstance(self.seed, np.random.Generator)
        with _validate.naming(self.problems.name(i)):
            r = kmeans(
                self.problems.inputs(i),
                int(self.Ks[i]),
                init=init,
                frozen=self.frozen,
                algorithm=self.algorithm,
                seed=int(self.seeds[i]) if drawn else self.seed,
                **self.options,
            )
        self._store(i, r)

    def _store(self, i: int, r: Result) -> None:
        K = len(r.centroids)
        self._widen(r.centroids.itemsize)
        self.centroids[i, :K], self.counts[i, :K] = r.centroids, r.counts
        self.labels[self.problems.first[i] : self.problems.first[i + 1]] = r.labels
        self.distortions[i], self.n_iter[i] = r.distortion, r.n_iter
        self.status[i] = np.flatnonzero(r.stop_reason == _REASONS)[0]

    def result(self) -> ManyResult:
        """Return the results of all problems."""
        labels = self.problems.arrange(self.labels)
        reasons = _REASONS[self.status]
        return ManyResult(self.centroids, self.counts, labels, self.distortions, self.n_iter, reasons)
