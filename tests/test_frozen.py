"""Centroids of a given start that stay where they are."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference
from checks import assert_same, check_state
from test_bad_input import refused

import ckmeans


def frozen_lloyd(X, start, flags, iterations, weights=None):
    """Return the centroids of each iteration of Lloyd's algorithm, of which some stay."""
    path = [np.asarray(start, np.float64)]
    for _ in range(iterations):
        labels = reference.assign(X, path[-1])
        means, total = reference.update(X, labels, len(start), weights)
        path.append(np.where((flags | (total == 0))[:, None], path[-1], means))
    return path


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("m", "n", "K"), [(40, 1, 3), (500, 2, 6), (2000, 8, 20), (1500, 60, 25)])
def test_iterations_follow_the_reference(m, n, K, weighted):
    X = cases.blobs(m, n)
    start = cases.some_rows(X, K) + 0.25
    weights = np.random.default_rng(0).random(m) if weighted else None
    flags = np.arange(K) % 3 == 1
    options = {
        "init": start,
        "frozen": flags,
        "empty": "farthest",
        "tol": 0,
        "max_iter": 8,
        "keep_path": True,
    }
    for algorithm in cases.engines(m, n):
        r = ckmeans.kmeans(X, K, algorithm=algorithm, sample_weight=weights, **options)
        check_state(X, r, weights)
        for found, wanted in zip(
            r.path, frozen_lloyd(X, start, flags, len(r.path) - 1, weights), strict=True
        ):
            np.testing.assert_array_equal(found[flags], start[flags])
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [2, 40])
def test_carried_sums_stay_right(n):
    X = cases.blobs(20_000, n).astype("f4")
    start = cases.some_rows(X, 30)
    for algorithm in ("auto", *cases.engines(20_000, n)):
        options = {"init": start, "frozen": 10, "algorithm": algorithm, "tol": 0}
        r = ckmeans.kmeans(X, 30, **options)
        check_state(X, r)
        assert r.stop_reason == "stable"
        np.testing.assert_array_equal(r.centroids[:10], start[:10])
        means, _ = reference.update(X, r.labels, 30)
        np.testing.assert_allclose(r.centroids[10:], means[10:], rtol=1e-5, atol=1e-5)
        assert_same(r, ckmeans.kmeans(X, 30, n_threads=3, **options))


def test_a_count_is_leading_flags(dtype):
    X = cases.blobs(300, 3).astype(dtype)
    options = {"init": X[:5]}
    counted = ckmeans.kmeans(X, 5, frozen=2, **options)
    assert_same(counted, ckmeans.kmeans(X, 5, frozen=[True, True, False, False, False], **options))
    assert_same(ckmeans.kmeans(X, 5, **options), ckmeans.kmeans(X, 5, frozen=0, **options))
    np.testing.assert_array_equal(ckmeans.kmeans(X, 5, frozen=5, **options).centroids, X[:5])


@pytest.mark.parametrize("flags", [[True, False], [True, False, False, False, False, False], 1])
def test_part_of_a_start(flags):
    X = cases.blobs(400, 2)
    start = X[[7, 9]] + 0.5
    r = ckmeans.kmeans(X, 6, init=start, frozen=flags, n_init=4, seed=0, n_threads=2)
    check_state(X, r)
    assert len(r.distortions) == 4
    np.testing.assert_array_equal(r.centroids[0], start[0])
    assert (r.centroids[1] != start[1]).any()


@pytest.mark.parametrize("policy", ["drop", "reinit", "farthest", "error"])
def test_empty_frozen_clusters_stay(policy, dtype):
    X = cases.blobs(200, 2).astype(dtype)
    start = np.concatenate([[[900, 900]], X[:3], [[950, 950]]]).astype(dtype)
    r = ckmeans.kmeans(X, 5, init=start, frozen=[True, False, False, False, True], empty=policy)
    check_state(X, r)
    np.testing.assert_array_equal(r.centroids[[0, -1]], start[[0, -1]])
    assert r.counts[0] == r.counts[-1] == 0


