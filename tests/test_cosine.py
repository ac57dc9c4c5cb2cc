"""The metric "cosine": spherical k-means."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference
from checks import assert_same
from test_bad_input import refused

import ckmeans

SHAPES = [(5, 1, 2), (64, 2, 5), (700, 3, 12), (513, 8, 7), (1100, 17, 25), (3000, 100, 40), (900, 257, 10)]
DTYPES = ["f2", "f4", "f8", "u1", "i4", ">f4"]
SPARSE_ROWS = ["csr_array", "csc_array"]


def rows_of_any_length(m, n, dtype="f8", seed=0):
    """Return groups of directions, with lengths of some orders of magnitude; none is zero."""
    rng = np.random.default_rng([seed, m, n])
    X = cases.blobs(m, n, seed=seed) + 0.5
    X *= np.exp(rng.normal(0, 2, (m, 1)))
    if np.dtype(dtype).kind in "iu":
        X = np.clip(np.abs(10 * X), 1, 200)
    return X.astype(dtype)


def computing_eps(X):
    """Return the precision of the dtype in which X is computed."""
    return float(np.finfo(reference.computing_dtype(X)).eps)


def check_labels(X, centroids, labels):
    """Check the labels that are certain against the reference; all others are nearly as good."""
    best, certain = reference.certain_directions(X, centroids, reference.computing_dtype(X))
    np.testing.assert_array_equal(labels[certain], best[certain])


def check_state(X, r, weights=None):
    """Check that all fields of the result describe the same state."""
    eps = computing_eps(X)
    np.testing.assert_allclose(np.linalg.norm(r.centroids.astype(float), axis=1), 1, rtol=2 * eps + 1e-14)
    np.testing.assert_array_equal(r.labels, ckmeans.assign(X, r.centroids, metric="cosine"))
    assert r.distortion == ckmeans.distortion(X, r.centroids, sample_weight=weights, metric="cosine")
    assert r.distortion == r.history[-1] == min(r.distortions)
    assert (np.diff(r.history) <= 0).all(), r.history
    np.testing.assert_array_equal(r.counts, np.bincount(r.labels, minlength=len(r.centroids)))
    check_labels(X, r.centroids, r.labels)


def check_path(X, r, weights=None):
    """Check that every iteration of a kept path is one of spherical k-means."""
    eps = computing_eps(X)
    for i, centroids in enumerate(r.path):
        labels = ckmeans.assign(X, centroids, metric="cosine")
        check_labels(X, centroids, labels)
        J = reference.cosine_distortion(X, centroids, labels, weights)
        np.testing.assert_allclose(r.history[i], J, rtol=2 * eps + 1e-12, atol=eps**2)
        if i + 1 < len(r.path) and len(r.path[i + 1]) == len(centroids):
            wanted, lengths = reference.mean_directions(X, labels, len(centroids), weights)
            moved = lengths > 1e-3
            slack = (2 * eps / lengths)[moved, None] + 1e-14
            assert (np.abs(r.path[i + 1] - wanted)[moved] <= slack).all()


# ---- against the reference -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "K"), SHAPES)
def test_iterations_follow_the_reference(m, n, K, dtype):
    X = rows_of_any_length(m, n, dtype)
    weights = np.random.default_rng(m).random(m) if m % 2 else None
    options = {"metric": "cosine", "seed": 0, "sample_weight": weights, "keep_path": True, "max_iter": 20}
    for algorithm in cases.engines(m, n):
        r = ckmeans.kmeans(X, K, algorithm=algorithm, **options)
        check_state(X, r, weights)
        check_path(X, r, weights)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_do_not_matter(scale, dtype):
    X = rows_of_any_length(300, 5)
    a = ckmeans.kmeans(X.astype(dtype), 4, metric="cosine", seed=1)
    b = ckmeans.kmeans((X * scale).astype(dtype), 4, metric="cosine", seed=1)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.distortion, b.distortion, rtol=1e-5)


def test_rows_beyond_float64s_squares():
    X = rows_of_any_length(300, 5)
    lengths = 10.0 ** np.random.default_rng(0).integers(-250, 250, (300, 1))
    a, b = (ckmeans.kmeans(Y, 4, metric="cosine", seed=1) for Y in (X, X * lengths))
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.centroids, b.centroids, rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_scales_at_the_ends_of_float64(scale):
    X = rows_of_any_length(300, 5)
    a, b = (ckmeans.kmeans(Y, 4, metric="cosine", seed=1) for Y in (X, X * 1e-5 * scale))
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.centroids, b.centroids, rtol=1e-7)
    np.testing.assert_array_equal(b.labels, ckmeans.assign(X * 1e-5 * scale, b.centroids, metric="cosine"))
    with refused(ValueError, "X must have values whose squares float64 can hold"):
        ckmeans.kmeans(np.array([[1e-320, 0], [0, 1e300]]), 2, metric="cosine")


def test_small_angles_keep_their_digits():
    rng = np.random.default_rng(0)
    X = np.ones(20) + 1e-4 * rng.normal(size=(500, 20))
    r = ckmeans.kmeans(X, 3, metric="cosine", seed=0)
    J = reference.cosine_distortion(X, r.centroids, r.labels)
    assert 0 < J < 1e-7
    np.testing.assert_allclose(r.distortion, J, rtol=1e-8)


def test_stable_labels_without_tolerance(dtype):
    X = rows_of_any_length(2000, 3).astype(dtype)
    r = ckmeans.kmeans(X, 30, metric="cosine", seed=0, tol=0, max_iter=1000)
    assert r.stop_reason == "stable"
    wanted, _ = reference.mean_directions(X, r.labels, 30)
    np.testing.assert_allclose(r.centroids, wanted, atol=4 * computing_eps(X))


def test_ties_go_to_the_lowest_index(dtype):
    X = np.array([[1, 1], [3, 3], [-1, 2]], dtype)
    centroids = np.array([[0, 1], [2, 0], [0, 4], [1, 0]], dtype)
    np.testing.assert_array_equal(ckmeans.assign(X, centroids, metric="cosine"), [0, 0, 0])


def test_squared_distances_are_twice_the_loss(dtype):
    X, centroids = rows_of_any_length(200, 6).astype(dtype), rows_of_any_length(5, 6, seed=1)
    labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True, metric="cosine")
    cosines = reference.directions(X) @ reference.directions(centroids).T
    np.testing.assert_allclose(squared, 2 - 2 * cosines.max(axis=1), atol=4 * computing_eps(X))
    J = ckmeans.distortion(X, centroids, metric="cosine")
    np.testing.assert_allclose(J, squared.mean() / 2, rtol=4 * computing_eps(X))
    given = np.roll(labels, 1)
    J = reference.cosine_distortion(X, centroids, given)
    np.testing.assert_allclose(ckmeans.distortion(X, centroids, given, metric="cosine"), J, rtol=1e-6)


# ---- the same result in every way ----------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 8, 60])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_threads_do_not_change_results(n, init):
    X = rows_of_any_length(5000, n, "f4")
    for algorithm in ("auto", *cases.engines(5000, n)):
        options = {"init": init, "n_init": 3, "seed": 2, "metric": "cosine", "algorithm": algorithm}
        one, three = (ckmeans.kmeans(X, 20, n_threads=threads, **options) for threads in (1, 3))
        assert_same(one, three)


@pytest.mark.parametrize("n", [2, 40])
def test_engines_agree(n, dtype):
    X = rows_of_any_length(2000, n).astype(dtype)
    start = X[:15]
    results = [
        ckmeans.kmeans(X, 15, init=start, metric="cosine", algorithm=algorithm)
        for algorithm in cases.engines(2000, n)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].labels, other.labels)
        assert results[0].distortion == other.distortion


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_equal_rows_in_memory(weighted, dtype):
    X = rows_of_any_length(3000, 20).astype(dtype)
    weights = np.random.default_rng(0).random(3000) if weighted else None
    options = {"metric": "cosine", "seed": 3, "sample_weight": weights}
    whole = ckmeans.kmeans(X, 12, algorithm="dense", **options)
    assert_same(whole, ckmeans.kmeans_chunks(np.array_split(X, 7), 12, **options))


@pytest.mark.parametrize("form", SPARSE_ROWS)
def test_sparse_rows(form, dtype):
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    dense = rows_of_any_length(1500, 60).astype(dtype) * (rng.random((1500, 60)) < 0.2)
    dense[:, 0] += 0.1
    X = getattr(sparse, form)(dense)
    for weights in (None, rng.random(1500)):
        options = {"metric": "cosine", "seed": 0, "sample_weight": weights, "keep_path": True}
        r = ckmeans.kmeans(X, 9, **options)
        assert r.distortion == ckmeans.distortion(X, r.centroids, sample_weight=weights, metric="cosine")
        np.testing.assert_array_equal(r.labels, ckmeans.assign(X, r.centroids, metric="cosine"))
        check_path(dense, r, weights)
        assert_same(r, ckmeans.kmeans(X, 9, n_threads=3, **options))


def test_prepared_points_serve_both_metrics():
    X = rows_of_any_length(3000, 3, "f4")
    prepared = ckmeans.prepare(X)
    for metric in ("cosine", "euclidean", "cosine"):
        options = {"metric": metric, "seed": 0}
        assert_same(ckmeans.kmeans(X, 8, **options), ckmeans.kmeans(prepared, 8, **options))
    centroids = X[:6]
    places = ckmeans.prepare(centroids)
    for metric in ("euclidean", "cosine"):
        labels = ckmeans.assign(X, centroids, metric=metric)
        np.testing.assert_array_equal(ckmeans.assign(prepared, places, metric=metric), labels)
        J = ckmeans.distortion(X, centroids, metric=metric)
        assert ckmeans.distortion(prepared, places, metric=metric) == J


@pytest.mark.parametrize("weighted", [False, True])
def test_pixels_are_deduplicated(weighted):
    rng = np.random.default_rng(0)
    colours = rng.integers(1, 255, (3000, 3), np.uint8)
    X = colours[rng.integers(0, 3000, 300_000)]
    weights = rng.random(len(X)) if weighted else None
    prepared = ckmeans.prepare(X, sample_weight=weights)
    options = {"metric": "cosine", "seed": 0, "max_iter": 5}
    r = ckmeans.kmeans(prepared, 6, **options)
    assert "distinct" in repr(prepared)
    check_state(X, r, weights)
    options["sample_weight"] = weights
    assert_same(r, ckmeans.kmeans(X, 6, **options))
    chunks = ckmeans.kmeans_chunks(np.array_split(X, 3), 6, **options)
    assert_same(ckmeans.kmeans(X, 6, algorithm="dense", **options), chunks)


def test_unit_rows_as_with_euclid(dtype):
    X = reference.directions(rows_of_any_length(2000, 30)).astype(dtype)
    centroids = X[:20]
    labels = ckmeans.assign(X, centroids)
    cosine = ckmeans.assign(X, centroids, metric="cosine")
    _, certain = reference.certain_directions(X, centroids, dtype)
    np.testing.assert_array_equal(labels[certain], cosine[certain])
    J = ckmeans.distortion(X, centroids)
    np.testing.assert_allclose(ckmeans.distortion(X, centroids, metric="cosine"), J / 2, rtol=1e-6)


# ---- starts and the update -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["k-means++", "random"])
def test_starts_are_directions_of_rows(method):
    X = rows_of_any_length(800, 6, "f4")
    options = {"seed": 4, "metric": "cosine"}
    start, rows = ckmeans.init_centroids(X, 10, method, return_indices=True, **options)
    np.testing.assert_allclose(start, reference.directions(X[rows]), atol=4 * computing_eps(X))
    r = ckmeans.kmeans(X, 10, init=method, keep_path=True, **options)
    np.testing.assert_array_equal(r.path[0], start)
    given = ckmeans.kmeans(X, 10, init=start, keep_path=True, metric="cosine")
    np.testing.assert_array_equal(given.path[0], start)
    assert given.distortion == r.distortion


def test_given_starts_come_to_unit_length(dtype):
    X = rows_of_any_length(300, 4).astype(dtype)
    start = X[:5] * np.array([1, 10, 100, 1e-3, 7], dtype)[:, None]
    options = {"metric": "cosine", "keep_path": True}
    unit = reference.directions(start).astype(dtype)
    for init in (start, lambda *_: start):
        r = ckmeans.kmeans(X, 5, init=init, **options)
        np.testing.assert_allclose(r.path[0], unit, atol=2 * computing_eps(X))
    part = ckmeans.kmeans(X, 9, init=start, n_init=3, seed=0, **options)
    np.testing.assert_allclose(part.path[0][:5], unit, atol=2 * computing_eps(X))


def test_zero_mean_keeps_its_centroid(dtype):
    X = np.array([[1, 0], [-2, 0], [0, 5], [0, 6]], dtype)
    r = ckmeans.kmeans(X, 1, init=[[0.6, 0.8]], metric="cosine")
    np.testing.assert_allclose(r.centroids, [[0, 1]], atol=1e-15)
    r = ckmeans.kmeans(X[:2], 1, init=[[0.6, 0.8]], metric="cosine")
    np.testing.assert_allclose(r.centroids, [[0.6, 0.8]], rtol=1e-7)
    assert (r.stop_reason, r.distortion) == ("stable", pytest.approx(1))


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_empty_clusters(empty, dtype):
    X = rows_of_any_length(200, 3).astype(dtype)
    start = np.concatenate([X[:3], -X[:3].sum(axis=0, keepdims=True) * 1e3])
    r = ckmeans.kmeans(X, 4, init=start, metric="cosine", empty=empty, seed=0)
    check_state(X, r)
    assert len(r.centroids) == len(np.unique(r.labels))


def test_fewer_directions_than_clusters():
    X = np.array([[1, 0], [2, 0], [0, 1], [0, 3.0]])
    r = ckmeans.kmeans(X, 4, metric="cosine", seed=0)
    assert r.distortion == pytest.approx(0, abs=1e-15)
    np.testing.assert_array_equal(np.unique(r.centroids, axis=0), [[0, 1], [1, 0]])


# ---- what is refused -----------------------------------------------------------------------------


def zero_row_in(X, row=7):
    """Return X with a row of zeros."""
    X = np.array(X)
    X[row] = 0
    return X


CALLS = {
    "kmeans": lambda X, **options: ckmeans.kmeans(X, 3, **options),
    "kmeans at random": lambda X, **options: ckmeans.kmeans(X, 3, init="random", **options),
    "init_centroids": lambda X, **options: ckmeans.init_centroids(X, 3, **options),
    "assign": lambda X, **options: ckmeans.assign(X, np.ones((2, 4)), **options),
    "distortion": lambda X, **options: ckmeans.distortion(X, np.ones((2, 4)), **options),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_zero_rows_are_named(call, dtype):
    X = zero_row_in(rows_of_any_length(300, 4).astype(dtype))
    with refused(ValueError, "X must have no row of zeros", 'metric="cosine"', "found one at row 7"):
        call(X, metric="cosine")
    with refused(ValueError, "row 7"):
        call(ckmeans.prepare(X), metric="cosine")
    call(X)


def test_weight_of_zero_excuses_nothing():
    X, weights = zero_row_in(np.ones((9, 2))), np.ones(9)
    weights[7] = 0
    with refused(ValueError, "row 7"):
        ckmeans.kmeans(X, 2, sample_weight=weights, metric="cosine")


def test_zero_rows_in_other_forms():
    X = zero_row_in(rows_of_any_length(30, 4))
    with refused(ValueError, "row 7"):
        ckmeans.kmeans_chunks([X[:5], X[5:]], 3, metric="cosine")
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    with refused(ValueError, "row 7"):
        ckmeans.kmeans(sparse.csr_array(X), 3, metric="cosine")
    frame = pandas.DataFrame(X, index=[f"r{i}" for i in range(30)])
    with refused(ValueError, "row 'r7'"):
        ckmeans.kmeans(frame, 3, metric="cosine")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad, dtype):
    X = rows_of_any_length(30, 4).astype(dtype)
    X[5, 2] = bad
    for call in CALLS.values():
        with refused(ValueError, "X must be finite", "row 5, column 2"):
            call(X, metric="cosine")


def test_bad_centroids():
    X, zero = rows_of_any_length(30, 2), np.array([[1.0, 2], [0, 0]])
    with refused(ValueError, "centroids must have no row of zeros", "row 1"):
        ckmeans.assign(X, zero, metric="cosine")
    with refused(ValueError, "centroids must have no row of zeros", "row 1"):
        ckmeans.distortion(X, ckmeans.prepare(zero), metric="cosine")
    with refused(ValueError, "init must have no row of zeros", "row 1"):
        ckmeans.kmeans(X, 2, init=zero, metric="cosine")
    with refused(ValueError, "init", "must have no row of zeros", "row 1"):
        ckmeans.kmeans(X, 2, init=lambda *_: zero, metric="cosine")
    with refused(ValueError, "centroids must be finite, found nan"):
        ckmeans.assign(X, [[np.nan, 1]], metric="cosine")


def test_unknown_metrics():
    X = np.ones((4, 2))
    for call in CALLS.values():
        with refused(ValueError, "metric must be one of 'euclidean', 'cosine'", "found 'l1'"):
            call(X, metric="l1")
        with refused(TypeError, "metric must be one of", "found 3"):
            call(X, metric=3)


def test_optimum_is_euclidean():
    X = np.array([[1.0], [2], [-3]])
    with refused(ValueError, 'algorithm="optimal" takes metric="euclidean", found "cosine"'):
        ckmeans.kmeans(X, 2, metric="cosine", algorithm="optimal")
    r = ckmeans.kmeans(X, 2, metric="cosine", seed=0)
    assert not r.optimal
    np.testing.assert_array_equal(np.sort(r.centroids, axis=0), [[-1], [1]])
