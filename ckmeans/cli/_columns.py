"""Which columns of a table are clustered.

A column is left out if it holds text, if it is an index (it has no name, or its whole numbers count up by one
from record to record), or if it is an identifier: its name says so and its values are all different. Codes
that could be read as numbers, such as 10_1 and 00501, are text. What the user chooses overrules all this.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans import _validate
from ckmeans.cli._numbers import parse_column
from ckmeans.cli._table import Table, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chosen", "Column", "choose_columns", "column_index", "split_names"]

_MIN_INDEX = 3  # records below which a column that counts up may be a coincidence
_MANY_WORDS = 10  # different words that make text of a column with numbers
_MAX_CODES = 10  # different values of a class code
# Last words of a name that say that it identifies; those of _NUMBERS do after a thing: customer number.
_IDENTIFIERS = """
id ids uid uuid guid pid cid identifier identifiers code codes key keys sku isbn issn ean upc iban ssn vin
imei zip zipcode postcode postal barcode phone telephone fax fips geoid idx rownames rowname pk codigo código
identificador identifiant kennung kode matricule matricula
"""
_NUMBERS = frozenset(["no", "nr", "num", "number", "nummer", "numero", "número", "#"])
_THINGS = """
account acct article booking card case client contract customer document employee flight invoice item line
member order part patient phone policy product record reference row sample serial student ticket transaction
kunden auftrags
"""
# Words that end in "id" without being identifiers.
_NO_IDS = """
acid amid arid avid bid covid fluid grid humid hybrid kid lid lipid liquid mid orchid rapid rid skid solid
squid valid
"""
_CLASSES = """
class classes label labels target category cat type kind species cluster group segment outcome diagnosis
region channel gender sex code status y survived
"""


class Column(NamedTuple):
    """A column as numbers.

    Attributes: the values as numbers, where one is missing, where one is no number, whether it holds text, or
    codes that look like numbers, and the signs of its numbers.
    """

    values: np.ndarray
    is_missing: np.ndarray
    is_bad: np.ndarray
    is_text: bool
    is_code: bool
    signs: list[str]


class Chosen(NamedTuple):
    """The columns that are clustered, and why the others are not.

    Attributes: the indices of the columns; the columns; names and reasons of those left out; names of those
    that look like class codes; names of those that are named like identifiers, but repeat.
    """

    indices: list[int]
    columns: list[Column]
    left_out: dict[str, str]
    class_codes: list[str]
    repeated_ids: list[str]


def split_names(text: str | None) -> list[str]:
    """Return the names of a list such as ``a,b,"c, d"``."""
    if text is None:
        return []
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def column_index(table: Table, name: str) -> int:
    """Return which column has the name; raise ValueError if none or several have it."""
    found = [j for j, other in enumerate(table.names) if other == name]
    if len(found) > 1:
        raise ValueError(f"two columns are named {name!r}")
    if not found:
        names = ", ".join(map(shown, table.names[:50])) + (", ..." if len(table.names) > 50 else "")
        raise ValueError(f"there is no column {name!r}: there are {names}")
    return found[0]


def choose_columns(
    table: Table, columns: Sequence[str] = (), drop: Sequence[str] = (), ids: Sequence[str] = ()
) -> Chosen:
    """Choose the columns to cluster.

    Parameters
    ----------
    table : Table
    columns : sequence of str
        The names of the columns, in this order; by default the rule chooses.
    drop : sequence of str
        Columns to leave out.
    ids : sequence of str
        Columns that identify the records.

    Returns
    -------
    Chosen

    Raises
    ------
    ValueError
        If a name is unknown, a column that was asked for holds no numbers, or none does.
    """
    dropped = {j: "dropped" for name in drop for j, other in enumerate(table.names) if other == name}
    for name in drop:
        if name not in table.names:
            column_index(table, name)
    dropped |= {column_index(table, name): "identifier" for name in ids}
    if columns:
        return _asked_for(table, columns, dropped)
    read = {j: _numbers(table, j) for j in range(len(table.names)) if j not in dropped}
    reasons = dict(dropped)
    for j, column in read.items():
        if reason := _reason(table.names[j], column):
            reasons[j] = reason
    chosen = [j for j in read if j not in reasons]
    if not chosen:  # a single column that counts up is no index of anything
        chosen = [j for j in read if reasons[j] == _COUNTS]
    if not chosen:
        raise ValueError("no column holds numbers" + _what_there_is(table, reasons))
    names = [table.names[j] for j in chosen]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two columns are named {name!r} (--drop leaves them out)")
    left_out = {shown(table.names[j]): reasons[j] for j in sorted(reasons) if j not in chosen}
    codes = [table.names[j] for j in chosen if _is_class_code(table.names[j], read[j])]
    repeated = [table.names[j] for j in chosen if _says_identifier(table.names[j])]
    return Chosen(chosen, [read[j] for j in chosen], left_out, codes, repeated)


def _what_there_is(table: Table, reasons: dict[int, str]) -> str:
    if all(reason == _TEXT for reason in reasons.values()):
        return " (--sep and --decimal say how they are written)" if len(reasons) == 1 else ""
    listed = [f"{shown(table.names[j])} ({reason})" for j, reason in sorted(reasons.items())]
    return f": left out are {', '.join(listed[:20])} (--columns takes those that it names)"


def _asked_for(table: Table, names: Sequence[str], dropped: dict[int, str]) -> Chosen:
    indices = list(dict.fromkeys(column_index(table, name) for name in names))
    for j in indices:
        if dropped.get(j) == "identifier":
            raise ValueError(f"column {table.names[j]!r} cannot be both in --columns and --id")
    indices = [j for j in indices if j not in dropped]
    if not indices:
        raise ValueError("--drop leaves none of --columns")
    columns = [_numbers(table, j) for j in indices]
    for j, column in zip(indices, columns, strict=True):
        if column.is_text:
            raise ValueError(f"column {table.names[j]!r} does not hold numbers{_example(table, j, column)}")
    return Chosen(indices, columns, {}, [], [])


def _example(table: Table, j: int, column: Column) -> str:
    bad = np.flatnonzero(column.is_bad)
    if not len(bad):
        return ""
    cell = table.cell(int(bad[0]), j)
    return f": {cell.place} holds {_validate.shorten_repr(cell.text)}"


# ---- numbers -----------------------------------------------------------------------------------------


def _numbers(table: Table, j: int) -> Column:
    """Return a column as numbers, whatever stores them."""
    series = table.frame[j]
    kind = getattr(series.dtype, "kind", "O")
    none = np.zeros(len(series), bool)
    if kind in "iub" and isinstance(series.dtype, np.dtype):
        return Column(series.to_numpy(), none, none, False, False, [])
    if kind == "f" and isinstance(series.dtype, np.dtype):
        values = series.to_numpy()
        return Column(values, np.isnan(values), none, False, False, [])
    if kind in "iubf":  # pandas' own types with missing values
        values = series.to_numpy(np.float64, na_value=np.nan)
        return Column(values, np.isnan(values), none, False, False, [])
    if kind in "mMc":
        return Column(np.full(len(series), np.nan), none, ~none, True, False, [])
    return _numbers_of_objects(table, series)


def _numbers_of_objects(table: Table, series: pd.Series[Any]) -> Column:
    values = series.astype(object).to_numpy()
    try:
        parsed = parse_column(values, table.decimal, table.thousands, is_fixed=table.decimal_is_fixed)
    except TypeError:  # lists and the like, which cannot be hashed
        none = np.zeros(len(values), bool)
        return Column(np.full(len(values), np.nan), none, ~none, True, False, [])
    is_missing = np.isnan(parsed.values) & ~parsed.is_bad
    known = len(values) - int(is_missing.sum())
    # A few words among numbers are mistakes; many different ones are not.
    n_words = int(parsed.is_bad.sum())
    is_text = 2 * n_words > known or (parsed.n_bad >= _MANY_WORDS and 10 * n_words > known)
    return Column(parsed.values, is_missing, parsed.is_bad, is_text, parsed.has_leading_zeros, parsed.signs)


# ---- the rule ----------------------------------------------------------------------------------------

_TEXT, _COUNTS = "text", "counts up by one"


def _reason(name: str, column: Column) -> str | None:
    """Return why a column is left out, None if it is not."""
    if column.is_text:
        return _TEXT
    if column.is_missing.all():
        return "empty"
    if column.is_code:
        return "codes with leading zeros"
    says_identifier = _says_identifier(name)
    if says_identifier and column.is_bad.any():
        return "codes"
    if _is_unnamed(name):
        return "index"
    if not column.is_bad.any() and _counts_up(column):
        return _COUNTS
    if says_identifier and not column.is_bad.any() and _all_differ(column):
        return "identifier"
    return None


def _is_unnamed(name: str) -> bool:
    # What pandas, readr and lists of records call a column without a name.
    return name in ("", "#") or re.fullmatch(r"Unnamed: \d+|\.\.\.\d+|__index_level_\d+__", name) is not None


def _counts_up(column: Column) -> bool:
    values = column.values
    if len(values) < _MIN_INDEX or column.is_missing.any() or values.dtype.kind == "b":
        return False
    if values[1] != values[0] + 1 or values[0] != np.floor(values[0]):  # most columns end here
        return False
    with np.errstate(over="ignore", invalid="ignore"):  # there may be infinities
        return bool((np.diff(values.astype(np.float64)) == 1).all())


def _all_differ(column: Column) -> bool:
    known = column.values[~column.is_missing]
    return len(np.unique(known)) == len(known)


def _says_identifier(name: str) -> bool:
    """Return whether a name says that the column identifies: id, CustomerID, customer_id, order no."""
    # ALLCAPSWord and camelCase fall apart; digits at the end do not count.
    parts = re.sub(r"([a-z\d])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    words = [word for word in re.split(r"[^\w#]+|_+", parts.lower()) if word.strip("0123456789")]
    words = [word.rstrip("0123456789") for word in words]
    if not words:
        return False
    last = words[-1]
    if last in _IDENTIFIERS.split() or _ends_in_id(last) or words[0] == "id" or words in (["index"], ["row"]):
        return True
    things = [*words[:-1], last.removesuffix("nummer"), last.removesuffix("number"), last.removesuffix("no")]
    is_numbered = last in _NUMBERS or last.endswith(("nummer", "number", "no"))
    return is_numbered and any(thing in _THINGS.split() for thing in things)


def _ends_in_id(word: str) -> bool:
    return (
        len(word) > 3
        and word.endswith("id")
        and word not in _NO_IDS.split()
        and not word.endswith(("oid", "aid"))
    )


def _is_class_code(name: str, column: Column) -> bool:
    """Return whether a column could be a class: whole numbers, few different ones, or a name that says so."""
    import pandas as pd

    values = column.values[~(column.is_missing | column.is_bad)]
    if values.dtype.kind == "b" or column.signs or len(values) == 0:
        return False
    head = np.unique(values[:1000])
    if len(head) > _MAX_CODES:
        return False
    different = pd.unique(values)
    words = {word for word in re.split(r"[\W_\d]+", name.lower()) if word}
    classes = set(_CLASSES.split())
    many = 3 if words & classes else 10  # records for each value on average that make it a class code
    few = (
        len(different) <= _MAX_CODES
        and len(different) >= 2
        and many * len(different) <= max(len(values), many)
    )
    named = bool(words & classes) and len(different) < len(values)
    return bool(
        (few or (named and len(different) <= _MAX_CODES)) and (different == np.floor(different)).all()
    )
