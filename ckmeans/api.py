"""kmeans and its parts: check what came in, choose the dtype, run, give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ckmeans import _dense, _lloyd, _run, _seed, _sources, _validate
from ckmeans._points import OutOfRange
from ckmeans._result import Result
from ckmeans._sources import Prepared
from ckmeans._store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

    from ckmeans._run import Init


def kmeans(
    X: ArrayLike | Prepared,
    K: int,
    *,
    init: Init = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    empty: Literal["drop", "reinit", "farthest", "error"] = "drop",
    sample_weight: ArrayLike | None = None,
    algorithm: Literal["auto", "dense", "cells", "screen"] = "auto",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callable[[int, float, np.ndarray], Any] | None = None,
    progress: bool = False,
    keep_path: bool = False,
) -> Result:
    """Cluster points around K centroids by Lloyd's algorithm, exactly.

    From a start, repeat "assign every point to its closest centroid, move every centroid to the
    mean of its points" until nothing changes or the distortion barely falls [1]_; of several
    restarts the one with the lowest distortion is returned.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points. float32, float16, uint8 and uint16 data are computed in float32, everything else in
        float64. Any strides, byte order and memory map will do; the array is read block by block.
        So will a SciPy sparse matrix or array: CSR is read in place, other formats are converted.
        Values whose squares leave float32 are computed in float64.
        What `prepare` made of them goes in their place, here and in all that takes X, for the same
        result.
    K : int
        Number of clusters, 1 to m.
    init : {"k-means++", "random"}, array_like of shape (K, n), or callable
        "random" draws K examples, of distinct values where there are enough; "k-means++" is greedy
        with 2 + floor(ln K) trials a centroid [2]_; an array is used as given (with n_init=1);
        a callable is called as ``init(X, K, rng)`` for each restart.
    n_init : int
        Number of restarts. Restart r draws from stream r of the seed.
    max_iter : int
        Most updates of one restart.
    tol : float
        A restart stops when J falls by at most tol times J; 0: when J stays the same.
    empty : {"drop", "reinit", "farthest", "error"}
        What becomes of a cluster whose points weigh 0: "drop" removes it (K - 1 remain), "reinit"
        puts it on a random point, "farthest" puts it on the point farthest from its centroid,
        "error" raises. After the last assignment only "drop" and "error" act. A cluster that cannot
        be filled, since every distance is 0, stays where it is with count 0.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default. Points that were prepared have theirs.
    algorithm : {"auto", "dense", "cells", "screen"}
        The engine; every engine gives the same labels. "dense" computes every distance; "cells", up
        to 8 features, puts the points in a spatial order once and settles whole boxes of them at
        once; "screen", made for many features, bounds every distance from below by a projection on
        the leading n' directions of a sample and computes in full only what that leaves: it takes
        4 (n' + 3) bytes a row on top (8 for float64), n' at most 128, and from step to step carries
        what is known of a point, so that late steps look at few. "auto" chooses by the shapes, takes
        "screen" only where its bytes are at most half of the size of X or 256 MiB, and changes
        between it and "dense" by what the steps show: how many distances are left, how many labels
        change. Sparse rows have an engine of their own.
    seed : int, numpy.random.Generator or None
        The same seed gives the same bits on the same machine, on any number of threads.
    n_threads : int, optional
        By default OpenMP's limit, capped by the CPU affinity and quota of the process.
    callback : callable, optional
        Called as ``callback(iteration, distortion, centroids)`` after each assignment, iteration 0
        first in every restart; restarts then run one after another. Returning True ends the call
        with the best state so far.
    progress : bool
        Show a bar (needs tqdm): over restarts, or over iterations where there is one restart.
    keep_path : bool
        Keep the centroids of every assignment in ``Result.path``.

    Returns
    -------
    Result
        Its ``labels`` equal ``assign(X, centroids)`` and its ``distortion``
        ``distortion(X, centroids)``: exactly the state described, not one step behind.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above; the message names it, what was found and what is wanted.
        With ``empty="error"`` also where a cluster becomes empty.

    References
    ----------
    .. [1] Lloyd, S. P., "Least squares quantization in PCM", IEEE Trans. Information Theory 28, 1982.
    .. [2] Arthur, D. and Vassilvitskii, S., "k-means++: the advantages of careful seeding", SODA 2007.

    Examples
    --------
    >>> import ckmeans
    >>> r = ckmeans.kmeans([[1.0, 1.0], [1.5, 2.0], [8.0, 8.0], [9.0, 8.5]], 2, seed=0)
    >>> sorted(r.counts.tolist()), r.stop_reason
    ([2, 2], 'stable')
    """
    return run(
        X,
        K,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        empty=empty,
        sample_weight=sample_weight,
        algorithm=algorithm,
        seed=seed,
        n_threads=n_threads,
        callback=callback,
        progress=progress,
        keep_path=keep_path,
    )


def run(
    X: Any,
    K: Any,
    *,
    init: Any,
    n_init: Any = 1,
    max_iter: Any,
    tol: Any = 0.0,
    tol_shift: float = -1.0,
    relax: float = 1.0,
    noise: float = 0.0,
    cooling: int = 0,
    empty: Any,
    sample_weight: Any,
    algorithm: Any = "auto",
    seed: Any,
    n_threads: Any,
    callback: Any = None,
    progress: Any = False,
    keep_path: Any = False,
    ends: list[np.ndarray] | None = None,
) -> Result:
    """`kmeans`; where tol_shift is at least 0, in scikit-learn's way: a restart stops when the squared
    moves of the centroids add up to at most that, and not by tol, and a farthest point that an empty
    cluster is put on no longer counts for the mean of the cluster that it leaves.

    For those who search (`_search.py`): centroids go `relax` times as far as to the mean, and are
    disturbed by at first `noise` times the root of J, less and less over `cooling` updates; `ends`
    receives the centroids at the end of every restart, of which none may be dropped."""
    X = _sources.points(X)
    K = _validate.clusters(K, len(X))
    weights = _sources.weights(X, sample_weight)
    n_init = _validate.integer("n_init", n_init, 1)
    options: dict[str, Any] = {
        "max_iter": _validate.integer("max_iter", max_iter, 1),
        "tol": _validate.tolerance(tol),
        "tol_shift": tol_shift,
        "relax": relax,
        "noise": noise,
        "cooling": cooling,
        "empty": _lloyd.EMPTY_POLICIES[_validate.choice("empty", empty, _validate.EMPTY)],
        "callback": _validate.function("callback", callback),
        "keep_path": bool(keep_path),
        "keep_ends": ends is not None,
    }
    algorithm = _sources.engine(X, algorithm)
    options["watchful"] = algorithm == "auto"
    if algorithm == "auto":
        algorithm = _run.fastest(X, K, n_init)
    options["late"] = options["watchful"] and algorithm != "cells" and _run.screening_may_pay(X, K)
    options["algorithm"] = _lloyd.ALGORITHMS.index(algorithm)
    start, trials = _run.starts(init, X, K, n_init)
    options |= {"K": K, "n_init": n_init, "trials": trials, "seed": _validate.seed(seed)}
    options["n_threads"] = _run.threads(n_threads, X.size * K * n_init)

    def work(points: Store) -> dict[str, Any]:
        found = _run.fit(points, start, beat, options)
        if ends is not None:
            ends[:] = found["ends"]
        return found

    steps = (n_init, "restart") if n_init > 1 else (options["max_iter"], "iteration")
    with _run.Bar(progress, *steps) as beat:
        return Result(**_run.in_safe_dtype(X, weights, work))


def prepare(X: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Prepared:
    """Keep what is made of X, for callers who fit many K or many starts, or assign many times.

    The result goes wherever X goes: `kmeans`, `assign`, `update`, `distortion`, `init_centroids`,
    `elbow` and `compare` then return the same bits in less time. Nothing is made before it is
    needed: equal points found and made one (photos: up to three features of bytes, from 262,144
    points on, where four points or more share a value), which serves "k-means++" too; the spatial
    order with its boxes, for up to 8 features. With boxes `assign` and `distortion` settle whole
    boxes of points at once. Engines for more features keep nothing: their projection and packing
    take less time than a step. Sparse rows are checked and converted once.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`. They are not copied, and must not change as long as the result is used.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default. It becomes part of what is kept, so it is not to be given
        again with the result.

    Returns
    -------
    Prepared
        To be passed on. Any number of threads may use it at once. Its ``nbytes`` tells how much is
        kept beside X.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.

    Notes
    -----
    For m points (distinct ones, where equal ones were made one) of n features of s bytes each, boxes
    take about (n s + 4) m + m (24 + 3 n s + 8 (n + 2)) / 28 bytes, and 8 m with weights; points made
    one take 4 bytes a row and 16 + 4 n for each distinct one.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> X = numpy.random.default_rng(0).random((10_000, 2))
    >>> prepared = ckmeans.prepare(X)
    >>> [len(ckmeans.kmeans(prepared, K, seed=0).centroids) for K in (2, 4, 8)]
    [2, 4, 8]
    """
    points = _sources.points(X)
    if isinstance(points, Prepared):
        raise TypeError("X is prepared already")
    return Prepared(points, _validate.weights(sample_weight, len(points)))


def kmeans_chunks(
    chunks: Iterable[ArrayLike] | Callable[[], Iterable[ArrayLike]], K: int, **options: Any
) -> Result:
    """Cluster points that come in chunks: exactly `kmeans`, with memory flat in m.

    The chunks are iterated over again and again, at least once an assignment. However they are cut,
    the result has the same bits as ``kmeans(X, K, algorithm="dense")`` on all points in memory.

    Parameters
    ----------
    chunks : list of array_like of shape (?, n), other iterable of them, or callable
        Of one dtype, the same in every pass. An object must start again whenever it is iterated
        over (a generator does not); a callable is called without arguments for each pass and
        returns an iterator. A memory map larger than memory needs no chunks: `kmeans` reads it
        block by block.
    K : int
        Number of clusters, 1 to m.
    **options
        Keyword arguments of `kmeans`. A callable `init` is called as ``init(chunks, K, rng)``.

    Returns
    -------
    Result
        What stays in memory for each point is its label, 4 bytes; with ``init="k-means++"`` also a
        squared distance in the computing dtype, with ``n_init`` above 1 one more label, and with
        `sample_weight` the weights.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above, or a later pass finds other chunks.

    Notes
    -----
    An assignment takes one pass, ``init="random"`` one or two in all, and "k-means++" two a
    centroid, of the pixels of photos (see `prepare`) two in all.

    Examples
    --------
    >>> import ckmeans
    >>> r = ckmeans.kmeans_chunks([[[1.0, 1.0], [1.5, 2.0]], [[8.0, 8.0], [9.0, 8.5]]], 2, seed=0)
    >>> sorted(r.counts.tolist()), r.stop_reason
    ([2, 2], 'stable')
    """
    return kmeans(_sources.Chunks(chunks), K, **options)  # type: ignore[arg-type]


def assign(
    X: ArrayLike | Prepared,
    centroids: ArrayLike,
    *,
    return_squared_distance: bool = False,
    out: np.ndarray | None = None,
    n_threads: int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Index of each point's closest centroid; of equally close ones the lowest.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    centroids : array_like of shape (K, n)
        Rounded to the dtype of the computation first.
    return_squared_distance : bool
        Give the squared distances too.
    out : ndarray of shape (m,), int32, optional
        Array to fill with the labels.
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
        Where an argument is not as above.
    """
    X = _sources.points(X)
    m, n = X.shape
    centroids = _validate.centroids(centroids, n)
    labels = np.empty(m, np.int32) if out is None else _validate.output(out, m)
    squared = np.empty(m) if return_squared_distance else None
    threads = _run.threads(n_threads, X.size * len(centroids))
    _run.one_step(X, None, centroids, labels, threads, squared=squared, score=True)
    return labels if squared is None else (labels, squared)


def update(
    X: ArrayLike | Prepared,
    labels: ArrayLike,
    K: int,
    *,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each cluster's points.

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
        NaN rows for clusters whose points weigh 0.
    counts : ndarray of shape (K,), int64
        Number of points of each cluster.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.
    """
    X = _sources.points(X)
    K = _validate.integer("K", K, 1)
    labels = _validate.labels(labels, len(X), K)
    weights = _sources.weights(X, sample_weight)
    origin = np.zeros((K, X.shape[1]))
    threads = _run.threads(n_threads, X.size)
    _, sums, total, counts = _run.one_step(X, weights, origin, labels, threads, add_up=True)
    filled = total > 0
    means = np.full(sums.shape, np.nan)
    np.divide(sums, total[:, None], out=means, where=filled[:, None])
    return means.astype(np.float32 if _validate.itemsize(X) == 4 else np.float64), counts


def distortion(
    X: ArrayLike | Prepared,
    centroids: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> float:
    """J, the (weighted) mean squared distance of the points to their centroids.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    centroids : array_like of shape (K, n)
        Rounded to the dtype of the computation first.
    labels : array_like of shape (m,), integers in 0 .. K - 1, optional
        Each point's centroid; by default the closest one.
    sample_weight : array_like of shape (m,), optional
        Weight of each point; 1 by default.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    float
        In squared units of X, summed in float64.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.
    """
    X = _sources.points(X)
    centroids = _validate.centroids(centroids, X.shape[1])
    weights = _sources.weights(X, sample_weight)
    score = labels is None
    labels = np.empty(len(X), np.int32) if score else _validate.labels(labels, len(X), len(centroids))
    work = X.size * len(centroids) if score else X.size
    threads = _run.threads(n_threads, work)
    square, *_ = _run.one_step(X, weights, centroids, labels, threads, score=score, measure=True)
    # Weights are added up in their order, as for `kmeans`: the same bits.
    return square / (len(X) if weights is None else np.cumsum(weights)[-1])


def init_centroids(
    X: ArrayLike | Prepared,
    K: int,
    method: Init = "k-means++",
    *,
    seed: int | np.random.Generator | None = None,
    trials: int | None = None,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> np.ndarray:
    """Starting centroids, as restart 0 of `kmeans` with this seed takes them.

    Parameters
    ----------
    X : array_like of shape (m, n)
        Points, as for `kmeans`.
    K : int
        Number of centroids, 1 to m.
    method : {"k-means++", "random"}, array_like of shape (K, n), or callable
        As `init` for `kmeans`.
    seed : int, numpy.random.Generator or None
        As for `kmeans`.
    trials : int, optional
        Candidates a centroid of "k-means++"; 2 + floor(ln K) by default.
    sample_weight : array_like of shape (m,), optional
        Points are drawn with their weight; 1 by default.
    n_threads : int, optional
        As for `kmeans`.

    Returns
    -------
    ndarray of shape (K, n), float32 or float64

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as above.
    """
    X = _sources.points(X)
    K = _validate.clusters(K, len(X))
    weights = _sources.weights(X, sample_weight)
    start, default_trials = _run.starts(method, X, K, 1, "method")
    number = _validate.seed(seed)
    if trials is not None:
        trials = _validate.integer("trials", trials, 1)
        default_trials = trials if default_trials else 0
    count = _run.threads(n_threads, X.size * K * default_trials)

    def draw(points: Store) -> np.ndarray:
        if start is not None:
            return start(0, number, points)
        centroids, most = _seed.init(points, K, default_trials, number, count)
        if points.out_of_range(most):
            raise OutOfRange(most)
        # Of random examples nobody has looked at the values yet.
        _look_at_range(points, centroids)
        return centroids

    return _run.in_safe_dtype(X, weights, draw)


def all_distances(X: np.ndarray, centroids: np.ndarray, n_threads: int | None = None) -> np.ndarray:
    """The (m, K) distances of checked points to centroids, in the computing dtype."""
    threads = _run.threads(n_threads, X.size * len(centroids))

    def work(points: Store) -> np.ndarray:
        _look_at_range(points, centroids)
        rounded = np.ascontiguousarray(centroids, np.float32 if points.itemsize == 4 else np.float64)
        out = np.empty((len(X), len(rounded)), rounded.dtype)
        most = _dense.distances(points, rounded, out, threads)
        if points.out_of_range(most):
            raise OutOfRange(most)
        return out

    return _run.in_safe_dtype(X, None, work, centroids=centroids)


def _look_at_range(points: Store, centroids: np.ndarray) -> None:
    """Tell `in_safe_dtype` where the computing dtype does not hold the squares of these centroids."""
    largest = float(np.abs(centroids).max())
    if not largest <= points.largest:
        raise OutOfRange(points.bits(largest))
