"""A table as it was read, whatever the format of its file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["NO_NAME", "Cell", "Table", "shown"]

NO_NAME = "(no name)"


class Cell(NamedTuple):
    """Where a value stands in its file, and how it is written there."""

    place: str
    text: str


class Table(NamedTuple):
    """The records of a file.

    Attributes
    ----------
    frame : DataFrame
        The columns, labelled by their positions: numbers where all values are plain numbers, else what the
        file holds.
    names : list of str
        The columns' names, not always different; those of a table without a header are "0", "1" and so on.
    about : dict
        How it was read, for the report.
    cell : callable
        ``cell(record, column)`` returns the Cell of a value, for messages.
    decimal : str
        The decimal sign of numbers that are text.
    decimal_is_fixed : bool
        Whether the user gave it.
    thousands : str or None
        The thousands separator, if the user gave it.
    as_written : callable or None
        Returns the records as the file holds them, as a frame of strings; None if `frame` holds them.
    array : ndarray or None
        The array that `frame` shows, if the file holds one.
    """

    frame: pd.DataFrame
    names: list[str]
    about: dict[str, Any]
    cell: Callable[[int, int], Cell]
    decimal: str = "."
    decimal_is_fixed: bool = False
    thousands: str | None = None
    as_written: Callable[[], pd.DataFrame] | None = None
    array: np.ndarray | None = None


def shown(name: str) -> str:
    """Return a column's name for reports."""
    return name or NO_NAME
