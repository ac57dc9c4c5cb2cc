"""The exact silhouette."""

from __future__ import annotations

import cases
import numpy as np
import pytest

import ckmeans
from ckmeans import _silhouette


def by_definition(X, labels):
    """Return the coefficient of each point from all pairs, in longer numbers where there are any."""
    X = np.asarray(X).astype(np.longdouble)
    squared = ((X[:, None] - X) ** 2).sum(axis=2)
    samples = np.zeros(len(X))
    for i, own in enumerate(labels):
        mates = labels == own
        if mates.sum() == 1:
            continue
        a = squared[i, mates].sum() / (mates.sum() - 1)
        b = min(squared[i, labels == other].mean() for other in set(labels.tolist()) - {own})
        samples[i] = (b - a) / max(a, b) if max(a, b) > 0 else 0
    return samples


def check(X, labels, expected, atol=1e-12, **options):
    score, samples = ckmeans.silhouette(X, labels, return_samples=True, **options)
    assert isinstance(score, float)
    assert score == ckmeans.silhouette(X, labels, **options)
    assert score == pytest.approx(expected.mean(), abs=atol)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", cases.KINDS)
@pytest.mark.parametrize("n", [1, 2, 17])
@pytest.mark.parametrize("K", [2, 3, 40])
def test_equals_the_definition(kind, n, K):
    X = cases.make(kind, 129, n)
    labels = np.random.default_rng(0).integers(0, K, 129)
    check(X, labels, by_definition(X, labels), 1e-9)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i2", "u8", "?"])
