"""Contents of the figures."""

from __future__ import annotations

import numpy as np
import pytest

import ckmeans

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from ckmeans import plot  # noqa: E402


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    pyplot.close("all")


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(c, 0.5, (50, 2)) for c in (0, 5, 10)])


def drawn(ax):
    """Return the axes, rendered once."""
    ax.figure.canvas.draw()
    return ax


def test_elbow(X):
    found = ckmeans.elbow(X, range(1, 7), seed=0)
    ax = drawn(found.plot())
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([found.ks, found.distortions]))
    assert ax.lines[1].get_xdata()[0] == found.knee == 3
    assert ax.get_title() == "elbow at K = 3"


def test_no_elbow():
    found = ckmeans.elbow(np.random.default_rng(0).random((300, 3)), range(1, 7), seed=0)
    ax = drawn(found.plot())
    assert len(ax.lines) == 1
    assert ax.get_title() == "no clear elbow"
    by_k = {int(marks.get_offsets()[0][0]): marks.get_label() for marks in ax.collections}
    suggested = {name: K for name, K in found.suggestions.items() if K is not None}
    assert suggested.keys() == {name for label in by_k.values() for name in label.split(": ")[1].split(", ")}
    assert all(f"K = {K}: " in by_k[K] and name in by_k[K] for name, K in suggested.items())
    assert len(ax.get_legend().get_texts()) == 1 + len(by_k)


def test_clusters(X):
    result = ckmeans.kmeans(X, 3, seed=0)
    _, ax = pyplot.subplots()
    assert drawn(plot.clusters(X, result, ax=ax)) is ax
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), X)
    np.testing.assert_array_equal(ax.collections[0].get_array(), result.labels)
    np.testing.assert_array_equal(ax.collections[1].get_offsets(), result.centroids)


@pytest.mark.parametrize("K", [2, 10, 11, 20])
def test_clusters_have_distinct_colours(K):
    result = ckmeans.kmeans(np.arange(2.0 * K).reshape(K, 2), K, seed=0)
    colours = drawn(plot.clusters(np.arange(2.0 * K).reshape(K, 2), result)).collections[0].get_facecolors()
    assert len(np.unique(colours, axis=0)) == K


@pytest.mark.parametrize("n", [1, 3, 7])
def test_clusters_in_other_dimensions(n):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, n)) * np.arange(n, 0, -1) ** 2
    result = ckmeans.kmeans(X, 4, seed=0)
    ax = drawn(plot.clusters(X, result))
    offsets = np.asarray(ax.collections[0].get_offsets())
    if n == 1:
        np.testing.assert_array_equal(offsets, np.column_stack([X, np.zeros(100)]))
    else:
        # The two directions of largest variance, the larger first.
        variances = np.linalg.eigvalsh(np.cov(X.T, ddof=0))[::-1]
        np.testing.assert_allclose(offsets.var(axis=0), variances[:2])


@pytest.mark.parametrize(("shape", "kept_sparse"), [((60, 2), 0), ((60, 9), 0), ((60, 9), 1), ((700, 40), 1)])
def test_sparse_plot_equals_dense_plot(shape, kept_sparse, monkeypatch):
    sparse = pytest.importorskip("scipy.sparse")
    if kept_sparse:
        monkeypatch.setattr(plot, "_MAX_DENSE_VALUES", 0)
    rng = np.random.default_rng(0)
    X = rng.random(shape) * (rng.random(shape) < 0.2) * np.arange(1, shape[1] + 1)
    result = ckmeans.kmeans(sparse.csr_matrix(X), 3, seed=0, keep_path=True)
    for draw in (plot.clusters, plot.path):
        of_sparse, of_dense = drawn(draw(sparse.csc_array(X), result)), drawn(draw(X, result))
        for got, expected in zip(of_sparse.collections, of_dense.collections, strict=True):
            # The sign of a direction is arbitrary.
            offsets, wanted = np.abs(got.get_offsets()), np.abs(expected.get_offsets())
            np.testing.assert_allclose(offsets, wanted, rtol=1e-6, atol=1e-6)


def test_prepared_points_are_drawn(X):
    result = ckmeans.kmeans(X, 3, seed=0)
    np.testing.assert_array_equal(plot.clusters(ckmeans.prepare(X), result).collections[0].get_offsets(), X)


def test_many_points_are_sampled():
    X = np.random.default_rng(0).random((30_000, 2))
    ax = plot.clusters(X, ckmeans.kmeans(X, 2, max_iter=1, seed=0))
    assert len(ax.collections[0].get_offsets()) == 20_000


def test_path(X):
    result = ckmeans.kmeans(X, 3, init=X[:3], keep_path=True)
    ax = drawn(plot.path(X, result))
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), [step[k] for step in result.path])
    assert len(ax.lines) == 3


def test_path_with_dropped_clusters():
    result = ckmeans.kmeans([[0.0], [1], [5]], 3, init=[[0.0], [5], [99]], keep_path=True)
    assert len(drawn(plot.path([[0.0], [1], [5]], result)).lines) == 2


def test_path_needs_a_path(X):
    with pytest.raises(ValueError, match="keep_path=True"):
        plot.path(X, ckmeans.kmeans(X, 3, seed=0))


def test_points_of_another_result(X):
    with pytest.raises(ValueError, match=r"X must be the points of the result, of shape \(150, 2\)"):
        plot.clusters(X[:-1], ckmeans.kmeans(X, 3, seed=0))
    assert pyplot.get_fignums() == []


def test_restarts(X):
    result = ckmeans.kmeans(X, 3, init="random", n_init=60, seed=0)
    ax = drawn(plot.restarts(result, bins=10))
    assert sum(bar.get_height() for bar in ax.patches) == 60
    assert ax.lines[0].get_xdata()[0] == result.distortion


def test_before_after():
    pytest.importorskip("PIL")
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    result = ckmeans.quantize(photo, 4, seed=0)
    ax = drawn(plot.before_after(photo, result))
    image = np.asarray(ax.images[0].get_array())
    np.testing.assert_array_equal(image[12:32, 12:42], photo)
    np.testing.assert_array_equal(image[12:32, 54:84], result.palette[result.indices])


def test_without_matplotlib(X, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install \"ckmeans-simd\[plot\]\""):
        plot.restarts(ckmeans.kmeans(X, 3, seed=0))
