"""partial_step and combine: a step over points that lie in several places."""

from __future__ import annotations

import itertools
import pickle

import cases
import numpy as np
import pytest

import ckmeans


def steps_by_parts(X, start, cuts, n_steps, weights=None):
    """Return centroids, distortion and counts after some steps over blocks of X."""
    edges = [0, *cuts, len(X)]
    slices = [slice(a, b) for a, b in itertools.pairwise(edges)]
    for _ in range(n_steps):
        parts = [
            ckmeans.partial_step(X[s], start, sample_weight=None if weights is None else weights[s])
            for s in slices
        ]
        total = ckmeans.combine(parts)
        start = total.centroids
    return total


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_parts_make_kmeans(dtype, offset, weighted):
    X = (cases.blobs(3000, 5) + offset).astype(dtype)
    weights = np.random.default_rng(1).random(3000) if weighted else None
    start = X[::500].copy()
    total = steps_by_parts(X, start, (700, 701, 2500), 4, weights)
    r = ckmeans.kmeans(X, 6, init=start, max_iter=4, tol=0, sample_weight=weights, keep_path=True)
    assert total.centroids.dtype == r.centroids.dtype
    np.testing.assert_allclose(total.centroids, r.path[4], rtol=1e-6 if dtype == np.float32 else 1e-12)
    assert total.distortion == pytest.approx(r.history[3], rel=1e-9)
    assert total.counts.sum() == 3000
    assert total.counts.dtype == np.int64


def test_one_part_is_exact(dtype):
    X = cases.blobs(2000, 17).astype(dtype)
    c = X[:40]
    part = ckmeans.partial_step(X, c)
    labels = ckmeans.assign(X, c)
    assert part.distortion == ckmeans.distortion(X, c)
    np.testing.assert_array_equal(part.counts, np.bincount(labels, minlength=40))
    np.testing.assert_allclose(
        part.centroids, ckmeans.update(X, labels, 40)[0], rtol=1e-6 if dtype == np.float32 else 1e-13
    )
    expected = np.zeros((40, 17))
    np.add.at(expected, labels, X.astype(float))
    np.testing.assert_allclose(part.sums, expected, rtol=1e-12, atol=1e-9)


def test_parts_travel(dtype):
    X = cases.blobs(500, 3).astype(dtype)
    part = ckmeans.partial_step(X, X[:5])
    copy = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(copy.centroids, part.centroids)
    assert (copy.distortion, copy.squares) == (part.distortion, part.squares)
    assert len(pickle.dumps(part)) < 2000


def test_the_threads_do_not_matter(dtype):
    X = cases.blobs(20_000, 20).astype(dtype)
    one, two = (ckmeans.partial_step(X, X[:30], n_threads=t) for t in (1, 2))
    assert one.offsets.tobytes() == two.offsets.tobytes()
    assert one.squares == two.squares


def test_empty_clusters_stay():
    part = ckmeans.partial_step([[0.0, 0.0], [1.0, 0.0]], [[0.5, 0.0], [9.0, 9.0]])
    np.testing.assert_array_equal(part.centroids, [[0.5, 0], [9, 9]])
    np.testing.assert_array_equal(part.counts, [2, 0])


def test_sums_of_sparse_rows(dtype):
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random(400, 50, 0.1, format="csr", random_state=0).astype(dtype)
    c = X[:7].toarray()
    dense, rows = ckmeans.partial_step(X.toarray(), c), ckmeans.partial_step(X, c)
    np.testing.assert_allclose(rows.offsets, dense.offsets, atol=1e-5)
    np.testing.assert_array_equal(rows.counts, dense.counts)


def test_combined_parts_combine():
    X = cases.blobs(900, 4)
    parts = [ckmeans.partial_step(X[i : i + 300], X[:6]) for i in (0, 300, 600)]
    nested = ckmeans.combine([ckmeans.combine(parts[:2]), parts[2]])
    assert nested.offsets.tobytes() == ckmeans.combine(iter(parts)).offsets.tobytes()
    assert nested.origin is parts[0].origin
    assert parts[0].counts.sum() == 300


def test_dtypes_of_parts_may_differ():
    X = cases.blobs(600, 4)
    c = X[:5].astype(np.float32).astype(float)
    single = ckmeans.partial_step(X[:300].astype(np.float32), c)
    total = ckmeans.combine([single, ckmeans.partial_step(X[300:], c)])
    assert total.centroids.dtype == np.float64
    labels = ckmeans.assign(X, c)
    np.testing.assert_allclose(total.centroids, ckmeans.update(X, labels, 5)[0], rtol=1e-6, atol=1e-6)


def test_a_block_may_weigh_nothing():
    X = cases.blobs(10, 2)
    part = ckmeans.partial_step(X, X[:2], sample_weight=np.zeros(10))
    assert np.isnan(part.distortion)
    np.testing.assert_array_equal(part.centroids, X[:2])


def test_wrong_parts_are_named():
    X = cases.blobs(10, 2)
    part = ckmeans.partial_step(X, X[:2])
    with pytest.raises(ValueError, match="at least one"):
        ckmeans.combine([])
    with pytest.raises(TypeError, match=r"parts\[1\] must be a result of partial_step, found 3"):
        ckmeans.combine([part, 3])
    with pytest.raises(ValueError, match=r"other ones in parts\[1\]"):
        ckmeans.combine([part, ckmeans.partial_step(X, X[1:3])])
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        ckmeans.partial_step(X, X[:2], sample_weight=-np.ones(10))
    with pytest.raises(ValueError, match="features"):
        ckmeans.partial_step(X, [[1.0]])
