"""Columns of a table, put side by side in one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckmeans._places import Names, raise_not_finite, raise_not_numbers


class Column(NamedTuple):
    """A column in parts, one after another.

    Attributes
    ----------
    parts : list of ndarray
    missing : list of ndarray of bool, or None where nothing is missing
    kind : str
        What the column holds, in words, if it is no numbers; else empty.
    """

    parts: list[np.ndarray]
    missing: list[np.ndarray | None]
    kind: str = ""


def joined(name: str, columns: list[Column], names: Names) -> np.ndarray:
    """Return the columns as one array of their common dtype; `name` is the argument's."""
    for j, column in enumerate(columns):
        if column.kind:
            raise_not_numbers(name, column.kind, names.column(j))
        raise_missing(name, column, j, names)
    dtypes = [part.dtype for column in columns for part in column.parts]
    m = sum(map(len, columns[0].parts)) if columns else 0
    values = np.empty((m, len(columns)), np.result_type(*dtypes) if dtypes else np.float64)
    for j, column in enumerate(columns):
        if column.parts:
            np.concatenate(column.parts, out=values[:, j], casting="unsafe")
    return values


def raise_missing(name: str, column: Column, j: int, names: Names) -> None:
    """Raise for the first missing value of a column, the j-th one."""
    first = 0
    for part, missing in zip(column.parts, column.missing, strict=True):
        if missing is not None and missing.any():
            raise_not_finite(name, "NaN", names.place(first + int(missing.argmax()), j))
        first += len(part)
