"""Search for the best centroids of each of many K, in far less time than separate fits would take.

Restarts run on a fine sample of the points, starting from the results found so far for the same K and for
its neighbours. For many points of few features, more starts are first annealed on a coarse sample, on which
fits are fast, and those that end with a low distortion continue on the fine one. Annealing adds noise to the
centroids after each update, decreasing over some updates [1]. On samples, updates are also over-relaxed,
which takes fewer of them [2]. Finally the best result for each K continues on all points until it stops.

[1] K. Zeger, J. Vaisey and A. Gersho, "Globally optimal vector quantizer design by stochastic relaxation",
IEEE Trans. Signal Processing 40, 1992.
[2] D. Lee, S. Baek and K. Sung, "Modified k-means algorithm for vector quantizer design", IEEE Signal
Processing Letters 4, 1997.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ckmeans import _cells, _dispatch, _inputs, _validate
from ckmeans._engine import EngineEntry
from ckmeans._engines import ENGINES
from ckmeans._fit_options import Annealing, FitOptions
from ckmeans._inputs import PersistentInputs
from ckmeans._result import Result
from ckmeans._starts import StartArray, default_trials
from ckmeans.api import assign, init_centroids

# The values were tuned by experiment: they decide how low J gets and how fast, not what a result means.

# Sizes of the samples, in points.
_FINE_MIN_POINTS = 8192
_FINE_POINTS_PER_CLUSTER = 100
_COARSE_MIN_POINTS = 1024
_COARSE_POINTS_PER_CLUSTER = 20
_TREE_MAX_FEATURES = 3  # up to this many, samples are means of tree nodes, and there is a coarse one


@dataclass(frozen=True)
class _Schedule:
    """How much of what a search does."""

    sweeps: int  # passes over all K, alternately in decreasing and increasing order
    grown: int  # starts per K and sweep: the best centroids for the K before, with some added
    swapped: int  # starts per K and sweep: the best centroids for the same K, with one moved
    relaxation: float  # how far centroids move, in multiples of the way to the mean


_PLAIN = _Schedule(sweeps=5, grown=2, swapped=1, relaxation=1.5)
_ANNEALED = _Schedule(sweeps=3, grown=5, swapped=2, relaxation=1.8)

_MAX_HITS = 9  # restarts that reach the best distortion before a K is left out of further sweeps
_SAME_DISTORTION = 2e-4  # relative difference of J below which a restart counts as reaching the best
_SAME_RESULT = 1e-4  # relative difference of J below which two results are the same local minimum
_NOISE = 0.4  # root mean square displacement of the first update of annealing, in roots of J
_COOLING_STEPS = 20  # updates over which the noise decreases to 0
_COARSE_TOL = 1e-3  # tolerance on the coarse sample, relative decrease of J
_PROMISING = 0.006  # relative excess of J over the lowest on the coarse sample up to which starts continue
_FINALISTS = 4  # results kept per K
# Node means: relative excess of J on the sample up to which the second best continues, too, on all points.
_CLOSE_SECOND = 2e-3
_TRIAL_UPDATES = 2  # random sample: updates on all points after which the best finalist is chosen
# Tolerance of the last fit on all points after a sample, in multiples of the user's: some converge slowly.
_FINAL_TOL_FACTOR = 0.3


def n_steps(ks: list[int]) -> int:
    """Return the total that `on_progress` counts up to."""
    return len(ks) * (1 + max(_PLAIN.sweeps, _ANNEALED.sweeps) + 1)


def search(
    points: PersistentInputs,
    ks: list[int],
    options: FitOptions,
    n_threads: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return the best result found for each of these K, which increase; its J never increases with K.

    `options` says how to fit; its K, number of threads and candidates are set for each fit."""
    rng = np.random.default_rng(options.seed)
    samples = Samples.draw(points, ks[-1], rng, n_threads)
    return Search(samples, ks, options, n_threads, rng, on_progress).run()


