"""Adapters of faiss: Kmeans with IndexFlatL2, and SuperKmeans, both on all points."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import Array
from benchmarks.job import Job, Outcome, Peer, Run
from benchmarks.peers.moved import start_at

NO_LABELS = "no labels: one assignment fewer"
DEFAULT_SEED = 1234


def _fit(job: Job) -> Run:
    import faiss

    faiss.omp_set_num_threads(job.threads)
    X = job.float32()
    starts = [job.start(number).astype(np.float32) for number in range(len(job.starts))]
    options = {"niter": job.iterations, "early_stop_threshold": 0.0, **_all_points(X)}

    def run(number: int) -> Outcome:
        model: Any = faiss.Kmeans(X.shape[1], job.K, **options)
        model.train(X, init_centroids=starts[number % len(starts)])
        return Outcome(model.centroids, len(model.obj), float(model.obj[-1]), note=NO_LABELS)

    return run


def _default(job: Job) -> Run:
    """Run 25 iterations, its default number, from its own random start."""
    import faiss

    faiss.omp_set_num_threads(job.threads)
    X = job.float32()

    def run(number: int) -> Outcome:
        model: Any = faiss.Kmeans(X.shape[1], job.K, niter=25, seed=DEFAULT_SEED + number, **_all_points(X))
        model.train(X)
        return Outcome(model.centroids, len(model.obj), float(model.obj[-1]), note=NO_LABELS)

    return run


def _super_fit(job: Job) -> Run:
    """Run SuperKmeans, which takes no start and draws it by a permutation from its seed."""
    import faiss

    faiss.omp_set_num_threads(job.threads)
    X = job.float32()
    places = np.empty(len(X), np.int32)
    faiss.rand_perm(faiss.swig_ptr(places), len(X), DEFAULT_SEED + 1)

    def train(X: Array, iterations: int) -> Any:
        options = {"niter": iterations, "seed": DEFAULT_SEED, **_all_points(X)}
        model = faiss.SuperKmeans(X.shape[1], job.K, **options)
        model.train(X)
        return model

    where = start_at(X, job, places[: job.K], lambda X: train(X, 1).centroids)

    def run(number: int) -> Outcome:
        model = train(X, job.iterations)
        note = f"{where}; prunes approximately; {NO_LABELS}"
        return Outcome(model.centroids, len(model.obj), float(model.obj[-1]), note=note)

    return run


def _all_points(X: Array) -> dict[str, int]:
    """Return the options that turn off sampling, and the warning about few points."""
    return {"max_points_per_centroid": len(X), "min_points_per_centroid": 1}


PEER = Peer("faiss-cpu", {"fit": _fit, "default": _default})
SUPER = Peer("faiss-cpu", {"fit": _super_fit}, alone=True)
