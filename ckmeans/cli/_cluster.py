"""``ckmeans cluster``: cluster the rows of a table, or find the elbow over several K."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from typing import Any

import numpy as np

from ckmeans import _validate
from ckmeans._atomic_write import check_output, replacing
from ckmeans.cli._options import add_fit_options, add_output_option, fit_options

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand to the command line's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cluster",
        help="cluster the rows of a table",
        description="Cluster the rows of a table (CSV, TSV, .npy, Parquet): K clusters with -k, or the "
        "distortion of several K with --elbow. Columns that hold no numbers are left out.",
    )
    parser.add_argument(
        "table", metavar="TABLE", help="a file of rows of numbers, with or without a header; - for stdin"
    )
    parser.add_argument("-k", type=int, metavar="K", help="number of clusters")
    parser.add_argument("--elbow", metavar="LOW:HIGH", help="try these numbers of clusters, such as 1:10")
    parser.add_argument("--columns", metavar="A,B,...", help="use only these columns, by name")
    parser.add_argument("--scale", action="store_true", help="give every column the same variance first")
    add_output_option(parser, "LABELS.csv", "write each row's cluster here (CSV, or .npy)")
    parser.add_argument(
        "--plot",
        metavar="OUT.png",
        help="draw the clusters, or the elbow (.png, .svg, .pdf; needs matplotlib)",
    )
    add_fit_options(parser, n_init=10)
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> str:
    """Run the subcommand and return the text to print."""
    from ckmeans.cli._tables import read_table

    if arguments.k is None and arguments.elbow is None:
        raise ValueError("give -k K for K clusters, or --elbow LOW:HIGH to look for K")
    if arguments.k is not None:
        _validate.integer("K", arguments.k, 1)
    ks = None if arguments.elbow is None else _parse_range(arguments.elbow)
    options = fit_options(arguments)
    _check_outputs(arguments)
    columns = None if arguments.columns is None else [name.strip() for name in arguments.columns.split(",")]
    table = read_table(arguments.table, columns)
    figures: dict[str, Any] = {
        "table": arguments.table,
        "rows": len(table.X),
        "columns": table.columns,
        "left_out": table.left_out,
        "scaled": arguments.scale,
    }
    X, scaling = _standardize(table.X) if arguments.scale else (table.X, None)
    if ks is not None:
        figures |= _fit_elbow(X, ks, arguments.plot, options)
    K = figures["knee"] if arguments.k is None else arguments.k
    if K is not None:
        figures |= _fit_clusters(X, K, scaling, arguments, options)
    elif arguments.output is not None:
        raise ValueError("there is no clear elbow, so nothing to write to --out: choose K with -k")
    return json.dumps(figures) if arguments.json else _report(figures)


def _parse_range(text: str) -> range:
    """Return the range that LOW:HIGH stands for."""
    first, colon, last = text.partition(":")
    if not colon or not first.isdecimal() or not last.isdecimal() or not 1 <= int(first) <= int(last):
        raise ValueError(f"--elbow must be LOW:HIGH, such as 1:10, found {text!r}")
    return range(int(first), int(last) + 1)


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Check that all outputs can be written, before any work is done."""
    paths = [path for path in (arguments.output, arguments.plot) if path is not None]
    for path in paths:
        target = check_output(path)
        if target.exists() and os.path.exists(arguments.table) and target.samefile(arguments.table):
            raise ValueError(f"{path}: would overwrite the table")
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise ValueError(f"{arguments.plot}: both --out and --plot would be written there")
    if arguments.plot is not None:
        _check_plot(arguments.plot)


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


