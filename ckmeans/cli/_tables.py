"""Tables from files of any format: text, Parquet, Feather, Excel, .npy and .npz."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans import _validate
from ckmeans._size_limits import check_unpacked
from ckmeans.cli._formats import HEAD_BYTES, archive_format, format_of, refusal, unpack
from ckmeans.cli._layout import find_layout
from ckmeans.cli._numbers import number_of
from ckmeans.cli._read_options import ReadOptions
from ckmeans.cli._table import Cell, Table
from ckmeans.cli._text import read_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]

_Source = Path | io.BytesIO
_SAMPLE_ROWS = 200
_ARROW_VALUE_BYTES = 8  # of a number, or of a reference to a text
_COMPRESSED = ("gzip", "bzip2", "xz", "zip")


def read_table(path: str, options: ReadOptions) -> Table:
    """Read a table.

    Parameters
    ----------
    path : str
        Name of the file; - for the standard input.
    options : ReadOptions

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file holds no table that can be read; the message names the place, or the format.
    OSError
        The file cannot be read.
    ImportError
        A package is missing that reads the format.
    """
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ImportError('tables need pandas: pip install "ckmeans-simd[cli]"') from None
    try:
        return _read(path, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: str, options: ReadOptions) -> Table:
    source, head = _open(path)
    if not head:
        raise ValueError("the file is empty" if isinstance(source, Path) else "the file holds no table")
    name = format_of(head, Path(path))
    if name in _COMPRESSED and (name != "zip" or archive_format(_bytes(source)) == "zip"):
        source = io.BytesIO(unpack(_bytes(source), name))
        name = format_of(source.getvalue()[:HEAD_BYTES], Path(path).with_suffix(""))
    if name == "zip":
        name = archive_format(_bytes(source))
    if name == "text":
        if options.sheet is not None:
            raise ValueError("--sheet is for workbooks and .npz archives, and this is a text file")
        return read_text(_bytes(source), options)
    reader = _READERS.get(name)
    if reader is None:
        raise refusal(name)
    return reader(source, options)


def _open(path: str) -> tuple[_Source, bytes]:
    """Return the file and its first bytes; a pipe, which can be read only once, is read into memory."""
    if path == "-":
        data = sys.stdin.buffer.read()
    else:
        file = Path(path)
        with file.open("rb") as opened:
            if file.is_file():
                return file, opened.read(HEAD_BYTES)
            data = opened.read()
    return io.BytesIO(data), data[:HEAD_BYTES]


def _bytes(source: _Source) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.getvalue()


class _WrongContent(ValueError):
    """The file is read, but holds no table."""


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise a ValueError for whatever a library raises for damaged files: each has exceptions of its own."""
    try:
        yield
    except (_WrongContent, ImportError, MemoryError):
        raise
    except Exception as error:
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"not a readable {name} file ({found})") from None


# ---- frames ------------------------------------------------------------------------------------------


def _from_frame(frame: pd.DataFrame, name: str) -> Table:
    """Return the table of a frame; its index is none of its columns."""
    names = [str(column) for column in frame.columns]
    if len(frame) == 0:
        raise ValueError("the table has no rows")
    columns = frame.set_axis(range(len(names)), axis=1)
    return Table(columns, names, {"format": name}, _cell_of_frame(columns, 1))


def _cell_of_frame(frame: pd.DataFrame, first: int) -> Callable[[int, int], Cell]:
    """Return the function that names a value's place; the first record is the row number `first`."""

    def cell(record: int, column: int) -> Cell:
        import pandas as pd

        value: Any = frame.iloc[record, column]
        return Cell(f"row {record + first}", "" if pd.isna(value) else str(value))

    return cell


def _from_parquet(source: _Source, options: ReadOptions) -> Table:
    return _from_arrow(source, "Parquet", "read_parquet")


def _from_feather(source: _Source, options: ReadOptions) -> Table:
    return _from_arrow(source, "Feather", "read_feather")


def _from_arrow(source: _Source, name: str, reader: str) -> Table:
    import pandas as pd

    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f'{name} needs pyarrow: pip install "ckmeans-simd[cli]"') from None
    with _reading(name):
        if name == "Parquet":
            about = pyarrow.parquet.read_metadata(source)
            check_unpacked(about.num_rows * about.num_columns * _ARROW_VALUE_BYTES)
            if isinstance(source, io.BytesIO):
                source.seek(0)
        frame = getattr(pd, reader)(source)
    return _from_frame(frame, name)


# ---- workbooks ---------------------------------------------------------------------------------------


def _from_excel(source: _Source, options: ReadOptions) -> Table:
    import pandas as pd

    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise ImportError('Excel files need openpyxl: pip install "ckmeans-simd[cli]"') from None
    with _reading("Excel"), pd.ExcelFile(source, engine="openpyxl") as book:
        sheet = _sheet(book.sheet_names, options.sheet)
        grid = pd.read_excel(book, sheet_name=sheet, header=None, dtype=object)
    about = {"format": "Excel", "sheet": sheet, "sheets": len(book.sheet_names)}
    return _from_grid(grid, about, options)


