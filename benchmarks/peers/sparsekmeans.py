"""Adapter of sparsekmeans: Lloyd and Elkan by sparse products (SuiteSparse:GraphBLAS), in float64.

It draws its own start by k-means++. A method of the class does so, which is replaced by the given start.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.job import Job, Outcome, Peer, Run

NOTE = "labels a step behind: one assignment fewer"


def _fit(name: str, job: Job) -> Run:
    import graphblas
    import sparsekmeans

    if isinstance(job.X, np.ndarray):
        raise ValueError("takes sparse rows")
    X = graphblas.io.from_scipy_sparse(job.X.astype(np.float64))
    starts = [graphblas.io.from_scipy_sparse(job.X[rows].astype(np.float64)) for rows in job.starts]

    options = {"n_clusters": job.K, "n_threads": job.threads, "max_iter": job.iterations, "tol": 0.0}

    def run(number: int) -> Outcome:
        model: Any = getattr(sparsekmeans, name)(**options)
        model._initialize_centroids = lambda X: starts[number % len(starts)].dup()
        model.fit(X)
        return Outcome(model.centroids.to_dense(fill_value=0.0), note=NOTE)

    return run


LLOYD = Peer("sparsekmeans", {"fit": partial(_fit, "LloydKmeans")})
ELKAN = Peer("sparsekmeans", {"fit": partial(_fit, "ElkanKmeans")})
