"""Data of any scale: results against exact rational arithmetic, and in any unit that is a power of two.

Where squares leave float64 the package computes in another unit, a power of two, so that every number that
it returns is that of the same data at an ordinary scale, times a power of two.
"""

from __future__ import annotations

from fractions import Fraction

import cases
import numpy as np
import pytest
from checks import assert_same, check_state
from hypothesis import given, settings
from hypothesis import strategies as st

import ckmeans

# 2**-498 and 2**498 make values of about 1e-150 and 1e150; 2**-1060 makes subnormal ones.
EXPONENTS = (-1060, -1000, -600, -498, 498, 1000)
sparse = pytest.importorskip("scipy.sparse")


def times(values, exponent):
    """Return values * 2**exponent in float64."""
    with np.errstate(all="ignore"):
        return np.ldexp(np.asarray(values, np.float64), exponent)


def whole(m, n, seed=0):
    """Return groups of points with few digits, which even subnormal numbers keep."""
    return np.round(cases.blobs(m, n, groups=4, spread=9.0, seed=seed) * 4)


def overflows(J, exponent):
    """Return whether J does in a unit of 2**exponent."""
    return not np.isfinite(times(J, 2 * exponent))


def assert_scaled(found, base, exponent):
    """Check that a result is another one in a unit of 2**exponent."""
    np.testing.assert_array_equal(found.labels, base.labels)
    np.testing.assert_array_equal(found.counts, base.counts)
    np.testing.assert_array_equal(found.centroids, times(base.centroids, exponent))
    for name in ("distortion", "history", "distortions"):
        np.testing.assert_array_equal(getattr(found, name), times(getattr(base, name), 2 * exponent))
    for one, other in zip(found.path or [], base.path or [], strict=True):
        np.testing.assert_array_equal(one, times(other, exponent))
    assert found.stop_reason == base.stop_reason


# ---- every function, in other units ------------------------------------------------------------------


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("n", [1, 2, 20])
def test_fits_in_any_unit(exponent, n):
    X = whole(600, n)
    weights = np.random.default_rng(1).random(600)
    starts = ("k-means++", "random", X[:5], X[:2], lambda X, K, rng: X[rng.choice(len(X), K)])
    for algorithm in (*cases.engines(600, n), "auto", "optimal"):
        for init in starts:
            if algorithm == "optimal" and (n > 1 or init is not starts[0]):
                continue
            options = {"algorithm": algorithm, "seed": 3, "sample_weight": weights}
            options["keep_path"] = algorithm != "optimal"
            base = ckmeans.kmeans(X, 5, init=init, **options)
            start = times(init, exponent) if isinstance(init, np.ndarray) else init
            scaled = times(X, exponent)
            if overflows(base.history[0], exponent):
                with pytest.raises(ValueError, match="must have values whose squares float64 can hold"):
                    ckmeans.kmeans(scaled, 5, init=start, **options)
                continue
            found = ckmeans.kmeans(scaled, 5, init=start, **options)
            if exponent > -1060:  # else digits of the centroids are lost to the caller's unit
                assert_scaled(found, base, exponent)
                check_state(scaled, found, weights)
            np.testing.assert_array_equal(found.labels, base.labels)


def forms(X):
    """Return X in the forms that all single steps accept."""
    return {
        "array": X,
        "Fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "prepared": ckmeans.prepare(X),
        "sparse": sparse.csr_array(X),
    }


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("form", forms(np.eye(2)))
@pytest.mark.parametrize("n", [1, 3, 20])
def test_steps_in_any_unit(exponent, form, n):
    X = whole(300, n)
    C, labels = X[:6] + 1, np.arange(300) % 6
    scaled, D = times(X, exponent), times(C, exponent)
    base, other = forms(X)[form], forms(scaled)[form]
    expected, squared = ckmeans.assign(base, C, return_squared_distance=True)
    np.testing.assert_array_equal(ckmeans.assign(other, D), expected)
    means, counts = ckmeans.update(other, labels, 6)
    np.testing.assert_array_equal(means, times(ckmeans.update(base, labels, 6)[0], exponent))
    np.testing.assert_array_equal(counts, np.bincount(labels))
    found = ckmeans.init_centroids(other, 6, seed=2)
    np.testing.assert_array_equal(found, times(ckmeans.init_centroids(base, 6, seed=2), exponent))
    calls = (
        (lambda X, C: ckmeans.assign(X, C, return_squared_distance=True)[1], squared.max()),
        (ckmeans.distortion, ckmeans.distortion(base, C)),
        (lambda X, C: ckmeans.distortion(X, C, labels), ckmeans.distortion(base, C, labels)),
    )
    for call, largest in calls:
        if overflows(largest, exponent):
            with pytest.raises(ValueError, match="must have values whose squares float64 can hold"):
                call(other, D)
        else:
            np.testing.assert_array_equal(call(other, D), times(call(base, C), 2 * exponent))


