"""Threads and processes: bit-identical results on any number of them, concurrently and after a fork."""

from __future__ import annotations

import functools
import os
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest
from checks import assert_same

import ckmeans
from ckmeans._progress import ProgressBar

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# ---- results do not depend on threads ----------------------------------------------------------------

PROBLEMS = {
    # rows, features, K, options
    "many rows": (60_000, 6, 12, {"max_iter": 5}),
    "few rows": (2500, 40, 48, {"max_iter": 10}),
    "many features": (2100, 500, 8, {"max_iter": 4}),
    "many clusters": (8000, 5, 3000, {"max_iter": 2, "init": "random"}),
    "restarts in parallel": (700, 3, 9, {"n_init": 30, "max_iter": 20}),
    "restarts in order": (9000, 20, 30, {"n_init": 2, "max_iter": 4}),
    "clusters that empty": (24_000, 2, 100, {"empty": "drop", "init": "far"}),
    "clusters reinitialised": (24_000, 2, 100, {"empty": "reinit", "init": "far"}),
    "clusters refilled by distance": (24_000, 2, 100, {"empty": "farthest", "init": "far"}),
    "random examples": (40_000, 4, 30, {"init": "random", "n_init": 3, "max_iter": 4}),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_results_do_not_depend_on_threads(problem, weighted, dtype):
    m, n, K, options = PROBLEMS[problem]
    X = cases.make("uniform", m, n, dtype)
    if options.get("init") == "far":
        start = cases.some_rows(X, K)
        start[::7] += 100
        options = {**options, "init": start}
    weights = np.random.default_rng(0).random(m) if weighted else None
    options = {"seed": 3, "tol": 0, "max_iter": 12, "sample_weight": weights, **options}
    for algorithm in cases.engines(m, n):
        options["algorithm"] = algorithm
        one = ckmeans.kmeans(X, K, n_threads=1, **options)
        for n_threads in (2, 3, 8, None):
            assert_same(one, ckmeans.kmeans(X, K, n_threads=n_threads, **options))


def test_more_threads_than_possible():
    X = cases.make("uniform", 3000, 3)
    expected = ckmeans.kmeans(X, 5, seed=0, n_init=40, n_threads=1)
    for n_threads in (200, 10**6):
        assert_same(expected, ckmeans.kmeans(X, 5, seed=0, n_init=40, n_threads=n_threads))


def test_external_limits_are_respected():
    """OMP_NUM_THREADS, threadpoolctl and the CPU affinity limit the number of threads."""
    report = "import ckmeans; print(ckmeans.show_config()['threads'])"
    assert cases.run_python(report, OMP_NUM_THREADS="1") == "1\n"
    if hasattr(os, "sched_setaffinity"):
        alone = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n" + report
        assert cases.run_python(alone, OMP_NUM_THREADS="4") == "1\n"
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        assert ckmeans.show_config()["threads"] == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs to see where threads may run")
def test_affinity_is_unchanged():
    X = cases.make("uniform", 4000, 40)
    allowed = os.sched_getaffinity(0)
    for _ in range(5):
        time.sleep(0.05)  # until the other threads sleep, so that they may be woken on this processor
        ckmeans.kmeans(X, 64, seed=0, n_threads=4, max_iter=5, algorithm="dense")
    assert all(os.sched_getaffinity(int(task)) == allowed for task in os.listdir("/proc/self/task"))


def test_fewer_threads_than_requested():
    """All parallel restarts run even if OpenMP's limit makes the team smaller than requested."""
    cases.run_python(
        """
        import numpy as np
        import ckmeans
        X = np.random.default_rng(0).random((2000, 3))
        one = ckmeans.kmeans(X, 9, seed=0, n_init=30, n_threads=1)
        for n_threads in (2, 5):
            more = ckmeans.kmeans(X, 9, seed=0, n_init=30, n_threads=n_threads)
            assert (more.distortions == one.distortions).all() and (more.labels == one.labels).all()
        """,
        OMP_THREAD_LIMIT="2",
    )


# ---- many Python threads -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"n_threads": 1}, {"n_threads": 2}, {}, {"n_init": 20, "n_threads": 2}, {"callback": lambda *_: None}],
    ids=str,
)
def test_eight_python_threads_at_once(options, dtype):
    X = cases.make("uniform", 9000, 6, dtype)
    options = {"seed": 1, "max_iter": 6, **options}
    expected = ckmeans.kmeans(X, 20, **options)
    together = threading.Barrier(8)

    def fit(_):
        together.wait()
        return [ckmeans.kmeans(X, 20, **options) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(fit, range(8)):
            for r in results:
                assert_same(r, expected)


def calls_of_every_kind(X):
    """Return calls on the same array, which none of them changes; each returns arrays."""
    C = cases.some_rows(X, 12)
    labels = ckmeans.assign(X, C)

    def fit(**options):
        r = ckmeans.kmeans(X, 12, seed=2, max_iter=4, **options)
        return r.labels, r.centroids, r.history

    fits = [functools.partial(fit, algorithm=name) for name in cases.engines(*X.shape)]
    return [
        *fits,
        functools.partial(fit, n_init=12),
        functools.partial(fit, init=lambda X, K, rng: X[rng.choice(len(X), K)]),
        lambda: ckmeans.assign(X, C, return_squared_distance=True),
        lambda: ckmeans.assign(X[::-3], C),
        lambda: ckmeans.update(X, labels, 12),
        lambda: ckmeans.distortion(X, C),
        lambda: ckmeans.init_centroids(X, 12, method="k-means++", seed=3),
        lambda: ckmeans.KMeans(12, random_state=4, max_iter=3).fit(X).predict(X),
    ]


def as_bytes(values):
    values = values if type(values) is tuple else (values,)
    return b"".join(np.ascontiguousarray(v).tobytes() for v in values)


def test_calls_of_every_kind_at_once(dtype):
    """Eight Python threads make different calls: none reads memory that another one has used."""
    calls = calls_of_every_kind(cases.make("blobs", 9000, 6, dtype))
    expected = [as_bytes(call()) for call in calls]
    together = threading.Barrier(8)

    def in_turn(first):
        together.wait()
        order = [(first + i) % len(calls) for i in range(2 * len(calls))]
        return [i for i in order if as_bytes(calls[i]()) != expected[i]]

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(in_turn, range(8)))


