"""Sums of float64 numbers that do not depend on the order in which they are added.

Blocks of points lie on workers in any arrangement, and each worker is to send one sum. So that the same
bits come out for every arrangement, each block's number x is first cut into a multiple of a unit and a
multiple of a finer one

    x = high + low + rest,    |rest| at most half a fine unit

where the units are powers of two so large that sums of all high parts, and of all low parts, stay below
2^53 units: then no addition rounds. Two parts keep about 100 bits below the bound on the whole sum, so what
is left out is far below the rounding of a float64 sum. J. Demmel and H. D. Nguyen, "Parallel reproducible
summation", IEEE Transactions on Computers 64 (7), 2015, cut numbers like this.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

Units: TypeAlias = tuple[float, float]

_BITS = 51  # of a sum, in units: two below those of float64, for the rounding of each term
_SMALLEST = 2.0**-1074


def units(bound: float, terms: int) -> Units:
    """Return the unit and the fine unit of sums of so many terms with magnitudes of `bound` in all."""
    unit = _unit(bound)
    return unit, _unit(unit * terms)


def _unit(bound: float) -> float:
    exponent = math.frexp(bound)[1] - _BITS
    return max(math.ldexp(1.0, max(exponent, -1074)), _SMALLEST)


def cut(values: np.ndarray | float, at: Units) -> np.ndarray:
    """Return the high and the low parts of values, stacked along a first axis."""
    values = np.asarray(values, np.float64)
    parts = np.empty((2, *values.shape))
    parts[0] = np.rint(values / at[0]) * at[0]
    parts[1] = np.rint((values - parts[0]) / at[1]) * at[1]
    return parts


def total(parts: np.ndarray) -> np.ndarray:
    """Return what was cut and added up, rounded once."""
    return np.asarray(parts[0] + parts[1] if len(parts) == 2 else parts[0])