@pytest.mark.parametrize("exponent", [-1000, -600, -498, 490])
@pytest.mark.parametrize("n", [1, 2, 12])
@pytest.mark.parametrize("form", ["array", "sparse"])
def test_indices_in_any_unit(exponent, n, form):
    X = whole(700, n)
    base, other = forms(X)[form], forms(times(X, exponent))[form]
    one, two = (ckmeans.elbow(points, range(1, 6), seed=0) for points in (base, other))
    assert one.knee == two.knee
    np.testing.assert_array_equal(one.silhouette, two.silhouette)
    np.testing.assert_array_equal(one.calinski_harabasz, two.calinski_harabasz)
    np.testing.assert_array_equal(two.distortions, times(one.distortions, 2 * exponent))
    for a, b in zip(one.centroids, two.centroids, strict=True):
        np.testing.assert_array_equal(b, times(a, exponent))
    labels = ckmeans.assign(base, one.centroids[3])
    assert ckmeans.silhouette(base, labels) == ckmeans.silhouette(other, labels)
    one, two = (ckmeans.compare(points, [2, 3], n_init=2, seed=0) for points in (base, other))
    for a, b in zip(one.options, two.options, strict=True):
        np.testing.assert_array_equal(b.spread, times(a.spread, exponent))
        np.testing.assert_array_equal(b.shares, a.shares)


@pytest.mark.parametrize("exponent", [-1000, -600, -498, 490])
@pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])
@pytest.mark.parametrize("form", ["array", "sparse"])
def test_estimators_in_any_unit(exponent, name, form, capsys):
    X = whole(500, 3)
    base, other = forms(X)[form], forms(times(X, exponent))[form]
    cls = getattr(ckmeans, name)
    one, two = (cls(4, random_state=0, tol=0, verbose=1).fit(points) for points in (base, other))
    np.testing.assert_array_equal(two.labels_, one.labels_)
    np.testing.assert_array_equal(two.cluster_centers_, times(one.cluster_centers_, exponent))
    assert two.inertia_ == times(one.inertia_, 2 * exponent)
    np.testing.assert_array_equal(two.predict(other), one.labels_)
    np.testing.assert_array_equal(two.transform(other), times(one.transform(base), exponent))
    assert two.score(other) == times(one.score(base), 2 * exponent)
    assert "inertia" in capsys.readouterr().out
    start = times(X[:4], exponent)
    for init in (start, lambda X, K, random_state: start):
        np.testing.assert_array_equal(cls(4, init=init, n_init=1).fit(other).labels_.max(), 3)


@pytest.mark.parametrize("exponent", [-1000, -498, 490])
def test_chunks_in_any_unit(exponent):
    X = whole(500, 3)
    base, found = (
        ckmeans.kmeans_chunks([points[:123], points[123:]], 4, seed=0) for points in (X, times(X, exponent))
    )
    assert_scaled(found, base, exponent)


def test_callback_gets_the_callers_units():
    X, seen = whole(200, 2), []
    for exponent in (0, -600):
        calls = []
        ckmeans.kmeans(times(X, exponent), 3, seed=0, callback=lambda *call, calls=calls: calls.append(call))
        seen.append(calls)
    for (i, J, centroids), (j, tiny, others) in zip(*seen, strict=True):
        assert (i, times(J, -1200)) == (j, tiny)
        np.testing.assert_array_equal(others, times(centroids, -600))


@pytest.mark.parametrize("exponent", [-1000, -600, -498, 490])
@pytest.mark.parametrize("form", ["array", "sparse"])
def test_parts_in_any_unit(exponent, form):
    X = whole(300, 3)
    C, weights = X[:5] + 1, np.random.default_rng(0).random(300)
    one, two = (
        ckmeans.combine(
            ckmeans.partial_step(forms(points)[form], centroids, sample_weight=weights) for _ in range(2)
        )
        for points, centroids in ((X, C), (times(X, exponent), times(C, exponent)))
    )
    np.testing.assert_array_equal(two.centroids, times(one.centroids, exponent))
    np.testing.assert_array_equal(two.counts, one.counts)
    assert two.squares == times(one.squares, 2 * exponent)


@pytest.mark.parametrize("exponent", [-1000, -498, 490])
@pytest.mark.parametrize("n", [1, 3])
def test_many_problems_in_any_unit(exponent, n):
    X = whole(300, n).reshape(6, 50, n)
    one, two = (ckmeans.kmeans_many(points, 3, seed=0) for points in (X, times(X, exponent)))
    np.testing.assert_array_equal(two.labels, one.labels)
    np.testing.assert_array_equal(two.centroids, times(one.centroids, exponent))
    np.testing.assert_array_equal(two.distortions, times(one.distortions, 2 * exponent))