@pytest.mark.parametrize("policy", ["drop", "reinit", "farthest"])
def test_other_empty_clusters_follow_the_policy(policy):
    X = cases.blobs(200, 2)
    start = np.concatenate([[[900, 900]], X[:2], [[901, 901]], X[2:3]])
    r = ckmeans.kmeans(X, 5, init=start, frozen=[True, False, False, False, True], empty=policy, seed=0)
    check_state(X, r)
    np.testing.assert_array_equal(r.centroids[0], start[0])
    np.testing.assert_array_equal(r.centroids[-1], start[-1])
    assert len(r.centroids) == (4 if policy == "drop" else 5)
    assert (r.counts[1:] > 0).all()


def test_directions_can_be_frozen(dtype):
    X = np.abs(cases.blobs(500, 5)).astype(dtype) + 1
    start = 3 * X[:4]
    r = ckmeans.kmeans(X, 4, init=start, frozen=2, metric="cosine")
    np.testing.assert_allclose(r.centroids[:2], reference.directions(start[:2]), rtol=1e-6)
    assert (np.diff(r.history) <= 0).all()
    assert r.distortion == ckmeans.distortion(X, r.centroids, metric="cosine")


def test_chunks_and_sparse_rows():
    X = cases.blobs(900, 4)
    options = {"init": X[:6], "frozen": [False, True] * 3, "max_iter": 5}
    whole = ckmeans.kmeans(X, 6, algorithm="dense", **options)
    assert_same(whole, ckmeans.kmeans_chunks([X[:100], X[100:]], 6, **options))
    sparse = pytest.importorskip("scipy.sparse")
    r = ckmeans.kmeans(sparse.csr_array(X), 6, **options)
    np.testing.assert_allclose(r.centroids, whole.centroids, rtol=1e-9)
    np.testing.assert_array_equal(r.centroids[1::2], X[1:6:2])


def test_one_feature_is_not_solved():
    X = cases.blobs(100, 1)
    r = ckmeans.kmeans(X, 3, init=[[50.0]], frozen=1, seed=0)
    assert (r.optimal, r.centroids[0, 0]) == (False, 50)
    with refused(ValueError, 'algorithm="optimal" takes init="k-means++"'):
        ckmeans.kmeans(X, 3, init=[[50.0]], frozen=1, algorithm="optimal")


@pytest.mark.parametrize(
    ("frozen", "exception", "words"),
    [
        (4, ValueError, ["frozen must be at most 3 (the rows of init)", "found 4"]),
        (-1, ValueError, ["frozen must be at least 0", "found -1"]),
        (1.5, TypeError, ["frozen must be a number of rows of init, or a boolean for each", "found 1.5"]),
        ([0, 1, 1], TypeError, ["frozen must be", "a boolean for each", "found [0, 1, 1]"]),
        ("all", TypeError, ["frozen must be", "found 'all'"]),
        (True, ValueError, ["frozen must have shape (3,), one a row of init", "found shape ()"]),
        ([True, False], ValueError, ["frozen must have shape (3,)", "found shape (2,)"]),
        ([[True] * 3], ValueError, ["frozen must have shape (3,)", "found shape (1, 3)"]),
        ([False, True, False, False, True], ValueError, ["none but the 3 rows of init", "found True at 4"]),
    ],
)
def test_wrong_flags(frozen, exception, words):
    X = cases.blobs(30, 2)
    with refused(exception, *words):
        ckmeans.kmeans(X, 5, init=X[:3], frozen=frozen)


@pytest.mark.parametrize("init", ["k-means++", "random", lambda X, K, rng: X[:K]])
def test_starts_that_are_not_given(init):
    with refused(ValueError, "frozen needs init to be an array of centroids, found"):
        ckmeans.kmeans(cases.blobs(30, 2), 3, init=init, frozen=1)
