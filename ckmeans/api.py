"""kmeans and its parts: check what came in, choose the dtype, run, give back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ckmeans import _dense, _lloyd, _seed, _sources, _step, _validate
from ckmeans._config import default_threads
from ckmeans._points import Points
from ckmeans._result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

    Init = ArrayLike | Callable[[np.ndarray, int, np.random.Generator], ArrayLike]

# Features -> least K, and least m K, from which cells were measured to beat dense in 20 iterations.
_CELLS_FROM = ((0, 0), (8, 4e4), (16, 3e5), (32, 1.2e6), (128, 5e6), (512, 2e7), (512, 6e7))
_PHOTO = 1 << 18  # rows from which cells look whether all values are bytes
_PIXELS = (np.dtype(np.uint8), np.dtype(np.float32))
_SMALL_WORK = 1_000_000  # multiply-adds below which no thread is started, so none need be counted


def kmeans(
    X: ArrayLike,
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
        Weight of each point; 1 by default.
    algorithm : {"auto", "dense", "cells", "screen"}
        The engine; every engine gives the same labels. "dense" computes every distance; "cells", up
        to 8 features, puts the points in a spatial order once and settles whole boxes of them at
        once; "screen", made for many features, bounds every distance from below by a projection on
        the leading n' directions of a sample and computes in full only what that leaves: it takes
        4 (n' + 2) bytes a row on top (8 for float64), n' at most 128. "auto" chooses by the shapes,
        takes "screen" only where its bytes are at most half of the size of X or 256 MiB, and goes
        on with "dense" where too many distances are left.
        Sparse rows have an engine of their own.
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
    .. [1] S. P. Lloyd, "Least squares quantization in PCM", IEEE Trans. Information Theory 28, 1982.
    .. [2] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

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
    empty: Any,
    sample_weight: Any,
    algorithm: Any = "auto",
    seed: Any,
    n_threads: Any,
    callback: Any = None,
    progress: Any = False,
    keep_path: Any = False,
) -> Result:
    """`kmeans`; where tol_shift is at least 0, in scikit-learn's way: a restart stops when the squared
    moves of the centroids add up to at most that, and not by tol, and a farthest point that an empty
    cluster is put on no longer counts for the mean of the cluster that it leaves."""
    X = _sources.points(X)
    K = _validate.clusters(K, len(X))
    weights = _validate.weights(sample_weight, len(X))
    n_init = _validate.integer("n_init", n_init, 1)
    options: dict[str, Any] = {
        "max_iter": _validate.integer("max_iter", max_iter, 1),
        "tol": _validate.tolerance(tol),
        "tol_shift": tol_shift,
        "empty": _lloyd.EMPTY_POLICIES[_validate.choice("empty", empty, _validate.EMPTY)],
        "callback": _validate.function("callback", callback),
        "keep_path": bool(keep_path),
    }
    algorithm = _sources.engine(X, algorithm)
    options["watchful"] = algorithm == "auto"
    if algorithm == "auto":
        algorithm = _fastest(X, K, n_init)
    options["late"] = options["watchful"] and algorithm != "cells" and _screening_may_pay(X, K)
    options["algorithm"] = _lloyd.ALGORITHMS.index(algorithm)
    start, trials = _starts(init, X, K, n_init)
    options |= {"K": K, "n_init": n_init, "trials": trials, "seed": _validate.seed(seed)}
    options["n_threads"] = _threads(n_threads, X.size * K * n_init)

    def work(points: Points) -> dict[str, Any]:
        found = _fit(points, start, beat, options)
        if found.pop("rough"):
            _sum_up_again(found, points, weights, options["n_threads"])
        return found

    with _Bar(progress, n_init, options["max_iter"]) as beat:
        return Result(**_in_safe_dtype(X, weights, work))


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
    centroid.

    Examples
    --------
    >>> import ckmeans
    >>> r = ckmeans.kmeans_chunks([[[1.0, 1.0], [1.5, 2.0]], [[8.0, 8.0], [9.0, 8.5]]], 2, seed=0)
    >>> sorted(r.counts.tolist()), r.stop_reason
    ([2, 2], 'stable')
    """
    return kmeans(_sources.Chunks(chunks), K, **options)  # type: ignore[arg-type]