def test_first_use_by_many_threads():
    """Threads import the package, load its lazy names and make the first call concurrently."""
    cases.run_python(
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        X = np.random.default_rng(0).random((9000, 6))
        together = threading.Barrier(8)
        def first_use(i):
            together.wait()
            import ckmeans
            model = ckmeans.KMeans if i % 2 else ckmeans.MiniBatchKMeans
            r = ckmeans.kmeans(X, 12, seed=0, max_iter=4)
            assert model(3, random_state=0, n_init=1).fit(X[:99]).labels_.max() == 2
            return r.labels.tobytes() + r.centroids.tobytes()
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(first_use, range(8)))) == 1
        """
    )


@pytest.mark.skipif(getattr(sys, "_is_gil_enabled", lambda: True)(), reason="needs a free-threaded Python")
def test_no_module_enables_the_gil():
    """A module that does not declare support for free threading enables the GIL, with a warning."""
    code = """
        import importlib, pkgutil, sys
        import ckmeans
        names = [f"ckmeans.{module.name}" for module in pkgutil.iter_modules(ckmeans.__path__)]
        compiled = [name for name in names if not importlib.util.find_spec(name).origin.endswith(".py")]
        for name in compiled:
            importlib.import_module(name)
        print(len(compiled) > 5, sys._is_gil_enabled())
    """
    assert cases.run_python(code).split() == ["True", "False"]


def long_step():
    """Return a call of one step that takes about a second on this machine."""
    X = np.random.default_rng(0).random((60_000, 64), dtype=np.float32)
    K = 300
    while True:
        centroids = np.random.default_rng(1).random((K, 64), dtype=np.float32)
        start = time.perf_counter()
        ckmeans.assign(X, centroids, n_threads=1)
        took = time.perf_counter() - start
        if took > 0.15:
            break
        K *= 2
    centroids = np.random.default_rng(1).random((int(K / took), 64), dtype=np.float32)
    return lambda: ckmeans.assign(X, centroids, n_threads=1)


def longest_wait(work):
    """Return (the longest time another Python thread did not run during the work, the work's time)."""
    done, ticks = threading.Event(), []

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    time.sleep(0.02)
    start = time.perf_counter()
    work()
    end = time.perf_counter()
    done.set()
    ticker.join()
    inside = [start, *(t for t in ticks if start < t < end), end]
    return float(max(np.diff(inside))), end - start


def test_kernels_release_the_gil():
    """Another Python thread never waits more than 50 ms; a busy machine gets three tries and some slack.
    If the GIL were held, it would wait as long as the step takes."""
    work = long_step()
    waits = []
    for _ in range(3):
        wait, took = longest_wait(work)
        waits.append(wait / took)
        assert took > 0.4
        if wait < 0.05:
            return
    assert min(waits) < 0.3


# ---- forks -------------------------------------------------------------------------------------------

FORK = """
    import multiprocessing, os, signal, sys, threading, warnings
    import numpy as np
    import ckmeans

    warnings.simplefilter("ignore")  # Python warns of forks of processes with threads
    X = np.random.default_rng(0).random((8000, 8))

    def fit(_=None):
        r = ckmeans.kmeans(X, 20, seed=1, max_iter=3, n_threads=2)
        s = ckmeans.kmeans(X[:500], 5, seed=1, n_init=20, n_threads=2)
        return r.labels.tobytes() + r.centroids.tobytes() + s.centroids.tobytes()

    def fork_and_fit(expected):
        pid = os.fork()
        if pid == 0:
            signal.alarm(40)
            os._exit(0 if fit() == expected else 1)
        assert os.waitpid(pid, 0)[1] == 0

    def in_a_thread(function, *arguments):
        failed = []
        def run():
            try:
                function(*arguments)
            except BaseException as error:
                failed.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
"""

FORKS = {
    "the main thread": """
        expected = fit()
        for _ in range(3):
            fork_and_fit(expected)
            assert fit() == expected
    """,
    "another thread": """
        expected = fit()
        for _ in range(3):
            in_a_thread(fork_and_fit, expected)
            in_a_thread(lambda: fit() == expected or sys.exit(1))
            fork_and_fit(expected)
    """,
    "a thread that has fitted": """
        def all_of_it():
            expected = fit()
            fork_and_fit(expected)
            assert fit() == expected
        in_a_thread(all_of_it)
        all_of_it()
    """,
    "a child that forks": """
        expected = fit()
        pid = os.fork()
        if pid == 0:
            signal.alarm(40)
            assert fit() == expected
            fork_and_fit(expected)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """,
    "a pool": """
        expected = fit()
        for _ in range(2):
            with multiprocessing.get_context("fork").Pool(3) as pool:
                assert all(result == expected for result in pool.map(fit, range(6)))
            assert fit() == expected
    """,
    "a pool made in a thread": """
        def pooled():
            expected = fit()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert all(result == expected for result in pool.map(fit, range(4)))
        in_a_thread(pooled)
        pooled()
    """,
    "while another thread fits": """
        expected = fit()
        stop = threading.Event()
        wrong = []
        def keep_fitting():
            while not stop.is_set():
                wrong.extend([1] * (fit() != expected))
        fitting = threading.Thread(target=keep_fitting)
        fitting.start()
        for _ in range(4):
            fork_and_fit(expected)
        stop.set()
        fitting.join()
        assert not wrong
    """,
}


@needs_fork
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS's own libraries do not survive a fork")
@pytest.mark.parametrize("where", FORKS)
def test_fork(where):
    cases.run_python(textwrap.dedent(FORK) + textwrap.dedent(FORKS[where]), timeout=60)


def test_only_the_caller_polls(monkeypatch):
    """Restarts shared out over threads start regions of their own, in which each thread is number 0."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = sparse.csr_array(np.where(rng.random((6000, 60)) < 0.1, rng.random((6000, 60)), 0))
    polled = set()
    monkeypatch.setattr(ProgressBar, "update", lambda self, done: polled.add(threading.get_ident()))
    ckmeans.kmeans(X, 30, n_init=40, max_iter=20, seed=0, n_threads=2, progress=True)
    assert polled == {threading.get_ident()}
