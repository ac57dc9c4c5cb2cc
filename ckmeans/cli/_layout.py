"""Where the records of a table begin and what its columns are called: titles, headers, units, row names."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ckmeans.cli._numbers import UNITS, is_missing

__all__ = ["Layout", "find_layout"]

_MAX_HEADER = 10  # lines before the records
_MAX_ROWS = 200  # rows that are looked at
_FIRST_YEAR, _LAST_YEAR = 1500, 2100
# How many times a column's range a number must lie outside of it to be far; once suffices for many records.
_FAR, _VERY_FAR, _MANY = 5, 20, 10
# What the second line of a file of Orange holds: the columns' types.
_TYPES = frozenset(["c", "continuous", "d", "discrete", "s", "string", "t", "time", "i", "ignore", "basket"])

_Numbers = list[float | None]


class Layout(NamedTuple):
    """The parts of a table.

    Attributes: the columns' names, None if there is no header; the index of the first record among the rows;
    which rows hold the names; the number of fields of a record; whether the header lacks a name for the first
    column, which holds row names.
    """

    names: list[str] | None
    first_record: int
    header_rows: list[int]
    width: int
    has_row_names: bool = False


def find_layout(
    rows: Sequence[Sequence[str]],
    number_of: Callable[[str], float | None],
    *,
    header: bool | None = None,
    known_names: Collection[str] = (),
    n_lines: int = 0,
) -> Layout:
    """Find the header and the first record.

    Parameters
    ----------
    rows : sequence of sequences of str
        The first rows of the table.
    number_of : callable
        Return a field's number, or None.
    header : bool, optional
        Whether the first row is a header, if the user said so.
    known_names : collection of str
        Names that a header is known to have.
    n_lines : int
        Number of lines of the whole table, 0 if that is not known.

    Returns
    -------
    Layout
    """
    rows = rows[:_MAX_ROWS]
    width = _width(rows)
    if header is not None:
        return _told(rows, width, header)
    top = _title_lines(rows, width, number_of, n_lines)
    for i in range(top, min(top + _MAX_HEADER, len(rows))):
        if _has_names(rows[i], known_names):
            return _with_header(rows, i, i, width)
    if len(rows[top]) == width - 1 and top + 1 < len(rows):
        return _with_header(rows, top, top, width)
    if len(rows[top]) != width:  # the reader will say so
        return Layout(None, top, [], len(rows[top]))
    numbers = [[number_of(field) for field in row] for row in rows]
    kinds = _numeric_columns(rows[top + 1 :], numbers[top + 1 :], width)
    last = _last_header(rows, numbers, kinds, top)
    return Layout(None, top, [], width) if last is None else _with_header(rows, top, last, width)


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of fields of most rows; of equally frequent ones, that of the first row."""
    counts = Counter(len(row) for row in rows)
    return max(counts, key=lambda width: (counts[width], width == len(rows[0])))


def _told(rows: Sequence[Sequence[str]], width: int, header: bool) -> Layout:
    if not header:
        return Layout(None, 0, [], max(width, len(rows[0])))
    if len(rows[0]) == width - 1:
        return _with_header(rows, 0, 0, width)
    return _with_header(rows, 0, 0, len(rows[0]))


def _has_names(row: Sequence[str], names: Collection[str]) -> bool:
    # The names of columns without a header are no evidence.
    return any(not name.isdecimal() for name in names) and set(names) <= set(row)


def _title_lines(
    rows: Sequence[Sequence[str]],
    width: int,
    number_of: Callable[[str], float | None],
    n_lines: int,
) -> int:
    """Return the number of leading rows that belong to no record: titles, or the table's size."""
    count = next(i for i, row in enumerate(rows) if len(row) == width)
    if len(rows) - count < 2 or any(len(row) != width for row in rows[count:]):
        return 0
    if count == 0:
        size = [number_of(field) for field in rows[0]]
        return int(n_lines > _MANY and size == [n_lines - 1, width])
    above = [number_of(field) for field in rows[count - 1]]
    row_names = [number_of(row[0]) for row in rows[count:]]
    may_name = len(above) == width - 1 and (None in above or _are_row_names(row_names))
    if may_name and not _is_plain_header(rows[count:], number_of):
        return count - 1  # a header without a name for the row names
    has_names = any(len(row) > 1 and not _all_numbers(row, number_of) for row in rows[:count])
    return 0 if has_names and _all_numbers(rows[count], number_of) else count


def _is_plain_header(rows: Sequence[Sequence[str]], number_of: Callable[[str], float | None]) -> bool:
    """Return whether the first row holds words above numbers, and no number above numbers."""
    below = [[number_of(field) for field in row] for row in rows[1:]]
    kinds = _numeric_columns(rows[1:], below, len(rows[0]))
    above = [field for field, kind in zip(rows[0], kinds, strict=True) if kind]
    return any(above) and all(number_of(field) is None for field in above)


