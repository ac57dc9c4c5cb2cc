"""ckmeans itself, with the workload's engine or with one engine by name."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.job import Adapter, Job, Outcome, Peer, Run
from benchmarks.peers.interpreter import timed_import

LONG, SHORT = 6, 1  # iterations of the two fits whose difference tells the time of a step


def peer(engine: str | None = None) -> Peer:
    """The contender; ``engine`` overrides the algorithm of the workload."""
    adapters: dict[str, Adapter] = {
        "fit": partial(_fit, engine),
        "refits": partial(_refits, engine),
        "random": partial(_random, engine),
        "step": partial(_step, engine),
    }
    if engine is None:
        adapters |= {"assign": _assign, "seed": _seed, "import": _import}
    return Peer("ckmeans-simd", adapters)


def _options(engine: str | None, job: Job) -> dict[str, Any]:
    return {
        "tol": 0.0,
        "empty": "farthest",  # as scikit-learn does: K clusters stay K clusters
        "algorithm": engine or job.algorithm,
        "n_threads": job.threads,
    }


def _outcome(result: Any) -> Outcome:
    ran = getattr(result, "algorithm", None)
    note = f"stopped: {result.stop_reason}" + (f", ran {ran}" if ran else "")
    return Outcome(result.centroids, result.n_iter, result.distortion, note=note)


def _fit(engine: str | None, job: Job) -> Run:
    import ckmeans

    options = _options(engine, job)
    start = job.start(0)

    def run(number: int) -> Outcome:
        result = ckmeans.kmeans(job.X, job.K, init=start, max_iter=job.iterations, **options)
        return _outcome(result)

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
    """One full step: a long fit less a short one, by the number of iterations between them."""
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
