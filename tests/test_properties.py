"""Properties of every result, on problems that hypothesis generates."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import reference
from checks import assert_same, check_path, check_state
from hypothesis import given
from hypothesis import strategies as st

import ckmeans

SCALES = (1.0, 1.0, 1.0, 1e-3, 1e-12, 1e-18, 1e-30, 1e3, 1e18, 1e25)
sizes = st.one_of(st.integers(1, 40), st.sampled_from(cases.ROWS))
widths = st.one_of(st.integers(1, 5), st.sampled_from(cases.WIDTHS[:-2]))


@st.composite
def points(draw):
    """Draw small lattices, value by value, or larger arrays of every kind and scale."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    if draw(st.booleans()):
        n = draw(st.integers(1, 3))
        rows = draw(st.lists(st.tuples(*[st.integers(-2, 2)] * n), min_size=1, max_size=12))
        return np.array(rows, dtype) + dtype(draw(st.sampled_from([0, 0, 1000.5])))
    kind = draw(st.sampled_from(cases.KINDS))
    X = cases.make(kind, draw(sizes), draw(widths), seed=draw(st.integers(0, 999)))
    return (X * draw(st.sampled_from(SCALES))).astype(dtype)


@st.composite
def weights_for(draw, m):
    """Draw None, or weights of which at least one is not 0."""
    kind = draw(st.sampled_from(["none", "none", "any", "whole", "few"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if kind == "none":
        return None
    weights = {"any": rng.random(m), "whole": rng.integers(0, 4, m), "few": rng.random(m) < 0.1}[kind]
    weights = weights.astype(float)
    weights[draw(st.integers(0, m - 1))] = 1.0
    return weights


@st.composite
def starts_for(draw, X, K):
    """Draw the name of a method, or rows of X, some of them moved far away or repeated."""
    init = draw(st.sampled_from(["random", "k-means++", "rows", "far", "twice"]))
    if init in ("random", "k-means++"):
        return init
    rows = cases.some_rows(X, K, seed=draw(st.integers(0, 99))).copy()
    if init == "far":
        rows[draw(st.integers(0, K - 1))] = 3 * np.abs(X).max() + 1
    if init == "twice":
        rows[-1] = rows[0]
    return rows


@st.composite
def problems(draw):
    """Draw (X, K, the options of kmeans)."""
    X = draw(points())
    m = len(X)
    K = draw(st.one_of(st.integers(1, min(m, 8)), st.sampled_from([1, m, (m + 1) // 2])))
    init = draw(starts_for(X, K))
    stop = draw(st.sampled_from([None, None, None, 0, 1, 3]))
    options = {
        "init": init,
        "sample_weight": draw(weights_for(m)),
        "empty": draw(st.sampled_from(["drop", "reinit", "farthest", "error"])),
        "n_init": draw(st.sampled_from([1, 1, 4])) if isinstance(init, str) else 1,
        "max_iter": draw(st.sampled_from([1, 2, 5, 300])),
        "tol": draw(st.sampled_from([0.0, 0.0, 1e-4, 0.3])),
        "algorithm": draw(st.sampled_from(["auto", *cases.engines(*X.shape)])),
        "seed": draw(st.integers(0, 2**40)),
        "n_threads": draw(st.sampled_from([1, 2])),
        "keep_path": draw(st.booleans()),
        "callback": None if stop is None else lambda iteration, *_: iteration == stop,
    }
    return X, K, options


def run(X, K, options):
    """Return the result; None if the policy "error" raised, or a start was rejected as too far away."""
    try:
        return ckmeans.kmeans(X, K, **options)
    except ValueError as error:
        if options["empty"] == "error" and "has no points" in str(error):
            return None
        if not isinstance(options["init"], str) and "init must lie within" in str(error):
            return None
        raise


@given(problems())
def test_results_describe_their_state(problem):
    X, K, options = problem
    weights = options["sample_weight"]
    r = run(X, K, options)
    if r is None:
        return
    check_state(X, r, weights)
    heavy = np.bincount(r.labels, weights, len(r.centroids)) > 0
    if options["empty"] in ("drop", "error"):
        assert heavy.all()
    if options["empty"] != "drop":
        assert len(r.centroids) == K
    assert r.n_iter <= options["max_iter"]
    assert (r.stop_reason == "max_iter") <= (r.n_iter == options["max_iter"])
    if options["keep_path"]:
        check_path(X, r, weights, options["empty"])


@given(problems(), st.sampled_from([1, 2, 3, 8]))
def test_results_do_not_depend_on_threads(problem, n_threads):
    X, K, options = problem
    one = run(X, K, options)
    other = run(X, K, {**options, "n_threads": n_threads})
    assert (one is None) == (other is None)
    if one is not None:
        assert_same(one, other)


@given(problems())
def test_stable_result_is_fixed_point(problem):
    X, K, options = problem
    r = run(X, K, {**options, "tol": 0.0, "callback": None, "max_iter": 300, "empty": "drop"})
    if r is not None and r.stop_reason == "stable":
        again = ckmeans.kmeans(
            X,
            len(r.centroids),
            init=r.centroids,
            tol=0,
            sample_weight=options["sample_weight"],
            algorithm=options["algorithm"],
        )
        check_state(X, again, options["sample_weight"])
        assert again.n_iter <= 2
        assert again.distortion <= r.distortion * (1 + 1e-12)


@given(points(), st.integers(1, 30), st.integers(0, 99))
def test_certain_labels_equal_the_reference(X, K, seed):
    centroids = cases.some_rows(X, K, seed)
    dtype = ckmeans.kmeans(X, 1, max_iter=1, seed=0).centroids.dtype
    labels, squared = ckmeans.assign(X, centroids, return_squared_distance=True)
    expected, certain = reference.certain_labels(X, centroids, dtype)
    np.testing.assert_array_equal(labels[certain], expected[certain])
    of_labels = ((X.astype(float) - centroids.astype(float)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared, of_labels, rtol=1e-12)
    assert ckmeans.distortion(X, centroids) == pytest.approx(squared.mean(), rel=1e-12)


@given(points(), st.data())
def test_integer_weights_equal_repeated_points(X, data):
    m = len(X)
    repeats = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 4, m)
    repeats[data.draw(st.integers(0, m - 1))] = 2
    K = data.draw(st.integers(1, min(m, 6)))
    centroids = cases.some_rows(X, K)
    repeated = np.repeat(X, repeats, axis=0)
    labels = ckmeans.assign(X, centroids)
    weighted_J = ckmeans.distortion(X, centroids, sample_weight=repeats)
    assert weighted_J == pytest.approx(ckmeans.distortion(repeated, centroids), rel=1e-12)
    means, _ = ckmeans.update(X, labels, K, sample_weight=repeats)
    means_of_repeats, _ = ckmeans.update(repeated, np.repeat(labels, repeats), K)
    slack = (4 * np.finfo(means.dtype).eps + m * 1e-16) * float(np.abs(X).max())
    np.testing.assert_allclose(means, means_of_repeats, rtol=0, atol=slack)


@given(points(), st.data())
def test_starts_are_rows_of_x(X, data):
    K = data.draw(st.integers(1, len(X)))
    method = data.draw(st.sampled_from(["random", "k-means++"]))
    weights = data.draw(weights_for(len(X)))
    centroids = ckmeans.init_centroids(
        X, K, method, seed=data.draw(st.integers(0, 99)), sample_weight=weights
    )
    weighing = X if weights is None else X[weights > 0]
    values = {tuple(row) for row in weighing.tolist()}
    drawn = {tuple(row) for row in centroids.tolist()}
    assert drawn <= values
    assert len(drawn) == min(K, len(values))
