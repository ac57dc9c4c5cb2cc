"""`kmeans` for points on a Dask cluster: check the arguments, open the blocks, run all restarts, label."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Literal

import dask.array
import distributed
import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _arrays, _validate
from ckmeans._block import RandomStream
from ckmeans._points import Points
from ckmeans._progress import ProgressBar
from ckmeans._result import Result
from ckmeans.dask import _sums
from ckmeans.dask._cluster import Cluster, check_client, new_fit_name
from ckmeans.dask._loop import Data, Options, Outcome, Restart
from ckmeans.dask._points import DaskPoints
from ckmeans.dask._requests import Assign, Draw, Grid, Tally
from ckmeans.dask._start import Rows, random_examples, scalable_start
from ckmeans.dask._worker import Spec

INITS = ("k-means||", "random")
_STEP_NAMES = {Assign: "assign", Draw: "seed", Tally: "seed"}


def kmeans(
    X: Any,
    K: int,
    *,
    init: Literal["k-means||", "random"] | ArrayLike = "k-means||",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    empty: Literal["drop", "reinit", "farthest", "error"] = "drop",
    sample_weight: Any = None,
    algorithm: Literal["auto", "dense", "cells", "screen"] = "auto",
    seed: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callable[[int, float, np.ndarray], Any] | None = None,
    progress: bool = False,
    keep_path: bool = False,
    client: distributed.Client | None = None,
    keep: bool | None = None,
) -> Result:
    """Cluster points that lie on a Dask cluster around K centroids, exactly, as `ckmeans.kmeans` does.

    In each step the workers get the centroids, and send back sums: no points travel. For given chunks the
    result is bit-identical for any number of workers and threads, wherever the blocks lie, and also where a
    worker dies in between. Against one machine labels from the same start agree but for points within
    rounding of two centroids.

    Parameters
    ----------
    X : dask.array of shape (m, n) or dask DataFrame
        Points, in blocks of rows of any dtype that `ckmeans.kmeans` takes, NumPy arrays or SciPy's sparse
        rows. The lengths of the blocks need not be known.
    K : int
        Number of clusters, 1 to m.
    init : {"k-means||", "random"} or array_like of shape (K, n)
        "k-means||" [1]_ draws about 2 K candidates in each of 3 rounds, weighs each by the points nearest
        to it, and clusters these; that takes 4 passes. "random" draws the rows that
        `ckmeans.kmeans` draws with the same seed. An array is used as given.
    n_init : int
        Number of restarts. They share the passes over X, but for those with a callback.
    max_iter, tol, empty, seed, keep_path
        As for `ckmeans.kmeans`. With "reinit" other points may be drawn than on one machine.
    sample_weight : dask.array or Series of shape (m,), or array_like, optional
        Weight of each point; 1 by default. In the blocks of X, if their lengths are not known.
    algorithm : {"auto", "dense", "cells", "screen"}
        The engine on each block, as for `ckmeans.kmeans`; "auto" chooses for each block.
    n_threads : int, optional
        Threads of a step on each worker; by default as many as Dask runs tasks there.
    callback : callable, optional
        As for `ckmeans.kmeans`: returning True ends the call with the best state so far.
    progress : bool
        Show a progress bar over iterations (needs tqdm).
    client : distributed.Client, optional
        The one in use by default.
    keep : bool, optional
        Whether the blocks stay in the workers' memory, with engines that carry bounds from step to step, or
        are read again in each step. By default they stay if X and what is kept beside it take at most 40 %
        of the workers' memory. The result does not depend on it.

    Returns
    -------
    Result
        As for `ckmeans.kmeans`; its ``labels`` are a dask array in the chunks of X, left on the workers.
        ``stats`` holds the number of "passes" over X and of its "blocks", whether they were "kept", and
        the total "weight".

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, and with ``empty="error"`` if a cluster becomes empty.
    RuntimeError
        If blocks are lost with their worker that Dask cannot make anew, or if workers have another version.
    concurrent.futures.CancelledError
        If the fit's tasks were cancelled.

    References
    ----------
    .. [1] Bahmani, B. et al., "Scalable k-means++", VLDB 2012.

    Examples
    --------
    >>> import dask.array, distributed
    >>> import ckmeans.dask
    >>> client = distributed.Client(n_workers=2)  # doctest: +SKIP
    >>> X = dask.array.random.random((10_000_000, 8), chunks=(1_000_000, 8)).persist()  # doctest: +SKIP
    >>> ckmeans.dask.kmeans(X, 20).centroids.shape  # doctest: +SKIP
    (20, 8)
    """
    K = _validate.integer("K", K, 1)
    start = _check_init(init)
    options = Options(
        K=K,
        n_init=_validate.integer("n_init", n_init, 1),
        max_iter=_validate.integer("max_iter", max_iter, 1),
        tol=_validate.tolerance(tol),
        empty=_validate.choice("empty", empty, _validate.EMPTY),
        seed=_validate.seed(seed),
        keep_path=bool(keep_path),
        callback=_validate.function("callback", callback),
    )
    if start is not None and options.n_init != 1:
        raise ValueError(f"n_init must be 1 if init is an array, found {options.n_init}")
    if n_threads is not None:
        n_threads = _validate.threads(n_threads, lambda: 1)
    points = DaskPoints(X, sample_weight)
    algorithm_ = _check_algorithm(algorithm, points.n)
    if start is not None:
        start = _validate.starting_centroids(start, K, points.n)
    spec = Spec(
        new_fit_name(), K, options.n_init, options.max_iter, algorithm_, n_threads, 0, keep is not False
    )
    with Cluster(check_client(client), points, spec, keep) as cluster:
        cluster.open()
        return _fit(cluster, start, str(init), options, progress)


# ---- arguments -------------------------------------------------------------------------------------------


def _check_init(init: Any) -> np.ndarray | None:
    """Return a start that is given, None if it is to be drawn."""
    if isinstance(init, str):
        if init == "k-means++":
            raise ValueError(
                "init must be 'k-means||' or 'random' here, found 'k-means++', which takes two passes over X "
                "for each centroid; 'k-means||' is like it in a few passes"
            )
        _validate.choice("init", init, INITS)
        return None
    if callable(init):
        raise TypeError(
            "init must be 'k-means||', 'random' or an array of K centroids here, found a function"
        )
    return _validate.real_array("init", init)


def _check_algorithm(algorithm: object, n: int) -> str:
    """Return the name of an engine."""
    names = tuple(name for name in _validate.algorithms("array"))
    name = _validate.choice("algorithm", algorithm, names)
    _validate.algorithm(name, "array", 1, n)
    return name


def _computing_dtype(cluster: Cluster, start: np.ndarray | None) -> type[np.floating]:
    """Find in which dtype squares keep their digits, as on one machine, and open the blocks in it."""
    dtype: Any = None
    for info in cluster.infos:
        if info.dtype is not None:
            dtype = info.dtype if dtype is None else _arrays.common_dtype(dtype, info.dtype)
    itemsize = _arrays.COMPUTING_ITEMSIZE[np.dtype(dtype)]
    largest = cluster.max_abs
    if start is not None:
        _validate.require_finite("init", start)
        largest = max(largest, _validate.max_abs(start))
    n = cluster.X.n
    while not _in_safe_range(largest, cluster.max_abs, itemsize, n, cluster.total_weight):
        if itemsize == 8:
            _validate.raise_beyond_float64(X=np.array([cluster.max_abs]), init=np.array([largest]))
        itemsize = 8
    opened = {_arrays.COMPUTING_ITEMSIZE[info.dtype] for info in cluster.infos if info.dtype is not None}
    if opened != {itemsize} or not cluster.spec.kept:
        cluster.reopen(itemsize)
    return np.float32 if itemsize == 4 else np.float64


def _in_safe_range(largest: float, of_points: float, itemsize: int, n: int, weight: float) -> bool:
    """Return whether squares of such magnitudes neither overflow nor lose digits, by the engines' rule."""
    points = Points(np.zeros((1, n)), itemsize, np.array([max(weight, 1.0)]))
    smallest = 1e-15 if itemsize == 4 else 1e-145
    return largest <= points.largest and not 0 < of_points < smallest