def _all_numbers(row: Sequence[str], number_of: Callable[[str], float | None]) -> bool:
    return all(number_of(field) is not None or is_missing(field) for field in row)


def _numeric_columns(
    rows: Sequence[Sequence[str]], numbers: Sequence[_Numbers], width: int
) -> list[bool | None]:
    """Return of each column whether most of its values are numbers; None if there are no values."""
    kinds: list[bool | None] = []
    for j in range(width):
        known = [
            number[j] is not None
            for row, number in zip(rows, numbers, strict=True)
            if j < len(row) and not is_missing(row[j])
        ]
        kinds.append(2 * sum(known) >= len(known) if known else None)
    return kinds


def _with_header(rows: Sequence[Sequence[str]], top: int, last: int, width: int) -> Layout:
    """Return the layout with the header in the rows from `top` to `last`."""
    first_record = last + 1
    if last > top:  # further lines of a header of several lines: flags, or nothing
        types = any(_are_types(row) for row in rows[top : last + 1])
        while first_record < len(rows) - 1 and (
            not any(rows[first_record]) or (types and first_record == top + 2)
        ):
            first_record += 1
    block = range(top, last + 1)
    distinct = {i: len({field for field in rows[i] if field}) for i in block}
    best = max(block, key=lambda i: distinct[i])
    used = [best]
    names = list(rows[best])
    has_repeats = distinct[best] < len([name for name in names if name])
    if last > top and (
        distinct[best] < width - 1 or has_repeats
    ):  # only together do the lines name the columns
        used = [i for i in block if distinct[i] > 0]
        columns = zip(*(list(rows[i]) + [""] * (width - len(rows[i])) for i in used), strict=True)
        names = ["_".join(part for part in parts if part) for parts in columns]
    has_row_names = len(names) == width - 1
    if has_row_names:
        names = ["", *names]
    return Layout(names, first_record, used, width, has_row_names)


def _are_types(row: Sequence[str]) -> bool:
    return any(row) and all(field.lower() in _TYPES for field in row if field)


# ---- is it a header? ---------------------------------------------------------------------------------


def _last_header(
    rows: Sequence[Sequence[str]], numbers: Sequence[_Numbers], kinds: list[bool | None], top: int
) -> int | None:
    """Return the last row of the header, None if the first row is a record."""
    last = top if _is_header(rows, numbers, kinds, top) else None
    numeric = [j for j, kind in enumerate(kinds) if kind]
    may_follow = last is not None
    for i in range(top + 1, min(top + _MAX_HEADER, len(rows) - 1)):
        if len(rows[i]) != len(kinds):
            break
        words = [numbers[i - 1][j] is None and not is_missing(rows[i - 1][j]) for j in numeric]
        is_title = any(words) or all(numbers[i - 1][j] is None for j in numeric)
        may_follow = last is not None or ((may_follow or i == top + 1) and is_title)
        if may_follow and _is_further_header(rows, numbers[i], kinds, i, last):
            last = i
    return last


def _is_header(
    rows: Sequence[Sequence[str]], numbers: Sequence[_Numbers], kinds: list[bool | None], top: int
) -> bool:
    """Return whether the first row is a header: words above numbers, or numbers unlike those below."""
    row, own = rows[top], numbers[top]
    words = [own[j] is None and not is_missing(field) for j, field in enumerate(row)]
    body = [number for line, number in zip(rows[top + 1 :], numbers[top + 1 :], strict=True) if any(line)]
    if not row[0] and len(row) > 1 and all(row[1:]) and _are_row_names([number[0] for number in body]):
        return True
    if not any(number is not None for number in own):
        numeric = [field for field, kind in zip(row, kinds, strict=True) if kind]
        return any(words) and not (numeric and all(is_missing(field) for field in numeric))
    above = [word for word, kind in zip(words, kinds, strict=True) if kind]
    if any(above) and 2 * sum(above) >= len(above):
        return True
    # A number above words, and no name above the row numbers, are signs of a header; alone they are none.
    hint = (
        any(above)
        or not row[0]
        or any(n is not None and kind is False for n, kind in zip(own, kinds, strict=True))
    )
    return (
        _counts_unlike(own, kinds, body, hint)
        or _is_year_above_fractions(own, kinds, body)
        or _lies_outside(own, kinds, body)
    )


def _is_further_header(
    rows: Sequence[Sequence[str]], own: _Numbers, kinds: list[bool | None], i: int, last: int | None
) -> bool:
    """Return whether a row that is not the first is part of the header: no number above numbers, but words.

    A record that holds words by mistake must not be lost: where it could be one, all words must be units.
    """
    row = rows[i]
    numeric = [j for j, kind in enumerate(kinds) if kind]
    words = [row[j] for j in numeric if own[j] is None and not is_missing(row[j])]
    if not words or any(own[j] is not None for j in numeric):
        return False
    if all(_is_unit(word) for word in words):
        return True
    names_more = all(
        len(set(row)) > len(set(filter(None, above))) for above in rows[:i] if len(above) == len(row)
    )
    others = any(row[j] for j, kind in enumerate(kinds) if not kind)
    return len(words) == len(numeric) and (
        last is None or (names_more and all(row)) or (len(numeric) > 1 and not others)
    )


