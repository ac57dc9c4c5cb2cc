"""``ckmeans cluster``: cluster the rows of a table, for a given K or for that of the elbow."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ckmeans import _validate
from ckmeans.cli._columns import split_names
from ckmeans.cli._elbow import elbow_figures, parse_ks
from ckmeans.cli._model import save_model
from ckmeans.cli._options import add_fit_options, add_metric_option, add_output_option, fit_options
from ckmeans.cli._outputs import (
    check_outputs,
    check_table_name,
    cluster_name,
    save_figure,
    write_labels,
    write_table,
)
from ckmeans.cli._points import TablePoints, add_table_options, read_points, table_options
from ckmeans.cli._report import centroid_table, elbow_table, notes, print_notes, table_line

__all__ = ["add_clusters_output", "add_parser", "check_clusters_output", "write_clusters"]

_N_INIT = 10  # restarts without a search


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand to the command line's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cluster",
        help="cluster the rows of a table",
        description="Cluster the rows of a table: K clusters with -k, or as many as the elbow of the "
        "distortion says with --elbow. Text, indices and identifiers are left out, which the report says.",
    )
    add_table_options(parser)
    parser.add_argument("-k", type=int, metavar="K", help="number of clusters")
    parser.add_argument("--elbow", metavar="LOW:HIGH", help="try these numbers of clusters, such as 1:10")
    add_clusters_output(parser)
    parser.add_argument("--save", metavar="MODEL.npz", help="save the model for ckmeans assign")
    parser.add_argument(
        "--plot",
        metavar="OUT.png",
        help="draw the clusters, or the elbow (.png, .svg, .pdf; needs matplotlib)",
    )
    add_fit_options(parser, n_init=_N_INIT)
    parser.add_argument(
        "--search",
        choices=_validate.SEARCHES,
        help="swap: go on to a lower J by moving centroids (then --n-init is 1 unless given)",
    )
    add_metric_option(parser)
    parser.set_defaults(run=_run, n_init=None)
    return parser


def _run(arguments: argparse.Namespace) -> str:
    """Run the subcommand and return the text to print."""
    if arguments.k is None and arguments.elbow is None:
        raise ValueError("give -k K for K clusters, or --elbow LOW:HIGH to look for K")
    if arguments.k is not None:
        _validate.integer("K", arguments.k, 1)
    ks = None if arguments.elbow is None else parse_ks("--elbow", arguments.elbow)
    search, _ = _validate.search(arguments.search, None, "array", arguments.metric)
    if arguments.n_init is None:
        arguments.n_init = _N_INIT if search is None else 1
    options = fit_options(arguments) | {"metric": arguments.metric}
    check_clusters_output(arguments)
    outputs = {"--out": arguments.output, "--save": arguments.save, "--plot": arguments.plot}
    check_outputs(arguments.table, outputs.items())
    check_table_name(arguments.output, is_npy_allowed=True)
    data = read_points(arguments, table_options(arguments))
    figures = data.figures
    if ks is not None:
        figures |= elbow_figures(data.points.X, ks, arguments.plot, options)
    K = figures["knee"] if arguments.k is None else arguments.k
    if K is not None:
        figures |= _fit_clusters(data, K, arguments, options | {"search": search})
    elif arguments.output is not None or arguments.save is not None:
        missed = " and ".join(path for path in (arguments.output, arguments.save) if path is not None)
        print(f"ckmeans: no clear elbow, so {missed} was not written: choose K with -k", file=sys.stderr)
    if arguments.json:
        return json.dumps(figures)
    if arguments.quiet:
        print_notes(figures)
    return _report(figures)


def _fit_clusters(
    data: TablePoints, K: int, arguments: argparse.Namespace, options: dict[str, Any]
) -> dict[str, Any]:
    """Cluster the points, write what was asked for, and return the figures to report."""
    from ckmeans.api import kmeans

    X, recipe = data.points.X, data.recipe._replace(metric=arguments.metric)
    result = kmeans(X, K, **options)
    figures: dict[str, Any] = {}
    if arguments.output is not None:
        figures |= write_clusters(data, data.points.for_all(result.labels), arguments)
    if arguments.save is not None:
        save_model(result, recipe, arguments.save)
        figures["model"] = arguments.save
    if arguments.plot is not None and arguments.elbow is None:
        from ckmeans._unit_length import unit_rows
        from ckmeans.plot import clusters

        shown = unit_rows(X, 8, "X") if arguments.metric == "cosine" else X
        save_figure(clusters(shown, result), arguments.plot)
    return figures | {
        "k": len(result.centroids),
        "k_asked": K,
        "distortion": result.distortion,
        "n_iter": result.n_iter,
        "stop_reason": result.stop_reason,
        "counts": result.counts.tolist(),
        "centroids": recipe.in_table_units(result.centroids).tolist(),
    }


def add_clusters_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where clusters are written, and how."""
    add_output_option(
        parser,
        "OUT.csv",
        "write the table with a column of clusters here (.csv, .tsv, .parquet; .npy: labels)",
    )
    parser.add_argument(
        "--labels-only", action="store_true", help="write labels (and --id) without the table"
    )


def check_clusters_output(arguments: argparse.Namespace) -> None:
    """Check that these options fit together."""
    if arguments.labels_only and arguments.output is None:
        raise ValueError("--labels-only says what -o writes: give -o too")


def write_clusters(data: TablePoints, labels: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the table or the labels alone, and return the figures to report."""
    if arguments.labels_only:
        write_labels(data.table, labels, split_names(arguments.id), arguments.output)
        return {"output": arguments.output}
    write_table(data.table, labels, arguments.output)
    return {"output": arguments.output, "cluster_column": cluster_name(data.table)}


def _report(figures: dict[str, Any]) -> str:
    """Return the figures as a few aligned lines."""
    lines = [table_line(figures), *notes(figures)]
    if "ks" in figures:
        lines += elbow_table(figures)
    if "k" in figures:
        outcome = f"after {figures['n_iter']} iterations ({figures['stop_reason']})"
        if figures["k"] < figures["k_asked"]:
            outcome += f"; {figures['k']} clusters, since some of {figures['k_asked']} had no rows"
        lines += ["", f"J         {figures['distortion']:.12g} {outcome}", *centroid_table(figures)]
    lines += [""] if "output" in figures or "model" in figures else []
    if "output" in figures:
        column = f", clusters in column {figures['cluster_column']!r}" if "cluster_column" in figures else ""
        lines.append(f"written   {figures['output']}{column}")
    if "model" in figures:
        lines.append(f"model     {figures['model']}: ckmeans assign NEW.csv {figures['model']}")
    return "\n".join(lines)
