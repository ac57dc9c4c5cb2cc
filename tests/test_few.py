"""Few centroids: rows that are scored in place get the labels of rows that are packed into tiles."""

from __future__ import annotations

import cases
import checks
import numpy as np
import pytest

import ckmeans
from ckmeans import _dense, _runtime

NEVER = 1 << 40
SETS = ckmeans.show_config()["simd_supported"]
WIDTHS = (2, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 129)
CLUSTERS = range(2, 9)


@pytest.fixture
def both_ways():
    """Return a function that calls another one twice: rows scored in place if possible, and always packed."""
    before = _dense.set_few_bytes(0, 0)

    def call(function):
        results = []
        for least in (0, NEVER):
            _dense.set_few_bytes(least, least)
            results.append(function())
        return results

    yield call
    _dense.set_few_bytes(*before)


def same_labels(both_ways, X, centroids, **options):
    in_place, packed = both_ways(lambda: ckmeans.assign(X, centroids, **options))
    np.testing.assert_array_equal(in_place, packed)
    return in_place


def dense(X, K, **options):
    options = {"max_iter": 30, "tol": 0.0, "empty": "farthest", **options}
    return ckmeans.kmeans(X, K, algorithm="dense", **options)


# ---- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", CLUSTERS)
def test_row_tails(both_ways, kind, K, dtype):
    for n in WIDTHS:
        for m in (1, 2, 5, 16, 31, 33, 130):
            X = cases.make(kind, m, n, dtype)
            same_labels(both_ways, X, cases.some_rows(X, K))


@pytest.mark.parametrize("K", CLUSTERS)
def test_ties_go_to_the_lowest(both_ways, K, dtype):
    """Between a centroid and its copies, and on the plane between two."""
    rng = np.random.default_rng(K)
    X = rng.integers(-2, 3, (600, 24)).astype(dtype)
    centroids = X[rng.integers(0, 3, K)]
    labels = same_labels(both_ways, X, centroids)
    squared = ((X[:, None].astype(float) - centroids.astype(float)) ** 2).sum(axis=2)
    np.testing.assert_array_equal(labels, squared.argmin(axis=1))


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3, 1e7])
def test_scales_and_near_ties(both_ways, scale, offset, dtype):
    """Points on and near the planes between centroids, where the order of additions matters."""
    rng = np.random.default_rng(7)
    centroids = (scale * (offset + rng.normal(size=(4, 50)))).astype(dtype)
    sides = rng.integers(0, 4, (2, 1500))
    between = (centroids[sides[0]].astype(float) + centroids[sides[1]]) / 2
    nudges = np.array([0, 1e-9, 1e-7, 1e-5, 1e-2])[rng.integers(0, 5, 1500), None]
    X = (between * (1 + nudges * rng.normal(size=(1500, 50)))).astype(dtype)
    same_labels(both_ways, X, centroids)


def test_features_of_mixed_scales(both_ways, dtype):
    rng = np.random.default_rng(8)
    X = (rng.normal(size=(900, 40)) * 10.0 ** rng.integers(-6, 7, 40)).astype(dtype)
    for K in CLUSTERS:
        same_labels(both_ways, X, X[:K])


def test_one_centroid_far_away(both_ways, dtype):
    X = cases.make("blobs", 900, 40, dtype)
    centroids = cases.some_rows(X, 5)
    centroids[2] += 1e6
    assert not (same_labels(both_ways, X, centroids) == 2).any()


@pytest.mark.parametrize("source", ["uint8", "float16", "columns", "rows", "reversed", "big"])
def test_sources_of_rows(both_ways, source):
    X = cases.make("lattice", 700, 70, np.float32) + 3
    X = {
        "uint8": X.astype(np.uint8),
        "float16": X.astype(np.float16),
        "columns": np.asfortranarray(X),
        "rows": np.concatenate([X, X], axis=1)[::2, 3:40],
        "reversed": X[::-1, ::-1],
        "big": X.astype(">f4"),
    }[source]
    same_labels(both_ways, X, np.ascontiguousarray(X[:6], np.float32) + np.float32(0.25))


