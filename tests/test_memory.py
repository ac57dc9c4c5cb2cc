"""Memory that is cached between calls."""

import sys
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest

import ckmeans

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
PAGE = 4096


def fit(X, K):
    return ckmeans.kmeans(X, K, init="random", n_init=1, max_iter=3, seed=0, algorithm="dense", n_threads=2)


def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


@LINUX
def test_second_call_faults_few_pages():
    import resource

    X = np.random.default_rng(0).random((3000, 200), np.float32)
    pages = fit(X, 300).stats["bytes"] // PAGE
    fit(X, 300)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        fit(X, 300)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages  # all ten together
    assert pages > 500


@LINUX
def test_cache_is_bounded_after_large_call():
    X = np.random.default_rng(0).random((4000, 3000), np.float32)
    fit(X[:100], 10)
    before = anonymous()
    result = fit(X, 2000)
    held = result.centroids.nbytes + result.labels.nbytes
    assert result.stats["bytes"] > 100 << 20
    assert anonymous() - before - held < 140 << 20  # 128 MiB, plus memory of threads and numpy


MANY_CLUSTERS = """
    import sys
    import numpy as np
    import ckmeans

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    m, n, K = 50_000, 128, 8192
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n), np.float32) * np.arange(1, n + 1, dtype=np.float32) ** -0.35
    start = {start}
    options = {{"n_init": 1, "tol": 0, "seed": 0, "n_threads": 2, "algorithm": "{algorithm}"}}
    ckmeans.kmeans(X[:1000], 10, init="random", **options)
    ckmeans.release_memory()
    before = peak()
    ckmeans.kmeans(X, K, init=start, max_iter=5, **options)
    print(peak() - before, 0.6 * X.nbytes + 24 * K * n)
"""


@LINUX
@pytest.mark.parametrize("algorithm", ["auto", "dense", "screen"])
@pytest.mark.parametrize("start", ["X[rng.choice(m, K, replace=False)]", "'random'"], ids=["given", "random"])
def test_many_clusters_take_little_memory(start, algorithm):
    """A process of its own, as the peak never falls."""
    grown, limit = cases.run_python(MANY_CLUSTERS.format(start=start, algorithm=algorithm)).split()
    assert float(grown) <= float(limit)


def test_concurrent_calls_share_no_memory():
    rng = np.random.default_rng(1)
    shapes = [(900, 60, 90), (1500, 40, 60), (700, 130, 40)] * 8
    tasks = [(rng.random((m, n), np.float32), K) for m, n, K in shapes]
    alone = [fit(X, K) for X, K in tasks]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda task: fit(*task), tasks * 3))
    for one, other in zip(alone * 3, together, strict=True):
        assert np.array_equal(one.centroids, other.centroids)
        assert np.array_equal(one.labels, other.labels)
