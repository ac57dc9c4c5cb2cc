"""The base class of the estimators: all that needs only the fitted centroids, and checks they share."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _arrays, _dispatch, _engine, _inputs, _validate
from ckmeans._inputs import Inputs, Metric, Prepared
from ckmeans.api import assign, distortion
from ckmeans.estimators import _compat

InitMethod: TypeAlias = ArrayLike | Callable[..., ArrayLike]

SAMPLE_ROWS = 1024  # rows whose mean the variance is summed about: enough that nothing cancels


class CentroidEstimator(_compat.Base):
    """Predict, transform and score with ``cluster_centers_``."""

    # Set by the subclasses.
    n_clusters: int
    init: InitMethod
    n_init: int | Literal["auto"]
    n_threads: int | None
    metric: Metric
    cluster_centers_: np.ndarray
    labels_: np.ndarray
    inertia_: float
    _n_init: int
    fit: Callable[..., CentroidEstimator]

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Find the centroids and return the label of each point.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `fit`.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        ndarray of shape (n_samples,), int32

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Find the centroids and return what `transform` does.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `fit`.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), float32 or float64

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
        """
        self.fit(X, sample_weight=sample_weight)
        return self._distances(as_points(X, self.metric))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the index of the closest centroid of each point.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `fit`.

        Returns
        -------
        ndarray of shape (n_samples,), int32

        Raises
        ------
        NotFittedError
            If `fit` was not called before.
        ValueError, TypeError
            If an argument is invalid, or the features of X differ from those seen in `fit`.
        """
        return self._nearest_labels(self._check_test_data(X))

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the distance of each point to each centroid, or 1 - cos with ``metric="cosine"``.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), float32 or float64

        Raises
        ------
        NotFittedError
            If `fit` was not called before.
        ValueError, TypeError
            If an argument is invalid, or the features of X differ from those seen in `fit`.
        """
        return self._distances(self._check_test_data(X))

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the negative (weighted) sum of squared distances to the closest centroids, or of 1 - cos.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points, as for `fit`.
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError
            If `fit` was not called before.
        ValueError, TypeError
            If an argument is invalid, or the features of X differ from those seen in `fit`.
        """
        points = self._check_test_data(X)
        weights, total = _validate.estimator_weights(sample_weight, len(points))
        J = distortion(
            points,
            self.cluster_centers_,
            sample_weight=weights,
            metric=points.metric,
            n_threads=self.n_threads,
        )
        return -J * total

    # ---- checks and defaults that the subclasses share -----------------------------------------

    def _validate_input(
        self, X: ArrayLike, sample_weight: ArrayLike | None, reset: bool = True
    ) -> tuple[Inputs, float]:
        """Return the points to fit with their weights (None: equal), and the sum of the weights.

        Unless `reset`, the features must be those of the earlier calls.
        """
        points = as_points(X, self.metric)
        _compat.check_features(self, X if hasattr(X, "shape") else points.rows, reset=reset)
        weights, total = _validate.estimator_weights(sample_weight, len(points))
        return points.reweighted(weights), total

    def _check_test_data(self, X: ArrayLike) -> Inputs:
        """Return the points of X; raise unless the estimator is fitted and the features match."""
        if not hasattr(self, "cluster_centers_"):
            raise _compat.NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate "
                "arguments before using this estimator."
            )
        points = as_points(X, self.metric)
        _compat.check_features(self, X if hasattr(X, "shape") else points.rows, reset=False)
        return points

    def _nearest_labels(self, points: Inputs) -> np.ndarray:
        return assign(points, self.cluster_centers_, metric=points.metric, n_threads=self.n_threads)

    def _distances(self, points: Inputs) -> np.ndarray:
        """Return the distances of points to the centroids, or 1 - cos."""
        centers = points.centroids(self.cluster_centers_)
        distances = _dispatch.all_distances(points, centers, self.n_threads)
        if points.is_cosine:  # of unit vectors, squared distances are 2 - 2 cos
            np.square(distances, out=distances)
            distances *= 0.5
        return distances

    def _check_n_init(self, default: int) -> int:
        """Return the number of restarts; `default` if n_init is "auto" and the start is random."""
        init_is_array = not isinstance(self.init, str) and not callable(self.init)
        if isinstance(self.n_init, str):
            _validate.choice("n_init", self.n_init, ("auto",))
            return 1 if init_is_array or self.init == "k-means++" else default
        n_init = _validate.integer("n_init", self.n_init, 1)
        if init_is_array and n_init > 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            return 1
        return n_init

    def _check_init(self, n_features: int, random_state: np.random.RandomState) -> Any:
        """Return `init` in the form that `kmeans` accepts."""
        if isinstance(self.init, str):
            return str(_validate.choice("init", self.init, _validate.INITS))
        if not callable(self.init):
            return _validate.initial_centers(self.init, self.n_clusters, n_features)
        user_init: Callable[..., ArrayLike] = self.init

        def init(X: np.ndarray, K: int, rng: np.random.Generator) -> np.ndarray:
            return _validate.initial_centers(user_init(X, K, random_state=random_state), K, n_features)

        return init

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


def as_points(X: Any, metric: Metric) -> Inputs:
    """Return X checked as scikit-learn's users expect; sparse rows stay sparse."""
    if isinstance(X, Prepared):
        raise TypeError("points that were prepared are not an array: pass the original X")
    _validate.reject_complex(X)
    return _inputs.read(X, check=_validate.estimator_two_dimensional, metric=metric)


