"""Starts and seeds: initial centroids, and their reproducibility."""

from __future__ import annotations

import math

import cases
import numpy as np
import pytest
import reference
from checks import assert_same

import ckmeans

METHODS = ["random", "k-means++"]


def shares(draws, outcomes):
    """Return how often each outcome was drawn."""
    return np.array([draws.count(outcome) for outcome in outcomes]) / len(draws)


def assert_near(found, expected, draws):
    """Check counts to five standard deviations of a binomial share."""
    expected = np.array(expected)
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws) + 1e-12).all(), found


# ---- random points--------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("K", [1, 2, 7, 60, 200])
def test_starts_are_distinct_points(method, K, kind, dtype):
    X = np.unique(cases.make(kind, 230, 3, dtype), axis=0)
    K = min(K, len(X))
    centroids = ckmeans.init_centroids(X, K, method, seed=K)
    assert centroids.dtype == dtype
    rows = [np.flatnonzero((centroid == X).all(axis=1)) for centroid in centroids]
    assert all(len(row) == 1 for row in rows)
    assert len({int(row[0]) for row in rows}) == K


@pytest.mark.parametrize("method", METHODS)
def test_rare_values_are_found(method, dtype):
    X = np.zeros((5000, 2), dtype)
    X[[17, 4321]] = [[1, 0], [-0.0, 1e-3]]
    X[99] = -0.0
    for seed in range(5):
        values = {tuple(row) for row in ckmeans.init_centroids(X, 3, method, seed=seed).tolist()}
        assert values == {tuple(row) for row in np.unique(X, axis=0).tolist()}


@pytest.mark.parametrize("method", METHODS)
def test_more_clusters_than_values(method):
    X = np.repeat([[1.0, 2.0], [3.0, 4.0]], 10, axis=0)
    centroids = ckmeans.init_centroids(X, 5, method, seed=0)
    assert centroids.shape == (5, 2)
    assert {tuple(row) for row in centroids.tolist()} == {(1, 2), (3, 4)}


def test_random_points_are_equally_likely():
    X = np.arange(8.0)[:, None]
    draws = [int(ckmeans.init_centroids(X, 1, "random", seed=seed)[0, 0]) for seed in range(4000)]
    assert_near(shares(draws, range(8)), [1 / 8] * 8, 4000)


@pytest.mark.parametrize("method", METHODS)
def test_draws_follow_the_weights(method):
    X, weights = np.arange(5.0)[:, None], np.array([0, 1, 2, 0, 5])
    draws = [
        int(ckmeans.init_centroids(X, 1, method, seed=seed, sample_weight=weights)[0, 0])
        for seed in range(4000)
    ]
    assert_near(shares(draws, range(5)), weights / 8, 4000)


# ---- k-means++ ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1, 2, 0, 1, 3]], ids=["plain", "weighted"])
def test_draws_follow_the_squared_distances(weights, dtype):
    X = np.array([[0.0], [1.0], [2.0], [4.0], [-3.0]])
    w = np.ones(5) if weights is None else np.array(weights, float)
    pairs = [(i, j) for i in range(5) for j in range(5)]
    squared = reference.squared_distances(X, X)
    expected = [w[i] / w.sum() * w[j] * squared[i, j] / (w * squared[i]).sum() for i, j in pairs]
    draws = []
    for seed in range(6000):
        centroids = ckmeans.init_centroids(X.astype(dtype), 2, seed=seed, trials=1, sample_weight=weights)
        draws.append(tuple(int(np.flatnonzero(X[:, 0] == value)[0]) for value in centroids[:, 0]))
    assert_near(shares(draws, pairs), expected, 6000)


def test_many_trials_are_greedy(dtype):
    X = cases.make("blobs", 60, 2, dtype)
    values = reference.rounded(X, dtype)
    for seed in range(5):
        centroids = ckmeans.init_centroids(X, 4, seed=seed, trials=1500)
        for k in range(1, 4):
            costs = [reference.distortion(values, np.vstack([centroids[:k], x])) for x in values]
            cost = reference.distortion(values, centroids[: k + 1])
            assert cost <= min(costs) * (1 + 1e-5)


def test_default_number_of_trials():
    X = cases.make("uniform", 500, 3)
    for K in (7, 8, 25, 60):
        by_default = ckmeans.init_centroids(X, K, seed=1)
        np.testing.assert_array_equal(
            by_default, ckmeans.init_centroids(X, K, seed=1, trials=2 + int(math.log(K)))
        )
        assert (by_default != ckmeans.init_centroids(X, K, seed=1, trials=1)).any()


