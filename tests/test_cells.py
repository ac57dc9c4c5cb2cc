"""The cells engine gives the dense engine's labels, bit for bit, and its sums up to rounding."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from checks import assert_same

import ckmeans

SIZES = (1, 2, 31, 32, 33, 255, 257, 2048, 2049, 5000, 20_000)


def line(m, n):
    return np.linspace(-1, 1, m)[:, None] * np.arange(1, n + 1)


def outlier(m, n):
    X = np.random.default_rng(1).normal(size=(m, n))
    X[m // 3] = 1e6
    return X


def adversarial(m, n):
    """Return data sets that are difficult for a k-d tree or for error bounds."""
    rng = np.random.default_rng([m, n])
    return {
        "all equal": np.full((m, n), 0.1),
        "two points": np.where(np.arange(m)[:, None] % 3 == 0, 1.0, -2.0) * np.ones(n),
        "line": line(m, n),
        "lattice": rng.integers(0, 4, (m, n)).astype(float),
        "outlier": outlier(m, n),
        "offset": 1e6 + rng.normal(size=(m, n)),
        "mixed scales": rng.normal(size=(m, n)) * 10.0 ** np.linspace(-4, 4, n),
        "tiny": 1e-12 * rng.normal(size=(m, n)),
        "zeros": rng.integers(-1, 2, (m, n)) * rng.integers(0, 2, (m, 1)) * 1.0,
        "heavy tail": rng.standard_cauchy(size=(m, n)) ** 3,
        "sorted blobs": np.sort(rng.normal(size=(m, n)) + 9 * rng.integers(0, 5, (m, 1)), axis=0),
    }


KINDS = tuple(adversarial(2, 2))


def check(X, K, *, weights=None, init=None, iterations=(1, 2, 7), **options):
    """Check that every assignment is the dense engine's for the same centroids."""
    init = cases.some_rows(X, K).astype(np.float64) if init is None else init
    for max_iter in iterations:
        options |= {"max_iter": max_iter, "tol": 0, "sample_weight": weights, "keep_path": True}
        r = ckmeans.kmeans(X, K, init=init, algorithm="cells", **options)
        assert r.algorithm == "cells"
        np.testing.assert_array_equal(r.labels, ckmeans.assign(X, r.centroids))
        np.testing.assert_array_equal(r.counts, np.bincount(r.labels, minlength=len(r.centroids)))
        for J, centroids in zip(r.history, r.path, strict=True):
            wanted = ckmeans.distortion(X, centroids, sample_weight=weights)
            np.testing.assert_allclose(J, wanted, rtol=1e-12)
    return r


