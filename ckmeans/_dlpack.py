"""Tensors of other libraries as arrays over the same memory, through DLPack (dmlc/dlpack, dlpack.h).

NumPy's own `from_dlpack` knows no bfloat16. The capsule stays as it came, so that its destructor releases
the tensor: the array keeps the capsule alive, and nothing else is to be done.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import numpy as np

from ckmeans import _foreign
from ckmeans._places import shorten_line
from ckmeans._points import BFLOAT16

_IN_MAIN_MEMORY = (1, 3, 11)  # of the CPU, and pinned by CUDA or ROCm
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}  # type code -> kind of a NumPy dtype
_BFLOAT = 4


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in items; NULL: C-contiguous
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    """What newer producers put in front of the tensor."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


def read(name: str, tensor: Any) -> np.ndarray:
    """Return the values of a tensor in main memory, without a copy."""
    if getattr(tensor, "requires_grad", False):
        tensor = tensor.detach()  # the results are arrays, which have no gradients
    require_main_memory(name, tensor)
    try:
        capsule = _capsule_of(tensor)
    except Exception as error:  # each library has its own
        with contextlib.suppress(Exception):  # which may have another way
            return np.asarray(tensor)
        raise TypeError(f"{name} cannot be read through DLPack: {shorten_line(error)}") from None
    return _array_in(name, capsule, tensor)


def require_main_memory(name: str, tensor: Any) -> None:
    """Raise for a tensor, or a buffer of a data frame, on a device of its own memory."""
    try:
        device_type = int(tensor.__dlpack_device__()[0])
    except Exception as error:
        raise TypeError(f"{name} cannot be read through DLPack: {shorten_line(error)}") from None
    if device_type not in _IN_MAIN_MEMORY:
        device = getattr(tensor, "device", f"a device of DLPack's type {device_type}")
        copy = next((f"{name}.{way}()" for way in ("cpu", "get") if hasattr(tensor, way)), None)
        raise TypeError(
            f"{name} must be in main memory, found it on {device}: "
            f"pass {copy or f'numpy.asarray({name})'}, a copy in main memory"
        )


def _capsule_of(tensor: Any) -> Any:
    try:
        return tensor.__dlpack__(max_version=(1, 0))
    except TypeError:  # a producer from before there were versions
        return tensor.__dlpack__()


def _array_in(name: str, capsule: Any, tensor: Any) -> np.ndarray:
    if _foreign.is_capsule(capsule, b"dltensor_versioned"):
        pointer = _foreign.pointer_in(capsule, b"dltensor_versioned")
        found = _Versioned.from_address(pointer).tensor
    else:
        found = _Tensor.from_address(_foreign.pointer_in(capsule, b"dltensor"))
    itemsize = found.bits // 8
    bfloat16 = (found.code, found.bits) == (_BFLOAT, 16)
    try:
        dtype = BFLOAT16 if bfloat16 else np.dtype(f"{_KINDS[found.code]}{itemsize}")
        if found.lanes != 1 or found.bits % 8:
            raise TypeError
    except (KeyError, TypeError):
        found_dtype = getattr(tensor, "dtype", f"DLPack's type {found.code} of {found.bits} bits")
        raise TypeError(f"{name} must hold real numbers, found dtype {found_dtype}") from None
    shape = tuple(found.shape[: found.ndim])
    strides = tuple(itemsize * step for step in found.strides[: found.ndim]) if found.strides else None
    address = None if found.data is None else found.data + found.byte_offset
    if not bfloat16:
        return _foreign.array_at(address, shape, dtype, capsule, strides)
    bits = _foreign.array_at(address, shape, np.dtype(np.uint16), capsule, strides)
    return bits.view(BFLOAT16)
