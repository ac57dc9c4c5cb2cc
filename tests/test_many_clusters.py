"""So many clusters that sums are added up by owners of clusters instead of in partial sums."""

from __future__ import annotations

import checks
import numpy as np
import pytest
import reference
from cases import blobs

import ckmeans
from ckmeans import _engine, _engines, _points

M, N, K = 6000, 64, 2500  # partial sums would take ten times as much memory as X
TOLERANCE = {np.dtype(np.float32): 1.2e-7, np.dtype(np.float64): 1e-11}


def points(dtype, m=M, n=N):
    return blobs(m, n, 300).astype(dtype)


def weights_of(m=M):
    """Return weights of which some are zero."""
    rng = np.random.default_rng(1)
    return rng.random(m) * (rng.random(m) < 0.9)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("clusters", [K, M - 1, M])
def test_means_equal_reference(clusters, weighted, dtype):
    X, weights = points(dtype), weights_of() if weighted else None
    labels = np.random.default_rng(0).integers(0, clusters, M)
    centroids, counts = ckmeans.update(X, labels, clusters, sample_weight=weights)
    means, _ = reference.update(X, labels, clusters, weights)
    np.testing.assert_allclose(centroids, means, rtol=TOLERANCE[dtype], atol=1e-13)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=clusters))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("algorithm", ["dense", "screen"])
def test_fits_do_not_depend_on_threads(algorithm, weighted, dtype):
    X, weights = points(dtype), weights_of() if weighted else None
    options = {"init": "random", "seed": 2, "max_iter": 4, "sample_weight": weights}
    one = ckmeans.kmeans(X, K, algorithm=algorithm, n_threads=1, **options)
    checks.check_state(X, one, weights)
    for n_threads in (2, 3, 8):
        checks.assert_same(one, ckmeans.kmeans(X, K, algorithm=algorithm, n_threads=n_threads, **options))


def test_iterations_equal_reference():
    X, weights = points(np.float32, 3000, 128), weights_of(3000)
    found = ckmeans.kmeans(X, 1400, seed=1, init="random", max_iter=1, sample_weight=weights, keep_path=True)
    checks.check_path(X, found, weights)


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_engines_agree_on_empty_clusters(empty, dtype):
    X = points(dtype)
    start = np.concatenate([X[:2400], 1e3 + X[:100]])
    options = {"init": start, "empty": empty, "seed": 4, "max_iter": 10, "tol": 0, "keep_path": True}
    dense, screen = (ckmeans.kmeans(X, K, algorithm=name, **options) for name in ("dense", "screen"))
    assert len(dense.path) == len(screen.path) > 2
    for one, other in zip(dense.path, screen.path, strict=True):
        checks.assert_identical(one, other, "path")
    np.testing.assert_array_equal(dense.labels, screen.labels)


@pytest.mark.parametrize("algorithm", ["dense", "screen"])
def test_carried_sums_are_exact(algorithm):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((12_000, 256), np.float32) / np.arange(1, 257, dtype=np.float32)
    options = {"init": X[rng.choice(len(X), 700, replace=False)], "max_iter": 60, "tol": 0, "keep_path": True}
    one, many = (ckmeans.kmeans(X, 700, algorithm=algorithm, n_threads=n, **options) for n in (1, 3))
    checks.assert_same(one, many)
    assert len(one.path) > 5
    for centroids, J in zip(one.path, one.history, strict=True):
        assert ckmeans.distortion(X, centroids) == pytest.approx(J, rel=1e-12)
    assert one.distortion == ckmeans.distortion(X, one.centroids)


def test_layouts_and_chunks_agree():
    X = np.random.default_rng(5).integers(0, 9, (M, N)).astype(np.uint8)
    start = X[:K].astype(np.float32) + np.linspace(0, 0.5, K, dtype=np.float32)[:, None]
    options = {"init": start, "max_iter": 4, "keep_path": True}
    one = ckmeans.kmeans(X.astype(np.float32), K, algorithm="dense", **options)
    for same in (X, np.asfortranarray(X.astype(np.float32)), np.repeat(X, 2, axis=1)[:, ::2]):
        checks.assert_same(one, ckmeans.kmeans(same, K, algorithm="dense", **options))
    chunks = ckmeans.kmeans_chunks(lambda: np.array_split(X.astype(np.float32), 7), K, **options)
    checks.assert_same(one, chunks)


def test_squared_distances_equal_reference(dtype):
    X = points(dtype)
    labels, squared = ckmeans.assign(X, X[:K] + 0.25, return_squared_distance=True)
    expected = ((X.astype(float) - (X[:K] + X.dtype.type(0.25)).astype(float)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared, expected, rtol=1e-12)
    assert ckmeans.distortion(X, X[:K] + 0.25) == pytest.approx(expected.mean(), rel=1e-12)


def dense_labels(X, centroids):
    """Return the labels that the engine "dense" finds."""
    labels = np.empty(len(X), np.int32)
    points = _points.PreparedPoints(X, X.dtype.itemsize)
    places = _engine.Centroids(_points.Points(centroids, 8), X.dtype.itemsize, False)
    _engine.step(points, _engines.ENGINES["dense"], places, labels, None, _engine.ASSIGN, 2)
    return labels


@pytest.fixture(params=[1 << 26, M * N // 3], ids=["together", "in parts"])
def parts(request):
    before = _engine.set_part_values(request.param)
    yield
    _engine.set_part_values(before)


@pytest.mark.parametrize("prepared", [False, True], ids=["array", "prepared"])
def test_assignment_equals_dense(prepared, parts, dtype):
    X = points(dtype)
    centroids = X[:K] + dtype.type(0.5)
    given = ckmeans.prepare(X) if prepared else X
    labels, squared = ckmeans.assign(given, centroids, return_squared_distance=True)
    np.testing.assert_array_equal(labels, dense_labels(X, centroids))
    np.testing.assert_array_equal(labels, ckmeans.assign(np.asfortranarray(X), centroids, n_threads=1))
    expected = ((X.astype(float) - centroids.astype(float)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared, expected, rtol=1e-12)


def test_assignment_keeps_messages(parts, dtype):
    X = points(dtype)
    X[-1, 3] = np.nan
    with pytest.raises(ValueError, match="row 5999, column 3"):
        ckmeans.assign(X, X[:K])
