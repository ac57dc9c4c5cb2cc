"""The options that the subcommands share, so that each means the same in all of them."""

from __future__ import annotations

import argparse
from typing import Any

from ckmeans import _validate

__all__ = [
    "add_fit_options",
    "add_metric_option",
    "add_output_option",
    "add_report_options",
    "add_threads_option",
    "fit_options",
    "threads_option",
]


def add_output_option(
    parser: argparse.ArgumentParser,
    metavar: str,
    help: str,
    *,
    default: str | None = None,
    required: bool = False,
) -> None:
    """Add ``-o``, ``--out`` (or ``--output``), where a subcommand writes its result, as `output`."""
    parser.add_argument(
        "-o",
        "--out",
        "--output",
        dest="output",
        default=default,
        required=required,
        metavar=metavar,
        help=help,
    )


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add ``-q`` and ``--json``: what a subcommand prints."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no report, no progress")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_fit_options(parser: argparse.ArgumentParser, n_init: int) -> None:
    """Add the options of a fit; `n_init` is the default number of restarts."""
    parser.add_argument("--n-init", type=int, default=n_init, metavar="N", help=f"restarts ({n_init})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (0)")
    add_threads_option(parser)


def add_metric_option(parser: argparse.ArgumentParser, default: str | None = "euclidean") -> None:
    """Add ``--metric``; a default of None is the model's."""
    shown = "as the model says" if default is None else default
    parser.add_argument(
        "--metric",
        choices=_validate.METRICS,
        default=default,
        help=f"cosine: compare rows by their directions ({shown})",
    )


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument("--threads", type=int, metavar="N", help="threads (as many as allowed)")


def threads_option(arguments: argparse.Namespace) -> int | None:
    """Return the number of threads, checked before any file is read."""
    threads = arguments.threads
    return None if threads is None else _validate.integer("n_threads", threads, 1)


def fit_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options as keyword arguments of `kmeans`, checked before any file is read."""
    return {
        "n_init": _validate.integer("n_init", arguments.n_init, 1),
        "seed": _validate.integer("seed", arguments.seed, 0),
        "n_threads": threads_option(arguments),
        "progress": arguments.progress,
    }
