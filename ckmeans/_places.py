"""Where a value stands, in words, and the errors that name it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, NoReturn, TypeAlias

Place: TypeAlias = tuple[int, int, float]  # row, column, value


def shorten_repr(value: object) -> str:
    """Return a short form of a value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Names(NamedTuple):
    """The names of a data frame's columns and rows.

    Attributes
    ----------
    columns : sequence, optional
        None: there is one column, a series.
    rows : sequence, optional
        Labels of the rows; None: their numbers.
    """

    columns: Any = None
    rows: Any = None

    def column(self, column: int) -> str:
        """Return in which column, in words; nothing for a series."""
        return "" if self.columns is None else f" in column {_in_words(self.columns[column])}"

    def row(self, row: int) -> str:
        """Return a row in words."""
        return f"row {row if self.rows is None else _in_words(self.rows[row])}"

    def place(self, row: int, column: int) -> str:
        """Return a place in words."""
        return (
            f"at {self.row(row)}" if self.columns is None else f"{self.column(column)[1:]}, {self.row(row)}"
        )


def _in_words(label: Any) -> str:
    """Return a label as the user wrote it; NumPy's scalars without the names of their types."""
    if isinstance(label, (str, tuple)):
        return shorten_repr(label)
    return str(label)


def place_of(row: int, column: int, names: Names | None = None) -> str:
    """Return a place of an array, or of a data frame, in words."""
    return f"at row {row}, column {column}" if names is None else names.place(row, column)


def raise_not_finite(name: str, found: object, place: str) -> NoReturn:
    """Raise for a NaN or an infinity at this place."""
    raise ValueError(f"{name} must be finite, found {found} {place}: drop or fill NaN and infinity first")


def raise_at(name: str, value: float, row: int, column: int, names: Names | None = None) -> NoReturn:
    """Raise for the NaN or infinity that stands here."""
    found = "NaN" if names is not None and math.isnan(value) else value
    raise_not_finite(name, found, place_of(row, column, names))


def raise_not_a_number(name: str, value: object, place: str) -> NoReturn:
    """Raise for an object that is no number at this place; the reason why is what `float` says."""
    try:
        float(value)  # type: ignore[arg-type]
        reason = ""
    except (TypeError, ValueError, OverflowError) as error:
        reason = f" ({shorten_line(error)})"
    raise TypeError(f"{name} must hold real numbers, found {shorten_repr(value)} {place}{reason}")


def raise_not_numbers(name: str, kind: str, where: str) -> NoReturn:
    """Raise for a column that holds something else; `where` is what `Names.column` returns."""
    way_out = "drop it, or turn it into numbers first" if where else "turn it into numbers first"
    raise TypeError(f"{name} must hold real numbers, found {kind}{where}: {way_out}")


def shorten_line(error: object) -> str:
    """Return the first line of an error's message, shortened."""
    line = str(error).partition("\n")[0]
    return line if len(line) <= 120 else f"{line[:117]}..."
