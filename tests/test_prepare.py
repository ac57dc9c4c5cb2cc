"""Prepared points give bit-identical results to the points themselves."""

from __future__ import annotations

import copy
import pickle
import threading

import cases
import numpy as np
import pytest
from checks import assert_same, check_state

import ckmeans
from ckmeans import _points

PHOTO = 1 << 18  # rows from which on points are deduplicated


def photo(n=3, dtype=np.uint8, m=PHOTO + 777, colours=5000, seed=0):
    """Return pixels that share few colours."""
    rng = np.random.default_rng([seed, n])
    return rng.integers(0, 256, (colours, n))[rng.integers(0, colours, m)].astype(dtype)


# ---- bit-identical results ---------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["float32", "float64", "float16", "uint8", "int32", ">f4"])
def test_every_engine(name, weighted, algorithm):
    X = (100 + 40 * cases.make("blobs", 5000, 2)).astype(name)
    weights = np.random.default_rng(0).random(len(X)) if weighted else None
    prepared = ckmeans.prepare(X, sample_weight=weights)
    for K in (1, 2, 7, 40):
        for options in ({}, {"n_init": 3}, {"init": "random", "empty": "farthest"}, {"init": X[:K]}):
            options = {"seed": K, "algorithm": algorithm, **options}
            expected = ckmeans.kmeans(X, K, sample_weight=weights, **options)
            assert_same(expected, ckmeans.kmeans(prepared, K, **options))


@pytest.mark.parametrize("n", [1, 5, 8, 9, 70])
def test_auto_chooses_the_same_engine(n):
    X = cases.make("blobs", 30_000, n, np.float32)
    prepared = ckmeans.prepare(X)
    for K in (2, 50):
        options = {"seed": 0, "max_iter": 5}
        assert_same(ckmeans.kmeans(X, K, **options), ckmeans.kmeans(prepared, K, **options))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "of",
    [
        lambda X: X,
        lambda X: X.astype(np.float32),
        lambda X: np.asfortranarray(X),
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1, ::-1],
        lambda X: X + np.float32(0.5),
    ],
    ids=["bytes", "float32", "Fortran", "every other", "reversed", "not bytes"],
)
def test_photos_of_any_layout(of, weighted):
    X = of(photo())
    weights = np.random.default_rng(0).integers(0, 3, len(X)) if weighted else None
    prepared = ckmeans.prepare(X, sample_weight=weights)
    for K in (1, 2, 20):
        options = {"seed": K, "max_iter": 4}
        expected = ckmeans.kmeans(X, K, sample_weight=weights, **options)
        assert_same(expected, ckmeans.kmeans(prepared, K, **options))
        check_state(X, expected, weights)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_prepared_photo_every_engine(n):
    X = photo(n, colours=200)
    prepared = ckmeans.prepare(X)
    for algorithm in ("dense", "cells", "screen", "dense", "auto"):
        options = {"seed": 1, "max_iter": 3, "algorithm": algorithm}
        assert_same(ckmeans.kmeans(X, 6, **options), ckmeans.kmeans(prepared, 6, **options))


