"""Choose a palette by k-means over the colours of an image, rounded to bytes with every entry in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans.api import kmeans
from ckmeans.image._with_alpha import fit_with_alpha, nearest, nearest_with_alpha, squared_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._spaces import ColorSpace
    from ckmeans.image._types import Bytes, Integers

__all__ = ["fit_palette", "nearest_labels", "order_by_count"]


def fit_palette(colors: Bytes, counts: Integers, K: int, space: ColorSpace, options: dict[str, Any]) -> Bytes:
    """Return the palette (k, c), sorted by value: all colours if they are at most K, else K by k-means.

    Rounding may merge two centroids or leave one without pixels. Each entry that this frees is given
    to the colour with the largest error. Every round lowers J, so the loop ends.
    """
    if len(colors) <= K:
        return colors
    points, weights = space.to_points(colors), counts.astype(np.float64)
    if colors.shape[1] == 4:
        palette = fit_with_alpha(colors, weights, K, space, options)
    else:
        palette = space.to_bytes(
            kmeans(points, K, sample_weight=weights, empty="farthest", **options).centroids
        )
    palette = np.unique(palette, axis=0)
    while True:
        labels = nearest_labels(colors, palette, space, options["n_threads"])
        used = np.bincount(labels, minlength=len(palette)) > 0
        missing = K - np.count_nonzero(used)
        if missing == 0:
            return np.unique(palette, axis=0)
        error = counts * squared_error(points, space.to_points(palette), labels)
        worst = np.argpartition(error, -missing)[-missing:]
        palette = np.concatenate([palette[used], colors[worst[error[worst] > 0]]])


def nearest_labels(
    colors: Bytes, palette: Bytes, space: ColorSpace, n_threads: int | None
) -> NDArray[np.int32]:
    """Return the index of the nearest palette row for each colour; opaque colours have an opaque one and
    fully transparent colours a transparent one, if there is one."""
    points, entries = space.to_points(colors), space.to_points(palette)
    if colors.shape[1] == 4:
        return nearest_with_alpha(points, colors[:, 3], entries, palette[:, 3], n_threads)
    return nearest(points, entries, n_threads)


def order_by_count(palette: Bytes, counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the palette rows in use, by descending count, ties by value."""
    order: NDArray[np.int64] = np.lexsort((*palette.T[::-1], -counts))
    return order[: np.count_nonzero(counts)]
