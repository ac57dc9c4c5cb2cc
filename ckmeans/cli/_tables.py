"""Tables of numbers from files: CSV and TSV, .npy and Parquet, with what is wrong in one line."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ckmeans import _validate

__all__ = ["Table", "read_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_GUESSES = ",\t;|"
_BLOCK = 1 << 14  # rows held as text at a time
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
    """What to ask where the only column's name looks like several."""
    several = len(names) == 1 and any(separator in names[0] for separator in _GUESSES)
    return "; is its separator another one?" if several else ""


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
    stdin = path == _STDIN
    with open(0 if stdin else path, newline="", encoding="utf-8-sig", closefd=not stdin) as file:
        try:
            return _parsed(file, separator)
        except UnicodeDecodeError:
            raise ValueError("not text in UTF-8") from None
        except csv.Error as error:
            raise ValueError(f"not a readable table ({error})") from None


def _parsed(text: Iterator[str], separator: str | None) -> Table:
    start = [""]
    while not start[-1].strip() and (line := next(text, "")):
        start.append(line)
    reader = csv.reader(
        chain(start[1:], text), delimiter=separator or _guess(start[-1]), skipinitialspace=True, strict=True
    )
    rows = _rows(reader)
    first = next(rows, None)
    if first is None:
        raise ValueError("the file holds no table")
    header = not any(_is_number(field) for field in first[1])
    names = [field.strip() for field in first[1]] if header else [str(i) for i in range(len(first[1]))]
    columns = [_Column(name) for name in names]
    if not header:
        rows = chain([first], rows)
    count = 0
    while block := list(islice(rows, _BLOCK)):
        count += len(block)
        _add(block, columns)
    if count == 0:
        raise ValueError("there is a header, but no rows")
    return _table(columns, count)


def _guess(line: str) -> str:
    """The separator that comes most often in a line; blanks, where there is no other."""
    guess = max(_GUESSES, key=line.count)
    return guess if guess in line else " "


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with their lines' numbers."""
    for row in reader:
        if row and any(field.strip() for field in row):
            yield reader.line_num, row  # type: ignore[attr-defined]


def _add(block: list[tuple[int, list[str]]], columns: list[_Column]) -> None:
    """Add rows, all as wide as the first one, to the columns."""
    for line, row in block:
        if len(row) != len(columns):
            ragged = f"line {line} has {len(row)} fields, the first one has {len(columns)}"
            raise ValueError(ragged + _wrong_separator([column.name for column in columns]))
    for i, column in enumerate(columns):
        column.add([line for line, _ in block], [row[i].strip() for _, row in block])


def _table(columns: list[_Column], rows: int) -> Table:
    numbers: dict[str, np.ndarray] = {}
    left_out = []
    for column in columns:
        if not column.holds_numbers:
            left_out.append(column.name or _NO_NAME)
        elif column.fault is not None:
            raise ValueError(column.fault)
        elif column.name in numbers:
            raise ValueError(f"two columns are named {column.name!r}")
        else:
            numbers[column.name] = np.concatenate(column.parts)
    X = np.column_stack(list(numbers.values())) if numbers else np.empty((rows, 0))
    return Table(X, list(numbers), left_out)


class _Column:
    """A column as it is read: what is a number so far, and the first field that is not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: list[np.ndarray] = []
        self.fault: str | None = None
        self._numbers = self._known = 0

    @property
    def holds_numbers(self) -> bool:
        """Whether half of its fields or more are numbers; then all must be. A column without a name
        holds the rows' own numbers or names, as spreadsheets write them."""
        return self.name != "" and 2 * self._numbers >= max(self._known, 1)

    def add(self, lines: list[int], values: list[str]) -> None:
        """Add fields, which stood in these lines."""
        part = _floats(values)
        if part is None:
            for line, value in zip(lines, values, strict=True):
                self._look_at(line, value)
        else:
            self.parts.append(part)
            self._numbers += len(values)
            self._known += len(values)

    def _look_at(self, line: int, value: str) -> None:
        missing, number = value.lower() in _MISSING, _is_number(value)
        self._known += not missing
        self._numbers += number and not missing
        if self.fault is not None:
            return
        if missing:
            self.fault = f"a value is missing in line {line}, column {self.name!r} (found {value!r})"
        elif not number or not np.isfinite(float(value)):
            found = _validate.shorten_repr(value)
            self.fault = f"line {line}, column {self.name!r}: {found} is no finite number"


def _floats(values: list[str]) -> np.ndarray | None:
    """Finite numbers, None where one is something else."""
    try:
        column = np.array(values, dtype=np.float64)
    except ValueError:
        return None
    return column if np.isfinite(column).all() else None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
