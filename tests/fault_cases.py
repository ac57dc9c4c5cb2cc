"""Small calls of every public function on every engine, and faults for them: no memory, signals, errors."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
import zlib

import cases
import numpy as np

import ckmeans
from ckmeans import _runtime

WIDE = cases.blobs(600, 70, groups=9, seed=1).astype(np.float32)
FLAT = np.round(cases.blobs(1500, 3, groups=12, seed=2), 1)  # with equal rows
LINE = cases.blobs(700, 1, groups=5, seed=3)
LARGE = cases.blobs(20_000, 40, groups=20, seed=7).astype(np.float32)  # several parts for each thread
WEIGHTS = np.random.default_rng(4).uniform(0.5, 2, len(FLAT))


def sparse_rows():
    """Return CSR rows, or dense ones where SciPy is not there."""
    rng = np.random.default_rng(5)
    X = np.where(rng.random((400, 60)) < 0.15, rng.normal(size=(400, 60)), 0)
    try:
        from scipy.sparse import csr_array
    except ImportError:
        return X
    return csr_array(X)


def first_rows(X, K, rng):
    """Start from the first rows: a start that the user's code makes."""
    return np.array(X[:K], dtype=float)


def fit(X, K, **options):
    """Return all that a fit returns."""
    result = ckmeans.kmeans(X, K, seed=0, **options)
    return result.labels, result.centroids, result.counts, result.history, result.path or []


def estimator(X, **options):
    """Return what an estimator does after its fit."""
    model = ckmeans.KMeans(5, random_state=0, **options).fit(X)
    return model.labels_, model.cluster_centers_, model.transform(X[:50]), model.predict(X), model.score(X)


def batches(X):
    """Return what the estimator of mini-batches finds, from parts and from all of X."""
    model = ckmeans.MiniBatchKMeans(5, random_state=0, batch_size=256)
    model.partial_fit(X[:300]).partial_fit(X[300:600])
    return model.cluster_centers_, model.fit(X).cluster_centers_


def prepared():
    """Return fits on prepared points, and the labels of these."""
    points = ckmeans.prepare(FLAT, sample_weight=WEIGHTS)
    labels, centroids, *_ = fit(points, 6)
    return labels, centroids, ckmeans.assign(points, centroids), ckmeans.distortion(points, centroids)


def fit_chunks(**options):
    """Return a fit on points that come in parts."""
    result = ckmeans.kmeans_chunks(lambda: iter(np.array_split(FLAT, 4)), 5, seed=0, **options)
    return result.labels, result.centroids


def curve(X, **options):
    """Return the distortions for each of many K."""
    return ckmeans.elbow(X, (2, 4, 5), n_init=2, seed=0, **options).distortions


def measured():
    """Return what the functions find that measure a clustering."""
    labels, centroids, *_ = fit(FLAT, 4)
    return (
        ckmeans.distortion(FLAT, centroids, sample_weight=WEIGHTS),
        ckmeans.update(FLAT, labels, 4),
        ckmeans.silhouette(FLAT[:400], labels[:400]),
        [option.distortion for option in ckmeans.compare(FLAT, [2, 3], seed=0, n_init=2).options],
    )


def painted():
    """Return a picture in few colours."""
    pixels = np.random.default_rng(6).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    return ckmeans.quantize(pixels, 8, seed=0).image


# Name -> a call.
CALLS = {
    "dense": lambda: fit(WIDE, 7, algorithm="dense", n_threads=1),
    "dense restarts": lambda: fit(WIDE, 7, algorithm="dense", n_init=3, n_threads=1),
    "dense path": lambda: fit(FLAT, 7, algorithm="dense", keep_path=True, n_threads=1),
    "dense drop": lambda: fit(FLAT, 7, algorithm="dense", empty="drop", init=np.zeros((7, 3)), n_threads=1),
    "dense refill": lambda: fit(FLAT, 7, algorithm="dense", init=np.repeat(FLAT[:1], 7, 0), n_threads=1),
    "cells": lambda: fit(FLAT, 9, algorithm="cells", n_threads=1),
    "cells weights": lambda: fit(FLAT, 9, algorithm="cells", sample_weight=WEIGHTS, n_threads=1),
    "screen": lambda: fit(WIDE, 60, algorithm="screen", n_threads=1),
    "screen restarts": lambda: fit(WIDE, 40, algorithm="screen", n_init=3, n_threads=1),
    "auto": lambda: fit(WIDE, 50, n_init=2, n_threads=1),
    "sparse": lambda: fit(sparse_rows(), 6, n_threads=1),
    "sparse restarts": lambda: fit(sparse_rows(), 6, n_init=3, n_threads=1),
    "one feature": lambda: fit(LINE, 6, n_threads=1),
    "one feature weights": lambda: fit(LINE, 6, sample_weight=WEIGHTS[: len(LINE)], n_threads=1),
    "random start": lambda: fit(FLAT, 5, init="random", n_threads=1),
    "callable start": lambda: fit(FLAT, 5, init=first_rows, n_init=2, n_threads=1),
    "callback": lambda: fit(FLAT, 5, callback=lambda *_: None, n_threads=1),
    "many clusters": lambda: fit(WIDE, 300, n_threads=1),
    "two threads": lambda: fit(FLAT, 6, n_init=4, n_threads=2),
    "two threads screen": lambda: fit(WIDE, 60, algorithm="screen", n_threads=2),
    "cosine": lambda: fit(WIDE, 7, metric="cosine", n_threads=1),
    "cosine cells": lambda: fit(FLAT, 9, metric="cosine", algorithm="cells", n_threads=1),
    "cosine sparse": lambda: fit(sparse_rows(), 6, metric="cosine", n_threads=1),
    "cosine chunks": lambda: fit_chunks(metric="cosine"),
    "frozen": lambda: fit(FLAT, 9, init=FLAT[:4] + 1, frozen=2, n_init=2, n_threads=1),
    "prepared": prepared,
    "chunks": fit_chunks,
    "assign": lambda: ckmeans.assign(WIDE, WIDE[:9], return_squared_distance=True),
    "assign sparse": lambda: ckmeans.assign(sparse_rows(), WIDE[:9, :60]),
    "seeds": lambda: ckmeans.init_centroids(FLAT, 20, seed=0),
    "seeds wide": lambda: ckmeans.init_centroids(WIDE, 200, seed=0),
    "measured": measured,
    "elbow": lambda: curve(FLAT[:500], n_threads=1),
    "elbow one feature": lambda: curve(LINE, n_threads=1),
    "estimator": lambda: estimator(FLAT),
    "estimator sparse": lambda: estimator(sparse_rows()),
    "batches": lambda: batches(FLAT),
    "quantize": painted,
}


