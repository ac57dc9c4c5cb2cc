"""Random shapes: rows, features, clusters, iterations, dtype and kind of data drawn from a seed."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.data import Blobs, HeavyTails, Source, Spectrum, Uniform
from benchmarks.workload import Goal, Workload

MOST_ROWS, MOST_FEATURES, MOST_CLUSTERS = 500_000, 900, 2000
MOST_VALUES, MOST_PRODUCTS = 3e7, 1e10  # m n, and m n K iterations
ITERATIONS = (5, 50)
PATIENCE = 60.0  # seconds for one call: stopping it ends the process of all contenders
SECONDS = 8.0  # for the rounds of one shape; a round more may begin

LIMITS = (1.1, 1.25, 1.6)  # time of "auto" / time of the best engine
OF_BOTH_DTYPES = ("sklearn", "sklearnex")
OF_FLOAT32 = ("faiss", "cv2")


def draw(seed: int, number: int, scale: float = 1.0) -> Workload:
    """Return shape ``number`` of a seed, the same in every run; a smaller scale allows fewer products."""
    rng = np.random.default_rng((seed, number))
    while True:
        n = _log_uniform(rng, 1, MOST_FEATURES)
        K = _log_uniform(rng, 2, MOST_CLUSTERS)
        m = _log_uniform(rng, 4 * K, MOST_ROWS)
        iterations = _log_uniform(rng, *ITERATIONS)
        if m * n <= MOST_VALUES and m * n * K * iterations <= MOST_PRODUCTS * scale:
            break
    dtype = ("float32", "float64")[rng.integers(2)]
    kind, data = _data(rng, m, n, K, dtype)
    able = {"ckmeans-dense": True, "ckmeans-cells": n <= 8, "ckmeans-screen": n >= 8}
    engines = tuple(name for name, can in able.items() if can)
    rivals = OF_BOTH_DTYPES + (OF_FLOAT32 if dtype == "float32" else ())
    return Workload(
        name=f"random-{seed}-{number}-{kind}",
        group="random",
        kind="fit",
        data=data,
        K=K,
        peers=(*engines, *rivals),
        iterations=iterations,
        goals=(*(Goal(1 / limit, engines) for limit in LIMITS), Goal(1.0, rivals)),
        economical=True,
        together=True,
        time_limit=SECONDS,
        patience=PATIENCE,
        J_distances=0,
    )


def _data(rng: np.random.Generator, m: int, n: int, K: int, dtype: str) -> tuple[str, Source]:
    """Draw a kind of data, and what it depends on."""
    kind = ("blobs", "uniform", "spectrum", "heavy")[rng.integers(4)]
    if kind == "uniform":
        return kind, Uniform(m, n, dtype)
    if kind == "heavy":
        return kind, HeavyTails(m, n, round(rng.uniform(1.5, 4), 2), dtype)
    components = _log_uniform(rng, 2, min(4 * K, m))
    if kind == "blobs":
        return kind, Blobs(m, n, components, dtype)
    return kind, Spectrum(m, n, components, round(rng.uniform(0.2, 1.5), 2), dtype)


def _log_uniform(rng: np.random.Generator, least: int, most: int) -> int:
    """Draw an integer from least to most whose logarithm is about uniform."""
    return min(most, int(math.exp(rng.uniform(math.log(least), math.log(most + 1)))))
