"""Tables of numbers from files: CSV and TSV, .npy and Parquet, with what is wrong in one line."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ckmeans import _validate

__all__ = ["Table", "read_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_GUESSES = ",\t;|"
_STDIN = Path("-")
_NO_NAME = "(no name)"
_MISSING = ("", "na", "nan", "null", "none", "n/a", "?")


class Table(NamedTuple):
    """A file's numbers.

    Attributes: X of shape (rows, columns), the columns' names, and the names of the columns that
    hold no numbers and were left out.
    """

    X: np.ndarray
    columns: list[str]
    left_out: list[str]


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path : str or path
        .csv, .tsv, .npy or .parquet; anything else is read as text whose separator is guessed, and - is
        such a text from the standard input.
    columns : sequence of str, optional
        The columns to take; by default all that hold numbers.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file does not hold a table of numbers; the message names the line.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        if suffix == ".npy":
            table = _from_array(_load_npy(path))
        elif suffix in (".parquet", ".pq"):
            table = _from_parquet(path)
        else:
            table = _from_text(path, _SEPARATORS.get(suffix))
        return _chosen(table, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _chosen(table: Table, columns: Sequence[str] | None) -> Table:
    if columns is None:
        if not table.columns:
            raise ValueError("no column holds numbers" + _wrong_separator(table.left_out))
        return table
    for name in columns:
        if name in table.left_out:
            raise ValueError(f"column {name!r} does not hold numbers")
        if name not in table.columns:
            raise ValueError(f"there is no column {name!r}: there are {', '.join(table.columns)}")
    return Table(table.X[:, [table.columns.index(name) for name in columns]], list(columns), [])


def _wrong_separator(names: list[str]) -> str:
    return (
        "; is its separator another one?" if len(names) == 1 and any(c in names[0] for c in _GUESSES) else ""
    )


# ---- arrays and Parquet --------------------------------------------------------------------------


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"not a readable .npy file of numbers ({error})") from None
    if not isinstance(array, np.ndarray):
        raise ValueError("an .npz archive, not a single array")
    return array


def _from_array(array: np.ndarray) -> Table:
    try:
        X = _validate.points(array, "the array")
    except TypeError as error:
        raise ValueError(str(error)) from None
    return Table(X, [str(i) for i in range(X.shape[1])], [])


def _from_parquet(path: Path) -> Table:
    path.open("rb").close()  # so that a missing file is said as for every other format
    try:
        from pyarrow import ArrowException, types
        from pyarrow.parquet import read_table as read
    except ImportError:
        raise ImportError(f'{path}: Parquet needs pyarrow: pip install "ckmeans-simd[cli]"') from None
    try:
        table = read(path)
    except ArrowException as error:
        raise ValueError(f"not a readable Parquet file ({str(error).splitlines()[0]})") from None
    columns, left_out = {}, []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            left_out.append(name)
            continue
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(f"a value is missing in row {row + 1}, column {name!r}")
        columns[name] = column.to_numpy()
    if table.num_rows == 0:
        raise ValueError("the table has no rows")
    X = np.column_stack(list(columns.values())) if columns else np.empty((table.num_rows, 0))
    return Table(X, list(columns), left_out)


# ---- text ----------------------------------------------------------------------------------------


def _from_text(path: Path, separator: str | None) -> Table:
    try:
        text = (sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not text in UTF-8") from None
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator or _guess(text[: 1 << 16]),
        skipinitialspace=True,
        strict=True,
    )
    rows = _rows(reader)
    try:
        first_line, first = next(rows, (0, []))
        if not first:
            raise ValueError("the file holds no table")
        header = not any(_is_number(field) for field in first)
        names = [field.strip() for field in first] if header else [str(i) for i in range(len(first))]
        fields = _columns(rows, names, [] if header else [(first_line, first)])
    except csv.Error as error:
        raise ValueError(f"not a readable table ({error})") from None
    return _numbers(names, *fields)


def _guess(head: str) -> str:
    """The separator that comes most often in the first line; blanks, where there is no other."""
    line = next((line for line in head.splitlines() if line.strip()), "")
    guess = max(_GUESSES, key=line.count)
    return guess if guess in line else " "


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with their lines' numbers."""
    for row in reader:
        if row and any(field.strip() for field in row):
            yield reader.line_num, row  # type: ignore[attr-defined]


def _columns(
    rows: Iterator[tuple[int, list[str]]], names: list[str], first: list[tuple[int, list[str]]]
) -> tuple[list[int], list[list[str]]]:
    """The lines' numbers, and the rows, all equally wide."""
    lines, kept = [line for line, _ in first], [row for _, row in first]
    for line, row in rows:
        if len(row) != len(names):
            ragged = f"line {line} has {len(row)} fields, the first one has {len(names)}"
            raise ValueError(ragged + _wrong_separator(names))
        lines.append(line)
        kept.append(row)
    if not kept:
        raise ValueError("there is a header, but no rows")
    return lines, kept


def _numbers(names: list[str], lines: list[int], rows: list[list[str]]) -> Table:
    """The columns that hold numbers, which are those with a name and numbers in half of their fields or
    more; then all of their fields must be."""
    columns: dict[str, np.ndarray] = {}
    left_out = []
    for i, name in enumerate(names):
        values = [row[i].strip() for row in rows]
        # A column without a name holds the rows' own numbers or names, as spreadsheets write them.
        column = _floats(name, values, lines) if name else None
        if column is None:
            left_out.append(name or _NO_NAME)
        elif name in columns:
            raise ValueError(f"two columns are named {name!r}")
        else:
            columns[name] = column
    X = np.column_stack(list(columns.values())) if columns else np.empty((len(rows), 0))
    return Table(X, list(columns), left_out)


def _floats(name: str, values: list[str], lines: list[int]) -> np.ndarray | None:
    """A column's numbers, None where it does not hold numbers."""
    try:
        column = np.array(values, dtype=np.float64)
        if np.isfinite(column).all():
            return column
    except ValueError:
        pass
    known = [value for value in values if value.lower() not in _MISSING]
    if 2 * sum(map(_is_number, known)) < max(len(known), 1):
        return None
    for line, value in zip(lines, values, strict=True):
        if value.lower() in _MISSING:
            raise ValueError(f"a value is missing in line {line}, column {name!r} (found {value!r})")
        if not _is_number(value) or not np.isfinite(float(value)):
            raise ValueError(f"line {line}, column {name!r}: {_validate.found(value)} is no finite number")
    raise AssertionError("one of the values is at fault")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
