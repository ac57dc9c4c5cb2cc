"""The metric "cosine" in the estimators, in choosing K and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference
from test_bad_input import refused

import ckmeans
from ckmeans.cli import main

K = 4
FORMS = [lambda X: X, lambda X: pytest.importorskip("scipy.sparse").csr_array(X)]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(K, 6))[rng.integers(0, K, 800)] + 0.2 * rng.normal(size=(800, 6))
    return directions * np.exp(rng.normal(size=(800, 1)))


def cosines(X, centroids):
    """Return the cosines of all pairs."""
    return reference.directions(X) @ reference.directions(centroids).T


# ---- estimators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_estimator_attributes_and_methods(X, form, dtype):
    Y, tolerance = form(X.astype(dtype)), 10 * np.finfo(dtype).eps
    weights = np.random.default_rng(1).random(len(X))
    model = ckmeans.KMeans(K, metric="cosine", random_state=0)
    for sample_weight in (None, weights):
        model.fit(Y, sample_weight=sample_weight)
        wanted = 1 - cosines(X.astype(dtype), model.cluster_centers_)
        np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=tolerance)
        np.testing.assert_array_equal(model.labels_, wanted.argmin(axis=1))
        np.testing.assert_array_equal(model.labels_, model.predict(Y))
        loss = (wanted.min(axis=1) * (1 if sample_weight is None else weights)).sum()
        assert model.inertia_ == pytest.approx(loss, rel=1e-6)
        assert model.score(Y, sample_weight=sample_weight) == pytest.approx(-model.inertia_, rel=1e-12)
        np.testing.assert_allclose(model.transform(Y), wanted, atol=tolerance)
    np.testing.assert_allclose(model.fit_transform(Y), 1 - cosines(X, model.cluster_centers_), atol=1e-5)


def test_estimator_keeps_frozen_centroids(X):
    model = ckmeans.KMeans(K, init=X[:K], n_init=1, metric="cosine", frozen=[True, False, False, True])
    centers = model.fit(X).cluster_centers_
    start = reference.directions(X[:K])
    np.testing.assert_allclose(centers[[0, 3]], start[[0, 3]], rtol=1e-14)
    assert (centers[1:3] != start[1:3]).any()
    with refused(ValueError, "frozen needs init to be an array"):
        ckmeans.KMeans(K, frozen=1).fit(X)
    with refused(ValueError, 'takes metric="euclidean"'):
        ckmeans.KMeans(2, metric="cosine", algorithm="optimal").fit(X[:, :1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_batches(X, form, tol):
    Y = form(X)
    model = ckmeans.MiniBatchKMeans(K, metric="cosine", batch_size=100, random_state=0, tol=tol).fit(Y)
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-14)
    wanted = 1 - cosines(X, model.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, wanted.argmin(axis=1))
    assert model.inertia_ == pytest.approx(wanted.min(axis=1).sum())
    best = ckmeans.kmeans(X, K, n_init=10, seed=0, metric="cosine").distortion
    assert model.inertia_ / len(X) < 1.2 * best
    stream = ckmeans.MiniBatchKMeans(K, metric="cosine", random_state=0)
    for rows in np.array_split(np.arange(len(X)), 8):
        stream.partial_fit(Y[rows])
    np.testing.assert_allclose(np.linalg.norm(stream.cluster_centers_, axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("estimator", [ckmeans.KMeans, ckmeans.MiniBatchKMeans])
def test_estimators_refuse_bad_input(X, estimator):
    X[77] = 0
    with refused(ValueError, "X must have no row of zeros", "row 77"):
        estimator(K, metric="cosine").fit(X)
    with refused(ValueError, "metric must be one of 'euclidean', 'cosine'", "found 'l1'"):
        estimator(K, metric="l1").fit(X)


# ---- choosing K ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_elbow(X, form):
    found = ckmeans.elbow(form(X), range(1, 8), metric="cosine", seed=0)
    assert found.knee == K
    assert found.suggestions["silhouette"] == K
    assert (np.diff(found.distortions) <= 0).all()
    for J, centroids in zip(found.distortions, found.centroids, strict=True):
        assert ckmeans.distortion(form(X), centroids, metric="cosine") == J
    others = 1 - np.sort(cosines(X, found.centroids[K - 1]), axis=1)
    wanted = (1 - others[:, -1] / others[:, -2]).mean()
    assert found.silhouette[K - 1] == pytest.approx(wanted, rel=1e-9)


def test_elbow_of_many_points(X):
    many = np.repeat(X[:, :3], 40, axis=0)
    found = ckmeans.elbow(many, [1, 2, 4], metric="cosine", seed=0, n_init=2)
    for J, centroids in zip(found.distortions, found.centroids, strict=True):
        assert ckmeans.distortion(many, centroids, metric="cosine") == J
    best = ckmeans.kmeans(many, 4, metric="cosine", n_init=5, seed=0).distortion
    assert found.distortions[-1] <= best * 1.001


def test_elbow_of_opposite_directions():
    X = np.array([[1.0, 0], [-1, 0], [2, 0], [-3, 0]])
    np.testing.assert_allclose(
        ckmeans.elbow(X, [1, 2], metric="cosine", seed=0).distortions, [1, 0], atol=1e-15
    )


@pytest.mark.parametrize("form", FORMS)
def test_compare(X, form):
    found = ckmeans.compare(form(X), [2, K], cost=0.01, metric="cosine", seed=0)
    assert found.best.K == K
    labels = ckmeans.assign(X, found.best.centroids, metric="cosine")
    own = reference.directions(X)[labels == 0]
    spread = np.sqrt(((own - found.best.centroids[0]) ** 2).mean(axis=0))
    np.testing.assert_allclose(found.best.spread[0], spread, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_silhouette(X, form):
    metrics = pytest.importorskip("sklearn.metrics")
    labels = ckmeans.kmeans(X, K, seed=0, metric="cosine").labels
    score, samples = ckmeans.silhouette(form(X), labels, metric="cosine", return_samples=True)
    wanted = metrics.silhouette_samples(X, labels, metric="cosine")
    np.testing.assert_allclose(samples, wanted, atol=1e-9)
    assert score == pytest.approx(wanted.mean())
    X[3] = 0
    with refused(ValueError, "X must have no row of zeros", "row 3"):
        ckmeans.silhouette(form(X), labels, metric="cosine")


@pytest.mark.parametrize("function", [ckmeans.elbow, ckmeans.compare])
def test_choosing_names_zero_rows(X, function):
    X = np.repeat(X, 30, axis=0)
    X[4321] = 0
    with refused(ValueError, "X must have no row of zeros", "row 4321"):
        function(X, [1, 2], metric="cosine")
    with refused(ValueError, "metric must be one of"):
        function(X, [1, 2], metric="l1")


# ---- the command line ----------------------------------------------------------------------------


def figures(capsys, *arguments):
    """Return what a command reports."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def table(tmp_path, X):
    pytest.importorskip("pandas")
    np.savetxt(tmp_path / "table.csv", X, fmt="%.17g", header="a,b,c,d,e,f", delimiter=",", comments="")
    return tmp_path / "table.csv"


