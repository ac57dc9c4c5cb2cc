"""Invalid arguments: the exception, and the words of its message: argument, found, wanted."""

from __future__ import annotations

import contextlib
import sys

import cases
import numpy as np
import pytest

import ckmeans

X = np.arange(24.0).reshape(12, 2)
C = X[:3]
LABELS = np.arange(12) % 3

# Every function that accepts points, called with invalid ones.
WITH_POINTS = {
    "kmeans": lambda X: ckmeans.kmeans(X, 3),
    "kmeans from an array": lambda X: ckmeans.kmeans(X, 3, init=C, n_threads=2),
    "kmeans from a callable": lambda X: ckmeans.kmeans(X, 3, init=lambda *_: C),
    "kmeans at random": lambda X: ckmeans.kmeans(X, 3, init="random", n_init=10),
    "assign": lambda X: ckmeans.assign(X, C),
    "assign with distances": lambda X: ckmeans.assign(X, C, return_squared_distance=True),
    "update": lambda X: ckmeans.update(X, LABELS, 3),
    "distortion": lambda X: ckmeans.distortion(X, C),
    "distortion of labels": lambda X: ckmeans.distortion(X, C, LABELS),
    "init_centroids": lambda X: ckmeans.init_centroids(X, 3),
}


def last_words(value):
    """Return the id of a case: the last words of its message."""
    return value[-1] if isinstance(value, list) and value and isinstance(value[-1], str) else ""


@contextlib.contextmanager
def refused(exception, *words):
    """Check that the block raises the exception, with all the words in a message of one line."""
    with pytest.raises(exception) as caught:
        yield
    assert type(caught.value) is exception
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    assert len(message) < 300


