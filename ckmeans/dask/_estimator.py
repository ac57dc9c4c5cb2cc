"""`KMeans` for points on a Dask cluster, with the names of scikit-learn's and dask-ml's."""

from __future__ import annotations

from typing import Any, Literal

import dask.array
import distributed
import numpy as np
from numpy.typing import ArrayLike

import ckmeans
from ckmeans import _dispatch, _inputs, _validate
from ckmeans._version import __version__
from ckmeans.dask._kmeans import kmeans
from ckmeans.dask._points import require_collection
from ckmeans.estimators import _compat
from ckmeans.estimators._base import draw_seed


class KMeans(_compat.Base):
    """Exact k-means on a Dask cluster with scikit-learn's names; dask-ml's `KMeans` can be replaced by it.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means||", "random"} or array_like of shape (n_clusters, n_features)
        As for `ckmeans.dask.kmeans`.
    n_init : int
        Number of restarts.
    max_iter : int
        Maximum number of updates of one restart.
    tol : float
        A restart stops when the inertia falls by at most tol times itself.
    random_state : int, numpy.random.RandomState or None
        Source of randomness; None: NumPy's global generator.
    empty : {"drop", "reinit", "farthest", "error"}
        What to do with a cluster without points, as for `ckmeans.kmeans`.
    algorithm : {"auto", "dense", "cells", "screen"}
        The engine on each block.
    n_threads : int, optional
        Threads of a step on each worker.
    client : distributed.Client, optional
        The one in use by default.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    labels_ : dask.array of shape (n_samples,), int32
        Index of the centroid of each point, left on the workers.
    inertia_ : float
        The (weighted) sum of the squared distances to the centroids.
    n_iter_ : int
        Number of updates of the best restart.
    n_features_in_ : int
        Number of features.

    Examples
    --------
    >>> import dask.array, distributed
    >>> import ckmeans.dask
    >>> client = distributed.Client(n_workers=2)  # doctest: +SKIP
    >>> X = dask.array.random.random((1_000_000, 8), chunks=(100_000, 8))  # doctest: +SKIP
    >>> model = ckmeans.dask.KMeans(n_clusters=20).fit(X)  # doctest: +SKIP
    >>> model.predict(X)  # doctest: +SKIP
    dask.array<predict, shape=(1000000,), dtype=int32, chunksize=(100000,), chunktype=numpy.ndarray>
    """

    cluster_centers_: np.ndarray
    labels_: dask.array.Array
    inertia_: float
    n_iter_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Literal["k-means||", "random"] | ArrayLike = "k-means||",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
        empty: Literal["drop", "reinit", "farthest", "error"] = "farthest",
        algorithm: Literal["auto", "dense", "cells", "screen"] = "auto",
        n_threads: int | None = None,
        client: distributed.Client | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.empty = empty
        self.algorithm = algorithm
        self.n_threads = n_threads
        self.client = client

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> KMeans:
        """Find the centroids.

        Parameters
        ----------
        X : dask.array of shape (n_samples, n_features) or dask DataFrame
        y : ignored
        sample_weight : dask.array or Series of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        KMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
        """
        result = kmeans(
            X,
            _validate.integer("n_clusters", self.n_clusters, 1),
            init=self.init,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            empty=self.empty,
            sample_weight=sample_weight,
            algorithm=self.algorithm,
            seed=draw_seed(_validate.random_state(self.random_state)),
            n_threads=self.n_threads,
            client=self.client,
        )
        self.cluster_centers_ = result.centroids
        self.labels_ = result.labels  # type: ignore[assignment]
        self.inertia_ = result.distortion * result.stats["weight"]
        self.n_iter_ = result.n_iter
        self.n_features_in_ = result.centroids.shape[1]
        return self

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> dask.array.Array:
        """Find the centroids and return the label of each point.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        dask.array of shape (n_samples,), int32
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: object = None, sample_weight: Any = None) -> dask.array.Array:
        """Find the centroids and return the distance of each point to each of them.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        dask.array of shape (n_samples, n_clusters), float32 or float64
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: Any) -> Any:
        """Return the index of the closest centroid of each point.

        Parameters
        ----------
        X : dask.array of shape (n_samples, n_features), dask DataFrame, or what `ckmeans.assign` takes

        Returns
        -------
        dask.array of shape (n_samples,), int32
            Computed when it is asked for; an ndarray if X is no Dask collection.
        """
        return self._on_blocks(X, ckmeans.assign, "predict", None)

    def transform(self, X: Any) -> Any:
        """Return the distance of each point to each centroid.

        Parameters
        ----------
        X : dask.array of shape (n_samples, n_features), dask DataFrame, or what `ckmeans.assign` takes

        Returns
        -------
        dask.array of shape (n_samples, n_clusters), float32 or float64
            Computed when it is asked for; an ndarray if X is no Dask collection.
        """
        self._check_is_fitted()
        return self._on_blocks(X, _distances, "transform", len(self.cluster_centers_))

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Return the negative (weighted) sum of squared distances to the closest centroids.

        Parameters
        ----------
        X : dask.array of shape (n_samples, n_features) or dask DataFrame
        y : ignored
        sample_weight : dask.array or Series of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        float
        """
        self._check_is_fitted()
        result = kmeans(
            X,
            len(self.cluster_centers_),
            init=self.cluster_centers_,
            max_iter=1,
            empty="reinit",
            sample_weight=sample_weight,
            callback=_stop_at_once,
            n_threads=self.n_threads,
            client=self.client,
        )
        return -result.distortion * result.stats["weight"]

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "cluster_centers_"):
            raise _compat.NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate "
                "arguments before using this estimator."
            )

    def _on_blocks(self, X: Any, function: Any, name: str, columns: int | None) -> Any:
        """Return what a function of the points and the centroids gives, block by block."""
        self._check_is_fitted()
        if not dask.base.is_dask_collection(X):
            return function(X, self.cluster_centers_)
        require_collection("X", X)
        blocks = X if isinstance(X, dask.array.Array) else X.to_dask_array()
        if blocks.ndim == 2 and blocks.numblocks[1] > 1:
            blocks = blocks.rechunk({1: -1})
        dtype = np.int32 if columns is None else self.cluster_centers_.dtype
        shape: dict[str, Any] = (
            {"drop_axis": 1} if columns is None else {"chunks": (blocks.chunks[0], (columns,))}
        )
        return blocks.map_blocks(
            function, self.cluster_centers_, dtype=dtype, meta=np.empty((0,) * (1 + bool(columns)), dtype),
            name=f"{name}-{dask.base.tokenize(X, self.cluster_centers_, __version__)}", **shape,
        )  # fmt: skip

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


def _distances(X: Any, centroids: np.ndarray) -> np.ndarray:
    """Return the distance of each point to each centroid."""
    return _dispatch.all_distances(_inputs.read(X), centroids)


def _stop_at_once(iteration: int, distortion: float, centroids: np.ndarray) -> bool:
    """End a fit after the first assignment."""
    return True
