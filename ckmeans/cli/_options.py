"""The options that all subcommands that run k-means have in common."""

from __future__ import annotations

import argparse
from typing import Any

from ckmeans import _validate

__all__ = ["add_fit_options", "fit_options"]


def add_fit_options(parser: argparse.ArgumentParser, n_init: int) -> None:
    """Add the options of a fit; `n_init` is the default number of restarts."""
    parser.add_argument("--n-init", type=int, default=n_init, metavar="N", help=f"restarts ({n_init})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (as many as allowed)")


def fit_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options as keyword arguments of `kmeans`, checked before any file is read."""
    threads = arguments.threads
    return {
        "n_init": _validate.integer("n_init", arguments.n_init, 1),
        "seed": _validate.integer("seed", arguments.seed, 0),
        "n_threads": None if threads is None else _validate.integer("n_threads", threads, 1),
        "progress": arguments.progress,
    }
