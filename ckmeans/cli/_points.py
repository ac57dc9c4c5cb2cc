"""The points of a subcommand: options that choose a table's columns, and the table read by them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ckmeans.cli._columns import Chosen, choose_columns, split_names
from ckmeans.cli._features import MISSING_RULES, Points, Recipe, apply_recipe, make_recipe
from ckmeans.cli._read_options import ReadOptions, add_read_options, read_options
from ckmeans.cli._report import table_figures
from ckmeans.cli._table import Table
from ckmeans.cli._tables import read_table

__all__ = ["TablePoints", "add_table_options", "read_again", "read_points", "table_options"]


class TablePoints(NamedTuple):
    """A table, the points it makes, how they were made, and what the report says of it."""

    table: Table
    points: Points
    recipe: Recipe
    figures: dict[str, Any]


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the table, its columns, and how it is read to a subcommand that fits."""
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="CSV, TSV or other text, Parquet, Feather, .xlsx, .npy, .npz; - for stdin",
    )
    parser.add_argument("--columns", metavar="A,B,...", help="use only these columns, by name")
    parser.add_argument("--drop", metavar="A,B,...", help="leave these columns out")
    parser.add_argument(
        "--id", metavar="A,...", help="columns that identify the records: kept, not clustered"
    )
    parser.add_argument("--scale", action="store_true", help="give every column the same variance first")
    parser.add_argument(
        "--missing",
        choices=MISSING_RULES,
        default="error",
        help="records that lack a value: an error, dropped, or filled by the column's mean or median (error)",
    )
    add_read_options(parser)


def table_options(arguments: argparse.Namespace) -> ReadOptions:
    """Return how the table is to be read, checked before it is read."""
    names = [name for text in (arguments.columns, arguments.drop, arguments.id) for name in split_names(text)]
    options = read_options(arguments)
    return options._replace(names=frozenset(names), fills_short_lines=arguments.missing != "error")


def read_points(arguments: argparse.Namespace, options: ReadOptions) -> TablePoints:
    """Read the table and make the points of its columns."""
    table = read_table(arguments.table, options)
    with _named(arguments.table):
        chosen = choose_columns(
            table, split_names(arguments.columns), split_names(arguments.drop), split_names(arguments.id)
        )
        recipe, points = make_recipe(table, chosen, arguments.missing, scale=arguments.scale)
    return _table_points(arguments.table, table, chosen, points, recipe)


def read_again(path: str, options: ReadOptions, recipe: Recipe, ids: Sequence[str]) -> TablePoints:
    """Read another table with the recipe's columns, and make its points in the same way."""
    table = read_table(path, options._replace(names=frozenset(recipe.columns)))
    with _named(path):
        chosen = choose_columns(table, recipe.columns, ids=ids)
        points = apply_recipe(table, chosen, recipe)
    return _table_points(path, table, chosen, points, recipe)


def _table_points(path: str, table: Table, chosen: Chosen, points: Points, recipe: Recipe) -> TablePoints:
    figures = table_figures(path, table, chosen, points, recipe.scaling is not None)
    return TablePoints(table, points, recipe, figures)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Put the table's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