def test_every_dtype(dtype):
    X = (np.random.default_rng(0).normal(size=(70, 3)) * 20).astype("i4").astype(dtype)
    labels = np.arange(70) % 4
    check(X, labels, by_definition(X.astype(float), labels))
    check(X[::-1], labels[::-1], by_definition(X.astype(float), labels)[::-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_scikit_learns(dtype):
    metrics = pytest.importorskip("sklearn.metrics")
    X = cases.make("blobs", 600, 5, dtype)
    for K in (2, 6, 50):
        labels = ckmeans.kmeans(X, K, seed=0).labels
        check(X, labels, metrics.silhouette_samples(X.astype(float), labels, metric="sqeuclidean"))


@pytest.mark.parametrize(("offset", "dtype"), [(1e6, np.float32), (1e6, np.float64), (1e8, np.float64)])
def test_digits_far_from_the_origin(offset, dtype):
    X = (cases.make("blobs", 200, 3) + offset).astype(dtype)
    labels = np.arange(200) % 3
    check(X, labels, by_definition(X, labels), 1e-7)


def test_alone_and_equal_points():
    X = [[0.0], [0], [0], [5]]
    assert ckmeans.silhouette(X, [0, 0, 0, 1], return_samples=True)[1].tolist() == [1, 1, 1, 0]
    assert ckmeans.silhouette(np.zeros((4, 2)), [0, 0, 1, 1]) == 0  # all distances are 0


@pytest.mark.parametrize(
    "labels",
    [["b", "b", "a", "a", "c"], [-1, -1, 7, 7, 10**12], [2.0, 2.0, 0.5, 0.5, 9.0],
     [True, True, False, False, True], np.array(["x", "x", "y", "y", "z"], object)],
    ids=["strings", "integers", "floats", "booleans", "objects"],
)  # fmt: skip
def test_labels_may_be_any_names(labels):
    X = np.array([[0.0], [1], [10], [11], [50]])
    check(X, labels, by_definition(X, np.unique(labels, return_inverse=True)[1]))


def test_weights_equal_repeated_points():
    rng = np.random.default_rng(0)
    X, labels, weights = cases.make("blobs", 90, 2), rng.integers(0, 5, 90), rng.integers(0, 4, 90)
    labels[3], labels[labels == 4] = 4, 0  # a cluster of one point,
    labels[5], weights[5] = 6, 0  # and one of no weight
    repeated = by_definition(np.repeat(X, weights, axis=0), np.repeat(labels, weights))
    score, samples = ckmeans.silhouette(X, labels, sample_weight=weights, return_samples=True)
    assert score == pytest.approx(repeated.mean())
    np.testing.assert_allclose(np.repeat(samples, weights), repeated)
    assert np.isnan(samples[weights == 0]).all()
    prepared = ckmeans.prepare(X, sample_weight=weights)
    assert ckmeans.silhouette(prepared, labels) == score


@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows(weighted):
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.random(300, 50, 0.1, format="csc", random_state=0)
    labels = np.arange(300) % 7
    weights = np.arange(300) % 3 if weighted else None
    dense = ckmeans.silhouette(rows.toarray(), labels, sample_weight=weights)
    assert ckmeans.silhouette(rows, labels, sample_weight=weights) == pytest.approx(dense, rel=1e-9)
    assert ckmeans.silhouette(ckmeans.prepare(rows), labels) == ckmeans.silhouette(rows, labels)


@pytest.mark.parametrize("sparse_rows", [False, True])
def test_blocks_and_threads_change_nothing(monkeypatch, sparse_rows):
    X = cases.make("blobs", 3000, 4, np.float32)
    X[X < 1] = 0
    rows = pytest.importorskip("scipy.sparse").csr_array(X) if sparse_rows else X
    labels = np.arange(3000) % 11
    whole = ckmeans.silhouette(rows, labels, n_threads=1, return_samples=True)[1]
    monkeypatch.setattr(_silhouette, "_BLOCK_VALUES", 5000)
    for n_threads in (1, 2):
        blocks = ckmeans.silhouette(rows, labels, n_threads=n_threads, return_samples=True)[1]
        np.testing.assert_array_equal(blocks, whole)


def test_frames_and_series():
    pd = pytest.importorskip("pandas")
    X, labels = cases.make("blobs", 60, 3), np.arange(60) % 3
    score = ckmeans.silhouette(X, labels)
    assert ckmeans.silhouette(pd.DataFrame(X), pd.Series(labels).astype("category")) == score
    missing = pd.Series(labels, dtype="Int64")
    assert ckmeans.silhouette(X, missing) == score
    missing[7] = pd.NA
    with pytest.raises(ValueError, match=r"labels must not be missing, found (nan|<NA>) at row 7"):
        ckmeans.silhouette(X, missing)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([0, 1, 1], ValueError, r"labels must have shape \(4,\), one a row of X, found shape \(3,\)"),
        ([[0], [1], [1], [0]], ValueError, r"labels must have shape \(4,\)"),
        ([7, 7, 7, 7], ValueError, "labels must name at least 2 clusters, found 1"),
        ([0, 1, 2, 3], ValueError, "labels must name fewer clusters than there are points, found 4"),
        ([0, 1, np.nan, 1], ValueError, "labels must not be missing, found nan at row 2"),
        ([0, 1, None, 1], ValueError, "labels must not be missing, found None at row 2"),
        (np.array([0, "b", 1, 1], object), TypeError, "labels must be integers or strings, found values of"),
        (np.ma.array([0, 0, 1, 1], mask=[1, 0, 0, 0]), TypeError, "labels is a masked array"),
        ([1j, 0, 0, 0], TypeError, "labels must be integers or strings, found dtype complex128"),
    ],
)
def test_wrong_labels(labels, error, words):
    with pytest.raises(error, match=words):
        ckmeans.silhouette([[0.0], [1], [2], [3]], labels)


def test_weights_must_count_points():
    X, labels = [[0.0], [1], [5], [6]], [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"fewer [a-z ]+ points by sample_weight \(1 in all\)"):
        ckmeans.silhouette(X, labels, sample_weight=[0.25] * 4)
    with pytest.raises(ValueError, match="at least 2 clusters, found 1"):
        ckmeans.silhouette(X, labels, sample_weight=[1, 1, 0, 0])
    with pytest.raises(ValueError, match="sample_weight must be given to prepare"):
        ckmeans.silhouette(ckmeans.prepare(X), labels, sample_weight=[1, 1, 1, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_not_finite(bad):
    X = np.array([[0.0], [1], [bad], [6]])
    with pytest.raises(ValueError, match="X must"):
        ckmeans.silhouette(X, [0, 0, 1, 1])
    with pytest.raises(TypeError, match="n_threads must be an integer"):
        ckmeans.silhouette([[0.0], [1], [5], [6]], [0, 0, 1, 1], n_threads="2")
