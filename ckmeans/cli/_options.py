"""Options of every subcommand that runs k-means: declared in the same words, passed on in the same way."""

from __future__ import annotations

import argparse
from typing import Any

from ckmeans import _validate

__all__ = ["add_fit", "of_fit"]


def add_fit(parser: argparse.ArgumentParser, n_init: int) -> None:
    """Add the options of a fit, with so many restarts by default."""
    parser.add_argument("--n-init", type=int, default=n_init, metavar="N", help=f"restarts ({n_init})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (as many as allowed)")


def of_fit(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given for them, as keyword arguments of `kmeans`; checked, since files are read first."""
    threads = arguments.threads
    return {
        "n_init": _validate.integer("n_init", arguments.n_init, 1),
        "seed": _validate.integer("seed", arguments.seed, 0),
        "n_threads": None if threads is None else _validate.integer("n_threads", threads, 1),
        "progress": arguments.progress,
    }
