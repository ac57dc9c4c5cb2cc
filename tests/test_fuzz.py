"""Every public function on arrays of any shape, dtype, strides, alignment and values, with any options.

A call either raises ValueError or TypeError with a message of one line, or returns what it promises; it never
warns, and never changes what it was given. The suite runs few examples, the same ones every time;
HYPOTHESIS_PROFILE=explore python -m pytest tests/test_fuzz.py searches for new ones (about 20 minutes).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ckmeans
from ckmeans import _validate

DTYPES = ("f8", "f8", "f4", "f4", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", ">f8", ">f4")
VALUES = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 255.0, 1e8, 1e8 + 1, 1e15, 1e-15, 1e19, 1e-20, 1e38, -1e38, 1e-38, 1e-45,
    5e-324, 1e-310, 1e-200, 1e-150, 1e150, -1e150, 1e200, 1.7e308,
)  # fmt: skip
NOT_FINITE = (np.nan, -np.nan, np.inf, -np.inf)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=settings().max_examples // 4)  # each example makes many calls


# ---- arrays ----------------------------------------------------------------------------------------


@st.composite
def values(draw, shape):
    """Draw float64 values: few or many different ones, at one scale or mixed, now and then not finite."""
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["normal", "normal", "lattice", "palette", "mixed", "columns"]))
    if kind == "normal":
        scale, offset = draw(st.sampled_from(VALUES[2:])), draw(st.sampled_from([0.0, 0.0, 1.0, 1e6]))
        X = np.clip(rng.normal(size=shape), -1, 1) * scale + offset
    elif kind == "lattice":
        X = rng.integers(-2, 3, shape).astype(np.float64)
    elif kind == "columns":
        X = np.clip(rng.normal(size=shape), -1, 1) * rng.choice(VALUES, shape[-1:])
    else:
        among = st.lists(st.sampled_from(VALUES), min_size=1, max_size=4 if kind == "palette" else 20)
        X = rng.choice(draw(among), shape)
    if X.size and draw(st.integers(0, 7)) == 0:
        X.flat[rng.integers(X.size)] = draw(st.sampled_from(NOT_FINITE))
    return X


def laid_out(array, kind):
    """Return the same values with other strides or at an odd address."""
    if kind == "Fortran":
        return np.asfortranarray(array)
    if kind == "reversed":
        return array[::-1].copy()[::-1]
    if kind == "strided":
        return np.repeat(array, 3, axis=-1)[..., ::3]
    if kind == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
        other = raw.view(array.dtype).reshape(array.shape)
        other[...] = array
        return other
    if kind == "broadcast" and len(array):
        return np.broadcast_to(array[:1], array.shape)
    if kind == "read-only":
        array.flags.writeable = False
    return array


LAYOUTS = ("plain", "plain", "Fortran", "reversed", "strided", "unaligned", "broadcast", "read-only")


@st.composite
def arrays(draw, shape=None):
    """Draw a 2-D array of any dtype and layout, small, or a little larger."""
    if shape is None:
        rows = draw(st.one_of(st.integers(0, 12), st.sampled_from([17, 33, 64, 257, 600])))
        shape = rows, draw(st.one_of(st.integers(0, 4), st.sampled_from([8, 9, 17, 33])))
    X = draw(values(shape))
    with np.errstate(all="ignore"):
        X = X.astype(draw(st.sampled_from(DTYPES)))
    return laid_out(X, draw(st.sampled_from(LAYOUTS)))


@st.composite
def weights(draw, m):
    """Draw weights of m points, not all of them valid, or None."""
    kind = draw(st.sampled_from(["none", "none", "none", "random", "whole", "mixed", "any", "length"]))
    rng = np.random.default_rng(draw(seeds))
    if kind == "none":
        return None
    if kind == "any":
        return draw(values((m,)))
    if kind == "mixed":
        return rng.random(m) * 10.0 ** rng.integers(-30, 30, m)
    if kind == "length":
        return np.ones(draw(st.integers(0, m + 1)))
    return rng.random(m) if kind == "random" else rng.integers(0, 3, m)


def form_of(X, kind):
    """Return X as an array, prepared, or as sparse rows."""
    if kind == "sparse":
        sparse = pytest.importorskip("scipy.sparse")
        assume(X.dtype.isnative and X.dtype != np.float16 and 0 not in X.shape)
        return sparse.csr_array(X)
    if kind == "prepared":
        try:
            return ckmeans.prepare(X)
        except (ValueError, TypeError):
            assume(False)
    return X.tolist() if kind == "list" else X


FORMS = ("array", "array", "array", "prepared", "sparse", "list")


# ---- calls -----------------------------------------------------------------------------------------


def attempt(call):
    """Return what a call returns; None if it refuses its arguments in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # scikit-learn's class warns, too
        try:
            return call()
        except (ValueError, TypeError) as error:
            message = str(error)
    if not message or "\n" in message or len(message) > 400:
        raise AssertionError(message)
    return None


