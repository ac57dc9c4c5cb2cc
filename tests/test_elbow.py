"""Choosing the number of clusters."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from cases import separated_blobs

import ckmeans
from ckmeans import _cells, _elbow, _inputs
from ckmeans._elbow import find_knee, find_kneedle, simplified_silhouette
from ckmeans._points import PreparedPoints


@pytest.mark.parametrize("K", [2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 2, 10])
def test_knee_of_separated_blobs(K, n):
    assert ckmeans.elbow(separated_blobs(K, n), range(1, 13), seed=0).knee == K


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("seed", range(3))
def test_no_knee_in_noise(n, kind, seed):
    rng = np.random.default_rng(seed)
    X = rng.random((500, n)) if kind == "uniform" else rng.normal(size=(500, n))
    found = ckmeans.elbow(X, range(1, 13), seed=seed)
    assert found.knee is None
    assert "no clear elbow" in repr(found)


def five_blobs(seed=0):
    """Return four small and wide groups in the corners, and a larger and denser one in the middle."""
    rng = np.random.default_rng(seed)
    corners = [(25, 25, 7, 12, 22), (25, 80, 8, 10, 22), (87, 82, 16, 9, 39), (88, 17, 16, 10, 35)]
    groups = [*corners, (55, 50, 9, 6, 81)]
    return np.concatenate([rng.normal((x, y), (dx, dy), (m, 2)) for x, y, dx, dy, m in groups])


def test_measures_agree_without_an_elbow():
    found = ckmeans.elbow(five_blobs(), range(1, 11), seed=0)
    assert found.knee is None
    assert found.suggestions == {"elbow": None, "silhouette": 5, "calinski_harabasz": 5, "kneedle": 5}
    assert repr(found) == (
        "<ckmeans.Elbow: K=1..10, no clear elbow (silhouette: 5, calinski_harabasz: 5, kneedle: 5)>"
    )


@pytest.mark.parametrize("K", [2, 3, 5, 8])
def test_suggestions_for_separated_blobs(K):
    found = ckmeans.elbow(separated_blobs(K, 3, apart=14), range(1, 13), seed=0)
    assert found.suggestions["silhouette"] == found.suggestions["elbow"] == found.knee == K


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("kind", ["uniform", "normal", "exponential"])
def test_lowest_distortion_is_never_suggested(kind, n):
    rng = np.random.default_rng(n)
    X = {"uniform": rng.random, "normal": rng.standard_normal, "exponential": rng.standard_exponential}[kind](
        (300, n)
    )
    for ks in ([4], [3, 4], range(1, 8), range(2, 20)):
        found = ckmeans.elbow(X, ks, n_init=1, seed=0)
        assert found.suggestions["elbow"] is None
        assert set(found.suggestions.values()) <= {None, *found.ks[:-1].tolist()}


def test_no_suggestion_where_nothing_varies():
    for X in (np.zeros((9, 2)), np.arange(9.0).reshape(9, 1)):
        found = ckmeans.elbow(X, [1], seed=0)
        assert set(found.suggestions.values()) == {None}
    assert ckmeans.elbow(np.zeros((9, 2)), [1, 2, 3], seed=0).suggestions["kneedle"] is None


@pytest.mark.parametrize(
    ("J", "K"),
    [
        ([10, 2, 1.5, 1, 0.5], 2),
        ([4, 3, 2, 1, 0], None),  # a straight line
        ([10, 9, 7, 5, 2, 0], None),  # above the chord
        ([10, 9.9, 9.8, 1, 0.9, 0.8, 0.7], 4),
        ([20, 10, 7.5, 6.5, 1, 0.8, 0.6, 0.4], 5),  # too shallow after the first peak
        ([20, 4, 3.9, 3.8, 3.7, 0.5, 0.2, 0], 2),  # deep enough after it
    ],
)
def test_kneedle_of_known_curves(J, K):
    assert find_kneedle(np.arange(1, len(J) + 1), np.array(J, float)) == K


def test_error_for_no_knee():
    words = "must be an integer, found None: elbow found no clear elbow; see Elbow.suggestions"
    X = five_blobs()
    knee = ckmeans.elbow(X, range(1, 11), seed=0).knee
    for name, call in {
        "K": lambda: ckmeans.kmeans(X, knee),
        "each of ks": lambda: ckmeans.compare(X, [knee]),
        "n_clusters": lambda: ckmeans.KMeans(knee).fit(X),
    }.items():
        with pytest.raises(TypeError, match=f"^{name} {words}$"):
            call()


def test_knee_with_few_distinct_values():
    X = np.repeat([[0.0], [5], [9]], 20, axis=0)
    found = ckmeans.elbow(X, range(1, 8), seed=0)
    assert found.knee == 3
    assert found.distortions[2:].tolist() == [0] * 5


def test_knee_with_gaps_and_few_ks():
    X = separated_blobs(5, each=200)
    assert ckmeans.elbow(X, [1, 2, 3, 5, 8, 12], seed=0).knee == 5
    assert ckmeans.elbow(X, [3, 4, 5, 6, 8], seed=0).knee == 5
    assert ckmeans.elbow(X, [4, 5], seed=0).knee is None
    assert find_knee(np.array([1, 2, 3]), np.zeros(3), 10, 2) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("m", [60, 900, 40_000])
def test_distortions_fall_and_match_the_centroids(seed, m):
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(m, 2)).astype(np.float32)
    weights = rng.integers(0, 3, m)
    found = ckmeans.elbow(X, [9, 1, 4, 2, 3, 20], n_init=2, sample_weight=weights, seed=seed)
    assert found.ks.tolist() == [1, 2, 3, 4, 9, 20]
    assert (np.diff(found.distortions) <= 0).all()
    for J, centroids in zip(found.distortions, found.centroids, strict=True):
        assert ckmeans.distortion(X, centroids, sample_weight=weights) == pytest.approx(J, rel=1e-12)


def test_as_good_as_separate_runs():
    X = separated_blobs(6, 3, each=4000, apart=5)  # enough points for the restarts to use a sample
    found = ckmeans.elbow(X, range(1, 7), seed=0)
    for K, J in zip(found.ks, found.distortions, strict=True):
        separate = ckmeans.kmeans(X, K, n_init=5, seed=0).distortion
        assert 1.001 * separate >= J


@pytest.mark.parametrize("kind", ["blobs", "uniform", "duplicates"])
@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("seed", range(2))
def test_few_points_match_separate_runs(kind, n, seed):
    """The search includes the restarts of the separate runs."""
    X = cases.make(kind, 1500, n)
    found = ckmeans.elbow(X, range(1, 9), n_init=3, seed=seed)
    for K, J in zip(found.ks, found.distortions, strict=True):
        separate = ckmeans.kmeans(X, K, n_init=3, seed=seed, empty="farthest").distortion
        assert separate * (1 + 1e-12) >= J


def test_results_do_not_depend_on_threads():
    X = separated_blobs(4, each=6000, apart=4)
    one = ckmeans.elbow(X, range(2, 6), seed=3, n_threads=1)
    two = ckmeans.elbow(X, range(2, 6), seed=3, n_threads=2)
    np.testing.assert_array_equal(one.distortions, two.distortions)
    for a, b in zip(one.centroids, two.centroids, strict=True):
        np.testing.assert_array_equal(a, b)


def test_indices_of_a_known_case():
    X = np.array([[0.0], [1], [10], [11]])
    found = ckmeans.elbow(X, [1, 2, 3], seed=0)
    # Every point is 0.5 from its own centroid and 9.5 or 10.5 from the other one.
    assert found.silhouette[1] == pytest.approx(np.mean([1 - 0.5 / 10.5, 1 - 0.5 / 9.5]))
    assert np.isnan(found.silhouette[0])
    # Between: 4 * 25 over 1; within: 1 over 2.
    assert found.calinski_harabasz[1] == pytest.approx(200)
    assert np.isnan(found.calinski_harabasz[0])


def test_calinski_harabasz_as_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    X = separated_blobs(4, 3)
    found = ckmeans.elbow(X, [3, 4, 5], seed=0)
    for score, centroids in zip(found.calinski_harabasz, found.centroids, strict=True):
        assert score == pytest.approx(metrics.calinski_harabasz_score(X, ckmeans.assign(X, centroids)))


def test_silhouette_weights_and_equal_centroids():
    X = np.array([[0.0], [1], [10], [11]])
    centroids = np.array([[0.5], [10.5]])
    repeated = simplified_silhouette(np.repeat(X, [1, 3, 1, 2], axis=0), centroids)
    assert simplified_silhouette(_inputs.read(X, [1.0, 3, 1, 2]), centroids) == pytest.approx(repeated)
    assert simplified_silhouette(X, np.array([[0.5], [0.5]])) == 0


@pytest.mark.parametrize(
    ("ks", "error", "words"),
    [
        (5, TypeError, r"ks must be numbers of clusters such as range\(1, 11\), found 5"),
        ([], ValueError, "ks must hold at least one"),
        ([0, 1], ValueError, "each of ks must be at least 1"),
        ([1, 99], ValueError, r"each of ks must be at most 20 \(the number of points\)"),
        ([1.5], TypeError, "each of ks must be an integer"),
    ],
)
@pytest.mark.parametrize("call", [ckmeans.elbow, ckmeans.compare])
def test_wrong_ks(call, ks, error, words):
    with pytest.raises(error, match=words):
        call(np.zeros((20, 1)), ks)


def sparse_separated_blobs(m, n=12):
    """Return four groups of points with mostly zero values, as an array and as a sparse matrix."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = np.zeros((m, n))
    for k in range(4):
        X[k::4, 3 * k : 3 * k + 3] = rng.normal(5 + k, 1, X[k::4, 3 * k : 3 * k + 3].shape)
    return X, sparse.csc_matrix(X)


