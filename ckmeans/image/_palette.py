"""Choose a palette by k-means over the colours of an image, rounded to bytes with every entry in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.api import assign, kmeans
from ckmeans.image import _oklab

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._types import Bytes, Integers

__all__ = ["SPACES", "ColorSpace", "fit_palette", "nearest_labels", "order_by_count", "squared_error"]


class ColorSpace(NamedTuple):
    """A colour space: the conversion from bytes to points and back to 0..255, not rounded."""

    to_points: Callable[[Bytes], NDArray[Any]]
    to_colors: Callable[[NDArray[Any]], NDArray[Any]]


SPACES = {
    "rgb": ColorSpace(lambda colors: colors, lambda points: points),
    "oklab": ColorSpace(_oklab.from_rgb, _oklab.to_rgb),
}


def fit_palette(colors: Bytes, counts: Integers, K: int, space: ColorSpace, options: dict[str, Any]) -> Bytes:
    """Return the palette (k, c), sorted by value: all colours if they are at most K, else K by k-means.

    Rounding may merge two centroids or leave one without pixels. Each entry that this frees is given
    to the colour with the largest error. Every round lowers J, so the loop ends.
    """
    if len(colors) <= K:
        return colors
    points, weights = space.to_points(colors), counts.astype(np.float64)
    centroids = kmeans(points, K, sample_weight=weights, empty="farthest", **options).centroids
    palette = np.unique(np.rint(space.to_colors(centroids)).clip(0, 255).astype(np.uint8), axis=0)
    while True:
        palette_points = space.to_points(palette)
        labels = _assign(points, palette_points, options["n_threads"])
        used = np.bincount(labels, minlength=len(palette)) > 0
        missing = K - np.count_nonzero(used)
        if missing == 0:
            return np.unique(palette, axis=0)
        error = counts * squared_error(points, palette_points, labels)
        worst = np.argpartition(error, -missing)[-missing:]
        palette = np.concatenate([palette[used], colors[worst[error[worst] > 0]]])


def nearest_labels(
    colors: Bytes, palette: Bytes, space: ColorSpace, n_threads: int | None
) -> NDArray[np.int32]:
    """Return the index of the nearest palette row for each colour."""
    return _assign(space.to_points(colors), space.to_points(palette), n_threads)


def _assign(points: NDArray[Any], centroids: NDArray[Any], n_threads: int | None) -> NDArray[np.int32]:
    labels = np.empty(len(points), dtype=np.int32)
    assign(points, centroids.astype(np.float32), out=labels, n_threads=n_threads)
    return labels


def squared_error(
    points: NDArray[Any], palette: NDArray[Any], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the squared distance (u,) of each point to its palette colour; exact between bytes."""
    difference = points.astype(np.float32)
    difference -= palette[labels]
    squared: NDArray[np.float64] = np.einsum("ul,ul->u", difference, difference).astype(np.float64)
    return squared


def order_by_count(palette: Bytes, counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the palette rows in use, by descending count, ties by value."""
    order: NDArray[np.int64] = np.lexsort((*palette.T[::-1], -counts))
    return order[: np.count_nonzero(counts)]
