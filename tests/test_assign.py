"""`assign` and `distortion`: the labels and J of one step."""

from __future__ import annotations

import itertools

import cases
import numpy as np
import pytest
import reference

import ckmeans


def check_labels(X, centroids, least_certain=0.0):
    """Check that certain labels are the reference's, and all others optimal up to the error bound."""
    dtype = reference.computing_dtype(X)
    labels = ckmeans.assign(X, centroids)
    expected, certain = reference.certain_labels(X, centroids, dtype)
    wrong = np.flatnonzero(certain & (labels != expected))
    assert wrong.size == 0, (wrong, labels[wrong], expected[wrong])
    assert certain.mean() >= least_certain
    values, centres = reference.rounded(X, dtype), reference.rounded(centroids, dtype)
    squared = reference.squared_distances(values, centres)
    errors = reference.score_errors(X, centroids, dtype)
    every = np.arange(len(labels))
    chosen, best = squared[every, labels], squared[every, expected]
    assert (chosen - best <= errors[every, labels] + errors[every, expected]).all()


# ---- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", cases.WIDTHS)
def test_labels_at_every_row_tail(n, dtype):
    for m in cases.ROWS:
        X = cases.make("blobs", m, n, dtype)
        check_labels(X, cases.make("uniform", 7, n, dtype), 0.9)


@pytest.mark.parametrize("K", cases.CLUSTERS)
def test_labels_at_every_centroid_group(K, dtype):
    for n in (1, 3, 8, 21):
        X = cases.make("uniform", 130, n, dtype)
        check_labels(X, np.random.default_rng(K).random((K, n)).astype(dtype), 0.9)


@pytest.mark.parametrize(("n", "K"), [(2000, 9), (700, 40), (6200, 3), (3, 3000)])
def test_labels_at_block_boundaries(n, K, dtype):
    X = cases.make("uniform", 150, n, dtype)
    check_labels(X, cases.make("uniform", K, n, dtype, seed=1), 0.5)


def test_labels_do_not_depend_on_batch(dtype):
    X = cases.make("uniform", 700, 5, dtype)
    centroids = cases.make("uniform", 30, 5, dtype, seed=1)
    labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
    for rows in (slice(0, 1), slice(3, 40), slice(517, 700), np.arange(0, 700, 13)):
        few, few_squared = ckmeans.assign(X[rows], centroids, return_squared_distance=True)
        np.testing.assert_array_equal(few, labels[rows])
        np.testing.assert_array_equal(few_squared, squared[rows])


# ---- kinds of data -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 16, 40])
def test_labels_of_every_kind_of_data(kind, n, dtype):
    X = cases.make(kind, 600, n, dtype)
    check_labels(X, cases.some_rows(X, 24))


@pytest.mark.parametrize("offset", [0, 1e4, 1e6])
def test_labels_far_from_the_origin(offset, dtype):
    X = (cases.make("blobs", 2000, 6) + offset).astype(dtype)
    check_labels(X, cases.some_rows(X, 20), 0.99 if offset < 1e6 or dtype == np.float64 else 0.9)


@pytest.mark.parametrize("scale", [1e-140, 1e-43, 1e-36, 1e-18, 1e-12, 1e12, 1e17, 1e30, 1e150])
def test_labels_at_extreme_scales(scale, dtype):
    """Labels and distances do not depend on the scale if the dtype can hold the data."""
    X = cases.make("blobs", 300, 4)
    if dtype == np.float32 and not 1e-43 <= scale <= 1e30:
        pytest.skip("float32 cannot hold such data")
    scaled = (X * scale).astype(dtype)
    exact = scaled.astype(np.longdouble)
    centroids = cases.some_rows(scaled, 5)
    squared = ((exact[:, None, :] - centroids[None].astype(np.longdouble)) ** 2).sum(axis=2)
    labels, found = ckmeans.assign(scaled, centroids, return_squared_distance=True)
    chosen = squared[np.arange(300), labels]
    np.testing.assert_allclose(chosen, squared.min(axis=1), rtol=1e-4, atol=1e-5 * float(squared.max()))
    np.testing.assert_allclose(found, chosen.astype(float), rtol=1e-12)


@pytest.mark.parametrize("kind_", ["blobs", "offset 1e6", "outlier"])
def test_large_float32_is_computed_in_float64(kind_):
    X = cases.make(kind_, 400, 3) * 1e22
    single = X.astype(np.float32)
    centroids = single[:8].astype(np.float64) * (1 + 1e-12)
    labels, certain = reference.certain_labels(single, centroids, np.float64)
    found = ckmeans.assign(single, centroids)
    assert certain.mean() > 0.9
    np.testing.assert_array_equal(found[certain], labels[certain])
    assert ckmeans.kmeans(single, 3, seed=0).centroids.dtype == np.float64


# ---- ties ----------------------------------------------------------------------------------------


