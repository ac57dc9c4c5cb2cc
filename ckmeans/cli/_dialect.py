"""The dialect of a text table, guessed from its first lines: separator, quotes, decimal sign, comments."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ckmeans.cli._numbers import is_missing, number_of

__all__ = ["BLANKS", "TABS", "Dialect", "Line", "guess_dialect", "is_comment", "split_lines"]

BLANKS, TABS = r"\s+", r"\t+"  # separators that may be repeated, as pandas writes them
_SEPARATORS = (",", "\t", ";", "|", TABS, BLANKS)  # the first of equally good ones is taken
_LONGEST_FIELD = 2**31 - 1  # the largest limit that the csv module takes everywhere
_MANY_FIELDS = 400  # fields that tell which are numbers
_COMMENTS = ("#", "%", "//", "!")
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')


class Dialect(NamedTuple):
    """How a text table is written.

    Attributes: the separator, the quote, the decimal sign and whether the user gave it, the thousands
    separator if the user gave it, the mark of comment lines, and whether it begins
    a comment inside a line too.
    """

    separator: str
    quote: str = '"'
    decimal: str = "."
    decimal_is_fixed: bool = False
    thousands: str | None = None
    comment: str | None = None
    strips_comments: bool = False


class Line(NamedTuple):
    """The number of the first physical line of a record, from 0, and its fields."""

    number: int
    fields: list[str]


def split_lines(lines: Iterable[str], dialect: Dialect, first: int = 0) -> Iterator[Line]:
    """Split text into records; blank lines are none. The first line has the number `first`."""
    csv.field_size_limit(_LONGEST_FIELD)
    if dialect.separator == BLANKS:
        for number, line in enumerate(lines, first):
            fields = [(a.replace('""', '"') if a else b) for a, b in _FIELD.findall(line)]
            if fields:
                yield Line(number, fields)
        return
    if dialect.separator == TABS:
        lines = (re.sub("\t+", "\t", line) for line in lines)
    separator = "\t" if dialect.separator == TABS else dialect.separator
    reader = csv.reader(lines, delimiter=separator, quotechar=dialect.quote, skipinitialspace=True)
    start = first
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield Line(start, [field.strip() for field in fields])
        start = first + reader.line_num


def is_comment(line: str, mark: str | None) -> bool:
    """Return whether the line is a comment."""
    return mark is not None and line.lstrip(" \t\ufeff").startswith(mark)


def guess_dialect(lines: Sequence[str], given: Dialect, comment: str | None = None) -> Dialect:
    """Guess the dialect of the first lines of a table.

    Parameters
    ----------
    lines : sequence of str
    given : Dialect
        What the user gave; the separator "" stands for none given.
    comment : str, optional
        The mark that the user gave.

    Returns
    -------
    Dialect
    """
    mark = comment or _comment_mark(lines)
    body = [line for line in lines if not is_comment(line, mark)]
    quote = "'" if _has_single_quotes(body) else '"'
    separator = given.separator or _separator(body, quote)
    dialect = given._replace(separator=separator, quote=quote, comment=mark)
    rows = [line.fields for line in split_lines(body, dialect)]
    if not given.decimal_is_fixed:
        dialect = dialect._replace(decimal=_decimal(rows, separator))
    return dialect._replace(strips_comments=comment is not None)


def _comment_mark(lines: Sequence[str]) -> str | None:
    """Return the mark of lines at the top, or of some lines that are unlike the others, if there are any."""
    filled = [line for line in lines if line.strip()]
    for mark in _COMMENTS:
        marked = [line for line in filled if is_comment(line, mark)]
        if not marked or len(marked) == len(filled):
            continue
        at_the_top = all(is_comment(line, mark) for line in filled[: len(marked)])
        if at_the_top or len(marked) <= len(filled) / 2:
            widths = {_count_separators(line) for line in filled if line not in marked}
            is_unlike = not any(_count_separators(line) in widths for line in marked)
            has_blank = all(line.lstrip()[len(mark) :][:1].isspace() for line in marked)
            if is_comment(filled[0], mark) or is_unlike or has_blank:
                return mark
    return None


def _count_separators(line: str) -> int:
    return sum(line.count(separator) for separator in ",;|\t")


def _has_single_quotes(lines: Sequence[str]) -> bool:
    text = "".join(lines)
    return '"' not in text and len(re.findall(r"(?:^|[,;\t| ])'[^'\n]*'(?=[,;\t| \r\n]|$)", text, re.M)) >= 2


# ---- separator ---------------------------------------------------------------------------------------


def _separator(lines: Sequence[str], quote: str) -> str:
    """Return the separator that gives most lines the same number of fields, most of them numbers."""
    if _is_one_column(lines):
        return ";"
    scores = {separator: _score(lines, Dialect(separator, quote)) for separator in _SEPARATORS}
    single = [separator for separator in _SEPARATORS if len(separator) == 1]
    best = max(single, key=lambda separator: scores[separator].quality)
    for repeated in (TABS, BLANKS):
        # Blanks are in words, too. But where commas are decimal signs, or else no number is found, they
        # split numbers.
        splits_numbers = scores[best].numbers < scores[repeated].numbers
        splits_numbers = splits_numbers and (best == "," or scores[best].numbers == 0)
        if scores[repeated].fits > scores[best].fits - (1e-9 if splits_numbers else 0):
            best = repeated
    return best if scores[best].fits > 0 else ","


def _is_one_column(lines: Sequence[str]) -> bool:
    """Return whether each line holds one number with a decimal comma, maybe below a name."""
    name, *values = [line.strip().strip('"') for line in lines if line.strip()] or [""]
    values = values if values and "," not in name else [name, *values]
    if not all(re.fullmatch(r"-?\d+,\d+", value) for value in values):
        return False
    if values[0] == name:  # two columns of whole numbers, unless one has a zero that such numbers have not
        return any(re.match(r"-0,|.*,0\d", value) for value in values)
    whole = [int(value.partition(",")[0]) for value in values]
    return [number - whole[0] for number in whole] != list(range(len(whole)))  # these would be row names


class _Score(NamedTuple):
    """How well a separator splits lines.

    Attributes: the share of lines that have the same number of fields; the shares of numbers, and of words
    that hold another separator, among the fields.
    """

    fits: float
    numbers: float = 0
    unsplit: float = 0

    @property
    def quality(self) -> float:
        """How probable the separator is."""
        return self.fits * (1 + self.numbers - self.unsplit)


def _score(lines: Sequence[str], dialect: Dialect) -> _Score:
    mark = {TABS: "\t\t", BLANKS: " "}.get(dialect.separator, dialect.separator)
    if not any(mark in line for line in lines):
        return _Score(0)
    try:
        rows = [line.fields for line in split_lines(lines, dialect)]
    except csv.Error:
        return _Score(0)
    body = rows[len(rows) > 3 :]  # the first line may be a title
    widths = Counter(len(row) for row in body)
    width, count = max(widths.items(), key=lambda item: item[1], default=(1, 0))
    if not any(
        2 * dialect.quote in line for line in lines
    ):  # a quote inside a field is a sign of a wrong split
        count -= sum(len(row) == width and any(dialect.quote in field for field in row) for row in body)
    if width < 2 or count <= 0:
        return _Score(0)
    # A header is narrower by one where the first column holds row names.
    is_narrow = len(rows[0]) == width - 1 and (width > 2 or len(rows) > 2)
    count += is_narrow or (len(rows[0]) == width and len(rows) > 3)
    fields = [field for row in rows[1:] or rows if len(row) == width for field in row if field]
    fields = fields[:: len(fields) // _MANY_FIELDS + 1]
    words = [field for field in fields if all(number_of(field, sign) is None for sign in ".,")]
    numbers = (len(fields) - len(words)) / max(len(fields), 1)
    if dialect.separator == BLANKS and numbers == 0:
        return _Score(0)
    unsplit = sum(any(separator in word for separator in ",\t;|") for word in words) / max(len(fields), 1)
    return _Score(round(count / len(rows), 9), numbers, unsplit)


# ---- decimal sign ------------------------------------------------------------------------------------

_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*")
_MIXED = re.compile(r"[-+]?\d{1,3}(?:([.,])\d{3})+([.,])\d+")
_SIMPLE = re.compile(r"[-+]?\d*([.,])\d+(?:[eE][-+]?\d+)?")


def _decimal(rows: Sequence[Sequence[str]], separator: str) -> str:
    """Return the decimal sign: a comma where commas are no thousands separators."""
    signs: Counter[str] = Counter()
    has_ambiguous_commas = False
    if not any("," in field for row in rows for field in row):
        return "."
    for field in (field for row in rows for field in row if not is_missing(field)):
        digits = field.strip("$€£¥% \u00a0")
        if _THOUSANDS.fullmatch(digits):
            has_ambiguous_commas |= "," in digits
        elif (mixed := _MIXED.fullmatch(digits)) and mixed[1] != mixed[2]:
            signs[mixed[2]] += 1
        elif simple := _SIMPLE.fullmatch(digits):
            signs[simple[1]] += 1
    if signs[","] != signs["."]:
        return "," if signs[","] > signs["."] else "."
    return "," if has_ambiguous_commas and separator == ";" and not signs["."] else "."
