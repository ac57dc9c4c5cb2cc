"""Product quantizers: fit, codes, files, and faiss' layout."""

from __future__ import annotations

import numpy as np
import pytest

import ckmeans


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(2000, 24)) @ rng.normal(size=(24, 24))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(X):
    return ckmeans.ProductQuantizer(6, 32, seed=0).fit(X)


def test_subspaces_are_fitted_by_themselves(X, fitted):
    assert fitted.centroids.shape == (6, 32, 4)
    for j, centroids in enumerate(fitted.centroids):
        part = np.ascontiguousarray(X[:, 4 * j : 4 * j + 4])
        options = {"init": "random", "max_iter": 25, "tol": 0, "empty": "farthest", "seed": 0}
        np.testing.assert_array_equal(centroids, ckmeans.kmeans(part, 32, **options).centroids)


def test_codes_are_the_closest_centroids(X, fitted):
    codes = fitted.encode(X)
    assert (codes.dtype, codes.shape) == (np.uint8, (2000, 6))
    for j, centroids in enumerate(fitted.centroids):
        np.testing.assert_array_equal(codes[:, j], ckmeans.assign(X[:, 4 * j : 4 * j + 4], centroids))
    decoded = fitted.decode(codes)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded[:, 8:12], fitted.centroids[2][codes[:, 2]])
    J = ((X.astype(float) - decoded) ** 2).sum(axis=1).mean()
    assert fitted.distortion(X) == pytest.approx(J, rel=1e-12)


def test_blocks_do_not_change_codes(X, fitted, monkeypatch):
    codes = fitted.encode(X)
    monkeypatch.setattr("ckmeans._quantizer._BLOCK_BYTES", 7000)
    np.testing.assert_array_equal(fitted.encode(X), codes)


def test_weights_count_in_each_subspace(X):
    rng = np.random.default_rng(1)
    w = rng.integers(0, 3, len(X)).astype(float)
    pq = ckmeans.ProductQuantizer(6, 8, seed=0).fit(X, sample_weight=w)
    one = ckmeans.kmeans(
        X[:, :4], 8, init="random", max_iter=25, tol=0, empty="farthest", seed=0, sample_weight=w
    )
    np.testing.assert_array_equal(pq.centroids[0], one.centroids)
    decoded = pq.decode(pq.encode(X))
    J = (w * ((X.astype(float) - decoded) ** 2).sum(axis=1)).sum() / w.sum()
    assert pq.distortion(X, sample_weight=w) == pytest.approx(J, rel=1e-12)


@pytest.mark.parametrize("dtype", ["f8", "f2", "u1", "i8"])
def test_any_dtype_and_strides(X, dtype):
    X = np.abs(X).astype(dtype)
    pq = ckmeans.ProductQuantizer(3, 16, seed=0).fit(X)
    turned = ckmeans.ProductQuantizer(3, 16, seed=0).fit(np.asfortranarray(X))
    np.testing.assert_array_equal(pq.centroids, turned.centroids)
    np.testing.assert_array_equal(pq.encode(X), pq.encode(np.asfortranarray(X)))
    assert pq.centroids.dtype == np.float32


def test_few_values_keep_all_centroids():
    X = np.arange(12, dtype=np.float32).reshape(6, 2) // 6
    pq = ckmeans.ProductQuantizer(2, 5, seed=0).fit(X)
    assert np.isfinite(pq.centroids).all()
    assert pq.distortion(X) == 0


def test_starts_for_each_subspace(X):
    starts = X[:16].reshape(16, 6, 4).swapaxes(0, 1)
    pq = ckmeans.ProductQuantizer(6, 16, init=starts, max_iter=3).fit(X)
    one = ckmeans.kmeans(X[:, 4:8], 16, init=starts[1], max_iter=3, tol=0, empty="farthest")
    np.testing.assert_array_equal(pq.centroids[1], one.centroids)


def test_faiss_decodes_our_codes(X):
    faiss = pytest.importorskip("faiss")
    pq = ckmeans.ProductQuantizer(6, seed=0).fit(X)
    theirs = faiss.ProductQuantizer(24, 6, 8)
    faiss.copy_array_to_vector(pq.centroids.ravel(), theirs.centroids)
    codes = pq.encode(X)
    np.testing.assert_array_equal(theirs.decode(codes), pq.decode(codes))
    assert (theirs.compute_codes(X) == codes).mean() > 0.999


def test_saved_quantizers_are_the_same(X, fitted, tmp_path):
    fitted.save(tmp_path / "quantizer")
    loaded = ckmeans.ProductQuantizer.load(tmp_path / "quantizer")
    np.testing.assert_array_equal(loaded.encode(X), fitted.encode(X))
    assert repr(loaded) == "<ckmeans.ProductQuantizer: 6 subspaces, K=32, 24 features>"
    with pytest.raises(ValueError, match="is not a saved ckmeans result"):
        ckmeans.load(tmp_path / "quantizer")
    ckmeans.kmeans(X, 2).save(tmp_path / "result")
    with pytest.raises(ValueError, match="is not a saved ckmeans product quantizer"):
        ckmeans.ProductQuantizer.load(tmp_path / "result")


def test_damaged_files_are_refused(fitted, tmp_path):
    path = tmp_path / "quantizer"
    fitted.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="or it is damaged"):
        ckmeans.ProductQuantizer.load(path)


NEW = ckmeans.ProductQuantizer(6, 32)
NAN = np.full((40, 12), np.nan)
INVALID = [
    (lambda X, pq: ckmeans.ProductQuantizer(0), "n_subspaces must be at least 1"),
    (lambda X, pq: ckmeans.ProductQuantizer(4, 257), "K must be at most 256, as a code is a byte"),
    (lambda X, pq: ckmeans.ProductQuantizer(4, max_iter=0), "max_iter must be at least 1"),
    (
        lambda X, pq: ckmeans.ProductQuantizer(5).fit(X),
        "n_subspaces must divide the 24 features of X",
    ),
    (lambda X, pq: NEW.fit(X[:20]), r"K must be at most 20 \(the number of points\)"),
    (lambda X, pq: ckmeans.ProductQuantizer(4, 2).fit(NAN), "X must be finite, found nan at row 0, column 0"),
    (lambda X, pq: ckmeans.ProductQuantizer(6, 2, init="middle").fit(X), "init must be one of"),
    (lambda X, pq: NEW.encode(X), "this ProductQuantizer is not fitted: call fit first"),
    (lambda X, pq: NEW.decode([[0] * 6]), "this ProductQuantizer is not fitted: call fit first"),
    (lambda X, pq: pq.encode(X[:, :12]), "X must have 24 features, as in fit"),
    (lambda X, pq: pq.distortion(X[:, :12]), "X must have 24 features, as in fit"),
    (lambda X, pq: pq.decode([[0] * 5]), r"codes must have shape \(m, 6\)"),
    (lambda X, pq: pq.decode([[32] * 6]), r"codes must lie in 0..31, found 32"),
    (lambda X, pq: pq.decode([[0.5] * 6]), "codes must be integers"),
    (lambda X, pq: pq.fit(X, sample_weight=[1]), "sample_weight must have shape"),
]


@pytest.mark.parametrize(("function", "message"), INVALID, ids=[str(i) for i in range(len(INVALID))])
def test_errors_name_the_argument(function, message, X, fitted):
    with pytest.raises((ValueError, TypeError), match=message):
        function(X, fitted)


def test_sparse_vectors_are_refused(fitted):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="X must be an array: sparse rows"):
        fitted.encode(sparse.csr_matrix(np.eye(24)))