@pytest.mark.parametrize("kind", ["blobs", "photo", "many features"])
def test_single_steps(kind):
    X = {
        "blobs": cases.make("blobs", 60_000, 3),
        "photo": photo(),
        "many features": cases.make("blobs", 900, 30),
    }
    X = X[kind]
    rng = np.random.default_rng(0)
    weights = rng.random(len(X))
    plain, weighted = ckmeans.prepare(X), ckmeans.prepare(X, sample_weight=weights)
    for K in (1, 3, 64):
        centroids = X[rng.integers(0, len(X), K)] + rng.random((K, X.shape[1]))
        labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
        for prepared in (plain, weighted):
            out = np.full(len(X), -1, np.int32)
            assert ckmeans.assign(prepared, centroids, out=out) is out
            np.testing.assert_array_equal(out, labels)
            found = ckmeans.assign(prepared, centroids, return_squared_distance=True)
            np.testing.assert_array_equal(found[0], labels)
            np.testing.assert_array_equal(found[1], squared)
        for given in (None, labels):
            assert ckmeans.distortion(plain, centroids, given) == ckmeans.distortion(X, centroids, given)
            expected = ckmeans.distortion(X, centroids, given, sample_weight=weights)
            assert ckmeans.distortion(weighted, centroids, given) == expected
        for a, b in zip(
            ckmeans.update(X, labels, K, sample_weight=weights),
            ckmeans.update(weighted, labels, K),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
        for method in ("k-means++", "random"):
            expected = ckmeans.init_centroids(X, K, method, seed=3, sample_weight=weights)
            np.testing.assert_array_equal(ckmeans.init_centroids(weighted, K, method, seed=3), expected)


def test_elbow_and_compare():
    X = cases.make("blobs", 40_000, 2)
    a, b = ckmeans.elbow(X, range(1, 6), seed=0), ckmeans.elbow(ckmeans.prepare(X), range(1, 6), seed=0)
    np.testing.assert_array_equal(a.distortions, b.distortions)
    np.testing.assert_array_equal(a.silhouette, b.silhouette)
    weights = np.random.default_rng(0).random(len(X))
    one = ckmeans.compare(X, [2, 3], sample_weight=weights, seed=0, n_init=2)
    two = ckmeans.compare(ckmeans.prepare(X, sample_weight=weights), [2, 3], seed=0, n_init=2)
    assert repr(one) == repr(two)
    with pytest.raises(ValueError, match="sample_weight must be given to prepare"):
        ckmeans.compare(ckmeans.prepare(X), [2, 3], sample_weight=weights)


def test_sparse_rows():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random_array((3000, 60), density=0.05, rng=np.random.default_rng(0), format="csr")
    prepared = ckmeans.prepare(X)
    for K in (2, 9):
        assert_same(ckmeans.kmeans(X, K, seed=0), ckmeans.kmeans(prepared, K, seed=0))
        centroids = ckmeans.init_centroids(prepared, K, seed=1)
        np.testing.assert_array_equal(ckmeans.assign(prepared, centroids), ckmeans.assign(X, centroids))
        assert ckmeans.distortion(prepared, centroids) == ckmeans.distortion(X, centroids)


def test_values_beyond_float32():
    """Values whose squares float32 cannot hold are computed in float64, in every call."""
    X = cases.make("blobs", 5000, 3, np.float32)
    X[17] = 1e25
    prepared = ckmeans.prepare(X)
    for algorithm in ("cells", "dense", "cells"):
        found = ckmeans.kmeans(prepared, 5, seed=0, algorithm=algorithm)
        assert found.centroids.dtype == np.float64
        assert_same(ckmeans.kmeans(X, 5, seed=0, algorithm=algorithm), found)
    far = np.array([[0.0, 0, 0], [1e30, 0, 0]])
    np.testing.assert_array_equal(ckmeans.assign(prepared, far), ckmeans.assign(X, far))


def test_callable_start_gets_original_points():
    X = cases.make("blobs", 100, 2)
    seen = []
    ckmeans.kmeans(ckmeans.prepare(X), 2, init=lambda data, K, rng: seen.append(data) or data[:K])
    assert seen[0] is X


# ---- seeds of photos ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_plus_plus_draws_by_multiplicity(weighted):
    X = photo()
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float) if weighted else np.ones(len(X))
    colours, inverse = np.unique(X, axis=0, return_inverse=True)
    multiplicities = np.bincount(inverse.ravel(), weights)
    for K in (1, 5, 40):
        expected = ckmeans.init_centroids(colours.astype(np.float32), K, seed=2, sample_weight=multiplicities)
        found = ckmeans.init_centroids(X, K, seed=2, sample_weight=weights if weighted else None)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("late", [False, True], ids=["bytes", "no bytes at the end"])