@pytest.mark.parametrize("m", [400, 20_000])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_equals_dense(m, weighted):
    X, rows = sparse_separated_blobs(m)
    weights = np.random.default_rng(1).integers(0, 3, m) if weighted else None
    options = {"n_init": 2, "sample_weight": weights, "seed": 0}
    dense, sparse = (ckmeans.elbow(points, range(1, 7), **options) for points in (X, rows))
    assert dense.knee == sparse.knee == 4
    np.testing.assert_allclose(sparse.distortions[:4], dense.distortions[:4], rtol=1e-9)
    np.testing.assert_allclose(sparse.distortions[4:], dense.distortions[4:], rtol=0.02)
    np.testing.assert_allclose(sparse.silhouette[1:4], dense.silhouette[1:4], rtol=1e-6)
    np.testing.assert_allclose(sparse.calinski_harabasz[1:4], dense.calinski_harabasz[1:4], rtol=1e-6)
    prepared = ckmeans.prepare(rows, sample_weight=weights)
    again = ckmeans.elbow(prepared, range(1, 7), n_init=2, seed=0)
    np.testing.assert_array_equal(again.distortions, sparse.distortions)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sparse_points_of_few_features(n):
    sparse = pytest.importorskip("scipy.sparse")
    X = separated_blobs(3, n, each=7000)
    found = ckmeans.elbow(sparse.csr_array(X), range(1, 7), n_init=2, seed=0)
    assert found.knee == 3
    mean = ckmeans.kmeans(X, 3, n_init=5, seed=0).distortion
    assert found.distortions[2] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("ks", [[1], [4], [1, 2, 3, 4], [2, 5, 6]])
