"""Columns of data frames that offer the interchange protocol alone (``__dataframe__``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ckmeans import _foreign
from ckmeans._columns import Column
from ckmeans._dlpack import require_main_memory

_INT, _UINT, _FLOAT, _BOOL, _TEXT, _DATETIME, _CATEGORY = 0, 1, 2, 20, 21, 22, 23
_NUMBERS = {_INT: "i", _UINT: "u", _FLOAT: "f"}
_NAN, _SENTINEL, _BITS, _BYTES = 1, 2, 3, 4  # how missing values are marked


@contextmanager
def columns(name: str, frame: Any) -> Iterator[tuple[list[Column], list[Any]]]:
    """Give the columns of a data frame, which are valid inside alone, and their names."""
    table = frame.__dataframe__()
    names = list(table.column_names())
    yield [_column(name, table.get_column_by_name(column)) for column in names], names


def _column(name: str, column: Any) -> Column:
    parts = [_part(name, chunk) for chunk in column.get_chunks()]
    kind = next((kind for _, _, kind in parts if kind), "")
    return Column([values for values, _, _ in parts], [missing for _, missing, _ in parts], kind)


def _part(name: str, column: Any) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return the values, where they are missing (None: nowhere) and what they are if no numbers."""
    length = column.size() if callable(column.size) else column.size
    kind = int(column.dtype[0])
    if kind in (_TEXT, _DATETIME):
        return np.zeros(length), None, "text" if kind == _TEXT else "dates or times"
    buffers = column.get_buffers()
    data, dtype = buffers["data"]
    require_main_memory(name, data)
    values = _values(data, dtype, column.offset, length)
    missing = _missing(column, values, buffers["validity"], length)
    if kind != _CATEGORY:
        return values, missing, ""
    codes = values if missing is None else np.where(missing, 0, values)
    categories, _, kind_of_categories = _part(name, column.describe_categorical["categories"])
    return categories[codes] if len(categories) else np.zeros(length), missing, kind_of_categories


def _values(buffer: Any, dtype: tuple[Any, int, str, str], first: int, length: int) -> np.ndarray:
    kind, bits = int(dtype[0]), dtype[1]
    if kind == _BOOL and bits == 1:
        packed = _foreign.array_at(buffer.ptr, ((first + length + 7) // 8,), np.dtype(np.uint8), buffer)
        return np.unpackbits(packed, bitorder="little")[first : first + length].view(bool)
    order = dtype[3] if dtype[3] in "<>" else "="
    numbers = np.dtype(bool) if kind == _BOOL else np.dtype(f"{order}{_NUMBERS[kind]}{bits // 8}")
    return _foreign.array_at(buffer.ptr, (first + length,), numbers, buffer)[first:]


def _missing(column: Any, values: np.ndarray, validity: Any, length: int) -> np.ndarray | None:
    how, null = column.describe_null
    if how == _SENTINEL:
        return np.asarray(values == null)
    if how not in (_BITS, _BYTES) or validity is None:
        return None
    buffer, dtype = validity
    bits = dtype if how == _BYTES else (_BOOL, 1, "", "=")
    return np.asarray(_values(buffer, bits, column.offset, length).astype(bool) == bool(null))
