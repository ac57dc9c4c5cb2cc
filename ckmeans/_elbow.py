"""Choosing K: the distortion over K with indices that help to read it, and J against the cost of K."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _dispatch, _inputs, _validate
from ckmeans._elbow_path import fit_path, n_steps, random_sample
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import Inputs, Metric, PersistentInputs, PointsLike
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans.api import assign, kmeans

__all__ = ["Comparison", "Elbow", "Option", "compare", "elbow"]

_SILHOUETTE_POINTS = 4096  # of more points the silhouette is that of a sample of about this size
_SPARSE_BLOCK_ROWS = 1 << 16  # sparse rows whose squares are held in memory at a time
# The depth of a clear knee: how far the logarithm of the distortion, relative to that of evenly spread
# points, is below the chord. Uniform, normal and exponential noise in 1 to 8 dimensions, 100 to 1000
# points, reached 0.31 in 576 draws; separate groups start at 0.43.
_MIN_KNEE_DEPTH = 0.35


@dataclass(frozen=True, repr=False, eq=False)
class Elbow:
    """The distortion for each number of clusters.

    Attributes
    ----------
    ks : ndarray of int
        Numbers of clusters, increasing.
    distortions : ndarray of float64
        J for each; it never increases with K.
    knee : int or None
        The K after which J decreases little, None if there is no such K, as in noise.
    silhouette : ndarray of float64
        Simplified silhouette for each K, between -1 and 1, higher is better; NaN for K = 1. If there
        are many points, that of a sample.
    calinski_harabasz : ndarray of float64
        Ratio of the variance between clusters to that within, higher is better; NaN for K = 1.
    centroids : list of ndarray
        The centroids for each K; `assign` gives the labels.
    """

    ks: np.ndarray
    distortions: np.ndarray
    knee: int | None
    silhouette: np.ndarray
    calinski_harabasz: np.ndarray
    centroids: list[np.ndarray]

    @property
    def suggestions(self) -> dict[str, int | None]:
        """The K that each measure would choose; None if it would choose none of them.

        "elbow" is `knee`. "silhouette" and "calinski_harabasz" take the K where the measure of this name is
        highest, in data without clusters, too. "kneedle" is the knee of J on a linear scale [1]_. A measure
        that is best at the last K chooses none: its best K may lie beyond, and the last K has the lowest J
        in any data.

        References
        ----------
        .. [1] Satopää, V. et al., "Finding a 'kneedle' in a haystack: detecting knee points in system
           behavior", ICDCS Workshops 2011.
        """
        return {
            "elbow": self.knee,
            "silhouette": _highest(self.ks, self.silhouette),
            "calinski_harabasz": _highest(self.ks, self.calinski_harabasz),
            "kneedle": find_kneedle(self.ks, self.distortions),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw J over K with the knee, if there is one, and the suggestions (needs matplotlib).

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
        others = {name: K for name, K in self.suggestions.items() if name != "elbow"}
        return f"<ckmeans.Elbow: K={self.ks[0]}..{self.ks[-1]}, {knee} ({describe_suggestions(others)})>"


def describe_suggestions(suggestions: dict[str, int | None]) -> str:
    """Return them as one line, such as "elbow: none, silhouette: 5"."""
    return ", ".join(f"{name}: {'none' if K is None else K}" for name, K in suggestions.items())


def elbow(
    X: PointsLike,
    ks: Iterable[int],
    *,
    n_init: int = 5,
    max_iter: int = 300,
    tol: float = 1e-4,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> Elbow:
    """Compute the distortion for each K, and the knee of the curve if it has one.

    One path leads over all K: to the best centroids for one K others are added, or two of them are merged,
    and the search goes on by swaps as that of ``kmeans(X, K, search="swap")`` [4]_, beside a few starts for
    each K alone. So J is seldom above what restarts find, and it never rises. If there are many points, the
    path is that of a sample [1]_, and the best results for each K continue on all points. For many points of
    up to three features the sample is the means of small nodes of a k-d tree, which is built once; a prepared
    X may have it already.

    An array of one feature needs no search: J is the lowest of all for each K, as that of `kmeans`, from
    values that are sorted once. Then `n_init`, `max_iter` and `tol` have nothing to decide.

    The knee is the K that lies farthest below the chord of the curve [2]_, on a logarithmic scale and
    relative to the distortion that evenly spread points would have [3]_; if that is not far, there is no
    clear knee.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n), or Prepared
        Points, as for `kmeans`.
    ks : iterable of int
        Numbers of clusters, for instance ``range(1, 11)``.
    n_init : int
        Starts of the path's first K, and of each K for up to some 16,000 points; of more points the
        other K have half as many of their own.
    max_iter : int
        As for `kmeans`.
    tol : float
        As for `kmeans`.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    metric : {"euclidean", "cosine"}
        As for `kmeans`.
    seed : int, numpy.random.Generator or None
        As for `kmeans`.
    n_threads : int, optional
        As for `kmeans`.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Elbow

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.

    References
    ----------
    .. [1] Bradley, P. S. and Fayyad, U. M., "Refining initial points for k-means clustering", ICML 1998.
    .. [2] Satopää, V. et al., "Finding a 'kneedle' in a haystack: detecting knee points in system
       behavior", ICDCS Workshops 2011.
    .. [3] Pham, D. T., Dimov, S. S. and Nguyen, C. D., "Selection of K in K-means clustering", Proc. IMechE
       Part C 219, 2005. (Their alpha_K; J is divided by m - K here, against small samples.)
    .. [4] P. Fränti, "Efficiency of random swap clustering", Journal of Big Data 5, 2018.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> X = numpy.concatenate([rng.normal(c, 1, (100, 2)) for c in (0, 10, 20)])
    >>> ckmeans.elbow(X, range(1, 8), seed=0)
    <ckmeans.Elbow: K=1..7, elbow at K=3 (silhouette: 3, calinski_harabasz: 3, kneedle: 3)>
    """
    points = _inputs.read_persistent(X, sample_weight, metric)
    X_rows, exponent = points.rows, points.safe_exponent()
    points = points.rescaled(exponent) if exponent else points
    checked_ks = _validate.cluster_counts(ks, len(points))
    options = _options(checked_ks, seed, n_init=n_init, max_iter=max_iter, tol=tol, empty="farthest")
    results = _results(points, checked_ks, options, n_threads, progress)
    sample = random_sample(points, _SILHOUETTE_POINTS, np.random.default_rng(options.seed))
    silhouette = [simplified_silhouette(sample, result.centroids, n_threads) for result in results]
    ks_array, J = np.array(checked_ks), np.array([result.distortion for result in results])
    calinski_harabasz = _calinski_harabasz(points, ks_array, J, n_threads)
    centroids = [_dispatch.in_units(result.centroids, exponent, X=X_rows) for result in results]
    knee = find_knee(ks_array, J, *points.shape)
    J = _dispatch.in_units(J, 2 * exponent, X=X_rows)
    return Elbow(ks_array, J, knee, np.array(silhouette), calinski_harabasz, centroids)


def _options(
    ks: list[int], seed: object, *, n_init: object, empty: str, max_iter: object = 300, tol: object = 1e-4
) -> FitOptions:
    """Return the checked options of the fits; those that depend on K are set for each."""
    return FitOptions(
        K=ks[-1],
        n_init=_validate.integer("n_init", n_init, 1),
        max_iter=_validate.integer("max_iter", max_iter, 1),
        tol=_validate.tolerance(tol),
        empty=empty,
        seed=_validate.seed(seed),
        n_threads=1,
        trials=0,
    )


def _results(
    points: PersistentInputs, ks: list[int], options: FitOptions, n_threads: int | None, progress: bool
) -> list[Result]:
    """Return a result for each K: the optimum of one feature, else the best on a path over all K."""
    if not _validate.wants_optimum(
        "auto", points.kind, points.shape, default_init=True, metric=points.metric
    ):
        with ProgressBar(progress, n_steps(ks), "step") as on_progress:
            return fit_path(points, ks, options, n_threads, on_progress)
    results: list[Result] = []
    with ProgressBar(progress, len(ks), "K") as on_progress:
        for K in ks:
            result = _dispatch.fit_optimal(points, K, n_threads)
            # Rounding of the centroids to the dtype may raise J, where nothing else keeps it from 0.
            results.append(min([result, *results[-1:]], key=lambda each: each.distortion))
            if on_progress is not None:
                on_progress(len(results))
    return results


def _calinski_harabasz(
    points: PersistentInputs, ks: np.ndarray, J: np.ndarray, n_threads: int | None
) -> np.ndarray:
    """Return the index for each K, from its distortion; NaN if it is undefined."""
    total_J = J[0] if ks[0] == 1 else kmeans(points, 1, metric=points.metric, n_threads=n_threads).distortion
    total = float(len(points) if points.weights is None else points.weights.sum())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scores: np.ndarray = ((total_J - J) / (ks - 1)) / (J / (total - ks))
    scores[(ks == 1) | (ks >= total)] = np.nan
    return scores


def simplified_silhouette(X: PointsLike, centroids: np.ndarray, n_threads: int | None = None) -> float:
    """Return the mean of (b - a) / b over the points; NaN for one centroid.

    a and b are the distances to the closest and the second closest centroid (E. R. Hruschka, R. Campello
    and L. de Castro, 2004); for cosines they are 1 - cos, of which squared distances are the double."""
    K = len(centroids)
    if K == 1:
        return math.nan
    points = _inputs.read(X)
    labels, squared = _assign(points, centroids, n_threads)
    second = np.empty_like(squared)
    order = np.argsort(labels.astype(np.min_scalar_type(K)), kind="stable")  # radix sort: short integers
    ends = np.cumsum(np.bincount(labels, minlength=K))
    for k, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            others = centroids[np.arange(K) != k]
            cluster = points.part(rows)
            _, second[rows] = _assign(cluster, others, n_threads)
    ratio = np.ones_like(squared)
    np.divide(squared, second, out=ratio, where=second > 0)
    if not points.is_cosine:
        np.sqrt(ratio, out=ratio)
    return float(np.average(1 - ratio, weights=points.weights))


def _assign(points: Inputs, centroids: np.ndarray, n_threads: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the label of each point, and its squared distance."""
    return assign(points, centroids, return_squared_distance=True, metric=points.metric, n_threads=n_threads)


