"""Models in files: a saved result, and how its points were made from a table's columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckmeans import _result_io
from ckmeans._result import Result
from ckmeans._validate import METRICS
from ckmeans.cli._features import MISSING_RULES, Recipe

__all__ = ["load_model", "save_model"]


def save_model(result: Result, recipe: Recipe, path: str) -> None:
    """Write a model, which `ckmeans.load` reads too, as a result."""
    table = recipe._asdict()
    if recipe.metric == "euclidean":  # as in files that know no other
        del table["metric"]
    _result_io.save(result, path, table)


def load_model(path: str) -> tuple[np.ndarray, Recipe]:
    """Return the centroids of a model and its recipe.

    Raises ValueError if the file is damaged, or was saved without a recipe.
    """
    fields, table = _result_io.read_table_recipe(path)
    if table is None:
        raise ValueError(f"{path} holds no columns: only ckmeans cluster --save writes a model for tables")
    centroids: np.ndarray = fields["centroids"]
    try:
        recipe = Recipe(**table)
        _check(recipe, centroids.shape[1])
    except (TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{path} is not a saved model, or it is damaged (its columns do not agree)"
        ) from None
    return centroids, recipe


def _check(recipe: Recipe, n: int) -> None:
    lists: list[Any] = [recipe.fill] if recipe.fill is not None else []
    lists += recipe.scaling or []
    numbers = np.array(lists, np.float64).reshape(len(lists), n)
    columns = recipe.columns
    consistent = (
        len(columns) == n
        and all(isinstance(name, str) for name in columns)
        and recipe.missing in MISSING_RULES
        and recipe.metric in METRICS
        and (recipe.fill is not None) == (recipe.missing in ("mean", "median"))
        and len(recipe.scaling or [0, 0, 0]) == 3
        and bool(np.isfinite(numbers).all())
    )
    if not consistent:
        raise ValueError
