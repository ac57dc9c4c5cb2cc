"""The silhouette of given labels, exactly, without the distances between points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from ckmeans import _dispatch, _inputs, _validate
from ckmeans._inputs import Inputs, Metric, PointsLike

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["silhouette"]

# Distances held at a time: 8 MiB, which is enough work for the threads, and fits the caches of many machines.
_BLOCK_VALUES = 1 << 20


@overload
def silhouette(
    X: PointsLike,
    labels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_samples: Literal[False] = False,
) -> float: ...


@overload
def silhouette(
    X: PointsLike,
    labels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_samples: Literal[True],
) -> tuple[float, np.ndarray]: ...


def silhouette(
    X: PointsLike,
    labels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_samples: bool = False,
) -> float | tuple[float, np.ndarray]:
    """Return the mean silhouette coefficient for squared Euclidean distances, exactly.

    The coefficient of a point is (b - a) / max(a, b), where a is its mean squared distance to the other
    points of its cluster, and b the lowest mean squared distance to the points of another cluster [1]_; it is
    0 for a point alone in its cluster. The mean squared distance of x to the points of a cluster is that to
    their mean plus their variance, so that K distances for each point are enough: O(m K n) operations in
    all, where the definition takes O(m² n).

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n), or Prepared
        Points, as for `kmeans`; computed in float64.
    labels : array_like of shape (m,)
        The cluster of each point: numbers or strings, of 2 to m - 1 different values.
    sample_weight : array_like of shape (m,), optional
        Weight of each point, that is the number of equal points that it stands for; 1 by default.
    metric : {"euclidean", "cosine"}
        "cosine": distances are 1 - cos in place of squared Euclidean ones; a row of zeros is an error.
    n_threads : int, optional
        As for `kmeans`.
    return_samples : bool
        Return the coefficient of each point, too.

    Returns
    -------
    score : float
        Between -1 and 1, higher is better.
    samples : ndarray of shape (m,), float64
        Only with ``return_samples=True``. NaN for points of weight 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.

    See Also
    --------
    elbow : Reports for each K a simplified silhouette, from distances to the centroids alone.

    Notes
    -----
    Equals ``sklearn.metrics.silhouette_score(X, labels, metric="sqeuclidean")``, or that with
    ``metric="cosine"``. With scikit-learn's default,
    distances that are not squared, the values differ, and no formula from sums is known.

    References
    ----------
    .. [1] Rousseeuw, P. J., "Silhouettes: a graphical aid to the interpretation and validation of cluster
       analysis", Journal of Computational and Applied Mathematics 20, 1987.

    Examples
    --------
    >>> import ckmeans
    >>> X = [[1.0, 1.0], [1.5, 2.0], [8.0, 8.0], [9.0, 8.5]]
    >>> round(ckmeans.silhouette(X, ckmeans.kmeans(X, 2, seed=0).labels), 3)
    0.987
    """
    points = _inputs.read(X, sample_weight, metric=metric)
    exponent = points.safe_exponent()
    points = points.rescaled(exponent) if exponent else points  # no coefficient depends on the unit
    m, weights = len(points), points.weights
    values = _validate.label_values(labels, m)
    _validate.threads(n_threads, lambda: 1)
    if weights is None or weights.min() > 0:
        samples = _coefficients(points, values, n_threads)
        score = float(np.average(samples, weights=weights))
    else:
        rows = np.flatnonzero(weights)
        counted = points.part(rows, weights[rows])
        samples = np.full(m, np.nan)
        samples[rows] = _coefficients(counted, values[rows], n_threads)
        score = float(np.average(samples[rows], weights=weights[rows]))
    return (score, samples) if return_samples else score


def _coefficients(points: Inputs, values: np.ndarray, n_threads: int | None) -> np.ndarray:
    """Return the coefficient of each point; all have a weight above 0."""
    weights = points.weights
    labels, K = _validate.label_groups(values, weights)
    means = _means(points, labels, K, n_threads)
    to_own = _squared_to_own(points, means, labels, n_threads)
    sizes = np.bincount(labels, weights, K)
    variances = np.bincount(labels, to_own if weights is None else to_own * weights, K) / sizes
    # The mean over a cluster without the point itself, whose distance is 0.
    alone = sizes <= 1
    others = np.divide(sizes, sizes - 1, out=np.zeros(K), where=~alone)
    within = (to_own + variances[labels]) * others[labels]
    between = _to_closest_other(points, means, variances, labels, n_threads)
    larger = np.maximum(within, between)
    coefficients = np.zeros(len(points))
    np.divide(between - within, larger, out=coefficients, where=(larger > 0) & ~alone[labels])
    return coefficients


def _in_float64(points: Inputs) -> Inputs:
    """Return the same points for a computation in float64: centroids are then not rounded to float32."""
    wide = points.reweighted(points.weights)
    wide.itemsize = 8
    return wide


def _means(points: Inputs, labels: np.ndarray, K: int, n_threads: int | None) -> np.ndarray:
    """Return the mean of each cluster in float64, summed about one of the points: digits stay far from 0."""
    n = points.shape[1]
    is_near_zero = points.kind == "sparse" or points.is_cosine
    origin = np.zeros(n) if is_near_zero else points.select(0).astype(np.float64)
    threads = _dispatch.thread_count(n_threads, points.size)
    start = np.tile(origin, (K, 1))
    _, offsets, sizes, _ = _dispatch.step(_in_float64(points), start, labels, threads, sums=True)
    means: np.ndarray = origin + offsets / sizes[:, None]
    return means


def _squared_to_own(
    points: Inputs, means: np.ndarray, labels: np.ndarray, n_threads: int | None
) -> np.ndarray:
    """Return each point's squared distance to the mean of its cluster."""
    squared = np.empty(len(points))
    threads = _dispatch.thread_count(n_threads, points.size)
    _dispatch.step(_in_float64(points), means, labels, threads, squared=squared, measure=True)
    return squared


def _to_closest_other(
    points: Inputs, means: np.ndarray, variances: np.ndarray, labels: np.ndarray, n_threads: int | None
) -> np.ndarray:
    """Return each point's lowest mean squared distance to the points of another cluster."""
    lowest = np.empty(len(points))
    block_rows = max(_BLOCK_VALUES // len(means), 1)
    for start in range(0, len(points), block_rows):
        part = slice(start, start + block_rows)
        block = _in_float64(points.part(part))
        squared = _dispatch.all_distances(block, means, n_threads)
        squared *= squared
        squared += variances
        squared[np.arange(len(block)), labels[part]] = np.inf
        squared.min(axis=1, out=lowest[part])
    return lowest