def find_knee(ks: np.ndarray, distortions: np.ndarray, m: int, n: int) -> int | None:
    """Return the K after which the curve is flat relative to that of evenly spread points, if any."""
    if len(ks) < 3 or distortions[0] <= 0:
        return None
    # alpha_K: J for K of evenly spread points as a part of J for K - 1.
    alpha = np.ones(ks[-1] + 1)
    alpha[2:] = 1 - (3 / (4 * n)) * (5 / 6) ** np.arange(ks[-1] - 1)
    log_even = np.cumsum(np.log(alpha))[ks]
    variance = np.maximum(distortions, 1e-12 * distortions[0]) / np.maximum(m - ks, 1)
    curve = np.log(variance) - log_even
    chord = np.interp(ks, ks[[0, -1]], curve[[0, -1]])
    depth = chord - curve
    return int(ks[depth.argmax()]) if depth.max() >= _MIN_KNEE_DEPTH else None


def find_kneedle(ks: np.ndarray, distortions: np.ndarray) -> int | None:
    """Return the first knee of a falling convex curve by the kneedle algorithm with sensitivity 1, if any."""
    if len(ks) < 3 or distortions[-1] >= distortions[0]:
        return None
    x = (ks - ks[0]) / (ks[-1] - ks[0])
    y = (distortions - distortions[-1]) / (distortions[0] - distortions[-1])
    depth = 1 - x - y  # below the chord
    inner = np.arange(1, len(ks) - 1)
    peaks = inner[(depth[inner] > depth[inner - 1]) & (depth[inner] >= depth[inner + 1])]
    for part in np.split(np.arange(len(ks)), peaks)[1:]:  # from each peak to the next one
        peak = part[0]
        if depth[part].min() < depth[peak] - np.diff(x).mean():
            return int(ks[peak])
    return None