# ---- limits ------------------------------------------------------------------------------------------


def test_only_J_beyond_float64_is_refused():
    X = whole(50, 2)
    J = ckmeans.kmeans(X, 3, seed=0).history[0]
    last = next(e for e in range(500, 530) if overflows(J, e)) - 1
    assert np.isfinite(ckmeans.kmeans(times(X, last), 3, seed=0).distortion)
    with pytest.raises(ValueError, match=r"X must have values whose squares .* rescale the data"):
        ckmeans.kmeans(times(X, last + 1), 3, seed=0)


def test_largest_and_smallest_numbers():
    for value in (np.finfo(float).max, 5e-324):
        X = np.full((12, 2), value)
        X[6:] = -value if value < 1 else value
        r = ckmeans.kmeans(X, 2, seed=0)
        assert {*r.centroids.ravel().tolist()} == {*X.ravel().tolist()}
        np.testing.assert_array_equal(r.labels, ckmeans.assign(X, r.centroids))
        assert r.distortion == 0


@pytest.mark.parametrize("X", [np.zeros((40, 2)), np.full((40, 2), 1e-300)], ids=["zeros", "tiny"])
def test_tiny_centroids_are_told_apart(X):
    C = np.array([[3e-200, 0], [2e-200, 0], [1.0, 1.0]])
    assert (ckmeans.assign(X, C[:2]) == 1).all()
    assert (ckmeans.assign(X, C) == 1).all() or not X.any()


def test_far_start_is_no_error():
    X = whole(30, 2)
    for far in (1e200, 1e308):
        start = np.array([[0.0, 0.0], [far, far]])
        r = ckmeans.kmeans(X, 2, init=start)
        np.testing.assert_allclose(r.centroids, X.mean(axis=0, keepdims=True), rtol=1e-13)
        np.testing.assert_array_equal(ckmeans.assign(X, start), 0)
        with pytest.raises(ValueError, match="centroids must have values whose squares float64 can hold"):
            ckmeans.distortion(X, start, np.ones(30, int))
        for init, name in ((start[1:], "init"), (lambda *_, start=start: start[1:], "init.X, K, rng.")):
            with pytest.raises(ValueError, match=f"^{name} must have values whose squares"):
                ckmeans.kmeans(X, 1, init=init)


def test_prepared_points_keep_their_unit():
    X = times(whole(400, 2), -700)
    prepared = ckmeans.prepare(X)
    held = None
    for seed in range(3):
        assert_same(ckmeans.kmeans(prepared, 4, seed=seed), ckmeans.kmeans(X, 4, seed=seed))
        assert held is None or prepared.nbytes == held
        held = prepared.nbytes


@pytest.mark.parametrize("total", [1e-199, 1e199])
@pytest.mark.parametrize("exponent", [-498, -300, 0, 300, 498])
def test_extreme_weights_at_extreme_scales(total, exponent):
    X = whole(64, 3)
    weights = np.full(64, total / 64)
    found = ckmeans.kmeans(times(X, exponent), 4, seed=0, sample_weight=weights)
    base = ckmeans.kmeans(X, 4, seed=0, sample_weight=np.full(64, 1.0))
    np.testing.assert_array_equal(found.labels, base.labels)
    np.testing.assert_allclose(found.distortion, times(base.distortion, 2 * exponent), rtol=1e-13)
    J = ckmeans.distortion(times(X, exponent), found.centroids, found.labels, sample_weight=weights)
    np.testing.assert_allclose(J, found.distortion, rtol=1e-15)
    means, _ = ckmeans.update(times(X, exponent), found.labels, 4, sample_weight=weights)
    np.testing.assert_allclose(means, times(base.centroids, exponent), rtol=1e-12)


# ---- against rational arithmetic -----------------------------------------------------------------------


@st.composite
def problems(draw):
    """Draw points at an offset and a scale, and centroids among them."""
    m, n = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 3, 5, 9, 17]))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    X = rng.integers(-8, 9, (m, n)) if draw(st.booleans()) else rng.normal(size=(m, n))
    X = X + draw(st.sampled_from([0.0, 0.0, 1.0, 1e4, 1e8]))
    X *= draw(st.sampled_from([1.0, 1e-30, 1e30, 1e-150, 1e150, 1e-200, 1e-310]))
    K = draw(st.integers(1, min(m, 6)))
    return X, X[rng.choice(m, K, replace=False)] * draw(st.sampled_from([1.0, 1.0, 0.875]))


def exact_squares(X, C):
    """Return the squared distances as fractions, a list for each point."""
    points, centroids = ([[Fraction(v) for v in row] for row in array.tolist()] for array in (X, C))
    return [[sum((a - b) ** 2 for a, b in zip(x, c, strict=True)) for c in centroids] for x in points]


