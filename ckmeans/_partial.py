"""A step of k-means over points in several places: `partial_step` for each block, `combine` for all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans import _dispatch, _engine, _inputs, _validate
from ckmeans._engines import ENGINES
from ckmeans._inputs import Inputs, PointsLike
from ckmeans._points import Points, PreparedPoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PartialStep:
    """What one step of k-means found for some points: `partial_step` and `combine` return it.

    It is small, K rows of n features, can be pickled, and is all that an update needs of these points.

    Attributes
    ----------
    origin : ndarray of shape (K, n), float32 or float64
        The centroids that the points were assigned to, in the dtype of the computation.
    offsets : ndarray of shape (K, n), float64
        The (weighted) sum of x - origin over the points of each cluster: about its centroid, a sum keeps
        its digits however far from zero the points lie.
    weights : ndarray of shape (K,), float64
        The sum of the weights of each cluster; without weights its number of points.
    counts : ndarray of shape (K,), int64
        Number of points of each cluster.
    squares : float
        The (weighted) sum of the squared distances of the points to their centroids.
    """

    __slots__ = ("counts", "offsets", "origin", "squares", "weights")

    def __init__(
        self, origin: np.ndarray, offsets: np.ndarray, weights: np.ndarray, counts: np.ndarray, squares: float
    ) -> None:
        self.origin, self.offsets, self.weights, self.counts = origin, offsets, weights, counts
        self.squares = squares

    @property
    def sums(self) -> np.ndarray:
        """The (weighted) sum of the points of each cluster, of shape (K, n), float64."""
        return self.offsets + self.weights[:, None] * self.origin

    @property
    def centroids(self) -> np.ndarray:
        """The mean of each cluster's points, in the dtype of `origin`; a cluster of weight 0 keeps its
        centroid."""
        filled = self.weights > 0
        means = self.origin.astype(np.float64)
        means[filled] += self.offsets[filled] / self.weights[filled, None]
        return means.astype(self.origin.dtype)

    @property
    def distortion(self) -> float:
        """J of these points with the centroids they were assigned to; NaN if they weigh 0."""
        total = float(self.weights.sum())
        return self.squares / total if total > 0 else math.nan

    def __reduce__(self) -> tuple[Any, ...]:
        return PartialStep, (self.origin, self.offsets, self.weights, self.counts, self.squares)

    def __repr__(self) -> str:
        K, n = self.origin.shape
        return f"<ckmeans.PartialStep: {self.counts.sum()} points x {n}, K={K}>"

    def _about(self, origin: np.ndarray) -> np.ndarray:
        """Return the offsets about the same centroids in another dtype."""
        if self.origin.dtype == origin.dtype:
            return self.offsets
        return self.offsets + self.weights[:, None] * (self.origin.astype(np.float64) - origin)


def partial_step(
    X_block: PointsLike,
    centroids: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> PartialStep:
    """Assign some of the points to their closest centroids, and sum up what the update needs of them.

    With `combine` it is k-means over points that lie on many machines: send the centroids to each block of
    points, run this where the block is, and combine what comes back into the next centroids.

    Parameters
    ----------
    X_block : array_like of shape (m, n)
        Points, as for `kmeans`.
    centroids : array_like of shape (K, n)
        Rounded to the dtype of the computation first.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default. All may be 0.
    n_threads : int, optional
        As for `kmeans`. The result does not depend on it.

    Returns
    -------
    PartialStep
        Sums in float64, counts, and the sum of squared distances. Bit-identical for the same block and
        centroids.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.

    Examples
    --------
    >>> import ckmeans
    >>> blocks = [[1.0, 1.0], [1.5, 2.0]], [[8.0, 8.0], [9.0, 8.5]]
    >>> step = ckmeans.combine(ckmeans.partial_step(block, [[1, 1], [9, 9]]) for block in blocks)
    >>> step.centroids.tolist(), step.counts.tolist(), step.distortion
    ([[1.25, 1.5], [8.5, 8.25]], [2, 2], 0.875)
    """
    points, places = _inputs.read_with_centroids(X_block, centroids)
    if sample_weight is not None:
        points = points.reweighted(_validate.block_weights(sample_weight, len(points)))
    array = np.asarray(places if isinstance(places, np.ndarray) else places.rows)
    labels = np.empty(len(points), np.int32)
    threads = _dispatch.thread_count(n_threads, points.size * len(array))

    def work(_: Inputs, prepared: PreparedPoints, exponent: int) -> PartialStep:
        scaled = _dispatch.divided(array, exponent)
        rounded = _engine.Centroids(Points(scaled, 8), prepared.itemsize, False)
        outputs = _engine.ASSIGN + _engine.SUM
        squares, offsets, weights, counts = _engine.step(
            prepared, ENGINES["auto"], rounded, labels, None, outputs, threads
        )
        origin = np.ascontiguousarray(scaled, np.float32 if prepared.itemsize == 4 else np.float64)
        if points.kind == "sparse":  # of sparse rows the engine returns the sums of x itself
            offsets = offsets - weights[:, None] * origin
        X = {"X_block": points.rows, "centroids": array}
        return PartialStep(
            _dispatch.in_units(origin, exponent, **X),
            _dispatch.in_units(np.ascontiguousarray(offsets), exponent, **X),
            weights,
            counts,
            _dispatch.in_units(squares, 2 * exponent, **X),
        )

    return _dispatch.with_unit_fallback(points, work, centroids=array)


def combine(parts: Iterable[PartialStep]) -> PartialStep:
    """Add up the parts of one step.

    Parameters
    ----------
    parts : iterable of PartialStep
        Of the same centroids; at least one. They are added in the order given, in float64. What `combine`
        returned may be a part, too: a tree of fixed shape gives the same bits wherever its parts come from.

    Returns
    -------
    PartialStep
        Its ``centroids`` are the next ones (a cluster without points keeps its own), ``distortion`` is J of
        all points with the centroids they were assigned to, and ``counts`` are the clusters' sizes.

    Raises
    ------
    ValueError, TypeError
        If there is no part, something else than parts, or parts of different centroids.
    """
    parts = _validate.parts(parts, PartialStep)
    origin = max((part.origin for part in parts), key=lambda array: array.dtype.itemsize)
    for number, part in enumerate(parts):
        _validate.same_origin(number, part.origin, origin)
    offsets = parts[0]._about(origin).copy()
    weights, counts, squares = parts[0].weights.copy(), parts[0].counts.copy(), parts[0].squares
    for part in parts[1:]:
        offsets += part._about(origin)
        weights += part.weights
        counts += part.counts
        squares += part.squares
    return PartialStep(origin, offsets, weights, counts, squares)
