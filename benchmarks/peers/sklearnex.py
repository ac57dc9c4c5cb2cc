"""Adapter of scikit-learn-intelex, whose estimator may fall back to scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import Array
from benchmarks.job import Job, Peer, Run
from benchmarks.peers.sklearn import lloyd


class _Listener(logging.Handler):
    """A log handler that stores the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _fit(job: Job) -> Run:
    from sklearnex.cluster import KMeans

    estimator = partial(KMeans, n_jobs=job.threads)
    X = job.floats()
    few = np.concatenate([X[job.starts[0]]] * 2)
    fast = _accelerates(estimator, few, job.K)
    note = "accelerated, by its own log" if fast else "FELL BACK to scikit-learn"
    return lloyd(estimator, X, job, note)


def _accelerates(estimator: Callable[..., Any], X: Array, K: int) -> bool:
    """Return whether calls of this kind are accelerated, according to the package's log."""
    log, listener = logging.getLogger("sklearnex"), _Listener()
    level, handlers = log.level, log.handlers
    log.handlers = [listener]  # replaces the handlers that print
    log.setLevel(logging.INFO)
    estimator(K, init=X[:K], n_init=1, max_iter=1, tol=0.0, algorithm="lloyd").fit(X)
    log.setLevel(level)
    log.handlers = handlers
    return any("running accelerated version" in message for message in listener.messages)


PEER = Peer("scikit-learn-intelex", {"fit": _fit})