def _standardize(X: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return X with columns of mean 0 and variance 1 (0 if constant), and the means and scales removed."""
    # First divide by a power of 2, which is exact, so that values are below 2: the squares of the largest
    # float64 values would overflow.
    largest = np.maximum(X.max(axis=0).astype(np.float64), -X.min(axis=0).astype(np.float64))
    unit = np.ldexp(1.0, np.frexp(largest)[1] - 1)
    scaled = X / unit
    mean, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1
    scaled -= mean
    scaled /= deviation
    return scaled, (mean * unit, deviation * unit)


def _fit_elbow(X: np.ndarray, ks: range, plot: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Find the elbow, draw it if asked for, and return the figures to report."""
    from ckmeans._elbow import elbow

    result = elbow(X, ks, **options)
    if plot is not None:
        _save_figure(result.plot(), plot)
    return {
        "ks": result.ks.tolist(),
        "distortions": result.distortions.tolist(),
        "silhouette": [None if np.isnan(value) else value for value in result.silhouette.tolist()],
        "knee": result.knee,
        "suggestions": result.suggestions,
    }


def _fit_clusters(
    X: np.ndarray,
    K: int,
    scaling: tuple[np.ndarray, np.ndarray] | None,
    arguments: argparse.Namespace,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Cluster X, write the labels and the plot if asked for, and return the figures to report."""
    from ckmeans.api import kmeans

    result = kmeans(X, K, **options)
    if arguments.output is not None:
        _write_labels(result.labels, arguments.output)
    if arguments.plot is not None and arguments.elbow is None:
        from ckmeans.plot import clusters

        _save_figure(clusters(X, result), arguments.plot)
    centroids = result.centroids if scaling is None else result.centroids * scaling[1] + scaling[0]
    return {
        "k": len(result.centroids),
        "k_asked": K,
        "distortion": result.distortion,
        "n_iter": result.n_iter,
        "stop_reason": result.stop_reason,
        "counts": result.counts.tolist(),
        "centroids": centroids.tolist(),
    }


def _save_figure(ax: Any, path: str) -> None:
    from matplotlib import pyplot

    try:
        with replacing(path) as file:
            ax.figure.savefig(file, format=_suffix(path))
    finally:
        pyplot.close(ax.figure)


def _write_labels(labels: np.ndarray, path: str) -> None:
    with replacing(path) as file:
        if _suffix(path) == "npy":
            np.save(file, labels)
        else:
            np.savetxt(file, labels, fmt="%d", header="label", comments="")


# ---- messages ------------------------------------------------------------------------------------


def _report(figures: dict[str, Any]) -> str:
    """Return the figures as a few aligned lines."""
    from ckmeans._elbow import describe_suggestions

    left_out = f" (left out: {', '.join(figures['left_out'])})" if figures["left_out"] else ""
    scaled = ", each scaled to variance 1" if figures["scaled"] else ""
    size = f"{figures['rows']} rows, {len(figures['columns'])} columns"
    lines = [f"table     {figures['table']}: {size}{left_out}{scaled}"]
    if "ks" in figures:
        lines += ["", f"{'K':>5} {'J':>14} {'silhouette':>11}"]
        for K, J, silhouette in zip(
            figures["ks"], figures["distortions"], figures["silhouette"], strict=True
        ):
            mark = "  <- elbow" if figures["knee"] == K else ""
            lines.append(f"{K:>5} {J:>14.6g} {'' if silhouette is None else f'{silhouette:.3f}':>11}{mark}")
        if figures["knee"] is None:
            lines.append("no clear elbow")
        lines.append(f"suggested K: {describe_suggestions(figures['suggestions'])}")
    if "k" in figures:
        outcome = f"after {figures['n_iter']} iterations ({figures['stop_reason']})"
        if figures["k"] < figures["k_asked"]:
            outcome += f"; {figures['k']} clusters, since some of {figures['k_asked']} had no rows"
        lines += ["", f"J         {figures['distortion']:.12g} {outcome}"]
        lines += ["", *_centroid_table(figures).splitlines()]
    return "\n".join(lines)


def _centroid_table(figures: dict[str, Any]) -> str:
    """Return a line for each cluster: its size and its centroid, in the units of the table."""
    shown = figures["columns"][:8]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    more = ["..."] if len(figures["columns"]) > 8 else []
    writer.writerow(["cluster", "rows", *shown, *more])
    for k, (count, centroid) in enumerate(zip(figures["counts"], figures["centroids"], strict=True)):
        writer.writerow([k, count, *(f"{value:.6g}" for value in centroid[:8]), *more])
    return text.getvalue().expandtabs(12)
