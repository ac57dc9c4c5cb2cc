"""Adapter of scikit-learn-intelex, whose estimator may fall back to scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import Array
from benchmarks.job import Job, Peer, Run
from benchmarks.peers.sklearn import default, lloyd


class _Listener(logging.Handler):
    """A log handler that stores the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _fit(job: Job) -> Run:
    from sklearnex.cluster import KMeans

    estimator, X = partial(KMeans, n_jobs=job.threads), job.floats()
    options = {"init": X[job.starts[0]], "n_init": 1, "tol": 0.0, "algorithm": "lloyd"}
    return lloyd(estimator, X, job, _note(partial(estimator, **options), X, job))


def _default(job: Job) -> Run:
    from sklearnex.cluster import KMeans

    estimator, X = partial(KMeans, n_jobs=job.threads), job.floats()
    return default(estimator, X, job, _note(estimator, X, job))


def _note(estimator: Callable[..., Any], X: Array, job: Job) -> str:
    """Say whether calls of this kind are accelerated, according to the package's log of a small one."""
    few = np.concatenate([X[job.starts[0]]] * 2)
    log, listener = logging.getLogger("sklearnex"), _Listener()
    level, handlers = log.level, log.handlers
    log.handlers = [listener]  # replaces the handlers that print
    log.setLevel(logging.INFO)
    estimator(job.K, max_iter=1).fit(few)
    log.setLevel(level)
    log.handlers = handlers
    fast = any("running accelerated version" in message for message in listener.messages)
    return "accelerated, by its own log" if fast else "FELL BACK to scikit-learn"


PEER = Peer("scikit-learn-intelex", {"fit": _fit, "default": _default})
