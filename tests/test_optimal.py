"""One feature: the result with the lowest distortion of all."""

from __future__ import annotations

import itertools
import pickle

import cases
import numpy as np
import pytest
from checks import assert_same, check_state
from hypothesis import given
from hypothesis import strategies as st

import ckmeans

DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">f8", "?")


def column(values, dtype=np.float64):
    return np.asarray(values, dtype).reshape(-1, 1)


def costs_between(x, w):
    """Cost of each interval of sorted values, [start, end], in long double about its own mean."""
    m = len(x)
    x, w = x.astype(np.longdouble) - x[0], w.astype(np.longdouble)
    costs = np.zeros((m, m + 1), np.longdouble)
    for start in range(m):
        weight, mean, square = np.longdouble(0), np.longdouble(0), np.longdouble(0)
        for end in range(start, m):
            if w[end] > 0:
                weight += w[end]
                step = (x[end] - mean) * w[end] / weight
                square += step * (weight - w[end]) * (x[end] - mean)
                mean += step
            costs[start, end + 1] = square
    return costs


def sorted_with_weights(x, w):
    x = np.asarray(x, np.float64).ravel()
    order = np.argsort(x, kind="stable")
    return x[order], (np.ones(len(x)) if w is None else np.asarray(w, np.float64))[order]


def lowest_by_search(x, K, w=None):
    """J of the best of all partitions into at most K intervals."""
    x, w = sorted_with_weights(x, w)
    costs, m = costs_between(x, w), len(x)
    borders = itertools.combinations(range(1, m), K - 1)
    totals = [sum(costs[a, b] for a, b in itertools.pairwise((0, *inner, m))) for inner in borders]
    return float(min(totals) / w.sum())


def lowest_for_all(x, max_K, w=None):
    """J of the best partition into 1 .. max_K intervals, by plain dynamic programming."""
    x, w = sorted_with_weights(x, w)
    costs, m = costs_between(x, w), len(x)
    best, lowest = costs[0].copy(), []
    for _ in range(max_K):
        lowest.append(float(best[m] / w.sum()))
        best = np.array([min(best[:end] + costs[:end, end]) if end else 0 for end in range(m + 1)])
    return np.array(lowest)


def check_lowest(r, lowest, slack=0.0):
    """Check J against the lowest of all; rounding of centroids raises it by their squared error."""
    eps = np.finfo(r.centroids.dtype).eps
    slack += (2 * eps * np.abs(r.centroids).max()) ** 2 + np.finfo(float).tiny
    assert lowest * (1 - 1e-11) - slack <= r.distortion <= lowest * (1 + 1e-12) + slack


def check_result(X, r, weights=None):
    check_state(X, r, weights)
    assert (r.optimal, r.converged, r.stop_reason, r.n_iter) == (True, True, "optimal", 0)
    assert (r.algorithm, r.path, len(r.distortions)) == ("optimal", None, 1)
    assert (np.diff(r.centroids[:, 0]) > 0).all()


# ---- the lowest J ----------------------------------------------------------------------------------


