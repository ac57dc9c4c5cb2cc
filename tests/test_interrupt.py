"""Ctrl-C and other signals, and callbacks that raise: the work ends soon, the process stays usable.

The signals are real, sent to a process of its own. The duration of the work is measured there on a
small part of it, and is many times the limit of the test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import cases
import numpy as np
import pytest
from checks import assert_same

import ckmeans

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

# Half a second is documented; the machine may be busy.
MAX_SECONDS = 2.5

COMMON = """
    import signal, sys, threading, time
    import numpy as np
    import ckmeans

    # What runs in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    X = rng.random((30_000, 64), dtype=np.float32)

    def digest(r):
        return r.centroids.tobytes(), r.labels.tobytes(), r.history.tobytes()

    def clusters_for(seconds, rows=300):
        "So many centroids that to assign X takes that long, or what memory there is for."
        part, centroids = X[:rows], rng.random((6000, 64), dtype=np.float32)
        ckmeans.assign(part, centroids, n_threads=2)
        start = time.perf_counter()
        ckmeans.assign(part, centroids, n_threads=2)
        took = (time.perf_counter() - start) * len(X) / rows
        return min(int(6000 * max(seconds / took, 1)), 300_000)
"""

# Each is one long step or pass that only polling for signals can interrupt.
WORK = {
    "assign": "ckmeans.assign(X, rng.random((clusters_for(20), 64), dtype=np.float32), n_threads=2)",
    "a step of kmeans": """
        Y = np.concatenate([X] * 4)
        ckmeans.kmeans(Y, 50_000, init="random", seed=0, max_iter=1000, n_threads=2)
    """,
    "k-means++": "ckmeans.init_centroids(X, 20_000, seed=0, n_threads=2)",
    "a search": "ckmeans.kmeans(X, 2000, init='random', seed=0, search='swap', n_threads=2)",
    "many restarts": "ckmeans.kmeans(X[:2000], 50, n_init=1_000_000, init='random', seed=0, n_threads=2)",
}


@needs_signals
@pytest.mark.parametrize("work", WORK)
def test_ctrl_c(work):
    code = (
        COMMON
        + f"""
    before = digest(ckmeans.kmeans(X[:3000], 20, seed=5))

    def work():
{textwrap.indent(textwrap.dedent(WORK[work]).strip(), " " * 8)}

    threading.Timer(0.2, lambda: print("started", flush=True)).start()
    try:
        work()
    except KeyboardInterrupt:
        print(time.monotonic())
    assert digest(ckmeans.kmeans(X[:3000], 20, seed=5)) == before
    """
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.4)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=50)
    finally:
        process.kill()
    assert process.returncode == 0
    assert float(output) - sent < MAX_SECONDS


def creeping(bulk):
    """Return (points, weights) on which a restart from three random points takes one iteration or hundreds.

    Two heavy clusters, between which a chain of light points changes sides one by one, two far points
    that decide which case it is, and a bulk of almost no weight that takes the time.
    """
    links, weight = 400, 1e-3
    chain, taken = np.full(links, 0.5), np.arange(links)
    for _ in range(200):
        sums = np.concatenate([[0], np.cumsum(weight * chain)])
        left = sums[:-1] / (1 + taken * weight)
        right = (1 + sums[-1] - sums[:-1]) / (1 + (links - taken) * weight)
        chain = (left + right) / 2 - 0.1 * weight
    X = np.zeros((4 + links + bulk, 16), np.float32)
    X[: 4 + links, 0] = [0, 1, 50, 60, *chain]
    return X, np.repeat([1, weight, 1e-12], [4, links, bulk])


@needs_signals
def test_signals_during_another_threads_restart():
    """Restart 0 ends at once, restart 1 goes on: signals must still be polled."""
    X, weights = creeping(200_000)
    options = {
        "init": "random",
        "n_init": 2,
        "seed": 11,
        "tol": 0,
        "max_iter": 3000,
        "sample_weight": weights,
    }
    n_iter = []
    few = {**options, "sample_weight": weights[:500]}
    ckmeans.kmeans(X[:500], 3, **few, callback=lambda i, *_: n_iter.append(i))
    assert n_iter[:3] == [0, 1, 0]
    assert n_iter[-1] > 300
    seen = [time.monotonic()]
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        ckmeans.kmeans(X, 3, **options, n_threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seen.append(time.monotonic())
    assert max(np.diff(seen)) < 0.5 * (seen[-1] - seen[0])


@needs_signals
def test_returning_handlers_change_no_result():
    X = cases.make("uniform", 8000, 20)
    expected = ckmeans.kmeans(X, 60, seed=0, tol=0, max_iter=25)
    calls = []
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(ckmeans.kmeans(X[:50], 3, seed=0)))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        while not calls:
            assert_same(ckmeans.kmeans(X, 60, seed=0, tol=0, max_iter=25), expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- callbacks and callables that raise ----------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt(), SystemExit(3), StopIteration()])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_callback_errors_propagate(error, at):
    X = cases.make("uniform", 500, 2)

    def callback(iteration, distortion, centroids):
        if iteration == at:
            raise error

    expected = ckmeans.kmeans(X, 6, seed=1, n_init=3)
    with pytest.raises(type(error)) as caught:
        ckmeans.kmeans(X, 6, seed=1, n_init=3, callback=callback)
    assert caught.value is error
    assert_same(ckmeans.kmeans(X, 6, seed=1, n_init=3), expected)


def test_callable_start_errors_propagate():
    X = cases.make("uniform", 500, 2)
    calls = []

    def init(X, K, rng):
        calls.append(K)
        if len(calls) == 3:
            raise RuntimeError("mine")
        return X[:K]

    with pytest.raises(RuntimeError, match="mine"):
        ckmeans.kmeans(X, 4, init=init, n_init=10)
    assert len(calls) == 3
