"""Starts of fewer than K rows, which k-means++ completes, and the rows of X that seeds are."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from checks import assert_same, check_state

import ckmeans


def fitted(X, given, **options):
    """Return the fit from a partial start, and that from the same start after it was completed."""
    start = ckmeans.init_centroids(X, 9, given, seed=3, sample_weight=options.get("sample_weight"))
    partial = ckmeans.kmeans(X, 9, init=given, seed=3, **options)
    return partial, ckmeans.kmeans(X, 9, init=start, seed=3, **options), start


@pytest.mark.parametrize("kind", cases.KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_start_is_completed(kind, weighted, dtype):
    X = cases.make(kind, 1100, 5, dtype)
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float) if weighted else None
    for count in (1, 4, 8):
        given = X[:count] + np.float32(0.5)
        partial, completed, start = fitted(X, given, sample_weight=weights)
        assert_same(partial, completed)
        np.testing.assert_array_equal(start[:count], given.astype(dtype))
        check_state(X, partial, weights)


def test_given_rows_are_not_drawn_again():
    """Points at a given centroid have probability 0."""
    X = np.repeat(np.arange(12.0)[:, None] * 1000, 50, axis=0)
    given = np.array([[3000.0], [7000.0], [11000.0]])
    for seed in range(20):
        start = ckmeans.init_centroids(X, 12, given, seed=seed)
        assert sorted(start[:, 0]) == sorted(set(X[:, 0]))


def test_weights_decide_what_is_drawn():
    X, weights = np.arange(100.0)[:, None], np.zeros(100)
    weights[[0, 40, 90]] = 1
    for seed in range(10):
        start = ckmeans.init_centroids(X, 3, [[0.0]], seed=seed, sample_weight=weights)
        assert sorted(start[:, 0]) == [0, 40, 90]


def test_restarts_complete_in_different_ways():
    X = cases.make("uniform", 2000, 3)
    alone = [ckmeans.kmeans(X, 12, init=X[:2], seed=5, n_threads=n, n_init=6) for n in (1, 2)]
    assert len(set(alone[0].distortions)) > 1
    assert_same(*alone)
    first = ckmeans.kmeans(X, 12, init=ckmeans.init_centroids(X, 12, X[:2], seed=5))
    assert first.distortion == alone[0].distortions[0]


@pytest.mark.parametrize("form", ["sparse", "chunks", "prepared", "photo", "frame"])
def test_partial_start_of_other_points(form):
    rng = np.random.default_rng(1)
    shape = (300_000, 3) if form == "photo" else (1500, 4)
    X = (rng.integers(0, 12, shape) * (rng.random(shape) < 0.7)).astype(np.uint8)
    call, points, options = ckmeans.kmeans, X, {"init": X[:2], "seed": 0, "max_iter": 5}
    if form == "sparse":
        points = pytest.importorskip("scipy.sparse").csr_array(X)
    elif form == "chunks":
        call, points, options = ckmeans.kmeans_chunks, [X[:700], X[700:]], options | {"algorithm": "dense"}
    elif form == "frame":
        points = pytest.importorskip("pandas").DataFrame(X)
    elif form == "prepared":
        points = ckmeans.prepare(X)
    found = call(points, 6, **options)
    if form == "sparse":
        np.testing.assert_allclose(found.distortion, ckmeans.kmeans(X, 6, **options).distortion, rtol=0.1)
        np.testing.assert_array_equal(found.labels, ckmeans.assign(points, found.centroids))
    else:
        assert_same(found, ckmeans.kmeans(X, 6, **options))


def test_wrong_partial_starts():
    X = cases.make("blobs", 30, 2)
    for call in (
        lambda given: ckmeans.kmeans(X, 3, init=given),
        lambda given: ckmeans.init_centroids(X, 3, given),
    ):
        with pytest.raises(ValueError, match=r"must have K=3 rows, or fewer .*found shape \(4, 2\)"):
            call(X[:4])
        with pytest.raises(ValueError, match="must be finite, found nan at row 0, column 1"):
            call([[0, np.nan]])
        with pytest.raises(ValueError, match="must have 2 features"):
            call(X[:2, :1])
    for rows in (2, 4):
        with pytest.raises(ValueError, match="does not match the number of clusters 3"):
            ckmeans.KMeans(3, init=X[:rows]).fit(X)
        with pytest.raises(ValueError, match=r"init\(X, K, rng\) must have K=3 rows, found"):
            ckmeans.kmeans(X, 3, init=lambda X, K, rng, rows=rows: X[:rows])


# ---- the rows of seeds -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["k-means++", "random"])
@pytest.mark.parametrize("kind", [*cases.KINDS, "photo", "few values"])
@pytest.mark.parametrize("weighted", [False, True])
def test_indices_are_rows_of_seeds(kind, method, weighted):
    rng = np.random.default_rng(2)
    if kind == "photo":
        X = rng.integers(0, 20, (300_000, 3)).astype(np.uint8)
    elif kind == "few values":
        X = rng.integers(0, 2, (500, 2)).astype(float)
    else:
        X = cases.make(kind, 1500, 4, np.float32)
    weights = (rng.random(len(X)) < 0.3) * 2.0 if weighted else None
    for points in (X, ckmeans.prepare(X, sample_weight=weights)):
        options = {"seed": 4, "sample_weight": weights if points is X else None}
        centroids, indices = ckmeans.init_centroids(points, 20, method, return_indices=True, **options)
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(X[indices].astype(centroids.dtype), centroids)
        np.testing.assert_array_equal(ckmeans.init_centroids(points, 20, method, **options), centroids)
        assert weights is None or (weights[indices] > 0).all()
    if kind not in ("few values", "duplicates", "lattice"):
        assert len(set(indices)) == 20


def test_indices_of_given_centroids():
    X = cases.make("uniform", 200, 3)
    centroids, indices = ckmeans.init_centroids(X, 5, X[[7, 9]], seed=0, return_indices=True)
    assert indices[:2].tolist() == [-1, -1]
    np.testing.assert_array_equal(X[indices[2:]], centroids[2:])
    for method in (X[:5], lambda X, K, rng: X[:K]):
        _, indices = ckmeans.init_centroids(X, 5, method, return_indices=True)
        assert (indices == -1).all()


def test_indices_of_chunks_and_sparse_rows():
    sparse = pytest.importorskip("scipy.sparse")
    X = np.round(cases.make("uniform", 900, 6) * 3)
    rows = sparse.csr_array(X)
    for method in ("k-means++", "random"):
        centroids, indices = ckmeans.init_centroids(rows, 8, method, seed=0, return_indices=True)
        np.testing.assert_array_equal(X[indices], centroids)
