"""The result of `kmeans`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Result:
    """The best restart of a k-means run: labels and distortion are those of these centroids.

    Attributes
    ----------
    centroids : ndarray of shape (K, n), float32 or float64
        In the dtype of the computation: float32 for float32, float16,
        bfloat16, int8, uint8 and uint16 data.
    labels : ndarray of shape (m,), int32
        Index of each point's centroid: ``assign(X, centroids)``.
    counts : ndarray of shape (K,), int64
        Number of points of each cluster.
    distortion : float
        J, the (weighted) mean squared distance of the points to their centroids, or with ``metric="cosine"``
        the mean of 1 - cos.
    history : ndarray of shape (n_iter + 1,), float64
        J after each assignment of this restart, with a search of those that it kept; it never rises.
    distortions : ndarray of shape (restarts,), float64
        J of every restart.
    n_iter : int
        Number of updates of this restart.
    stop_reason : str
        "stable" (no label changed), "tolerance" (J barely fell), "max_iter", "max_swaps", "callback" or
        "optimal". With ``search="swap"`` "stable" says that no swap and no move of a point lowered J either.
    path : list of ndarray of shape (K, n), or None
        The centroids of each assignment, with ``keep_path=True``.
    algorithm : str
        The engine that ran, or "optimal".
    stats : dict
        Over all restarts: "distances_computed" (including those to nodes of the tree),
        "distances_avoided" (how many more the dense engine would have computed), and "bytes" of memory
        that the fit used. If restarts share several threads, the first two depend on which thread
        ran which restart.
    """

    __slots__ = (
        "algorithm", "centroids", "counts", "distortion", "distortions", "history", "labels", "n_iter",
        "path", "stats", "stop_reason",
    )  # fmt: skip

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
    stats: dict[str, int]

    def __init__(self, **fields: Any) -> None:
        if fields.keys() != _SETTERS.keys():
            raise TypeError(f"a Result has the fields {', '.join(_SETTERS)}, found {', '.join(fields)}")
        for name, setter in _SETTERS.items():
            setter(self, fields[name])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Result is read-only: {name} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return _result_of, ({name: getattr(self, name) for name in self.__slots__},)

    @property
    def converged(self) -> bool:
        """Whether the run converged: no label changed, J barely fell, or J is the lowest there is."""
        return self.stop_reason in ("stable", "tolerance", "optimal")

    @property
    def optimal(self) -> bool:
        """Whether J is the lowest of all with so many clusters (one feature, ``algorithm="optimal"``)."""
        return self.stop_reason == "optimal"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all fields to one file, which `ckmeans.load` reads.

        Parameters
        ----------
        path : str or path
            The name is used as given, without a suffix added. The file holds plain arrays and a version,
            no pickled objects.
        """
        from ckmeans._result_io import save

        save(self, path)

    def __repr__(self) -> str:
        K, n = self.centroids.shape
        restarts = f", best of {len(self.distortions)}" if len(self.distortions) > 1 else ""
        return (
            f"<ckmeans.Result: {len(self.labels)} points x {n}, K={K}, distortion={self.distortion:.6g}, "
            f"n_iter={self.n_iter}, {self.stop_reason}{restarts}>"
        )


# Faster than object.__setattr__ by name.
_SETTERS = {name: vars(Result)[name].__set__ for name in Result.__slots__}


def _result_of(fields: dict[str, Any]) -> Result:
    return Result(**fields)


def load(path: str | os.PathLike[str]) -> Result:
    """Read a result that `Result.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If the file is damaged, was written by a newer version, or holds anything but plain arrays.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import ckmeans, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "result.npz")
    >>> ckmeans.kmeans([[0.0], [1.0], [9.0]], 2, seed=0).save(path)
    >>> ckmeans.load(path)
    <ckmeans.Result: 3 points x 1, K=2, distortion=0.166667, n_iter=0, optimal>
    """
    from ckmeans._result_io import read

    return Result(**read(path))