# ---- points ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", WITH_POINTS.values(), ids=WITH_POINTS)
@pytest.mark.parametrize("name", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize(("bad", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_non_finite_points(call, name, bad, text):
    for row, column in ((0, 0), (11, 1), (5, 0)):
        points = X.astype(name)
        points[row, column] = bad
        words = ("X must be finite", f"found {text}", f"row {row}, column {column}")
        with refused(ValueError, *words):
            call(points)
        with refused(ValueError, *words):
            call(np.asfortranarray(points))


def test_first_non_finite_value_is_named(dtype):
    points = cases.make("uniform", 5000, 7, dtype)
    points[[4990, 3000, 3000, 3001], [0, 5, 2, 0]] = [np.nan, np.nan, np.inf, -np.inf]
    for n_threads in (1, 2):
        with refused(ValueError, "inf at row 3000, column 2"):
            ckmeans.kmeans(points, 4, n_threads=n_threads)


@pytest.mark.parametrize("m", [1, 15, 16, 17, 33, 600])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9, 31])
def test_non_finite_at_every_position(m, n, dtype):
    """In every lane and tail of a tile."""
    for place in {0, m * n - 1, m * n // 2, (m - 1) * n, *range(0, m * n, 89)}:
        points = np.ones((m, n), dtype)
        points.flat[place] = np.nan
        with refused(ValueError, "finite", "found nan"):
            ckmeans.assign(points, points[:1] * 0 + 1)


def test_non_finite_at_zero_weight():
    points, weights = X.copy(), np.ones(12)
    points[4, 1], weights[4] = np.nan, 0
    for call in (
        lambda: ckmeans.kmeans(points, 3, sample_weight=weights),
        lambda: ckmeans.update(points, LABELS, 3, sample_weight=weights),
        lambda: ckmeans.distortion(points, C, sample_weight=weights),
    ):
        with refused(ValueError, "X must be finite", "row 4, column 1"):
            call()


@pytest.mark.parametrize("call", WITH_POINTS.values(), ids=WITH_POINTS)
@pytest.mark.parametrize(
    ("points", "exception", "words"),
    [
        (np.ones(12), ValueError, ["X must be 2-dimensional", "(12,)", "reshape(-1, 1)"]),
        (np.ones((12, 2, 1)), ValueError, ["X must be 2-dimensional", "(12, 2, 1)"]),
        (3.5, ValueError, ["X must be 2-dimensional", "()"]),
        (np.ones((0, 2)), ValueError, ["X must have at least one row", "(0, 2)"]),
        (np.ones((12, 0)), ValueError, ["X must have at least one feature", "(12, 0)"]),
        ([], ValueError, ["X must be 2-dimensional", "(0,)"]),
        ([[1, 2], [3]], ValueError, ["X must be an array of real numbers"]),
        (X.astype(complex), TypeError, ["X must hold real numbers", "complex128"]),
        (np.array([[1, "a"]], object), TypeError, ["X must hold real numbers", "'a' at row 0, column 1"]),
        (np.array([[1, None]], object), ValueError, ["X must be finite", "NaN at row 0, column 1"]),
        (np.array([[1, 10**400]], object), TypeError, ["X must hold real numbers", "row 0, column 1"]),
        (X.astype(str), TypeError, ["X must hold real numbers", "<U"]),
        (X.astype("S"), TypeError, ["X must hold real numbers", "S"]),
        (X.astype("M8[s]"), TypeError, ["X must hold real numbers", "datetime64[s]"]),
        (X.astype("m8[s]"), TypeError, ["X must hold real numbers", "timedelta64[s]"]),
        (np.zeros((12, 2), "i4,i4"), TypeError, ["X must hold real numbers", "i4"]),
        ([["a", "b"]], TypeError, ["X must hold real numbers", "<U1"]),
        (None, TypeError, ["X must hold real numbers", "object"]),
        ("points", TypeError, ["X must hold real numbers", "<U6"]),
        ({1, 2}, TypeError, ["X must hold real numbers", "object"]),
        (np.ma.masked_array(X, X > 3), TypeError, ["X is a masked array", "fill"]),
    ],
    ids=last_words,
)
def test_wrong_points(call, points, exception, words):
    with refused(exception, *words):
        call(points)


# ---- centroids, starts and labels --------------------------------------------------------------------

WITH_CENTROIDS = {
    "centroids": lambda C: ckmeans.assign(X, C),
    "centroids ": lambda C: ckmeans.distortion(X, C),
    "centroids  ": lambda C: ckmeans.distortion(X, C, LABELS),
    "init": lambda C: ckmeans.kmeans(X, 3, init=C),
    "init(X, K, rng)": lambda C: ckmeans.kmeans(X, 3, init=lambda *_: C),
    "method": lambda C: ckmeans.init_centroids(X, 3, C),
    "method(X, K, rng)": lambda C: ckmeans.init_centroids(X, 3, lambda *_: C),
}


def with_value(value):
    centroids = C.copy()
    centroids[2, 1] = value
    return centroids


@pytest.mark.parametrize("argument", WITH_CENTROIDS)
@pytest.mark.parametrize(
    ("centroids", "exception", "words"),
    [
        (np.ones((3, 3)), ValueError, ["must have 2 features, as X has", "(3, 3)"]),
        (np.ones((3, 1)), ValueError, ["must have 2 features, as X has", "(3, 1)"]),
        (np.ones(2), ValueError, ["must be 2-dimensional", "(2,)"]),
        (np.ones((0, 2)), ValueError, ["must have at least one row", "(0, 2)"]),
        (C.astype(complex), TypeError, ["must hold real numbers", "complex128"]),
        (C.astype(object), TypeError, ["must hold real numbers", "object"]),
        (with_value(np.nan), ValueError, ["must be finite", "found nan", "row 2, column 1"]),
        (with_value(-np.inf), ValueError, ["must be finite", "found -inf", "row 2, column 1"]),
    ],
    ids=last_words,
)
def test_wrong_centroids(argument, centroids, exception, words):
    with refused(exception, argument.strip() + " must", *words):
        WITH_CENTROIDS[argument](centroids)


def calls_with_centroids(centroids):
    """Yield (the argument's name, a call) for every way in which centroids are given."""
    sparse = pytest.importorskip("scipy.sparse")
    yield "init", lambda: ckmeans.kmeans_chunks([X], 3, init=centroids)
    yield "init", lambda: ckmeans.kmeans(X, 5, init=centroids)
    yield "method", lambda: ckmeans.init_centroids(X, 5, centroids)
    for points in (X, X.astype(np.float32), sparse.csr_array(X), ckmeans.prepare(X)):
        yield "init", lambda X=points: ckmeans.kmeans(X, 3, init=centroids)
        for C in (centroids, ckmeans.prepare(centroids)):
            yield "centroids", lambda X=points, C=C: ckmeans.assign(X, C)
            yield "centroids", lambda X=points, C=C: ckmeans.assign(X, C, return_squared_distance=True)
            yield "centroids", lambda X=points, C=C: ckmeans.distortion(X, C)
            yield "centroids", lambda X=points, C=C: ckmeans.distortion(X, C, LABELS)
    for cls in (ckmeans.KMeans, ckmeans.MiniBatchKMeans):
        yield "init", lambda cls=cls: cls(3, init=centroids).fit(X)
        model = cls(3, random_state=0).fit(X)
        model.cluster_centers_ = centroids
        for points in (X, sparse.csr_array(X)):
            for name in ("predict", "transform", "score"):
                yield "centroids", lambda model=model, name=name, X=points: getattr(model, name)(X)
    yield "centroids", lambda: model.partial_fit(X)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_non_finite_centroids_everywhere(bad, dtype):
    for row, column in ((0, 0), (1, 1), (2, 1)):  # a NaN before larger values, too
        centroids = C.astype(dtype)
        centroids[row, column] = bad
        for name, call in calls_with_centroids(centroids):
            with refused(ValueError, f"{name} must be finite", f"row {row}, column {column}"):
                call()


@pytest.mark.parametrize("argument", [name for name in WITH_CENTROIDS if "centroids" not in name])
def test_start_with_wrong_row_count(argument):
    for rows in (2, 4) if "rng" in argument else (4,):  # k-means++ completes an array
        words = (f"{argument} must have K=3 rows", f"({rows}, 2)")
        with refused(ValueError, *words):
            WITH_CENTROIDS[argument](X[:rows])


def test_float32_start_out_of_range():
    single, far = X.astype(np.float32), with_value(1e30)
    with refused(ValueError, "init must lie within", "as X does", "1e+30"):
        ckmeans.kmeans(single, 3, init=far)
    assert ckmeans.kmeans(single, 3, init=with_value(1e15)).centroids.dtype == np.float32


def test_array_init_needs_one_restart():
    with refused(ValueError, "n_init must be 1", "init is an array", "found 2"):
        ckmeans.kmeans(X, 3, init=C, n_init=2)


def test_errors_of_callables_propagate():
    def fail(*arguments):
        raise RuntimeError("mine")

    for call in (
        lambda: ckmeans.kmeans(X, 3, init=fail, n_init=4),
        lambda: ckmeans.init_centroids(X, 3, fail),
    ):
        with refused(RuntimeError, "mine"):
            call()


@pytest.mark.parametrize("call", [lambda y: ckmeans.update(X, y, 3), lambda y: ckmeans.distortion(X, C, y)])
@pytest.mark.parametrize(
    ("labels", "exception", "words"),
    [
        (np.where(LABELS == 2, 3, LABELS), ValueError, ["must lie in 0..2", "found 3"]),
        (LABELS - 1, ValueError, ["must lie in 0..2", "found -1"]),
        ((LABELS + 2**32).astype(np.uint64), ValueError, ["must lie in 0..2", "found 4294967298"]),
        (LABELS[:11], ValueError, ["must have shape (12,)", "(11,)"]),
        (LABELS[:, None], ValueError, ["must have shape (12,)", "(12, 1)"]),
        (LABELS.astype(float), TypeError, ["must be integers", "float64"]),
        (LABELS > 0, TypeError, ["must be integers", "bool"]),
        (LABELS.astype(object), TypeError, ["must hold real numbers", "object"]),
    ],
    ids=last_words,
)
def test_wrong_labels(call, labels, exception, words):
    with refused(exception, "labels must", *words):
        call(labels)


# ---- weights -----------------------------------------------------------------------------------------


def weights_with(value):
    weights = np.ones(12)
    weights[7] = value
    return weights


@pytest.mark.parametrize(
    "call",
    [
        lambda w: ckmeans.kmeans(X, 3, sample_weight=w),
        lambda w: ckmeans.update(X, LABELS, 3, sample_weight=w),
        lambda w: ckmeans.distortion(X, C, sample_weight=w),
        lambda w: ckmeans.init_centroids(X, 3, sample_weight=w),
    ],
)
@pytest.mark.parametrize(
    ("weights", "exception", "words"),
    [
        (weights_with(np.nan), ValueError, ["must be finite", "found nan at row 7"]),
        (weights_with(np.inf), ValueError, ["must be finite", "found inf at row 7"]),
        (weights_with(-0.5), ValueError, ["must not be negative", "found -0.5 at row 7"]),
        (np.zeros(12), ValueError, ["must not be all zero"]),
        (np.full(12, 1e308), ValueError, ["must have a finite sum"]),
        (np.full(12, 1e-300), ValueError, ["must have a sum between", "1.2e-299"]),
        (np.ones(11), ValueError, ["must have shape (12,)", "(11,)"]),
        (np.ones((12, 1)), ValueError, ["must have shape (12,)", "(12, 1)"]),
        (2.0, ValueError, ["must have shape (12,)", "()"]),
        (np.ones(12, complex), TypeError, ["must hold real numbers", "complex128"]),
        (["a"] * 12, TypeError, ["must hold real numbers", "<U1"]),
    ],
    ids=last_words,
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_wrong_weights(call, weights, exception, words):
    with refused(exception, "sample_weight must", *words):
        call(weights)


# ---- numbers and choices -----------------------------------------------------------------------------

POSITIVE = {
    "K": [
        lambda value: ckmeans.kmeans(X, value),
        lambda value: ckmeans.init_centroids(X, value),
        lambda value: ckmeans.update(X, LABELS, value),
    ],
    "max_iter": [lambda value: ckmeans.kmeans(X, 3, max_iter=value)],
    "n_init": [lambda value: ckmeans.kmeans(X, 3, n_init=value)],
    "trials": [lambda value: ckmeans.init_centroids(X, 3, trials=value)],
    "n_threads": [
        lambda value: ckmeans.kmeans(X, 3, n_threads=value),
        lambda value: ckmeans.assign(X, C, n_threads=value),
        lambda value: ckmeans.update(X, LABELS, 3, n_threads=value),
        lambda value: ckmeans.distortion(X, C, n_threads=value),
        lambda value: ckmeans.init_centroids(X, 3, n_threads=value),
    ],
}


@pytest.mark.parametrize(
    ("name", "call"), [(name, call) for name, calls in POSITIVE.items() for call in calls]
)
def test_positive_integers(name, call):
    for value in (0, -1, -(10**30), np.int8(-3)):
        with refused(ValueError, f"{name} must be at least 1", f"found {value}"):
            call(value)
    for value in (2.0, 2.5, np.float64(3), "3", True, np.True_, 1j, [3], np.array([3, 4])):
        with refused(TypeError, f"{name} must be an integer", f"found {value!r}"):
            call(value)


def test_k_is_required():
    with refused(TypeError, "K must be an integer", "found None"):
        ckmeans.kmeans(X, None)
    for call in (lambda: ckmeans.kmeans(X, 13), lambda: ckmeans.init_centroids(X, 13)):
        with refused(ValueError, "K must be at most 12 (the number of points)", "found 13"):
            call()


def test_numpy_integers_are_accepted():
    r = ckmeans.kmeans(
        X, np.uint8(3), n_init=np.int16(2), max_iter=np.array(5), n_threads=np.int64(1), seed=0
    )
    assert len(r.distortions) == 2


@pytest.mark.parametrize(
    ("tol", "exception"),
    [
        (-1e-9, ValueError),
        (np.nan, ValueError),
        (-np.inf, ValueError),
        ("0.1", TypeError),
        (None, TypeError),
        (True, TypeError),
        (1j, TypeError),
        ([0.1, 0.2], TypeError),
    ],
)
def test_wrong_tol(tol, exception):
    wanted = "tol must be at least 0" if exception is ValueError else "tol must be a real number"
    with refused(exception, wanted, f"found {tol!r}"):
        ckmeans.kmeans(X, 3, tol=tol)


@pytest.mark.parametrize(
    "call", [lambda s: ckmeans.kmeans(X, 3, seed=s), lambda s: ckmeans.init_centroids(X, 3, seed=s)]
)
def test_wrong_seed(call):
    for seed in ("1", 1.0, True, [1], np.random.RandomState(0), np.random.PCG64(0)):
        with refused(TypeError, "seed must be an integer, a numpy.random.Generator or None", "found"):
            call(seed)
    with refused(ValueError, "seed must be at least 0", "found -1"):
        call(-1)


@pytest.mark.parametrize("callback", [1, "print", True, [print]])
def test_wrong_callback(callback):
    words = ("callback must be callable or None", f"found {callback!r}")
    with refused(TypeError, *words):
        ckmeans.kmeans(X, 3, callback=callback)


CHOICES = {
    "init": (lambda v: ckmeans.kmeans(X, 3, init=v), ["'k-means++', 'random'"]),
    "method": (lambda v: ckmeans.init_centroids(X, 3, v), ["'k-means++', 'random'"]),
    "empty": (lambda v: ckmeans.kmeans(X, 3, empty=v), ["'drop', 'reinit', 'farthest', 'error'"]),
    "algorithm": (lambda v: ckmeans.kmeans(X, 3, algorithm=v), ["'auto'", "'dense'"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_wrong_choice_lists_valid_ones(name):
    call, valid = CHOICES[name]
    for value in ("kmeans++", "", "DROP"):
        with refused(ValueError, f"{name} must be one of", *valid, f"found {value!r}"):
            call(value)
    if name in ("empty", "algorithm"):
        for value in (None, 1, b"drop"):
            with refused(TypeError, f"{name} must be one of", *valid, f"found {value!r}"):
                call(value)


# ---- others ------------------------------------------------------------------------------------------


def test_wrong_out():
    def into(out):
        return lambda: ckmeans.assign(X, C, out=out)

    with refused(TypeError, "out must be an int32 array", "int64"):
        into(np.empty(12, np.int64))()
    with refused(TypeError, "out must be an int32 array", "found [0"):
        into([0] * 12)()
    with refused(ValueError, "out must be a writable contiguous array", "(12,)", "(11,)"):
        into(np.empty(11, np.int32))()
    with refused(ValueError, "out must be a writable contiguous array"):
        into(np.empty(24, np.int32)[::2])()
    read_only = np.empty(12, np.int32)
    read_only.flags.writeable = False
    with refused(ValueError, "out must be a writable contiguous array"):
        into(read_only)()
    with refused(TypeError, "out must be an int32 array", ">i4"):
        into(np.empty(12, ">i4"))()


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with refused(ImportError, "progress=True needs tqdm", "pip install"):
        ckmeans.kmeans(X, 3, progress=True)


def test_arguments_are_checked_before_work():
    calls = []
    options = {"init": lambda *a: calls.append(a) or C, "callback": calls.append}
    for bad in (
        {"max_iter": 0},
        {"tol": -1},
        {"empty": "x"},
        {"sample_weight": [1]},
        {"seed": -1},
        {"n_threads": 0},
    ):
        with pytest.raises(ValueError, match="must"):
            ckmeans.kmeans(X, 3, **options, **bad)
    assert calls == []


def test_errors_leave_no_state():
    expected = ckmeans.kmeans(X, 3, seed=0)
    points = X.copy()
    points[11, 1] = np.nan
    for _ in range(50):
        for call in WITH_POINTS.values():
            with pytest.raises(ValueError, match="finite"):
                call(points)
    np.testing.assert_array_equal(ckmeans.kmeans(X, 3, seed=0).labels, expected.labels)
