"""Adapter of SuperKMeans, without its sampling, its hierarchy and its early termination.

It accepts no initial centroids and draws its start from the rows. Which ones depends only on the
number of rows and its seed, so the wanted rows are moved to those positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import Array
from benchmarks.job import Job, Outcome, Peer, Run
from benchmarks.peers.moved import start_at


def _fit(job: Job) -> Run:
    from superkmeans import SuperKMeans

    X = job.float32()
    options = {
        "hierarchical": False,
        "sampling_fraction": 1.0,
        "max_points_per_cluster": len(X),
        "early_termination": False,
        "tol": 0.0,
        "n_threads": job.threads,
    }

    def train(iterations: int) -> tuple[Any, Array]:
        model = SuperKMeans(job.K, X.shape[1], iters=iterations, **options)
        return model, model.train(X)

    places = _drawn_rows(SuperKMeans, len(X), job.K)
    where = start_at(X, job, places, lambda X: train(1)[1])

    def run(number: int) -> Outcome:
        model, centroids = train(job.iterations)
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


PEER = Peer("superkmeans", {"fit": _fit}, alone=True)
