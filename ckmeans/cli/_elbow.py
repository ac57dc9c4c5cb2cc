"""``ckmeans elbow``: the distortion of a table's rows for each of several numbers of clusters."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ckmeans.cli._options import add_fit_options, add_metric_option, add_output_option, fit_options
from ckmeans.cli._outputs import check_outputs, check_table_name, save_figure, write_frame
from ckmeans.cli._points import add_table_options, read_points, table_options
from ckmeans.cli._report import elbow_table, notes, print_notes, table_line

__all__ = ["add_parser", "elbow_figures", "parse_ks"]


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand to the command line's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "elbow",
        help="compare numbers of clusters for a table",
        description="Print the distortion J and the silhouette of the rows of a table for each number of "
        "clusters, and the elbow of the curve if it has a clear one.",
    )
    add_table_options(parser)
    parser.add_argument(
        "--ks", default="1:10", metavar="LOW:HIGH", help="numbers of clusters: 1:10, or 2,4,8 (1:10)"
    )
    add_output_option(parser, "OUT.csv", "write the figures for each K here (.csv, .tsv, .parquet)")
    parser.add_argument(
        "--plot", metavar="OUT.png", help="draw the elbow (.png, .svg, .pdf; needs matplotlib)"
    )
    add_fit_options(parser, n_init=10)
    add_metric_option(parser)
    parser.set_defaults(run=_run)
    return parser


def parse_ks(option: str, text: str) -> Sequence[int]:
    """Return the numbers of clusters that LOW:HIGH or a list stands for."""
    if found := re.fullmatch(r"([0-9]+):([0-9]+)", text):
        ks: Sequence[int] = range(int(found[1]), int(found[2]) + 1)
    else:
        words = text.split(",") if option == "--ks" else []
        ks = [int(word) for word in words] if all(word.strip().isdecimal() for word in words) else []
    if not ks or min(ks) < 1:
        also = ", or a list such as 2,4,8" if option == "--ks" else ""
        raise ValueError(f"{option} must be LOW:HIGH, such as 1:10{also}, found {text!r}")
    return ks


def elbow_figures(
    X: np.ndarray, ks: Sequence[int], plot: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Find the elbow, draw it if asked for, and return the figures to report."""
    from ckmeans._elbow import elbow

    result = elbow(X, ks, **options)
    if plot is not None:
        save_figure(result.plot(), plot)
    return {
        "ks": result.ks.tolist(),
        "distortions": result.distortions.tolist(),
        "silhouette": _or_none(result.silhouette),
        "calinski_harabasz": _or_none(result.calinski_harabasz),
        "knee": result.knee,
        "suggestions": result.suggestions,
    }


def _or_none(values: np.ndarray) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _run(arguments: argparse.Namespace) -> str:
    """Run the subcommand and return the text to print."""
    ks = parse_ks("--ks", arguments.ks)
    options = fit_options(arguments) | {"metric": arguments.metric}
    check_outputs(arguments.table, {"--out": arguments.output, "--plot": arguments.plot}.items())
    check_table_name(arguments.output, is_npy_allowed=False)
    data = read_points(arguments, table_options(arguments))
    figures = data.figures | elbow_figures(data.points.X, ks, arguments.plot, options)
    if arguments.output is not None:
        _write(figures, arguments.output)
        figures["output"] = arguments.output
    if arguments.json:
        return json.dumps(figures)
    if arguments.quiet:
        print_notes(figures)
    written = ["", f"written   {arguments.output}"] if arguments.output is not None else []
    return "\n".join([table_line(figures), *notes(figures), *elbow_table(figures), *written])


def _write(figures: dict[str, Any], path: str) -> None:
    """Write a line for each number of clusters, whether there is an elbow or not."""
    import pandas as pd

    columns = {"k": figures["ks"], "distortion": figures["distortions"]}
    for name in ("silhouette", "calinski_harabasz"):
        columns[name] = np.array(figures[name], np.float64)
    columns["elbow"] = [figures["knee"] == K for K in figures["ks"]]
    write_frame(pd.DataFrame(columns), path)
