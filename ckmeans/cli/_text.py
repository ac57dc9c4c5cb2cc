"""Tables of text: the first lines say how, and pandas reads all of them.

pandas' C parser makes numbers of the columns at once; only what it leaves as text is looked at again, where
the columns are chosen. A record of too few fields, which pandas fills without a word, is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.cli._dialect import BLANKS, TABS, Dialect, Line, guess_dialect, is_comment, split_lines
from ckmeans.cli._layout import Layout, find_layout
from ckmeans.cli._numbers import MISSING_WORDS, number_of
from ckmeans.cli._read_options import ReadOptions
from ckmeans.cli._table import Cell, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_text"]

_SAMPLE_BYTES = (1 << 15, 1 << 20)  # of what may be enough, and of what is looked at
_SAMPLE_LINES = 100
_BLOCK = 1 << 16  # bytes that are searched at once, so that they stay in the cache
_NA_VALUES = sorted({word for text in MISSING_WORDS for word in (text, text.upper(), text.title())} - {""})
_SEPARATOR_LINE = re.compile(rb'"?sep=([^\w\n"])"?[ \t\r]*(?=\n)', re.IGNORECASE)  # Excel reads and hides it
_ARFF = re.compile(rb"(?:\s*%[^\n]*\n|\s)*@relation\b", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"""(?im)^[ \t]*@attribute[ \t]+(?:['"]([^'"\n]*)['"]|(\S+))""")


class _Ragged(ValueError):
    """A record has another number of fields than the first one."""


class _Text(NamedTuple):
    """A text and where its records begin.

    Attributes: the bytes in UTF-8; the place and the line of the first record; the number of fields of a
    record; whether blanks follow separators.
    """

    data: bytes
    start: int
    first_line: int
    dialect: Dialect
    width: int
    has_blanks: bool

    def records(self) -> Iterator[Line]:
        """Split the records with the csv module."""
        with io.TextIOWrapper(io.BytesIO(self.data), "utf-8", newline="") as file:
            file.seek(self.start)
            yield from split_lines(file, self.dialect, self.first_line)

    def cell(self, record: int, column: int) -> Cell:
        """Return the place and the text of a field."""
        for i, line in enumerate(self.records()):
            if i == record:
                text = line.fields[column] if column < len(line.fields) else ""
                return Cell(f"line {line.number + 1}", text)
        return Cell(f"record {record + 1}", "")


def read_text(data: bytes, options: ReadOptions) -> Table:
    """Read a table of text.

    Parameters
    ----------
    data : bytes
        The file.
    options : ReadOptions

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The text holds no table; the message names the line and the option that may help.
    """
    data, encoding = _decoded(data, options.encoding)
    data = _without_lines(data, options.skip_rows)
    data, options = _told(data, options)
    lines = _first_lines(data)
    if not any(line.strip() for line in lines):
        raise ValueError("the file holds no table")
    dialect = guess_dialect(lines, _given(options), options.comment)
    try:
        return _read(data, lines, dialect, options, encoding)
    except _Ragged as error:
        if dialect.separator != "\t" or options.sep is not None:
            raise ValueError(f"{error} (--skip-rows skips lines, --sep names the separator)") from None
        try:
            return _read(data, lines, dialect._replace(separator=TABS), options, encoding)
        except _Ragged:
            raise error from None


def _given(options: ReadOptions) -> Dialect:
    thousands_decimal = {".": ",", ",": "."}.get(options.thousands or "")
    decimal = options.decimal or thousands_decimal
    return Dialect(
        options.sep or "",
        decimal=decimal or ".",
        decimal_is_fixed=decimal is not None,
        thousands=options.thousands,
    )


# ---- bytes and lines ---------------------------------------------------------------------------------


def _decoded(data: bytes, encoding: str | None) -> tuple[bytes, str]:
    """Return the text in UTF-8 with line ends that pandas knows, and the name of its encoding."""
    name = encoding or _encoding(data)
    if name not in ("utf-8", "utf-8-sig", "ascii") or encoding:
        try:
            data = data.decode(name).encode()
        except (UnicodeError, LookupError):
            raise ValueError(f"not text in {name.upper()} (--encoding names another encoding)") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data[: _SAMPLE_BYTES[-1]]:
        raise ValueError("not text in UTF-8 or another encoding, nor a format that is read")
    if b"\r" in data[: _SAMPLE_BYTES[-1]] and b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return data, {"utf-8-sig": "utf-8", "ascii": "utf-8"}.get(name, name)


def _encoding(data: bytes) -> str:
    """Return the encoding by the mark at the start, by zeros, or by what is not UTF-8."""
    head = data[:4096]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    for places, name in ((head[1::2], "utf-16-le"), (head[::2], "utf-16-be")):
        if b"\0" in head and places.count(0) > 0.9 * len(places):
            return name
    if data.isascii():
        return "ascii"
    for name in ("utf-8", "cp1252"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return "latin-1" if name == "cp1252" and not re.search(rb"[\x80-\x9f]", data) else name
    return "latin-1"


def _without_lines(data: bytes, lines: tuple[int, int] | None) -> bytes:
    """Return the text with these lines, counted from 1, made blank."""
    if lines is None:
        return data
    first = _offset(data, lines[0] - 1)
    last = _offset(data, lines[1])
    return data[:first] + b"\n" * data[first:last].count(b"\n") + data[last:]


def _offset(data: bytes, line: int) -> int:
    """Return where a line, counted from 0, begins."""
    place = 0
    for _ in range(line):
        place = data.find(b"\n", place) + 1
        if place == 0:
            return len(data)
    return place


def _first_lines(data: bytes) -> list[str]:
    """Return the first lines with their ends; one that the sample cuts is left out."""
    lines: list[str] = []
    for n_bytes in _SAMPLE_BYTES:
        sample = data[:n_bytes]
        lines = list(io.StringIO(sample.decode("utf-8", "ignore"), newline=""))
        filled = [i for i, line in enumerate(lines) if not line.isspace()]
        if len(filled) > _SAMPLE_LINES:
            return lines[: filled[_SAMPLE_LINES]]
        if len(sample) == len(data):
            return lines
    return lines[:-1] if len(lines) > 1 else lines


def _told(data: bytes, options: ReadOptions) -> tuple[bytes, ReadOptions]:
    """Make the start of a file of Excel or ARFF blank, and take what it says as if the user said it."""
    if told := _SEPARATOR_LINE.match(data):
        return data[told.end() :], options._replace(sep=options.sep or told[1].decode())
    if not _ARFF.match(data):
        return data, options
    start = re.search(rb"(?im)^[ \t]*@data[^\n]*", data)
    if start is None or re.match(rb"\s*\{", data[start.end() :]):
        raise ValueError("an ARFF file without rows of values: sparse ones are not read")
    head = data[: start.start()]
    names = [quoted or word for quoted, word in _ATTRIBUTE.findall(head)]
    header = b",".join(name.replace(b",", b" ") for name in names)
    blank = b"\n" * head.count(b"\n") + header + data[start.end() :]
    return blank, options._replace(sep=",", comment="%", header=True)


# ---- the table ---------------------------------------------------------------------------------------


def _read(data: bytes, lines: list[str], dialect: Dialect, options: ReadOptions, encoding: str) -> Table:
    """Find the records and read them."""
    named_by = _last_comment(lines, dialect)
    if dialect.comment is not None:
        data = _without_comments(data, dialect, dialect.comment)
        lines = _first_lines(data)
    try:
        rows = list(split_lines(lines, dialect))
    except csv.Error as error:
        raise ValueError(f"not a readable table ({error})") from None
    if not rows:
        raise ValueError("the file holds no table")
    n_lines = data.count(b"\n") + (not data.endswith(b"\n")) if len(rows[0].fields) == 2 else 0
    layout = _layout(lines, [row.fields for row in rows], dialect, options, n_lines)
    names = layout.names
    if names is None and options.header is None:
        names = _names_of_comment(named_by, dialect, layout.width)
    if layout.first_record >= len(rows):
        raise ValueError("there is a header, but no rows")
    first = rows[layout.first_record].number
    has_blanks = any(f"{dialect.separator} " in line for line in lines)
    text = _Text(data, _offset(data, first), first, dialect, layout.width, has_blanks)
    about = {
        "format": "text",
        "encoding": encoding,
        "separator": dialect.separator,
        "decimal": dialect.decimal,
        "comment": dialect.comment,
        "header": [rows[i].number + 1 for i in layout.header_rows],
        "first_record": first + 1,
        "named_by_comment": names is not layout.names,
        "row_names": layout.has_row_names,
    }
    frame, text = _parse(text, options)
    return Table(
        frame,
        names or [str(j) for j in range(layout.width)],
        about,
        text.cell,
        dialect.decimal,
        dialect.decimal_is_fixed,
        dialect.thousands,
        lambda: _as_written(text),
    )


def _layout(
    lines: list[str], rows: list[list[str]], dialect: Dialect, options: ReadOptions, n: int
) -> Layout:
    """Find the header and the first record; n is the number of lines of the whole table."""

    def number(field: str) -> float | None:
        return number_of(field, dialect.decimal, dialect.thousands)

    layout = find_layout(rows, number, header=options.header, known_names=options.names, n_lines=n)
    if (
        layout.names is None
        and layout.first_record == 0
        and _quotes_only_the_first(lines, dialect, layout.width)
    ):
        return find_layout(rows, number, header=True)
    return layout


def _quotes_only_the_first(lines: list[str], dialect: Dialect, width: int) -> bool:
    """Return whether all fields of the first line are quoted, and some of each other line are not."""
    first, *others = [line.count(dialect.quote) for line in lines if line.strip()]
    return len(others) > 0 and first == 2 * width and max(others) < first


def _without_comments(data: bytes, dialect: Dialect, comment: str) -> bytes:
    """Return the text with comments made blank, so that lines keep their numbers."""
    plain = comment.encode()
    mark = re.escape(plain)
    if plain in data:
        data = re.sub(rb"(?m)^[ \t]*" + mark + rb"[^\r\n]*", b"", data)
    if plain in data:  # at the end of a line, where no separator follows
        before = b"" if dialect.strips_comments else rb"[ \t]+"
        after = (
            rb"[^\r\n\"]*" if dialect.strips_comments or dialect.separator == BLANKS else rb"[^\r\n,;|\t\"]*"
        )
        data = re.sub(rb"(?m)" + before + mark + after + rb"(?=\r?$)", b"", data)
    return data


def _last_comment(lines: list[str], dialect: Dialect) -> str:
    """Return the last of the comments above the table, without its mark."""
    last = ""
    for line in lines:
        if is_comment(line, dialect.comment):
            last = line.strip().removeprefix(dialect.comment or "")
        elif line.strip():
            break
    return last


def _names_of_comment(comment: str, dialect: Dialect, width: int) -> list[str] | None:
    """Return the columns' names if a comment holds them, as NumPy writes them."""
    for separator in (dialect.separator, ","):
        line = next(iter(split_lines([comment], dialect._replace(separator=separator))), Line(0, []))
        names = [name.strip() for name in line.fields]
        if len(names) == width > 1 and len(set(names)) == width and all(names[1:]):
            return names if any(number_of(name) is None for name in names) else None
    return None