def check_means(X, K, weights=None):
    """Check the sums of the first step, by the centroids that follow from them."""
    init = cases.some_rows(X, K).astype(np.float64)
    options = {"init": init, "max_iter": 1, "tol": 0, "keep_path": True, "sample_weight": weights}
    options |= {"empty": "reinit", "seed": 0}
    dense, cells = (ckmeans.kmeans(X, K, algorithm=name, **options) for name in ("dense", "cells"))
    moved = np.abs(X.astype(float) - init[ckmeans.assign(X, init)]).max()
    eps = np.finfo(cells.centroids.dtype).eps
    atol = 1e-12 * moved + eps * np.abs(dense.path[1]).max()
    np.testing.assert_allclose(cells.path[1], dense.path[1], rtol=0, atol=atol)
    np.testing.assert_allclose(cells.history[0], dense.history[0], rtol=1e-12)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_sizes(m, n, dtype):
    X = cases.make("blobs", m, n, dtype)
    check(X, min(m, 13))
    check_means(X, min(m, 13))


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("K", [1, 2, 15, 16, 17, 33, 300])
def test_features_and_clusters(n, K, dtype):
    check(cases.make("uniform", 3000, n, dtype), K)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_adversarial(name, n, dtype):
    for m in (40, 6000):
        X = adversarial(m, n)[name].astype(dtype)
        for K in (2, 24):
            check(X, K, empty="reinit", seed=1)
    check_means(X, 24)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_ties(n, dtype):
    """Points halfway between centroids: the lowest index wins, also for whole nodes."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (4000, n)).astype(dtype)
    grid = np.stack(np.meshgrid(*[np.arange(0, 9, 2.0)] * n), -1).reshape(-1, n)
    check(X, len(grid), init=rng.permutation(grid), empty="reinit", seed=0)
    check(X, 10, init=np.repeat(grid[:1], 10, axis=0), empty="reinit", seed=0)  # equal centroids


def test_as_many_clusters_as_points(dtype):
    X = cases.make("uniform", 500, 2, dtype)
    r = check(X, 500, init=X)
    assert r.distortion == 0


def test_one_far_centroid(dtype):
    X = cases.make("uniform", 9000, 3, dtype)
    init = np.vstack([X[:11], np.full((1, 3), 1e7, dtype)])
    check(X, 12, init=init)
    check(X, 12, init=init, empty="farthest")


@pytest.mark.parametrize("kind", ["blobs", "duplicates"])
@pytest.mark.parametrize("weighing", ["random", "zeros", "uneven"])
def test_weights(kind, weighing, dtype):
    X = cases.make(kind, 5000, 3, dtype)
    rng = np.random.default_rng(0)
    weights = rng.random(5000)
    if weighing == "zeros":
        weights[rng.random(5000) < 0.7] = 0
        weights[np.argsort(X[:, 0])[:500]] = 0
    if weighing == "uneven":
        weights = 10.0 ** rng.uniform(-12, 12, 5000)
    check(X, 12, weights=weights, empty="reinit", seed=0)
    check_means(X, 12, weights)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_pixels_are_deduplicated(n, weighted):
    """Equal bytes are deduplicated; the result is that of all points."""
    rng = np.random.default_rng(n)
    X = rng.normal(128, 3, (300_000, n)).clip(0, 255).astype(np.uint8)
    weights = rng.random(len(X)) if weighted else None
    r = check(X, 9, weights=weights, iterations=(1, 6))
    assert r.stats["bytes"] < 8 * len(X)
    same = check(X.astype(np.float32), 9, weights=weights, iterations=(6,))
    np.testing.assert_array_equal(r.labels, same.labels)
    Y = X.astype(np.float32)
    Y[-1] += 0.5  # not bytes
    check(Y, 9, weights=weights, iterations=(1,))


@pytest.mark.parametrize("m", [3000, 40_000])
@pytest.mark.parametrize("weighted", [False, True])
def test_threads(m, weighted, dtype):
    X = cases.make("blobs", m, 3, dtype)
    weights = np.random.default_rng(0).random(m) if weighted else None
    runs = [
        ckmeans.kmeans(X, 40, seed=5, init="random", n_init=n_init, algorithm="cells", sample_weight=weights,
                       n_threads=threads, max_iter=20)
        for n_init in (1, 4) for threads in (1, 2, 3, 8)
    ]  # fmt: skip
    for r in runs[1:4]:
        assert_same(r, runs[0])
    for r in runs[5:]:
        assert_same(r, runs[4])


def test_threads_on_deduplicated_pixels():
    X = np.random.default_rng(0).normal(99, 9, (270_000, 3)).clip(0, 255).astype(np.uint8)
    weights = np.random.default_rng(1).random(len(X))
    options = {"seed": 0, "init": "random", "sample_weight": weights, "algorithm": "cells", "max_iter": 5}
    runs = [ckmeans.kmeans(X, 7, n_threads=threads, **options) for threads in (1, 2, 3, 8)]
    for r in runs[1:]:
        assert_same(r, runs[0])


def test_same_fit_as_dense(dtype):
    """On data whose sums are exact in any order, all results are bit-identical."""
    X = np.random.default_rng(0).integers(-50, 50, (20_000, 3)).astype(dtype)
    for n_init in (1, 3):
        options = {"init": "random", "seed": 3, "n_init": n_init, "max_iter": 1, "tol": 0}
        dense, cells = (ckmeans.kmeans(X, 20, algorithm=name, **options) for name in ("dense", "cells"))
        np.testing.assert_array_equal(dense.centroids, cells.centroids)
        np.testing.assert_array_equal(dense.labels, cells.labels)
        np.testing.assert_allclose(dense.distortions, cells.distortions, rtol=1e-12)


def test_converges_to_a_stable_state(dtype):
    """Counts of changed labels are right when nodes are split and assigned whole again."""
    X = cases.make("blobs", 12_000, 2, dtype)
    r = ckmeans.kmeans(X, 8, init=X[:8], tol=0, max_iter=500, algorithm="cells")
    assert r.stop_reason == "stable"
    dense = ckmeans.kmeans(X, 8, init=X[:8], tol=0, max_iter=500, algorithm="dense")
    assert (r.n_iter, r.stop_reason) == (dense.n_iter, dense.stop_reason)
    np.testing.assert_array_equal(r.labels, dense.labels)


@pytest.mark.parametrize("n_init", [1, 3])
def test_empty_clusters(empty, n_init, dtype):
    X = cases.make("blobs", 5000, 2, dtype)
    far = np.full((3, 2), 1e4)

    def init(X, K, rng):
        return np.vstack([X[:5], far, X[9:12]])

    options = {"init": init, "empty": empty, "n_init": n_init, "seed": 0, "tol": 0, "max_iter": 30}
    if empty == "error":
        with pytest.raises(ValueError, match="cluster 5"):
            ckmeans.kmeans(X, 11, algorithm="cells", **options)
        return
    dense, cells = (ckmeans.kmeans(X, 11, algorithm=name, **options) for name in ("dense", "cells"))
    assert cells.centroids.shape == dense.centroids.shape
    np.testing.assert_array_equal(cells.labels, ckmeans.assign(X, cells.centroids))
    np.testing.assert_allclose(cells.distortion, dense.distortion, rtol=1e-6)


def test_stats(dtype):
    X = cases.make("blobs", 30_000, 2, dtype)
    r = ckmeans.kmeans(X, 30, seed=0, init="random", algorithm="cells", max_iter=5, tol=0)
    pairs = 30_000 * 30 * (r.n_iter + 1)
    assert r.stats["distances_computed"] + r.stats["distances_avoided"] == pairs
    assert 0 < r.stats["distances_computed"] < pairs / 5
    assert X.nbytes < r.stats["bytes"] < 2 * X.nbytes + 16 * len(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 4321, 8999])
def test_non_finite_values(bad, at, dtype):
    X = cases.make("uniform", 9000, 3, dtype)
    X[at, 1] = bad
    with pytest.raises(ValueError, match=f"row {at}, column 1"):
        ckmeans.kmeans(X, 5, algorithm="cells", init="random", seed=0)


def test_squares_beyond_float32():
    X = cases.make("uniform", 9000, 2, np.float32) * np.float32(1e25)
    assert check(X, 9, init=X[:9]).centroids.dtype == np.float64


def test_limits():
    with pytest.raises(ValueError, match="at most 8 features, found 9"):
        ckmeans.kmeans(np.zeros((20, 9)), 2, algorithm="cells")


def test_auto_chooses_cells_where_cheaper():
    X = cases.make("uniform", 20_000, 2, np.float32)
    assert ckmeans.kmeans(X, 64, max_iter=30, seed=0).algorithm == "cells"
    assert ckmeans.kmeans(X[:100], 4, max_iter=2, seed=0).algorithm == "dense"
    assert ckmeans.kmeans(X, 3, max_iter=2, seed=0).algorithm == "dense"
    assert ckmeans.kmeans(np.tile(X, (1, 16)), 64, max_iter=2, seed=0).algorithm == "dense"


def test_interruption():
    """A signal interrupts building the tree and the steps, and nothing hangs."""
    code = """
        import os, signal, threading, numpy as np, ckmeans
        X = np.random.default_rng(0).random((3_000_000, 6)).astype(np.float32)
        for delay in (0.1, 1.5):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                ckmeans.kmeans(X, 2000, init=X[:2000], algorithm="cells", max_iter=100000, tol=0)
            except KeyboardInterrupt:
                print("interrupted")
    """
    assert cases.run_python(code).split() == ["interrupted"] * 2
