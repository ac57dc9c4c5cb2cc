"""The contenders, one file for each library."""

from __future__ import annotations

from benchmarks.job import Adapter, Job, Outcome, Peer, Run
from benchmarks.peers import (
    ckmeans,
    faiss,
    flash1dkmeans,
    numpy,
    opencv,
    scipy,
    sklearn,
    sklearnex,
    sparsekmeans,
    superkmeans,
)
from benchmarks.workload import BASELINE, SEEDING

PEERS: dict[str, Peer] = {
    BASELINE: ckmeans.peer(),
    "ckmeans-plain": ckmeans.plain(),
    "ckmeans-dense": ckmeans.peer("dense"),
    "ckmeans-cells": ckmeans.peer("cells"),
    "ckmeans-screen": ckmeans.peer("screen"),
    "ckmeans-avx2": ckmeans.on("avx2"),
    "ckmeans-greedy": ckmeans.greedy(),
    SEEDING: ckmeans.seeding(),
    "sklearn": sklearn.PEER,
    "sklearnex": sklearnex.PEER,
    "faiss": faiss.PEER,
    "faiss-super": faiss.SUPER,
    "cv2": opencv.PEER,
    "superkmeans": superkmeans.PEER,
    "sparsekmeans": sparsekmeans.LLOYD,
    "sparsekmeans-elkan": sparsekmeans.ELKAN,
    "flash1dkmeans": flash1dkmeans.PEER,
    "scipy": scipy.PEER,
    "numpy": numpy.PEER,
}


def can(name: str, kind: str) -> bool:
    """Return whether a contender has an adapter for this kind of workload."""
    adapters = PEERS[name].adapters
    return kind in adapters or (kind == "refits" and "fit" in adapters)


def adapter(name: str, kind: str) -> Adapter:
    """Return a contender's adapter for this kind of workload; refits are made of single fits."""
    adapters = PEERS[name].adapters
    if kind == "refits" and kind not in adapters:
        return lambda job: _refits(adapters["fit"], job)
    return adapters[kind]


def _refits(fit: Adapter, job: Job) -> Run:
    single = fit(job)

    def run(number: int) -> Outcome:
        outcomes = [single(start) for start in range(len(job.starts))]
        return min(outcomes, key=lambda outcome: outcome.objective or 0.0)

    return run
