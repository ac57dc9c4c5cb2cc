"""Starts for libraries that take no initial centroids but draw them from rows at known positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import exact
from benchmarks.data import Array
from benchmarks.job import Job


def start_at(X: Array, job: Job, places: Array, one_iteration: Callable[[Array], Array]) -> str:
    """Permute X in place so that the rows at ``places`` are those of the start; say whether it worked.

    ``one_iteration`` returns the library's centroids after one iteration, which are compared with
    those of a plain step.
    """
    if len(job.starts) > 1:
        raise ValueError("takes no start centroids, and rows can be moved for one start only")
    rows, start = job.starts[0], job.start(0).astype(np.float32)
    targets = np.concatenate([places, np.setdiff1d(rows, places)])
    sources = np.concatenate([rows, np.setdiff1d(places, rows)])
    X[targets] = X[sources]
    met = _agree(one_iteration(X), exact.lloyd_step(X, start), float(X[:: max(1, len(X) // 1000)].std()))
    return "rows moved: it starts as asked (checked)" if met else "starts from its OWN rows"


def _agree(one: Array, other: Array, spread: float) -> bool:
    """Return whether two sets of centroids are equal up to rounding and a few near-ties."""
    near = np.isclose(one, other, rtol=1e-3, atol=1e-3 * spread).all(axis=1)
    return bool(near.mean() > 0.9)