def _is_unit(word: str) -> bool:
    return bool(re.fullmatch(r"[(\[].*[)\]]", word)) or word.lower() in UNITS or word.lower() in _TYPES


def _is_count(numbers: Sequence[float | None]) -> bool:
    """Return whether all are whole numbers with the same step from each to the next."""
    if len(numbers) < 2 or any(number is None or not number.is_integer() for number in numbers):
        return False
    steps = {b - a for a, b in itertools.pairwise(numbers) if a is not None and b is not None}
    return len(steps) == 1 and steps != {0.0}


def _are_row_names(numbers: Sequence[float | None]) -> bool:
    """Return whether the first column holds words, or numbers that count up by one."""
    if len(numbers) < 2 or None in numbers:
        return None in numbers
    return numbers[0] in (0, 1) and numbers[1] == numbers[0] + 1 and _is_count(numbers)


def _are_years(numbers: Sequence[float | None]) -> bool:
    """Return whether all are years that rise, or fall, from each to the next."""
    years = [number for number in numbers if number is not None]
    if (
        any(not year.is_integer() or not _FIRST_YEAR <= year <= _LAST_YEAR for year in years)
        or len(years) < 2
    ):
        return False
    return years == sorted(set(years)) or years == sorted(set(years), reverse=True)


def _counts_unlike(own: _Numbers, kinds: list[bool | None], body: Sequence[_Numbers], hint: bool) -> bool:
    """Return whether the first row counts (0, 1, 2 or 1990, 2000), and the rows below do not."""
    places = [j for j, number in enumerate(own) if number is not None]
    numbers = [own[j] for j in places]
    if not body or len(places) < 2:
        return False
    numeric = [j for j in places if kinds[j]]
    below = [[row[j] for j in numeric if j < len(row)] for row in body]

    def is_rare(test: Callable[[Sequence[float | None]], bool]) -> bool:
        return 2 * sum(test(row) for row in below) < len(below)

    if _are_years(numbers) and is_rare(_are_years):
        return True
    if not _is_count(numbers) or (len(numeric) > 2 and not is_rare(_is_count)):
        return False
    if numbers[:2] == [0, 1]:
        return hint or len(numbers) > 2 or not _occurs_below(own, numeric, body)
    return len(numbers) > 3 or (hint and (len(numbers) > 2 or numbers == [1, 2]))


def _is_year_above_fractions(own: _Numbers, kinds: list[bool | None], body: Sequence[_Numbers]) -> bool:
    """Return whether the only number is a year, and no number below it is whole."""
    places = [j for j, number in enumerate(own) if number is not None]
    if len(places) != 1 or not kinds[places[0]]:
        return False
    year = own[places[0]]
    below = [row[places[0]] for row in body if places[0] < len(row)]
    known = [number for number in below if number is not None]
    is_year = year is not None and year.is_integer() and _FIRST_YEAR <= year <= _LAST_YEAR
    return is_year and len(known) > 0 and not any(number.is_integer() for number in known)


def _occurs_below(own: _Numbers, numeric: list[int], body: Sequence[_Numbers]) -> bool:
    """Return whether the numbers are like those below: each occurs there, or a column counts on from it."""
    columns = {j: [row[j] for row in body if j < len(row)] for j in numeric}
    if all(own[j] in columns[j] for j in numeric):
        return True
    return any(len(columns[j]) > 1 and _is_count([own[j], *columns[j]]) for j in numeric)


def _lies_outside(own: _Numbers, kinds: list[bool | None], body: Sequence[_Numbers]) -> bool:
    """Return whether all numbers of the first row lie far outside what their columns hold."""
    numbers = [number for number in own if number is not None]
    may_be_names = len(numbers) > 2 or all(number.is_integer() for number in numbers)
    if not may_be_names or len(set(numbers)) < len(numbers):
        return False
    far = 1 if len(body) >= _MANY else _FAR
    if len(numbers) == 1:  # perhaps a single outlier
        far = _VERY_FAR
    evidence = 0
    for j, number in enumerate(own):
        below = [value for row in body if j < len(row) and (value := row[j]) is not None]
        if number is None or not kinds[j] or not below:
            continue
        low, high = min(below), max(below)
        is_sorted = below in (sorted(below), sorted(below, reverse=True))
        if max(low - number, number - high) <= max(far, _FAR * is_sorted) * (high - low):
            return False
        evidence += high > low
    return evidence > (len(numbers) > 1)
