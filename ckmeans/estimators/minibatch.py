"""`MiniBatchKMeans`: k-means that updates the centroids from one small batch of points at a time.

D. Sculley, "Web-scale k-means clustering", WWW 2010: every centroid is the mean of all the points that
were ever assigned to it, so its learning rate falls as its count grows.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _arrays, _dispatch, _validate
from ckmeans._inputs import Inputs, Metric, read
from ckmeans._unit_length import unit_means
from ckmeans.api import distortion, init_centroids
from ckmeans.estimators._base import (
    SAMPLE_ROWS,
    CentroidEstimator,
    InitMethod,
    accumulate,
    draw_seed,
    shift_tolerance,
)


class MiniBatchKMeans(CentroidEstimator):
    """Mini-batch k-means with scikit-learn's parameters and attributes.

    Faster than `KMeans` on very many points, and able to learn from a stream (`partial_fit`); its
    distortion is somewhat higher.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features), or callable
        As for `KMeans`.
    max_iter : int
        Maximum number of passes over the data.
    batch_size : int
        Number of points in a batch.
    verbose : int
        Print the mean squared distance of each batch.
    compute_labels : bool
        Whether to compute `labels_` and the exact `inertia_` at the end.
    random_state : int, numpy.random.RandomState or None
        Source of randomness; None: NumPy's global generator.
    tol : float
        Stop when the sum of the squared shifts of the centroids in one step is at most tol times the
        mean variance of the features; 0: never stop for that reason.
    max_no_improvement : int, optional
        Stop after this number of consecutive batches that do not lower the smoothed distortion; None:
        never stop for that reason.
    init_size : int, optional
        Number of points to draw the initial centroids from; by default three batches, or three points
        for each cluster if three batches hold fewer than n_clusters points.
    n_init : int or "auto"
        Number of initializations, of which the best is used; "auto": 3 for random starts and callables,
        1 for the others.
    reassignment_ratio : float
        A centroid whose count is below this fraction of the largest count is moved to a random point
        from time to time.
    metric : {"euclidean", "cosine"}
        As for `KMeans`.
    n_threads : int, optional
        As for `kmeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32, float16, bfloat16, int8, uint8 and uint16 data, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the centroid of each point; after `partial_fit`, of the points of the last batch.
    inertia_ : float
        The (weighted) sum of the squared distances to the centroids, or of 1 - cos.
    n_iter_ : int
        Number of passes over the data.
    n_steps_ : int
        Number of batches.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has any.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> model = ckmeans.MiniBatchKMeans(2, random_state=0)
    >>> for _ in range(50):
    ...     batch = numpy.concatenate([rng.normal(0, 1, (20, 1)), rng.normal(9, 1, (20, 1))])
    ...     model = model.partial_fit(batch)
    >>> sorted(model.cluster_centers_.round().ravel().tolist())
    [0.0, 9.0]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: InitMethod = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | Literal["auto"] = "auto",
        reassignment_ratio: float = 0.01,
        metric: Metric = "euclidean",
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.metric = metric
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> MiniBatchKMeans:
        """Learn from random batches of X until the centroids or the distortion settle.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `KMeans.fit`.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Points are drawn with probability proportional to their weight; 1 by default.

        Returns
        -------
        MiniBatchKMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
        """
        points, total = self._validate_input(X, sample_weight)
        points.require_directions()
        random_state = _validate.random_state(self.random_state)
        max_iter = _validate.integer("max_iter", self.max_iter, 1)
        tol = _validate.tolerance(self.tol)
        given, exponent = points, _exponent_of_sample(points)
        points = points.rescaled(exponent) if exponent else points
        self._initialize(points, random_state, exponent)
        tol_shift = shift_tolerance(points, tol, self.n_threads)
        monitor = _ConvergenceMonitor(self, len(points), tol_shift, exponent)
        n_steps = max(max_iter * len(points) // self._batch_size, 1)
        cum_weights = None if points.weights is None else np.cumsum(points.weights)
        self.n_steps_ = 0
        while self.n_steps_ < n_steps:
            rows = _sample_rows(len(points), cum_weights, self._batch_size, random_state)
            previous = self.cluster_centers_
            inertia = self._step(points.part(rows), random_state)
            self.n_steps_ += 1
            if monitor.should_stop(inertia, ((self.cluster_centers_ - previous) ** 2).sum()):
                break
        self.n_iter_ = math.ceil(self.n_steps_ * self._batch_size / len(points))
        self.inertia_ = monitor.smoothed * total
        if self.compute_labels:
            self._set_labels(points, total / len(points))
        self.inertia_ = _dispatch.in_units(self.inertia_, 2 * exponent, X=given.rows)
        self.cluster_centers_ = _dispatch.in_units(self.cluster_centers_, exponent, X=given.rows)
        return self

    def partial_fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> MiniBatchKMeans:
        """Learn from one batch; the first batch also initializes the centroids.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            The batch; the first one must have at least n_clusters points.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        MiniBatchKMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
        """
        first = not hasattr(self, "cluster_centers_")
        points, total = self._validate_input(X, sample_weight, reset=first)
        if first or not hasattr(self, "_random_state"):
            self._random_state = _validate.random_state(self.random_state)
        if first:
            self._initialize(points, self._random_state)
            self.n_steps_ = 0
        unit_weight = total / len(points)
        self._step(points, self._random_state, unit_weight)
        self.n_steps_ += 1
        if self.compute_labels:
            self._set_labels(points, unit_weight)
        return self

    # ---- initialization and steps --------------------------------------------------------------

    def _initialize(self, points: Inputs, random_state: np.random.RandomState, exponent: int = 0) -> None:
        """Check the parameters, choose the initial centroids and reset the counts; the points are those of X
        divided by 2**exponent."""
        (m, n), weights = points.shape, points.weights
        K = _validate.n_clusters(self.n_clusters, m)
        self._ratio = _validate.ratio("reassignment_ratio", self.reassignment_ratio)
        if self.max_no_improvement is not None:
            _validate.integer("max_no_improvement", self.max_no_improvement, 0)
        self._batch_size = min(_validate.integer("batch_size", self.batch_size, 1), m)
        self._init_size = min(self._check_init_size(K), m)
        self._n_init = self._check_n_init(3)
        init = _start_in_unit(self._check_init(n, random_state), exponent)
        cum_weights = None if weights is None else np.cumsum(weights)
        validation_rows = _sample_rows(m, cum_weights, self._init_size, random_state)
        best_loss = math.inf
        for _ in range(self._n_init):
            rows = np.arange(m) if self._init_size == m else random_state.randint(0, m, self._init_size)
            centers = init_centroids(
                points.part(rows),
                K,
                init,
                seed=draw_seed(random_state),
                sample_weight=None if weights is None else weights[rows],
                metric=points.metric,
                n_threads=self.n_threads,
            )
            loss = distortion(
                points.part(validation_rows), centers, metric=points.metric, n_threads=self.n_threads
            )
            if loss < best_loss:
                best_loss, self.cluster_centers_ = loss, centers
        self._counts = np.zeros(K)  # the sum of the weights each centroid has been assigned so far
        self._since_reassignment = 0

    def _check_init_size(self, K: int) -> int:
        """Return the number of points to draw the initial centroids from."""
        if self.init_size is None:
            three_batches = 3 * self._batch_size
            return three_batches if three_batches >= K else 3 * K
        init_size = _validate.integer("init_size", self.init_size, 1)
        if init_size < K:
            warnings.warn(
                f"init_size={init_size} should be larger than n_clusters={K}. Setting it to "
                "min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=4,
            )
            return 3 * K
        return init_size

    def _step(
        self,
        points: Inputs,
        random_state: np.random.RandomState,
        unit_weight: float = 1.0,
    ) -> float:
        """Update the centroids from a batch; return its inertia before the update.

        `unit_weight` is the weight of every point if they have no weights.
        """
        centers = self.cluster_centers_
        labels = np.empty(len(points), np.int32)
        inertia, offsets, weight_sums = accumulate(
            points, centers, labels, n_threads=self.n_threads, assign_labels=True
        )
        scale = unit_weight if points.weights is None else 1.0
        self._counts += weight_sums * scale
        hit = weight_sums > 0
        moved = centers.astype(np.float64)
        moved[hit] += offsets[hit] * (scale / self._counts[hit])[:, None]
        self._since_reassignment += len(points)
        if (self._counts == 0).any() or self._since_reassignment >= 10 * len(centers):
            self._since_reassignment = 0
            self._reassign(moved, points, random_state)
        if points.is_cosine:
            moved = unit_means(moved, centers)
        self.cluster_centers_ = moved.astype(centers.dtype)
        return inertia

    def _reassign(self, centers: np.ndarray, points: Inputs, random_state: np.random.RandomState) -> None:
        """Move centroids with small counts to random points of the batch, at most half as many as it has."""
        small = np.flatnonzero(self._counts < self._ratio * self._counts.max())
        small = small[np.argsort(self._counts[small], kind="stable")][: len(points) // 2]
        if len(small):
            rows = points.select(random_state.choice(len(points), len(small), replace=False))
            dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
            centers[small] = points.centroids(dense, "X")
            # The smallest count of the others: not reassigned again at once, and still quick to learn.
            self._counts[small] = np.delete(self._counts, small).min()

    def _set_labels(self, points: Inputs, unit_weight: float) -> None:
        """Set `labels_` and `inertia_` for the points; `unit_weight` as for `_step`."""
        self.labels_ = np.empty(len(points), np.int32)
        inertia, *_ = accumulate(
            points,
            self.cluster_centers_,
            self.labels_,
            n_threads=self.n_threads,
            assign_labels=True,
            sums=False,
        )
        self.inertia_ = inertia * (unit_weight if points.weights is None else 1.0)


class _ConvergenceMonitor:
    """Decides when `MiniBatchKMeans.fit` stops, from the inertia of the batches and the centroid shifts."""

    def __init__(self, model: MiniBatchKMeans, m: int, tol_shift: float, exponent: int) -> None:
        self.model, self.tol_shift, self.exponent = model, tol_shift, exponent
        self.alpha = min(2 * model._batch_size / (m + 1), 1.0)  # of the exponential moving average
        self.smoothed = math.nan
        self.best = math.inf
        self.n_no_improvement = 0

    def should_stop(self, inertia: float, squared_shift: float) -> bool:
        """Record a step: the inertia of its batch and the sum of the squared centroid shifts."""
        step, J = self.model.n_steps_, inertia / self.model._batch_size
        if self.model.verbose:
            in_units_of_X = float(_arrays.times_power(J, 2 * self.exponent))
            print(f"Minibatch step {step}: mean batch inertia: {in_units_of_X}")
        if step == 1:  # the inertia of the initial centroids, which says nothing about progress
            self.smoothed = J
            return False
        self.smoothed = J if step == 2 else self.smoothed + self.alpha * (J - self.smoothed)
        if self.tol_shift > 0 and squared_shift <= self.tol_shift:
            return self._report("small centers change")
        self.n_no_improvement = 0 if self.smoothed < self.best else self.n_no_improvement + 1
        self.best = min(self.best, self.smoothed)
        max_no_improvement = self.model.max_no_improvement
        if max_no_improvement is not None and self.n_no_improvement >= max_no_improvement:
            return self._report("lack of improvement in inertia")
        return False

    def _report(self, reason: str) -> bool:
        if self.model.verbose:
            print(f"Converged ({reason}) at step {self.model.n_steps_}")
        return True


def _exponent_of_sample(points: Inputs) -> int:
    """Return the exponent of a safe unit for some of the rows, as the whole of X may be long to read.

    Each step is safe in any unit, but the inertias of the batches are compared."""
    sample = points.select(slice(None, None, max(len(points) // SAMPLE_ROWS, 1)))
    values = sample if isinstance(sample, np.ndarray) else sample.data
    return points.safe_exponent(float(np.abs(values).max(initial=0)))


def _start_in_unit(init: Any, exponent: int) -> Any:
    """Return a start for points divided by 2**exponent; a callable gets and returns the units of X."""
    if exponent == 0 or isinstance(init, str):
        return init
    if not callable(init):
        return _dispatch.divided(init, exponent)

    def in_unit(X: Any, K: int, rng: np.random.Generator) -> np.ndarray:
        given = read(X).rescaled(-exponent).select(slice(None))
        return _dispatch.divided(init(given, K, rng), exponent)

    return in_unit


def _sample_rows(
    m: int, cum_weights: np.ndarray | None, size: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Draw rows with probability proportional to their weight; `cum_weights` None: uniformly."""
    if cum_weights is None:
        return random_state.randint(0, m, size)
    total = cum_weights[-1]
    rows = np.searchsorted(cum_weights, random_state.random_sample(size) * total, side="right")
    # Rounding may give the total itself: then take the last row with a positive weight.
    return np.minimum(rows, np.searchsorted(cum_weights, total))
