"""A palette for the colours of a picture: k-means over them, rounded to bytes without waste."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.api import assign, kmeans
from ckmeans.image import _oklab

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._pixels import Bytes, Integers

__all__ = ["SPACES", "Space", "by_use", "choose", "nearest", "squared_error"]


class Space(NamedTuple):
    """Where colours are compared: from bytes to points, and back to 0..255, not rounded."""

    points: Callable[[Bytes], NDArray[Any]]
    colors: Callable[[NDArray[Any]], NDArray[Any]]


SPACES = {
    "rgb": Space(lambda colors: colors, lambda points: points),
    "oklab": Space(_oklab.from_rgb, _oklab.to_rgb),
}


def choose(colors: Bytes, counts: Integers, K: int, space: Space, options: dict[str, Any]) -> Bytes:
    """The palette (k, c), sorted by value: all colours where they are at most K, else K of k-means.

    Rounding may merge two centroids or leave one without pixels. Each place that this frees goes to
    the colour with most error so far, which lowers J every time and so comes to an end.
    """
    if len(colors) <= K:
        return colors
    points, weights = space.points(colors), counts.astype(np.float64)
    centroids = kmeans(points, K, sample_weight=weights, empty="farthest", **options).centroids
    palette = np.unique(np.rint(space.colors(centroids)).clip(0, 255).astype(np.uint8), axis=0)
    while True:
        placed = space.points(palette)
        labels = _assign(points, placed, options["n_threads"])
        used = np.bincount(labels, minlength=len(palette)) > 0
        missing = K - np.count_nonzero(used)
        if missing == 0:
            return np.unique(palette, axis=0)
        error = counts * squared_error(points, placed, labels)
        worst = np.argpartition(error, -missing)[-missing:]
        palette = np.concatenate([palette[used], colors[worst[error[worst] > 0]]])


def nearest(colors: Bytes, palette: Bytes, space: Space, n_threads: int | None) -> NDArray[np.int32]:
    """The row of the palette that is nearest to each colour."""
    return _assign(space.points(colors), space.points(palette), n_threads)


def _assign(points: NDArray[Any], centroids: NDArray[Any], n_threads: int | None) -> NDArray[np.int32]:
    labels = np.empty(len(points), dtype=np.int32)
    assign(points, centroids.astype(np.float32), out=labels, n_threads=n_threads)
    return labels


def squared_error(
    points: NDArray[Any], palette: NDArray[Any], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """The squared distance (u,) of each point to its palette colour; between bytes it is exact."""
    difference = points.astype(np.float32)
    difference -= palette[labels]
    squared: NDArray[np.float64] = np.einsum("ul,ul->u", difference, difference).astype(np.float64)
    return squared


def by_use(palette: Bytes, shares: NDArray[Any]) -> NDArray[np.int64]:
    """The rows of the palette that are in use, the most common first, ties by value."""
    order: NDArray[np.int64] = np.lexsort((*palette.T[::-1], -shares))
    return order[: np.count_nonzero(shares)]
