"""Many problems in one call: each has the result of a call of its own."""

from __future__ import annotations

import cases
import numpy as np
import pytest

import ckmeans
from ckmeans import _many


def blobs(P, m, n, dtype=np.float32, seed=0):
    """Problems of a few clusters each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(P, m, n)) * 4 + 30 * rng.integers(0, 4, size=(P, m, 1)) + 60
    return X.clip(0, 255).astype(dtype)


def weights_of(P, m):
    """Weights, some of them 0."""
    rng = np.random.default_rng(m)
    w = rng.random((P, m)) * (rng.random((P, m)) > 0.2)
    w[:, 0] += 0.5
    return w


def assert_same(many, problems, K, weights=None, **options):
    """Check that the results are those of a loop of `kmeans`, bit for bit."""
    P = len(problems)
    Ks, weights = np.broadcast_to(K, P), [None] * P if weights is None else weights
    assert many.centroids.shape == (P, max(Ks), np.shape(problems[0])[1])
    for i, (X, w) in enumerate(zip(problems, weights, strict=True)):
        r = ckmeans.kmeans(X, int(Ks[i]), sample_weight=w, **options)
        found = len(r.centroids)
        np.testing.assert_array_equal(many.centroids[i, :found], r.centroids)
        assert np.isnan(many.centroids[i, found:]).all()
        assert many.counts[i].tolist() == r.counts.tolist() + [0] * (max(Ks) - found)
        np.testing.assert_array_equal(many.labels[i], r.labels, strict=True)
        assert many.distortions[i] == r.distortion
        assert (many.n_iter[i], many.stop_reasons[i]) == (r.n_iter, r.stop_reason)
        assert many.converged[i] == r.converged


SHAPES = [(12, 150, 4, 3), (9, 1, 3, 1), (6, 40, 2, 8), (3, 900, 20, 40), (3, 3000, 3, 50), (4, 200, 1, 4)]
OPTIONS = [
    {},
    {"n_init": 3},
    {"init": "random"},
    {"empty": "farthest", "tol": 0},
    {"empty": "reinit", "max_iter": 3},
    {"algorithm": "dense"},
]


# ---- as a loop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "f2", ">f4", "i8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_stack_equals_a_loop(shape, dtype, weighted):
    *shape, K = shape
    X = blobs(*shape, dtype)
    w = weights_of(*shape[:2]) if weighted else None
    for options in OPTIONS:
        many = ckmeans.kmeans_many(X, K, sample_weight=w, seed=5, n_threads=2, **options)
        assert_same(many, X, K, w, seed=5, **options)
        assert many.labels.shape == X.shape[:2]
        assert len(many) == len(X)


@pytest.mark.parametrize("algorithm", cases.engines(300, 4))
def test_every_engine_equals_a_loop(algorithm):
    X = blobs(6, 300, 4)
    assert_same(ckmeans.kmeans_many(X, 7, seed=1, algorithm=algorithm), X, 7, seed=1, algorithm=algorithm)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_threads_do_not_change_results(shape):
    *shape, K = shape
    X = blobs(*shape)
    one, three = (ckmeans.kmeans_many(X, K, seed=2, n_init=2, n_threads=threads) for threads in (1, 3))
    for name in ("centroids", "counts", "labels", "distortions", "n_iter", "stop_reasons"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_any_strides_equal_a_loop(dtype):
    X = blobs(40, 90, 6, dtype)
    for view in (X[::2, ::-1], X[:, :, ::2], X.swapaxes(0, 1), X.swapaxes(1, 2), X[:, ::3, 1:4]):
        assert_same(ckmeans.kmeans_many(view, 3, seed=0), view, 3, seed=0)


def test_lists_of_any_lengths():
    X = blobs(8, 300, 3)
    problems = [x[: 5 + 40 * i] for i, x in enumerate(X)]
    problems[3] = problems[3].astype(np.float64)  # the dtype of each is its own
    problems[4] = problems[4].tolist()
    weights = [None if i == 2 else weights_of(1, len(x))[0] for i, x in enumerate(problems)]
    Ks = [1, 2, 3, 4, 5, 6, 5, 2]
    for form in (list, tuple, iter, lambda each: np.array([*each, None], object)[:-1]):
        assert_same(ckmeans.kmeans_many(form(problems), Ks, seed=3), problems, Ks, seed=3)
    many = ckmeans.kmeans_many(problems, Ks, sample_weight=weights, seed=3)
    assert_same(many, problems, Ks, weights, seed=3)
    assert isinstance(many.labels, list)
    assert many.centroids.dtype == np.float64


def test_lists_of_other_forms():
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    X = blobs(3, 50, 3)
    problems = [pandas.DataFrame(X[0]), sparse.csr_matrix(X[1]), ckmeans.prepare(X[2])]
    many = ckmeans.kmeans_many(problems, 4, seed=0)
    for i, problem in enumerate(problems):
        np.testing.assert_array_equal(many.centroids[i], ckmeans.kmeans(problem, 4, seed=0).centroids)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_groups_equal_a_loop(order, weighted):
    rng = np.random.default_rng(4)
    groups = rng.choice([-7, 3, 2**40, 12], 900, p=[0.2, 0.4, 0.1, 0.3])
    groups = np.sort(groups) if order == "sorted" else groups
    X = blobs(1, 900, 3)[0]
    w = weights_of(1, 900)[0] if weighted else None
    many = ckmeans.kmeans_many(X, 3, groups=groups, sample_weight=w, seed=1)
    parts = [groups == value for value in np.unique(groups)]
    assert many.labels.shape == (900,)
    labels = many.labels
    many.labels = [labels[part] for part in parts]
    assert_same(many, [X[part] for part in parts], 3, None if w is None else [w[p] for p in parts], seed=1)


def test_groups_of_frames_and_sparse():
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    X, groups = blobs(1, 200, 4)[0], np.arange(200) % 3
    plain = ckmeans.kmeans_many(X, 3, groups=groups, seed=0)
    of_frame = ckmeans.kmeans_many(pandas.DataFrame(X), 3, groups=pandas.Series(groups), seed=0)
    np.testing.assert_array_equal(plain.centroids, of_frame.centroids)
    of_sparse = ckmeans.kmeans_many(sparse.csr_matrix(X), 3, groups=groups, seed=0)
    np.testing.assert_allclose(np.sort(of_sparse.distortions), np.sort(plain.distortions), rtol=0.5)


@pytest.mark.parametrize("rows", [2, 5])
def test_starts_for_all_or_each(rows):
    X = blobs(7, 120, 3)
    each = X[:, :rows]
    many = ckmeans.kmeans_many(X, 5, init=each, seed=0)
    for i, x in enumerate(X):
        np.testing.assert_array_equal(many.labels[i], ckmeans.kmeans(x, 5, init=each[i], seed=0).labels)
    assert_same(ckmeans.kmeans_many(X, 5, init=each[0], seed=0), X, 5, init=each[0], seed=0)
    Ks = [5, 5, 6, 5, 7, 5, 5]
    assert_same(ckmeans.kmeans_many(X, Ks, init=each[0], seed=0), X, Ks, init=each[0], seed=0)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_cosine_equals_a_loop(n, dtype):
    X = blobs(6, 90, n, dtype) + 1
    X[3] = X[3] // 40 + 1
    w = weights_of(6, 90)
    for options in ({}, {"init": X[:, :4]}, {"n_init": 2}):
        many = ckmeans.kmeans_many(X, 4, metric="cosine", seed=0, sample_weight=w, **options)
        for i, x in enumerate(X):
            own = {"init": X[i, :4]} if "init" in options else options
            r = ckmeans.kmeans(x, 4, metric="cosine", seed=0, sample_weight=w[i], **own)
            np.testing.assert_array_equal(many.centroids[i, : len(r.centroids)], r.centroids)
            assert many.distortions[i] == r.distortion
    X = X.astype(float)
    X[2, 7] = 0
    with pytest.raises(ValueError, match=r"problem 2: .*row 7"):
        ckmeans.kmeans_many(X, 4, metric="cosine")


@pytest.mark.parametrize("frozen", [0, 1, 2, [True, False, True], [False, True, False, False]])
def test_frozen_centroids_equal_a_loop(frozen):
    X = blobs(6, 80, 2)
    start = X[0, :3]
    many = ckmeans.kmeans_many(X, 4, init=start, frozen=frozen, seed=0)
    assert_same(many, X, 4, init=start, frozen=frozen, seed=0)


@pytest.mark.parametrize("options", [{}, {"n_init": 2, "max_swaps": 5}, {"algorithm": "cells"}])
@pytest.mark.parametrize("shape", [(9, 150, 4), (4, 1, 3), (3, 3000, 3), (5, 90, 1), (3, 300, 20)])
def test_searches_equal_a_loop(shape, options):
    if options.get("algorithm") == "cells" and shape[2] > 8:
        options = options | {"algorithm": "screen"}
    X, K = blobs(*shape), min(7, shape[1])
    options = options | {"search": "swap", "seed": 3}
    many = ckmeans.kmeans_many(X, K, **options)
    assert_same(many, X, K, **options)


def test_callable_starts_equal_a_loop():
    def init(X, K, rng):
        return X[rng.choice(len(X), K, replace=False)]

    X = blobs(4, 60, 2)
    assert_same(ckmeans.kmeans_many(X, 3, init=init, seed=0), X, 3, init=init, seed=0)


def test_generators_draw_as_in_loops():
    X = blobs(5, 80, 2)
    many = ckmeans.kmeans_many(X, 4, seed=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for i, x in enumerate(X):
        np.testing.assert_array_equal(many.centroids[i], ckmeans.kmeans(x, 4, seed=rng).centroids)


def test_large_seeds_equal_a_loop():
    X = blobs(3, 80, 2)
    assert_same(ckmeans.kmeans_many(X, 4, seed=10**30), X, 4, seed=10**30)


def test_large_problems_equal_a_loop(monkeypatch):
    X = blobs(4, 200, 3)
    for name, value in (("_LARGE_ROWS", 100), ("_LARGE_WORK", 10), ("_DIVISIBLE_WORK", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(_many, name, value)
            assert_same(ckmeans.kmeans_many(X, 3, seed=0, n_threads=2), X, 3, seed=0)


# ---- unusual data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("empty", ["drop", "reinit", "farthest"])
def test_fewer_values_than_clusters(n, empty):
    X = blobs(6, 50, n)
    X[1] = 3
    X[4, :, :] = np.arange(50)[:, None] % 2
    assert_same(ckmeans.kmeans_many(X, 5, seed=0, empty=empty), X, 5, seed=0, empty=empty)


@pytest.mark.parametrize("n", [1, 3])
def test_one_problem_needs_float64(n):
    X = blobs(5, 40, n)
    X[2] *= 1e25
    X[3] *= 1e-25
    many = ckmeans.kmeans_many(X, 3, seed=0)
    assert_same(many, X, 3, seed=0)
    assert many.centroids.dtype == np.float64
    assert ckmeans.kmeans_many(X[:2], 3, seed=0).centroids.dtype == np.float32


def test_starts_beyond_the_range():
    X, starts = blobs(3, 40, 2), blobs(3, 2, 2)
    starts[1] = 1e30
    with pytest.raises(ValueError, match="problem 1: init must lie within"):
        ckmeans.kmeans_many(X, 2, init=starts)
    X[1] *= 1e25
    many = ckmeans.kmeans_many(X, 2, init=starts, seed=0)
    np.testing.assert_array_equal(
        many.centroids[1, :1], ckmeans.kmeans(X[1], 2, init=starts[1], seed=0).centroids[:1]
    )


# ---- errors ------------------------------------------------------------------------------------------


def call(problems, K=2, **options):
    return lambda: ckmeans.kmeans_many(problems, K, seed=0, **options)


STACK = np.random.default_rng(0).random((4, 10, 3))
NAN = STACK.copy()
NAN[2, 5, 1] = np.nan
INVALID = [
    (call(STACK[0]), ValueError, r"problems must be an array of shape \(P, m, n\), a list .* \(10, 3\)"),
    (call(3), ValueError, "problems must be an array of shape"),
    (call([]), ValueError, "problems must hold at least one problem"),
    (call(STACK[:0]), ValueError, "problems must hold at least one problem"),
    (call(STACK[:, :0]), ValueError, "each of problems must have at least one row"),
    (call([STACK[0], STACK[1, 0]]), ValueError, "problem 1: X must be 2-dimensional"),
    (call([STACK[0], STACK[1, :, :2]]), ValueError, "problem 1: X must have 3 features, as problem 0 has"),
    (call([STACK[0], "words"]), TypeError, "problem 1: X must hold real numbers"),
    (call(NAN), ValueError, "problem 2: X must be finite, found nan at row 5, column 1"),
    (call(list(NAN)), ValueError, "problem 2: X must be finite, found nan at row 5, column 1"),
    (call(STACK, 11), ValueError, r"problem 0: K must be at most 10 \(the number of points\), found 11"),
    (call(STACK, [2, 3, 11, 2]), ValueError, "problem 2: K must be at most 10"),
    (call(STACK, [2, 3]), ValueError, "K must be one number or 4, one a problem, found 2"),
    (call(STACK, 0), ValueError, "K must be at least 1"),
    (call(STACK, 2.5), TypeError, "K must be an integer"),
    (call(STACK, "two"), TypeError, "K must be an integer"),
    (call(STACK, groups=[0] * 10), ValueError, "X must be 2-dimensional"),
    (call(STACK[0], groups=[0] * 9), ValueError, r"groups must have shape \(10,\)"),
    (call(STACK[0], groups=[0.5] * 10), TypeError, "groups must be integers"),
    (call(STACK[0], groups=[5] * 9 + [1]), ValueError, r"problem 0 \(group 1\): K must be at most 1"),
    (call(STACK, sample_weight=np.ones(10)), ValueError, r"sample_weight must have shape \(4, 10\)"),
    (call(STACK, sample_weight=-np.ones((4, 10))), ValueError, "problem 0: sample_weight must not be neg"),
    (call(STACK, sample_weight=np.eye(4, 10) * [[1], [1], [0], [1]]), ValueError, "problem 2: .* all zero"),
    (call(list(STACK), sample_weight=[1, 2]), ValueError, "sample_weight must hold the weights of each of 4"),
    (call(list(STACK), sample_weight=3), TypeError, "sample_weight must be a list"),
    (call(list(STACK), sample_weight=[None, [1.0]] * 2), ValueError, r"problem 1: sample_weight must have"),
    (call(STACK, init=STACK[:3, :2]), ValueError, r"init must have shape \(K, 3\) or \(4, K, 3\)"),
    (call(STACK, init=STACK[:, :3]), ValueError, "each of init must have K=2 rows"),
    (call(STACK, init=STACK[:, :2], n_init=2), ValueError, "n_init must be 1 if init is an array"),
    (call(STACK, init="middle"), ValueError, "init must be one of"),
    (call(STACK, n_init=0), ValueError, "n_init must be at least 1"),
    (call(STACK, max_iter=0), ValueError, "max_iter must be at least 1"),
    (call(STACK, tol=-1), ValueError, "tol must be at least 0"),
    (call(STACK, empty="keep"), ValueError, "empty must be one of"),
    (call(STACK, algorithm="best"), ValueError, "algorithm must be one of"),
    (call(STACK, algorithm="optimal"), ValueError, 'algorithm="optimal" takes one feature, found 3'),
    (call(STACK, n_threads=0), ValueError, "n_threads must be at least 1"),
    (call(STACK, metric="manhattan"), ValueError, "metric must be one of"),
    (call(STACK, frozen=1), ValueError, "frozen needs init to be an array"),
    (call(STACK, init=STACK[:, :2], frozen=3), ValueError, "frozen must be at most 2"),
    (call(STACK, callback=print), TypeError, "callback"),
    (call(STACK, keep_path=True), TypeError, "keep_path"),
]


@pytest.mark.parametrize(("function", "kind", "message"), INVALID, ids=[str(i) for i in range(len(INVALID))])
def test_errors_name_argument_and_problem(function, kind, message):
    with pytest.raises(kind, match=message):
        function()


@pytest.mark.parametrize("seed", ["one", -1])
def test_seeds_are_checked(seed):
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        ckmeans.kmeans_many(STACK, 2, seed=seed)


@pytest.mark.parametrize("n", [1, 2])
def test_empty_clusters_raise_by_problem(n):
    X = blobs(3, 20, n)
    X[1] = 4
    with pytest.raises(ValueError, match='problem 1: empty="error": cluster 1 has no points'):
        ckmeans.kmeans_many(X, 2, seed=0, empty="error")


def test_progress_counts_problems(monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    shown = []

    class Bar(tqdm.tqdm):
        def update(self, n=1):
            shown.append(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    X = blobs(6, 60, 2)
    monkeypatch.setattr(_many, "_LARGE_ROWS", 50)
    ckmeans.kmeans_many(X, 3, seed=0, progress=True)
    assert len(shown) == 6


@pytest.mark.parametrize("n", [1, 3])
def test_interrupt(n):
    code = f"""
    import signal, threading, time
    import numpy, ckmeans
    X = numpy.random.default_rng(0).normal(size=(3000, 300, {n}))
    threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
    start = time.monotonic()
    try:
        while True:
            ckmeans.kmeans_many(X, 20, n_init=5, n_threads=2)
    except KeyboardInterrupt:
        print(time.monotonic() - start)
    """
    assert float(cases.run_python(code)) < 10


def test_results_have_a_short_form():
    many = ckmeans.kmeans_many(STACK, 2, seed=0)
    assert repr(many).startswith("<ckmeans.ManyResult: 4 problems, K=2 x 3, mean distortion=")
