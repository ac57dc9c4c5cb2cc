"""``ckmeans assign``: the clusters of new rows, by a model that ``ckmeans cluster --save`` wrote."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from ckmeans.cli._cluster import add_clusters_output, check_clusters_output, write_clusters
from ckmeans.cli._columns import split_names
from ckmeans.cli._model import load_model
from ckmeans.cli._options import add_metric_option, add_threads_option, threads_option
from ckmeans.cli._outputs import check_outputs, check_table_name
from ckmeans.cli._points import read_again
from ckmeans.cli._read_options import add_read_options, read_options
from ckmeans.cli._report import centroid_table, notes, print_notes, table_line

__all__ = ["add_parser"]


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand to the command line's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "assign",
        help="find the clusters of new rows by a saved model",
        description="Find the nearest centroid of each row of a new table. The model, from ckmeans cluster "
        "--save, names the columns and says how they are scaled and what happens to missing values.",
    )
    parser.add_argument("table", metavar="TABLE", help="a table that has the model's columns; - for stdin")
    parser.add_argument("model", metavar="MODEL.npz", help="what ckmeans cluster --save wrote")
    parser.add_argument("--id", metavar="A,...", help="columns that identify the records, for --labels-only")
    parser.add_argument(
        "--missing", choices=("error", "drop"), help="records that lack a value, if not as the model says"
    )
    add_clusters_output(parser)
    add_metric_option(parser, default=None)
    add_threads_option(parser)
    add_read_options(parser)
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace) -> str:
    """Run the subcommand and return the text to print."""
    from ckmeans.api import assign

    n_threads = threads_option(arguments)
    check_clusters_output(arguments)
    check_outputs(arguments.table, [("--out", arguments.output)])
    check_outputs(arguments.model, [("--out", arguments.output)])
    check_table_name(arguments.output, is_npy_allowed=True)
    centroids, recipe = load_model(arguments.model)
    if arguments.missing is not None:
        recipe = recipe._replace(missing=arguments.missing)
    if arguments.metric is not None:
        recipe = recipe._replace(metric=arguments.metric)
    options = read_options(arguments)._replace(fills_short_lines=recipe.missing != "error")
    data = read_again(arguments.table, options, recipe, split_names(arguments.id))
    labels, squared = assign(
        data.points.X, centroids, return_squared_distance=True, metric=recipe.metric, n_threads=n_threads
    )
    figures = data.figures | {
        "model": arguments.model,
        "k": len(centroids),
        "metric": recipe.metric,
        "distortion": float(np.mean(squared)) * (0.5 if recipe.metric == "cosine" else 1),
        "counts": np.bincount(labels, minlength=len(centroids)).tolist(),
        "centroids": recipe.in_table_units(centroids).tolist(),
    }
    if arguments.output is not None:
        figures |= write_clusters(data, data.points.for_all(labels), arguments)
    if arguments.json:
        return json.dumps(figures)
    if arguments.quiet:
        print_notes(figures)
    return _report(figures)


def _report(figures: dict[str, Any]) -> str:
    lines = [table_line(figures), *notes(figures), f"model     {figures['model']}: {figures['k']} clusters"]
    loss = "1 - cosine" if figures["metric"] == "cosine" else "squared distance"
    lines += ["", f"J         {figures['distortion']:.12g} (mean {loss} to the model's centroids)"]
    lines += centroid_table(figures)
    lines += ["", f"written   {figures['output']}"] if "output" in figures else []
    return "\n".join(lines)