def test_photo_in_chunks(dtype, late):
    X = photo(dtype=dtype)
    if late and dtype == np.float32:
        X[-1] = 0.5
    expected = ckmeans.kmeans(X, 9, seed=4, algorithm="dense", max_iter=2)
    before = _points.set_window_bytes(1 << 20)
    try:
        for cuts in ([1000, 200_000], [], list(range(5000, len(X), 5000))):
            found = ckmeans.kmeans_chunks(np.split(X, cuts), 9, seed=4, max_iter=2)
            assert_same(expected, found)
    finally:
        _points.set_window_bytes(before)


def test_more_clusters_than_colours():
    X = photo(colours=5)
    for algorithm in ("dense", "cells"):
        r = ckmeans.kmeans(X, 9, seed=0, algorithm=algorithm)
        assert r.distortion == 0
        assert len(np.unique(r.centroids, axis=0)) == 5


# ---- use by threads ----------------------------------------------------------------------------------


def test_threads_share_prepared_points():
    X = photo(colours=20_000)
    expected = [ckmeans.kmeans(X, K, seed=K, max_iter=5) for K in (3, 5, 8, 13)]
    for _ in range(3):
        prepared = ckmeans.prepare(X)
        found: list = [None] * len(expected)
        start = threading.Barrier(len(expected))

        def work(i, K, prepared=prepared, found=found, start=start):
            start.wait()
            found[i] = ckmeans.kmeans(prepared, K, seed=K, max_iter=5)

        threads = [threading.Thread(target=work, args=(i, K)) for i, K in enumerate((3, 5, 8, 13))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(expected, found, strict=True):
            assert_same(a, b)


def test_results_do_not_depend_on_threads():
    X = cases.make("uniform", 50_000, 3)
    one = ckmeans.kmeans(ckmeans.prepare(X), 20, seed=0, n_threads=1)
    prepared = ckmeans.prepare(X)
    for n_threads in (3, 1, None):
        assert_same(one, ckmeans.kmeans(prepared, 20, seed=0, n_threads=n_threads))


# ---- attributes and repr -----------------------------------------------------------------------------


def test_memory_is_allocated_when_needed():
    X = photo()
    prepared = ckmeans.prepare(X)
    assert prepared.nbytes == 0
    ckmeans.kmeans(prepared, 3, seed=0, init="random", algorithm="dense", max_iter=1)
    assert prepared.nbytes == 0
    ckmeans.kmeans(prepared, 3, seed=0, algorithm="dense", max_iter=1)
    distinct = len(np.unique(X, axis=0))
    deduplicated = prepared.nbytes
    assert 4 * len(X) + 28 * distinct <= deduplicated <= 4 * len(X) + 29 * distinct + 1000
    r = ckmeans.kmeans(prepared, 3, seed=0, algorithm="cells", max_iter=1)
    with_tree = prepared.nbytes
    assert deduplicated + 16 * distinct < with_tree < deduplicated + 60 * distinct
    assert r.stats["bytes"] > with_tree
    ckmeans.kmeans(prepared, 9, seed=0, algorithm="cells", max_iter=1)
    assert prepared.nbytes == with_tree
    assert (
        repr(prepared)
        == f"<ckmeans.Prepared: {len(X)} x 3 uint8, {distinct} distinct, {with_tree / 1e6:.1f} MB>"
    )


def test_shape_and_dtype():
    prepared = ckmeans.prepare([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], sample_weight=[1, 2, 3])
    assert (len(prepared), prepared.shape, prepared.size) == (3, (3, 2), 6)
    assert prepared.dtype == np.float64
    assert repr(prepared) == "<ckmeans.Prepared: 3 x 2 float64, weighted, 0.0 MB>"


# ---- wrong arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda p, w: ckmeans.kmeans(p, 2, sample_weight=w),
        lambda p, w: ckmeans.update(p, np.zeros(10, int), 2, sample_weight=w),
        lambda p, w: ckmeans.distortion(p, np.zeros((1, 2)), sample_weight=w),
        lambda p, w: ckmeans.init_centroids(p, 2, sample_weight=w),
        lambda p, w: ckmeans.elbow(p, [1, 2], sample_weight=w),
    ],
    ids=["kmeans", "update", "distortion", "init_centroids", "elbow"],
)
def test_weights_belong_to_prepare(call):
    with pytest.raises(ValueError, match="sample_weight must be given to prepare"):
        call(ckmeans.prepare(cases.make("blobs", 10, 2)), np.ones(10))