# ---- pandas ------------------------------------------------------------------------------------------


def _parse(text: _Text, options: ReadOptions) -> tuple[pd.DataFrame, _Text]:
    """Read the records: numbers where a column holds nothing else."""
    how = {"na_values": _NA_VALUES, "decimal": text.dialect.decimal}
    try:
        frame = _read_csv(text, **how)
        if not text.has_blanks and _has_text(frame) and f"{text.dialect.separator} ".encode() in text.data:
            text = text._replace(has_blanks=True)
            frame = _read_csv(text, **how)
    except _Unreadable as error:
        _raise_if_ragged(text)
        raise ValueError(f"not a readable table ({_explain(error, text)})") from None
    if len(frame) == 0:
        raise ValueError("there is a header, but no rows")
    may_be_short = bool(frame[text.width - 1].isna().any()) and not options.fills_short_lines
    if may_be_short and not _is_full(text, len(frame)):
        _raise_if_ragged(text)
    return _with_codes(frame, text), text


def _has_text(frame: pd.DataFrame) -> bool:
    return any(dtype.kind not in "iufb" for dtype in frame.dtypes)


def _read_csv(text: _Text, **options: Any) -> pd.DataFrame:
    import pandas as pd

    data, start = text.data, text.start
    if text.dialect.separator == TABS:
        data, start = re.sub(rb"\t+", b"\t", data[start:]), 0
    file = io.BytesIO(data)
    file.seek(start)
    # Since 3.1 pandas' usual conversion is exact and the option deprecated.
    if tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1) and "decimal" in options:
        options["float_precision"] = "round_trip"
    separator = "\t" if text.dialect.separator == TABS else text.dialect.separator
    options |= {
        "sep": separator,
        "quotechar": text.dialect.quote,
        "header": None,
        "names": range(text.width),
        "index_col": False,
        "skipinitialspace": text.has_blanks,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            try:
                return pd.read_csv(file, **options)
            except pd.errors.DtypeWarning:  # parts of a column were numbers, others text
                file.seek(start)
                return pd.read_csv(file, low_memory=False, **options)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise _Unreadable(str(error)) from None
        except pd.errors.EmptyDataError:
            raise ValueError("there is a header, but no rows") from None


class _Unreadable(ValueError):
    """pandas cannot split the text."""


def _explain(error: _Unreadable, text: _Text) -> str:
    found = re.search(r"EOF inside string starting at row (\d+)", str(error))
    if found is None:
        return str(error)
    return f"a quote that opens in {text.cell(int(found[1]), 0).place} is not closed"


def _raise_if_ragged(text: _Text) -> None:
    """Raise if a record has more or fewer fields than the first one, which pandas does not say."""
    for line in text.records():
        if len(line.fields) != text.width:
            count = len(line.fields)
            raise _Ragged(f"line {line.number + 1} has {count} fields, the first one has {text.width}")


def _is_full(text: _Text, n_records: int) -> bool:
    """Return whether there are as many separators as the records need; False if that does not tell."""
    separator, quote = text.dialect.separator, text.dialect.quote.encode()
    if len(separator) != 1 or text.data.find(quote, text.start) >= 0:
        return False
    return text.data.count(separator.encode(), text.start) == n_records * (text.width - 1)


def _with_codes(frame: pd.DataFrame, text: _Text) -> pd.DataFrame:
    """Replace whole numbers by what is written in the file where some begin with a zero, as codes do."""
    whole = [j for j in frame.columns if frame[j].dtype.kind in "iuf" and _is_whole(frame[j].to_numpy())]
    if not whole or not _has_leading_zeros(text.data, text.start):
        return frame
    written = _as_written(text, whole)
    for j in whole:
        if written[j].str.strip().str.fullmatch(r"[+-]?0[0-9]+").any():
            frame[j] = written[j].astype(object)
    return frame


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool((np.isnan(values) | (values == np.floor(values))).all())


def _has_leading_zeros(data: bytes, start: int) -> bool:
    """Return whether a number begins with a zero and another digit anywhere."""
    letters = np.frombuffer(data, np.uint8)
    zero, point = np.uint8(ord("0")), np.uint8(ord("."))
    if start == 0 and data[:1] == b"0" and data[1:2].isdigit():
        return True
    for first in range(max(start - 1, 0), len(letters), _BLOCK):
        block = letters[first : first + _BLOCK + 2]  # what begins in a block may end in the next one
        is_digit = block - zero < 10
        found = (block[1:-1] == zero) & is_digit[2:] & ~is_digit[:-2]
        if found.any() and (block[:-2][found] != point).any():
            return True
    return False


def _as_written(text: _Text, columns: Sequence[Any] | None = None) -> pd.DataFrame:
    """Return the records as the file holds them, as text."""
    return _read_csv(text, dtype=str, na_filter=False, usecols=columns)