def _grid(cluster: Cluster, start: np.ndarray | None) -> Grid:
    """Return the units of all sums: of bounds on the sums of magnitudes."""
    largest = cluster.max_abs if start is None else max(cluster.max_abs, _validate.max_abs(start))
    weight, terms = max(cluster.total_weight, 1e-300), len(cluster.X)
    reach = 2 * largest * (1 + 1e-6)
    return Grid(
        _sums.units(reach * weight, terms),
        _sums.units(weight, terms),
        _sums.units(reach * reach * cluster.X.n * weight, terms),
    )


# ---- the fit -----------------------------------------------------------------------------------------------


def _fit(cluster: Cluster, start: np.ndarray | None, method: str, options: Options, progress: bool) -> Result:
    rows = Rows(cluster.offsets, cluster.X.weighted)
    if not len(rows):
        raise ValueError("X must have at least one row, found none")
    _validate.clusters(options.K, len(rows))
    if cluster.X.weighted:
        _validate.total_weight(cluster.total_weight)
    dtype = _computing_dtype(cluster, start)
    data = Data(len(rows), cluster.total_weight, _grid(cluster, start), rows.fetch)
    weights = [info.weight for info in cluster.infos]

    def restart(number: int) -> Generator[Any, Any, Outcome]:
        """Find a start and iterate."""
        random = RandomStream(options.seed, number)
        if start is not None:
            centroids = np.ascontiguousarray(start, dtype)
        elif method == "random":
            centroids = yield from random_examples(rows, options.K, random, cluster.total_weight)
        else:
            centroids = yield from scalable_start(rows, options.K, number, options.seed, weights, data.grid)
        outcome = yield from Restart(number, options, data, random).run(centroids)
        return outcome

    total, unit = options.n_init * options.max_iter, "iteration"
    with ProgressBar(progress, total, unit) as on_progress:
        runs = [restart(number) for number in range(options.n_init)]
        outcomes, passes = _run_all(cluster, runs, options.callback is not None, on_progress)
    best = min(outcomes, key=lambda outcome: (outcome.distortion, outcome.restart))
    return Result(
        centroids=best.centroids,
        labels=_labels(cluster, best),
        counts=best.counts,
        distortion=best.distortion,
        history=np.array(best.history),
        distortions=np.array([outcome.distortion for outcome in outcomes]),
        n_iter=len(best.history) - 1,
        stop_reason="callback" if outcomes[-1].stop_reason == "callback" else best.stop_reason,
        path=best.path if options.keep_path else None,
        algorithm=cluster.spec.algorithm,
        stats={
            "passes": passes,
            "blocks": len(cluster.X),
            "kept": int(cluster.spec.kept),
            "weight": cluster.total_weight,
        },
    )


