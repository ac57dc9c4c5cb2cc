"""Adapter of scipy.cluster.vq.kmeans2."""

from __future__ import annotations

from benchmarks.job import Job, Outcome, Peer, Run


def _fit(job: Job) -> Run:
    from scipy.cluster.vq import kmeans2

    X = job.floats()
    starts = [job.start(number).astype(X.dtype) for number in range(len(job.starts))]

    def run(number: int) -> Outcome:
        init = starts[number % len(starts)]
        centroids, _ = kmeans2(X, init, iter=job.iterations, minit="matrix", check_finite=False)
        note = "labels a step behind: one assignment fewer"
        return Outcome(centroids, job.iterations, note=note)

    return run


PEER = Peer("scipy", {"fit": _fit})
