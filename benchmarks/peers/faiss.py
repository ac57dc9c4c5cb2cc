"""Adapter of faiss: Kmeans with IndexFlatL2, on all points, for the full number of iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.job import Job, Outcome, Peer, Run


def _fit(job: Job) -> Run:
    import faiss

    faiss.omp_set_num_threads(job.threads)
    X = job.float32()
    starts = [job.start(number).astype(np.float32) for number in range(len(job.starts))]
    options = {
        "niter": job.iterations,
        "early_stop_threshold": 0.0,
        "max_points_per_centroid": len(X),  # no sampling
        "min_points_per_centroid": 1,  # no warning
    }

    def run(number: int) -> Outcome:
        model: Any = faiss.Kmeans(X.shape[1], job.K, **options)
        model.train(X, init_centroids=starts[number % len(starts)])
        note = "no labels: one assignment fewer"
        return Outcome(model.centroids, len(model.obj), float(model.obj[-1]), note=note)

    return run


PEER = Peer("faiss-cpu", {"fit": _fit})