def test_ties_take_the_lowest_index(dtype):
    """On a lattice every number is exact, so that ties are exact too."""
    for n, K, offset in itertools.product((1, 2, 3, 9), (2, 6, 7, 13, 30), (0, 1000)):
        X = cases.make("lattice", 333, n, dtype) + offset
        centroids = cases.make("lattice", K, n, dtype, seed=K) + offset
        np.testing.assert_array_equal(ckmeans.assign(X, centroids), reference.assign(X, centroids))


@pytest.mark.parametrize("K", cases.CLUSTERS)
def test_first_of_equal_centroids_wins(K, dtype):
    X = cases.make("uniform", 200, 3, dtype)
    centroids = np.repeat(X[:1], K, axis=0)
    assert (ckmeans.assign(X, centroids) == 0).all()
    centroids = np.concatenate([X[:K], X[:K]])
    assert (ckmeans.assign(X, centroids) < K).all()


# ---- distances and J -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", cases.WIDTHS)
def test_squared_distances_match_the_labels(kind, n, dtype):
    X = cases.make(kind, 200, n, dtype)
    centroids = cases.some_rows(X, 9)
    labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
    expected = ((X.astype(float) - centroids.astype(float)[labels]) ** 2).sum(axis=1)
    assert squared.dtype == np.float64
    np.testing.assert_allclose(squared, expected, rtol=1e-14 * (n + 8))
    np.testing.assert_array_equal(labels, ckmeans.assign(X, centroids))


def test_distortion_is_the_mean_squared_distance(kind, dtype):
    X = cases.make(kind, 900, 7, dtype)
    centroids = cases.some_rows(X, 12)
    labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
    weights = np.random.default_rng(0).random(900)
    J = ckmeans.distortion(X, centroids)
    assert isinstance(J, float)
    assert pytest.approx(squared.mean(), rel=1e-13) == J
    assert ckmeans.distortion(X, centroids, labels) == J
    weighted = ckmeans.distortion(X, centroids, sample_weight=weights)
    assert weighted == pytest.approx(np.average(squared, weights=weights), rel=1e-12)
    assert ckmeans.distortion(X, centroids, labels, sample_weight=weights) == weighted


def test_distortion_of_given_labels(dtype):
    X = cases.make("blobs", 300, 5, dtype)
    centroids = cases.some_rows(X, 4)
    for labels in (np.zeros(300, int), np.arange(300, dtype=np.uint8) % 4, [3] * 300):
        expected = reference.distortion(X, centroids, labels)
        assert ckmeans.distortion(X, centroids, labels) == pytest.approx(expected, rel=1e-13)


def test_distortion_is_zero_on_centroids(kind, dtype):
    """J is computed from differences: the expanded score would leave rounding errors."""
    X = cases.make(kind, 120, 6, dtype)
    labels, squared = ckmeans.assign(X, X, return_squared_distance=True)
    assert (squared == 0).all()
    np.testing.assert_array_equal(X[labels], X)
    assert ckmeans.distortion(X, X) == 0


# ---- return values -------------------------------------------------------------------------------


def test_out_is_filled_and_returned(dtype):
    X = cases.make("blobs", 100, 3, dtype)
    out = np.full(100, -7, np.int32)
    assert ckmeans.assign(X, X[:5], out=out) is out
    np.testing.assert_array_equal(out, ckmeans.assign(X, X[:5]))
    labels, _ = ckmeans.assign(X, X[:5], out=out, return_squared_distance=True)
    assert labels is out


def test_labels_are_int32(dtype):
    labels = ckmeans.assign(cases.make("blobs", 10, 3, dtype), np.zeros((1, 3)))
    assert labels.dtype == np.int32
    assert labels.shape == (10,)


def test_centroids_are_rounded_to_computing_dtype():
    """A centroid that ties with a later one after rounding wins."""
    X = np.float32([[1.0], [2.0]])
    centroids = np.array([[1.0 + 1e-12], [1.0], [3.0]])
    np.testing.assert_array_equal(ckmeans.assign(X, centroids), [0, 0])
    np.testing.assert_array_equal(ckmeans.assign(X.astype(float), centroids), [1, 0])


def test_results_do_not_depend_on_threads(dtype):
    X = cases.make("uniform", 5000, 9, dtype)
    centroids = cases.make("uniform", 40, 9, dtype, seed=1)
    weights = np.random.default_rng(0).random(5000)
    one = ckmeans.assign(X, centroids, return_squared_distance=True, n_threads=1)
    J = ckmeans.distortion(X, centroids, sample_weight=weights, n_threads=1)
    for n_threads in (2, 3, 8, None):
        more = ckmeans.assign(X, centroids, return_squared_distance=True, n_threads=n_threads)
        np.testing.assert_array_equal(one, more)
        assert ckmeans.distortion(X, centroids, sample_weight=weights, n_threads=n_threads) == J