def digest(found):
    """Return a checksum of all bits of a nested tuple of arrays and numbers."""
    if isinstance(found, (tuple, list)):
        return zlib.crc32(repr([digest(part) for part in found]).encode())
    return zlib.crc32(np.ascontiguousarray(found).tobytes())


# ---- what is done to them ------------------------------------------------------------------------


def fail_each_allocation(call):
    """Let each allocation of a call fail once. Return how many there were.

    Each time the call must raise MemoryError and leave nothing behind, and the next one must return the same
    bits. Threads may come to allocations in another order, and to fewer of them.
    """
    expected = digest(call())
    _runtime.count_allocations()
    try:
        assert digest(call()) == expected
        total, live = _runtime.allocation_counts()
        assert live == 0
        for number in range(1, total + 1):
            _runtime.count_allocations(number)
            with contextlib.suppress(MemoryError):
                assert digest(call()) == expected
                assert _runtime.allocation_counts()[0] < number, f"allocation {number} failed unseen"
            assert _runtime.allocation_counts()[1] == 0, (
                f"{number} of {total} failed: something is not released"
            )
            _runtime.count_allocations(None)
            assert digest(call()) == expected
    finally:
        _runtime.count_allocations(None)
    return total


def memory_in_use():
    """Return how many bytes of the process are in memory, without what is kept for the next call."""
    ckmeans.release_memory()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def interrupt(times, seed=0):
    """Interrupt calls of all kinds at random moments. Return how many of the signals ended one.

    Each call runs again and again until a signal comes; afterwards it must return the same bits.
    """
    rng = random.Random(seed)
    expected = {name: digest(call()) for name, call in CALLS.items()}
    ended = 0
    for i in range(times):
        name = list(CALLS)[i % len(CALLS)]
        delay, main = rng.uniform(0, 0.02), threading.main_thread().ident
        timer = threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT))
        inside = False
        try:
            timer.start()
            until = time.monotonic() + 10
            while time.monotonic() < until:
                inside = True
                CALLS[name]()
                inside = False
        except KeyboardInterrupt:
            ended += inside
        else:
            raise AssertionError("no signal came")
        timer.join()
        assert digest(CALLS[name]()) == expected[name], name
    return ended


# Name -> a call that raises this error after work was begun, or before.
ERRORS = {
    "infinite": (ValueError, lambda: ckmeans.kmeans(np.array([[1.0], [np.inf], [2.0]]), 2)),
    "infinite late": (
        ValueError,
        lambda: ckmeans.kmeans(np.concatenate([WIDE, np.full((1, 70), np.nan)]), 3),
    ),
    "too many clusters": (ValueError, lambda: ckmeans.kmeans(FLAT, len(FLAT) + 1)),
    "empty cluster": (ValueError, lambda: fit(FLAT, 7, empty="error", init=np.zeros((7, 3)))),
    "callback": (ZeroDivisionError, lambda: fit(FLAT, 5, callback=lambda *_: 1 / 0)),
    "start": (ZeroDivisionError, lambda: fit(FLAT, 5, init=lambda X, K, rng: 1 / 0)),
    "start shape": (ValueError, lambda: fit(FLAT, 5, init=lambda X, K, rng: X[:2])),
    "chunks": (ZeroDivisionError, lambda: ckmeans.kmeans_chunks(failing_chunks, 5, seed=0)),
    "weights": (ValueError, lambda: fit(FLAT, 5, sample_weight=WEIGHTS - 1)),
    "centroids": (ValueError, lambda: ckmeans.assign(FLAT, FLAT[:4, :2])),
    "labels": (ValueError, lambda: ckmeans.update(FLAT, np.full(len(FLAT), 9), 4)),
}


def failing_chunks():
    """Yield some points, and then fail."""
    yield FLAT[:700]
    yield FLAT[700:] / (1 / 0)


def call_with_errors(times):
    """Make so many calls that raise, each kind in its turn."""
    kinds = list(ERRORS.values())
    for i in range(times):
        error, call = kinds[i % len(kinds)]
        try:
            call()
        except error:
            continue
        raise AssertionError(f"{list(ERRORS)[i % len(kinds)]}: no error")
