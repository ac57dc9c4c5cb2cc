"""Figures of results, drawn with matplotlib; each function returns the Axes it drew on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ckmeans import _inputs
from ckmeans._result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["before_after", "clusters", "elbow", "path", "restarts"]

_MAX_POINTS = 20_000  # of more points a sample is drawn
_MAX_DENSE_VALUES = 1 << 24  # sparse points of at most so many values, zeros included, become dense


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "ckmeans-simd[plot]"') from None
    new: Axes = pyplot.subplots(layout="constrained")[1]
    return new


def elbow(result: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the distortion for each K, the knee if there is one, and what other measures suggest.

    Parameters
    ----------
    result : Elbow
        Returned by `ckmeans.elbow`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    ax.plot(result.ks, result.distortions, "o-", label="J")
    if result.knee is None:
        ax.set_title("no clear elbow")
    else:
        ax.axvline(result.knee, color="C1", linestyle="--", label=f"elbow: K = {result.knee}")
        ax.set_title(f"elbow at K = {result.knee}")
    others = {name: K for name, K in result.suggestions.items() if name != "elbow" and K is not None}
    for color, K in enumerate(sorted(set(others.values())), start=2):  # after those of J and the knee
        names = ", ".join(name for name in others if others[name] == K)
        J = result.distortions[result.ks == K]
        ax.scatter([K], J, s=120, facecolors="none", edgecolors=f"C{color}", label=f"K = {K}: {names}")
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend()
    ax.set_xlabel("K")
    ax.set_ylabel("distortion J")
    ax.set_xticks(result.ks if len(result.ks) <= 20 else result.ks[:: len(result.ks) // 10])
    return ax


def clusters(X: ArrayLike, result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the points in the colours of their clusters, and the centroids.

    Points of more than two features are projected on their first two principal components. Of many
    points a sample is drawn.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n)
        The points of the result.
    result : Result
        Returned by `kmeans`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, onto_plane = _with_points(X, result, ax, alpha=0.6)
    ax.scatter(*_xy(onto_plane(result.centroids)), c="black", marker="x", s=60, label="centroids")
    ax.legend()
    return ax


def path(X: ArrayLike, result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the path of the centroids over the iterations.

    Parameters
    ----------
    X : array_like or SciPy sparse of shape (m, n)
        The points of the result.
    result : Result
        Returned by `kmeans` with ``keep_path=True``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the result holds no path.
    """
    if result.path is None:
        raise ValueError("the result holds no path of its centroids: run kmeans with keep_path=True")
    ax, onto_plane = _with_points(X, result, ax, alpha=0.25)
    K = len(result.path[-1])
    # Before clusters were dropped, rows cannot be matched with the final centroids.
    steps = np.stack([onto_plane(step) for step in result.path if len(step) == K])
    for k in range(K):
        ax.plot(*steps[:, k].T, ".-", color="black", linewidth=1, markersize=4)
    ax.scatter(*_xy(steps[0]), facecolors="none", edgecolors="black", s=50, label="start")
    ax.scatter(*_xy(steps[-1]), c="black", marker="x", s=60, label="end")
    ax.legend()
    return ax


def restarts(result: Result, *, bins: int | str = "auto", ax: Axes | None = None) -> Axes:
    """Draw the distortions of the restarts as a histogram: each peak is a local minimum.

    Parameters
    ----------
    result : Result
        Returned by `kmeans` with ``n_init`` above 1.
    bins : int or str
        As for `numpy.histogram`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    ax.hist(result.distortions, bins=bins)
    ax.axvline(result.distortion, color="C1", linestyle="--", label=f"best: {result.distortion:.4g}")
    ax.set_xlabel("distortion J of a restart")
    ax.set_ylabel("restarts")
    ax.legend()
    return ax


def before_after(picture: Any, result: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a picture beside its quantized version, with the palette below.

    Parameters
    ----------
    picture : path, PIL.Image.Image, or ndarray of uint8
        The original.
    result : Quantized
        Returned by `ckmeans.quantize`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from ckmeans.image import before_after as sheet

    ax = _axes(ax)
    ax.imshow(np.asarray(sheet(picture, result)))
    ax.set_axis_off()
    ax.set_title(f"{result.colors_before:,} colours, {result.colors_after} colours")
    return ax


def _xy(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points[:, 0], points[:, 1]


def _with_points(X: ArrayLike, result: Result, ax: Axes | None, alpha: float) -> tuple[Axes, Any]:
    """Draw the points, or a sample, in the colours of their clusters; return the Axes and the projection
    onto their plane."""
    points = _inputs.read(X)
    expected = (len(result.labels), result.centroids.shape[1])
    if points.shape != expected:
        raise ValueError(
            f"X must be the points of the result, of shape {expected}, found shape {points.shape}"
        )
    rows: Any = slice(None)
    if len(points) > _MAX_POINTS:
        rows = np.random.default_rng(0).choice(len(points), _MAX_POINTS, replace=False)
    some, labels = points.select(rows).astype(np.float64), result.labels[rows]
    if not isinstance(some, np.ndarray) and math.prod(some.shape) <= _MAX_DENSE_VALUES:
        some = some.toarray()
    onto_plane = _plane(some)
    ax = _axes(ax)
    # tab20 adds pale colours, which are harder to see: only if needed.
    colors = 10 if len(result.centroids) <= 10 else 20
    ax.scatter(
        *_xy(onto_plane(some)),
        c=labels % colors,
        s=8,
        cmap=f"tab{colors}",
        vmin=0,
        vmax=colors - 1,
        alpha=alpha,
        linewidths=0,
    )
    return ax, onto_plane


def _plane(some: Any) -> Callable[[Any], np.ndarray]:
    """Return the projection into two dimensions: onto the first two principal components if n > 2."""
    n = some.shape[1]
    if n <= 2:
        return lambda values: np.pad(values, ((0, 0), (0, 2 - n)))
    mean = np.asarray(some.mean(axis=0)).ravel()
    axes = _principal_axes(some, mean)
    return lambda values: values @ axes.T - mean @ axes.T


def _principal_axes(some: Any, mean: np.ndarray) -> np.ndarray:
    """Return the first two principal axes; sparse points stay sparse."""
    if isinstance(some, np.ndarray):
        directions: np.ndarray = np.linalg.svd(some - mean, full_matrices=False)[2][:2]
        return directions
    from scipy.sparse.linalg import LinearOperator, svds

    centred = LinearOperator(
        some.shape,
        matvec=lambda v: some @ v - mean @ v,
        rmatvec=lambda u: some.T @ u - mean * u.sum(),
        dtype=np.float64,
    )
    directions = svds(centred, k=2, v0=np.ones(min(some.shape)), return_singular_vectors="vh")[2]
    return directions[::-1]
