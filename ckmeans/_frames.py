"""Data frames and series of any library as arrays; no library is imported that the caller did not import."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ckmeans import _objects
from ckmeans._columns import Column, joined
from ckmeans._places import Names

_PROTOCOLS = ("__arrow_c_stream__", "__dataframe__")
_PANDAS_KINDS = {"M": "dates or times", "m": "durations", "c": "complex numbers"}


def is_frame(value: Any) -> bool:
    """Return whether this is a data frame, a lazy one too, or a series."""
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return True
    return type(value).__name__ == "LazyFrame" or any(hasattr(value, name) for name in _PROTOCOLS)


def read(name: str, value: Any) -> tuple[np.ndarray, Names | None] | None:
    """Return the values and names of a data frame, or the values of a series; None if it is neither."""
    if type(value).__name__ == "LazyFrame":
        raise TypeError(f"{name} is a LazyFrame, which holds no values yet: call collect() first")
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return _pandas_frame(name, value, pandas)
        if isinstance(value, (pandas.Series, pandas.Index)):
            return _pandas_series(name, value, pandas), None
    library = type(value).__module__.partition(".")[0]
    if library == "narwhals" and hasattr(value, "to_native"):
        return read(name, value.to_native())
    if library == "dask" and hasattr(value, "compute"):
        value = value.compute()
        return (value, None) if isinstance(value, np.ndarray) else read(name, value)
    if hasattr(value, "__arrow_c_stream__"):
        return _arrow_table(name, value)
    if hasattr(value, "__dataframe__"):
        return _interchanged_frame(name, value)
    return None


def _arrow_table(name: str, table: Any) -> tuple[np.ndarray, Names | None]:
    from ckmeans import _arrow

    with _arrow.columns(name, table) as (columns, names):
        if names is None:
            return joined(name, columns, Names())[:, 0], None
        return joined(name, columns, Names(names)), Names(names)


def _interchanged_frame(name: str, frame: Any) -> tuple[np.ndarray, Names] | None:
    from ckmeans import _interchange

    try:
        with _interchange.columns(name, frame) as (columns, names):
            return joined(name, columns, Names(names)), Names(names)
    except (AttributeError, NotImplementedError):  # a part of the protocol is not there
        return None


# ---- pandas -------------------------------------------------------------------------------------


def _pandas_frame(name: str, frame: Any, pandas: Any) -> tuple[np.ndarray, Names]:
    m = len(frame)
    index = frame.index
    is_plain = isinstance(index, pandas.RangeIndex) and (index.start, index.step) == (0, 1)
    names = Names(frame.columns, None if is_plain else index)
    dtypes = set(frame.dtypes)
    dtype = next(iter(dtypes), None)
    if len(dtypes) == 1 and isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return frame.to_numpy(), names  # a view, where pandas holds one block
    columns = [_pandas_column(name, frame.iloc[:, j], j, names, pandas) for j in range(frame.shape[1])]
    return joined(name, columns, names) if columns else np.empty((m, 0)), names


def _pandas_series(name: str, series: Any, pandas: Any) -> np.ndarray:
    column = _pandas_column(name, series, 0, Names(), pandas)
    return joined(name, [column], Names())[:, 0]


def _pandas_column(name: str, series: Any, j: int, names: Names, pandas: Any) -> Column:
    """Return the j-th column, a series or an index; objects that are no numbers raise here."""
    dtype = series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return _categories(name, series, j, names, pandas)
    stored = dtype.subtype if isinstance(dtype, pandas.SparseDtype) else getattr(dtype, "numpy_dtype", dtype)
    if stored.kind in "biuf":
        if isinstance(dtype, (np.dtype, pandas.SparseDtype)):
            return Column([np.asarray(series.array)], [None])
        numpy_dtype = stored if isinstance(stored, np.dtype) else np.dtype(np.float64)
        return Column([series.to_numpy(dtype=numpy_dtype, na_value=0)], [np.asarray(series.isna())])
    kind = "text" if issubclass(dtype.type, str) else _PANDAS_KINDS.get(stored.kind, "")
    if kind:
        return Column([], [], kind)
    objects = np.asarray(series, dtype=object)
    return Column([_objects.as_numbers(name, objects, lambda row: names.place(row, j))], [None])


def _categories(name: str, series: Any, j: int, names: Names, pandas: Any) -> Column:
    """Return a column of categories as the numbers that they stand for."""
    keys = series.dtype.categories
    codes = np.asarray(series.array.codes)
    missing = codes < 0
    in_keys = Names(names.columns)  # a category has no row
    column = _pandas_column(name, keys, j, in_keys, pandas)
    if column.kind or not len(keys):
        return Column([np.zeros(len(codes))], [missing], column.kind)
    return Column([column.parts[0][codes]], [missing])