def _sheet(names: list[Any], asked: str | None) -> str:
    if asked is None:
        return str(names[0])
    if asked in names:
        return asked
    if asked.isdecimal() and 1 <= int(asked) <= len(names):
        return str(names[int(asked) - 1])
    raise _WrongContent(f"there is no sheet {asked!r}: there are {', '.join(map(str, names))}")


def _from_grid(grid: pd.DataFrame, about: dict[str, Any], options: ReadOptions) -> Table:
    """Return the table that stands somewhere on a sheet."""
    filled = grid.notna()
    rows = np.flatnonzero(filled.any(axis=1))
    if options.skip_rows is not None:
        rows = rows[(rows + 1 < options.skip_rows[0]) | (rows + 1 > options.skip_rows[1])]
    if len(rows) == 0:
        raise ValueError("the sheet is empty")
    grid = grid.iloc[rows[0] : rows[-1] + 1, np.flatnonzero(filled.any(axis=0))[0] :]
    if options.skip_rows is not None:
        skipped = range(options.skip_rows[0] - 1, options.skip_rows[1])
        grid = grid[~grid.index.isin(skipped)]
    head = grid.head(_SAMPLE_ROWS)
    texts = (
        head.astype(str).where(head.notna(), "").apply(lambda column: column.str.strip()).to_numpy().tolist()
    )
    layout = find_layout(texts, number_of, header=options.header, known_names=options.names)
    if layout.first_record >= len(texts):
        raise ValueError("there is a header, but no rows")
    body = grid.iloc[layout.first_record :]
    first_row = int(body.index[0]) + 1
    body = body.set_axis(range(body.shape[1]), axis=1).reset_index(drop=True).infer_objects()
    names = layout.names or [str(j) for j in range(body.shape[1])]
    about |= {"header": [int(grid.index[i]) + 1 for i in layout.header_rows], "first_record": first_row}
    return Table(body, names, about, _cell_of_frame(body, first_row))


# ---- arrays ------------------------------------------------------------------------------------------


def _from_npy(source: _Source, options: ReadOptions) -> Table:
    with _reading(".npy"):
        if isinstance(source, Path):
            return _from_array(np.load(source, mmap_mode="r", allow_pickle=False), ".npy")
        return _from_array(np.load(source, allow_pickle=False), ".npy")


def _from_array(array: np.ndarray, name: str) -> Table:
    import pandas as pd

    if array.dtype.names is not None and array.ndim == 1:
        return _from_frame(pd.DataFrame({field: array[field] for field in array.dtype.names}), name)
    try:
        X = _validate.points(array, "the array")
    except (TypeError, ValueError) as error:
        raise _WrongContent(str(error)) from None
    frame = pd.DataFrame(X, copy=False)

    def cell(record: int, column: int) -> Cell:
        value = X[record, column]
        return Cell(f"row {record + 1}", f"{value} at row {record}, column {column}")

    return Table(frame, [str(j) for j in range(X.shape[1])], {"format": name}, cell, array=X)


def _from_npz(source: _Source, options: ReadOptions) -> Table:
    with _reading(".npz"), np.load(source, allow_pickle=False) as archive:
        check_unpacked(sum(entry.file_size for entry in archive.zip.infolist()))
        if {"format", "data", "shape"} <= set(archive.files):
            raise _WrongContent(
                "a sparse matrix of SciPy: use ckmeans.kmeans(scipy.sparse.load_npz(...), K) in Python"
            )
        if "about" in archive.files and "centroids" in archive.files:
            raise _WrongContent("a saved result of ckmeans, not a table")
        name = _array_name(archive, options.sheet)
        table = _from_array(archive[name], ".npz")
    return table._replace(about={"format": ".npz", "array": name, "arrays": len(archive.files)})


def _array_name(archive: Any, asked: str | None) -> str:
    """Return the name of the array that was asked for, or of the only one that can be points."""
    names: list[str] = archive.files
    if asked is not None and asked not in names:
        raise _WrongContent(f"there is no array {asked!r}: there are {', '.join(names)}")
    found = [asked] if asked is not None else names if len(names) == 1 else []
    if not found:
        found = [name for name in names if archive[name].ndim == 2 and archive[name].dtype.kind in "iufb"]
    if len(found) != 1:
        raise _WrongContent(
            f"the file holds {len(names)} arrays ({', '.join(names)}): choose one with --sheet"
        )
    return found[0]


_READERS: dict[str, Callable[[_Source, ReadOptions], Table]] = {
    "Parquet": _from_parquet,
    "Feather": _from_feather,
    "Excel": _from_excel,
    ".npy": _from_npy,
    ".npz": _from_npz,
}
