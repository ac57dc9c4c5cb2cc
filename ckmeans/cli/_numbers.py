"""Numbers as people and spreadsheets write them: thousands, currency and unit signs, TRUE and FALSE."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple

import numpy as np

__all__ = ["MISSING_WORDS", "UNITS", "Parsed", "is_missing", "number_of", "parse_column"]

# What stands for a missing value, in lower case: pandas' own words, and those of spreadsheets and UCI files.
_MISSING = """
na nan n/a <na> #n/a #na null none ? - -- . -nan 1.#ind -1.#ind 1.#qnan -1.#qnan
#div/0! #value! #ref! #num! #name? #null!
"""
MISSING_WORDS = frozenset(_MISSING.split()) | {"", "#n/a n/a"}
# Units that may follow a number without a blank; after a blank any word may, if all values have it.
_UNITS = """
nm um µm μm mm cm dm m km in ft yd mi mm2 cm2 m2 km2 ha mm² cm² m² km² cm3 m3 cm³ m³ ml cl dl l µg μg mg g
kg t lb lbs oz ns us µs μs ms s sec min h hr hrs days yr yrs years % ‰ ° °c °f pa hpa kpa mpa bar mbar psi hz
khz mhz ghz v mv kv ma w kw mw kwh wh kj cal kcal mol mmol kb mb gb tb kib mib gib px pt km/h kmh mph m/s ppm
ppb db rpm hp cc
"""
UNITS = frozenset(_UNITS.split())
_CURRENCY_WORDS = """
usd eur gbp jpy chf cad aud nzd cny rmb inr brl mxn sek nok dkk pln czk huf try zar rub krw sgd hkd thb
rs rs. fr fr. kr kr. zł kč ft lei
"""
_CURRENCIES = frozenset(_CURRENCY_WORDS.split())
_BOOLEANS = {"true": 1.0, "false": 0.0}
_LONGEST = 60  # characters of a number with its signs
_ENOUGH = 1000  # distinct values that tell a column of words
_BLANK = "[ \u00a0\u2007\u2009\u202f]"
_AFFIX = r"[^\W\d_][^\d\s,;()+\-]*[23]?|[^\w\s.,;:()+\-<>=~*/\\#&@!?\"'|\[\]{}]+[^\W\d_]*"
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LEADING_ZEROS = re.compile(r"[+-]?0\d+")


class Parsed(NamedTuple):
    """A column of text as numbers.

    Attributes: the values, NaN where one is missing or is no number; where one is no number; how many
    different values are none; whether whole numbers have leading zeros, as codes have; the decimal sign; the
    thousands separators, currencies and units that the numbers have.
    """

    values: np.ndarray
    is_bad: np.ndarray
    n_bad: int
    has_leading_zeros: bool
    decimal: str
    signs: list[str]


def is_missing(text: str) -> bool:
    """Return whether a field stands for a missing value."""
    return text.strip().lower() in MISSING_WORDS


def number_of(text: str, decimal: str = ".", thousands: str | None = None) -> float | None:
    """Return the number that a field holds, with signs and units that are known; None if there is none."""
    if _PLAIN.fullmatch(text) and (decimal == "." or "." not in text):
        return float(text)
    found = _parse(text, decimal, thousands)
    if found is None or not (found.affix[1] == "" or _is_unit(found.affix[1], has_blank=False)):
        return None
    return found.value


def parse_column(values: np.ndarray, decimal: str, thousands: str | None, *, is_fixed: bool) -> Parsed:
    """Parse a column of strings, which may hold numbers and missing values too.

    The decimal sign may be another one than the table's, unless it `is_fixed` by the user, if that makes
    more of the column numbers.
    """
    import pandas as pd

    codes, distinct = pd.factorize(np.asarray(values, object), use_na_sentinel=True)
    texts = [str(value).strip() for value in distinct]
    best = _parse_texts(texts, decimal, thousands)
    if not is_fixed and thousands is None and best.is_bad.any():
        other = _parse_texts(texts, "," if decimal == "." else ".", thousands)
        best = min(best, other, key=lambda parsed: parsed.n_bad)
    # The code of a missing value is -1.
    values, is_bad = np.append(best.values, np.nan)[codes], np.append(best.is_bad, False)[codes]
    return best._replace(values=values, is_bad=is_bad)


def _parse_texts(texts: list[str], decimal: str, thousands: str | None) -> Parsed:
    values, is_bad = np.full(len(texts), np.nan), np.ones(len(texts), bool)
    found: dict[int, _Number] = {}
    for i, text in enumerate(texts):
        if text.lower() in MISSING_WORDS:
            is_bad[i] = False
        elif (number := _parse(text, decimal, thousands)) is not None:
            found[i] = number
        if i == _ENOUGH and len(found) < i / 20:
            break  # words; the rest stays marked as no numbers
    # Some zeros may do without their unit. Of values in several units only the plain ones are numbers.
    affixes = {number.affix for number in found.values() if number.value != 0 or any(number.affix)}
    if 2 * sum(any(number.affix) for number in found.values()) <= len(found):
        affixes.add(("", ""))
    for i, number in found.items():
        if len(affixes) == 1 or not any(number.affix):
            values[i], is_bad[i] = number.value, False
    separators = {number.separator: None for number in found.values() if number.separator}
    units = {word: None for affix in sorted(affixes) for word in affix if word and len(affixes) == 1}
    leading_zeros = any(_LEADING_ZEROS.fullmatch(texts[i]) for i in found)
    return Parsed(values, is_bad, int(is_bad.sum()), leading_zeros, decimal, [*separators, *units])


class _Number(NamedTuple):
    value: float
    affix: tuple[str, str]
    separator: str


def _parse(text: str, decimal: str, thousands: str | None) -> _Number | None:
    """Return a number with the signs before and after it and its thousands separator; None if it is none."""
    text = text.strip()
    if not 0 < len(text) <= _LONGEST:
        return None
    if text.lower() in _BOOLEANS:
        return _Number(_BOOLEANS[text.lower()], ("", ""), "")
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return _Number(float(text), ("", ""), "")
    found = _pattern(decimal, thousands).fullmatch(text)
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    before, after, separator = found["before"] or "", found["after"] or "", found["separator"] or ""
    if not _is_currency(before) or not _is_unit(after, bool(found["blank"])):
        return None
    whole = found["whole"] or ""
    if separator and not _is_grouped(whole.split(separator), separator):
        return None
    digits = whole.replace(separator, "") if separator else whole
    fraction = found["fraction"] or found["only"] or ""
    value = float(f"{digits or '0'}.{fraction or '0'}{found['exponent'] or ''}")
    negative = bool(found["open"]) or (found["sign"] or found["inner_sign"] or "+") != "+"
    return _Number(-value if negative else value, (before, _singular(after)), separator)


@functools.cache
def _pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    point = re.escape(decimal)
    separator = re.escape(thousands) if thousands else f"[{',' if decimal == '.' else '.'}'\u2019]|{_BLANK}"
    whole = rf"(?P<whole>[0-9]+(?:(?P<separator>{separator})[0-9]+(?:(?P=separator)[0-9]+)*)?)"
    number = (
        rf"(?:{whole}(?:{point}(?P<fraction>[0-9]*))?|{point}(?P<only>[0-9]+))(?P<exponent>[eE][-+]?[0-9]+)?"
    )
    sign = "[-+\u2212\u2013]"  # also the minus sign and the dash
    return re.compile(
        rf"(?P<open>\()?(?P<sign>{sign})?{_BLANK}*(?P<before>{_AFFIX})?{_BLANK}*(?P<inner_sign>{sign})?{_BLANK}*"
        rf"{number}(?P<blank>{_BLANK}*)(?P<after>{_AFFIX})?(?P<close>\))?"
    )


def _is_grouped(groups: list[str], separator: str) -> bool:
    """Return whether digits are grouped by threes; with commas also as in India, by two first."""
    first, *middle, last = groups
    if first.startswith("0") or len(last) != 3:
        return False
    threes = len(first) <= 3 and all(len(group) == 3 for group in middle)
    return threes or (separator == "," and len(first) <= 2 and all(len(group) == 2 for group in middle))


def _is_currency(sign: str) -> bool:
    has_symbol = len(sign) <= 4 and any(unicodedata.category(letter) == "Sc" for letter in sign)
    return not sign or has_symbol or sign.lower() in _CURRENCIES


def _is_unit(sign: str, has_blank: bool) -> bool:
    return not sign or has_blank or sign.lower() in UNITS or _is_currency(sign)


def _singular(unit: str) -> str:
    return unit.removesuffix("s") if len(unit) > 3 else unit