@dataclass(frozen=True)
class Samples:
    """All points, and the samples of them that a search fits."""

    points: PersistentInputs
    fine: PersistentInputs  # all points if they are few
    coarse: PersistentInputs | None  # means of tree nodes, for annealing
    of_nodes: bool  # whether samples are means of tree nodes

    @classmethod
    def draw(
        cls, points: PersistentInputs, max_K: int, rng: np.random.Generator, n_threads: int | None
    ) -> Samples:
        """Draw samples large enough for max_K clusters."""
        of_nodes = points.shape[1] <= _TREE_MAX_FEATURES and points.kind == "array" and not points.is_cosine
        size = max(_FINE_MIN_POINTS, _FINE_POINTS_PER_CLUSTER * max_K)
        fine = _node_means(points, size, n_threads) if of_nodes else random_sample(points, size, rng)
        coarse = None
        if of_nodes and fine is not points:
            size = max(_COARSE_MIN_POINTS, _COARSE_POINTS_PER_CLUSTER * max_K)
            coarse = _in_float32(_node_means(points, size, n_threads))
        return cls(points, fine, coarse, of_nodes)

    @property
    def first(self) -> PersistentInputs:
        """The sample on which starts are tried first."""
        return self.fine if self.coarse is None else self.coarse


class Search:
    """The state of a search: the best results for each K so far."""

    def __init__(
        self,
        samples: Samples,
        ks: list[int],
        options: FitOptions,
        n_threads: int | None,
        rng: np.random.Generator,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self.samples, self.ks, self.options, self.n_threads, self.rng = samples, ks, options, n_threads, rng
        self.on_progress, self.n_done = on_progress, 0
        self.schedule = _PLAIN if samples.coarse is None else _ANNEALED
        self.results: dict[int, list[Result]] = {K: [] for K in ks}  # best first
        self.hits = dict.fromkeys(ks, 0)  # restarts that reached the best distortion
        self.min_coarse = dict.fromkeys(ks, np.inf)  # lowest distortion on the coarse sample
        self.merge = lru_cache(64)(_merge_clusters)

    def run(self) -> list[Result]:
        """Restart, refine every K in sweeps, and finish every K on all points."""
        self._restart()
        for sweep in range(self.schedule.sweeps):
            for i in range(len(self.ks))[:: -1 if sweep % 2 else 1]:
                self._refine_k(i)
        self.n_done = n_steps(self.ks) - len(self.ks)
        finished: list[Result] = []
        for K in self.ks:
            finished.append(self._finish(K, finished[-1] if finished else None))
            self._count_step()
        return finished

    # ---- on samples ----------------------------------------------------------------------------

    def _restart(self) -> None:
        """Fit every K from k-means++ starts.

        On all points as separate calls would, so that no J is above theirs; on a sample from the first K
        of the same drawn centroids."""
        n_init, fine = self.options.n_init, self.samples.fine
        if self.samples.fine is self.samples.points:
            for K in self.ks:
                options = self._fit_options(self.samples.fine, K, n_init, self.options.seed)
                options = options._replace(trials=default_trials(K))
                self._record(K, _dispatch.fit(self.samples.fine, self._engine(), None, options))
                self._count_step()
            return
        nested = [
            init_centroids(fine, self.ks[-1], seed=self.rng, metric=fine.metric, n_threads=self.n_threads)
            for _ in range(n_init)
        ]
        for K in self.ks:
            self._try_starts(K, [start[:K] for start in nested])

    def _refine_k(self, i: int) -> None:
        """Try more starts for a K, unless restarts have reached its best distortion often."""
        K, ks = self.ks[i], self.ks
        if K == 1 or self.hits[K] >= _MAX_HITS:
            self._count_step()
            return
        starts = self._grow_starts(self.results[K][0], K - 1, K, self.schedule.swapped)
        if i > 0:
            starts += self._grow_starts(self.results[ks[i - 1]][0], ks[i - 1], K, self.schedule.grown)
        if i + 1 < len(ks):
            starts.append(self.merge(self.results[ks[i + 1]][0], K))
        self._try_starts(K, starts)

    def _try_starts(self, K: int, starts: list[np.ndarray]) -> None:
        """Fit these starts on the fine sample, after annealing if there is a coarse one."""
        if self.samples.coarse is not None:
            starts = self._anneal(self.samples.coarse, K, starts)
        if starts:
            relaxed = Annealing(relaxation=self.schedule.relaxation)
            self._record(K, self._fit(self.samples.fine, starts, annealing=relaxed))
        self._count_step()

    def _anneal(self, coarse: PersistentInputs, K: int, starts: list[np.ndarray]) -> list[np.ndarray]:
        """Anneal these starts on the coarse sample; return the final centroids of those that end low."""
        annealing = Annealing(relaxation=self.schedule.relaxation, noise=_NOISE, cooling_steps=_COOLING_STEPS)
        options = self._fit_options(coarse, K, len(starts))._replace(
            annealing=annealing,
            max_iter=self.options.max_iter + _COOLING_STEPS,
            tol=_COARSE_TOL,
            keep_ends=True,
        )
        given = StartArray(np.stack(starts), coarse)
        result, ends = _dispatch.fit_with_ends(coarse, ENGINES["auto"], given, options)
        self.min_coarse[K] = min(self.min_coarse[K], result.distortion)
        promising = result.distortions <= self.min_coarse[K] * (1 + _PROMISING)
        return list(ends[promising])

    def _record(self, K: int, result: Result) -> None:
        """Keep the best of these restarts, and count those that reached the best distortion."""
        results = self.results[K]
        if results and result.distortion < results[0].distortion * (1 - _SAME_DISTORTION):
            self.hits[K] = 0
        results = _distinct(sorted([*results, result], key=lambda each: each.distortion))
        self.results[K] = results
        self.hits[K] += int((result.distortions <= results[0].distortion * (1 + _SAME_DISTORTION)).sum())

    def _count_step(self) -> None:
        self.n_done += 1
        if self.on_progress is not None:
            self.on_progress(self.n_done)

    # ---- on all points -------------------------------------------------------------------------

    def _finish(self, K: int, previous: Result | None) -> Result:
        """Return the best result on all points, with J at most that of the previous K."""
        best = self._finish_best(K)
        if previous is not None and best.distortion > previous.distortion:
            starts = self._grow_starts(previous, len(previous.centroids), K, 1)
            other = self._fit(self.samples.points, starts)
            best = min(other, best, previous, key=lambda each: each.distortion)
        return best

    def _finish_best(self, K: int) -> Result:
        """Continue the best results of the samples on all points; return the best."""
        best, *others = self.results[K]
        if self.samples.fine is self.samples.points:
            return self._fit(self.samples.points, [best.centroids])
        if self.samples.of_nodes:
            limit = best.distortion * (1 + _CLOSE_SECOND)
            return self._continue([best, *(each for each in others[:1] if each.distortion <= limit)])
        if others:
            best = self._continue([best, *others], max_iter=min(_TRIAL_UPDATES, self.options.max_iter))
        return self._continue([best])

    def _continue(self, results: list[Result], **changes: Any) -> Result:
        """Fit all points from these results; return the best."""
        return self._fit(
            self.samples.points,
            [result.centroids for result in results],
            annealing=Annealing(relaxation=self.schedule.relaxation),
            tol=_FINAL_TOL_FACTOR * self.options.tol,
            **changes,
        )

    # ---- fits ----------------------------------------------------------------------------------

    def _fit(self, points: PersistentInputs, starts: list[np.ndarray], **changes: Any) -> Result:
        options = self._fit_options(points, len(starts[0]), len(starts))._replace(**changes)
        return _dispatch.fit(points, self._engine(), StartArray(np.stack(starts), points), options)

    def _fit_options(
        self, points: PersistentInputs, K: int, n_init: int, seed: int | None = None
    ) -> FitOptions:
        threads = _dispatch.thread_count(self.n_threads, points.size * K * n_init)
        seed = _validate.seed(self.rng) if seed is None else seed
        return self.options._replace(K=K, n_init=n_init, n_threads=threads, seed=seed)

    def _engine(self) -> EngineEntry:
        """Return the engine for all points and the fine sample."""
        return ENGINES["cells" if self.samples.of_nodes else "auto"]

    # ---- starts --------------------------------------------------------------------------------

    def _squared_distances(self, centroids: np.ndarray) -> np.ndarray:
        """Return the weighted squared distances of the first sample to the closest centroid."""
        points = self.samples.first
        _, squared = assign(
            points,
            centroids,
            return_squared_distance=True,
            metric=points.metric,
            n_threads=self.n_threads,
        )
        return squared if points.weights is None else squared * points.weights

    def _grow_starts(self, result: Result, n_kept: int, K: int, count: int) -> list[np.ndarray]:
        """Return `count` starts: a result merged to n_kept centroids, and others drawn as by k-means++."""
        centroids = self.merge(result, n_kept)
        squared, grown = self._squared_distances(centroids), []
        for added in self._sample_d2(squared, count):
            start, remaining = np.concatenate([centroids, added]), squared
            while len(start) < K:
                remaining = np.minimum(remaining, self._squared_distances(start[-1:]))
                start = np.concatenate([start, *self._sample_d2(remaining, 1)])
            grown.append(start.astype(centroids.dtype))
        return grown

    def _sample_d2(self, squared: np.ndarray, count: int) -> np.ndarray:
        """Draw points of the first sample, (count, 1, n), with probability proportional to `squared`."""
        cumulative = np.cumsum(squared)
        rows = np.searchsorted(cumulative, self.rng.random(count) * cumulative[-1], side="right")
        drawn = self.samples.first.select(np.minimum(rows, len(cumulative) - 1))
        dense: np.ndarray = drawn if isinstance(drawn, np.ndarray) else drawn.toarray()
        return self.samples.first.centroids(dense, "X")[:, None]


def _merge_clusters(result: Result, K: int) -> np.ndarray:
    """Return K centroids: repeatedly merge the two clusters whose union costs least (J. H. Ward, 1963)."""
    centroids, counts = result.centroids.astype(np.float64), result.counts.astype(np.float64)
    while len(centroids) > K:
        between = ((centroids[:, None] - centroids) ** 2).sum(axis=2)
        cost = between * (counts[:, None] * counts / np.maximum(counts[:, None] + counts, 1))
        np.fill_diagonal(cost, np.inf)
        i, j = np.unravel_index(cost.argmin(), cost.shape)
        total = max(float(counts[i] + counts[j]), 1.0)
        mean = centroids[i] + (centroids[j] - centroids[i]) * (counts[j] / total)
        centroids[i] = mean if mean.any() else centroids[i]  # two directions may have none together
        counts[i] += counts[j]
        others = np.arange(len(counts)) != j
        centroids, counts = centroids[others], counts[others]
    return centroids.astype(result.centroids.dtype)


def _distinct(results: list[Result]) -> list[Result]:
    """Return the first few of sorted results that are not the local minimum of the one before."""
    return [
        result
        for i, result in enumerate(results)
        if i == 0 or result.distortion > results[i - 1].distortion * (1 + _SAME_RESULT)
    ][:_FINALISTS]


def _node_means(points: PersistentInputs, size: int, n_threads: int | None) -> PersistentInputs:
    """Return about `size` weighted means of small nodes of the k-d tree; all points if they are few.

    Their J differs from that of all points by little more than a constant."""
    m = len(points)
    if m < 2 * size:
        return points
    threads = _dispatch.thread_count(n_threads, points.size)
    means, weights = _dispatch.with_dtype_fallback(
        points, lambda prepared: _cells.node_means(prepared, 4 * m // size, threads)
    )
    return _inputs.read_persistent(means.astype(points.computing_dtype), weights)


def _in_float32(sample: PersistentInputs) -> PersistentInputs:
    """Return the sample in float32, which is faster, if that does not merge distinct points."""
    rows = sample.rows
    assert isinstance(rows, np.ndarray)
    if rows.dtype != np.float64:
        return sample
    max_abs = float(np.abs(rows).max())
    if not max_abs < 1e15 or not rows.std() > max(1e-15, 1e-4 * max_abs):
        return sample
    return _inputs.read_persistent(rows.astype(np.float32), sample.weights)


def random_sample(points: PersistentInputs, size: int, rng: np.random.Generator) -> PersistentInputs:
    """Return about `size` points of positive weight; all points if they are few."""
    weights = points.weights
    if len(points) < 2 * size:
        return points
    rows = np.arange(len(points)) if weights is None else np.flatnonzero(weights)
    if len(rows) > size:
        rows = rows[np.unique(rng.integers(len(rows), size=size))]
    return PersistentInputs(points.part(rows, None if weights is None else weights[rows]))
