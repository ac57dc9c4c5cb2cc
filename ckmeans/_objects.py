"""Arrays of Python objects that are numbers: int, float, bool, Decimal, Fraction, NumPy's scalars."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ckmeans._places import raise_not_a_number, raise_not_finite

# `float` accepts some of these, yet they are no real numbers.
_NO_NUMBERS = (str, bytes, complex, np.complexfloating, np.datetime64, np.timedelta64, np.ndarray)
_MISSING = ("NoneType", "NAType", "NaTType")  # None, and what pandas has


def as_numbers(name: str, objects: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Return numbers in float64; `place(i)` says where the i-th object stands, in the order of rows."""
    if all(map(_is_number, set(map(type, objects.flat)))):
        try:
            return objects.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass  # one is too large, or says so only when asked
    for i, value in enumerate(objects.flat):
        if type(value).__name__ in _MISSING:
            raise_not_finite(name, "NaN", place(i))
        if not _is_number(type(value)) or not _is_float(value):
            raise_not_a_number(name, value, place(i))
    return np.array([float(value) for value in objects.flat]).reshape(objects.shape)


def _is_number(of_type: type) -> bool:
    return hasattr(of_type, "__float__") and not issubclass(of_type, _NO_NUMBERS)


def _is_float(value: object) -> bool:
    """Return whether this is a number that float64 can hold."""
    try:
        return not math.isinf(float(value)) or value in (math.inf, -math.inf)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
