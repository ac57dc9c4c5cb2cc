"""CSR: every public function gives the result of the dense copy, without making one."""

import subprocess
import sys

import cases
import numpy as np
import pytest
import reference

import ckmeans

sparse = pytest.importorskip("scipy.sparse")

TEXT = cases.DATA / "text" / "debian_word_tfidf.npz"


def text_like(m=3000, n=90, seed=0):
    """Return rows of groups of features, some of them empty; integers, so that sums are exact."""
    rng = np.random.default_rng(seed)
    own = np.arange(n) // 10 == rng.integers(0, 9, (m, 1))
    X = rng.poisson(0.05, (m, n)) + rng.poisson(1.5, (m, n)) * own
    X[::97] = 0
    return X.astype(np.float64)


def csr(X, dtype=np.float32, index=np.int32, kind=sparse.csr_array):
    S = kind(X.astype(dtype))
    S.indices, S.indptr = S.indices.astype(index), S.indptr.astype(index)
    return S


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("K", [1, 3, 8, 17, 64, 65, 130, 200])
def test_assign(dtype, index, K):
    X = text_like(400)
    centroids = np.random.default_rng(K).uniform(0, 2, (K, X.shape[1])).astype(dtype)
    labels, squared = ckmeans.assign(csr(X, dtype, index), centroids, return_squared_distance=True)
    best, certain = reference.certain_labels(X, centroids, dtype, about_zero=True)
    nearest = reference.squared_distances(X, centroids)[np.arange(len(X)), labels]
    assert labels.dtype == np.int32
    assert certain.mean() > 0.95
    np.testing.assert_array_equal(labels[certain], best[certain])
    np.testing.assert_allclose(squared, nearest, rtol=1e-12)
    J = ckmeans.distortion(csr(X, dtype, index), centroids, labels)
    np.testing.assert_allclose(J, nearest.mean(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_centroids_give_lowest_index(dtype):
    X = text_like(300)
    few = np.random.default_rng(1).integers(0, 3, (5, X.shape[1])).astype(dtype)
    labels = ckmeans.assign(csr(X, dtype), np.tile(few, (30, 1)))
    assert labels.max() < 5
    np.testing.assert_array_equal(labels, ckmeans.assign(X.astype(dtype), few))


def test_update_with_an_empty_cluster():
    X = text_like()
    labels = np.random.default_rng(2).integers(0, 11, len(X))
    labels[labels == 4] = 5
    weights = np.random.default_rng(3).integers(0, 3, len(X)).astype(float)
    centroids, counts = ckmeans.update(csr(X), labels, 11, sample_weight=weights)
    for k in set(range(11)) - {4}:
        at = labels == k
        np.testing.assert_allclose(centroids[k], np.average(X[at], axis=0, weights=weights[at]), rtol=1e-6)
    assert np.isnan(centroids[4]).all()
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=11))