def test_wrong_points_and_weights():
    for X, error, message in (
        (np.zeros(3), ValueError, "X must be 2-dimensional"),
        (np.zeros((0, 2)), ValueError, "X must have at least one row"),
        ([["a"]], TypeError, "X must hold real numbers"),
        (ckmeans.prepare([[1.0]]), TypeError, "X is prepared already"),
    ):
        with pytest.raises(error, match=message):
            ckmeans.prepare(X)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(2,\)"):
        ckmeans.prepare([[1.0], [2.0]], sample_weight=[1.0])
    with pytest.raises(ValueError, match="at most 8 features"):
        ckmeans.kmeans(ckmeans.prepare(np.ones((4, 9))), 1, algorithm="cells")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["cells", "dense"])
def test_non_finite_values(algorithm, dtype):
    X = cases.make("blobs", PHOTO + 10, 2, dtype)
    X[PHOTO, 1] = np.nan
    prepared = ckmeans.prepare(X)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"X must be finite, found nan at row {PHOTO}, column 1"):
            ckmeans.kmeans(prepared, 4, algorithm=algorithm)
    with pytest.raises(ValueError, match="X must be finite"):
        ckmeans.assign(prepared, np.zeros((50, 2)))


def test_no_array_no_pickle_no_copy():
    prepared = ckmeans.prepare(cases.make("blobs", 10, 2))
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            call(prepared)
    for call in (np.asarray, lambda p: ckmeans.KMeans(2).fit(p), lambda p: ckmeans.update([[1, 2]], p, 1)):
        with pytest.raises(TypeError, match="prepared are not an array"):
            call(prepared)


@pytest.mark.parametrize("n", [3, 64])
@pytest.mark.parametrize("m", [1, 40, 3000])
def test_prepared_centroids(m, n, dtype):
    X, places = cases.make("blobs", m, n, dtype), cases.make("uniform", 1500, n, dtype)
    prepared = ckmeans.prepare(places)
    for given in (X, X.astype(np.float64), np.rint(X).astype(np.int32), ckmeans.prepare(X), X * 1e18):
        for _ in range(2):
            labels = ckmeans.assign(given, prepared)
            np.testing.assert_array_equal(labels, ckmeans.assign(given, places))
            assert ckmeans.distortion(given, prepared) == ckmeans.distortion(given, places)
    assert prepared.nbytes > 2 * places.nbytes
    np.testing.assert_array_equal(
        ckmeans.kmeans(prepared, 9, seed=0).labels, ckmeans.kmeans(places, 9, seed=0).labels
    )


def test_unfit_prepared_centroids():
    sparse = pytest.importorskip("scipy.sparse")
    X = cases.make("blobs", 50, 64, np.float32)
    for wrong in (ckmeans.prepare(X, sample_weight=np.ones(50)), ckmeans.prepare(sparse.csr_array(X))):
        with pytest.raises(ValueError, match="centroids must be dense and without weights, found <ckmeans"):
            ckmeans.assign(X, wrong)
    with pytest.raises(ValueError, match="centroids must have 7 features, as X has"):
        ckmeans.assign(X[:, :7], ckmeans.prepare(X))
    with pytest.raises(ValueError, match="centroids must be finite"):
        ckmeans.assign(X, ckmeans.prepare(np.where(np.arange(64) == 5, np.nan, X)))
