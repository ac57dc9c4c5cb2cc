"""Arrays over memory that another library owns, and pointers out of its capsules."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

# Functions of our own: others may set the argument types of those of ctypes.pythonapi.
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


class _Memory:
    """Memory as NumPy's array interface describes it; it keeps its owner alive."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def array_at(
    address: int | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
    owner: object,
    strides: tuple[int, ...] | None = None,  # in bytes; None: C-contiguous
) -> np.ndarray:
    """Return a read-only array over memory that lives as long as its owner."""
    if 0 in shape or address is None:
        return np.empty(shape, dtype)
    interface = {
        "data": (address, True),
        "shape": shape,
        "strides": strides,
        "typestr": dtype.str,
        "version": 3,
    }
    return np.asarray(_Memory(interface, owner))


def is_capsule(capsule: object, name: bytes) -> bool:
    """Return whether this is a capsule of this name."""
    return bool(_is_valid(capsule, name))


def pointer_in(capsule: object, name: bytes) -> int:
    """Return the pointer in a capsule of this name."""
    pointer: int = _get_pointer(capsule, name)
    return pointer
