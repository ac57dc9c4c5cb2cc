"""J above the best known against time: restarts, the search by swaps, other libraries; and what a swap costs.

    python -m benchmarks minima --data ../shared/data --plot minima.png --table minima.md

Every contender runs on as many threads as it takes, in turns, in this process. Libraries that are not
installed are left out (scikit-learn, faiss, bkmeans, flspp).
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

import ckmeans

# Set, K and the lowest sum of squared distances that is known (P. Fränti and S. Sieranoja, "K-means
# properties on six clustering benchmark datasets", Applied Intelligence 48, 2018, and own long runs).
SETS = [("s3", 15, 1.688957e13), ("a1", 20, 1.214626e10), ("birch1", 100, 9.277286e13)]
RESTARTS = (1, 3, 10, 30)
ROUNDS = 3

Fit = Callable[[np.ndarray, int, int], Any]


def _ckmeans(n_init: int) -> Fit:
    return lambda X, K, seed: ckmeans.kmeans(X, K, n_init=n_init, seed=seed).centroids


def _search(X: np.ndarray, K: int, seed: int) -> Any:
    return ckmeans.kmeans(X, K, search="swap", seed=seed).centroids


def _sklearn(n_init: int) -> Fit:
    from sklearn.cluster import KMeans

    return lambda X, K, seed: KMeans(K, n_init=n_init, random_state=seed).fit(X).cluster_centers_


def _faiss(n_init: int) -> Fit:
    import faiss

    def fit(X: np.ndarray, K: int, seed: int) -> Any:
        options = {"niter": 25, "nredo": n_init, "seed": seed + 1, "max_points_per_centroid": len(X)}
        kmeans = faiss.Kmeans(X.shape[1], K, **options)
        kmeans.train(np.ascontiguousarray(X, np.float32))
        return kmeans.centroids

    return fit


def _bkmeans(X: np.ndarray, K: int, seed: int) -> Any:
    from bkmeans import BKMeans

    return BKMeans(n_clusters=K, random_state=seed).fit(X).cluster_centers_


def _flspp(X: np.ndarray, K: int, seed: int) -> Any:
    from flspp import FLSpp

    return FLSpp(n_clusters=K, random_state=seed).fit(X).cluster_centers_


def contenders() -> Iterator[tuple[str, str, Fit]]:
    """Yield (family, setting, function that returns centroids) of all that are installed."""
    for n in RESTARTS:
        yield "ckmeans, restarts", f"n_init={n}", _ckmeans(n)
    yield 'ckmeans, search="swap"', "one call", _search
    for name, module, make in (("scikit-learn", "sklearn", _sklearn), ("faiss", "faiss", _faiss)):
        if importlib.util.find_spec(module):
            for n in RESTARTS[:3]:
                yield name, f"{n} restarts", make(n)
    for name, fit in (("bkmeans", _bkmeans), ("flspp", _flspp)):
        if importlib.util.find_spec(name):
            yield name, "one call", fit


def measure(X: np.ndarray, K: int, best: float) -> list[tuple[str, str, float, float]]:
    """Return (family, setting, median seconds, median percent above the best known)."""
    entries = list(contenders())
    runs: list[list[tuple[float, float]]] = [[] for _ in entries]
    for seed in range(ROUNDS):
        for (_, _, fit), own in zip(entries, runs, strict=True):
            start = perf_counter()
            centroids = fit(X, K, seed)
            seconds = perf_counter() - start
            J = ckmeans.distortion(X, np.asarray(centroids, np.float64))
            own.append((seconds, 100 * (J * len(X) / best - 1)))
    return [
        (family, setting, *np.median(own, axis=0))
        for (family, setting, _), own in zip(entries, runs, strict=True)
    ]


def swap_costs() -> Iterator[tuple[int, int, float, float, float, float]]:
    """Yield m, K, and the distances and seconds of a failed swap and of a step over all points."""
    rng = np.random.default_rng(0)
    for K in (25, 100):
        side = round(K**0.5)
        centers = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * 1.0
        for m in (10_000, 40_000, 160_000):
            X = centers[rng.integers(0, K, m)] + rng.normal(0, 0.25, (m, 2))
            prepared = ckmeans.prepare(X)
            # From here on every swap fails, and nothing else changes.
            start = ckmeans.kmeans(prepared, K, init=centers, search="swap", seed=1).centroids
            few, many = (_cost(prepared, start, search="swap", max_swaps=count) for count in (1, 101))
            one, six = (_cost(prepared, centers + 0.2, max_iter=count, tol=0.0) for count in (1, 6))
            yield m, K, *((many - few) / 100), *((six - one) / 5)


def _cost(points: Any, start: np.ndarray, **options: Any) -> np.ndarray:
    """Return the distances and the least seconds of a fit."""
    seconds, distances = np.inf, 0
    for _ in range(5):
        begin = process_time()
        r = ckmeans.kmeans(points, len(start), init=start, algorithm="cells", n_threads=1, seed=0, **options)
        seconds, distances = min(seconds, process_time() - begin), r.stats["distances_computed"]
    return np.array([distances, seconds])


def draw(results: dict[str, list[tuple[str, str, float, float]]], path: str) -> None:
    """Draw percent above the best known over seconds, a panel a set."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(4.2 * len(results), 3.8), layout="constrained")
    for panel, (title, rows) in zip(np.atleast_1d(panels), results.items(), strict=True):
        for family in dict.fromkeys(row[0] for row in rows):
            own = [row for row in rows if row[0] == family]
            panel.plot([r[2] for r in own], [max(r[3], 1e-3) for r in own], "o-", label=family)
        panel.set(xscale="log", yscale="log", title=title, xlabel="seconds")
    np.atleast_1d(panels)[0].set_ylabel("J above the best known, % (at least 0.001)")
    np.atleast_1d(panels)[-1].legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main(arguments: list[str]) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks minima", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--plot", metavar="OUT.png")
    parser.add_argument("--table", metavar="OUT.md")
    options = parser.parse_args(arguments)
    results = {}
    lines = ["| set | contender | | seconds | J above the best known, % |", "| --- | --- | --- | --- | --- |"]
    for name, K, best in SETS:
        X = np.load(options.data / "sipu" / f"{name}.npz")["X"]
        results[f"{name}, K={K}"] = measure(X, K, best)
        for family, setting, seconds, excess in results[f"{name}, K={K}"]:
            lines.append(f"| {name}, K={K} | {family} | {setting} | {seconds:.4f} | {excess:.3f} |")
    lines += [
        "",
        "A failed swap against a step over all points (two features, groups on a grid, one thread):",
        "",
    ]
    lines += ["| m | K | distances: swap | step | microseconds: swap | step |", "| --- " * 6 + "|"]
    for m, K, swap, swap_seconds, step, step_seconds in swap_costs():
        times = f"{1e6 * swap_seconds:.1f} | {1e6 * step_seconds:.0f}"
        lines.append(f"| {m:,} | {K} | {swap:,.0f} | {step:,.0f} | {times} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.table:
        Path(options.table).write_text(text)
    if options.plot:
        draw(results, options.plot)
    return 0
