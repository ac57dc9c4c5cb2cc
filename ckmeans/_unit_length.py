"""Centroids brought to unit length, for cosines; compiled code does the same to the rows that it reads."""

from __future__ import annotations

import numpy as np

from ckmeans import _validate


def unit_rows(array: np.ndarray, itemsize: int, name: str) -> np.ndarray:
    """Return the rows at unit length in float64; those that have it already, but for rounding to the dtype of
    this itemsize, as they are. So a result's centroids keep their bits.

    Raise ValueError for a row of zeros, and for NaN and infinity."""
    wide = np.asarray(array, np.float64)
    _validate.require_finite(name, wide)
    _validate.require_no_zero_row(name, wide)
    max_abs = np.abs(wide).max(axis=1)
    scaled = np.ldexp(wide, -np.frexp(max_abs)[1][:, None])  # exactly, so that no square leaves float64
    squares = (scaled * scaled).sum(axis=1)
    epsilon = np.finfo(np.float32 if itemsize == 4 else np.float64).eps
    tolerance = 2.5 * epsilon + (wide.shape[1] + 4) * np.finfo(np.float64).eps
    short = np.where(max_abs[:, None] <= 1, wide, 2)  # others are longer than 1
    is_unit = np.abs((short * short).sum(axis=1) - 1) <= tolerance
    unit: np.ndarray = np.where(is_unit[:, None], wide, scaled / np.sqrt(squares)[:, None])
    return unit


def unit_means(means: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the directions of means in float64; where one is zero but for rounding, `before`."""
    lengths = np.sqrt((means * means).sum(axis=1))[:, None]
    has_direction = lengths > np.finfo(before.dtype).eps
    return np.where(has_direction, means / np.where(has_direction, lengths, 1), before)
