"""8-bit codes: bounds that hold in exact arithmetic, and labels equal to the dense engine's."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cases
import numpy as np
import pytest
import quantisation_cases

import ckmeans
from ckmeans import _screen
from ckmeans._points import Points

SETS = ckmeans.show_config()["simd_supported"]
WIDE = np.longdouble


@pytest.fixture
def directions():
    """Return a function that sets how many leading directions points are screened on."""
    before = _screen.set_directions(0)
    yield _screen.set_directions
    _screen.set_directions(before)


def exact_scores(X, C, origin, factor):
    """Return |c - o|^2 - 2 (x - o) (c - o), times the squared factor, and a bound on its error."""
    x, c = ((a.astype(WIDE) - origin) * WIDE(factor) for a in (X, C))
    norms = np.sqrt((x * x).sum(1))[:, None], np.sqrt((c * c).sum(1))
    error = (X.shape[1] + 8) * np.finfo(WIDE).eps * norms[1] * (norms[1] + 2 * norms[0])
    return norms[1] ** 2 - 2 * x @ c.T, error


def dense_scores(X, C, shift, *, fused):
    """Return the scores of the dense kernel, by their definition in kernels.h."""
    dtype = X.dtype
    x, c = X - shift, C - shift
    score = np.broadcast_to((c.astype(np.float64) ** 2).sum(1).astype(dtype), (len(X), len(C)))
    for feature in range(X.shape[1]):
        if fused:  # float32 in float64: the product is exact
            score = (np.outer(x[:, feature].astype(np.float64), -2.0 * c[:, feature]) + score).astype(dtype)
        else:
            score = np.outer(x[:, feature], -2 * c[:, feature]) + score
    return score


def to_origin(X, origin, shift, factor):
    """Return what leads from scores about the shift to those about the origin, and a bound on its error."""
    o, s = origin.astype(WIDE), shift.astype(WIDE)
    a, b = ((o - s) * WIDE(factor), ((X - s) + (X - o)) * WIDE(factor))
    error = (X.shape[1] + 8) * np.finfo(WIDE).eps * np.sqrt((a * a).sum() * (b * b).sum(1))
    return (b @ a)[:, None], error[:, None]


def count_outside(lower, upper, scores, error):
    """Count the scores that are outside their bounds for certain; a NaN bounds nothing."""
    return int(((lower > scores + error) | (upper < scores - error)).sum())


def check_bounds(X, C):
    """Check the bounds of all pairs against exact scores and against the dense kernel's."""
    for by_tile in (True, False):
        lower, upper, origin, shift, factor = _screen.pair_bounds_of(Points(X, X.itemsize), C, by_tile)
        scores, error = exact_scores(X, C, origin, factor)
        assert count_outside(lower, upper, scores, error) == 0
        away, away_error = to_origin(X, origin, shift, factor)
        for fused in (False, True)[: 1 + (X.itemsize == 4)]:
            dense = dense_scores(X, C, shift, fused=fused).astype(WIDE) * WIDE(factor) ** 2
            assert count_outside(lower, upper, dense + away, away_error) == 0


@pytest.mark.parametrize(("kind", "dtype"), quantisation_cases.NAMES)
def test_bounds_of_random_pairs(kind, dtype, directions):
    """Of 10^6 pairs of each kind, on all features; some thousands on leading directions too."""
    with np.errstate(under="ignore"):
        for n, m in ((1, 448), (3, 448), (20, 448), (64, 448), (65, 460)):
            check_bounds(*quantisation_cases.problem(kind, dtype, m, n, 448, seed=1))
        for n, d in ((5, 5), (70, 9), (70, 32)):
            directions(d)
            check_bounds(*quantisation_cases.problem(kind, dtype, 320, n, 90, seed=2))


@pytest.mark.parametrize(("kind", "dtype"), quantisation_cases.NAMES)
def test_bounds_in_exact_arithmetic(kind, dtype, directions):
    """Of few pairs in fractions, which do not round at all."""
    X, C = quantisation_cases.problem(kind, dtype, 40, 6, 9, seed=3)
    for by_tile in (True, False):
        lower, upper, origin, _, factor = _screen.pair_bounds_of(Points(X, X.itemsize), C, by_tile)
        for i in range(len(X)):
            x = [Fraction(float(a)) - Fraction(float(o)) for a, o in zip(X[i], origin, strict=True)]
            for k in range(len(C)):
                c = [Fraction(float(a)) - Fraction(float(o)) for a, o in zip(C[k], origin, strict=True)]
                score = sum(b * (b - 2 * a) for a, b in zip(x, c, strict=True)) * Fraction(factor) ** 2
                assert not np.isfinite(lower[i, k]) or Fraction(lower[i, k]) <= score
                assert not np.isfinite(upper[i, k]) or score <= Fraction(upper[i, k])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [0, 64])
def test_bounds_are_close(dtype, d, directions):
    """Bounds lie so close together that a pair in a hundred is left to look at."""
    directions(d)
    X, C = quantisation_cases.problem("decaying", dtype, 600, 64, 100)
    lower, upper = _screen.pair_bounds_of(Points(X, X.itemsize), C, True)[:2]
    assert (lower <= upper).all()
    assert (lower <= upper.min(axis=1, keepdims=True)).mean() < 0.05