def test_commands(capsys, tmp_path, table, X):
    model = tmp_path / "model.npz"
    found = figures(capsys, "cluster", table, "-k", K, "--metric", "cosine", "--save", model)
    r = ckmeans.kmeans(X, K, n_init=10, seed=0, metric="cosine")
    assert (found["distortion"], found["counts"]) == (r.distortion, r.counts.tolist())
    assigned = figures(capsys, "assign", table, model)
    assert assigned["distortion"] == pytest.approx(r.distortion)
    assert (assigned["counts"], assigned["metric"]) == (r.counts.tolist(), "cosine")
    euclidean = figures(capsys, "assign", table, model, "--metric", "euclidean")
    assert euclidean["distortion"] == pytest.approx(ckmeans.distortion(X, r.centroids))
    elbow = figures(capsys, "elbow", table, "--metric", "cosine", "--ks", "1:6")
    assert (
        elbow["distortions"]
        == ckmeans.elbow(X, range(1, 7), n_init=10, seed=0, metric="cosine").distortions.tolist()
    )


def test_scaled_columns_and_figures(capsys, tmp_path, table):
    pytest.importorskip("matplotlib")
    options = ["--metric", "cosine", "--scale", "--plot", tmp_path / "plot.png"]
    found = figures(capsys, "cluster", table, "-k", K, *options)
    np.testing.assert_allclose(np.linalg.norm(found["centroids"], axis=1), 1)
    assert (tmp_path / "plot.png").exists()


def test_commands_refuse_bad_input(capsys, tmp_path, table):
    assert main(["cluster", str(table), "-k", "2", "--metric", "l1"]) == 2
    assert "argument --metric: invalid choice: 'l1'" in capsys.readouterr().err
    (tmp_path / "zero.csv").write_text("a,b\n1,2\n0,0\n3,1\n")
    assert main(["cluster", str(tmp_path / "zero.csv"), "-k", "2", "--metric", "cosine"]) == 2
    assert "X must have no row of zeros" in capsys.readouterr().err
