"""`KMeans` with the parameters, defaults and stopping rule of scikit-learn's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _dispatch, _starts, _validate
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import Metric
from ckmeans._result import Result
from ckmeans.estimators import _compat
from ckmeans.estimators._base import CentroidEstimator, InitMethod, draw_seed, shift_tolerance

_LLOYD = ("lloyd", "elkan")  # scikit-learn's names for exact algorithms, as every engine is: "auto"


class KMeans(CentroidEstimator):
    """Exact k-means with scikit-learn's parameters and attributes.

    scikit-learn need not be installed. If it is (1.6 or newer), `KMeans` is a scikit-learn estimator and
    supports pipelines, grid search, ``set_output``, metadata routing and ``clone``.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, array_like of shape (n_clusters, n_features), or callable
        A callable is called as ``init(X, n_clusters, random_state=random_state)``.
    n_init : int or "auto"
        Number of restarts; "auto": 10 for random starts and callables, 1 for the others.
    max_iter : int
        Maximum number of updates of one restart.
    tol : float
        A restart stops when the sum of the squared shifts of the centroids is at most tol times the
        mean variance of the features.
    verbose : int
        Print the inertia of each iteration.
    random_state : int, numpy.random.RandomState or None
        Source of randomness; None: NumPy's global generator.
    copy_x : bool
        Ignored: X is never changed.
    algorithm : {"lloyd", "elkan", "auto", ..., "optimal"}
        The engine, as `algorithm` for `kmeans`; "lloyd", "elkan" and "auto" mean Lloyd's algorithm.
        "optimal" finds the lowest inertia of all for one feature; then `n_init`, `max_iter`, `tol` and
        `random_state` have nothing to decide.
    empty : {"farthest", "drop", "reinit", "error"}
        What to do with a cluster without points, as for `kmeans`; a point that "farthest" moves a
        cluster to no longer counts for the mean of the cluster it leaves.
    metric : {"euclidean", "cosine"}
        As for `kmeans`: "cosine" is spherical k-means, with centroids of unit length. The distance of
        `transform` and `inertia_` is then 1 - cos.
    frozen : int or array_like of bool, optional
        Which rows of the array `init` stay where they are, as for `kmeans`.
    search : {None, "swap"}
        "swap" goes on from where Lloyd's algorithm stops to a much lower inertia, as `search` for `kmeans`:
        one fit in place of many restarts. `max_iter` and `tol` then hold for each run of Lloyd's algorithm.
    n_threads : int, optional
        As for `kmeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32, float16, bfloat16, int8, uint8 and uint16 data, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the centroid of each point, equal to ``predict(X)``.
    inertia_ : float
        The (weighted) sum of the squared distances to the centroids, or of 1 - cos.
    n_iter_ : int
        Number of iterations of the best restart, as scikit-learn counts them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has any.

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
        init: InitMethod = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        empty: Literal["drop", "reinit", "farthest", "error"] = "farthest",
        metric: Metric = "euclidean",
        frozen: int | ArrayLike | None = None,
        search: Literal["swap"] | None = None,
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
        self.metric = metric
        self.frozen = frozen
        self.search = search
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> KMeans:
        """Find the centroids.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Points: an array, a memory map, a data frame or a sparse matrix (CSR).
        y : ignored
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each point; 1 by default.

        Returns
        -------
        KMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; the message says which.
            With ``empty="error"`` also if a cluster becomes empty.
        """
        points, total = self._validate_input(X, sample_weight)
        m, n = points.shape
        n_clusters = _validate.n_clusters(self.n_clusters, m)
        max_iter = _validate.integer("max_iter", self.max_iter, 1)
        tol = _validate.tolerance(self.tol)
        empty = _validate.choice("empty", self.empty, _validate.EMPTY)
        algorithm = self._check_algorithm()
        search, _ = _validate.search(self.search, None, points.kind, points.metric)
        random_state = _validate.random_state(self.random_state)
        self._n_init = self._check_n_init(10)
        if algorithm == "optimal" and _validate.wants_optimum(
            algorithm,
            points.kind,
            points.shape,
            default_init=_starts.is_default(self.init),
            metric=points.metric,
            frozen=self.frozen is not None,
        ):
            result = _dispatch.fit_optimal(points, n_clusters, self.n_threads, empty=empty)
            if self.verbose:
                _print_inertia(total)(0, result.distortion, result.centroids)
            self._set_results(result, total)
            return self
        init = self._check_init(n, random_state)
        starts, trials = _starts.read_init(init, points, n_clusters, self._n_init)
        options = FitOptions(
            K=n_clusters,
            n_init=self._n_init,
            max_iter=max_iter,
            tol=0.0,
            shift_tol=shift_tolerance(points, tol, self.n_threads),
            empty=empty,
            seed=draw_seed(random_state),
            n_threads=_dispatch.thread_count(self.n_threads, points.size * n_clusters * self._n_init),
            trials=trials,
            callback=_print_inertia(total) if self.verbose else None,
            frozen=_validate.frozen(self.frozen, init, n_clusters),
            search=search,
        )
        engine = _validate.algorithm(algorithm, points.kind, *points.shape)
        result = _dispatch.fit(points, engine, starts, options)
        self._set_results(result, total)
        return self

    def _check_algorithm(self) -> str:
        """Return the engine's name for `kmeans`."""
        algorithm = _validate.choice(
            "algorithm", self.algorithm, (*_LLOYD, *_validate.fit_algorithms("array"))
        )
        if algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=3,
            )
        return "auto" if algorithm in _LLOYD else algorithm

    def _set_results(self, result: Result, total_weight: float) -> None:
        """Set the fitted attributes; warn if there are fewer clusters than asked for."""
        self.cluster_centers_ = result.centroids
        self.labels_ = result.labels
        self.inertia_ = result.distortion * total_weight
        # scikit-learn also counts the last iteration, which changes no label.
        counted = result.n_iter + (result.stop_reason == "stable")
        self.n_iter_ = min(counted, self.max_iter) if self.search is None else counted
        n_distinct = np.count_nonzero(result.counts)
        if n_distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                _compat.ConvergenceWarning,
                stacklevel=3,
            )


def _print_inertia(total_weight: float) -> Callable[[int, float, np.ndarray], None]:
    """Return a callback for `kmeans` that prints the inertia of each iteration."""

    def callback(iteration: int, distortion: float, centroids: np.ndarray) -> None:
        print(f"Iteration {iteration}, inertia {distortion * total_weight}.")

    return callback
