"""The best centroids for each of many K, in far less time than fits of their own would take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ckmeans import _boxes, _run, _sources, _validate
from ckmeans._result import Result
from ckmeans._sources import Prepared
from ckmeans.api import assign, kmeans, prepare

# Restarts run on a sample of at least so many points, and so many for each cluster.
_SAMPLE, _SAMPLE_EACH = 8192, 100
# Up to so many features a sample is the means of small boxes.
_BOXED = 3
# How often the Ks are gone through, up and down, and how many starts each time come from the best
# centroids of the K before, and from the best of the same K by moving one.
_ROUNDS, _GROWN, _SWAPPED = 2, 3, 4
# Of random points so many of the ends go on for so many updates on all points. The best goes on to its
# end, to this part of the tolerance, since it stands for all restarts.
_FINALISTS, _HEAT, _FINISH = 4, 2, 0.1
# The tolerance on means of boxes: they are few, and starts are told apart by their ends.
_COARSE = 1e-5


def steps(ks: list[int]) -> int:
    """How many steps a search takes, which `beat` counts."""
    firsts_and_ends, climbs = 2 * len(ks), 2 * len(ks) - 1 - (ks[0] == 1)
    return firsts_and_ends + _ROUNDS * (climbs + len(ks) - 1)


class Search:
    """Restarts for every K on a sample, and more of them from what was found for its neighbours."""

    def __init__(
        self,
        X: Prepared,
        ks: list[int],
        n_init: int,
        rng: np.random.Generator,
        options: dict[str, Any],
        beat: Callable[[int], None] | None = None,
    ) -> None:
        self.X, self.rng, self.options = X, rng, options
        self.beat, self.done = beat, 0
        self.few = X.shape[1] <= _BOXED and X.has_rows
        self.sample = _sample(X, max(_SAMPLE, _SAMPLE_EACH * ks[-1]), rng)
        self.coarse = dict(options, tol=_COARSE if self.few else options["tol"])
        self.best: Result | None = None
        self.found: dict[int, list[Result]] = {K: [] for K in ks}
        for K in ks:
            self._try(K, "k-means++", n_init)
        for _ in range(_ROUNDS):
            for fewer, K in zip([0, *ks], ks, strict=False):
                self._climb(fewer, K)
            for K, more in zip(ks[-2::-1], ks[::-1], strict=False):
                self._try(K, _run.Given([_merged(self.found[more][0], K)]), 1)

    def _climb(self, fewer: int, K: int) -> None:
        if fewer:
            starts = self._grown(self.sample, self.found[fewer][0].centroids, K, _GROWN)
            self._try(K, _run.Given(starts), _GROWN)
        if K > 1:  # one centroid goes, another comes
            starts = self._grown(self.sample, _merged(self.found[K][0], K - 1), K, _SWAPPED)
            self._try(K, _run.Given(starts), _SWAPPED)

    def _try(self, K: int, init: Any, n_init: int) -> None:
        """Run these starts on the sample; found[K] keeps the best of them, the best of all first."""
        self.found[K].append(self._fit(self.sample, K, init, self.coarse, n_init))
        self.found[K].sort(key=lambda run: run.distortion)
        self._tick()

    def _tick(self) -> None:
        self.done += 1
        if self.beat is not None:
            self.beat(self.done)

    def _fit(self, X: Prepared, K: int, init: Any, options: dict[str, Any], n_init: int = 1) -> Result:
        algorithm: Any = "cells" if self.few else "auto"
        return kmeans(X, K, init=init, n_init=n_init, seed=self.rng, algorithm=algorithm, **options)

    def settle(self, K: int) -> Result:
        """The best result on all points; its distortion is not above that of the K before."""
        best = self.found[K][0]
        if self.sample is not self.X:
            best = self._finish(K)
        before = self.best
        if before is not None and best.distortion > before.distortion:
            (start,) = self._grown(self.X, before.centroids, K, 1)
            more = self._fit(self.X, K, start, self.options)
            best = min(more, best, before, key=lambda run: run.distortion)
        self.best = best
        self._tick()
        return best

    def _finish(self, K: int) -> Result:
        """Of what the sample found, the best on all points, run to its end there."""
        winner = self.found[K][0]
        if not self.few:
            heat = dict(self.options, max_iter=min(_HEAT, self.options["max_iter"]))
            finalists = _different(self.found[K])[:_FINALISTS]
            heats = [self._fit(self.X, K, run.centroids, heat) for run in finalists]
            winner = min(heats, key=lambda run: run.distortion)
        last = dict(self.options, tol=_FINISH * self.options["tol"])
        return self._fit(self.X, K, winner.centroids, last)

    def _grown(self, X: Prepared, centroids: np.ndarray, K: int, count: int) -> list[np.ndarray]:
        """`count` times K centroids: the given ones, and others drawn as k-means++ draws."""
        threads = self.options["n_threads"]
        _, squared = assign(X, centroids, return_squared_distance=True, n_threads=threads)
        return [self._extended(X, centroids, squared, K) for _ in range(count)]

    def _extended(self, X: Prepared, centroids: np.ndarray, squared: np.ndarray, K: int) -> np.ndarray:
        weights = X.weights
        while len(centroids) < K:
            far = np.cumsum(squared if weights is None else squared * weights)
            row = min(int(np.searchsorted(far, self.rng.random() * far[-1], side="right")), len(X) - 1)
            added = _dense(_sources.rows(X, slice(row, row + 1))).astype(centroids.dtype)
            centroids = np.concatenate([centroids, added])
            if len(centroids) < K:
                _, closer = assign(
                    X, added, return_squared_distance=True, n_threads=self.options["n_threads"]
                )
                squared = np.minimum(squared, closer)
        return centroids


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
        centroids, counts = np.delete(centroids, j, axis=0), np.delete(counts, j)
    return centroids.astype(result.centroids.dtype)


def _different(runs: list[Result]) -> list[Result]:
    """Of sorted runs those that did not end where the one before ended."""
    return [
        run for i, run in enumerate(runs) if i == 0 or run.distortion > runs[i - 1].distortion * (1 + 1e-4)
    ]


def _sample(X: Prepared, size: int, rng: np.random.Generator) -> Prepared:
    """About `size` points that stand for all, with their weights; all points where they are few.

    Of few features they are the means of boxes of points, whose J differs from that of all points by
    little more than a constant; else points drawn at random.
    """
    m = len(X)
    if m < 2 * size:
        return X
    if X.shape[1] > _BOXED or not X.has_rows:
        return random_sample(X, size, rng)
    threads = _run.threads(None, X.size)
    means, weights = _run.in_safe_dtype(
        X, X.weights, lambda store: _boxes.box_means(store, 4 * m // size, threads)
    )
    dtype = np.float32 if _validate.itemsize(X) == 4 else np.float64
    return prepare(means.astype(dtype), sample_weight=weights)


def random_sample(X: Prepared, size: int, rng: np.random.Generator) -> Prepared:
    """About `size` points that weigh something; all points where they are few."""
    weights = X.weights
    if len(X) < 2 * size:
        return X
    rows = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    if len(rows) > size:
        rows = rows[np.unique(rng.integers(len(rows), size=size))]
    return prepare(_sources.rows(X, rows), sample_weight=None if weights is None else weights[rows])