@pytest.mark.parametrize("name", SETS)
def test_every_instruction_set(name):
    code = """
        import numpy as np
        import ckmeans
        from ckmeans import _dense

        for dtype in ("float32", "float64"):
            for n in (2, 5, 16, 19, 64, 150):
                rng = np.random.default_rng(n)
                X = (rng.integers(0, 50, (333, n)) / 7 + 20).astype(dtype)
                for K in range(2, 9):
                    labels = []
                    for least in (0, 1 << 40):
                        _dense.set_few_bytes(least, least)
                        labels.append(ckmeans.assign(X, X[:K]))
                    assert (labels[0] == labels[1]).all(), (dtype, n, K)
        print("same")
    """
    assert cases.run_python(code, CKMEANS_SIMD=name).split() == ["same"]


# ---- fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("K", [2, 3, 8])
def test_fits(both_ways, kind, K, weighted, dtype):
    X = cases.make(kind, 1500, 37, dtype)
    weights = np.random.default_rng(K).random(len(X)) if weighted else None
    in_place, packed = both_ways(lambda: dense(X, K, seed=K, sample_weight=weights))
    checks.assert_same(in_place, packed)
    checks.check_state(X, in_place, weights)


def test_in_place_scoring_needs_more_memory(both_ways):
    """Scoring in place needs a second layout of the centroids, which the stats count."""
    X = cases.make("blobs", 500, 128, np.float32)

    def memory(K):
        return dense(X, K, seed=0).stats["bytes"]

    for K in CLUSTERS:
        in_place, packed = both_ways(lambda K=K: memory(K))
        assert in_place > packed or _runtime.chosen_instruction_set() == "baseline"
    in_place, packed = both_ways(lambda: memory(40))
    assert in_place == packed


def test_threads(both_ways):
    X = cases.make("uniform", 18_000, 64, np.float32)
    one, _ = both_ways(lambda: dense(X, 4, seed=1, n_threads=1))
    for n_threads in (2, 5):
        for other in both_ways(lambda n=n_threads: dense(X, 4, seed=1, n_threads=n)):
            checks.assert_same(one, other)


def test_empty_clusters(both_ways, dtype):
    X = cases.make("blobs", 1200, 48, dtype)
    start = np.concatenate([X[:4], X[:3] + 1e3]).astype(dtype)
    for empty in ("drop", "reinit", "farthest"):
        in_place, packed = both_ways(lambda empty=empty: dense(X, 7, init=start, empty=empty, seed=2))
        checks.assert_same(in_place, packed)


def test_lattice_of_near_ties(both_ways):
    """Half of the rows are equally far from both centroids."""
    X = np.random.default_rng(3).integers(0, 2, (4000, 64)).astype(np.float32)
    X[:, 0] = np.arange(4000) % 3
    start = np.zeros((2, 64), np.float32)
    start[1, 0] = 2
    in_place, packed = both_ways(lambda: dense(X, 2, init=start))
    checks.assert_same(in_place, packed)


@pytest.mark.parametrize("K", [2, 5, 30])
def test_incremental_sums_equal_full_sums(kind, K):
    """Sums carried from the previous step give every J, and every centroid to its last bits."""
    X = cases.make(kind, 1500, 24, np.float32)
    r = dense(X, K, seed=3, keep_path=True)
    assert len(r.history) > 5 or kind not in ("uniform", "lattice")
    for centroids, J in zip(r.path, r.history, strict=True):
        assert ckmeans.distortion(X, centroids) == pytest.approx(J, rel=1e-12)
    checks.check_state(X, r)
    checks.check_path(X, r, empty="farthest")


# ---- values that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (640, 63), (999, 64), (998, 33)])
def test_non_finite_values(both_ways, bad, place, dtype):
    X = cases.make("uniform", 1000, 65, dtype)
    X[place] = bad

    def message(function):
        with pytest.raises(ValueError, match=r"finite|NaN|infinit") as caught:
            function()
        return str(caught.value)

    for function in (lambda: dense(X, 3, init=X[1:4]), lambda: ckmeans.assign(X, X[1:4])):
        in_place, packed = both_ways(lambda function=function: message(function))
        assert in_place == packed


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_squares_beyond_float32(both_ways, scale):
    X = cases.make("blobs", 800, 40, np.float64)
    X = (X * scale).astype(np.float32)
    for found in both_ways(lambda: dense(X, 3, init=X[:3])):
        assert found.centroids.dtype == np.float64
        checks.check_state(X, found)
