"""What the estimators share: everything that needs nothing but the centroids that were found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _sources, _validate
from ckmeans.api import all_distances, assign, distortion, update
from ckmeans.estimators import _compat


class CentroidModel(_compat.Base):
    """An estimator once it has ``cluster_centers_``."""

    # Set by the estimators.
    n_clusters: int
    init: Any
    n_init: Any
    n_threads: int | None
    cluster_centers_: np.ndarray
    labels_: np.ndarray
    inertia_: float
    _n_init: int
    fit: Callable[..., Any]

    def fit_predict(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """Find the centroids and give each point's index.

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
            Where a parameter or an argument is not as described; the message says which.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Find the centroids and give each point's distance to each of them.

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
            Where a parameter or an argument is not as described; the message says which.
        """
        centers = self.fit(X, sample_weight=sample_weight).cluster_centers_
        return _distances(table(X), centers, self.n_threads)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Index of each point's closest centroid.

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
            Before `fit`.
        ValueError, TypeError
            Where an argument is not as described, or X has other features than those that were fitted.
        """
        return self._nearest(self._read(X))

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Distance of each point to each centroid.

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
            Before `fit`.
        ValueError, TypeError
            Where an argument is not as described, or X has other features than those that were fitted.
        """
        return _distances(self._read(X), self.cluster_centers_, self.n_threads)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """The negative of the (weighted) sum of squared distances to the closest centroids.

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
            Before `fit`.
        ValueError, TypeError
            Where an argument is not as described, or X has other features than those that were fitted.
        """
        read = self._read(X)
        weights, total = _validate.estimator_weights(sample_weight, len(read))
        J = distortion(read, self.cluster_centers_, sample_weight=weights, n_threads=self.n_threads)
        return -J * total

    # ---- for the estimators ------------------------------------------------------------------

    def _take_in(
        self, X: ArrayLike, sample_weight: ArrayLike | None, first: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None, float]:
        """Points to learn from, like those before or the first, their weights and the sum of these."""
        points = table(X)
        _compat.check_features(self, X, reset=first)
        weights, total = _validate.estimator_weights(sample_weight, len(points))
        return points, weights, total

    def _read(self, X: ArrayLike) -> np.ndarray:
        """Points like those that were fitted."""
        if not hasattr(self, "cluster_centers_"):
            raise _compat.NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate "
                "arguments before using this estimator."
            )
        read = table(X)
        _compat.check_features(self, X, reset=False)
        return read

    def _nearest(self, X: np.ndarray) -> np.ndarray:
        labels = assign(X, self.cluster_centers_, n_threads=self.n_threads)
        assert isinstance(labels, np.ndarray)
        return labels

    def _restarts(self, default: int) -> int:
        """How many times to start; `default` where n_init is "auto" and the start is random."""
        given = not isinstance(self.init, str) and not callable(self.init)
        if isinstance(self.n_init, str):
            _validate.choice("n_init", self.n_init, ("auto",))
            return 1 if given or self.init == "k-means++" else default
        n_init = _validate.integer("n_init", self.n_init, 1)
        if given and n_init > 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            return 1
        return n_init

    def _start(self, n_features: int, random_state: np.random.RandomState) -> Any:
        """`init` as `kmeans` takes it."""
        if isinstance(self.init, str):
            return str(_validate.choice("init", self.init, _validate.INITS))
        if not callable(self.init):
            return _validate.initial_centers(self.init, self.n_clusters, n_features)
        make: Callable[..., ArrayLike] = self.init

        def start(X: np.ndarray, K: int, rng: np.random.Generator) -> np.ndarray:
            return _validate.initial_centers(make(X, K, random_state=random_state), K, n_features)

        return start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


def table(X: Any) -> np.ndarray:
    """Points as an estimator takes them, sparse rows too."""
    return _sources.points(X) if _validate.is_sparse(X) else _validate.table(X)


def _distances(X: np.ndarray, centers: np.ndarray, n_threads: int | None) -> np.ndarray:
    if isinstance(X, np.ndarray):
        return all_distances(X, centers, n_threads)
    out = np.empty((len(X), len(centers)), np.float32 if _validate.itemsize(X) == 4 else np.float64)
    for k in range(len(centers)):
        _, squared = assign(X, centers[k : k + 1], return_squared_distance=True, n_threads=n_threads)
        np.sqrt(squared, out=out[:, k], casting="same_kind")
    return out


def least_shift(X: np.ndarray, tol: float, n_threads: int | None) -> float:
    """The sum of the squared moves of the centroids that ends a run: `tol` times the mean variance of
    the features."""
    if tol == 0:
        return 0.0
    everything = np.zeros(len(X), np.int32)
    mean, _ = update(X, everything, 1, n_threads=n_threads)
    total = distortion(X, mean, everything, n_threads=n_threads)  # J of one cluster: all variances
    return tol * (total / X.shape[1])


def draw_seed(random_state: np.random.RandomState) -> int:
    """A seed for one of our functions, from scikit-learn's kind of generator."""
    return int(random_state.randint(1 << 62, dtype=np.int64))
