"""How many clusters: the distortion over K with what helps to read it, and K against its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _run, _sources, _validate
from ckmeans._result import Result
from ckmeans._search import Search, random_sample, steps
from ckmeans._sources import Prepared
from ckmeans.api import assign, kmeans

__all__ = ["Comparison", "Elbow", "Option", "compare", "elbow"]

# The silhouette is that of so many points, where there are more.
_JUDGED = 4096
_ROWS = 1 << 16  # sparse rows whose squares are held at a time
# A knee is clear where the distortion, against that of evenly spread points, lies below the chord by
# this factor in logarithms. Uniform, normal and exponential noise in 1 to 8 dimensions, 100 to 1000
# points, reached 0.31 in 576 draws; separate groups start at 0.43.
_CLEAR = 0.35


@dataclass(frozen=True, repr=False, eq=False)
class Elbow:
    """The distortion for each number of clusters.

    Attributes
    ----------
    ks : ndarray of int
        Numbers of clusters, rising.
    distortions : ndarray of float64
        J for each; it never rises with K.
    knee : int or None
        The K after which more clusters stop paying, None where there is no such K, as in noise.
    silhouette : ndarray of float64
        Simplified silhouette for each K, between -1 and 1, higher is better; NaN for K = 1. Of a
        sample where there are many points.
    calinski_harabasz : ndarray of float64
        Variance between clusters against that within, higher is better; NaN for K = 1.
    centroids : list of ndarray
        The centroids for each K; `assign` gives the labels.
    """

    ks: np.ndarray
    distortions: np.ndarray
    knee: int | None
    silhouette: np.ndarray
    calinski_harabasz: np.ndarray
    centroids: list[np.ndarray]

    def plot(self, ax: Any = None) -> Any:
        """Draw J over K with the knee, where there is one (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from ckmeans import plot

        return plot.elbow(self, ax=ax)

    def __repr__(self) -> str:
        knee = "no clear elbow" if self.knee is None else f"elbow at K={self.knee}"
        return f"<ckmeans.Elbow: K={self.ks[0]}..{self.ks[-1]}, {knee}>"


def elbow(
    X: ArrayLike | Prepared,
    ks: Iterable[int],
    *,
    n_init: int = 5,
    max_iter: int = 300,
    tol: float = 1e-4,
    sample_weight: ArrayLike | None = None,
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> Elbow:
    """The distortion for each K, and the knee of the curve where it has one.

    Beside k-means++ starts for each K, the best centroids for one K, with some added or merged, are
    starts for its neighbours, and with one of them moved for the same K [4]_, so that J is seldom
    above what restarts alone find. Where there are many points all this runs on a sample [1]_, and the
    best to its end on all points. Of many points of up to three features the sample is the means of
    small boxes of points, and the starts are annealed first on fewer, larger boxes [5]_. X is ordered
    once for all of it; a prepared X is ordered already.

    The knee is the K that lies farthest below the chord of the curve [2]_, on a logarithmic scale
    and against the distortion that evenly spread points would have [3]_; if that is not far, there
    is no clear knee.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n), or what `prepare` gave
        Points, as for `kmeans`.
    ks : iterable of int
        Numbers of clusters, for instance ``range(1, 11)``.
    n_init : int
        Restarts for each K.
    max_iter : int
        As for `kmeans`.
    tol : float
        As for `kmeans`.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    seed : int, numpy.random.Generator or None
        As for `kmeans`.
    n_threads : int, optional
        As for `kmeans`.
    progress : bool
        Show a bar (needs tqdm).

    Returns
    -------
    Elbow

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.

    References
    ----------
    .. [1] Bradley, P. S. and Fayyad, U. M., "Refining initial points for k-means clustering", ICML 1998.
    .. [2] Satopää, V. et al., "Finding a 'kneedle' in a haystack: detecting knee points in system
       behavior", ICDCS Workshops 2011.
    .. [3] Pham, D. T., Dimov, S. S. and Nguyen, C. D., "Selection of K in K-means clustering", Proc. IMechE
       Part C 219, 2005. (Their alpha_K; J is divided by m - K here, against small samples.)
    .. [4] P. Fränti, "Efficiency of random swap clustering", Journal of Big Data 5, 2018.
    .. [5] Zeger, K., Vaisey, J. and Gersho, A., "Globally optimal vector quantizer design by stochastic
       relaxation", IEEE Trans. Signal Processing 40, 1992.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> X = numpy.concatenate([rng.normal(c, 1, (100, 2)) for c in (0, 10, 20)])
    >>> ckmeans.elbow(X, range(1, 8), seed=0)
    <ckmeans.Elbow: K=1..7, elbow at K=3>
    """
    points = _sources.prepared(X, sample_weight)
    numbers = _validate.cluster_counts(ks, len(points))
    number = _validate.seed(seed)
    options = {"max_iter": max_iter, "tol": tol, "empty": "farthest", "n_threads": n_threads}
    n_init = _validate.integer("n_init", n_init, 1)
    with _run.Bar(progress, steps(numbers), "step") as beat:
        search = Search(points, numbers, n_init, number, options, beat)
        results = [search.settle(K) for K in numbers]
    judged = random_sample(points, _JUDGED, np.random.default_rng(number))
    silhouette = [simplified_silhouette(judged, r.centroids, judged.weights, n_threads) for r in results]
    ks_, J = np.array(numbers), np.array([result.distortion for result in results])
    scores = _calinski_harabasz(points, ks_, J, n_threads)
    centroids = [result.centroids for result in results]
    return Elbow(ks_, J, knee(ks_, J, *points.shape), np.array(silhouette), scores, centroids)


def _calinski_harabasz(X: Prepared, ks: np.ndarray, J: np.ndarray, n_threads: int | None) -> np.ndarray:
    """Of each K, from its distortion; NaN where it has no meaning."""
    total_J = J[0] if ks[0] == 1 else kmeans(X, 1, n_threads=n_threads).distortion
    total = float(len(X) if X.weights is None else X.weights.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = ((total_J - J) / (ks - 1)) / (J / (total - ks))
    scores[(ks == 1) | (ks >= total)] = np.nan
    return scores


def simplified_silhouette(
    X: Any, centroids: np.ndarray, weights: np.ndarray | None = None, n_threads: int | None = None
) -> float:
    """Mean of (b - a) / b over the points, a and b the distances to the closest and the second closest
    centroid (E. R. Hruschka, R. Campello and L. de Castro, 2004); NaN for one centroid."""
    K = len(centroids)
    if K == 1:
        return math.nan
    labels, squared = assign(X, centroids, return_squared_distance=True, n_threads=n_threads)
    second = np.empty_like(squared)
    order = np.argsort(labels.astype(np.min_scalar_type(K)), kind="stable")  # short integers sort by radix
    ends = np.cumsum(np.bincount(labels, minlength=K))
    for k, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            others = centroids[np.arange(K) != k]
            second[rows] = assign(
                _sources.rows(X, rows), others, return_squared_distance=True, n_threads=n_threads
            )[1]
    nearness = np.ones_like(squared)
    np.divide(squared, second, out=nearness, where=second > 0)
    return float(np.average(1 - np.sqrt(nearness), weights=weights))


def knee(ks: np.ndarray, distortions: np.ndarray, m: int, n: int) -> int | None:
    """The K after which the curve is flat against that of evenly spread points, if there is one."""
    if len(ks) < 3 or distortions[0] <= 0:
        return None
    # alpha_K: J for K of evenly spread points as a part of J for K - 1.
    alpha = np.ones(ks[-1] + 1)
    alpha[2:] = 1 - (3 / (4 * n)) * (5 / 6) ** np.arange(ks[-1] - 1)
    even = np.cumsum(np.log(alpha))[ks]
    spread = np.maximum(distortions, 1e-12 * distortions[0]) / np.maximum(m - ks, 1)
    curve = np.log(spread) - even
    chord = np.interp(ks, ks[[0, -1]], curve[[0, -1]])
    below = chord - curve
    return int(ks[below.argmax()]) if below.max() >= _CLEAR else None


# ---- K against its cost --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Option:
    """What one number of clusters means.

    Attributes
    ----------
    K : int
    centroids : ndarray of shape (K, n)
        Largest cluster first.
    shares : ndarray of shape (K,)
        The part of the (weighted) points in each cluster.
    spread : ndarray of shape (K, n)
        Standard deviation of each feature within each cluster, in the data's own units.
    distortion : float
        J.
    cost : float
        What K clusters cost, in the units of J.
    total : float
        distortion + cost.
    """

    K: int
    centroids: np.ndarray
    shares: np.ndarray
    spread: np.ndarray
    distortion: float
    cost: float

    @property
    def total(self) -> float:
        """J and the cost of K clusters together."""
        return self.distortion + self.cost


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """What each number of clusters means, downstream.

    Attributes
    ----------
    options : list of Option
        One for each K.
    best : Option or None
        The one with the lowest total, the first of equals; None without a cost.
    """

    options: list[Option]
    best: Option | None

    def __repr__(self) -> str:
        lines = [f"{'K':>4} {'J':>12} {'cost':>12} {'J + cost':>12}  shares"]
        for option in self.options:
            shares = " ".join(f"{share:.0%}" for share in option.shares)
            mark = "*" if option is self.best else " "
            sums = f"{option.distortion:>12.6g} {option.cost:>12.6g} {option.total:>12.6g}"
            lines.append(f"{option.K:>4} {sums} {mark} {shares}")
        return "\n".join(lines)


def compare(
    X: ArrayLike | Prepared,
    ks: Iterable[int],
    *,
    cost: float | Callable[[int], float] | None = None,
    n_init: int = 10,
    sample_weight: ArrayLike | None = None,
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
) -> Comparison:
    """What each K means for who uses the clusters: sizes, spread, and J against the clusters' cost.

    J falls with every cluster; what a cluster costs (another T-shirt size to stock) only the caller
    knows.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n), or what `prepare` gave
        Points, in their own units.
    ks : iterable of int
        Numbers of clusters, for instance ``[3, 5]``.
    cost : float or callable, optional
        What one cluster costs, in the units of J (those of X, squared); or called as ``cost(K)``: what
        K clusters cost.
    n_init : int
        Restarts for each K.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    seed : int, numpy.random.Generator or None
        As for `kmeans`.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> heights = numpy.concatenate([rng.normal(c, 2, (50, 1)) for c in (160, 175, 190)])
    >>> ckmeans.compare(heights, [2, 3, 4], cost=5.0, seed=0).best.K
    3
    """
    points = _sources.prepared(X, sample_weight)
    numbers = _validate.cluster_counts(ks, len(points))
    seed = np.random.default_rng(_validate.seed(seed))
    costs = [_validate.cost_of(cost, K) for K in numbers]
    options = []
    for K, spent in zip(numbers, costs, strict=True):
        result = kmeans(points, K, n_init=n_init, seed=seed, n_threads=n_threads)
        options.append(_option(_sources.inner(points), points.weights, result, spent))
    best = None if cost is None else min(options, key=lambda option: option.total)
    return Comparison(options, best)


def _option(X: Any, weights: np.ndarray | None, result: Result, cost: float) -> Option:
    each = np.bincount(result.labels, weights, len(result.centroids))
    order = np.argsort(-each, kind="stable")
    spread = np.sqrt(_variance(X, weights, result))
    return Option(
        len(order), result.centroids[order], each[order] / each.sum(), spread[order], result.distortion, cost
    )


def _variance(X: Any, weights: np.ndarray | None, result: Result) -> np.ndarray:
    """The mean square of each feature's distance to the centroid, within each cluster."""
    centroids = result.centroids.astype(np.float64)
    if not isinstance(X, np.ndarray):
        return _variance_of_sparse(X.csr, weights, result.labels, centroids)
    variance = np.empty(centroids.shape)
    for k, centroid in enumerate(centroids):
        rows = np.flatnonzero(result.labels == k)
        squares = (X[rows] - centroid) ** 2
        variance[k] = np.average(squares, axis=0, weights=None if weights is None else weights[rows])
    return variance


def _variance_of_sparse(
    X: Any, weights: np.ndarray | None, labels: np.ndarray, centroids: np.ndarray
) -> np.ndarray:
    """The same by sums of x and of x**2, some rows at a time: none need be dense."""
    from scipy.sparse import csr_array

    weights = np.ones(len(labels)) if weights is None else weights
    sums, squares = np.zeros(centroids.shape), np.zeros(centroids.shape)
    for start in range(0, len(labels), _ROWS):
        rows = csr_array(X[start : start + _ROWS]).astype(np.float64)
        part = slice(start, start + rows.shape[0])
        into = labels[part], np.arange(rows.shape[0])
        clusters = csr_array((weights[part], into), shape=(len(centroids), rows.shape[0]))
        sums += (clusters @ rows).toarray()
        squares += (clusters @ rows.multiply(rows)).toarray()
    total = np.bincount(labels, weights, len(centroids))[:, None]
    variance: np.ndarray = squares / total - 2 * centroids * (sums / total) + centroids**2
    return np.maximum(variance, 0)