VALUES = {
    "normal": lambda rng, m: rng.normal(size=m),
    "ties": lambda rng, m: rng.integers(0, 5, m) * 1.0,
    "even": lambda rng, m: np.arange(m) * 1.0,
    "heavy tails": lambda rng, m: rng.standard_cauchy(m),
    "offset": lambda rng, m: 1e9 + rng.integers(0, 50, m),
    "two scales": lambda rng, m: rng.normal(size=m) * 10.0 ** rng.integers(-6, 1, m),
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("weighted", ["no", "some", "zeros"])
def test_equals_exhaustive_search(values, weighted):
    rng = np.random.default_rng([len(values), len(weighted)])
    for m in range(1, 13):
        x = VALUES[values](rng, m)
        w = {"no": None, "some": rng.random(m) + 0.1, "zeros": rng.integers(0, 3, m) * 1.0}[weighted]
        if weighted == "zeros":
            w[rng.integers(m)] = 2
        for K in range(1, m + 1):
            r = ckmeans.kmeans(column(x), K, sample_weight=w)
            check_result(column(x), r, w)
            used = x if w is None else x[w > 0]
            assert len(r.centroids) == min(K, len(np.unique(used)))
            check_lowest(r, lowest_by_search(x, K, w))


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("m", [60, 300])
def test_equals_plain_dynamic_programming(values, m):
    rng = np.random.default_rng([len(values), m])
    x, w = VALUES[values](rng, m), rng.random(m) * (rng.random(m) > 0.2)
    for weights in (None, w):
        lowest = lowest_for_all(x, 40, weights)
        for K in (1, 2, 3, 5, 8, 13, 21, 40):
            r = ckmeans.kmeans(column(x), K, sample_weight=weights)
            check_lowest(r, lowest[K - 1])


@pytest.mark.parametrize("K", [2, 3, 16, 100, 1000])
def test_equals_ckwrap(K):
    ckwrap = pytest.importorskip("ckwrap")
    x = np.random.default_rng(K).normal(size=100_000)
    their_labels = np.asarray(ckwrap.ckmeans(x, K).labels)
    means, _ = ckmeans.update(column(x), their_labels, K)
    theirs = ckmeans.distortion(column(x), means, their_labels)
    r = ckmeans.kmeans(column(x), K)
    assert theirs * (1 - 1e-9) < r.distortion <= theirs * (1 + 1e-12)


@pytest.mark.parametrize("m", [3000, 40_000])
@pytest.mark.parametrize("values", VALUES)
def test_not_above_lloyd(values, m):
    """Borders are first sought on grids, and many positions are left out."""
    rng = np.random.default_rng([m, len(values)])
    X = column(VALUES[values](rng, m))
    for K in (2, 7, 30):
        r = ckmeans.kmeans(X, K)
        check_result(X, r)
        lloyd = ckmeans.kmeans(X, K, algorithm="dense", n_init=3, seed=K, tol=0)
        assert r.distortion <= lloyd.distortion * (1 + 1e-12)
        again = ckmeans.kmeans(X, len(r.centroids), init=r.centroids, tol=0)
        assert again.distortion >= r.distortion * (1 - 1e-11)


@pytest.mark.parametrize("kind", ["normal", "exponential", "groups", "rounded"])
def test_no_border_can_move(kind):
    """Of many values, of which most are left out, and with other numbers of them than fit any grid."""
    rng = np.random.default_rng(12)
    x = {
        "normal": rng.normal(size=250_001),
        "exponential": rng.exponential(size=150_003),
        "groups": np.concatenate([rng.normal(c, s, 60_001) for c, s in ((0, 1), (9, 0.1), (1e3, 5))]),
        "rounded": np.round(rng.normal(size=200_002), 4),
    }[kind]
    x = np.sort(x)
    for K in (2, 3, 10, 60):
        r = ckmeans.kmeans(column(x), K)
        check_result(column(x), r)
        borders = np.concatenate([[0], np.cumsum(r.counts)])
        for k in range(1, K):
            part = x[borders[k - 1] : borders[k + 1]] - x[borders[k]]
            first, second = np.cumsum(part), np.cumsum(part**2)
            n = np.arange(1, len(part))
            left = second[:-1] - first[:-1] ** 2 / n
            right = (second[-1] - second[:-1]) - (first[-1] - first[:-1]) ** 2 / (len(part) - n)
            ours = borders[k] - borders[k - 1] - 1
            assert (left + right)[ours] <= (left + right).min() * (1 + 1e-9)


@pytest.mark.parametrize("K", [2, 9, 40])
def test_grids_equal_all_positions(K):
    """Values of few distinct numbers are solved at all positions, more often repeated ones too."""
    x = np.random.default_rng(13).normal(size=900)
    few = ckmeans.kmeans(column(x), K)
    spread = np.concatenate([x + shift for shift in np.linspace(0, 1e-9, 40)])
    many = ckmeans.kmeans(column(spread), K)
    np.testing.assert_array_equal(many.counts, 40 * few.counts)


def test_borders_between_grid_positions():
    """Every cluster is a single far value or between two of them."""
    x = np.concatenate([np.arange(5000) * 1e-6 + 1000.0 * group for group in range(7)])
    r = ckmeans.kmeans(column(np.random.default_rng(0).permutation(x)), 7)
    assert r.counts.tolist() == [5000] * 7
    x[[3, 7777, 20_000]] = [-1e5, 1e5, 2e5]
    r = ckmeans.kmeans(column(x), 10)
    assert sorted(r.counts.tolist()) == [1, 1, 1, *sorted([4999, 5000, 5000, 4999, 5000, 5000, 4999])][:10]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3), min_size=1, max_size=40),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_any_values(values, K, random, dtype, weighted):
    X = column(values, dtype)
    w = np.array([random.choice([0.0, 1.0, 0.5, 3.0]) for _ in values]) if weighted else None
    if w is not None and w.sum() == 0:
        w[0] = 1
    K = min(K, len(X))
    r = ckmeans.kmeans(X, K, sample_weight=w)
    assert r.optimal
    check_state(X, r, w)
    if dtype == np.float64:
        # Scores of values far from the others are rounded, and then another centroid may be the closest.
        check_lowest(r, lowest_for_all(X, K, w)[-1], slack=16 * 2.0**-52 * np.ptp(X) ** 2)


