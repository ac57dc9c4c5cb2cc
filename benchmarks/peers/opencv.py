"""Adapter of cv2.kmeans, which starts from labels and makes at most 100 iterations."""

from __future__ import annotations

from typing import Any

from benchmarks import exact
from benchmarks.job import Job, Outcome, Peer, Run


def _fit(job: Job) -> Run:
    import cv2

    cv2.setNumThreads(job.threads)
    X = job.float32()
    first = [exact.labels(X, job.start(number))[:, None] for number in range(len(job.starts))]
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, job.iterations, 0.0)

    def run(number: int) -> Outcome:
        labels = first[number % len(first)].copy()
        compactness, _, centroids = cv2.kmeans(X, job.K, labels, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)
        note = "first labels given, last ones a step behind: two assignments fewer"
        return Outcome(centroids, objective=compactness, note=note)

    return run


def _default(job: Job) -> Run:
    """Run 25 iterations, as faiss does, from one k-means++ start: the function has no defaults."""
    import cv2

    kmeans: Any = cv2.kmeans  # its stubs do not allow None as labels
    cv2.setNumThreads(job.threads)
    X = job.float32()
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 25, 0.0)

    def run(number: int) -> Outcome:
        cv2.setRNGSeed(number)
        compactness, _, centroids = kmeans(X, job.K, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
        return Outcome(centroids, objective=compactness, note="25 iterations, one k-means++ start")

    return run


def _random(job: Job) -> Run:
    import cv2

    kmeans: Any = cv2.kmeans  # its stubs do not allow None as labels
    cv2.setNumThreads(job.threads)
    X = job.float32()
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, job.iterations, 0.0)

    def run(number: int) -> Outcome:
        cv2.setRNGSeed(number)
        compactness, _, centroids = kmeans(X, job.K, None, criteria, job.restarts, cv2.KMEANS_RANDOM_CENTERS)
        return Outcome(centroids, objective=compactness, note="starts drawn from the bounding box")

    return run


PEER = Peer("opencv-python-headless", {"fit": _fit, "random": _random, "default": _default})
