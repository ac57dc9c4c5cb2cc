"""Adapter of SuperKMeans, without its sampling, its hierarchy and its early termination.

It accepts no initial centroids and draws its start from the rows. Which ones depends only on the
number of rows and its seed, so the wanted rows are moved to those positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import exact
from benchmarks.data import Array
from benchmarks.job import Job, Outcome, Peer, Run


def _fit(job: Job) -> Run:
    from superkmeans import SuperKMeans

    if len(job.starts) > 1:
        raise ValueError("takes no start centroids, and rows can be moved for one start only")
    X, start = job.float32(), job.start(0).astype(np.float32)
    options = {
        "hierarchical": False,
        "sampling_fraction": 1.0,
        "early_termination": False,
        "tol": 0.0,
        "n_threads": job.threads,
    }
    _move(X, job.starts[0], _drawn_rows(SuperKMeans, len(X), job.K))
    first = SuperKMeans(job.K, X.shape[1], iters=1, **options).train(X)
    met = _agree(first, exact.lloyd_step(X, start), float(X.std()))
    where = "rows moved: it starts as asked (checked)" if met else "starts from its OWN rows"

    def run(number: int) -> Outcome:
        model = SuperKMeans(job.K, X.shape[1], iters=job.iterations, **options)
        centroids = model.train(X)
        note = f"{where}; may prune approximately; no labels: one assignment fewer"
        return Outcome(centroids, len(model.iteration_stats), note=note)

    return run


def _drawn_rows(model: Any, m: int, K: int) -> Array:
    """Return the rows it starts from: sampling uses the same shuffle, and reports its order."""
    sampling = {"sampling_fraction": 0.9, "max_points_per_cluster": m}
    probe = model(2, 2, hierarchical=False, iters=1, n_threads=1, **sampling)
    probe.train(np.random.default_rng(0).random((m, 2), dtype=np.float32))
    rows: Array = np.array(probe.sampled_indices[:K], np.int64)
    return rows


def _move(X: Array, rows: Array, places: Array) -> None:
    """Permute X in place so that the new X[places] equals the old X[rows]."""
    targets = np.concatenate([places, np.setdiff1d(rows, places)])
    sources = np.concatenate([rows, np.setdiff1d(places, rows)])
    X[targets] = X[sources]


def _agree(one: Array, other: Array, spread: float) -> bool:
    """Return whether two sets of centroids are equal up to rounding and a few near-ties."""
    near = np.isclose(one, other, rtol=1e-3, atol=1e-3 * spread).all(axis=1)
    return bool(near.mean() > 0.9)


PEER = Peer("superkmeans", {"fit": _fit})
