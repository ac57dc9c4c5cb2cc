"""Any array-like as a NumPy array, without a copy where possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckmeans import _frames, _objects
from ckmeans._places import Names, place_of, shorten_line
from ckmeans._points import BFLOAT16

# dtype, of either byte order -> bytes of a value of the computing dtype.
COMPUTING_ITEMSIZE = {
    np.dtype(order + name): 4 if name in ("f2", "f4", "i1", "u1", "u2") else 8
    for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
    for order in "<>"
} | {BFLOAT16: 4}


def is_sparse(value: object) -> bool:
    """Return whether this is a SciPy sparse matrix or array, by name: SciPy need not be imported."""
    return type(value).__module__.startswith("scipy.sparse")


def read(name: str, value: Any, objects: bool = False) -> tuple[np.ndarray, Names | None]:
    """Return real numbers of any dtype in `COMPUTING_ITEMSIZE`; of a data frame with its names.

    bfloat16 stays as it is, of dtype `BFLOAT16`. `objects` says whether an array of Python objects, which
    the columns of a data frame may be, is accepted too."""
    if type(value) is np.ndarray:  # the usual case, first
        return _real(name, value, objects), None
    value = _without_wrapping(name, value)
    names = None
    if not isinstance(value, (np.ndarray, list, tuple)):
        if (frame := _frames.read(name, value)) is not None:
            value, names = frame
        elif hasattr(value, "__dlpack__"):
            from ckmeans import _dlpack

            value = _dlpack.read(name, value)
    return _real(name, value, objects), names


def as_ndarray(name: str, value: Any) -> np.ndarray:
    """Return an array of any dtype."""
    return _as_ndarray(name, _without_wrapping(name, value))


def _without_wrapping(name: str, value: Any) -> Any:
    """Return the data of a masked array without masked values; refuse masked values and sparse matrices."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise TypeError(f"{name} is a masked array: fill or drop the masked values first")
        value = value.data
    if isinstance(value, np.memmap):
        _require_whole_file(name, value)
    if is_sparse(value):
        raise TypeError(f"{name} is a sparse matrix: dense data are wanted, for instance {name}.toarray()")
    return value


def _require_whole_file(name: str, array: np.memmap) -> None:
    """Raise for a memory map of a file that was cut short since: reading on would end the process."""
    import mmap

    mapped = getattr(array, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or mapped.closed:
        return
    wanted = array.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY + len(mapped)
    if (found := mapped.size()) < wanted:
        raise ValueError(f"{name} must be a memory map of a whole file, found {found} bytes of {wanted}")


def _as_ndarray(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of real numbers: {shorten_line(error)}") from None
    except (TypeError, RuntimeError) as error:  # what other libraries' objects say
        raise TypeError(f"{name} must be an array of real numbers: {shorten_line(error)}") from None


def _real(name: str, value: Any, objects: bool) -> np.ndarray:
    """Return an array in a dtype that compiled code reads."""
    array = _as_ndarray(name, value)
    if array.dtype in COMPUTING_ITEMSIZE:
        return array
    if array.dtype.kind == "f":  # longer than float64
        return array.astype(np.float64)
    if array.dtype.kind == "O" and array.ndim and objects:
        return _objects.as_numbers(name, array, lambda i: _place(i, array.shape))
    if array.dtype.name == "bfloat16":  # of ml_dtypes
        return array.view(BFLOAT16)
    given = "" if array.ndim else f" (a {type(value).__name__})"
    raise TypeError(f"{name} must hold real numbers, found dtype {array.dtype}{given}")


def _place(i: int, shape: tuple[int, ...]) -> str:
    """Return the place of the i-th value of an array, in words."""
    at = np.unravel_index(i, shape)
    return place_of(int(at[0]), int(at[1])) if len(shape) == 2 else f"at row {int(at[0])}"


def widened(array: np.ndarray) -> np.ndarray:
    """Return bfloat16 in float32, other arrays as they are."""
    if array.dtype != BFLOAT16:
        return array
    return (array["bfloat16"].astype(np.uint32) << 16).view(np.float32)


def times_power(values: Any, exponent: int) -> Any:
    """Return `values` * 2**exponent in float64; exact but for overflow, to infinity, and underflow."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(np.asarray(values, np.float64), exponent)


def common_dtype(first: np.dtype, second: np.dtype) -> np.dtype:
    """Return the dtype that holds the values of both."""
    if first == second:
        return first
    parts = (np.dtype(np.float32) if dtype == BFLOAT16 else dtype for dtype in (first, second))
    return np.result_type(*parts)


def max_abs(array: np.ndarray) -> float:
    """Return the largest magnitude, without a copy; NaN if there is one."""
    if array.dtype == BFLOAT16:
        # Bits rise with the magnitude; as unsigned numbers those of negative values are the larger ones.
        bits = array["bfloat16"]
        largest = np.array([max(bits.view(np.int16).max(), 0), bits.max() & 0x7FFF], np.uint16)
        return float(widened(largest.view(BFLOAT16)).max())
    return max(abs(float(array.min())), abs(float(array.max())))


def name_of(dtype: np.dtype) -> str:
    """Return a dtype's name for a message."""
    return "bfloat16" if dtype == BFLOAT16 else str(dtype)
