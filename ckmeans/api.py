"""The public functions: check the arguments, choose engine and dtype, run, return the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ckmeans import _dispatch, _inputs, _lloyd, _starts, _validate
from ckmeans._fit_options import FitOptions
from ckmeans._inputs import CentroidsLike, Inputs, Metric, PersistentInputs, PointsLike, Prepared
from ckmeans._points import PreparedPoints
from ckmeans._result import Result
from ckmeans._starts import Init

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def kmeans(
    X: PointsLike,
    K: int,
    *,
    init: Init = "k-means++",
    frozen: int | ArrayLike | None = None,
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    empty: Literal["drop", "reinit", "farthest", "error"] = "drop",
    search: Literal["swap"] | None = None,
    max_swaps: int | None = None,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    algorithm: Literal["auto", "dense", "cells", "screen", "optimal"] = "auto",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callable[[int, float, np.ndarray], Any] | None = None,
    progress: bool = False,
    keep_path: bool = False,
) -> Result:
    """Cluster points around K centroids by Lloyd's algorithm, exactly; points of one feature optimally.

    From starting centroids, alternately assign every point to its closest centroid and move every
    centroid to the mean of its points, until nothing changes or the distortion barely falls [1]_. Of
    several restarts the one with the lowest distortion is returned. With ``search="swap"`` each then goes
    on to a much lower distortion than restarts find in the same time.

    For an array of one feature the result has the lowest distortion of all, with the centroids in rising
    order (``algorithm="optimal"``), unless `init` is not the default, an engine is named, or `callback`
    or `keep_path` is asked for. Then `n_init`, `max_iter`, `tol` and `seed` have nothing to decide.

    Parameters
    ----------
    X : array_like of shape (m, n), data frame, tensor or sparse matrix
        Points. float32, float16, bfloat16, int8, uint8 and uint16 data are computed in float32,
        everything else in float64. Any strides, byte order and memory map are accepted; the array is
        read block by block. Values whose squares leave float32 are computed in float64, those whose
        squares leave float64 too in another unit, a power of two, from a copy; only a J that float64
        cannot hold is an error.
        The columns of a data frame (pandas, polars, Arrow, or any with ``__arrow_c_stream__`` or
        ``__dataframe__``) may hold numbers or booleans of any dtype, categories and objects that are
        numbers too; the result is that of an array of their common dtype (``numpy.result_type``;
        objects and decimals count as float64). Tensors in main memory (PyTorch, JAX, TensorFlow, any with
        ``__dlpack__``) are read where they lie; one that requires a gradient is read without it.
        SciPy sparse matrices and arrays: CSR is read in place, other formats are converted.
        The result of `prepare` is accepted wherever X is, for the same result.
    K : int
        Number of clusters, 1 to m.
    init : {"k-means++", "random"}, array_like of shape (K, n) or fewer rows, or callable
        "random" draws K examples, of distinct values if there are enough; "k-means++" is greedy
        with 2 + floor(ln K) candidates per centroid [2]_; an array is used as given (with n_init=1),
        and completed by "k-means++" in each restart if it has fewer than K rows; a callable is called
        as ``init(X, K, rng)`` for each restart.
    frozen : int or array_like of bool, optional
        Which rows of the array `init` stay where they are: the first so many, or those marked by one boolean
        a row. Points are assigned to frozen centroids as to others, but these are never updated, dropped or
        put elsewhere; one without points keeps its place and has count 0, also with ``empty="error"``.
    n_init : int
        Number of restarts. Restart r draws from stream r of the seed.
    max_iter : int
        Maximum number of updates of one restart.
    tol : float
        A restart stops when J falls by at most tol times J; 0: when J stays the same.
    empty : {"drop", "reinit", "farthest", "error"}
        What to do with a cluster of total weight 0: "drop" removes it (K - 1 remain), "reinit" moves
        it to a random point, "farthest" to the point farthest from its centroid, "error" raises.
        After the last assignment only "drop" and "error" act. A cluster that cannot be filled, since
        every distance is 0, keeps its centroid and has count 0. With ``algorithm="optimal"`` K above
        the number of distinct values gives that many clusters with "drop", and empty ones at the last
        centroid besides with "reinit" and "farthest".
    search : {None, "swap"}
        None ends a restart where Lloyd's algorithm does. "swap" goes on from there [9]_: it moves one
        centroid at a time, mostly one of little use, to a point drawn by its squared distance, lets the
        clusters next to the two places adapt, and keeps the move if J then falls; a failed one leaves no
        trace. After 4 K of these (at least 32) in a row have failed, Lloyd's algorithm runs until nothing
        changes, and then single points are moved to other clusters where that lowers J [10]_, each pass
        followed by Lloyd's algorithm, until that does not help either. `max_iter` and `tol` hold for each
        run of Lloyd's algorithm but those last ones; `history`, `path` and `callback` have every state that
        was kept. One call is to replace many restarts (docs: "Better minima"). Where one feature is solved
        optimally, nothing is left to search. Not for `kmeans_chunks`, nor for ``metric="cosine"``; frozen
        centroids stay.
    max_swaps : int, optional
        How many swaps each restart tries at most, with ``search="swap"``; by default no limit.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default. Prepared points have their weights already.
    metric : {"euclidean", "cosine"}
        "cosine" is spherical k-means [8]_: rows are compared by their directions alone, as if each had
        unit length (X is neither changed nor copied for that), centroids have unit length, and J is the
        mean of 1 - cos. A given start is brought to unit length. A row of zeros has no direction, and is
        an error, with a weight of 0 too. A cluster whose mean is zero keeps its centroid.
    algorithm : {"auto", "dense", "cells", "screen", "optimal"}
        The engine; every engine gives the same labels. "dense" computes every distance. "cells", for
        up to 8 features, builds a k-d tree once and assigns whole nodes of it at once (the filtering
        algorithm [3]_, [4]_). "screen", for many features, bounds every distance from both sides by products
        of 8-bit codes and computes only the distances that the bounds leave; from iteration to iteration
        it carries bounds of each point's distances [5]_. It takes n + 36 bytes more per row, and up to 72
        where it screens on leading principal directions first. "auto" chooses by the shapes, and switches
        between "screen" and "dense" by how many distances remain and how many labels change.
        Sparse rows have an engine of their own. "optimal", for an array of one feature, is no engine: it
        finds the lowest J of all by dynamic programming over the sorted values, in a time that hardly
        depends on K [6]_, [7]_, and takes up to 250 bytes a distinct value. "auto" takes it where it can.
    seed : int, numpy.random.Generator or None
        The same seed gives bit-identical results on the same machine, on any number of threads.
    n_threads : int, optional
        By default OpenMP's limit, capped by the CPU affinity and quota of the process.
    callback : callable, optional
        Called as ``callback(iteration, distortion, centroids)`` after each assignment, in every
        restart from iteration 0 on; restarts then run one after another. Returning True ends the call
        with the best state so far.
    progress : bool
        Show a progress bar (needs tqdm): over restarts, or over iterations if there is one restart.
    keep_path : bool
        Keep the centroids of every assignment in ``Result.path``.

    Returns
    -------
    Result
        Its ``labels`` equal ``assign(X, centroids)`` and its ``distortion`` equals
        ``distortion(X, centroids)``, bit for bit.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it, what was found and what is wanted.
        With ``empty="error"`` also if a cluster becomes empty.

    References
    ----------
    .. [1] Lloyd, S. P., "Least squares quantization in PCM", IEEE Trans. Information Theory 28, 1982.
    .. [2] Arthur, D. and Vassilvitskii, S., "k-means++: the advantages of careful seeding", SODA 2007.
    .. [3] Pelleg, D. and Moore, A., "Accelerating exact k-means algorithms with geometric reasoning",
       KDD 1999. See also Alsabti, K., Ranka, S. and Singh, V., "An efficient k-means clustering
       algorithm", 1998.
    .. [4] Kanungo, T. et al., "An efficient k-means clustering algorithm: analysis and implementation",
       IEEE Trans. Pattern Analysis and Machine Intelligence 24, 2002.
    .. [5] Hamerly, G., "Making k-means even faster", SDM 2010.
    .. [6] Wu, X., "Optimal quantization by matrix searching", Journal of Algorithms 12, 1991.
    .. [7] Aggarwal, A., Schieber, B. and Tokuyama, T., "Finding a minimum-weight k-link path in graphs
       with the concave Monge property and applications", Discrete & Computational Geometry 12, 1994.
    .. [8] Dhillon, I. S. and Modha, D. S., "Concept decompositions for large sparse text data using
       clustering", Machine Learning 42, 2001.
    .. [9] Fränti, P., "Efficiency of random swap clustering", Journal of Big Data 5, 2018. See also Lattanzi,
       S. and Sohler, C., "A better k-means++ algorithm via local search", ICML 2019, and Fritzke, B., "The
       breathing k-means algorithm", arXiv:2006.15666.
    .. [10] Telgarsky, M. and Vattani, A., "Hartigan's method: k-means clustering without Voronoi", AISTATS
       2010.

    Examples
    --------
    >>> import ckmeans
    >>> r = ckmeans.kmeans([[1.0, 1.0], [1.5, 2.0], [8.0, 8.0], [9.0, 8.5]], 2, seed=0)
    >>> sorted(r.counts.tolist()), r.stop_reason
    ([2, 2], 'stable')
    """
    points = _inputs.read(X, sample_weight, metric=metric)
    K = _validate.clusters(K, len(points))
    n_init = _validate.integer("n_init", n_init, 1)
    max_iter = _validate.integer("max_iter", max_iter, 1)
    tol = _validate.tolerance(tol)
    empty_policy = _validate.choice("empty", empty, _validate.EMPTY)
    search_method, max_swaps = _validate.search(search, max_swaps, points.kind, points.metric)
    callback = _validate.function("callback", callback)
    keep_path = bool(keep_path)
    if _validate.wants_optimum(
        algorithm,
        points.kind,
        points.shape,
        default_init=_starts.is_default(init),
        metric=points.metric,
        callback=callback,
        keep_path=keep_path,
        frozen=frozen is not None,
    ):
        _validate.seed(seed)
        return _dispatch.fit_optimal(points, K, n_threads, empty=empty_policy, progress=progress)
    engine = _validate.algorithm(algorithm, points.kind, *points.shape)
    starts, trials = _starts.read_init(init, points, K, n_init)
    flags = _validate.frozen(frozen, init, K)
    options = FitOptions(
        K=K,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        empty=empty_policy,
        seed=_validate.seed(seed),
        n_threads=_dispatch.thread_count(n_threads, points.size * K * n_init),
        trials=trials,
        callback=callback,
        keep_path=keep_path,
        frozen=flags,
        search=search_method,
        max_swaps=max_swaps,
    )
    return _dispatch.fit(points, engine, starts, options, progress)


def prepare(X: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Prepared:
    """Cache the preprocessing of X, to fit many K or many starts, or to assign many times.

    The result is accepted wherever X is, with any metric: `kmeans`, `assign`, `update`, `distortion`,
    `init_centroids`, `elbow` and `compare` then return bit-identical results in less time.
    Everything is computed when it is first needed: the deduplicated points (photos: up to three
    features of bytes, from 262,144 points on, if four points or more share a value), which "k-means++"
    uses, too; and the k-d tree, for up to 8 features, with which `assign` and `distortion` assign
    whole nodes at once. For more features nothing is cached: coding and packing take less time
    than an iteration. Sparse rows are checked and converted once.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`. They are not copied, and must not change as long as the result is used.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default. It becomes part of the cache, so it must not be passed
        again with the result.

    Returns
    -------
    Prepared
        To be passed in place of X. Any number of threads may use it at once. Its ``nbytes`` is what
        it holds beside X.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.

    Notes
    -----
    For m points (m distinct ones after deduplication) of n features of s bytes each, the tree takes
    about (n s + 4) m + m (24 + 3 n s + 8 (n + 2)) / 28 bytes, and 8 m more with weights; deduplication
    takes 4 bytes per row and 16 + 4 n per distinct point. Where the result is passed as ``centroids`` of
    `assign` or `distortion`, it keeps them rounded and packed, in about 2 n s bytes each.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> X = numpy.random.default_rng(0).random((10_000, 2))
    >>> prepared = ckmeans.prepare(X)
    >>> [len(ckmeans.kmeans(prepared, K, seed=0).centroids) for K in (2, 4, 8)]
    [2, 4, 8]
    """
    if isinstance(X, Prepared):
        raise TypeError("X is prepared already")
    points = _inputs.read(X, sample_weight)
    return Prepared(PersistentInputs(points))


def kmeans_chunks(
    chunks: Iterable[ArrayLike] | Callable[[], Iterable[ArrayLike]], K: int, **options: Any
) -> Result:
    """Cluster points that come in chunks, in memory that hardly grows with m.

    The chunks are iterated over again and again, at least once per assignment. For chunks of any size
    the result is bit-identical to ``kmeans(X, K, algorithm="dense")`` on all points in memory.

    Parameters
    ----------
    chunks : list of array_like of shape (?, n), other iterable of them, or callable
        Arrays, data frames or tensors, the same in every pass; if their dtypes differ, the one that
        holds the values of all counts. An object must start again whenever it is iterated over (a
        generator does not); a callable is called without arguments for each pass and returns an
        iterator, as in ``lambda: pandas.read_csv(path, chunksize=100_000)``. A data loader that does
        not shuffle is accepted (of batches with targets the first part), as are a Parquet dataset or
        file of Arrow, Dask's arrays and data frames (a partition at a time), and one array or data
        frame, which is one chunk. A memory map larger than memory needs no chunks: `kmeans` reads it
        block by block.
    K : int
        Number of clusters, 1 to m.
    **options
        Keyword arguments of `kmeans`. A callable `init` is called as ``init(chunks, K, rng)``.

    Returns
    -------
    Result
        In memory there is for each point its label, 4 bytes; with ``init="k-means++"`` also a squared
        distance in the computing dtype, with ``n_init`` above 1 one more label, and with
        `sample_weight` its weight.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, or if a later pass finds other chunks.

    Notes
    -----
    An assignment takes one pass, ``init="random"`` one or two in all, and "k-means++" two per
    centroid, or two in all for the pixels of photos (see `prepare`).

    Examples
    --------
    >>> import ckmeans
    >>> r = ckmeans.kmeans_chunks([[[1.0, 1.0], [1.5, 2.0]], [[8.0, 8.0], [9.0, 8.5]]], 2, seed=0)
    >>> sorted(r.counts.tolist()), r.stop_reason
    ([2, 2], 'stable')
    """
    return kmeans(_inputs.read_chunks(chunks), K, **options)


@overload
def assign(
    X: PointsLike,
    centroids: CentroidsLike,
    *,
    return_squared_distance: Literal[False] = False,
    out: np.ndarray | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
) -> np.ndarray: ...


@overload
def assign(
    X: PointsLike,
    centroids: CentroidsLike,
    *,
    return_squared_distance: Literal[True],
    out: np.ndarray | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]: ...


def assign(
    X: PointsLike,
    centroids: CentroidsLike,
    *,
    return_squared_distance: bool = False,
    out: np.ndarray | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Return the index of each point's closest centroid; of equally close ones the lowest.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    centroids : array_like of shape (K, n), or what `prepare` returned of one
        Rounded to the dtype of the computation first. Prepared ones are packed once for many calls, which
        pays where the points of a call are few.
    return_squared_distance : bool
        Return the squared distances, too; with ``metric="cosine"`` they are 2 - 2 cos.
    out : ndarray of shape (m,), int32, optional
        Array to fill with the labels.
    metric : {"euclidean", "cosine"}
        As for `kmeans`; with "cosine" the closest centroid is the one with the largest cosine, and
        centroids are brought to unit length.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    labels : ndarray of shape (m,), int32
    squared_distance : ndarray of shape (m,), float64
        Only with ``return_squared_distance=True``.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    """
    points, places = _inputs.read_with_centroids(X, centroids, metric=metric)
    m = len(points)
    labels = np.empty(m, np.int32) if out is None else _validate.labels_out(out, m)
    squared = np.empty(m) if return_squared_distance else None
    threads = _dispatch.thread_count(n_threads, points.size * len(places))
    _dispatch.step(points, places, labels, threads, squared=squared, assign=True)
    return labels if squared is None else (labels, squared)


def update(
    X: PointsLike,
    labels: ArrayLike,
    K: int,
    *,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each cluster's points.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    labels : array_like of shape (m,), integers in 0 .. K - 1
    K : int
        Number of clusters, at least 1.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    centroids : ndarray of shape (K, n), float32 or float64
        NaN rows for clusters of total weight 0.
    counts : ndarray of shape (K,), int64
        Number of points of each cluster.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    """
    points = _inputs.read(X, sample_weight)
    K = _validate.integer("K", K, 1)
    labels = _validate.labels(labels, len(points), K)
    threads = _dispatch.thread_count(n_threads, points.size)
    means, counts = _dispatch.means(points, labels, K, threads)
    return means.astype(points.computing_dtype), counts


def distortion(
    X: PointsLike,
    centroids: CentroidsLike,
    labels: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
) -> float:
    """Return J, the (weighted) mean squared distance of the points to their centroids, or mean of 1 - cos.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    centroids : array_like of shape (K, n), or what `prepare` returned of one
        Rounded to the dtype of the computation first.
    labels : array_like of shape (m,), integers in 0 .. K - 1, optional
        Each point's centroid; by default the closest one.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    metric : {"euclidean", "cosine"}
        As for `assign`.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    float
        In squared units of X, or between 0 and 2 with ``metric="cosine"``; summed in float64.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    """
    points, places = _inputs.read_with_centroids(X, centroids, sample_weight, metric)
    m, K = len(points), len(places)
    assign_labels = labels is None
    labels = np.empty(m, np.int32) if labels is None else _validate.labels(labels, m, K)
    threads = _dispatch.thread_count(n_threads, points.size * K if assign_labels else points.size)
    return _dispatch.distortion(points, places, labels, threads, assign=assign_labels)


@overload
def init_centroids(
    X: PointsLike,
    K: int,
    method: Init = "k-means++",
    *,
    seed: int | np.random.Generator | None = None,
    trials: int | None = None,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_indices: Literal[False] = False,
) -> np.ndarray: ...


@overload
def init_centroids(
    X: PointsLike,
    K: int,
    method: Init = "k-means++",
    *,
    seed: int | np.random.Generator | None = None,
    trials: int | None = None,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_indices: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...


def init_centroids(
    X: PointsLike,
    K: int,
    method: Init = "k-means++",
    *,
    seed: int | np.random.Generator | None = None,
    trials: int | None = None,
    sample_weight: ArrayLike | None = None,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
    return_indices: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Return starting centroids, those of restart 0 of `kmeans` with this seed.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    K : int
        Number of centroids, 1 to m.
    method : {"k-means++", "random"}, array_like of shape (K, n) or fewer rows, or callable
        As `init` for `kmeans`.
    seed : int, numpy.random.Generator or None
        As for `kmeans`.
    trials : int, optional
        Candidates per centroid of "k-means++"; 2 + floor(ln K) by default.
    sample_weight : array_like of shape (m,), optional
        Weight of each point, to which its probability is proportional; 1 by default.
    metric : {"euclidean", "cosine"}
        As for `kmeans`; with "cosine" the centroids have unit length.
    n_threads : int, optional
        As for `kmeans`.
    return_indices : bool
        Return the rows of X that the centroids are, too.

    Returns
    -------
    centroids : ndarray of shape (K, n), float32 or float64
    indices : ndarray of shape (K,), int64
        Only with ``return_indices=True``: the row of X that was drawn for each centroid; the first one
        of equal rows where those were merged; -1 for a centroid that was given.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    """
    points = _inputs.read(X, sample_weight, metric=metric)
    K = _validate.clusters(K, len(points))
    starts, default_trials = _starts.read_init(method, points, K, 1, "method")
    seed_ = _validate.seed(seed)
    if trials is not None:
        trials = _validate.integer("trials", trials, 1)
    n_trials = trials if trials is not None and default_trials else default_trials
    threads = _dispatch.thread_count(n_threads, points.size * K * n_trials)

    def draw(_: Inputs, prepared: PreparedPoints, exponent: int) -> tuple[np.ndarray, np.ndarray | None]:
        given = np.empty((0, points.shape[1]))
        if starts is not None:
            resolved = starts.resolve(prepared, seed_, exponent)
            given = resolved(0) if callable(resolved) else resolved[0]
        if len(given) == K:
            given = _dispatch.in_units(given.copy(), exponent)  # not the caller's array
            return given, np.full(K, -1) if return_indices else None
        centroids, indices = _lloyd.init(prepared, given, K, n_trials, seed_, threads, return_indices)
        _dispatch.check_centroids(prepared, centroids)  # random examples were drawn without this check
        return _dispatch.in_units(centroids, exponent), indices

    centroids, indices = _dispatch.with_unit_fallback(
        points, draw, **({} if starts is None else starts.given)
    )
    return centroids if indices is None else (centroids, indices)
