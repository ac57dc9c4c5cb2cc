"""k-means on a Dask cluster of this machine, against one process and dask-ml.

All run in turns on the same points, from the same start, and only ratios of a round are compared. It also
prints what a step sends over the loopback device, beside the size of the centroids.

    python benchmarks/on_dask.py --help
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from pathlib import Path
from typing import Any

import dask.array
import distributed
import numpy as np

import ckmeans
import ckmeans.dask


def sent_bytes() -> int:
    """Return what was sent over the loopback device so far (Linux)."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    return 0


class Steps:
    """A callback that notes when each step ended, and what was sent by then."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.bytes: list[int] = []

    def __call__(self, iteration: int, distortion: float, centroids: np.ndarray) -> None:
        self.times.append(time.perf_counter())
        self.bytes.append(sent_bytes())

    def milliseconds(self) -> float:
        """Return the median time of a step."""
        return 1e3 * statistics.median(np.diff(self.times))

    def sent(self) -> float:
        """Return the median number of bytes that a step sent."""
        return statistics.median(np.diff(self.bytes))


def timed(call: Any) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def dask_ml_fit(X: Any, start: np.ndarray, iterations: int) -> Any:
    """Return dask-ml's fit as a function; None if it is not installed."""
    try:
        from dask_ml.cluster import KMeans
    except ImportError:
        return None
    return lambda: KMeans(len(start), init=start, max_iter=iterations, tol=0).fit(X)


def compare(X: Any, points: np.ndarray, options: argparse.Namespace) -> None:
    """Print the ratios of each round and their medians."""
    start = points[: options.K].copy()
    fit = {"init": start, "max_iter": options.iterations, "tol": 0}
    seeded_fit = functools.partial(ckmeans.dask.kmeans, X, options.K, max_iter=options.iterations, tol=0)
    peer = dask_ml_fit(X, start, options.iterations)
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        steps = Steps()
        found = {
            "dask": timed(lambda: ckmeans.dask.kmeans(X, options.K, **fit)),
            "one": timed(lambda: ckmeans.kmeans(points, options.K, n_threads=options.workers, **fit)),
            "seeded": timed(functools.partial(seeded_fit, seed=number)),
        }
        ckmeans.dask.kmeans(X, options.K, callback=steps, **fit)
        if peer is not None and number < options.peer_rounds:
            found["dask-ml"] = timed(peer)
        found |= {"step ms": steps.milliseconds(), "step bytes": steps.sent()}
        rounds.append(found)
        print({name: round(value, 4) for name, value in found.items()}, flush=True)
    one = statistics.median(r["one"] / r["dask"] for r in rounds)
    print(f"speed, times that of one process with {options.workers} threads: {one:.2f}")
    ratios = [r["dask-ml"] / r["dask"] for r in rounds if "dask-ml" in r]
    if ratios:
        print(f"speed, times that of dask-ml: {statistics.median(ratios):.1f}")
    limit = options.K * options.n * 8 * options.workers
    sent = statistics.median(r["step bytes"] for r in rounds)
    print(f"bytes of a step: {sent:.0f}, {sent / limit:.2f} x K n 8 workers")


def main() -> None:
    """Start a cluster, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--m", type=int, default=2_000_000)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--K", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, default=1)
    options = parser.parse_args()
    cluster = distributed.LocalCluster(
        n_workers=options.workers, threads_per_worker=1, dashboard_address=":0"
    )
    with cluster, distributed.Client(cluster):
        shape, chunks = (options.m, options.n), (-(-options.m // options.blocks), options.n)
        X = dask.array.random.default_rng(0).normal(size=shape, chunks=chunks).astype(np.float32).persist()
        compare(X, X.compute(), options)


if __name__ == "__main__":
    main()
