"""Yardsticks in plain NumPy: the part of the work that every k-means has to do."""

from __future__ import annotations

import numpy as np

from benchmarks.job import Job, Outcome, Peer, Run
from benchmarks.peers.interpreter import timed_import


def _step(job: Job) -> Run:
    X, C = job.floats(), job.start(0)
    out = np.empty((len(X), len(C)), X.dtype)

    def run(number: int) -> Outcome:
        np.matmul(X, C.T, out=out)
        return Outcome()

    return run


def _assign(job: Job) -> Run:
    x, C = job.X[0], job.start(0)

    def run(number: int) -> Outcome:
        ((C - x) ** 2).sum(1).argmin()
        return Outcome()

    return run


def _import(job: Job) -> Run:
    return timed_import("import numpy", after="pass")


PEER = Peer("numpy", {"step": _step, "assign": _assign, "import": _import})