def attempt_and_keep(call, *given):
    """Do the same, and check that the arrays were left as they were."""
    before = [each.tobytes() for each in given if isinstance(each, np.ndarray)]
    result = attempt(call)
    assert before == [each.tobytes() for each in given if isinstance(each, np.ndarray)]
    return result


def check_labels(X, centroids, labels, kind):
    """Check labels where they are certain, at scales where the reference's own arithmetic holds."""
    assert labels.dtype == np.int32
    assert labels.min() >= 0
    assert labels.max() < len(centroids)
    sizes = np.abs(np.concatenate([X.astype(np.float64).ravel(), centroids.astype(np.float64).ravel()]))
    sizes = sizes[sizes > 0]
    if len(sizes) and sizes.min() > 1e-12 and sizes.max() < 1e15:
        best, certain = reference.certain_labels(
            X, centroids, reference.computing_dtype(X), about_zero=kind == "sparse"
        )
        np.testing.assert_array_equal(labels[certain], best[certain])


@st.composite
def fits(draw):
    """Draw (X, K, the options of kmeans), not all of them valid together."""
    X = draw(arrays())
    m, n = X.shape
    K = draw(st.one_of(st.integers(0, max(m, 1) + 1), st.integers(1, 5)))
    init = draw(st.sampled_from(["k-means++", "k-means++", "random", "rows", "few", "any", "callable"]))
    if init in ("rows", "few", "any", "callable"):
        rows = {"few": max(K - 1, 1), "any": draw(st.integers(0, K + 1))}.get(init, K)
        start = draw(values((rows, n))) if init == "any" else X[np.arange(rows) % max(m, 1)] if m else X
        init = (lambda X, K, rng: start) if init == "callable" else start
    options = {
        "init": init,
        "n_init": draw(st.sampled_from([1, 1, 1, 3])),
        "max_iter": draw(st.sampled_from([1, 3, 50])),
        "tol": draw(st.sampled_from([0.0, 1e-4, 0.5, np.inf])),
        "empty": draw(st.sampled_from(_validate.EMPTY)),
        "sample_weight": draw(weights(m)),
        "frozen": draw(st.sampled_from([None, None, None, 0, 1, K, [True] * K, [False] * 2])),
        "metric": draw(st.sampled_from(["euclidean", "euclidean", "cosine"])),
        "algorithm": draw(st.sampled_from(["auto", "auto", "dense", "cells", "screen", "optimal"])),
        "seed": draw(st.sampled_from([0, 1, 2**63, 2**80])),
        "n_threads": draw(st.sampled_from([1, 2, 3])),
        "keep_path": draw(st.booleans()),
    }
    return X, K, options


@few
@given(fits(), st.sampled_from(FORMS))
def test_fits_of_anything(fit, kind):
    X, K, options = fit
    given = form_of(X, kind)
    w = options["sample_weight"]
    r = attempt_and_keep(lambda: ckmeans.kmeans(given, K, **options), X, w)
    if r is None:
        return
    assert np.isfinite(r.centroids).all()
    assert np.isfinite(r.history).all()
    assert (np.diff(r.history) <= 0).all()
    assert r.distortion == r.history[-1] == r.distortions.min()
    np.testing.assert_array_equal(r.counts, np.bincount(r.labels, minlength=len(r.centroids)))
    metric = options["metric"]
    np.testing.assert_array_equal(r.labels, ckmeans.assign(given, r.centroids, metric=metric))
    assert r.distortion == ckmeans.distortion(given, r.centroids, sample_weight=w, metric=metric)
    if kind != "list" and metric == "euclidean":
        check_labels(X, r.centroids, r.labels, kind)


@few
@given(st.data(), st.sampled_from(FORMS))
def test_steps_on_anything(data, kind):
    X = data.draw(arrays())
    m, n = X.shape
    C = data.draw(arrays((data.draw(st.integers(0, 6)), data.draw(st.sampled_from([n, n, n, n + 1])))))
    labels = np.random.default_rng(data.draw(seeds)).integers(0, max(len(C), 1) + (m % 5 == 0), m)
    w, given = data.draw(weights(m)), form_of(X, kind)
    found = attempt_and_keep(lambda: ckmeans.assign(given, C), X, C)
    measured = attempt_and_keep(lambda: ckmeans.assign(given, C, return_squared_distance=True), X, C)
    if found is not None:
        if kind != "list":
            check_labels(X, C, found, kind)
        np.testing.assert_array_equal(found, ckmeans.assign(given, ckmeans.prepare(C)))
    if measured is not None:
        np.testing.assert_array_equal(measured[0], found)
        assert (measured[1] >= 0).all()
        assert np.isfinite(measured[1]).all()
    for own in (None, labels):
        J = attempt_and_keep(lambda own=own: ckmeans.distortion(given, C, own, sample_weight=w), X, C, w)
        assert J is None or 0 <= J < np.inf
    part = attempt_and_keep(lambda: ckmeans.partial_step(given, C, sample_weight=w), X, C, w)
    if part is not None:
        whole = ckmeans.combine([part, part])
        assert np.isfinite(whole.centroids).all()
        np.testing.assert_array_equal(whole.counts, 2 * np.bincount(found, minlength=len(C)))
    updated = attempt_and_keep(lambda: ckmeans.update(given, labels, len(C), sample_weight=w), X, labels, w)
    if updated is not None:
        np.testing.assert_array_equal(updated[1], np.bincount(labels, minlength=len(C)))
        assert not np.isinf(updated[0]).any()
    K = data.draw(st.integers(0, m + 1))
    for method in ("random", "k-means++"):
        options = {"seed": 1, "sample_weight": w}
        start = attempt(lambda o=options, method=method: ckmeans.init_centroids(given, K, method, **o))
        assert start is None or (start.shape == (K, n) and np.isfinite(start).all())