def _highest(ks: np.ndarray, scores: np.ndarray) -> int | None:
    """Return the K of the highest score, the lowest of equals; None if there is no score, or if it is the
    last K."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    best = int(known.argmax())
    return int(ks[best]) if np.isfinite(known[best]) and best < len(ks) - 1 else None


# ---- J against the cost of K ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Option:
    """The clusters for one K, and their cost.

    Attributes
    ----------
    K : int
    centroids : ndarray of shape (K, n)
        Largest cluster first.
    shares : ndarray of shape (K,)
        Share of the (weighted) points in each cluster.
    spread : ndarray of shape (K, n)
        Standard deviation of each feature within each cluster, in the units of X; with ``metric="cosine"`` of
        the rows at unit length.
    distortion : float
        J.
    cost : float
        Cost of K clusters, in the units of J.
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
        """Sum of J and the cost of K clusters."""
        return self.distortion + self.cost


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """The clusters for each K, and which K has the lowest total cost.

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
    X: PointsLike,
    ks: Iterable[int],
    *,
    cost: float | Callable[[int], float] | None = None,
    n_init: int = 10,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
) -> Comparison:
    """Compare numbers of clusters by their sizes, their spread, and J plus the cost of the clusters.

    J decreases with every cluster; the cost of a cluster (another T-shirt size to stock) only the caller
    knows. The clusters are found as by `elbow`.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n), or Prepared
        Points, in their own units.
    ks : iterable of int
        Numbers of clusters, for instance ``[3, 5]``.
    cost : float or callable, optional
        Cost of one cluster, in the units of J (those of X, squared); a callable returns as ``cost(K)``
        that of K clusters.
    n_init : int
        As for `elbow`.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    metric : {"euclidean", "cosine"}
        As for `kmeans`.
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
        If an argument is invalid.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> heights = numpy.concatenate([rng.normal(c, 2, (50, 1)) for c in (160, 175, 190)])
    >>> ckmeans.compare(heights, [2, 3, 4], cost=5.0, seed=0).best.K
    3
    """
    points = _inputs.read_persistent(X, sample_weight, metric)
    X_rows, exponent = points.rows, points.safe_exponent()
    points = points.rescaled(exponent) if exponent else points
    checked_ks = _validate.cluster_counts(ks, len(points))
    costs = [_validate.cost_of(cost, K) for K in checked_ks]
    fit_options = _options(checked_ks, seed, n_init=n_init, empty="drop")
    results = _results(points, checked_ks, fit_options, n_threads, progress=False)
    options = [
        _option(points, result, cost, exponent, X_rows) for result, cost in zip(results, costs, strict=True)
    ]
    best = None if cost is None else min(options, key=lambda option: option.total)
    return Comparison(options, best)


def _option(points: Inputs, result: Result, cost: float, exponent: int, X: Any) -> Option:
    """Return what a result is worth, in the units of X, which are 2**exponent of those of the points."""
    sizes = np.bincount(result.labels, points.weights, len(result.centroids))
    order = np.lexsort((*result.centroids.T[::-1], -sizes))  # largest first, of equals by their centroids
    spread = np.sqrt(_variance(points, result.labels, result.centroids))[order]
    return Option(
        K=len(order),
        centroids=_dispatch.in_units(result.centroids[order], exponent, X=X),
        shares=sizes[order] / sizes.sum(),
        spread=_dispatch.in_units(spread, exponent, X=X),
        distortion=_dispatch.in_units(result.distortion, 2 * exponent, X=X),
        cost=cost,
    )


def _variance(points: Inputs, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the mean square of each feature's distance to the centroid, within each cluster."""
    weights, centroids = points.weights, centroids.astype(np.float64)
    if points.kind == "sparse":
        return _variance_of_sparse(points, labels, centroids)
    variance = np.empty(centroids.shape)
    for k, centroid in enumerate(centroids):
        rows = np.flatnonzero(labels == k)
        squares = (points.centroids(points.select(rows), "X") - centroid) ** 2
        variance[k] = np.average(squares, axis=0, weights=None if weights is None else weights[rows])
    return variance


def _variance_of_sparse(points: Inputs, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the same from sums of x and of x**2, in blocks of rows, none of which becomes dense."""
    from scipy.sparse import csr_array

    weights = np.ones(len(labels)) if points.weights is None else points.weights
    sums, squares = np.zeros(centroids.shape), np.zeros(centroids.shape)
    for start in range(0, len(labels), _SPARSE_BLOCK_ROWS):
        rows = csr_array(points.select(slice(start, start + _SPARSE_BLOCK_ROWS))).astype(np.float64)
        if points.is_cosine:
            rows = rows.multiply(1 / np.sqrt(rows.multiply(rows).sum(axis=1))[:, None]).tocsr()
        part = slice(start, start + rows.shape[0])
        positions = labels[part], np.arange(rows.shape[0])
        membership = csr_array((weights[part], positions), shape=(len(centroids), rows.shape[0]))
        sums += (membership @ rows).toarray()
        squares += (membership @ rows.multiply(rows)).toarray()
    total = np.bincount(labels, weights, len(centroids))[:, None]
    variance: np.ndarray = squares / total - 2 * centroids * (sums / total) + centroids**2
    np.maximum(variance, 0, out=variance)
    return variance
