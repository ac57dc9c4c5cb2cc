"""Adapters of ckmeans, with the workload's engine or with a given one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.job import Adapter, Job, Outcome, Peer, Run
from benchmarks.peers.interpreter import timed_import

LONG, SHORT = 6, 1  # iterations of the two fits whose difference in time gives that of a step
LONGER, SHORTER = 22, 2  # the same, where a step is short compared with the preprocessing
MIN_TIMED = 0.05  # seconds: shorter calls are repeated


def peer(engine: str | None = None) -> Peer:
    """Return the contender; ``engine`` overrides the algorithm of the workload."""
    adapters: dict[str, Adapter] = {
        "fit": partial(_fit, engine),
        "refits": partial(_refits, engine),
        "random": partial(_random, engine),
        "step": partial(_step, engine),
    }
    if engine is None:
        adapters |= {
            "assign": _assign,
            "seed": _seed,
            "import": _import,
            "rows": _rows,
            "clusters": _clusters,
            "calls": partial(_calls, True),
            "default": partial(_default, {}),
            "distances": _distances,
            "elbow": _elbow,
        }
    return Peer("ckmeans-simd", adapters)


def plain() -> Peer:
    """Return the contender that calls `kmeans` on the array for each K, without `prepare`."""
    return Peer("ckmeans-simd", {"calls": partial(_calls, False), "elbow": _separate})


def greedy() -> Peer:
    """Return the contender that asks for greedy k-means++, in case the default start is another one."""
    return Peer("ckmeans-simd", {"default": partial(_default, {"init": "k-means++"})})


def seeding() -> Peer:
    """Return the contender that makes the default start alone."""
    return Peer("ckmeans-simd", {"default": _default_start})


def on(instruction_set: str) -> Peer:
    """Return the contender that uses one instruction set; it needs a process of its own."""
    return Peer("ckmeans-simd", {"fit": partial(_fit_on, instruction_set)}, alone=True)


def _options(engine: str | None, job: Job) -> dict[str, Any]:
    return {
        "tol": 0.0,
        "empty": "farthest",  # as scikit-learn does: the number of clusters stays K
        "algorithm": engine or job.algorithm,
        "n_threads": job.threads,
    }


def _outcome(result: Any) -> Outcome:
    note = f"stopped: {result.stop_reason}, ran {result.algorithm}"
    return Outcome(result.centroids, result.n_iter, result.distortion, note=note, engine=result.algorithm)


def _fit(engine: str | None, job: Job) -> Run:
    import ckmeans

    options = _options(engine, job)
    start = job.start(0)

    def run(number: int) -> Outcome:
        result = ckmeans.kmeans(job.X, job.K, init=start, max_iter=job.iterations, **options)
        return _outcome(result)

    return run


def _fit_on(instruction_set: str, job: Job) -> Run:
    os.environ["CKMEANS_SIMD"] = instruction_set  # read by the import
    import ckmeans

    used = ckmeans.show_config()["simd"]
    if used != instruction_set:
        raise ValueError(f"this process has already chosen {used}")
    return _fit(None, job)


def _default(options: dict[str, Any], job: Job) -> Run:
    """Call `kmeans` as a user types it."""
    import ckmeans

    def run(number: int) -> Outcome:
        return _outcome(ckmeans.kmeans(job.X, job.K, seed=number, n_threads=job.threads, **options))

    return run


def _default_start(job: Job) -> Run:
    import ckmeans

    def run(number: int) -> Outcome:
        return Outcome(ckmeans.init_centroids(job.X, job.K, seed=number, n_threads=job.threads))

    return run


def _refits(engine: str | None, job: Job) -> Run:
    import ckmeans

    options = _options(engine, job) | {"max_iter": job.iterations, "n_init": len(job.starts)}
    starts = [job.start(number) for number in range(len(job.starts))]

    def run(number: int) -> Outcome:
        queue = iter(starts)
        result = ckmeans.kmeans(job.X, job.K, init=lambda X, K, rng: next(queue), **options)
        return _outcome(result)

    return run


def _random(engine: str | None, job: Job) -> Run:
    import ckmeans

    options = _options(engine, job) | {"max_iter": job.iterations, "n_init": job.restarts}

    def run(number: int) -> Outcome:
        return _outcome(ckmeans.kmeans(job.X, job.K, init="random", seed=number, **options))

    return run


def _step(engine: str | None, job: Job) -> Run:
    """Time one full step: the difference of a long and a short fit, per iteration."""
    import ckmeans

    options = _options(engine, job)
    start = job.start(0)

    def fit(iterations: int) -> tuple[float, int]:
        begin = perf_counter()
        result = ckmeans.kmeans(job.X, job.K, init=start, max_iter=iterations, **options)
        return perf_counter() - begin, result.n_iter

    def run(number: int) -> Outcome:
        (short, few), (long, many) = fit(SHORT), fit(LONG)
        if many == few:
            raise ValueError("stable after one update: no step to be timed")
        seconds = (long - short) / (many - few)
        return Outcome(seconds=seconds, note=f"mean of steps {few + 1} to {many}")

    return run


def _assign(job: Job) -> Run:
    import ckmeans

    row, centroids = job.X[:1], job.start(0)

    def run(number: int) -> Outcome:
        ckmeans.assign(row, centroids)
        return Outcome()

    return run


def _seed(job: Job) -> Run:
    import ckmeans

    def run(number: int) -> Outcome:
        return Outcome(ckmeans.init_centroids(job.X, job.K, method="k-means++", seed=number))

    return run


def _import(job: Job) -> Run:
    return timed_import("import ckmeans", after="import numpy")


def _rows(job: Job) -> Run:
    """Fit the first m rows for several m, all from the same start."""
    import ckmeans

    options = _options(None, job) | {"init": job.start(0), "max_iter": job.iterations}

    def fit(m: int) -> tuple[float, str]:
        seconds, result = _timed(lambda: ckmeans.kmeans(job.X[:m], job.K, **options))
        if result.n_iter != job.iterations:
            raise ValueError(f"stable after {result.n_iter} iterations with {m} rows")
        return seconds, result.algorithm

    def run(number: int) -> Outcome:
        done = [fit(m) for m in job.sizes]
        curve = tuple((m, seconds) for m, (seconds, _) in zip(job.sizes, done, strict=True))
        ran = dict.fromkeys(engine for _, engine in done)
        return Outcome(curve=curve, note=f"ran {', '.join(ran)}")

    return run


def _clusters(job: Job) -> Run:
    """Time one step for several K: the difference of a long and a short fit, per iteration."""
    import ckmeans

    options, start = _options("cells", job), job.start(0)

    def fit(K: int, iterations: int) -> tuple[float, int]:
        call = partial(ckmeans.kmeans, job.X, K, init=start[:K], max_iter=iterations, **options)
        tries = [_timed(call) for _ in range(3)]  # the minimum, as the difference of the fits is small
        return min(seconds for seconds, _ in tries), tries[0][1].n_iter

    def step(K: int) -> float:
        (short, few), (long, many) = fit(K, SHORTER), fit(K, LONGER)
        return (long - short) / (many - few)

    def run(number: int) -> Outcome:
        return Outcome(curve=tuple((K, step(K)) for K in job.sizes), note="ran cells")

    return run


def _distances(job: Job) -> Run:
    """Time a pair of point and centroid in one step for several K, from a long and a short fit."""
    import ckmeans

    options, start = _options(None, job), job.start(0)

    def fit(K: int, iterations: int) -> tuple[float, int]:
        begin = perf_counter()
        result = ckmeans.kmeans(job.X, K, init=start[:K], max_iter=iterations, **options)
        return perf_counter() - begin, result.n_iter

    def pair(K: int) -> float:
        (short, few), (long, many) = fit(K, SHORT), fit(K, LONG)
        if many == few:
            raise ValueError("stable after one update: no step to be timed")
        return (long - short) / (many - few) / (len(job.X) * K)

    def run(number: int) -> Outcome:
        return Outcome(curve=tuple((K, pair(K)) for K in job.sizes))

    return run


def _calls(prepared: bool, job: Job) -> Run:
    """Fit each K with default options, on prepared points or on the array itself."""
    import ckmeans

    def run(number: int) -> Outcome:
        X = ckmeans.prepare(job.X) if prepared else job.X
        for K in job.sizes:
            result = ckmeans.kmeans(X, K, seed=number, n_threads=job.threads)
        return _outcome(result)

    return run


def _elbow(job: Job) -> Run:
    import ckmeans

    options = {"n_init": job.restarts, "n_threads": job.threads}

    def run(number: int) -> Outcome:
        curve = ckmeans.elbow(job.X, job.sizes, seed=number, **options)
        return Outcome(curve=tuple(zip(curve.ks, map(float, curve.distortions), strict=True)))

    return run


def _separate(job: Job) -> Run:
    """Compute the curve of `elbow` by a call of `kmeans` for each K."""
    import ckmeans

    options: dict[str, Any] = {"n_init": job.restarts, "n_threads": job.threads}

    def run(number: int) -> Outcome:
        fits = ((K, ckmeans.kmeans(job.X, K, seed=number, **options)) for K in job.sizes)
        return Outcome(curve=tuple((K, float(fit.distortion)) for K, fit in fits))

    return run


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the mean time of calls that together take long enough, and the last result."""
    begin, calls = perf_counter(), 0
    while calls == 0 or perf_counter() - begin < MIN_TIMED:
        result = call()
        calls += 1
    return (perf_counter() - begin) / calls, result