def test_progress_completes_and_changes_no_result(ks, capsys):
    pytest.importorskip("tqdm")
    X = separated_blobs(3)
    plain = ckmeans.elbow(X, ks, n_init=2, seed=0)
    assert capsys.readouterr().err == ""
    shown = ckmeans.elbow(X, ks, n_init=2, seed=0, progress=True)
    np.testing.assert_array_equal(shown.distortions, plain.distortions)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last
    done, total = last.split("|")[2].split()[0].split("/")
    assert done == total


def test_wrong_n_init():
    with pytest.raises(ValueError, match="n_init must be at least 1"):
        ckmeans.elbow(np.zeros((20, 1)), [1], n_init=0)


# ---- compare -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_compare_of_sparse_points(weighted, monkeypatch):
    monkeypatch.setattr(_elbow, "_SPARSE_BLOCK_ROWS", 150)
    X, rows = sparse_separated_blobs(400)
    weights = np.random.default_rng(1).integers(0, 3, 400) if weighted else None
    dense, sparse = (
        ckmeans.compare(points, [2, 4], cost=1.0, sample_weight=weights, seed=0) for points in (X, rows)
    )
    assert dense.best.K == sparse.best.K == 4
    for ours, expected in zip(sparse.options, dense.options, strict=True):
        for name in ("centroids", "shares", "spread", "total"):
            np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), rtol=1e-7, atol=1e-7)


