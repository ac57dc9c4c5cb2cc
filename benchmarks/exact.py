"""Reference: nearest centroids and J in float64 with plain NumPy, independent of every contender."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Array

SCORES = 1 << 22  # scores held at a time


def distortion(X: Array, centroids: Array) -> float:
    """Compute J, the mean squared distance of the rows to their nearest centroids."""
    return sum(float(squared.sum()) for _, squared in _nearest(X, centroids)) / X.shape[0]


def labels(X: Array, centroids: Array, dtype: Any = np.float64) -> NDArray[np.int32]:
    """Return the nearest centroid of each row, computed in the dtype."""
    parts = [label for label, _ in _nearest(X, centroids, dtype)]
    return np.concatenate(parts).astype(np.int32)


def lloyd_step(X: Array, centroids: Array) -> Array:
    """Return the mean of the rows assigned to each centroid; a centroid without rows is kept.

    The rows are assigned in float32, which decides near-ties differently in half the time.
    """
    sums, counts = np.zeros(centroids.shape), np.zeros(len(centroids))
    assigned = labels(X, centroids, np.float32)
    counts += np.bincount(assigned, minlength=len(centroids))
    for feature in range(X.shape[1]):
        sums[:, feature] = np.bincount(assigned, X[:, feature], minlength=len(centroids))
    means: Array = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
    return means


def _nearest(X: Array, centroids: Array, dtype: Any = np.float64) -> Iterator[tuple[Array, Array]]:
    """Yield labels and squared distances per chunk; the distances are computed from differences."""
    C = np.asarray(centroids, np.float64)
    if not isinstance(X, np.ndarray):
        yield from _nearest_of_sparse(X, C)
        return
    shift = C.mean(axis=0)  # the expanded distance cancels far from the origin
    C, shift = (C - shift).astype(dtype), shift.astype(dtype)
    halves = 0.5 * np.einsum("kj,kj->k", C, C)
    size = max(1, SCORES // len(C))
    for start in range(0, len(X), size):
        rows = np.asarray(X[start : start + size], dtype) - shift
        label = (halves - rows @ C.T).argmin(axis=1)
        difference = rows - C[label]
        yield label, np.einsum("ij,ij->i", difference, difference)


def _nearest_of_sparse(X: Any, C: Array) -> Iterator[tuple[Array, Array]]:
    """Like `_nearest`, from expanded distances, as shifting would make sparse rows dense."""
    halves = 0.5 * np.einsum("kj,kj->k", C, C)
    size = max(1, SCORES // len(C))
    for start in range(0, X.shape[0], size):
        rows = X[start : start + size].astype(np.float64)
        scores = halves - rows @ C.T
        norms = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        yield scores.argmin(axis=1), norms + 2 * scores.min(axis=1)
