"""What a call of kmeans gives back."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Result:
    """The best restart of a k-means run, in exactly the state described.

    Attributes
    ----------
    centroids : ndarray of shape (K, n), float32 or float64
        In the dtype of the computation: float32 for float32, float16, uint8 and uint16 data.
    labels : ndarray of shape (m,), int32
        Index of each point's centroid: ``assign(X, centroids)``.
    counts : ndarray of shape (K,), int64
        Number of points of each cluster.
    distortion : float
        J, the (weighted) mean squared distance of the points to their centroids.
    history : ndarray of shape (n_iter + 1,), float64
        J after each assignment of this restart; it never rises.
    distortions : ndarray of shape (restarts,), float64
        J of every restart.
    n_iter : int
        Number of updates of this restart.
    stop_reason : str
        "stable" (no label changed), "tolerance" (J barely fell), "max_iter" or "callback".
    path : list of ndarray of shape (K, n), or None
        The centroids of each assignment, with ``keep_path=True``.
    algorithm : str
        The engine that ran.
    stats : dict
        ``distances_computed`` in full and ``distances_avoided`` over all assignments, and the
        engine's memory in ``bytes``.
    """

    centroids: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    distortion: float
    history: np.ndarray
    distortions: np.ndarray
    n_iter: int
    stop_reason: str
    path: list[np.ndarray] | None
    algorithm: str
    stats: dict[str, float]

    @property
    def converged(self) -> bool:
        """Whether the run ended by itself: no label changed, or J barely fell."""
        return self.stop_reason in ("stable", "tolerance")

    def __repr__(self) -> str:
        K, n = self.centroids.shape
        restarts = f", best of {len(self.distortions)}" if len(self.distortions) > 1 else ""
        return (
            f"<ckmeans.Result: {len(self.labels)} points x {n}, K={K}, distortion={self.distortion:.6g}, "
            f"n_iter={self.n_iter}, {self.stop_reason}{restarts}>"
        )