def test_compare_reports_in_data_units():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal([170, 60], [2, 5], (300, 2)), rng.normal([190, 90], [4, 3], (100, 2))])
    found = ckmeans.compare(X, [2], cost=1.0, seed=0)
    (option,) = found.options
    assert option.shares.tolist() == [0.75, 0.25]  # the largest first
    np.testing.assert_allclose(option.centroids, [X[:300].mean(0), X[300:].mean(0)])
    np.testing.assert_allclose(option.spread, [X[:300].std(0), X[300:].std(0)])
    assert (option.cost, option.total) == (2.0, option.distortion + 2.0)
    # J is the sum of the variances within.
    assert (option.shares @ option.spread**2).sum() == pytest.approx(option.distortion)


def test_compare_weights_equal_repeated_points():
    X = np.array([[0.0], [1], [10], [12]])
    weighted = ckmeans.compare(X, [2], sample_weight=[3, 1, 1, 1], seed=0).options[0]
    repeated = ckmeans.compare(np.repeat(X, [3, 1, 1, 1], axis=0), [2], seed=0).options[0]
    np.testing.assert_allclose(weighted.shares, repeated.shares)
    np.testing.assert_allclose(weighted.spread, repeated.spread)


def test_cost_determines_the_best_k():
    X = separated_blobs(3)
    J = {option.K: option.distortion for option in ckmeans.compare(X, range(1, 6), seed=0).options}
    assert ckmeans.compare(X, range(1, 6), seed=0).best is None
    assert ckmeans.compare(X, range(1, 6), cost=0, seed=0).best.K == 5
    assert ckmeans.compare(X, range(1, 6), cost=2 * (J[2] - J[3]), seed=0).best.K < 3
    found = ckmeans.compare(X, range(1, 6), cost=lambda K: 0.0 if K == 2 else 1e9, seed=0)
    assert found.best.K == 2
    assert repr(found).splitlines()[2].split()[4] == "*"


@pytest.mark.parametrize(
    ("cost", "error", "words"),
    [("x", TypeError, "cost must be a real number"), (-1, ValueError, "cost must be finite and at least 0"),
     (float("nan"), ValueError, "cost must be finite"), (lambda K: None, TypeError, r"cost\(1\) must be")],
)  # fmt: skip
def test_wrong_cost(cost, error, words):
    with pytest.raises(error, match=words):
        ckmeans.compare(np.zeros((4, 1)), [1], cost=cost)


# ---- on many points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_many_points_match_full_fits(n, weighted):
    """Searching on a sample (means of nodes, or random points) loses almost nothing."""
    X = cases.make("blobs", 40_000, n, np.float32)
    weights = np.random.default_rng(0).integers(0, 3, len(X)) if weighted else None
    found = ckmeans.elbow(X, [1, 2, 4, 6, 9], n_init=3, seed=0, sample_weight=weights)
    fits = [ckmeans.kmeans(X, K, n_init=3, seed=0, sample_weight=weights).distortion for K in found.ks]
    assert (found.distortions <= np.array(fits) * 1.005).all()
    assert (np.diff(found.distortions) <= 0).all()
    for J, centroids in zip(found.distortions, found.centroids, strict=True):
        assert ckmeans.distortion(X, centroids, sample_weight=weights) == J


@pytest.mark.parametrize("kind", ["blobs", "duplicates", "outlier", "offset 1e6"])
@pytest.mark.parametrize("max_nodes", [1, 300, 10**6])
def test_node_means_represent_all_points(kind, max_nodes):
    X = cases.make(kind, 20_000, 2)
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    means, node_weights = _cells.node_means(PreparedPoints(X, 8, weights), max_nodes, 2)
    assert node_weights.min() > 0
    assert node_weights.sum() == weights.sum()
    assert {1: 600, 300: 60, 10**6: 1}[max_nodes] <= len(means) <= {1: 2000, 300: 800, 10**6: 1}[max_nodes]
    center = np.average(X, axis=0, weights=weights)
    scale = np.abs(X).max()
    np.testing.assert_allclose(
        np.average(means, axis=0, weights=node_weights), center, rtol=0, atol=1e-12 * scale
    )
    assert (means >= X.min(axis=0) - 1e-12 * scale).all()
    assert (means <= X.max(axis=0) + 1e-12 * scale).all()
