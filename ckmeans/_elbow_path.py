"""A good minimum for each of many K: one path over all K on a sample, then each K on all points.

Upwards each K begins with the centroids found for the one before and others that k-means++ adds, and
goes on by swaps, unless a few starts of its own end lower. Downwards each begins with those of the K above,
of which those are merged that cost least [1], and goes on by swaps where that beats what the way up has
found. What the path finds on a sample [2] then starts Lloyd's algorithm on all points. Of few features the
sample is the weighted means of small nodes of the k-d tree, whose J differs from that of all points by
little more than a constant.

[1] J. H. Ward, "Hierarchical grouping to optimize an objective function", JASA 58, 1963.
[2] P. S. Bradley and U. M. Fayyad, "Refining initial points for k-means clustering", ICML 1998.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ckmeans import _cells, _dispatch, _inputs
from ckmeans._engines import ENGINES
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import PersistentInputs
from ckmeans._result import Result
from ckmeans._starts import StartArray, default_trials

_MIN_POINTS = 2048  # of a sample,
_POINTS_PER_CLUSTER = 100  # and for each cluster: enough to tell where it lies
_MIN_SWAPS = 8  # that are tried on the sample, or one for each cluster
_SAME = 1e-4  # relative difference of J on the sample below which two results are the same minimum,
_CLOSE = 3e-3  # and up to which the worse one may be the better one on all points
_TREE_MAX_FEATURES = 3  # up to this many, small nodes of the tree are small against clusters


def n_steps(ks: list[int]) -> int:
    """Return the total that `on_progress` counts up to."""
    return 3 * len(ks)


def fit_path(
    points: PersistentInputs,
    ks: list[int],
    options: FitOptions,
    n_threads: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return a good result for each of these K, which increase; J never rises from one to the next.

    `options` says how to fit; its `n_init` is the number of starts of the first K, and of each if all points
    are the sample, else half as many. The rest that depends on K is set for each fit."""
    path = _Path(points, ks, options, n_threads, on_progress)
    starts = path.run(points)
    results: list[Result] = []
    for K, candidates in zip(ks, starts, strict=True):
        fits = [path.fit(points, K, each.centroids, search=None) for each in candidates]
        result = min(fits, key=_distortion)
        if results and result.distortion > results[-1].distortion:
            result = path.fit(points, K, results[-1].centroids, search=None)
        # Where no other centroid lowers J, rounding may raise it.
        results.append(min([result, *results[-1:]], key=_distortion))
        path.count_step()
    return results


class _Path:
    """The fits of a sample for each K."""

    def __init__(
        self,
        points: PersistentInputs,
        ks: list[int],
        options: FitOptions,
        n_threads: int | None,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self.ks, self.options, self.n_threads = ks, options, n_threads
        self.on_progress, self.n_done = on_progress, 0
        self.sample = _draw_sample(points, ks[-1], options.seed, n_threads)
        self.n_starts = options.n_init

    def run(self, points: PersistentInputs) -> list[list[Result]]:
        """Return the best result for each K on the sample, and the other way's if that is hardly worse."""
        up: list[Result] = []
        for K in self.ks:
            fresh = self.fit(self.sample, K, None, search=None)
            grown = self.fit(self.sample, K, up[-1].centroids) if up else fresh
            if fresh.distortion < grown.distortion:
                grown = min(fresh, self.fit(self.sample, K, fresh.centroids), key=_distortion)
            up.append(grown)
            self.count_step()
            if self.sample is not points:
                self.n_starts = (self.options.n_init + 1) // 2
        found = [[up[-1]]]
        for K, other in zip(self.ks[-2::-1], up[-2::-1], strict=True):
            self.count_step()
            down = self.fit(self.sample, K, _merge_clusters(found[-1][0], K), search=None)
            if down.distortion < other.distortion:
                down = min(down, self.fit(self.sample, K, down.centroids), key=_distortion)
            best, worse = sorted([down, other], key=_distortion)
            close = best.distortion * (1 + _SAME) < worse.distortion < best.distortion * (1 + _CLOSE)
            found.append([best, worse] if close else [best])
        self.count_step()
        return found[::-1]

    def fit(
        self, points: PersistentInputs, K: int, start: np.ndarray | None, search: str | None = "swap"
    ) -> Result:
        """Return a fit from these centroids, which k-means++ completes, or from starts of its own."""
        n_init = 1 if start is not None else self.n_starts
        options = self.options._replace(
            K=K,
            n_init=n_init,
            n_threads=_dispatch.thread_count(self.n_threads, points.size * K * n_init),
            trials=default_trials(K) if start is None or len(start) < K else 0,
            search=None if points.is_cosine else search,
            settle=False,
            max_swaps=None if search is None else max(_MIN_SWAPS, K),
        )
        starts = None if start is None else StartArray(start[None], points)
        return _dispatch.fit(points, ENGINES["auto"], starts, options)

    def count_step(self) -> None:
        self.n_done += 1
        if self.on_progress is not None:
            self.on_progress(self.n_done)


def _draw_sample(points: PersistentInputs, max_K: int, seed: int, n_threads: int | None) -> PersistentInputs:
    """Return a sample large enough for max_K clusters; all points if they are few."""
    size = max(_MIN_POINTS, _POINTS_PER_CLUSTER * max_K)
    if len(points) < 8 * size:
        return points
    if points.shape[1] > _TREE_MAX_FEATURES or points.kind != "array" or points.is_cosine:
        return random_sample(points, size, np.random.default_rng(seed))
    threads = _dispatch.thread_count(n_threads, points.size)
    means, weights = _dispatch.with_dtype_fallback(
        points, lambda prepared: _cells.node_means(prepared, 2 * len(points) // size, threads)
    )
    return _inputs.read_persistent(means.astype(points.computing_dtype), weights)


def _distortion(result: Result) -> float:
    return result.distortion


def _merge_clusters(result: Result, K: int) -> np.ndarray:
    """Return K centroids: repeatedly merge the two clusters whose union costs least."""
    centroids, counts = result.centroids.astype(np.float64), result.counts.astype(np.float64)
    while len(centroids) > K:
        norms = np.einsum("kn,kn->k", centroids, centroids)
        between = np.maximum(norms[:, None] + norms - 2 * centroids @ centroids.T, 0)
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


def random_sample(points: PersistentInputs, size: int, rng: np.random.Generator) -> PersistentInputs:
    """Return about `size` points of positive weight; all points if they are few."""
    weights = points.weights
    if len(points) < 2 * size:
        return points
    rows = np.arange(len(points)) if weights is None else np.flatnonzero(weights)
    if len(rows) > size:
        rows = rows[np.unique(rng.integers(len(rows), size=size))]
    return PersistentInputs(points.part(rows, None if weights is None else weights[rows]))