def accumulate(
    points: Inputs,
    centroids: np.ndarray,  # of the computing dtype of the points
    labels: np.ndarray,
    *,
    n_threads: int | None,
    assign_labels: bool = False,
    sums: bool = True,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Measure points against centroids in one pass, after filling `labels` if `assign_labels`.

    Returns
    -------
    inertia : float
        The (weighted) sum of squared distances of the points to their centroids, or of 1 - cos.
    offsets : ndarray of shape (K, n), float64
        The (weighted) sum of x - centroid over the points of each cluster; only if `sums`.
    weight_sums : ndarray of shape (K,), float64
        The sum of the weights of each cluster; only if `sums`.
    """
    threads = _dispatch.thread_count(n_threads, points.size * (len(centroids) if assign_labels else 1))
    inertia, offsets, weight_sums, _ = _dispatch.step(
        points, centroids, labels, threads, assign=assign_labels, sums=sums, measure=True
    )
    if sums and points.kind == "sparse":  # of sparse rows the engine returns the sums of x itself
        offsets -= weight_sums[:, None] * centroids
    return points.loss(inertia), offsets, weight_sums


def shift_tolerance(points: Inputs, tol: float, n_threads: int | None) -> float:
    """Return the sum of squared centroid shifts that ends a run: `tol` times the mean variance of
    the features."""
    if tol == 0:
        return 0.0
    m, n_features = points.shape
    # The variance in one pass, about a point near the mean: about 0 its digits would cancel.
    sample = points.select(slice(None, None, max(m // SAMPLE_ROWS, 1)))
    with np.errstate(over="ignore", invalid="ignore"):
        center = np.asarray(sample.mean(axis=0, dtype=np.float64)).reshape(1, n_features)
        center = center.astype(points.computing_dtype)
    center[~np.isfinite(center)] = 0  # then the pass itself finds and reports the faulty value of X
    threads = _dispatch.thread_count(n_threads, points.size)
    exponent, square, offset, weight, _ = _dispatch.scaled_step(
        points.reweighted(None), center, np.zeros(m, np.int32), threads, _engine.SUM
    )
    if points.kind == "sparse":  # as in `accumulate`
        offset -= weight[:, None] * _dispatch.divided(center, exponent)
    if points.is_cosine:  # rows of length 1 about their mean
        variance = 1 - ((center + offset / m) ** 2).sum()
    else:
        variance = square / m - ((offset / m) ** 2).sum()
    variance = max(variance, 0.0)
    # A tolerance that float64 cannot hold is one that no shift exceeds, or none but 0 keeps.
    scaled = _arrays.times_power(tol * variance / n_features, 2 * exponent)
    return min(float(scaled), sys.float_info.max)


def draw_seed(random_state: np.random.RandomState) -> int:
    """Draw a seed for this package's functions from scikit-learn's kind of generator."""
    return int(random_state.randint(1 << 62, dtype=np.int64))