@pytest.mark.parametrize("K", [1, 5, 300, 1200, 2999, 3000])
def test_many_equal_steps(K):
    """Any number of clusters has the same price: the partition is made of two others."""
    X = column(np.arange(3000))
    r = ckmeans.kmeans(X, K)
    check_result(X, r)
    short, longer = divmod(3000, K)
    sums = [(c**3 - c) / 12 for c in (short, short + 1)]
    assert r.distortion == pytest.approx(((K - longer) * sums[0] + longer * sums[1]) / 3000, rel=1e-12)


# ---- numbers of every size -------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("weight", [1e-100, 1.0, 1e100])
def test_scales(scale, weight):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=2000), rng.random(2000)
    expected = ckmeans.kmeans(column(x), 9, sample_weight=w)
    r = ckmeans.kmeans(column(x * scale), 9, sample_weight=w * weight)
    check_result(column(x * scale), r, w * weight)
    np.testing.assert_array_equal(r.labels, expected.labels)
    np.testing.assert_allclose(r.distortion, expected.distortion * scale**2, rtol=1e-12)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9, -1e9, 1e12])
def test_offsets(offset):
    x = np.random.default_rng(1).normal(size=5000) + offset
    about_zero = x - offset
    expected = ckmeans.kmeans(column(about_zero), 12)
    r = ckmeans.kmeans(column(x), 12)
    check_result(column(x), r)
    J = ckmeans.distortion(column(about_zero), r.centroids - offset, r.labels)
    slack = (4e-16 * offset) ** 2
    assert expected.distortion * (1 - 1e-12) <= J <= expected.distortion * (1 + 1e-12) + slack


def test_far_outliers():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=4000), [1e8, -1e10]])
    r = ckmeans.kmeans(column(x), 12)
    inner = ckmeans.kmeans(column(x[:4000]), 10)
    assert r.counts[[0, -1]].tolist() == [1, 1]
    np.testing.assert_array_equal(r.labels[:4000], inner.labels + 1)


def test_clusters_far_apart_float32():
    """Rounding may leave a centroid without points: it is dropped, as elsewhere."""
    X = column([0, 1, 1e12, 1e12 + 65536 * 2], np.float32)
    for K in range(1, 5):
        r = ckmeans.kmeans(X, K)
        check_state(X, r)
        assert r.counts.min() > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    rng = np.random.default_rng(3)
    X = column(rng.integers(0, 2 if dtype == "?" else 100, 3000)).astype(dtype)
    wide = X.astype(np.float64)
    for K in (2, 6):
        r = ckmeans.kmeans(X, K)
        check_result(X, r)
        expected = ckmeans.kmeans(wide, K)
        np.testing.assert_array_equal(r.labels, expected.labels)
        assert r.centroids.dtype == ckmeans.kmeans(X, K, algorithm="dense", seed=0).centroids.dtype


