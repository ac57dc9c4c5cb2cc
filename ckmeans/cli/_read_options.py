"""The options that say how a table is to be read where the guess is wrong."""

from __future__ import annotations

import argparse
import codecs
import re
from typing import NamedTuple

from ckmeans.cli._dialect import BLANKS

__all__ = ["ReadOptions", "add_read_options", "read_options"]

_SEPARATOR_WORDS = {
    "\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "space": BLANKS, "blanks": BLANKS,
    "whitespace": BLANKS, " ": BLANKS, "\\s+": BLANKS,
}  # fmt: skip


class ReadOptions(NamedTuple):
    """What the user says about a file; None and False where nothing is said.

    Attributes: as the options; `skip_rows` holds the first and the last line to skip, from 1; `names` are
    columns that the table is known to have; `fills_short_lines` is whether fields that lack at the end of a
    line are missing values instead of an error.
    """

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_rows: tuple[int, int] | None = None
    sheet: str | None = None
    comment: str | None = None
    names: frozenset[str] = frozenset()
    fills_short_lines: bool = False


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand that reads a table."""
    group = parser.add_argument_group("how the table is read (each is guessed, and the report says how)")
    group.add_argument("--sep", metavar="SEP", help="separator of the columns: , ; | tab space")
    group.add_argument("--decimal", metavar="SIGN", help="decimal sign: . or ,")
    group.add_argument("--thousands", metavar="SIGN", help="thousands separator")
    group.add_argument("--encoding", metavar="NAME", help="such as utf-8, latin-1, utf-16")
    header = group.add_mutually_exclusive_group()
    header.add_argument(
        "--header", action="store_true", default=None, help="the first line (after --skip-rows) holds names"
    )
    header.add_argument("--no-header", action="store_false", dest="header", help="the first line is a record")
    group.add_argument(
        "--skip-rows", metavar="N", help="skip the first N lines, or lines A to B with A-B, such as 2-3"
    )
    group.add_argument(
        "--sheet", metavar="NAME", help="sheet of a workbook (name, or number from 1), array of .npz"
    )
    group.add_argument("--comment", metavar="MARK", help="the rest of a line after this is a comment")


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Return the options, checked before any file is read."""
    sep = arguments.sep
    if sep is not None:
        sep = _SEPARATOR_WORDS.get(sep.lower(), sep)
        if len(sep) != 1 and sep != BLANKS:
            raise ValueError(f"--sep must be one character, tab or space, found {arguments.sep!r}")
    if arguments.decimal not in (None, ".", ","):
        raise ValueError(f"--decimal must be . or , found {arguments.decimal!r}")
    thousands = arguments.thousands
    if thousands is not None and (len(thousands) != 1 or thousands.isalnum() or thousands in "+-"):
        raise ValueError(f"--thousands must be one sign, such as , . ' or a blank, found {thousands!r}")
    if thousands is not None and thousands == arguments.decimal:
        raise ValueError(f"--thousands and --decimal must differ, found {thousands!r} for both")
    if sep is not None and sep in (arguments.decimal, arguments.comment):
        raise ValueError(f"--sep must differ from --decimal and --comment, found {sep!r} for both")
    if arguments.comment == "":
        raise ValueError("--comment must not be empty")
    return ReadOptions(
        sep=sep,
        decimal=arguments.decimal,
        thousands=thousands,
        encoding=None if arguments.encoding is None else _encoding(arguments.encoding),
        header=arguments.header,
        skip_rows=None if arguments.skip_rows is None else _lines(arguments.skip_rows),
        sheet=arguments.sheet,
        comment=arguments.comment,
    )


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"--encoding must be an encoding such as utf-8 or latin-1, found {name!r}") from None


def _lines(text: str) -> tuple[int, int]:
    """Return the first and the last line of N or A-B."""
    found = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+)", text)
    first, last = (int(found[1] or 1), int(found[2])) if found else (0, 0)
    if found is None or first < 1 or (found[1] and last < first):
        raise ValueError(f"--skip-rows must be N or A-B, such as 2 or 2-3, found {text!r}")
    return first, last
