"""Clusters without points, under each policy."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from checks import check_path, check_state

import ckmeans

FAR = 1e4


@pytest.fixture
def data(dtype):
    """Return (points, a start of six centroids of which the second and the fifth get no point)."""
    X = cases.make("blobs", 400, 3, dtype)
    start = cases.some_rows(X, 6)
    start[[1, 4]] = [[FAR] * 3, [-FAR] * 3]
    return X, start


def test_drop_keeps_the_others_in_order(kmeans, data):
    X, start = data
    r = kmeans(X, 6, init=start, empty="drop", keep_path=True, tol=0)
    check_state(X, r)
    check_path(X, r)
    assert [len(centroids) for centroids in r.path[:3]] == [6, 4, 4]
    others = kmeans(X, 4, init=start[[0, 2, 3, 5]], tol=0, keep_path=True)
    np.testing.assert_array_equal(r.centroids, others.centroids)
    np.testing.assert_array_equal(r.labels, others.labels)


def test_farthest_takes_points_by_distance(kmeans, data):
    X, start = data
    r = kmeans(X, 6, init=start, empty="farthest", keep_path=True, max_iter=1)
    _, squared = ckmeans.assign(X, start, return_squared_distance=True)
    first, second = np.argsort(-squared, kind="stable")[:2]
    np.testing.assert_array_equal(r.path[1][[1, 4]], X[[first, second]])
    check_state(X, r)
    assert (kmeans(X, 6, init=start, empty="farthest").counts > 0).all()


def test_farthest_takes_first_of_equal_points(kmeans):
    X = np.array([[0.0], [0.0], [5.0], [-5.0], [5.0]])
    r = kmeans(X, 3, init=[[0.0], [99.0], [-99.0]], empty="farthest", keep_path=True, max_iter=1)
    assert r.path[1][1:].tolist() == [[5.0], [-5.0]]


def test_farthest_ignores_points_without_weight(kmeans, data):
    X, start = data
    _, squared = ckmeans.assign(X, start, return_squared_distance=True)
    order = np.argsort(-squared, kind="stable")
    weights = np.ones(len(X))
    weights[order[[0, 2]]] = 0
    r = kmeans(X, 6, init=start, empty="farthest", keep_path=True, max_iter=1, sample_weight=weights)
    np.testing.assert_array_equal(r.path[1][[1, 4]], X[order[[1, 3]]])


def test_reinit_takes_random_points(kmeans, data):
    X, start = data
    taken = set()
    for seed in range(8):
        r = kmeans(X, 6, init=start, empty="reinit", seed=seed, keep_path=True, max_iter=1)
        for centroid in r.path[1][[1, 4]]:
            row = np.flatnonzero((centroid == X).all(axis=1))
            assert row.size > 0
            taken.add(int(row[0]))
        check_state(X, r)
    assert len(taken) > 8
    assert (kmeans(X, 6, init=start, empty="reinit", seed=0).counts > 0).all()


def test_reinit_draws_with_the_weights(kmeans, data):
    X, start = data
    weights = np.zeros(len(X))
    _, squared = ckmeans.assign(X, start, return_squared_distance=True)
    allowed = np.flatnonzero(squared > 0)[:5]
    weights[allowed] = 1e-9
    weights[squared == 0] = 1
    for seed in range(5):
        r = kmeans(
            X, 6, init=start, empty="reinit", seed=seed, keep_path=True, max_iter=1, sample_weight=weights
        )
        for centroid in r.path[1][[1, 4]]:
            assert (X[allowed] == centroid).all(axis=1).any()


def test_error_names_cluster_and_iteration(kmeans, data):
    X, start = data
    with pytest.raises(ValueError, match='empty="error": cluster 1 has no points after iteration 0'):
        kmeans(X, 6, init=start, empty="error")
    good = start[[0, 2, 3, 5]]
    r = kmeans(X, 4, init=good, empty="error")
    assert (r.counts > 0).all()


# ---- clusters that empty during a run ----------------------------------------------------------------

# The first update moves the middle centroid between its two points, which its neighbours then take.
ROBBED = np.array([[-1.0], [0.0], [10.0], [11.0]])
ROBBED_START = np.array([[-6.5], [5.0], [16.5]])


def test_drop_during_a_run(kmeans):
    r = kmeans(ROBBED, 3, init=ROBBED_START, tol=0, empty="drop", keep_path=True)
    assert [centroids.ravel().tolist() for centroids in r.path] == [
        [-6.5, 5, 16.5],
        [-1, 5, 11],
        [-0.5, 10.5],
    ]
    assert r.history.tolist() == [27.625, 0.5, 0.25]
    assert (r.n_iter, r.stop_reason, r.counts.tolist()) == (2, "stable", [2, 2])


def test_drop_after_the_last_assignment(kmeans):
    r = kmeans(ROBBED, 3, init=ROBBED_START, max_iter=1, empty="drop", keep_path=True)
    assert r.centroids.tolist() == [[-1], [11]]
    assert (r.n_iter, r.stop_reason, r.counts.tolist()) == (1, "max_iter", [2, 2])
    check_state(ROBBED, r)


def test_farthest_during_a_run(kmeans):
    r = kmeans(ROBBED, 3, init=ROBBED_START, tol=0, empty="farthest", keep_path=True)
    assert r.path[2].ravel().tolist() == [-0.5, 0, 10.5]
    assert r.centroids.ravel().tolist() == [-1, 0, 10.5]
    check_state(ROBBED, r)


@pytest.mark.parametrize("policy", ["reinit", "farthest"])
def test_no_refill_after_last_assignment(kmeans, policy):
    r = kmeans(ROBBED, 3, init=ROBBED_START, max_iter=1, empty=policy, seed=0)
    assert r.centroids.ravel().tolist() == [-1, 5, 11]
    assert (r.stop_reason, r.counts.tolist()) == ("max_iter", [2, 0, 2])
    check_state(ROBBED, r)


def test_error_during_a_run(kmeans):
    with pytest.raises(ValueError, match="cluster 1 has no points after iteration 1"):
        kmeans(ROBBED, 3, init=ROBBED_START, empty="error")


# ---- clusters that cannot be filled ------------------------------------------------------------------


@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_fewer_values_than_clusters(kmeans, init, empty, weighted, dtype):
    values = np.array([[0, 1], [3, 5], [-2, 2]], dtype)
    X = values[np.random.default_rng(0).integers(0, 3, 50)]
    weights = np.random.default_rng(1).random(50) if weighted else None
    options = {"init": init, "empty": empty, "sample_weight": weights, "seed": 4}
    if empty == "error":
        with pytest.raises(ValueError, match="has no points"):
            kmeans(X, 5, **options)
        return
    r = kmeans(X, 5, **options)
    check_state(X, r, weights)
    assert r.distortion == 0
    assert r.stop_reason == "stable"
    assert len(r.centroids) == (3 if empty == "drop" else 5)
    assert (r.counts > 0).sum() == 3
    assert r.n_iter <= 2


@pytest.mark.parametrize("policy", ["reinit", "farthest"])
def test_unfillable_clusters_keep_their_centroids(kmeans, policy):
    X = np.array([[1.0], [1.0], [1.0], [3.0]])
    r = kmeans(X, 4, init=[[1.0], [3.0], [50.0], [-50.0]], empty=policy, seed=0)
    assert r.centroids.tolist() == [[1.0], [3.0], [50.0], [-50.0]]
    assert r.counts.tolist() == [3, 1, 0, 0]
    assert (r.stop_reason, r.n_iter) == ("stable", 1)


@pytest.mark.parametrize("policy", ["drop", "reinit", "farthest"])
def test_all_points_equal(kmeans, policy, dtype):
    X = np.full((40, 3), 7, dtype)
    r = kmeans(X, 4, empty=policy, seed=0)
    check_state(X, r)
    assert r.distortion == 0
    assert (r.labels == 0).all()


# ---- a callback that stops at once, and clusters of points without weight ----------------------------


def test_drop_after_callback_stop(kmeans, data):
    X, start = data
    r = kmeans(X, 6, init=start, callback=lambda *_: True, keep_path=True)
    assert (r.n_iter, r.stop_reason) == (0, "callback")
    np.testing.assert_array_equal(r.centroids, start[[0, 2, 3, 5]])
    check_state(X, r)


@pytest.mark.parametrize("policy", ["reinit", "farthest"])
def test_no_refill_after_callback_stop(kmeans, data, policy):
    X, start = data
    r = kmeans(X, 6, init=start, empty=policy, callback=lambda *_: True)
    np.testing.assert_array_equal(r.centroids, start)
    np.testing.assert_array_equal(np.flatnonzero(r.counts == 0), [1, 4])
    check_state(X, r)


def test_zero_weight_clusters_are_empty(kmeans, data, empty):
    X, start = data
    labels = ckmeans.assign(X, start)
    weights = (labels != 3).astype(float)
    options = {"init": start[[0, 2, 3, 5]], "empty": empty, "sample_weight": weights, "seed": 0}
    if empty == "error":
        with pytest.raises(ValueError, match="cluster 2 has no points"):
            kmeans(X, 4, **options)
        return
    r = kmeans(X, 4, **options)
    check_state(X, r, weights)
    assert len(r.centroids) == (3 if empty == "drop" else 4)
    assert (np.bincount(r.labels, weights, len(r.centroids)) > 0).all()
