"""The options of a fit: one checked object that travels from the public functions to compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ckmeans import _arrays


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
    settle : bool
        Whether a search ends with Lloyd's algorithm until nothing changes, and moves of single points.
    frozen : ndarray of shape (K,), uint8, optional
        1 for each centroid of the given start that stays where it is.
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
    settle: bool = True
    frozen: np.ndarray | None = None

    def in_units(self, exponent: int) -> FitOptions:
        """Return the options for points that are divided by 2**exponent; the callback gets the units of X."""
        changed = self
        if self.shift_tol is not None:
            changed = changed._replace(shift_tol=float(_arrays.times_power(self.shift_tol, -2 * exponent)))
        callback = self.callback
        if callback is not None:

            def in_units_of_X(iteration: int, distortion: float, centroids: np.ndarray) -> Any:
                J = float(_arrays.times_power(distortion, 2 * exponent))
                return callback(iteration, J, _arrays.times_power(centroids, exponent))

            changed = changed._replace(callback=in_units_of_X)
        return changed


class EachFit(NamedTuple):
    """What each of many fits has of its own.

    Attributes
    ----------
    K, trials : ndarray of shape (P,), int64
        As in `FitOptions`.
    seeds : ndarray of shape (P,), uint64
    starts : ndarray of shape (P, K, n), or (1, K, n) for all, in the computing dtype, or None
        Given starts, C-contiguous; of fewer rows than K they are completed by k-means++. None: drawn.
    unit : bool
        Whether rows are taken at unit length.
    """

    K: np.ndarray
    trials: np.ndarray
    seeds: np.ndarray
    starts: np.ndarray | None
    unit: bool
