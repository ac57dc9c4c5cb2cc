"""`update`: the mean of each cluster's points."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference

import ckmeans

# The package sums in float64 and rounds once, to the computing dtype.
TOLERANCE = {np.dtype(np.float32): 1.2e-7, np.dtype(np.float64): 1e-11}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("n", cases.WIDTHS)
def test_means_and_counts(n, weighted, dtype):
    for m in (1, 2, 9, 33, 513, 1500):
        X = cases.make("blobs", m, n, dtype)
        rng = np.random.default_rng(m)
        labels = rng.integers(0, 6, m)
        weights = rng.random(m) if weighted else None
        centroids, counts = ckmeans.update(X, labels, 7, sample_weight=weights)
        means, _ = reference.update(X, labels, 7, weights)
        assert centroids.dtype == dtype
        np.testing.assert_allclose(centroids, means, rtol=TOLERANCE[dtype], atol=1e-13)
        np.testing.assert_array_equal(counts, np.bincount(labels, minlength=7))
        assert counts.dtype == np.int64


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("n", range(1, 10))
def test_sums_of_sorted_points_are_identical(n, weighted, dtype):
    """Sorted points use a separate code path, which keeps the sums in registers."""
    X = cases.make("uniform", 500, n, dtype)
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 12, 500)
    weights = rng.random(500) if weighted else None
    order = np.argsort(labels, kind="stable")
    centroids, counts = ckmeans.update(X, labels, 12, sample_weight=weights)
    in_runs = ckmeans.update(X[order], labels[order], 12, sample_weight=weights[order] if weighted else None)
    np.testing.assert_array_equal(in_runs[0], centroids)
    np.testing.assert_array_equal(in_runs[1], counts)


def test_every_kind_of_data(kind, dtype):
    X = cases.make(kind, 777, 5, dtype)
    labels = np.random.default_rng(1).integers(0, 9, 777)
    centroids, _ = ckmeans.update(X, labels, 9)
    largest = float(np.abs(X).max())
    np.testing.assert_allclose(
        centroids, reference.update(X, labels, 9)[0], rtol=TOLERANCE[dtype], atol=1e-14 * largest
    )


def test_cluster_without_weight_has_no_mean(dtype):
    X = cases.make("blobs", 10, 3, dtype)
    labels = np.arange(10) % 2
    centroids, counts = ckmeans.update(X, labels, 4)
    np.testing.assert_array_equal(np.isnan(centroids).all(axis=1), [False, False, True, True])
    np.testing.assert_array_equal(counts, [5, 5, 0, 0])
    centroids, counts = ckmeans.update(X, labels, 2, sample_weight=(labels == 0) * 1.0)
    assert np.isnan(centroids[1]).all()
    np.testing.assert_array_equal(counts, [5, 5])


def test_integer_weights_equal_repeated_points(dtype):
    X = cases.make("uniform", 60, 4, dtype)
    rng = np.random.default_rng(2)
    labels, repeats = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
    weighted, _ = ckmeans.update(X, labels, 5, sample_weight=repeats)
    repeated, _ = ckmeans.update(np.repeat(X, repeats, axis=0), np.repeat(labels, repeats), 5)
    np.testing.assert_allclose(weighted, repeated, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("label_dtype", ["i1", "u1", "i2", ">i4", "i8", "u8"])
def test_labels_of_any_integer_dtype(label_dtype):
    X = cases.make("uniform", 50, 2)
    labels = np.arange(50) % 3
    expected, _ = ckmeans.update(X, labels, 3)
    np.testing.assert_array_equal(ckmeans.update(X, labels.astype(label_dtype), 3)[0], expected)
    np.testing.assert_array_equal(ckmeans.update(X, labels[::-1].astype(label_dtype)[::-1], 3)[0], expected)


@pytest.mark.parametrize("K", [1, 40, 3000])
def test_results_do_not_depend_on_threads(K, dtype):
    X = cases.make("uniform", 30_000, 9, dtype)
    labels = np.random.default_rng(0).integers(0, K, 30_000)
    weights = np.random.default_rng(1).random(30_000)
    one = ckmeans.update(X, labels, K, sample_weight=weights, n_threads=1)
    for n_threads in (2, 3, 8, None):
        more = ckmeans.update(X, labels, K, sample_weight=weights, n_threads=n_threads)
        np.testing.assert_array_equal(one[0], more[0])
        np.testing.assert_array_equal(one[1], more[1])


def test_sums_keep_small_weights():
    """The mean does not depend on the scale of the weights."""
    X = cases.make("uniform", 100, 3)
    labels, weights = np.arange(100) % 4, np.random.default_rng(0).random(100)
    expected, _ = ckmeans.update(X, labels, 4, sample_weight=weights)
    for scale in (1e-150, 1e-30, 1e30, 1e150):
        centroids, _ = ckmeans.update(X, labels, 4, sample_weight=weights * scale)
        np.testing.assert_allclose(centroids, expected, rtol=1e-12)