@few
@given(st.data())
def test_chunks_of_anything(data):
    n = data.draw(st.integers(1, 4))
    shapes = [(data.draw(st.integers(0, 9)), n + (data.draw(st.integers(0, 20)) == 0)) for _ in range(3)]
    chunks = [data.draw(arrays(shape)) for shape in shapes]
    r = attempt_and_keep(lambda: ckmeans.kmeans_chunks(chunks, 2, seed=0), *chunks)
    if r is not None:
        assert len(r.labels) == sum(map(len, chunks))
        assert np.isfinite(r.centroids).all()


@few
@given(st.data(), st.sampled_from(FORMS))
def test_indices_of_anything(data, kind):
    X = data.draw(arrays())
    assume(X.size <= 3000)
    w, given = data.draw(weights(len(X))), form_of(X, kind)
    labels = data.draw(st.sampled_from([np.arange(len(X)) % 3, np.zeros(len(X)), ["a", "b"] * len(X)]))
    score = attempt(lambda: ckmeans.silhouette(given, labels[: len(X)], sample_weight=w))
    assert score is None or -1 <= score <= 1
    ks = data.draw(st.sampled_from([range(1, 4), [2], [], [1, len(X)], [0, 1]]))
    found = attempt(lambda: ckmeans.elbow(given, ks, n_init=1, max_iter=5, seed=0, sample_weight=w))
    if found is not None:
        assert (np.diff(found.distortions) <= 0).all()
        assert np.isfinite(found.distortions).all()
    options = attempt(lambda: ckmeans.compare(given, ks, cost=1.0, n_init=1, seed=0, sample_weight=w))
    if options is not None:
        for option in options.options:
            assert np.isfinite(option.spread).all()
            np.testing.assert_allclose(option.shares.sum(), 1)


def test_index_beyond_float64_does_not_warn():
    """J is 0 but for rounding where one column is larger than all others together."""
    rng = np.random.default_rng(0)
    X = np.clip(rng.normal(size=(33, 3)), -1, 1) * [1.7e308, 1e-15, 1e150]
    attempt(lambda: ckmeans.elbow(X, [1, 33], n_init=1, max_iter=5, seed=0))
    weights = np.array([1.7e308, 1.7e308, np.inf, -np.inf])
    assert attempt(lambda: ckmeans.kmeans(X[:4], 2, sample_weight=weights)) is None


@few
@given(st.data(), st.sampled_from(["array", "array", "sparse", "list"]))
def test_estimators_on_anything(data, kind):
    X = data.draw(arrays())
    assume(X.size <= 3000)
    w, given = data.draw(weights(len(X))), form_of(X, kind)
    cls = data.draw(st.sampled_from([ckmeans.KMeans, ckmeans.MiniBatchKMeans]))
    K = data.draw(st.integers(1, 4))
    model = attempt(lambda: cls(K, random_state=0, max_iter=5, n_init=1).fit(given, sample_weight=w))
    if model is not None:
        assert np.isfinite(model.cluster_centers_).all()
        np.testing.assert_array_equal(model.predict(given), model.labels_)
        distances = attempt(lambda: model.transform(given))
        assert distances is None or ((distances >= 0).all() and distances.shape == (len(X), K))
        score = attempt(lambda: model.score(given, sample_weight=w))
        assert score is None or score <= 0
    stream = ckmeans.MiniBatchKMeans(K, random_state=0)
    for _ in range(2):
        attempt(lambda: stream.partial_fit(given, sample_weight=w))
    assert not hasattr(stream, "cluster_centers_") or np.isfinite(stream.cluster_centers_).all()


@few
@given(st.data())
def test_pictures_of_anything(data):
    pytest.importorskip("PIL")
    shape = data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from([1, 2, 3, 3, 4, 4, 5])))
    X = data.draw(arrays(shape))
    K = data.draw(st.integers(0, 9))
    dither, space = data.draw(st.booleans()), data.draw(st.sampled_from(["rgb", "oklab"]))
    found = attempt_and_keep(lambda: ckmeans.quantize(X, K, seed=0, dither=dither, space=space), X)
    assert found is None or found.indices.shape == shape[:2]
