"""`KMeans`, which stands in for scikit-learn's: its names, defaults and stop, over our engines."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _validate
from ckmeans._result import Result
from ckmeans.api import run
from ckmeans.estimators import _compat
from ckmeans.estimators._base import CentroidModel, draw_seed, least_shift

_LLOYD = ("lloyd", "elkan")  # exact both, as all of ours are: "auto"


class KMeans(CentroidModel):
    """Exact k-means with scikit-learn's parameters and attributes.

    Works without scikit-learn. With it (1.6 or newer) it is one of its estimators: pipelines, grid
    search, ``set_output``, metadata routing and ``clone``.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features), or callable
        A callable is called as ``init(X, n_clusters, random_state=random_state)``.
    n_init : int or "auto"
        Number of restarts; "auto": 10 for random starts and callables, 1 for the others.
    max_iter : int
        Most updates of one restart.
    tol : float
        A restart stops when the squared moves of the centroids add up to at most tol times the
        mean variance of the features.
    verbose : int
        Print the inertia of each iteration.
    random_state : int, numpy.random.RandomState or None
        None draws from NumPy's global generator.
    copy_x : bool
        Without effect: X is never changed.
    algorithm : {"lloyd", "elkan", "auto", ...}
        The engine, as `algorithm` for `kmeans`; "lloyd" and "elkan" mean "auto".
    empty : {"farthest", "drop", "reinit", "error"}
        What becomes of a cluster without points, as for `kmeans`; a point that "farthest" puts a
        cluster on no longer counts for the cluster it leaves.
    n_threads : int, optional
        As for `kmeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32, float16, uint8 and uint16 data, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of each point's centroid: ``predict(X)``.
    inertia_ : float
        The (weighted) sum of the squared distances to the centroids.
    n_iter_ : int
        Number of iterations of the best restart, as scikit-learn counts them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had some.

    Examples
    --------
    >>> import ckmeans
    >>> model = ckmeans.KMeans(n_clusters=2, random_state=0).fit([[1, 2], [1, 4], [10, 2], [10, 4]])
    >>> float(model.inertia_), sorted(model.cluster_centers_.tolist())
    (4.0, [[1.0, 3.0], [10.0, 3.0]])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        empty: Literal["drop", "reinit", "farthest", "error"] = "farthest",
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.empty = empty
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> KMeans:
        """Find the centroids.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points: arrays of any kind, memory maps, data frames and sparse rows (CSR).
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        KMeans
            Itself.

        Raises
        ------
        ValueError, TypeError
            Where a parameter or an argument is not as described; the message says which.
            With ``empty="error"`` also where a cluster becomes empty.
        """
        points, weights, total = self._take_in(X, sample_weight)
        m, n = points.shape
        n_clusters = _validate.n_clusters(self.n_clusters, m)
        max_iter = _validate.integer("max_iter", self.max_iter, 1)
        tol = _validate.tolerance(self.tol)
        empty = _validate.choice("empty", self.empty, _validate.EMPTY)
        algorithm = self._engine()
        random_state = _validate.random_state(self.random_state)
        self._n_init = self._restarts(10)
        result = run(
            points,
            n_clusters,
            init=self._start(n, random_state),
            n_init=self._n_init,
            max_iter=max_iter,
            tol_shift=least_shift(points, tol, self.n_threads),
            empty=empty,
            sample_weight=weights,
            algorithm=algorithm,
            seed=draw_seed(random_state),
            n_threads=self.n_threads,
            callback=_printer(total) if self.verbose else None,
        )
        self._take(result, total)
        return self

    def _engine(self) -> str:
        algorithm = _validate.choice("algorithm", self.algorithm, (*_LLOYD, *_validate.ALGORITHMS))
        if algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=3,
            )
        return "auto" if algorithm in _LLOYD else algorithm

    def _take(self, result: Result, weight: float) -> None:
        """Set the attributes, and warn where there are fewer clusters than asked for."""
        self.cluster_centers_ = result.centroids
        self.labels_ = result.labels
        self.inertia_ = result.distortion * weight
        # scikit-learn counts the update in which nothing changed any more.
        self.n_iter_ = min(result.n_iter + (result.stop_reason == "stable"), self.max_iter)
        distinct = np.count_nonzero(result.counts)
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                _compat.ConvergenceWarning,
                stacklevel=3,
            )


def _printer(weight: float) -> Callable[[int, float, np.ndarray], None]:
    def callback(iteration: int, distortion: float, centroids: np.ndarray) -> None:
        print(f"Iteration {iteration}, inertia {distortion * weight}.")

    return callback
