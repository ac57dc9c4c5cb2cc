"""From chosen columns to points: missing values, and columns of the same variance.

What was done to the columns of one table, the `Recipe`, can be done to the next one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckmeans import _validate
from ckmeans._inputs import Metric
from ckmeans.cli._columns import Chosen, Column
from ckmeans.cli._table import Table

__all__ = ["MISSING_RULES", "Points", "Recipe", "apply_recipe", "make_recipe"]

MISSING_RULES = ("error", "drop", "mean", "median")
_HINT = " (--missing drop leaves such records out, --missing mean or median fills the value)"


class Recipe(NamedTuple):
    """What is done to columns.

    Attributes: the columns' names; what happens to missing values, one of MISSING_RULES; what fills them in
    each column, if they are filled; and, if columns are scaled, the power of 2 by which each is divided
    first, and the mean and the deviation of what that gives; and the metric by which points are compared.
    """

    columns: list[str]
    missing: str
    fill: list[float] | None
    scaling: tuple[list[float], list[float], list[float]] | None
    metric: Metric = "euclidean"

    def in_table_units(self, centroids: np.ndarray) -> np.ndarray:
        """Return centroids of scaled points in the units of the table; directions, which have none, as is."""
        if self.scaling is None or self.metric == "cosine":
            return centroids
        unit, mean, deviation = map(np.array, self.scaling)
        restored: np.ndarray = centroids * (deviation * unit) + mean * unit
        return restored


class Points(NamedTuple):
    """The points, and which records of the table they are.

    Attributes: X; whether each record is a point, None if all are; how many values were filled.
    """

    X: np.ndarray
    is_kept: np.ndarray | None
    n_filled: int

    def for_all(self, labels: np.ndarray) -> np.ndarray:
        """Return a label for each record, -1 where there is none."""
        if self.is_kept is None:
            return labels
        full = np.full(len(self.is_kept), -1, labels.dtype)
        full[self.is_kept] = labels
        return full

    @property
    def n_without_label(self) -> int:
        """Number of records that are no points."""
        return 0 if self.is_kept is None else int((~self.is_kept).sum())


def make_recipe(table: Table, chosen: Chosen, missing: str, *, scale: bool) -> tuple[Recipe, Points]:
    """Make the points of a table, and the recipe by which they were made.

    Parameters
    ----------
    table : Table
    chosen : Chosen
    missing : str
        One of MISSING_RULES.
    scale : bool
        Whether columns get mean 0 and variance 1.

    Returns
    -------
    tuple of Recipe and Points

    Raises
    ------
    ValueError
        If a value is missing or no finite number; the message names its place.
    """
    names = [table.names[j] for j in chosen.indices]
    _check_values(table, chosen, missing)
    for name, column in zip(names, chosen.columns, strict=True):
        if column.is_missing.all():
            raise ValueError(f"column {name!r} holds no values")
    recipe = Recipe(names, missing, _fill(chosen.columns, missing), None)
    points = _points(recipe, table, chosen)
    if not scale:
        return recipe, points
    X, scaling = _standardize(points.X)
    return recipe._replace(scaling=scaling), points._replace(X=X)


def apply_recipe(table: Table, chosen: Chosen, recipe: Recipe) -> Points:
    """Make the points of another table in the same way; `chosen` holds the recipe's columns."""
    _check_values(table, chosen, recipe.missing)
    points = _points(recipe, table, chosen)
    if recipe.scaling is None:
        return points
    unit, mean, deviation = map(np.array, recipe.scaling)
    return points._replace(X=_scaled(points.X, unit, mean, deviation))


def _check_values(table: Table, chosen: Chosen, missing: str) -> None:
    """Raise for the first value that is no finite number, or missing where that is an error."""
    for j, column in zip(chosen.indices, chosen.columns, strict=True):
        is_wrong = (
            column.is_bad | np.isinf(column.values) if column.values.dtype.kind == "f" else column.is_bad
        )
        if missing == "error":
            is_wrong = is_wrong | column.is_missing
        if not is_wrong.any():
            continue
        record = int(is_wrong.argmax())
        cell, name = table.cell(record, j), table.names[j]
        found = cell.text if table.array is not None else _validate.shorten_repr(cell.text)
        if column.is_missing[record]:
            raise ValueError(f"a value is missing in {cell.place}, column {name!r} (found {found}){_HINT}")
        raise ValueError(
            f"{cell.place}, column {name!r}: {found} is no finite number (--drop leaves columns out)"
        )


def _fill(columns: list[Column], missing: str) -> list[float] | None:
    """Return what fills missing values in each column."""
    if missing not in ("mean", "median"):
        return None
    compute = np.mean if missing == "mean" else np.median
    return [float(compute(column.values[~column.is_missing].astype(np.float64))) for column in columns]


def _points(recipe: Recipe, table: Table, chosen: Chosen) -> Points:
    """Stack the columns, without or with filled missing values."""
    is_missing = [column.is_missing for column in chosen.columns]
    n_missing = sum(int(column.sum()) for column in is_missing)
    if n_missing == 0 and table.array is not None and chosen.indices == list(range(table.array.shape[1])):
        return Points(table.array, None, 0)
    values = [column.values for column in chosen.columns]
    if n_missing == 0:
        return Points(np.column_stack(values), None, 0)
    if recipe.missing == "drop":
        is_kept = ~np.logical_or.reduce(is_missing)
        if not is_kept.any():
            raise ValueError("every record lacks a value: --missing drop leaves none")
        return Points(np.column_stack([column[is_kept] for column in values]), is_kept, 0)
    assert recipe.fill is not None
    filled = [
        np.where(lacks, fill, column)
        for lacks, fill, column in zip(is_missing, recipe.fill, values, strict=True)
    ]
    return Points(np.column_stack(filled), None, n_missing)


# ---- scaling -----------------------------------------------------------------------------------------


def _standardize(X: np.ndarray) -> tuple[np.ndarray, tuple[list[float], list[float], list[float]]]:
    """Return X with columns of mean 0 and variance 1 (0 if constant), and how it was scaled."""
    # First divide by a power of 2, which is exact, so that values are below 2: the squares of the largest
    # float64 values would overflow.
    largest = np.maximum(X.max(axis=0).astype(np.float64), -X.min(axis=0).astype(np.float64))
    unit = np.ldexp(1.0, np.frexp(largest)[1] - 1)
    scaled = X / unit
    mean, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1
    scaled -= mean
    scaled /= deviation
    return scaled, (unit.tolist(), mean.tolist(), deviation.tolist())


def _scaled(X: np.ndarray, unit: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return X scaled as another table was."""
    scaled: np.ndarray = X / unit
    scaled -= mean
    scaled /= deviation
    return scaled
