"""The worker process of a contender: builds the data, measures memory, runs rounds on request.

Each library has its own process, so that a crash affects only itself and no two OpenMP or BLAS runtimes are
loaded together; where memory is measured, each contender has its own. The engines of ckmeans are compared
within one process, on the same array, because the placement of memory and threads makes even two processes
that run the same code differ; for random shapes the other libraries join them there.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import statistics
import warnings
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks import memory, peers
from benchmarks.data import Array, distinct_rows
from benchmarks.job import Adapter, Job, Outcome, Run
from benchmarks.workload import Workload

SHORTEST = 0.05  # seconds: shorter calls are repeated within a round
WARM_CLUSTERS = 256  # at most, where the time is limited


@dataclass(frozen=True)
class Task:
    """A workload for one contender."""

    workload: Workload
    contender: str
    folder: Path
    scale: float
    threads: int


@dataclass(frozen=True)
class Measured:
    """The time and the result of one call; for the first call also its memory."""

    seconds: float
    outcome: Outcome
    growth: int | None = None  # bytes on top of the array


@lru_cache(maxsize=1)
def build(workload: Workload, folder: Path, scale: float) -> tuple[Array, list[Array]]:
    """Return X and the row indices of each given start, the same in every process."""
    X = workload.data.load(folder, scale)
    given = workload.starts if workload.kind == "refits" else 1
    return X, [distinct_rows(X, workload.K, seed) for seed in range(given)]


def serve(pipe: Connection) -> None:
    """Process messages (contender, order) until None.

    An order is a task, a round number, or None to end the task.
    """
    os.dup2(2, 1)  # keeps output of the libraries out of the report
    at_work: dict[str, Generator[None, int, None]] = {}
    warm: set[str] = set()
    while (message := pipe.recv()) is not None:
        name, order = message
        if isinstance(order, Task):
            library = name.split("-")[0]
            at_work[name] = _work(pipe, order, library in warm)
            next(at_work[name], None)
            warm.add(library)
        elif order is None:
            at_work.pop(name).close()
            gc.collect()
        else:
            with contextlib.suppress(StopIteration):
                at_work[name].send(order)


def _work(pipe: Connection, task: Task, warm: bool) -> Generator[None, int, None]:
    """Make a first call, then one for each round number that is sent in.

    Sends through the pipe the anonymous memory before the first call (the parent samples it during
    the call), then a ``Measured`` for every call, or an error text, which ends the task.
    """
    try:
        run, prepared = open_task(task, warm)
        before = memory.restart_peak()
        pipe.send(memory.resident("RssAnon"))
        first = _timed(run, 0, 1)
        peak = memory.resident("VmHWM")
        growth = None if before is None or peak is None else peak - before + prepared
        pipe.send(replace(first, growth=growth))
        loops = _loops(run, first)
        while True:
            number = yield
            pipe.send(_timed(run, number, loops))
    except ModuleNotFoundError as error:
        pipe.send(f"not installed ({error})")
    except Exception as error:
        pipe.send(f"failed: {type(error).__name__}: {error}")


def open_task(task: Task, warm: bool) -> tuple[Run, int]:
    """Return the function to time, warmed up unless `warm`, and the bytes of the contender's copy of X."""
    workload = task.workload
    adapter = peers.adapter(task.contender, workload.kind)
    X, starts = build(workload, task.folder, task.scale)
    job = Job(
        X,
        starts,
        workload.iterations,
        workload.starts,
        task.threads,
        workload.algorithm,
        workload.sizes,
    )
    if not warm:
        _warm_up(adapter, job, WARM_CLUSTERS if workload.time_limit and not workload.sizes else None)
    run = adapter(job)
    gc.collect()
    return run, job.prepared_bytes


def _warm_up(adapter: Adapter, job: Job, clusters: int | None) -> None:
    """Load the libraries and start their threads; the first call raises and reports any error again."""
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception):
        adapter(_sample(job, clusters))(0)
    with contextlib.suppress(ModuleNotFoundError):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=job.threads)
    gc.collect()
    gc.freeze()  # the modules of the libraries: a collection then takes no time


def _sample(job: Job, clusters: int | None) -> Job:
    """Return the same task on a few rows: those of the first start, or some of them, and some more."""
    first = job.starts[0][:clusters]
    rows = np.concatenate([first, np.arange(min(job.X.shape[0], 3 * len(first)))])
    starts = [np.arange(len(first))] * len(job.starts)
    X = job.X[rows]
    few = np.ascontiguousarray(X) if isinstance(X, np.ndarray) else X
    return replace(job, X=few, starts=starts, iterations=2)


def _loops(run: Run, first: Measured) -> int:
    """Return how many calls make a round long enough to be timed."""
    if first.seconds >= SHORTEST:
        return 1
    begin = perf_counter()
    run(0)
    return max(1, math.ceil(SHORTEST / (perf_counter() - begin)))


def _timed(run: Run, number: int, loops: int) -> Measured:
    """Time a call; if it is short, take the median of several."""
    if loops > 1:
        run(number)  # wakes the threads that went to sleep since the last round
    seconds = []
    for _ in range(loops):
        begin = perf_counter()
        outcome = run(number)
        seconds.append(perf_counter() - begin)
    return Measured(statistics.median(seconds) if outcome.seconds is None else outcome.seconds, outcome)