def _run_all(
    cluster: Cluster,
    runs: list[Generator[Any, Any, Outcome]],
    in_turn: bool,
    on_progress: Callable[[int], None] | None,
) -> tuple[list[Outcome], int]:
    """Run all restarts, together or one after another; return where they ended, and the number of passes."""
    outcomes: list[Outcome] = []
    passes = steps = 0
    for group in [[run] for run in runs] if in_turn else [runs]:
        for requests in _rounds(group, outcomes, cluster.ask):
            passes += any(request.blocks is None for request in requests)
            steps += sum(isinstance(request, Assign) for request in requests)
            if on_progress is not None:
                on_progress(steps)
        if outcomes and outcomes[-1].stop_reason == "callback":
            break
    return sorted(outcomes, key=lambda outcome: outcome.restart), passes


def _rounds(
    runs: list[Generator[Any, Any, Outcome]],
    outcomes: list[Outcome],
    ask: Callable[[list[Any], str], list[Any]],
) -> Iterator[list[Any]]:
    """Answer the requests of all runs together, round by round; yield them, and append where runs end."""
    waiting = [(run, _next(run, None, outcomes)) for run in runs]
    while True:
        waiting = [(run, request) for run, request in waiting if request is not None]
        if not waiting:
            return
        requests = [request for _, request in waiting]
        replies = ask(requests, _STEP_NAMES.get(type(requests[0]), "rows"))
        yield requests
        waiting = [
            (run, _next(run, reply, outcomes)) for (run, _), reply in zip(waiting, replies, strict=True)
        ]


def _next(run: Generator[Any, Any, Outcome], reply: Any, outcomes: list[Outcome]) -> Any:
    """Return the next request of a run; None if it ended."""
    try:
        return run.send(reply)
    except StopIteration as end:
        outcomes.append(end.value)
        return None


def _labels(cluster: Cluster, best: Outcome) -> dask.array.Array:
    """Return the labels as a dask array whose blocks lie on the workers."""
    name = f"ckmeans-labels-{new_fit_name()}"
    futures = cluster.label_blocks(name, best)
    lengths = tuple(info.rows for info in cluster.infos)
    graph = {(name, i): future for i, future in enumerate(futures)}
    return dask.array.Array(graph, name, (lengths,), dtype=np.int32, meta=np.empty(0, np.int32))