def assign(
    X: ArrayLike,
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
    _one_step(X, None, centroids, labels, squared, True, False, _threads(n_threads, X.size * len(centroids)))
    return labels if squared is None else (labels, squared)


def update(
    X: ArrayLike,
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
    weights = _validate.weights(sample_weight, len(X))
    origin = np.zeros((K, X.shape[1]))
    _, sums, total, counts = _one_step(
        X, weights, origin, labels, None, False, True, _threads(n_threads, X.size)
    )
    filled = total > 0
    means = np.full(sums.shape, np.nan)
    np.divide(sums, total[:, None], out=means, where=filled[:, None])
    return means.astype(np.float32 if _validate.itemsize(X) == 4 else np.float64), counts


def distortion(
    X: ArrayLike,
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
    weights = _validate.weights(sample_weight, len(X))
    score = labels is None
    labels = np.empty(len(X), np.int32) if score else _validate.labels(labels, len(X), len(centroids))
    work = X.size * len(centroids) if score else X.size
    square, *_ = _one_step(X, weights, centroids, labels, None, score, True, _threads(n_threads, work))
    return square / (len(X) if weights is None else np.cumsum(weights)[-1])


def init_centroids(
    X: ArrayLike,
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
    weights = _validate.weights(sample_weight, len(X))
    start, default_trials = _starts(method, X, K, 1, "method")
    number = _validate.seed(seed)
    if trials is not None:
        trials = _validate.integer("trials", trials, 1)
        default_trials = trials if default_trials else 0
    count = _threads(n_threads, X.size * K * default_trials)

    def draw(points: Points) -> np.ndarray:
        if start is not None:
            return start(0, number, points)
        centroids, most = _seed.init(points, K, default_trials, number, count)
        if points.out_of_range(most):
            raise _lloyd.OutOfRange(most)
        # Of random examples nobody has looked at the values yet.
        largest = float(np.abs(centroids).max())
        if not largest <= points.largest:
            raise _lloyd.OutOfRange(points.bits(largest))
        return centroids

    return _in_safe_dtype(X, weights, draw)


def all_distances(X: np.ndarray, centroids: np.ndarray, n_threads: int | None = None) -> np.ndarray:
    """The (m, K) distances of checked points to centroids, in the computing dtype."""
    threads = _threads(n_threads, X.size * len(centroids))

    def work(points: Points) -> np.ndarray:
        largest = float(np.abs(centroids).max())
        if not largest <= points.largest:
            raise _lloyd.OutOfRange(points.bits(largest))
        rounded = np.ascontiguousarray(centroids, np.float32 if points.itemsize == 4 else np.float64)
        out = np.empty((len(X), len(rounded)), rounded.dtype)
        most = _dense.distances(points, rounded, out, threads)
        if points.out_of_range(most):
            raise _lloyd.OutOfRange(most)
        return out

    return _in_safe_dtype(X, None, work, centroids=centroids)


# ---- between the checks and the engines ---------------------------------------------------------


def _fastest(X: np.ndarray, K: int, n_init: int) -> str:
    """The engine of "auto", by shapes, dtype and restarts alone: whether ordering or projecting pays."""
    m, n = X.shape
    if _ordering_pays(X, K, n_init):
        return "cells"
    return "screen" if n >= 48 and K >= 32 and m >= 16 * K and _screening_may_pay(X, K) else "dense"


def _screening_may_pay(X: np.ndarray, K: int) -> bool:
    """Sooner or later, and within the memory that "auto" may take."""
    if not isinstance(X, np.ndarray):
        return False
    m, n = X.shape
    projected = m * (min(n, 128) + 4) * _validate.itemsize(X)
    return n >= 8 and K >= 16 and m >= 4096 and projected <= max(X.nbytes // 2, 256 << 20)


def _ordering_pays(X: np.ndarray, K: int, n_init: int) -> bool:
    m, n = X.shape
    if n >= len(_CELLS_FROM) or m > _validate.CELLS_ROWS:
        return False
    least_K, least_pairs = _CELLS_FROM[n]
    if n <= 3 and m >= _PHOTO and X.dtype in _PIXELS:  # equal points may collapse
        least_K = 4 if X.dtype == np.uint8 else 16
    return K * min(n_init, 4) >= least_K and m * K * min(n_init, 4) >= least_pairs


def _threads(n_threads: object, work: int) -> int:
    return _validate.threads(n_threads, (lambda: 1) if work < _SMALL_WORK else default_threads)


def _in_safe_dtype(
    X: np.ndarray, weights: np.ndarray | None, work: Callable[[Points], Any], **others: np.ndarray
) -> Any:
    """Do `work` in the computing dtype of X, or in float64 where squares would leave float32.
    `others` are the small arrays, by name, whose values may be at fault too."""
    itemsize = _validate.itemsize(X)
    while True:
        points = Points(X, itemsize, weights)
        try:
            return work(points)
        except _lloyd.OutOfRange as error:
            if not math.isfinite(points.magnitude(error.args[0])):
                if at := getattr(X, "first_not_finite", points.first_not_finite)():
                    _validate.refuse_not_finite("X", *at)
                for name, other in others.items():
                    _validate.finite(name, other)
        if itemsize == 8:
            _validate.refuse_beyond_float64(X=X, **others)
        itemsize = 8


def _one_step(
    X: np.ndarray,
    weights: np.ndarray | None,
    centroids: np.ndarray,
    labels: np.ndarray,
    squared: np.ndarray | None,
    score: bool,
    add_up: bool,
    n_threads: int,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """One step of an engine: (sum of squared distances, sums of x - c, weights, counts)."""

    centres = Points(centroids, 8)

    def work(points: Points) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        most, *sums = _step.step(points, centres, labels, squared, score, add_up, n_threads)
        if points.out_of_range(most):
            raise _lloyd.OutOfRange(most)
        return sums  # type: ignore[return-value]

    return _in_safe_dtype(X, weights, work, centroids=centroids)


def _starts(init: Init, X: np.ndarray, K: int, n_init: int, name: str = "init") -> tuple[Any, int]:
    """(None or a function that gives a restart's start, trials of k-means++ or 0)."""
    if isinstance(init, str):
        method = _validate.choice(name, init, _validate.INITS)
        return None, 2 + int(math.log(K)) if method == "k-means++" else 0
    if callable(init):
        return _called_starts(init, X, K, name), 0
    given = _validate.start(init, K, X.shape[1], name)
    if n_init != 1:
        raise ValueError(f"n_init must be 1 where {name} is an array, found {n_init}")
    return lambda restart, seed, points: _rounded(given, X, points, name), 0


def _called_starts(
    init: Callable[..., ArrayLike], X: np.ndarray, K: int, name: str
) -> Callable[..., np.ndarray]:
    def start(restart: int, seed: int, points: Points) -> np.ndarray:
        rng = np.random.default_rng([seed, restart])
        made_by = f"{name}(X, K, rng)"
        given = init(getattr(X, "original", X), K, rng)
        return _rounded(_validate.start(given, K, X.shape[1], made_by), X, points, made_by)

    return start


def _rounded(centroids: np.ndarray, X: np.ndarray, points: Points, name: str) -> np.ndarray:
    """Starting centroids in the computing dtype, if they are finite and it holds their squares."""
    largest = float(np.abs(centroids).max())
    if not largest <= points.largest:
        _validate.finite(name, centroids)
        if points.itemsize == 8:
            _validate.refuse_beyond_float64(**{name: centroids})
        if _validate.magnitude(X) <= points.largest:
            _validate.refuse_start_beyond(points.largest, name, largest)
        raise _lloyd.OutOfRange(points.bits(largest))
    return np.ascontiguousarray(centroids, np.float32 if points.itemsize == 4 else np.float64)


def _fit(points: Points, start: Any, beat: Any, options: dict[str, Any]) -> dict[str, Any]:
    def started(restart: int) -> np.ndarray:
        return start(restart, options["seed"], points)

    try:
        return _lloyd.fit(points, start=None if start is None else started, beat=beat, **options)
    except _lloyd.EmptyCluster as error:
        raise ValueError(_validate.empty_cluster(*error.args)) from None


def _sum_up_again(found: dict[str, Any], points: Points, weights: np.ndarray | None, n_threads: int) -> None:
    """The distortion in exactly the bits of `distortion`, which adds point by point: sums of whole
    boxes, or of moves, agree with that to rounding only. What they came to must not lie below it."""
    centres = Points(found["centroids"], 8)
    _, square, *_ = _step.step(points, centres, found["labels"], None, False, True, n_threads)
    J = square / (len(found["labels"]) if weights is None else np.cumsum(weights)[-1])
    found["distortion"] = J
    for name, own in (("history", -1), ("distortions", found["distortions"].argmin())):
        found[name] = np.maximum(found[name], J)
        found[name][own] = J


class _Bar:
    """A progress bar over restarts, or over the iterations of a single one."""

    def __init__(self, wanted: bool, n_init: int, max_iter: int) -> None:
        self.bar = None
        if wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                raise ImportError('progress=True needs tqdm: pip install "ckmeans-simd[progress]"') from None
            self.bar = tqdm(
                total=n_init if n_init > 1 else max_iter, unit="restart" if n_init > 1 else "iteration"
            )

    def __enter__(self) -> Callable[[int], None] | None:
        return None if self.bar is None else self.beat

    def beat(self, done: int) -> None:
        assert self.bar is not None
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
