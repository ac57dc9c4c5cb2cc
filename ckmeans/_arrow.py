"""Columns of any library's tables through the Arrow C stream interface, without a library for it.

The structs are those of Arrow's C data and C stream interfaces. What the stream hands out is read in place
and released at the end.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ckmeans import _foreign
from ckmeans._columns import Column
from ckmeans._places import shorten_line

# Arrow's format of a type -> the same NumPy dtype; booleans are bits, decimals integers.
_DTYPES = {
    "c": "i1", "s": "i2", "i": "i4", "l": "i8", "C": "u1", "S": "u2", "I": "u4", "L": "u8",
    "e": "f2", "f": "f4", "g": "f8",
}  # fmt: skip
_KINDS = {"u": "text", "U": "text", "v": "text", "z": "bytes", "Z": "bytes", "t": "dates or times"}


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = (
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.POINTER(_Schema)),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
)
_Array._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.POINTER(_Array)),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
)
_Stream._fields_ = (
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
)


@contextmanager
def columns(name: str, table: Any) -> Iterator[tuple[list[Column], list[str] | None]]:
    """Give the columns of a table, which are valid inside alone, and their names; None: it is a series."""
    capsule = table.__arrow_c_stream__()  # its destructor releases the stream
    stream = _Stream.from_address(_foreign.pointer_in(capsule, b"arrow_array_stream"))
    schema, batches = _Schema(), []
    try:
        _call(name, stream, stream.get_schema, schema)
        while True:
            batch = _Array()
            _call(name, stream, stream.get_next, batch)
            if not batch.release:
                break
            batches.append(batch)
        yield _columns(schema, batches)
    finally:
        for held in (*batches, schema):
            if held.release:
                held.release(ctypes.byref(held))


def _call(name: str, stream: _Stream, function: Any, result: Any) -> None:
    if function(ctypes.byref(stream), ctypes.byref(result)):
        error = stream.get_last_error(ctypes.byref(stream)) or b"unknown error"
        raise ValueError(f"{name} cannot be read: {shorten_line(error.decode(errors='replace'))}")


def _columns(schema: _Schema, batches: list[_Array]) -> tuple[list[Column], list[str] | None]:
    if schema.format != b"+s":
        return [_column(schema, [(batch, 0, batch.length) for batch in batches])], None
    fields = [schema.children[j].contents for j in range(schema.n_children)]
    columns = [
        _column(field, [(batch.children[j].contents, batch.offset, batch.length) for batch in batches])
        for j, field in enumerate(fields)
    ]
    return columns, [(field.name or b"").decode(errors="replace") for field in fields]


def _column(schema: _Schema, parts: list[tuple[_Array, int, int]]) -> Column:
    """Return a column from its parts: arrays, each with the first row and the number of rows that count."""
    decoded = [_part(schema, array, first, length) for array, first, length in parts]
    kind = next((kind for _, _, kind in decoded if kind), _kind_of(schema))
    return Column([values for values, _, _ in decoded], [missing for _, missing, _ in decoded], kind)


def _part(
    schema: _Schema, array: _Array, first: int, length: int
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return the values of a part, where they are missing (None: nowhere) and what they are if no numbers."""
    start, arrow_format = array.offset + first, schema.format.decode()
    missing = _missing(array, start, length)
    if arrow_format == "n":
        return np.zeros(length), np.ones(length, bool), ""
    if _kind_of(schema):
        return np.zeros(length), missing, _kind_of(schema)
    if arrow_format == "b":
        values = _bits(array.buffers[1], start, length)
    elif arrow_format.startswith("d:"):
        values = _decimals(array.buffers[1], arrow_format, start, length)
    else:
        dtype = np.dtype(_DTYPES[arrow_format])
        values = _foreign.array_at(array.buffers[1], (start + length,), dtype, None)[start:]
    if not schema.dictionary:
        return values, missing, ""
    codes = values if missing is None else np.where(missing, 0, values)
    keys = array.dictionary.contents
    categories, unset, kind = _part(schema.dictionary.contents, keys, 0, keys.length)
    if unset is not None and len(unset):
        missing = unset[codes] if missing is None else missing | unset[codes]
    return categories[codes] if len(categories) else np.zeros(length), missing, kind


def _kind_of(schema: _Schema) -> str:
    """Return what a column holds, if it is no numbers; of categories what they are."""
    arrow_format = schema.format.decode()
    if schema.dictionary:
        return _kind_of(schema.dictionary.contents)
    if arrow_format in _DTYPES or arrow_format in ("n", "b") or arrow_format.startswith("d:"):
        return ""
    return _KINDS.get(arrow_format[0], f"values of Arrow's type {arrow_format!r}")


def _missing(array: _Array, start: int, length: int) -> np.ndarray | None:
    if array.null_count == 0 or array.n_buffers == 0 or not array.buffers[0]:
        return None
    return ~_bits(array.buffers[0], start, length)


def _bits(address: int | None, start: int, length: int) -> np.ndarray:
    packed = _foreign.array_at(address, ((start + length + 7) // 8,), np.dtype(np.uint8), None)
    return np.unpackbits(packed, bitorder="little")[start : start + length].view(bool)


def _decimals(address: int | None, arrow_format: str, start: int, length: int) -> np.ndarray:
    """Return decimals in float64: format "d:digits,scale[,bits]", little-endian integers."""
    scale, bits = (*map(int, arrow_format[2:].split(",")[1:]), 128)[:2]
    size = bits // 8
    raw = _foreign.array_at(address, ((start + length) * size,), np.dtype(np.uint8), None).tobytes()
    whole = [
        int.from_bytes(raw[at : at + size], "little", signed=True)
        for at in range(start * size, (start + length) * size, size)
    ]
    unit = 10 ** abs(scale)
    return np.array([float(value * unit) if scale < 0 else value / unit for value in whole])
