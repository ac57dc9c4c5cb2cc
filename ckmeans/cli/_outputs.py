"""What the subcommands write: the table with its clusters, labels alone, other tables, figures."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans._atomic_write import check_output, replacing
from ckmeans.cli._table import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check_outputs",
    "check_table_name",
    "cluster_name",
    "save_figure",
    "write_frame",
    "write_labels",
    "write_table",
]

_SEPARATORS = {"tsv": "\t", "tab": "\t"}
_PARQUET = ("parquet", "pq")
_UNKNOWN = ("xlsx", "xls", "ods", "json", "feather", "arrow", "npz", "pkl", "h5", "png", "html")


def check_outputs(table: str, outputs: Iterable[tuple[str, str | None]]) -> None:
    """Check that all outputs can be written, before any work is done; each is an option and a path."""
    given = [(option, path) for option, path in outputs if path is not None]
    for i, (option, path) in enumerate(given):
        target = check_output(path)
        if target.exists() and os.path.exists(table) and target.samefile(table):
            raise ValueError(f"{path}: would overwrite the table")
        for other, earlier in given[:i]:
            if os.path.realpath(earlier) == os.path.realpath(path):
                raise ValueError(f"{path}: both {other} and {option} would be written there")
        if option == "--plot":
            _check_plot(path)


def check_table_name(path: str | None, *, is_npy_allowed: bool) -> None:
    """Check by its name that a table can be written in that format."""
    suffix = _suffix(path or "")
    if suffix in _UNKNOWN or (suffix == "npy" and not is_npy_allowed):
        labels = ", or .npy for the labels alone" if is_npy_allowed else ""
        raise ValueError(f"{path}: the name of a table must end in .csv, .tsv or .parquet{labels}")
    if suffix in _PARQUET and importlib.util.find_spec("pyarrow") is None:
        raise ImportError('Parquet needs pyarrow: pip install "ckmeans-simd[cli]"')


def _check_plot(path: str) -> None:
    """Check that matplotlib is installed and writes this format; select a backend without windows."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError('--plot needs matplotlib: pip install "ckmeans-simd[plot]"') from None
    matplotlib.use("Agg")
    from matplotlib.backend_bases import FigureCanvasBase

    if _suffix(path) not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(f"{path}: the name of a plot must end in .png, .svg or .pdf")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower().removeprefix(".")


def save_figure(ax: Any, path: str) -> None:
    """Write a figure and close it."""
    from matplotlib import pyplot

    try:
        with replacing(path) as file:
            ax.figure.savefig(file, format=_suffix(path))
    finally:
        pyplot.close(ax.figure)


# ---- tables ------------------------------------------------------------------------------------------


def cluster_name(table: Table) -> str:
    """Return the name of the column of clusters, which the table must not have yet."""
    name, count = "cluster", 1
    while name in table.names:
        count += 1
        name = f"cluster_{count}"
    return name


def write_labels(table: Table, labels: np.ndarray, ids: Sequence[str], path: str) -> None:
    """Write a label for each record, -1 or an empty field where there is none, beside the identifiers."""
    import pandas as pd

    if _suffix(path) == "npy":
        with replacing(path) as file:
            np.save(file, labels)
        return
    frame = _as_written(table) if ids else pd.DataFrame(index=range(len(labels)))
    chosen = [table.names.index(name) for name in ids]
    frame = frame[chosen].set_axis(list(ids), axis=1)
    write_frame(frame.assign(label=_nullable(labels)), path)


def write_table(table: Table, labels: np.ndarray, path: str) -> None:
    """Write the table as it was with a column of clusters, empty where there is none."""
    if _suffix(path) == "npy":
        write_labels(table, labels, [], path)
        return
    frame = table.frame if _suffix(path) in _PARQUET else _as_written(table)
    frame = frame.set_axis(table.names, axis=1)
    clusters = _nullable(labels).set_axis(frame.index)
    frame.insert(len(table.names), cluster_name(table), clusters)
    write_frame(frame, path)


def write_frame(frame: pd.DataFrame, path: str) -> None:
    """Write a frame in the format that the name says."""
    suffix = _suffix(path)
    with replacing(path) as file:
        if suffix in _PARQUET:
            _storable(frame).to_parquet(file)
        else:
            named = [level for level in frame.index.names if level is not None]
            frame = frame.reset_index(named) if named else frame
            frame.to_csv(file, sep=_SEPARATORS.get(suffix, ","), index=False, lineterminator="\n")


def _nullable(labels: np.ndarray) -> pd.Series[int]:
    """Return labels as whole numbers, missing where they are -1."""
    import pandas as pd

    return pd.Series(labels).astype("Int32").mask(labels < 0) if (labels < 0).any() else pd.Series(labels)


def _as_written(table: Table) -> pd.DataFrame:
    """Return the records as the file holds them; decimal commas become points."""
    if table.as_written is None:
        return table.frame
    written = table.as_written()
    if table.decimal == ",":
        for j in written.columns:
            if table.frame[j].dtype.kind == "f":
                written[j] = written[j].str.replace(",", ".", regex=False)
    return written


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with what Parquet needs: different names, and columns of a single type."""
    names: list[str] = []
    for name in frame.columns:
        count, unique = 1, name
        while unique in names:
            count += 1
            unique = f"{name}_{count}"
        names.append(unique)
    frame = frame.set_axis(names, axis=1)
    mixed = [name for name in names if frame[name].dtype == object]
    return frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
