"""Every form of points, with every engine that takes it, dtype, weights and number of threads.

All are held to one reference (tests/reference.py) with its stated bound: each label that is certain for a
computation in the dtype, each mean and each J of every iteration. Forms of the same dense values must besides
give the bits of a plain array. The engines' own test files keep what only they have.
"""

from __future__ import annotations

import itertools

import cases
import numpy as np
import pytest
import reference
from checks import assert_same

import ckmeans
from ckmeans import _validate

DTYPES = ("f4", "f8", "f2", "u1", ">f8")
METRICS = ("euclidean", "cosine")
WEIGHTS = ("none", "weights")
M, K = 700, 9
WIDTHS = (5, 40)  # for cells, too; for screening


# ---- forms -------------------------------------------------------------------------------------------


class Tensor:
    """An array of another library, which is read through DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def sparse_rows(X, folder):
    sparse = pytest.importorskip("scipy.sparse")
    return sparse.csr_array(X)


FORMS = {
    "array": lambda X, folder: X,
    "Fortran": lambda X, folder: np.asfortranarray(X),
    "strided": lambda X, folder: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "memmap": memory_map,
    "chunks": lambda X, folder: np.split(X, [100, 101, 480]),
    "sparse": sparse_rows,
    "prepared": lambda X, folder: ckmeans.prepare(X),
    "dlpack": lambda X, folder: Tensor(X),
}
KINDS = {"chunks": "chunks", "sparse": "sparse"}


def engines(form, n):
    """Return the names of the engines that take n features in this form."""
    kind = KINDS.get(form, "array")
    names = _validate.algorithms(kind)
    return [name for name in names if kind != "array" or name == "auto" or name in cases.engines(M, n)]


def combinations():
    """Yield (form, n, engine, dtype, metric), as far as they exist."""
    for form, n, dtype, metric in itertools.product(FORMS, WIDTHS, DTYPES, METRICS):
        if (form, dtype) in (("dlpack", ">f8"), ("sparse", ">f8"), ("sparse", "f2")):
            continue  # neither DLPack nor SciPy has these
        for engine in engines(form, n):
            yield form, n, engine, dtype, metric


# ---- the reference -----------------------------------------------------------------------------------


def values(n, dtype):
    """Return groups of points, some coordinates of which are 0; whole numbers for uint8."""
    X = cases.blobs(M, n, groups=K, spread=6.0)
    X[:, 1:] *= np.random.default_rng(n).random(X[:, 1:].shape) < 0.7  # no row is 0: it had no direction
    X = np.clip(np.round(8 * X + 100), 0, 255) if dtype == "u1" else X
    return X.astype(dtype)


class Euclidean:
    """What an iteration of a result with a kept path must be."""

    def __init__(self, X, form):
        self.dtype = reference.computing_dtype(X)
        self.X, self.about_zero = reference.rounded(X, self.dtype), form == "sparse"
        self.slack = 4 * float(np.finfo(self.dtype).eps) * np.abs(self.X).max()

    def labels(self, centroids):
        return reference.certain_labels(self.X, centroids, self.dtype, self.about_zero)

    def J(self, centroids, labels, weights):
        return reference.distortion(self.X, centroids, labels, weights)

    def centroids(self, labels, number, weights):
        return reference.update(self.X, labels, number, weights)[0]

    def squared(self, centroids, labels):
        return reference.squared_distances(self.X, centroids)[np.arange(M), labels]


class Cosine(Euclidean):
    """The same of directions."""

    def __init__(self, X, form):
        super().__init__(X, form)
        self.slack = 20 * float(np.finfo(self.dtype).eps)

    def labels(self, centroids):
        return reference.certain_directions(self.X, centroids, self.dtype)

    def J(self, centroids, labels, weights):
        return reference.cosine_distortion(self.X, centroids, labels, weights)

    def centroids(self, labels, number, weights):
        return reference.mean_directions(self.X, labels, number, weights)[0]

    def squared(self, centroids, labels):
        units = self.X / np.linalg.norm(self.X, axis=1, keepdims=True)
        return reference.squared_distances(units, centroids)[np.arange(M), labels]


REFERENCES = {"euclidean": Euclidean, "cosine": Cosine}


def check_path(r, expected, weights):
    """Check every iteration of a result with a kept path."""
    rtol = 1e-6 if expected.dtype == np.float32 else 1e-12
    for i, centroids in enumerate(r.path):
        best, certain = expected.labels(centroids)
        assert certain.mean() > 0.9
        np.testing.assert_allclose(r.history[i], expected.J(centroids, best, weights), rtol=rtol)
        if i + 1 < len(r.path) and certain.all():
            means = expected.centroids(best, len(centroids), weights)
            np.testing.assert_allclose(r.path[i + 1], means, rtol=0, atol=expected.slack)
    np.testing.assert_array_equal(r.labels[certain], best[certain])


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize(
    ("form", "n", "engine", "dtype", "metric"), [*combinations()], ids=lambda value: str(value).lstrip(">")
)
def test_fits_and_steps(form, n, engine, dtype, metric, weighted, tmp_path):
    X = values(n, dtype)
    weights = None if weighted == "none" else np.random.default_rng(1).random(M)
    options = {"init": X[:K].astype(np.float64), "tol": 0.0, "algorithm": engine, "metric": metric}
    own = {} if weights is None else {"sample_weight": weights}
    given = ckmeans.prepare(X, **own) if form == "prepared" else FORMS[form](X, tmp_path)
    again = {} if form == "prepared" else own  # prepared points have their weights
    fit = ckmeans.kmeans_chunks if form == "chunks" else ckmeans.kmeans
    r, more = (fit(given, K, n_threads=threads, keep_path=True, **options, **again) for threads in (1, 3))
    assert_same(r, more)
    expected = REFERENCES[metric](X, form)
    check_path(r, expected, weights)
    if form == "chunks":
        options["algorithm"] = "dense"
    if form not in ("array", "sparse") and engine != "auto":
        assert_same(r, ckmeans.kmeans(X, K, keep_path=True, **options, **own))
    if form == "chunks":
        return
    how = {"metric": metric}
    labels, squared = ckmeans.assign(given, r.centroids, return_squared_distance=True, n_threads=2, **how)
    np.testing.assert_array_equal(labels, r.labels)
    rtol = 1e-9 if metric == "euclidean" else 1e-4
    np.testing.assert_allclose(squared, expected.squared(r.centroids, labels), rtol=rtol, atol=1e-6)
    assert ckmeans.distortion(given, r.centroids, **how, **again) == r.distortion
    means, counts = ckmeans.update(given, labels, len(r.centroids), **again)
    np.testing.assert_array_equal(counts, r.counts)
    wanted, _ = reference.update(X, labels, len(r.centroids), weights)
    np.testing.assert_allclose(means, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
