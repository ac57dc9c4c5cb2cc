"""The options of a fit: one checked object that travels from the public functions to compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Annealing(NamedTuple):
    """Disturbances of the updates, for `elbow`'s search.

    Attributes
    ----------
    relaxation : float
        How far a centroid moves, as a multiple of its way to the mean; 1: to the mean.
    noise : float
        Root mean square of the random displacement added to the first update, as a multiple of the
        root of J.
    cooling_steps : int
        Number of updates over which the noise decreases to 0.
    """

    relaxation: float = 1.0
    noise: float = 0.0
    cooling_steps: int = 0


class FitOptions(NamedTuple):
    """Everything that controls a fit besides its points, engine and given starts.

    All values are checked; the defaults of the public options are in the signature of `kmeans`. A named
    tuple, because it takes half the time of a frozen dataclass, which shows in fits of few points.

    Attributes
    ----------
    K, n_init, max_iter, tol, empty, seed, n_threads, callback, keep_path, search, max_swaps
        As for `kmeans`; `seed` and `n_threads` as the numbers that the whole call uses.
    trials : int
        Candidates per centroid in k-means++; 0 draws random examples.
    shift_tol : float, optional
        scikit-learn's stopping rule in place of `tol`: a restart stops when the squared shifts of the
        centroids sum to at most this. A point to which "farthest" moves an empty cluster then no longer
        counts for the mean of the cluster it leaves.
    annealing : Annealing, optional
        How updates differ from the means.
    keep_ends : bool
        Also return the final centroids of every restart; no cluster may be dropped.
    """

    K: int
    n_init: int
    max_iter: int
    tol: float
    empty: str
    seed: int
    n_threads: int
    trials: int
    shift_tol: float | None = None
    callback: Callable[[int, float, np.ndarray], Any] | None = None
    keep_path: bool = False
    search: str | None = None
    max_swaps: int | None = None
    annealing: Annealing | None = None
    keep_ends: bool = False
