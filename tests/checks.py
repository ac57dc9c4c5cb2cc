"""What must hold of every result, whatever made it."""

from __future__ import annotations

import numpy as np
import reference

import ckmeans


def check_state(X, r, weights=None):
    """The result describes one state, exactly, and says nothing about it that is not so."""
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
    """Every iteration of a kept path is an iteration of Lloyd's algorithm."""
    dtype = r.centroids.dtype
    X = reference.rounded(X, dtype)
    eps = float(np.finfo(dtype).eps)
    for i, centroids in enumerate(r.path):
        best, certain = reference.certain_labels(X, centroids, dtype)
        labels, squared = ckmeans.assign(X.astype(dtype), centroids, return_squared_distance=True)
        np.testing.assert_array_equal(labels[certain], best[certain])
        J = reference.distortion(X, centroids, labels, weights)
        # Engines may add up about other points than the centroids.
        np.testing.assert_allclose(r.history[i], J, rtol=1e-12, atol=(1e-15 * np.abs(X).max()) ** 2)
        if i + 1 == len(r.path) or len(r.path[i + 1]) != len(centroids):
            continue
        means, total = reference.update(X, labels, len(centroids), weights)
        kept, emptied = total > 0, np.flatnonzero(total == 0)
        if empty == "farthest":
            rows = reference.farthest_rows(squared, weights)[: len(emptied)]
            np.testing.assert_array_equal(r.path[i + 1][emptied[: len(rows)]], X[rows])
        # Sums about the present centroid are rounded to float64, means (here and there) to the dtype.
        slack = 1e-12 * np.sqrt(squared.max()) + 3 * eps * np.abs(means[kept]).max(initial=0)
        np.testing.assert_allclose(r.path[i + 1][kept], means[kept], rtol=0, atol=slack)


def assert_same(a, b):
    """Two results that agree in every bit."""
    for name in ("centroids", "labels", "counts", "history", "distortions"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)
    for name in ("distortion", "n_iter", "stop_reason"):
        assert getattr(a, name) == getattr(b, name), name