def test_strides():
    X = np.random.default_rng(4).normal(size=(4000, 3))
    expected = ckmeans.kmeans(X[:, 1:2].copy(), 6)
    assert_same(ckmeans.kmeans(X[:, 1:2], 6), expected)
    reverse = ckmeans.kmeans(X[::-1, 1:2], 6)
    np.testing.assert_array_equal(reverse.labels[::-1], expected.labels)
    np.testing.assert_array_equal(reverse.centroids, expected.centroids)


def test_negative_zero_equals_zero():
    r = ckmeans.kmeans(column([0.0, -0.0, 1.0, -0.0]), 3)
    assert (r.centroids.ravel().tolist(), r.counts.tolist()) == ([0, 1], [3, 1])


def test_weights_equal_repeated_rows():
    rng = np.random.default_rng(5)
    x, times = rng.normal(size=1500), rng.integers(0, 4, 1500)
    weighted = ckmeans.kmeans(column(x), 20, sample_weight=times)
    repeated = ckmeans.kmeans(column(np.repeat(x, times)), 20)
    np.testing.assert_array_equal(np.repeat(weighted.labels, times), repeated.labels)
    np.testing.assert_allclose(weighted.distortion, repeated.distortion, rtol=1e-13)


def test_more_clusters_than_values():
    X = column([5, 5, 1, 1, 1, 7])
    r = ckmeans.kmeans(X, 6)
    assert (r.centroids.ravel().tolist(), r.counts.tolist(), r.distortion) == ([1, 5, 7], [3, 2, 1], 0)
    r = ckmeans.kmeans(X, 5, sample_weight=[1, 0, 1, 1, 0, 0])
    assert r.centroids.ravel().tolist() == [1, 5]
    for policy in ("farthest", "reinit"):
        r = ckmeans.kmeans(X, 5, empty=policy)
        check_state(X, r)
        assert (r.centroids.ravel().tolist(), r.counts.tolist()) == ([1, 5, 7, 7, 7], [3, 2, 1, 0, 0])
    with pytest.raises(ValueError, match='empty="error": cluster 3 has no points'):
        ckmeans.kmeans(X, 4, empty="error")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    with pytest.raises(ValueError, match=r"X must be finite, found .* at row 2, column 0"):
        ckmeans.kmeans(column([1, 2, bad, 4]), 2)
    with pytest.raises(ValueError, match=r"X must be finite, found .* at row 2, column 0"):
        ckmeans.kmeans(column([1, 2, bad, 4]), 2, sample_weight=[1, 1, 0, 1])


# ---- as every fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_give_same_bits(dtype, weighted):
    rng = np.random.default_rng(6)
    x = np.round(rng.normal(size=300_000), 4 if weighted else 12)
    w = rng.random(len(x)) * (rng.random(len(x)) > 0.1) if weighted else None
    for K in (3, 40, 2000):
        one = ckmeans.kmeans(column(x, dtype), K, sample_weight=w, n_threads=1)
        check_result(column(x, dtype), one, w)
        for n_threads in (2, 3, 8):
            other = ckmeans.kmeans(column(x, dtype), K, sample_weight=w, n_threads=n_threads)
            assert_same(other, one)


def test_options_decide_nothing():
    X = column(np.random.default_rng(7).normal(size=3000))
    expected = ckmeans.kmeans(X, 11)
    for options in ({"n_init": 5}, {"max_iter": 1}, {"tol": 0.5}, {"seed": 3}, {"algorithm": "optimal"}):
        assert_same(ckmeans.kmeans(X, 11, **options), expected)


def test_lloyd_on_request():
    X = column(np.random.default_rng(8).normal(size=500))
    start = ckmeans.init_centroids(X, 5, seed=0)
    lloyd = [
        {"init": "random"},
        {"init": start},
        {"init": lambda X, K, rng: start},
        {"algorithm": "dense"},
        {"algorithm": "cells"},
        {"keep_path": True},
        {"callback": lambda *state: None},
    ]
    for options in lloyd:
        r = ckmeans.kmeans(X, 5, seed=0, **options)
        assert not r.optimal
        assert r.n_iter > 0
    assert not ckmeans.kmeans_chunks([X[:100], X[100:]], 5, seed=0).optimal
    assert ckmeans.KMeans(5, random_state=0).fit(X).n_iter_ > 0
    assert not ckmeans.kmeans(np.hstack([X, X]), 5, seed=0).optimal


