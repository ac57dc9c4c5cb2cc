"""Adapter of flash1dkmeans, for one feature: greedy k-means++ and Lloyd on sorted values."""

from __future__ import annotations

from benchmarks.job import Job, Outcome, Peer, Run


def _default(job: Job) -> Run:
    from flash1dkmeans import kmeans_1d

    if job.X.shape[1] != 1:
        raise ValueError("takes one feature")
    X = job.floats().ravel()

    def run(number: int) -> Outcome:
        centroids, _ = kmeans_1d(X, job.K, random_state=number)
        return Outcome(centroids[:, None], note="one thread")

    return run


PEER = Peer("flash1dkmeans", {"default": _default})