def error_bound(X, C):
    """Return what the reference's bound of a score's error (tests/reference.py) is at most, as a fraction."""
    n = X.shape[1]
    far = max(max(abs(Fraction(v)) for v in array.ravel().tolist()) for array in (X, C))
    spread = max(
        Fraction(float(high)) - Fraction(float(low))
        for high, low in zip(np.vstack([X, C]).max(axis=0), np.vstack([X, C]).min(axis=0), strict=True)
    )
    # Two shifts and n products: all relative to distances from the shift, which lies among the centroids.
    return (6 * n + 16) * n * spread**2 / 2**53 if far else Fraction(0)


@settings(max_examples=150)
@given(problems())
def test_steps_against_fractions(problem):
    X, C = problem
    exact = exact_squares(X, C)
    labels, bound = ckmeans.assign(X, C), error_bound(X, C)
    for own, label in zip(exact, labels.tolist(), strict=True):
        assert own[label] - min(own) <= 2 * bound
        if own.count(min(own)) > 1 and bound == 0:
            assert label == own.index(min(own))
    chosen = [own[label] for own, label in zip(exact, labels.tolist(), strict=True)]
    J = sum(chosen) / len(X)
    if Fraction(np.finfo(float).max) * Fraction(9, 10) > J:
        found = Fraction(ckmeans.distortion(X, C, labels))
        assert abs(found - J) <= J * Fraction(len(X) + X.shape[1] + 8, 2**52) + Fraction(5e-324)
    means, _ = ckmeans.update(X, labels, len(C))
    for k in range(len(C)):
        rows = [[Fraction(v) for v in row] for row in X[labels == k].tolist()]
        for j, column in enumerate(zip(*rows, strict=True)):
            mean = sum(column) / len(column)
            slack = max(abs(v) for v in column) * Fraction(len(column) + 4, 2**52) + Fraction(5e-324)
            assert abs(Fraction(float(means[k, j])) - mean) <= slack


@settings(max_examples=150)
@given(problems(), st.sampled_from(["auto", "dense", "cells", "screen"]), st.integers(0, 99))
def test_fits_against_fractions(problem, algorithm, seed):
    X, C = problem
    if algorithm == "cells" and X.shape[1] > 8:
        algorithm = "auto"
    options = {"seed": seed, "tol": 0.0, "algorithm": algorithm}
    try:
        r = ckmeans.kmeans(X, len(C), **options)
    except ValueError as error:
        if "squares float64 can hold" not in str(error) or np.ptp(X, axis=0).max() < 1e150:
            raise
        return
    assert (np.diff(r.history) <= 0).all()
    assert_same(r, ckmeans.kmeans(X, len(C), **options, n_threads=2))
    assert_same(r, ckmeans.kmeans(X, len(C), **options))
    exact = exact_squares(X, r.centroids)
    J = sum(own[label] for own, label in zip(exact, r.labels.tolist(), strict=True)) / len(X)
    assert abs(Fraction(r.distortion) - J) <= J * Fraction(len(X) + 25, 2**52) + Fraction(5e-324)
    bound = 2 * error_bound(X, r.centroids)
    assert all(own[k] - min(own) <= bound for own, k in zip(exact, r.labels.tolist(), strict=True))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e-150, 1e-300])
def test_wide_points_against_fractions(scale):
    X = np.random.default_rng(4).normal(size=(12, 4096)) * scale + 1e8 * scale
    C = X[:3] * (1 + 1e-9)
    exact = exact_squares(X, C)
    np.testing.assert_array_equal(ckmeans.assign(X, C), [own.index(min(own)) for own in exact])
    J = sum(min(own) for own in exact) / 12
    assert abs(Fraction(ckmeans.distortion(X, C)) - J) <= J / 10**10 + Fraction(5e-324)


# ---- directions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-1000, -600, -498, 498, 1000])
@pytest.mark.parametrize("form", ["array", "Fortran", "prepared", "sparse"])
def test_directions_have_no_unit(exponent, form):
    X = whole(200, 3) + 0.5
    base, other = forms(X)[form], forms(times(X, exponent))[form]
    one, two = (ckmeans.kmeans(points, 4, metric="cosine", seed=0) for points in (base, other))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.centroids, two.centroids)
    assert one.distortion == two.distortion
    for C in (one.centroids, times(one.centroids, -800)):
        found, expected = (
            ckmeans.assign(points, C, metric="cosine", return_squared_distance=True)
            for points in (other, base)
        )
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        J = ckmeans.distortion(base, C, one.labels, metric="cosine")
        assert ckmeans.distortion(other, C, one.labels, metric="cosine") == J
    start = ckmeans.init_centroids(other, 4, metric="cosine", seed=1)
    np.testing.assert_array_equal(start, ckmeans.init_centroids(base, 4, metric="cosine", seed=1))