def test_sparse_rows_mean_lloyd():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random(100, 1, 0.5, format="csr", random_state=0)
    assert not ckmeans.kmeans(X, 3, seed=0).optimal
    with pytest.raises(ValueError, match='algorithm="optimal" takes an array, found sparse rows'):
        ckmeans.kmeans(X, 3, algorithm="optimal")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "random"}, 'takes init="k-means.."'),
        ({"init": [[1.0], [2.0]]}, 'takes init="k-means.."'),
        ({"init": lambda X, K, rng: X[:K]}, 'takes init="k-means.."'),
        ({"callback": print}, "takes no callback, as there are no iterations"),
        ({"keep_path": True}, "takes no keep_path, as there are no iterations"),
        ({"n_init": 0}, "n_init must be at least 1"),
        ({"empty": "never"}, "empty must be one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ckmeans.kmeans(column([1, 2, 3]), 2, algorithm="optimal", **options)


def test_bad_points():
    with pytest.raises(ValueError, match='algorithm="optimal" takes one feature, found 2'):
        ckmeans.kmeans(np.ones((4, 2)), 2, algorithm="optimal")
    with pytest.raises(ValueError, match='algorithm="optimal" takes an array, found chunks'):
        ckmeans.kmeans_chunks([column([1, 2, 3])], 2, algorithm="optimal")
    with pytest.raises(ValueError, match=r"algorithm must be one of .*'optimal'"):
        ckmeans.kmeans(column([1, 2, 3]), 2, algorithm="best")
    with pytest.raises(ValueError, match="K must be at most 3"):
        ckmeans.kmeans(column([1, 2, 3]), 4, algorithm="optimal")


def test_prepared_points():
    rng = np.random.default_rng(9)
    X, w = column(rng.normal(size=5000), np.float32), rng.random(5000)
    prepared = ckmeans.prepare(X, sample_weight=w)
    for K in (4, 9, 4):
        assert_same(ckmeans.kmeans(prepared, K), ckmeans.kmeans(X, K, sample_weight=w))
    assert prepared.nbytes >= 5000 * 28


def test_wider_dtype_where_squares_overflow():
    X = column([1e30, 2e30, 9e30, 8e30], np.float32)
    r = ckmeans.kmeans(X, 2)
    check_result(X, r)
    assert r.centroids.dtype == np.float64
    assert r.counts.tolist() == [2, 2]


def test_save_and_pickle(tmp_path):
    r = ckmeans.kmeans(column([1, 2, 9]), 2)
    r.save(tmp_path / "r")
    for again in (ckmeans.load(tmp_path / "r"), pickle.loads(pickle.dumps(r))):
        assert_same(again, r)
        assert again.optimal
    assert "optimal" in repr(r)


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    ckmeans.kmeans(column(range(100)), 3, progress=True)
    assert "1/1" in capsys.readouterr().err


# ---- KMeans and elbow ------------------------------------------------------------------------------


def test_estimator():
    rng = np.random.default_rng(10)
    X, w = column(rng.normal(size=2000)), rng.random(2000)
    expected = ckmeans.kmeans(X, 7, sample_weight=w)
    model = ckmeans.KMeans(7, algorithm="optimal").fit(X, sample_weight=w)
    np.testing.assert_array_equal(model.cluster_centers_, expected.centroids)
    np.testing.assert_array_equal(model.labels_, expected.labels)
    np.testing.assert_array_equal(model.predict(X), expected.labels)
    assert model.inertia_ == pytest.approx(expected.distortion * w.sum(), rel=1e-12)
    assert model.n_iter_ == 0


def test_estimator_errors(capsys):
    with pytest.raises(ValueError, match='algorithm="optimal" takes one feature, found 2'):
        ckmeans.KMeans(2, algorithm="optimal").fit(np.ones((4, 2)))
    with pytest.raises(ValueError, match='algorithm="optimal" takes init="k-means'):
        ckmeans.KMeans(2, init="random", algorithm="optimal").fit(column([1, 2, 3]))
    with pytest.warns(Warning, match=r"distinct clusters \(2\) found smaller than n_clusters \(3\)"):
        ckmeans.KMeans(3, algorithm="optimal").fit(column([1, 2, 2]))
    ckmeans.KMeans(2, algorithm="optimal", verbose=1).fit(column([1, 2, 4]))
    assert capsys.readouterr().out == "Iteration 0, inertia 0.5.\n"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_elbow_is_optimal(dtype):
    X = column(np.random.default_rng(11).normal(size=400), dtype)
    curve = ckmeans.elbow(X, range(1, 30))
    for K, J, centroids in zip(curve.ks, curve.distortions, curve.centroids, strict=True):
        r = ckmeans.kmeans(X, int(K))
        assert r.distortion == J
        np.testing.assert_array_equal(r.centroids, centroids)
    assert (np.diff(curve.distortions) < 0).all()


def test_elbow_beyond_distinct_values():
    curve = ckmeans.elbow(column([1, 2, 2, 4, 4, 4.5]), range(1, 7), progress=False)
    assert [len(centroids) for centroids in curve.centroids] == [1, 2, 3, 4, 4, 4]
    assert curve.distortions[-1] == 0


@pytest.mark.parametrize(("m", "K"), [(4096, 15), (3000, 700), (5000, 1023), (4096, 4000)])
def test_many_partitions_are_equally_good(m, K):
    X = column(np.arange(m))
    sizes = np.full(K, m // K) + (np.arange(K) < m % K)
    J = ((sizes**3 - sizes) / 12).sum() / m
    r = ckmeans.kmeans(X, K)
    assert sorted(r.counts) == sorted(sizes)
    assert r.distortion == pytest.approx(J, rel=1e-14)


# ---- many problems ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [1, 5, 300, 4096])
def test_many_equal_single_fits(m, weighted, dtype):
    rng = np.random.default_rng(m)
    X = np.round(rng.normal(size=(30, m, 1)), 3).astype(dtype)
    X[7] = 1
    w = rng.random((30, m)) * (rng.random((30, m)) > 0.3) + np.eye(30, m) if weighted else None
    if weighted:
        w[:, 0] += 0.1
    for K in (1, 4, 16):
        K = min(K, m)
        many = ckmeans.kmeans_many(X, K, sample_weight=w)
        assert (many.stop_reasons == "optimal").all()
        for i, rows in enumerate(X):
            r = ckmeans.kmeans(rows, K, sample_weight=None if w is None else w[i])
            found = len(r.centroids)
            np.testing.assert_array_equal(many.centroids[i, :found], r.centroids)
            assert np.isnan(many.centroids[i, found:]).all()
            np.testing.assert_array_equal(many.labels[i], r.labels)
            assert many.distortions[i] == r.distortion
        one = ckmeans.kmeans_many(X, K, sample_weight=w, n_threads=1)
        np.testing.assert_array_equal(many.centroids, one.centroids)


def test_many_out_of_range():
    X = np.ones((3, 4, 1), np.float32)
    X[1, 2] = 1e30
    many = ckmeans.kmeans_many(X, 2)
    assert many.centroids.dtype == np.float64
    np.testing.assert_array_equal(many.centroids[1], ckmeans.kmeans(X[1], 2).centroids)
    assert many.counts.tolist() == [[4, 0], [3, 1], [4, 0]]
    X[2, 0] = np.nan
    with pytest.raises(ValueError, match="problem 2: X must be finite, found nan at row 0"):
        ckmeans.kmeans_many(X, 2)


def test_interrupt():
    code = """
    import signal, threading, time
    import numpy, ckmeans
    X = numpy.random.default_rng(0).normal(size=(3_000_000, 1))
    threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    try:
        while True:
            ckmeans.kmeans(X, 5000, n_threads=2)
    except KeyboardInterrupt:
        print(time.monotonic() - start)
    """
    assert float(cases.run_python(code)) < 10
