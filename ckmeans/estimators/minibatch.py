"""`MiniBatchKMeans`: centroids that learn from a small batch of points at a time.

D. Sculley, "Web-scale k-means clustering", WWW 2010: every centroid is the mean of all the points it
was ever given, so that it moves by less the more it has seen.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _sources, _validate
from ckmeans.api import assign, distortion, init_centroids, update
from ckmeans.estimators._base import CentroidModel, draw_seed, least_shift, table


class MiniBatchKMeans(CentroidModel):
    """k-means on batches, with scikit-learn's parameters and attributes.

    Much less work than `KMeans` where there are very many points, and able to learn from a stream
    (`partial_fit`); its distortion is somewhat higher.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features), or callable
        As for `KMeans`.
    max_iter : int
        Most passes over the data.
    batch_size : int
        Points in a batch.
    verbose : int
        Print the mean squared distance of each batch.
    compute_labels : bool
        Whether to find `labels_` and the exact `inertia_` at the end.
    random_state : int, numpy.random.RandomState or None
        None draws from NumPy's global generator.
    tol : float
        Stop when the squared moves of the centroids in one step add up to at most tol times the mean
        variance of the features; 0: do not look at it.
    max_no_improvement : int, optional
        Stop after so many batches in a row that did not lower the smoothed distortion; None: never.
    init_size : int, optional
        Points that the start is drawn from; by default three batches, or three for each cluster.
    n_init : int or "auto"
        Number of starts, of which the best is taken; "auto": 3 for random starts and callables, 1
        for the others.
    reassignment_ratio : float
        A centroid that has seen less than this part of what the busiest one has seen is put on a
        random point now and then.
    n_threads : int, optional
        As for `kmeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32, float16, uint8 and uint16 data, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of each point's centroid: of the last batch after `partial_fit`.
    inertia_ : float
        The (weighted) sum of the squared distances to the centroids.
    n_iter_ : int
        Number of passes over the data.
    n_steps_ : int
        Number of batches.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had some.

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
        init: Any = "k-means++",
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
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> MiniBatchKMeans:
        """Learn from random batches of X until little changes.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `KMeans.fit`.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Points are drawn with their weights; all alike by default.

        Returns
        -------
        MiniBatchKMeans
            Itself.

        Raises
        ------
        ValueError, TypeError
            Where a parameter or an argument is not as described; the message says which.
        """
        points, weights, total = self._take_in(X, sample_weight)
        random_state = _validate.random_state(self.random_state)
        max_iter = _validate.integer("max_iter", self.max_iter, 1)
        tol = _validate.tolerance(self.tol)
        self._begin(points, weights, random_state)
        watch = _Watch(self, len(points), least_shift(points, tol, self.n_threads))
        steps = max(max_iter * len(points) // self._batch_size, 1)
        upto = None if weights is None else np.cumsum(weights)
        self.n_steps_ = 0
        while self.n_steps_ < steps:
            batch = _rows(points, _draw(len(points), upto, self._batch_size, random_state))
            before = self.cluster_centers_
            inertia = self._step(batch, None, random_state)
            self.n_steps_ += 1
            if watch.wants_to_stop(inertia, ((self.cluster_centers_ - before) ** 2).sum()):
                break
        self.n_iter_ = math.ceil(self.n_steps_ * self._batch_size / len(points))
        self.inertia_ = watch.smoothed * total
        if self.compute_labels:
            self._label(points, weights, total)
        return self

    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> MiniBatchKMeans:
        """Learn from one batch; the first one also gives the start.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            The batch; the first one has at least n_clusters points.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        MiniBatchKMeans
            Itself.

        Raises
        ------
        ValueError, TypeError
            Where a parameter or an argument is not as described; the message says which.
        """
        first = not hasattr(self, "cluster_centers_")
        points, weights, total = self._take_in(X, sample_weight, first)
        if first or not hasattr(self, "_random_state"):
            self._random_state = _validate.random_state(self.random_state)
        if first:
            self._begin(points, weights, self._random_state)
            self.n_steps_ = 0
        each = total / len(points)  # where all weigh alike
        self._step(points, weights, self._random_state, each)
        self.n_steps_ += 1
        if self.compute_labels:
            self._label(points, weights, total)
        return self

    # ---- the parts ---------------------------------------------------------------------------

    def _begin(self, X: np.ndarray, weights: np.ndarray | None, random_state: np.random.RandomState) -> None:
        """The start, and nothing seen yet."""
        m, n = X.shape
        K = _validate.n_clusters(self.n_clusters, m)
        self._ratio = _validate.ratio("reassignment_ratio", self.reassignment_ratio)
        if self.max_no_improvement is not None:
            _validate.integer("max_no_improvement", self.max_no_improvement, 0)
        self._batch_size = min(_validate.integer("batch_size", self.batch_size, 1), m)
        self._init_size = min(self._wanted_init_size(K), m)
        self._n_init = self._restarts(3)
        start = self._start(n, random_state)
        judges = _draw(m, None if weights is None else np.cumsum(weights), self._init_size, random_state)
        best = math.inf
        for _ in range(self._n_init):
            rows = np.arange(m) if self._init_size == m else random_state.randint(0, m, self._init_size)
            some = None if weights is None else weights[rows]
            centers = init_centroids(
                _rows(X, rows),
                K,
                start,
                seed=draw_seed(random_state),
                sample_weight=some,
                n_threads=self.n_threads,
            )
            loss = distortion(_rows(X, judges), centers, n_threads=self.n_threads)
            if loss < best:
                best, self.cluster_centers_ = loss, centers
        self._seen = np.zeros(K)
        self._since_reassignment = 0

    def _wanted_init_size(self, K: int) -> int:
        if self.init_size is None:
            batches = 3 * self._batch_size
            return batches if batches >= K else 3 * K
        wanted = _validate.integer("init_size", self.init_size, 1)
        if wanted < K:
            warnings.warn(
                f"init_size={wanted} should be larger than n_clusters={K}. Setting it to "
                "min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=4,
            )
            return 3 * K
        return wanted

    def _step(
        self,
        X: np.ndarray,
        weights: np.ndarray | None,
        random_state: np.random.RandomState,
        each: float = 1.0,
    ) -> float:
        """Learn from a batch; the sum of squared distances before."""
        centers = self.cluster_centers_
        K = len(centers)
        labels, squared = assign(X, centers, return_squared_distance=True, n_threads=self.n_threads)
        means, _ = update(X, labels, K, sample_weight=weights, n_threads=self.n_threads)
        given = np.bincount(labels, weights, K) * (each if weights is None else 1.0)
        self._seen += given
        got = given > 0
        moved = centers.astype(np.float64)
        moved[got] += (means[got] - moved[got]) * (given[got] / self._seen[got])[:, None]
        self._since_reassignment += len(X)
        if (self._seen == 0).any() or self._since_reassignment >= 10 * K:
            self._since_reassignment = 0
            self._reassign(moved, X, random_state)
        self.cluster_centers_ = moved.astype(centers.dtype)
        return float(squared.sum() if weights is None else squared @ weights)

    def _reassign(self, centers: np.ndarray, X: np.ndarray, random_state: np.random.RandomState) -> None:
        """Put centroids that have seen little on points of the batch, at most half as many as it has."""
        idle = np.flatnonzero(self._seen < self._ratio * self._seen.max())
        idle = idle[np.argsort(self._seen[idle], kind="stable")][: len(X) // 2]
        if len(idle):
            rows = _sources.rows(X, random_state.choice(len(X), len(idle), replace=False))
            centers[idle] = rows if isinstance(rows, np.ndarray) else rows.toarray()
            # As much as the least busy of the others: not at once idle again, and quick to learn.
            self._seen[idle] = np.delete(self._seen, idle).min()

    def _label(self, X: np.ndarray, weights: np.ndarray | None, total: float) -> None:
        self.labels_ = self._nearest(X)
        J = distortion(
            X, self.cluster_centers_, self.labels_, sample_weight=weights, n_threads=self.n_threads
        )
        self.inertia_ = J * total


class _Watch:
    """Whether the batches still get better."""

    def __init__(self, model: MiniBatchKMeans, m: int, tol_shift: float) -> None:
        self.model, self.tol_shift = model, tol_shift
        self.share = min(2 * model._batch_size / (m + 1), 1.0)
        self.smoothed = math.nan
        self.least = math.inf
        self.in_vain = 0

    def wants_to_stop(self, inertia: float, squared_shift: float) -> bool:
        """Look at a step: the batch's sum of squared distances, and how far the centroids went."""
        step, J = self.model.n_steps_, inertia / self.model._batch_size
        if self.model.verbose:
            print(f"Minibatch step {step}: mean batch inertia: {J}")
        if step == 1:  # what the start was like
            self.smoothed = J
            return False
        self.smoothed = J if step == 2 else self.smoothed + self.share * (J - self.smoothed)
        if self.tol_shift > 0 and squared_shift <= self.tol_shift:
            return self._stop("small centers change")
        self.in_vain = 0 if self.smoothed < self.least else self.in_vain + 1
        self.least = min(self.least, self.smoothed)
        patience = self.model.max_no_improvement
        if patience is not None and self.in_vain >= patience:
            return self._stop("lack of improvement in inertia")
        return False

    def _stop(self, why: str) -> bool:
        if self.model.verbose:
            print(f"Converged ({why}) at step {self.model.n_steps_}")
        return True


def _rows(X: Any, rows: np.ndarray) -> Any:
    """Some of the points; sparse ones stay sparse."""
    return table(_sources.rows(X, rows))


def _draw(m: int, upto: np.ndarray | None, count: int, random_state: np.random.RandomState) -> np.ndarray:
    """Rows, each drawn with its weight; upto: the sums of the weights up to each row."""
    if upto is None:
        return random_state.randint(0, m, count)
    rows = np.searchsorted(upto, random_state.random_sample(count) * upto[-1], side="right")
    # Rounding may reach the sum of all: then the last row that weighs something.
    return np.minimum(rows, np.searchsorted(upto, upto[-1]))
