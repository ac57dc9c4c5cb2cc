"""Adapter of scikit-learn's Lloyd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.data import Array
from benchmarks.job import Job, Outcome, Peer, Run


def lloyd(estimator: Callable[..., Any], X: Array, job: Job, note: str = "") -> Run:
    """Fit an estimator with scikit-learn's parameters; tol = 0 stops early only if no label changes."""
    starts = [job.start(number).astype(X.dtype) for number in range(len(job.starts))]
    options = {
        "n_init": 1,
        "max_iter": job.iterations,
        "tol": 0.0,
        "algorithm": "lloyd",
        "copy_x": isinstance(X, np.ndarray) and not X.flags.writeable,  # False saves a copy, but writes to X
    }

    def run(number: int) -> Outcome:
        model = estimator(job.K, init=starts[number % len(starts)], **options).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_, model.inertia_, note=note)

    return run


def default(estimator: Callable[..., Any], X: Array, job: Job, note: str = "") -> Run:
    """Fit an estimator with its default parameters."""

    def run(number: int) -> Outcome:
        model = estimator(job.K, random_state=number).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_, model.inertia_, note=note)

    return run


def _fit(job: Job) -> Run:
    from sklearn.cluster import KMeans

    return lloyd(KMeans, job.floats(), job)


def _default(job: Job) -> Run:
    from sklearn.cluster import KMeans

    return default(KMeans, job.floats(), job)


def _random(job: Job) -> Run:
    from sklearn.cluster import KMeans

    X = job.floats()
    options = {"init": "random", "n_init": job.restarts, "max_iter": job.iterations, "tol": 0.0}

    def run(number: int) -> Outcome:
        model = KMeans(job.K, random_state=number, copy_x=False, **options).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_, model.inertia_)

    return run


def _seed(job: Job) -> Run:
    from sklearn.cluster import kmeans_plusplus

    X = job.floats()

    def run(number: int) -> Outcome:
        return Outcome(kmeans_plusplus(X, job.K, random_state=number)[0])

    return run


PEER = Peer("scikit-learn", {"fit": _fit, "random": _random, "seed": _seed, "default": _default})
