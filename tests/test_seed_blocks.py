"""k-means++ of many rows of few features: blocks of near rows that no candidate can improve are passed over.

Sparse rows take a pass over all rows for each centroid, so they say what the distribution is.
"""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference

import ckmeans

WORK = 1 << 23  # features of all candidates and rows, from which blocks are in use


def potential(X, centroids):
    nearest = centroids[ckmeans.assign(X, centroids).astype(np.int64)]
    return float(((X - nearest).astype(float) ** 2).sum())


@pytest.mark.parametrize("form", ["plain", "weights", "repeats"])
def test_draws_follow_the_squared_distances(form, dtype):
    """The last centroid of 32, one candidate: by chi-square over ranges of X."""
    rng = np.random.default_rng(3)
    X = rng.random((WORK // 32 + 77, 1)).astype(dtype)
    given = np.linspace(0, 0.7, 31)[:, None].astype(dtype) ** 2
    repeats = np.ones(len(X), int) if form == "plain" else rng.integers(form == "repeats", 4, len(X))
    points = np.repeat(X, repeats, axis=0) if form == "repeats" else X
    prepared = ckmeans.prepare(points, sample_weight=repeats.astype(float) if form == "weights" else None)
    ranges = 20
    squared = repeats * ((X - given.T).astype(float) ** 2).min(1)
    edges = np.interp(np.linspace(0, 1, ranges + 1)[1:-1], [0, 1], [0.35, 1])
    expected = np.bincount(np.searchsorted(edges, X[:, 0]), squared, ranges)
    expected *= 160 / expected.sum()
    drawn = [ckmeans.init_centroids(prepared, 32, given, trials=1, seed=s)[31, 0] for s in range(160)]
    found = np.bincount(np.searchsorted(edges, drawn), minlength=ranges)
    used = expected >= 4
    chi_square = ((found - expected)[used] ** 2 / expected[used]).sum()
    assert used.sum() >= 8
    assert chi_square < used.sum() + 5 * np.sqrt(2 * used.sum())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_best_of_many_candidates_wins(n, weighted, dtype):
    X = cases.make("blobs", 400, n, dtype)
    K = max(32, 12 * n)
    weights = np.random.default_rng(1).integers(1, 4, 400).astype(float) if weighted else np.ones(400)
    given = (X[: K - 1] + 0.01).astype(dtype)
    start = ckmeans.init_centroids(X, K, given, trials=WORK // (300 * K), seed=2, sample_weight=weights)
    squared = reference.squared_distances(X.astype(float), X.astype(float))
    known = reference.squared_distances(X.astype(float), given.astype(float)).min(1)
    potentials = weights @ np.minimum(squared, known[:, None])
    row = int(np.flatnonzero((start[-1] == X).all(1))[0])
    assert potentials[row] <= potentials.min() * (1 + 1e-5)


@pytest.mark.parametrize(("kind", "n"), [("blobs", 2), ("uniform", 3), ("outlier", 2), ("uniform", 8)])
def test_potentials_are_those_of_passes(kind, n):
    sparse = pytest.importorskip("scipy.sparse")
    X = cases.make(kind, 9000, n, np.float32)
    K = 120
    means, errors = [], []
    for points in (X, sparse.csr_array(X)):
        found = [potential(X, ckmeans.init_centroids(points, K, seed=seed)) for seed in range(50)]
        means.append(np.mean(found))
        errors.append(np.std(found) / np.sqrt(50))
    assert abs(means[0] - means[1]) <= 4 * np.hypot(*errors)


@pytest.mark.parametrize("kind", ["blobs", "uniform", "outlier"])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_starts_do_not_depend_on_threads(kind, n, dtype):
    X = cases.make(kind, 60_000, n, dtype)
    options = {"seed": 1, "sample_weight": np.random.default_rng(0).random(len(X))}
    one = ckmeans.init_centroids(X, 100, n_threads=1, **options)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(ckmeans.init_centroids(X, 100, n_threads=threads, **options), one)


@pytest.mark.parametrize("kind", ["blobs", "uniform"])
def test_fits_start_from_init_centroids(kind):
    """Restarts too, on which thread ever; of the uniform rows most blocks are near every candidate."""
    X = cases.make(kind, 20_000, 8, np.float32)
    fits = [ckmeans.kmeans(X, 100, seed=5, n_init=3, max_iter=2, n_threads=t, keep_path=True) for t in (1, 3)]
    np.testing.assert_array_equal(fits[0].distortions, fits[1].distortions)
    np.testing.assert_array_equal(fits[0].labels, fits[1].labels)
    fit = ckmeans.kmeans(X, 100, seed=5, max_iter=1, keep_path=True)
    np.testing.assert_array_equal(fit.path[0], ckmeans.init_centroids(X, 100, seed=5))


@pytest.mark.parametrize("kind", cases.KINDS)
@pytest.mark.parametrize("order", ["C", "F", "strided", "int16"])
def test_seeds_are_distinct_rows(kind, order):
    X = cases.make(kind, 30_000, 3, np.float32)
    if kind == "lattice":
        X += np.float32(20) * np.arange(30)[np.arange(len(X)) % 30, None]
    if order == "int16":
        X = ((X - np.median(X, axis=0)) * 300).clip(-3e4, 3e4).astype(np.int16)
    else:
        X = {"C": X, "F": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=1)[:, ::2]}[order]
    weights = np.random.default_rng(2).integers(0, 3, len(X)).astype(float)
    for w in (None, weights):
        start, rows = ckmeans.init_centroids(X, 64, seed=3, sample_weight=w, return_indices=True)
        np.testing.assert_array_equal(X[rows].astype(start.dtype), start)
        assert len(np.unique(start, axis=0)) == 64
        assert w is None or (w[rows] > 0).all()


@pytest.mark.parametrize("K", [1500, 1600])
def test_all_rows_are_chosen(K):
    """As many clusters as rows, or more."""
    X = cases.make("uniform", 1500, 2, np.float32)
    start = ckmeans.init_centroids(X, min(K, 1500), seed=0)
    assert len(np.unique(start, axis=0)) == 1500
    doubled = np.concatenate([X, X[::-1]])
    start = ckmeans.init_centroids(doubled, K, seed=0)
    assert {tuple(row) for row in start.tolist()} == {tuple(row) for row in X.tolist()}


def test_values_out_of_range():
    X = cases.make("uniform", 60_000, 2, np.float32)
    start = ckmeans.init_centroids(X * np.float32(1e25), 64, seed=0)
    assert start.dtype == np.float64
    assert len(np.unique(start, axis=0)) == 64
    X[777, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN|finite"):
        ckmeans.init_centroids(X, 64, seed=0)
