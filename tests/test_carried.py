"""Whole runs: bounds and sums that engines carry from step to step change no result."""

import numpy as np
import pytest
from cases import blobs

import ckmeans


def grains(m, n, seed=0):
    """Return points of few distinct values."""
    return np.random.default_rng(seed).integers(0, 4, (m, n)).astype(np.uint8)


def smooth(m, n, seed=0):
    """Return points with a falling spectrum and no clusters."""
    return np.random.default_rng(seed).standard_normal((m, n)) / np.arange(1, n + 1)


DATA = {
    "blobs": blobs(6000, 24, 40),
    "far from the origin": blobs(4000, 24, 40) + 1e5,
    "grains": grains(5000, 20),
    "smooth": smooth(6000, 70),
    "one cluster far away": np.concatenate([blobs(3000, 30, 10), blobs(50, 30, 1) + 1e7]),
}


def run(X, K, algorithm, **options):
    start = X[np.random.default_rng(K).choice(len(X), K, replace=False)]
    options = {"init": start, "max_iter": 200, "tol": 0, "empty": "farthest", **options}
    return ckmeans.kmeans(X, K, algorithm=algorithm, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("K", [3, 40, 150])
@pytest.mark.parametrize("name", DATA)
def test_whole_runs_are_exact(name, K, dtype):
    X = DATA[name] if DATA[name].dtype == np.uint8 else DATA[name].astype(dtype)
    screen = run(X, K, "screen", keep_path=True)
    assert screen.algorithm == "screen"
    assert len(screen.history) > 3
    for centroids, J in zip(screen.path, screen.history, strict=True):
        assert ckmeans.distortion(X, centroids) == pytest.approx(J, rel=1e-12)
    np.testing.assert_array_equal(screen.labels, ckmeans.assign(X, screen.centroids))
    np.testing.assert_array_equal(screen.counts, np.bincount(screen.labels, minlength=K))
    assert screen.distortion == ckmeans.distortion(X, screen.centroids)
    assert (np.diff(screen.history) <= 0).all()


# Points of "grains" tie with many centroids until the last step.
@pytest.mark.parametrize("name", sorted(set(DATA) - {"grains"}))
def test_later_steps_avoid_distances(name):
    X = DATA[name].astype(np.float32)
    few, many = (run(X, 40, "screen", max_iter=steps).stats["distances_computed"] for steps in (1, 200))
    steps = run(X, 40, "screen").n_iter
    assert many < few + 0.5 * len(X) * 40 * steps


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_empty_clusters(empty):
    X = blobs(3000, 20, 12).astype(np.float32)
    start = np.concatenate([X[:30], 1e3 + X[:6]])
    options = {"empty": empty, "seed": 5, "max_iter": 60, "tol": 0, "keep_path": True}
    dense, screen = (ckmeans.kmeans(X, 36, init=start, algorithm=a, **options) for a in ("dense", "screen"))
    assert len(dense.path) == len(screen.path) > 3
    for one, other in zip(dense.path, screen.path, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(dense.labels, screen.labels)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_threads(n_threads):
    X = DATA["blobs"].astype(np.float32)
    one, many = (run(X, 60, "screen", n_threads=threads) for threads in (1, n_threads))
    assert one.centroids.tobytes() == many.centroids.tobytes()
    assert one.history.tobytes() == many.history.tobytes()
    assert {**one.stats, "bytes": 0} == {**many.stats, "bytes": 0}


def test_restarts():
    X = DATA["smooth"].astype(np.float32)
    options = {"n_init": 4, "seed": 3, "max_iter": 60}
    dense, screen = (ckmeans.kmeans(X, 25, algorithm=a, **options) for a in ("dense", "screen"))
    np.testing.assert_array_equal(screen.labels, dense.labels)
    np.testing.assert_allclose(screen.distortions, dense.distortions, rtol=1e-12)


@pytest.mark.parametrize("n", [16, 60])
def test_parallel_restarts_are_bit_identical(n):
    X = blobs(5000, n, 60).astype(np.float32)
    options = {"n_init": 5, "seed": 1, "max_iter": 100, "tol": 0, "keep_path": True}
    one, many = (ckmeans.kmeans(X, 40, n_threads=threads, **options) for threads in (1, 4))
    assert one.history.tobytes() == many.history.tobytes()
    assert one.distortions.tobytes() == many.distortions.tobytes()
    assert one.distortion == one.history[-1] == one.distortions.min()
    np.testing.assert_array_equal(one.labels, many.labels)


def test_restarts_after_dropped_clusters():
    """Restarts run in order if they are large, so that each may hand over to screening."""
    X = blobs(20_000, 40, 2700).astype(np.float32)
    K, far = 2750, np.full((50, 40), 1e4, np.float32)

    def init(X, K, rng):
        return np.concatenate([X[rng.choice(len(X), K - 50, replace=False)], far])

    options = {"init": init, "n_init": 3, "seed": 1, "tol": 0, "max_iter": 30}
    dense, auto = (ckmeans.kmeans(X, K, algorithm=a, **options) for a in ("dense", "auto"))
    assert len(auto.centroids) == len(dense.centroids) <= K - 50
    assert auto.algorithm == "screen"
    np.testing.assert_array_equal(auto.labels, dense.labels)
    np.testing.assert_allclose(auto.distortions, dense.distortions, rtol=1e-12)
    assert auto.distortion == auto.history[-1]


def test_auto_hands_over_to_screen():
    X = blobs(20_000, 24, 300, spread=2.0).astype(np.float32)
    dense, auto = run(X, 300, "dense"), run(X, 300, "auto")
    assert (dense.algorithm, auto.algorithm) == ("dense", "screen")
    assert auto.stats["distances_computed"] < 0.8 * dense.stats["distances_computed"]
    np.testing.assert_array_equal(auto.labels, dense.labels)
    np.testing.assert_allclose(auto.history, dense.history, rtol=1e-12)
    short = run(X, 300, "auto", max_iter=3)
    assert short.algorithm == "dense"


def test_weighted_runs_are_bit_identical():
    X = DATA["blobs"].astype(np.float32)
    weights = np.random.default_rng(2).random(len(X))
    dense, screen = (run(X, 40, a, sample_weight=weights) for a in ("dense", "screen"))
    assert dense.centroids.tobytes() == screen.centroids.tobytes()
    np.testing.assert_array_equal(dense.labels, screen.labels)


def texts(m, n, K, seed=0):
    """Return sparse unit rows of overlapping topics."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(seed)
    likely = rng.exponential(size=(K, n)) ** 4
    likely /= likely.max(axis=1, keepdims=True)
    X = rng.random((m, n)) * (rng.random((m, n)) < 0.2 * likely[rng.integers(K, size=m)])
    X[np.arange(m), rng.integers(n, size=m)] += 0.5
    return sparse.csr_array((X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32))


def close_together(m, n, K, seed=0):
    """Return rows much nearer to their centroids than to the origin: sums relative to it lose all digits."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(seed)
    middles = rng.integers(1, 5, (K, n)) * 100.0
    X = middles[rng.integers(K, size=m)] + rng.normal(scale=0.3, size=(m, n))
    return sparse.csr_array(X.astype(np.float32))


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
@pytest.mark.parametrize(("make", "m", "n", "K"), [(texts, 4000, 300, 25), (close_together, 20000, 12, 40)])
def test_sums_of_sparse_rows(make, m, n, K, empty):
    X = make(m, n, K)
    start = X.toarray()[np.random.default_rng(1).choice(m, K, replace=False)]
    options = {"init": start, "max_iter": 100, "tol": 0, "empty": empty, "seed": 3, "keep_path": True}
    found = ckmeans.kmeans(X, K, **options)
    assert len(found.history) > 4
    for centroids, J in zip(found.path, found.history, strict=True):
        assert ckmeans.distortion(X, centroids) == pytest.approx(J, rel=1e-12)
    np.testing.assert_array_equal(found.counts, np.bincount(found.labels, minlength=len(found.centroids)))
    assert found.distortion == ckmeans.distortion(X, found.centroids)
    assert (np.diff(found.history) <= 0).all()
    again = ckmeans.kmeans(X, K, n_threads=3, **options)
    assert found.centroids.tobytes() == again.centroids.tobytes()
    assert found.history.tobytes() == again.history.tobytes()
