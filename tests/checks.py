"""Check what must hold for every result, and compare results."""

from __future__ import annotations

import numpy as np
import reference

import ckmeans


def check_state(X, r, weights=None):
    """Check that all fields of the result describe the same state exactly."""
    K = len(r.centroids)
    np.testing.assert_array_equal(r.labels, ckmeans.assign(X, r.centroids))
    assert r.distortion == ckmeans.distortion(X, r.centroids, sample_weight=weights)
    assert r.distortion == r.history[-1]
    assert r.distortion == min(r.distortions)
    np.testing.assert_array_equal(r.counts, np.bincount(r.labels, minlength=K))
    assert (np.diff(r.history) <= 0).all(), r.history
    assert len(r.history) == r.n_iter + 1
    assert r.path is None or len(r.path) == r.n_iter + 1
    assert r.path is None or np.array_equal(r.path[-1], r.centroids)
    assert np.isfinite(r.centroids).all()
    assert (r.labels.dtype, r.counts.dtype) == (np.int32, np.int64)


def check_path(X, r, weights=None, empty="drop"):
    """Check that every iteration of a kept path is an iteration of Lloyd's algorithm."""
    dtype = r.centroids.dtype
    X = reference.rounded(X, dtype)
    eps = float(np.finfo(dtype).eps)
    for i, centroids in enumerate(r.path):
        best, certain = reference.certain_labels(X, centroids, dtype)
        labels, squared = ckmeans.assign(X.astype(dtype), centroids, return_squared_distance=True)
        np.testing.assert_array_equal(labels[certain], best[certain])
        J = reference.distortion(X, centroids, labels, weights)
        # Engines may sum relative to other points than the centroids.
        np.testing.assert_allclose(r.history[i], J, rtol=1e-12, atol=(1e-15 * np.abs(X).max()) ** 2)
        if i + 1 == len(r.path) or len(r.path[i + 1]) != len(centroids):
            continue
        means, total = reference.update(X, labels, len(centroids), weights)
        kept, emptied = total > 0, np.flatnonzero(total == 0)
        if empty == "farthest":
            rows = reference.farthest_rows(squared, weights)[: len(emptied)]
            np.testing.assert_array_equal(r.path[i + 1][emptied[: len(rows)]], X[rows])
        # Sums relative to the centroid are rounded to float64, both means to the dtype.
        slack = 1e-12 * np.sqrt(squared.max()) + 3 * eps * np.abs(means[kept]).max(initial=0)
        np.testing.assert_allclose(r.path[i + 1][kept], means[kept], rtol=0, atol=slack)


def assert_same(a, b, path=True):
    """Check that two results are bit-identical; `path` says whether the kept paths are compared."""
    for name in ("centroids", "labels", "counts", "history", "distortions"):
        assert_identical(getattr(a, name), getattr(b, name), name)
    for name in ("distortion", "n_iter", "stop_reason", "converged", "algorithm"):
        assert getattr(a, name) == getattr(b, name), name
    if path:
        assert (a.path is None) == (b.path is None)
        for one, other in zip(a.path or [], b.path or [], strict=True):
            assert_identical(one, other, "path")


def assert_identical(one, other, name):
    """Check that two arrays have the same dtype, shape and bits."""
    assert one.dtype == other.dtype, name
    np.testing.assert_array_equal(one, other, err_msg=name, strict=True)
    assert one.tobytes() == other.tobytes(), name


def assert_close(found, expected):
    """Check that two results have the same labels and counts, and J and centroids up to rounding."""
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-12)
    scale = np.abs(expected.centroids).max() + 1
    np.testing.assert_allclose(found.centroids, expected.centroids, rtol=0, atol=1e-6 * scale)
