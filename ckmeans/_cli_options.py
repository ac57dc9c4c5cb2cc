"""Options of every subcommand that runs k-means: declared in the same words, passed on in the same way."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_fit", "of_fit"]


def add_fit(parser: argparse.ArgumentParser, n_init: int) -> None:
    """Add the options of a fit, with so many restarts by default."""
    parser.add_argument("--n-init", type=int, default=n_init, metavar="N", help=f"restarts ({n_init})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (as many as allowed)")


def of_fit(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given for them, as keyword arguments of `kmeans`."""
    return {
        "n_init": arguments.n_init,
        "seed": arguments.seed,
        "n_threads": arguments.threads,
        "progress": arguments.progress,
    }
