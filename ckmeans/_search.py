"""The best centroids for each of many K, in far less time than fits of their own would take.

Restarts run on a sample of the points, and starts from what was found for a K and its neighbours; of many
points of few features more of these are annealed on a coarse sample, where a run takes little time, and
where that ended low go on to their ends on the fine one. Annealed: for a while centroids are disturbed
after each update, less and less [1]. Where there is a sample, centroids also go beyond the means, which
takes fewer updates [2]. At last the best of a K runs to its end on all points.

[1] K. Zeger, J. Vaisey and A. Gersho, "Globally optimal vector quantizer design by stochastic relaxation",
IEEE Trans. Signal Processing 40, 1992.
[2] D. Lee, S. Baek and K. Sung, "Modified k-means algorithm for vector quantizer design", IEEE Signal
Processing Letters 4, 1997.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ckmeans import _boxes, _run, _sources, _validate
from ckmeans._result import Result
from ckmeans._sources import Prepared
from ckmeans.api import assign, init_centroids, prepare, run

# The fine and the coarse sample have at least so many points, and so many for each cluster.
_FINE, _COARSE = (8192, 100), (1024, 20)
# Up to so many features a sample is the means of small boxes, and there is a coarse one.
_BOXED = 3
# How often the Ks are gone through, up and down in turn, and how many starts each time come from the best
# centroids of the K before and from the best of the same K by moving one; and the same where they are
# annealed; how far centroids go, in ways to the mean.
_SWEEPS, _GROWN, _SWAPPED, _RELAX = (5, 3), (2, 5), (1, 2), (1.5, 1.8)
# A K is left out once its best end was reached so many times, within this part of its distortion.
_MET, _SAME = 9, 2e-4
# How far centroids are disturbed at first, in mean distances, and for how many updates.
_NOISE, _COOLING = 0.4, 20
# Ends on the coarse sample, to this tolerance, go on if they are above the lowest one by at most this part.
_ENOUGH, _PROMISING = 1e-3, 0.006
# Of the ends on the sample so many are kept. Of boxes the second goes on on all points, too, if it is above
# the best one by at most this part; of random points all do, for so many updates. After a sample runs go
# on, on all points, to this part of the tolerance: some come down slowly.
_FINALISTS, _CLOSE, _HEAT, _LAST = 4, 2e-3, 2, 0.3


def steps(ks: list[int]) -> int:
    """How many steps a search takes at most, which `beat` counts."""
    return len(ks) * (1 + max(_SWEEPS) + 1)


class Search:
    """Restarts for every K on samples, and more of them from what was found for its neighbours."""

    def __init__(
        self,
        X: Prepared,
        ks: list[int],
        n_init: int,
        seed: int,
        options: dict[str, Any],
        beat: Callable[[int], None] | None = None,
    ) -> None:
        self.X, self.ks, self.options = X, ks, options
        self.rng = rng = np.random.default_rng(seed)
        self.beat, self.done = beat, 0
        self.few = X.shape[1] <= _BOXED and X.has_rows
        self.fine = _sample(X, _FINE, ks[-1], rng)
        self.coarse: Prepared | None = None
        if self.few and self.fine is not X:
            self.coarse = _coarser(_sample(X, _COARSE, ks[-1], rng))
        self.annealed = self.coarse is not None
        self.tried = self.fine if self.coarse is None else self.coarse
        self.relax = _RELAX[self.annealed]
        self.found: dict[int, list[Result]] = {K: [] for K in ks}
        self.met = dict.fromkeys(ks, 0)
        self.least = dict.fromkeys(ks, np.inf)
        self.last: Result | None = None
        self.merged = lru_cache(64)(_merged)
        self._restart(n_init, seed)
        for sweep in range(_SWEEPS[self.annealed]):
            for i in range(len(ks))[:: -1 if sweep % 2 else 1]:
                self._climb(i)
        self.done = steps(ks) - len(ks)

    def _restart(self, n_init: int, seed: int) -> None:
        """With all points the runs of separate calls, so that no J is above theirs; on a sample from the
        first K of the same centroids."""
        if self.fine is self.X:
            for K in self.ks:
                self._try(K, "k-means++", n_init, seed=seed, relax=1.0)
            return
        options = {"seed": self.rng, "n_threads": self.options["n_threads"]}
        nested = [init_centroids(self.fine, self.ks[-1], "k-means++", **options) for _ in range(n_init)]
        for K in self.ks:
            self._try_all(K, [start[:K] for start in nested])

    def _climb(self, i: int) -> None:
        """More starts for a K, unless it came to the same end again and again."""
        K, ks = self.ks[i], self.ks
        if K == 1 or self.met[K] >= _MET:
            self._tick()
            return
        starts = self._grown(self.found[K][0], K - 1, K, _SWAPPED[self.annealed])
        if i > 0:
            starts += self._grown(self.found[ks[i - 1]][0], ks[i - 1], K, _GROWN[self.annealed])
        if i + 1 < len(ks):
            starts.append(self.merged(self.found[ks[i + 1]][0], K))
        self._try_all(K, starts)

    def _try_all(self, K: int, starts: list[np.ndarray]) -> None:
        """Run these starts, annealed first where there is a coarse sample."""
        if self.coarse is not None:
            starts = self._ends(self.coarse, K, starts)
        self._try(K, _run.Given(starts), len(starts))

    def _try(self, K: int, init: Any, n_init: int, **changes: Any) -> None:
        """Run these starts to their ends on the fine sample."""
        if n_init:
            self._note(K, self._fit(self.fine, K, init, n_init, **changes))
        self._tick()

    def _ends(self, coarse: Prepared, K: int, starts: list[np.ndarray]) -> list[np.ndarray]:
        """Where these starts come to, annealed on the coarse sample, if that is low enough."""
        ends: list[np.ndarray] = []
        last = self.options["max_iter"] + _COOLING
        annealing = {"noise": _NOISE, "cooling": _COOLING, "max_iter": last, "tol": _ENOUGH}
        runs = self._fit(coarse, K, _run.Given(starts), len(starts), ends=ends, **annealing)
        self.least[K] = min(self.least[K], runs.distortion)
        low = runs.distortions <= self.least[K] * (1 + _PROMISING)
        return [ends[i] for i in np.flatnonzero(low)]

    def _note(self, K: int, runs: Result) -> None:
        """Keep the best of these runs; count those that came to the best end of all."""
        found = self.found[K]
        if found and runs.distortion < found[0].distortion * (1 - _SAME):
            self.met[K] = 0
        found.append(runs)
        self.found[K] = found = _different(sorted(found, key=lambda run: run.distortion))
        self.met[K] += int((runs.distortions <= found[0].distortion * (1 + _SAME)).sum())

    def _tick(self) -> None:
        self.done += 1
        if self.beat is not None:
            self.beat(self.done)

    def _fit(self, X: Prepared, K: int, init: Any, n_init: int = 1, **changes: Any) -> Result:
        options: dict[str, Any] = {"seed": self.rng, "relax": self.relax} | self.options | changes
        algorithm = "cells" if self.few and X is not self.coarse else "auto"
        return run(X, K, init=init, n_init=n_init, algorithm=algorithm, sample_weight=None, **options)

    def settle(self, K: int) -> Result:
        """The best result on all points; its distortion is not above that of the K before."""
        best, before = self._finish(K), self.last
        if before is not None and best.distortion > before.distortion:
            (start,) = self._grown(before, len(before.centroids), K, 1)
            more = self._fit(self.X, K, start, relax=1.0)
            best = min(more, best, before, key=lambda run: run.distortion)
        self.last = best
        self._tick()
        return best

    def _finish(self, K: int) -> Result:
        """Of what the samples gave, the best on all points, run to its end there."""
        best, *others = self.found[K]
        if self.fine is self.X:
            return self._fit(self.X, K, best.centroids, relax=1.0)
        if self.few:
            close = [run for run in others[:1] if run.distortion <= best.distortion * (1 + _CLOSE)]
            return self._go_on(K, [best, *close])
        if others:
            best = self._go_on(K, [best, *others], max_iter=min(_HEAT, self.options["max_iter"]))
        return self._go_on(K, [best])

    def _go_on(self, K: int, runs: list[Result], **changes: Any) -> Result:
        """The best of these runs, on all points."""
        starts = _run.Given([run.centroids for run in runs])
        return self._fit(self.X, K, starts, len(runs), tol=_LAST * float(self.options["tol"]), **changes)

    def _squared(self, centroids: np.ndarray) -> np.ndarray:
        """The weighted squared distances of the sample on which starts are tried first."""
        threads, weights = self.options["n_threads"], self.tried.weights
        squared: np.ndarray
        _, squared = assign(self.tried, centroids, return_squared_distance=True, n_threads=threads)
        return squared if weights is None else squared * weights

    def _grown(self, result: Result, fewer: int, K: int, count: int) -> list[np.ndarray]:
        """`count` times so many fewer centroids of a result, with others drawn as k-means++ draws."""
        centroids = self.merged(result, fewer)
        squared, grown = self._squared(centroids), []
        for added in self._drawn(squared, count):
            more, left = np.concatenate([centroids, added]), squared
            while len(more) < K:
                left = np.minimum(left, self._squared(more[-1:]))
                more = np.concatenate([more, *self._drawn(left, 1)])
            grown.append(more.astype(centroids.dtype))
        return grown

    def _drawn(self, squared: np.ndarray, count: int) -> np.ndarray:
        """Points of that sample, (count, 1, n), each drawn with its part of these squared distances."""
        far = np.cumsum(squared)
        rows = np.searchsorted(far, self.rng.random(count) * far[-1], side="right")
        return _dense(_sources.rows(self.tried, np.minimum(rows, len(far) - 1)))[:, None]


def _dense(some: Any) -> np.ndarray:
    dense: np.ndarray = some if isinstance(some, np.ndarray) else some.toarray()
    return dense


def _merged(result: Result, K: int) -> np.ndarray:
    """K centroids from more: the two whose union costs least (J. H. Ward, 1963) become one, and again."""
    centroids, counts = result.centroids.astype(np.float64), result.counts.astype(np.float64)
    while len(centroids) > K:
        between = ((centroids[:, None] - centroids) ** 2).sum(axis=2)
        cost = between * (counts[:, None] * counts / np.maximum(counts[:, None] + counts, 1))
        np.fill_diagonal(cost, np.inf)
        i, j = np.unravel_index(cost.argmin(), cost.shape)
        total = max(float(counts[i] + counts[j]), 1.0)
        centroids[i] += (centroids[j] - centroids[i]) * (counts[j] / total)
        counts[i] += counts[j]
        others = np.arange(len(counts)) != j
        centroids, counts = centroids[others], counts[others]
    return centroids.astype(result.centroids.dtype)


def _different(runs: list[Result]) -> list[Result]:
    """The first few of sorted runs that did not end where the one before ended."""
    return [
        run for i, run in enumerate(runs) if i == 0 or run.distortion > runs[i - 1].distortion * (1 + 1e-4)
    ][:_FINALISTS]


def _sample(X: Prepared, size: tuple[int, int], K: int, rng: np.random.Generator) -> Prepared:
    """About so many points, or so many for each cluster, that stand for all, with their weights; all
    points where they are few.

    Of few features they are the means of boxes of points, whose J differs from that of all points by
    little more than a constant; else points drawn at random.
    """
    m, least = len(X), max(size[0], size[1] * K)
    if m < 2 * least:
        return X
    if X.shape[1] > _BOXED or not X.has_rows:
        return random_sample(X, least, rng)
    threads = _run.threads(None, X.size)
    means, weights = _run.in_safe_dtype(
        X, X.weights, lambda store: _boxes.box_means(store, 4 * m // least, threads)
    )
    dtype = np.float32 if _validate.itemsize(X) == 4 else np.float64
    return prepare(means.astype(dtype), sample_weight=weights)


def _coarser(sample: Prepared) -> Prepared:
    """The same in float32, which is faster, where that tells the points apart."""
    points = _sources.inner(sample)
    largest = float(np.abs(points).max())
    if points.dtype != np.float64 or not largest < 1e15 or not points.std() > max(1e-15, 1e-4 * largest):
        return sample
    return prepare(points.astype(np.float32), sample_weight=sample.weights)


def random_sample(X: Prepared, size: int, rng: np.random.Generator) -> Prepared:
    """About `size` points that weigh something; all points where they are few."""
    weights = X.weights
    if len(X) < 2 * size:
        return X
    rows = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    if len(rows) > size:
        rows = rows[np.unique(rng.integers(len(rows), size=size))]
    return prepare(_sources.rows(X, rows), sample_weight=None if weights is None else weights[rows])
