"""`kmeans`: the loop, stopping rules, restarts, callbacks and the result."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference
from checks import assert_same, check_path, check_state

import ckmeans

# ---- Lloyd's algorithm -----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_every_iteration_is_lloyds(kmeans, kind, init, weighted, dtype):
    X = cases.make(kind, 700, 4, dtype)
    weights = np.random.default_rng(0).random(700) if weighted else None
    r = kmeans(X, 9, init=init, seed=1, tol=0, keep_path=True, sample_weight=weights)
    check_state(X, r, weights)
    check_path(X, r, weights)
    assert r.n_iter >= 2


@pytest.mark.parametrize("n", [1, 2, 3, 8, 17, 64, 257])
def test_whole_run_equals_the_reference(n):
    """In float64 no point of these data is near a tie, so that whole runs agree."""
    for m, K in ((30, 4), (515, 13), (1100, 25)):
        X = cases.make("uniform", m, n)
        start = cases.some_rows(X, K)
        r = ckmeans.kmeans(X, K, init=start, tol=0)
        expected = reference.lloyd(X, start)
        assert (r.n_iter, r.stop_reason) == (expected["n_iter"], expected["stop_reason"])
        np.testing.assert_array_equal(r.labels, expected["labels"])
        np.testing.assert_allclose(r.centroids, expected["centroids"], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(r.history, expected["history"], rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
def test_offset_changes_only_the_centroids(offset):
    """The data are multiples of a power of two, so that the offset is exact."""
    X = np.round(cases.make("blobs", 600, 3) * 64) / 64
    start = cases.some_rows(X, 8)
    plain = ckmeans.kmeans(X, 8, init=start, tol=0)
    moved = ckmeans.kmeans(X + offset, 8, init=start + offset, tol=0)
    np.testing.assert_array_equal(moved.labels, plain.labels)
    np.testing.assert_allclose(moved.centroids - offset, plain.centroids, atol=1e-9)
    np.testing.assert_allclose(moved.history, plain.history, rtol=1e-8)


def test_one_far_point(dtype):
    X = cases.make("blobs", 500, 3, dtype)
    far = np.concatenate([X, np.full((1, 3), 1e7, dtype)])
    start = cases.some_rows(X, 6)
    plain = ckmeans.kmeans(X, 6, init=start, tol=0)
    with_far = ckmeans.kmeans(far, 7, init=np.concatenate([start, far[-1:]]), tol=0)
    np.testing.assert_array_equal(with_far.labels[:500], plain.labels)
    np.testing.assert_array_equal(with_far.centroids[:6], plain.centroids)
    assert with_far.counts[6] == 1


# ---- edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("m", [1, 2, 5, 33, 130])
def test_as_many_clusters_as_points(kmeans, kind, init, m, dtype):
    X = cases.make(kind, m, 3, dtype)
    X = np.unique(X, axis=0)
    r = kmeans(X, len(X), init=init, seed=0)
    assert r.distortion == 0
    assert sorted(r.counts) == [1] * len(X)
    np.testing.assert_array_equal(r.centroids[r.labels], X)
    assert r.stop_reason == "stable"


def test_one_cluster(kmeans, kind, dtype):
    X = cases.make(kind, 321, 5, dtype)
    r = kmeans(X, 1, seed=0, tol=0)
    mean = reference.update(X, np.zeros(321, int), 1)[0][0]
    slack = 1e-15 * np.abs(X - mean).max()
    np.testing.assert_allclose(r.centroids[0], mean, rtol=2 * np.finfo(dtype).eps, atol=slack)
    assert (r.labels == 0).all()
    assert r.n_iter <= 2
    check_state(X, r)


def test_one_point(kmeans):
    r = kmeans([[3, 4]], 1)
    assert (r.centroids.tolist(), r.labels.tolist(), r.distortion, r.stop_reason) == (
        [[3, 4]],
        [0],
        0,
        "stable",
    )


# ---- stopping rules --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_run():
    """Return (data, start, a run of many iterations until it is stable)."""
    X = cases.make("uniform", 2000, 2)
    start = cases.some_rows(X, 20)
    r = ckmeans.kmeans(X, 20, init=start, tol=0, max_iter=1000, keep_path=True)
    assert (r.stop_reason, r.converged) == ("stable", True)
    assert r.n_iter >= 20
    return X, start, r


def test_stable_when_no_label_changes(long_run):
    X, _, r = long_run
    changed = [
        (ckmeans.assign(X, a) != ckmeans.assign(X, b)).any() for a, b in zip(r.path, r.path[1:], strict=False)
    ]
    assert changed == [True] * (r.n_iter - 1) + [False]


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3, 1e-4])
def test_tolerance_is_relative_to_j(long_run, tol):
    X, start, full = long_run
    falls = (full.history[:-1] - full.history[1:]) <= tol * full.history[:-1]
    n_iter = int(np.flatnonzero(falls)[0]) + 1
    r = ckmeans.kmeans(X, 20, init=start, tol=tol, keep_path=True)
    assert (r.n_iter, r.stop_reason, r.converged) == (n_iter, "tolerance", True)
    np.testing.assert_array_equal(r.history, full.history[: n_iter + 1])
    np.testing.assert_array_equal(r.path, full.path[: n_iter + 1])
    check_state(X, r)


@pytest.mark.parametrize("max_iter", [1, 2, 7])
def test_max_iter_counts_updates(long_run, max_iter):
    X, start, full = long_run
    r = ckmeans.kmeans(X, 20, init=start, tol=0, max_iter=max_iter)
    assert (r.n_iter, r.stop_reason, r.converged) == (max_iter, "max_iter", False)
    np.testing.assert_array_equal(r.history, full.history[: max_iter + 1])
    np.testing.assert_array_equal(r.centroids, full.path[max_iter])
    check_state(X, r)


def test_stable_takes_precedence(long_run):
    X, _, full = long_run
    r = ckmeans.kmeans(X, 20, init=full.centroids, tol=1.0, max_iter=1)
    assert (r.n_iter, r.stop_reason) == (1, "stable")


def test_zero_tol_stops_at_equal_j(kmeans):
    """The update moves a centroid so little that J stays bit-identical, although the label of a point
    of weight 0 between the clusters changes."""
    delta = 2.0**-34
    X = np.array([[0.0], [2.0], [10.0], [12.0], [6 + delta / 4]])
    weights = [1, 1, 1, 1, 0]
    r = kmeans(X, 2, init=[[1 + delta], [11.0]], tol=0, sample_weight=weights, keep_path=True)
    assert (r.n_iter, r.stop_reason, r.history.tolist()) == (1, "tolerance", [1, 1])
    assert [ckmeans.assign(X, centroids)[4] for centroids in r.path] == [0, 1]


def test_rounding_never_raises_the_history(kmeans):
    """From one unit in the last place beside a fixed point, rounding often makes the step raise J: the run
    then keeps its start."""
    held = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 20, (rng.integers(2, 9), 1)) / 10
        fixed = kmeans(X, min(2, len(X)), seed=seed).centroids
        start = np.nextafter(fixed, fixed + rng.choice([-1, 1], fixed.shape))
        r = kmeans(X, len(start), init=start, tol=0, keep_path=True)
        check_state(X, r)
        assert r.stop_reason == "stable"
        assert r.history[0] == pytest.approx(ckmeans.distortion(X, start), rel=1e-12)
        if r.n_iter == 0:
            np.testing.assert_array_equal(r.centroids, start)
            held += 1
    assert 20 <= held <= 200  # 55 by the dense engine


def test_default_tolerance(long_run):
    X, start, _ = long_run
    assert_same(ckmeans.kmeans(X, 20, init=start), ckmeans.kmeans(X, 20, init=start, tol=1e-4, max_iter=300))


# ---- callbacks -------------------------------------------------------------------------------------


def test_callback_sees_every_assignment(long_run):
    X, start, full = long_run
    seen = []
    r = ckmeans.kmeans(X, 20, init=start, tol=0, max_iter=1000, callback=lambda *a: seen.append(a))
    assert_same(r, full, path=False)
    assert [a[0] for a in seen] == list(range(full.n_iter + 1))
    assert [a[1] for a in seen] == full.history.tolist()
    np.testing.assert_array_equal([a[2] for a in seen], full.path)


@pytest.mark.parametrize("last", [0, 1, 5])
@pytest.mark.parametrize("true", [True, np.True_])
def test_callback_stops_the_call(long_run, last, true):
    X, start, full = long_run
    r = ckmeans.kmeans(X, 20, init=start, tol=0, callback=lambda i, J, C: true if i == last else None)
    assert (r.n_iter, r.stop_reason, r.converged) == (last, "callback", False)
    np.testing.assert_array_equal(r.centroids, full.path[last])
    check_state(X, r)


@pytest.mark.parametrize("value", [None, False, 0, 1, "yes", np.ones(3)])
def test_only_true_stops_the_run(long_run, value):
    X, start, _full = long_run
    r = ckmeans.kmeans(X, 20, init=start, tol=0, max_iter=3, callback=lambda *_: value)
    assert (r.n_iter, r.stop_reason) == (3, "max_iter")


def test_callback_arguments_are_copies(long_run):
    X, start, full = long_run

    def spoil(iteration, distortion, centroids):
        centroids[:] = np.nan
        ckmeans.kmeans(X[:100], 3, seed=iteration)

    assert_same(ckmeans.kmeans(X, 20, init=start, tol=0, max_iter=1000, callback=spoil), full, path=False)


def test_callback_in_every_restart():
    X = cases.make("uniform", 300, 2)
    seen = []
    r = ckmeans.kmeans(X, 5, n_init=6, seed=3, callback=lambda *a: seen.append(a))
    assert_same(r, ckmeans.kmeans(X, 5, n_init=6, seed=3))
    starts = [i for i, a in enumerate(seen) if a[0] == 0]
    assert len(starts) == 6
    last = [seen[i - 1][1] for i in [*starts[1:], len(seen)]]
    assert last == r.distortions.tolist()


def test_callback_stop_returns_best_restart():
    X = cases.make("uniform", 300, 2)
    full = ckmeans.kmeans(X, 5, n_init=10, seed=3)
    starts = []

    def stop_in_the_fourth(iteration, distortion, centroids):
        starts.append(iteration == 0)
        return sum(starts) == 4

    r = ckmeans.kmeans(X, 5, n_init=10, seed=3, callback=stop_in_the_fourth)
    assert r.stop_reason == "callback"
    assert len(r.distortions) == 4
    np.testing.assert_array_equal(r.distortions[:3], full.distortions[:3])
    assert r.distortion == min(r.distortions)
    check_state(X, r)


# ---- restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["random", "k-means++", lambda X, K, rng: rng.choice(X, K)])
def test_best_restart_is_returned(init, dtype):
    X = cases.make("uniform", 400, 3, dtype)
    r = ckmeans.kmeans(X, 7, init=init, n_init=10, seed=5)
    assert r.distortions.shape == (10,)
    assert r.distortion == r.distortions.min()
    assert len(set(r.distortions)) > 3
    check_state(X, r)
    first = ckmeans.kmeans(X, 7, init=init, n_init=1, seed=5)
    assert first.distortion == r.distortions[0]
    assert first.distortions.tolist() == [r.distortions[0]]
    few = ckmeans.kmeans(X, 7, init=init, n_init=4, seed=5)
    np.testing.assert_array_equal(few.distortions, r.distortions[:4])


def test_first_of_equal_restarts_wins():
    """Each point is a cluster: every restart ends with J = 0, in another order of clusters."""
    X = cases.make("uniform", 6, 2)
    one = ckmeans.kmeans(X, 6, init="random", seed=1)
    many = ckmeans.kmeans(X, 6, init="random", seed=1, n_init=50)
    assert (many.distortions == 0).all()
    np.testing.assert_array_equal(many.centroids, one.centroids)


def test_thousands_of_restarts():
    X = cases.make("uniform", 50, 2)
    r = ckmeans.kmeans(X, 4, init="random", n_init=5000, seed=0)
    assert len(r.distortions) == 5000
    assert r.distortion == r.distortions.min()
    check_state(X, r)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_path_of_parallel_restarts(n_threads, dtype):
    X = cases.make("uniform", 300, 2, dtype)
    r = ckmeans.kmeans(X, 6, n_init=30, seed=2, keep_path=True, n_threads=n_threads, tol=0)
    check_state(X, r)
    check_path(X, r)
    in_order = ckmeans.kmeans(X, 6, n_init=30, seed=2, keep_path=True, callback=lambda *_: None, tol=0)
    assert_same(r, in_order)
    np.testing.assert_array_equal(r.path, in_order.path)
    assert_same(r, ckmeans.kmeans(X, 6, n_init=30, seed=2, tol=0, n_threads=n_threads), path=False)


# ---- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 20])
def test_integer_weights_equal_repeated_points(n):
    X = cases.make("uniform", 200, n)
    repeats = np.random.default_rng(1).integers(1, 5, 200)
    start = cases.some_rows(X, 8)
    weighted = ckmeans.kmeans(X, 8, init=start, sample_weight=repeats, tol=0)
    repeated = ckmeans.kmeans(np.repeat(X, repeats, axis=0), 8, init=start, tol=0)
    assert weighted.n_iter == repeated.n_iter
    assert weighted.distortion == pytest.approx(repeated.distortion, rel=1e-12)
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(np.repeat(weighted.labels, repeats), repeated.labels)
    np.testing.assert_array_equal(np.bincount(weighted.labels, repeats), repeated.counts)


def test_zero_weight_points_get_labels(dtype):
    X = cases.make("blobs", 300, 3, dtype)
    weights = (np.arange(300) % 3 > 0).astype(float)
    kept = X[weights > 0]
    start = cases.some_rows(kept, 5)
    r = ckmeans.kmeans(X, 5, init=start, sample_weight=weights, tol=0)
    alone = ckmeans.kmeans(kept, 5, init=start, tol=0)
    np.testing.assert_allclose(r.centroids, alone.centroids, rtol=10 * np.finfo(dtype).eps, atol=1e-6)
    np.testing.assert_array_equal(r.labels[weights > 0], alone.labels)
    assert r.counts.sum() == 300
    check_state(X, r, weights)


@pytest.mark.parametrize("scale", [1e-100, 1e-3, 7.0, 1e100])
def test_weights_of_any_scale(scale):
    X = cases.make("blobs", 300, 3)
    weights = np.random.default_rng(0).random(300)
    start = cases.some_rows(X, 6)
    plain = ckmeans.kmeans(X, 6, init=start, sample_weight=weights, tol=0)
    scaled = ckmeans.kmeans(X, 6, init=start, sample_weight=weights * scale, tol=0)
    np.testing.assert_array_equal(plain.labels, scaled.labels)
    np.testing.assert_allclose(plain.history, scaled.history, rtol=1e-12)
    np.testing.assert_allclose(plain.centroids, scaled.centroids, rtol=1e-12, atol=1e-14)


# ---- result ----------------------------------------------------------------------------------------


def test_result(dtype):
    X = cases.make("blobs", 100, 3, dtype)
    r = ckmeans.kmeans(X, 4, seed=0, n_init=3)
    assert isinstance(r, ckmeans.Result)
    assert r.centroids.shape == (4, 3)
    assert r.centroids.dtype == dtype
    assert r.path is None
    assert r.algorithm == "dense"
    assert all(type(value) is float for value in (r.distortion, r.history.tolist()[0]))
    assert type(r.n_iter) is int
    for text in ("100 points x 3", "K=4", "best of 3", r.stop_reason, f"{r.distortion:.6g}"):
        assert text in repr(r)
    with pytest.raises(AttributeError, match="read-only"):
        r.distortion = 0.0


def test_arguments_are_not_modified(dtype):
    X = cases.make("blobs", 200, 3, dtype)
    start, weights = cases.some_rows(X, 5), np.random.default_rng(0).random(200)
    before = [a.copy() for a in (X, start, weights)]
    r = ckmeans.kmeans(X, 5, init=start, sample_weight=weights)
    r.centroids[:] = 0
    for array, copy in zip((X, start, weights), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_progress_changes_no_result(capsys):
    pytest.importorskip("tqdm")
    X = cases.make("uniform", 300, 2)
    for options in ({"n_init": 1}, {"n_init": 20}):
        plain = ckmeans.kmeans(X, 5, seed=0, **options)
        assert_same(plain, ckmeans.kmeans(X, 5, seed=0, progress=True, **options))
        assert capsys.readouterr().err