def test_seeding_finds_far_blobs(dtype):
    """Twenty tight blobs far apart: k-means++ takes a point of each, random points do not."""
    rng = np.random.default_rng(0)
    X = (np.arange(20)[:, None, None] * 100 + rng.random((20, 30, 2))).reshape(600, 2).astype(dtype)
    blobs = {method: set() for method in METHODS}
    for method in METHODS:
        for seed in range(10):
            blobs[method].add(
                len(set((ckmeans.init_centroids(X, 20, method, seed=seed)[:, 0] // 100).tolist()))
            )
    assert blobs["k-means++"] == {20}
    assert max(blobs["random"]) < 20


# ---- reproducible starts --------------------------------------------------------------------------------


@pytest.mark.parametrize("init", [*METHODS, "array", "callable"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_kmeans_starts_from_init_centroids(init, weighted, dtype):
    X = cases.make("uniform", 3000, 4, dtype)
    weights = np.random.default_rng(0).random(3000) if weighted else None
    init = {"array": X[:9] * 1.1, "callable": lambda X, K, rng: rng.choice(X, K)}.get(init, init)
    start = ckmeans.init_centroids(X, 9, init, seed=7, sample_weight=weights)
    r = ckmeans.kmeans(X, 9, init=init, seed=7, sample_weight=weights, keep_path=True, max_iter=1)
    assert start.dtype == r.path[0].dtype
    np.testing.assert_array_equal(start, r.path[0])


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_threads(method, dtype):
    X = cases.make("uniform", 50_000, 5, dtype)
    weights = np.random.default_rng(0).random(50_000)
    options = {"seed": 3, "sample_weight": weights}
    one = ckmeans.init_centroids(X, 30, method, n_threads=1, **options)
    for n_threads in (2, 3, 8, None):
        np.testing.assert_array_equal(
            one, ckmeans.init_centroids(X, 30, method, n_threads=n_threads, **options)
        )


def test_callable_gets_data_k_and_generator():
    X = cases.make("uniform", 100, 2)
    seen = []

    def init(data, K, rng):
        seen.append((data, K, rng.random()))
        return data[:K]

    ckmeans.kmeans(X, 3, init=init, n_init=3, seed=5)
    assert all(data is X and K == 3 for data, K, _ in seen)
    assert len({number for _, _, number in seen}) == 3
    again = list(seen)
    seen.clear()
    ckmeans.kmeans(X, 3, init=init, n_init=2, seed=5)
    assert [number for *_, number in seen] == [number for *_, number in again[:2]]


def test_callable_returns_any_valid_start():
    X = cases.make("uniform", 100, 2)
    expected = ckmeans.kmeans(X, 2, init=X[:2])
    for made in (X[:2].tolist(), X[:2].astype(">f8"), np.asfortranarray(X[:2]), X[1::-1][::-1]):
        assert_same(ckmeans.kmeans(X, 2, init=lambda *_, made=made: made), expected)
        assert_same(ckmeans.kmeans(X, 2, init=made), expected)


def test_array_is_used_as_given(dtype):
    X = cases.make("uniform", 100, 2, dtype)
    start = np.array([[0.1, 0.2], [0.7, 0.9]])
    r = ckmeans.kmeans(X, 2, init=start, keep_path=True)
    np.testing.assert_array_equal(r.path[0], start.astype(dtype))
    assert_same(r, ckmeans.kmeans(X, 2, init=start.tolist(), seed=99, n_threads=1), path=False)


# ---- seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_init", [1, 20])
def test_same_seed_same_result(method, n_init):
    X = cases.make("uniform", 300, 2)
    options = {"init": method, "n_init": n_init}
    results = [ckmeans.kmeans(X, 6, seed=seed, **options) for seed in range(6)]
    assert len({r.distortions[0] for r in results}) > 3
    for seed, r in enumerate(results):
        assert_same(r, ckmeans.kmeans(X, 6, seed=seed, **options))
        assert_same(r, ckmeans.kmeans(X, 6, seed=np.int64(seed), **options))
        assert_same(r, ckmeans.kmeans(X, 6, seed=np.uint8(seed), **options))


def test_large_seeds_differ():
    X = cases.make("uniform", 300, 2)
    seeds = [0, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 2**200]
    starts = {ckmeans.init_centroids(X, 6, "random", seed=seed).tobytes() for seed in seeds}
    assert len(starts) == len(seeds)


def test_no_seed_gives_different_starts():
    X = cases.make("uniform", 300, 2)
    assert len({ckmeans.init_centroids(X, 6, "random").tobytes() for _ in range(5)}) == 5


def test_generator_state_advances():
    X = cases.make("uniform", 300, 2)

    def two(seed):
        rng = np.random.default_rng(seed)
        return [ckmeans.kmeans(X, 6, init="random", seed=rng, n_init=3, max_iter=1) for _ in range(2)]

    first, second = two(1)
    assert (first.distortions != second.distortions).all()
    for one, other in zip((first, second), two(1), strict=True):
        assert_same(one, other)
    assert (first.distortions != two(2)[0].distortions).all()


def test_restarts_have_distinct_streams():
    X = cases.make("uniform", 500, 3)
    starts = []
    for seed in range(10):
        ckmeans.kmeans(
            X, 4, init="random", n_init=10, seed=seed, max_iter=1,
            callback=lambda i, J, C: starts.append(C.tobytes()) if i == 0 else None,
        )  # fmt: skip
    assert len(set(starts)) == 100


# ---- data that need float64, or are invalid -------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-25, 1e22])
def test_starts_with_squares_beyond_float32(method, scale):
    X = (cases.make("blobs", 300, 3) * scale).astype(np.float32)
    r = ckmeans.kmeans(X, 5, init=method, seed=0, keep_path=True)
    start = ckmeans.init_centroids(X, 5, method, seed=0)
    np.testing.assert_array_equal(start, r.path[0])
    assert len(np.unique(start, axis=0)) == 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_starts_are_finite_or_rejected(method, bad, dtype):
    X = cases.make("uniform", 20, 2, dtype)
    X[3, 1] = bad
    with pytest.raises(ValueError, match=r"X must be finite, found (nan|inf) at row 3, column 1"):
        ckmeans.init_centroids(X, 20, method, seed=0)