# One line: the cases whose labels are not those of the dense engine.
LABELS = """
    import json, sys
    sys.path.insert(0, {tests!r})
    import numpy as np
    from ckmeans import _screen
    from quantisation_cases import LAYOUTS, NAMES, differing_labels, problem

    wrong = []

    def check(X, C, directions, *case, **options):
        _screen.set_directions(directions)
        if count := differing_labels(X, C, **options):
            wrong.append([*map(str, case), directions, count])

    with np.errstate(under="ignore"):
        {cases}
    print(json.dumps(wrong))
"""
OF_KINDS = """
        for kind, dtype in NAMES:
            for m, n, K in ((1000, 5, 17), (650, 20, 40), (300, 70, 64), (33, 16, 9)):
                for directions in (0, 4, 32)[: 1 + 2 * (n > 16)]:
                    X, C = problem(kind, dtype, m, n, K)
                    check(X, C, directions, kind, dtype, n, empty="farthest")
            for layout, change in LAYOUTS.items():
                X, C = problem(kind, dtype, 200, 21, 23, seed=4)
                check(change(X), C, 8, kind, dtype, layout, empty="drop")
"""
OF_SIZES = """
        for dtype in ("float32", "float64"):
            for n in (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 63, 64, 65, 127, 128, 129, 255, 257, 1000, 4097, 5000):
                for K in (1, 7, 9, 64)[: 4 if n < 200 else 2]:
                    for kind in ("decaying", "huge value"):
                        X, C = problem(kind, dtype, 97, n, K)
                        check(X, C, 0 if n % 2 else 16, kind, dtype, n, K, empty="farthest")
            for K in (1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 63, 64, 65, 127, 129):
                for m in (1, 2, 31, 32, 33, 65, 513):
                    X, C = problem("decaying", dtype, m, 19, min(K, m))
                    check(X, C, 4 * (m % 3), dtype, m, K, empty="reinit", seed=1)
"""


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("of", ["kinds", "sizes"])
def test_labels_equal_dense(of, name):
    code = LABELS.format(tests=str(Path(__file__).parent), cases={"kinds": OF_KINDS, "sizes": OF_SIZES}[of])
    assert json.loads(cases.run_python(code, CKMEANS_SIMD=name, timeout=300)) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [0, 16, 64])
def test_carried_bounds(dtype, d, directions):
    """Bounds that are carried over many steps, on leading directions too, leave the labels as they are."""
    directions(d)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3001, 24)) @ rng.normal(size=(24, 120)) + 0.3 * rng.normal(size=(3001, 120))
    X = X.astype(dtype)
    weights = rng.integers(0, 3, len(X)).astype(float)
    for seed in range(3):
        C = cases.some_rows(X, 150, seed)
        for options in ({"empty": "farthest"}, {"empty": "drop", "sample_weight": weights}):
            assert quantisation_cases.differing_labels(X, C, max_iter=12, **options) == 0


def test_restarts_and_fewer_centroids(directions):
    """Restarts share the codes; centroids without points are dropped, also where directions are in use."""
    directions(8)
    X, C = quantisation_cases.problem("decaying", "float32", 900, 30, 40)
    C[::3] += 1e4
    assert quantisation_cases.differing_labels(X, C, empty="drop", max_iter=9) == 0
    fits = [ckmeans.kmeans(X, 25, n_init=4, seed=2, algorithm=name) for name in ("dense", "screen")]
    np.testing.assert_array_equal(fits[0].labels, fits[1].labels)


def test_points_beyond_float32():
    """Scores of float64 that leave float32 in the units of the codes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1001, 4))
    for scale in np.geomspace(0.2, 1.3, 60):  # at some of them one square is just beyond float32
        X[5] = [4e18 * scale, 0, 0, 0]
        C = np.array([[1.9e19 * scale, 0, 0, 0], [0, 1.55e19 * scale, 0, 0]])
        assert quantisation_cases.differing_labels(X, C, empty="farthest") == 0
    X = rng.normal(size=(33, 16)) * 1e-10
    X[32] = 1e30  # alone in its tile
    assert quantisation_cases.differing_labels(X, X[:20].copy(), empty="farthest") == 0


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1), ("float64", 1), ("float64", 1e-140)])
@pytest.mark.parametrize("tiny", [1e-18, 1e-21, 1e-24, 1e-27])
def test_tiny_centroids_of_signs(dtype, scale, tiny):
    """Whole tiles of points with exact codes against centroids whose squares underflow."""
    rng = np.random.default_rng(0)
    X = scale * rng.choice([-1.0, 1.0], (288 * 64, 20))
    X[::64] = scale * tiny * rng.normal(size=(288, 20))
    C = scale * tiny * rng.normal(size=(40, 20))
    X, C = X.astype(dtype), C.astype(dtype)
    labels = [quantisation_cases.first_labels(X, C, name, n_threads=1) for name in ("dense", "screen")]
    np.testing.assert_array_equal(*labels)


def test_most_features_of_codes():
    """Products of up to 65,536 features fit their integers; of more, every pair is computed in full."""
    signs = np.where(np.random.default_rng(0).random((34, 65_537)) < 0.5, -1, 1).astype(np.float32)
    signs[1] = signs[0]
    signs[2] = -signs[0]
    for n in (65_536, 65_537):
        X = np.concatenate([signs[:, :n], np.full((1, n), 1, np.float32), np.full((1, n), -1, np.float32)])
        assert quantisation_cases.differing_labels(X, X[:9].copy(), empty="farthest") == 0