@pytest.mark.parametrize("algorithm", ["random", "k-means++"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_init_centroids_are_rows(algorithm, dtype):
    X = text_like()
    centroids = ckmeans.init_centroids(csr(X, dtype), 40, algorithm, seed=1)
    assert centroids.dtype == dtype
    rows = {row.tobytes() for row in X.astype(dtype)}
    assert all(c.tobytes() in rows for c in centroids)
    assert len({c.tobytes() for c in centroids}) == 40


def test_random_starts_equal_dense():
    X = text_like()
    dense = ckmeans.init_centroids(X.astype(np.float32), 40, "random", seed=1)
    np.testing.assert_array_equal(ckmeans.init_centroids(csr(X), 40, "random", seed=1), dense)


def test_plus_plus_equals_dense():
    """Distances of integers, and so the draws, are exact in both."""
    X = text_like()
    dense = ckmeans.init_centroids(X, 40, "k-means++", seed=1)
    np.testing.assert_array_equal(ckmeans.init_centroids(csr(X, np.float64), 40, "k-means++", seed=1), dense)


@pytest.mark.parametrize("trials", [1, 7, 70])
def test_plus_plus_finds_all_values(trials):
    values = text_like(12)[1:]
    X = np.tile(values, (50, 1))
    centroids = ckmeans.init_centroids(csr(X), 11, "k-means++", seed=0, trials=trials)
    assert ckmeans.distortion(csr(X), centroids) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("K", [2, 30])
def test_every_iteration_is_lloyds(dtype, weighted, K):
    X = text_like()
    weights = np.random.default_rng(0).integers(0, 3, len(X)) + 0.5 if weighted else None
    start = X[1 : 1 + K].astype(dtype)
    r = ckmeans.kmeans(csr(X, dtype), K, init=start, sample_weight=weights, tol=0, keep_path=True)
    assert r.algorithm == "sparse"
    assert r.n_iter > 1
    for i, centroids in enumerate(r.path):
        best, certain = reference.certain_labels(X, centroids, dtype, about_zero=True)
        labels = ckmeans.assign(csr(X, dtype), centroids)
        np.testing.assert_array_equal(labels[certain], best[certain])
        J = reference.distortion(X, centroids, labels, weights)
        np.testing.assert_allclose(r.history[i], J, rtol=1e-12)
        means, total = reference.update(X, labels, len(centroids), weights)
        if i + 1 < len(r.path) and (total > 0).all():
            np.testing.assert_allclose(r.path[i + 1], means, rtol=0, atol=1e-6 * np.abs(means).max())
    np.testing.assert_array_equal(r.counts, np.bincount(r.labels, minlength=len(r.centroids)))
    assert (np.diff(r.history) <= 0).all()
    np.testing.assert_array_equal(r.labels, ckmeans.assign(csr(X, dtype), r.centroids))
    assert r.distortion == ckmeans.distortion(csr(X, dtype), r.centroids, sample_weight=weights)


@pytest.mark.parametrize("n_init", [1, 5])
@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_results_do_not_depend_on_threads(init, n_init):
    X = csr(text_like(12000, 60), np.float64)
    X.data *= np.pi  # sums that are not exact
    a, b = (ckmeans.kmeans(X, 9, init=init, n_init=n_init, seed=5, n_threads=t) for t in (1, 4))
    for name in ("centroids", "labels", "counts", "history", "distortions"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name


@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_empty_policies(empty):
    X = text_like()
    start = np.concatenate([X[1:6], np.full((2, X.shape[1]), 500.0)])
    r = ckmeans.kmeans(csr(X), 7, init=start, empty=empty, seed=1)
    assert len(r.centroids) == (5 if empty == "drop" else 7)
    assert (r.counts > 0).all()
    if empty != "drop":
        assert r.distortion < ckmeans.kmeans(csr(X), 7, init=start).distortion


def test_empty_policy_error():
    start = np.concatenate([text_like()[1:6], np.full((1, 90), 500.0)])
    with pytest.raises(ValueError, match="cluster 5 has no points"):
        ckmeans.kmeans(csr(text_like()), 6, init=start, empty="error")


def test_small_distortion_keeps_its_digits():
    """Far from the origin, ||x||^2 - 2 x.c + ||c||^2 would lose all digits."""
    rng = np.random.default_rng(0)
    base = (rng.random((4, 50)) < 0.3) * 1000.0
    X = base[rng.integers(0, 4, 800)]
    X += (X > 0) * rng.normal(scale=1e-5, size=X.shape)
    J = reference.squared_distances(X, base).min(1).mean()
    assert 0 < J < 1e-8
    assert ckmeans.distortion(csr(X, np.float64), base) == pytest.approx(J, rel=1e-9)


def test_callable_start_and_zero_weights():
    X = csr(text_like())
    seen = []

    def init(given, K, rng):
        seen.append(given)
        return given[1 : 1 + K].toarray()

    weights = np.ones(3000)
    weights[1500:] = 0
    r = ckmeans.kmeans(X, 5, init=init, sample_weight=weights)
    half = ckmeans.kmeans(X[:1500], 5, init=init)
    assert seen[0] is X
    np.testing.assert_allclose(r.centroids, half.centroids, rtol=1e-6)


@pytest.mark.parametrize("kind", ["csc", "coo", "lil", "dok", "bsr"])
def test_other_formats_are_converted(kind):
    X = csr(text_like(200))
    expected = ckmeans.kmeans(X, 4, seed=0)
    r = ckmeans.kmeans(X.asformat(kind), 4, seed=0)
    np.testing.assert_array_equal(r.labels, expected.labels)
    assert r.distortion == expected.distortion


def test_matrices_integers_unsorted_and_repeated_columns():
    X = text_like(200)
    expected = ckmeans.kmeans(csr(X, np.float64), 4, seed=0)
    for other in (csr(X, np.float64, kind=sparse.csr_matrix), csr(X, np.int64), csr(X, np.int32)):
        np.testing.assert_array_equal(ckmeans.kmeans(other, 4, seed=0).labels, expected.labels)
    S = csr(X, np.float64)
    indices, data = S.indices.copy(), S.data.copy()
    for a, b in zip(S.indptr, S.indptr[1:], strict=False):
        indices[a:b], data[a:b] = indices[a:b][::-1], data[a:b][::-1]
    unsorted = sparse.csr_array((data, indices, S.indptr), S.shape)
    assert ckmeans.kmeans(unsorted, 4, seed=0).centroids.tobytes() == expected.centroids.tobytes()
    np.testing.assert_array_equal(unsorted.indices, indices)  # unchanged
    halves = sparse.csr_array((np.repeat(S.data / 2, 2), np.repeat(S.indices, 2), S.indptr * 2), S.shape)
    assert ckmeans.kmeans(halves, 4, seed=0).centroids.tobytes() == expected.centroids.tobytes()


def test_large_float32_is_computed_in_float64():
    X = csr(text_like()) * np.float32(1e25)
    r = ckmeans.kmeans(X, 4, seed=0)
    assert r.centroids.dtype == np.float64
    assert np.isfinite(r.distortion)


def broken(**arrays):
    S = csr(text_like(50))
    for name, (at, value) in arrays.items():
        getattr(S, name)[at] = value
    return S


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (broken(data=(3, np.nan)), ValueError, "X must be finite, found nan at row"),
        (csr(text_like(50), np.float64) * 1e300, ValueError, "whose squares float64"),
        (broken(indices=(3, 90)), ValueError, "must have indptr and indices that fit"),
        (broken(indices=(3, -1)), ValueError, "must have indptr and indices that fit"),
        (broken(indptr=(2, 10**6)), ValueError, "must have indptr and indices that fit"),
        (csr(text_like(50)) * 1j, TypeError, "must hold real numbers"),
        (sparse.csr_array((0, 4)), ValueError, "at least one row"),
    ],
)
def test_wrong_matrices(X, error, words):
    with pytest.raises(error, match=words):
        ckmeans.kmeans(X, 2, seed=0)


def test_the_engine_is_named():
    X = csr(text_like(50))
    assert ckmeans.kmeans(X, 2, algorithm="sparse").algorithm == "sparse"
    with pytest.raises(ValueError, match="'auto', 'sparse'"):
        ckmeans.kmeans(X, 2, algorithm="dense")
    with pytest.raises(ValueError, match="algorithm must be one of"):
        ckmeans.kmeans(X.toarray(), 2, algorithm="sparse")


def test_scipy_is_not_imported():
    code = "import sys, ckmeans; ckmeans.kmeans([[1.0], [2.0]], 1); assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not TEXT.exists(), reason=cases.NO_DATA)
@pytest.mark.parametrize("K", [20, 100])
def test_real_text(K):
    X = sparse.load_npz(TEXT)
    start = ckmeans.init_centroids(X, K, "random", seed=0)
    r = ckmeans.kmeans(X, K, init=start, max_iter=4)
    S = X.astype(np.float64) @ r.centroids.T.astype(np.float64)
    scores = (r.centroids.astype(np.float64) ** 2).sum(1) - 2 * S
    gap = scores[np.arange(len(r.labels)), r.labels] - scores.min(1)
    assert gap.max() < 1e-6
    assert (gap > 0).sum() < 20
