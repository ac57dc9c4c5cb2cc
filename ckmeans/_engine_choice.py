"""The choice that algorithm="auto" makes before a fit, from shapes, dtype and restarts alone."""

from __future__ import annotations

from ckmeans import _validate
from ckmeans._inputs import Inputs

# Features -> smallest m K from which cells is faster than dense in 20 iterations of one fit.
_CELLS_MIN_WORK = (0, 8e4, 1e5, 6e5)
_MIN_SHARED_RESTARTS = 4  # restarts from which the tree's cost counts as shared
# Points from which cells is faster in up to 3 features when the restarts share the tree.
_CELLS_MIN_ROWS_SHARED = 2048
# Features -> smallest m K^2: for one fit, and for restarts that share the tree of
# _CELLS_MIN_ROWS_SHARED_MORE_FEATURES points or more.
_CELLS_MIN_WORK_MORE_FEATURES = {
    4: (1.3e9, 2e8),
    5: (2e9, 5e8),
    6: (6e9, 1.5e9),
    7: (1.6e10, 5e9),
    8: (2e11, 6e10),
}
_CELLS_MIN_ROWS_SHARED_MORE_FEATURES = 1 << 14
_DENSE_FLAT_K = 6  # dense takes the same time for fewer centroids than this
_SCREEN_FIRST_FEATURES = 48  # features from which screen starts at once, not after steps of dense
# Smallest number of features, K and m K for which "auto" considers screen.
_SCREEN_MIN_FEATURES = 8
_SCREEN_MIN_K = 16
_SCREEN_MIN_WORK = 1e6
_SCREEN_DIRECTIONS = 128  # maximum number of directions of the projection
_SCREEN_MIN_BYTES = 256 << 20  # bytes that the projection may take however small X is


def choose_engine(points: Inputs, K: int, n_init: int) -> str:
    """Return the engine with which "auto" starts."""
    n = points.shape[1]
    if _tree_pays(points, K, n_init):
        return "cells"
    return "screen" if n >= _SCREEN_FIRST_FEATURES and screening_may_pay(points, K, 1024) else "dense"


def screening_may_pay(points: Inputs, K: int, min_rows: int = 4096) -> bool:
    """Return whether the screen engine may become faster than dense, within the memory "auto" may use.

    Below 4096 points the engine itself tests whether they are clustered."""
    if points.kind != "array":
        return False
    m, n = points.shape
    projection_bytes = m * (min(n, _SCREEN_DIRECTIONS) + 4) * points.itemsize
    return (
        n >= _SCREEN_MIN_FEATURES
        and m >= min_rows
        and K >= _SCREEN_MIN_K
        and m * K >= _SCREEN_MIN_WORK
        and projection_bytes <= max(points.size * points.dtype.itemsize // 2, _SCREEN_MIN_BYTES)
    )


def tree_pays_for_labels(points: Inputs, K: int) -> bool:
    """Return whether to compute labels with the k-d tree of prepared points, which other calls share."""
    return points.kind == "array" and _tree_pays(points, K, _MIN_SHARED_RESTARTS)


def _tree_pays(points: Inputs, K: int, n_init: int) -> bool:
    m, n = points.shape
    if m > _validate.CELLS_ROWS or K == 1:
        return False
    if n >= 3 and m < 8 * K:  # even the leaves span several clusters
        return False
    shared = n_init >= _MIN_SHARED_RESTARTS
    if n < len(_CELLS_MIN_WORK):
        return m * K >= _CELLS_MIN_WORK[n] or (shared and m >= _CELLS_MIN_ROWS_SHARED)
    if n not in _CELLS_MIN_WORK_MORE_FEATURES:
        return False
    min_work, min_work_shared = _CELLS_MIN_WORK_MORE_FEATURES[n]
    if shared and m >= _CELLS_MIN_ROWS_SHARED_MORE_FEATURES:
        min_work = min_work_shared
    return m * max(K, _DENSE_FLAT_K) ** 2 >= min_work
