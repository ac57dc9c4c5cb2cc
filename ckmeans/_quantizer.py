"""ProductQuantizer: vectors as a few bytes, by k-means in subspaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ckmeans import _archive, _inputs, _validate
from ckmeans._inputs import Inputs, PersistentInputs
from ckmeans._many import Fits
from ckmeans._problems import Stack
from ckmeans.api import assign, distortion

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ckmeans._inputs import PointsLike
    from ckmeans._starts import Init

_FORMAT = _archive.Format("ckmeans.ProductQuantizer", 1, "product quantizer")
_CODES = 256  # a code is a byte
_BLOCK_BYTES = 8 << 20  # of X that is encoded together, so that it is read from memory once


class ProductQuantizer:
    """Compress vectors to a byte for each of some subspaces.

    The features are cut into subspaces of as many each, and the vectors of each subspace are clustered by
    themselves; a vector's code is the cluster in each subspace (Jegou, Douze and Schmid, "Product
    quantization for nearest neighbor search", IEEE TPAMI 33, 2011).

    Parameters
    ----------
    n_subspaces : int
        Number of subspaces, and bytes of a code; it divides the number of features.
    K : int
        Clusters of each subspace, at most 256.
    init : {"random", "k-means++"}, array_like of shape (n_subspaces, K, n / n_subspaces), or callable
        As for `kmeans_many`, of which each subspace is a problem.
    max_iter : int
        Maximum number of updates.
    seed : int, numpy.random.Generator or None
        As for `kmeans`: the same seed gives the same centroids on any number of threads.
    n_threads : int, optional
        As for `kmeans`.

    Attributes
    ----------
    centroids : ndarray of shape (n_subspaces, K, n / n_subspaces), float32
        Once fitted. The layout is that of faiss: copied into a ``faiss.ProductQuantizer(n, n_subspaces,
        8)`` by ``faiss.copy_array_to_vector(pq.centroids.ravel(), theirs.centroids)`` they make it decode
        these codes, if K is 256.

    Examples
    --------
    >>> import ckmeans, numpy
    >>> X = numpy.random.default_rng(0).random((10_000, 32), dtype=numpy.float32)
    >>> pq = ckmeans.ProductQuantizer(8, seed=0).fit(X)
    >>> codes = pq.encode(X)
    >>> codes.shape, codes.dtype, pq.decode(codes).shape
    ((10000, 8), dtype('uint8'), (10000, 32))
    """

    centroids: np.ndarray

    def __init__(
        self,
        n_subspaces: int,
        K: int = _CODES,
        *,
        init: Init = "random",
        max_iter: int = 25,
        seed: int | np.random.Generator | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_subspaces = _validate.integer("n_subspaces", n_subspaces, 1)
        self.K = _validate.integer("K", K, 1, _CODES, ", as a code is a byte")
        self.init, self.seed, self.n_threads = init, seed, n_threads
        self.max_iter = _validate.integer("max_iter", max_iter, 1)

    def fit(self, X: PointsLike, sample_weight: ArrayLike | None = None) -> ProductQuantizer:
        """Find the centroids of each subspace, where they lie in X: it is not copied.

        Parameters
        ----------
        X : array_like of shape (m, n)
            Vectors, at least K of them, in any form that `kmeans` takes, but for sparse ones.
        sample_weight : array_like of shape (m,), optional
            Weight of each vector; 1 by default.

        Returns
        -------
        ProductQuantizer
            Itself.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid.
        """
        points = _inputs.read(X, sample_weight)
        rows = _validate.vectors(points.rows, self.n_subspaces)
        K = _validate.clusters(self.K, len(rows))
        problems = Stack(self._parts(rows))
        problems.share_weights(points.weights)
        options = {"n_init": 1, "max_iter": self.max_iter, "tol": 0.0, "empty": "farthest"}
        options |= {"metric": "euclidean", "search": None, "max_swaps": None}
        fits = Fits(problems, K, self.init, "auto", self.seed, self.n_threads, options)
        try:
            fits.run(None)
        except ValueError:
            points.require_finite()  # in the words of X
            raise
        self.centroids = _validate.in_float32("centroids", fits.centroids)
        return self

    def encode(self, X: PointsLike) -> np.ndarray:
        """Return the closest centroid in each subspace.

        Parameters
        ----------
        X : array_like of shape (m, n)
            Vectors.

        Returns
        -------
        ndarray of shape (m, n_subspaces), uint8

        Raises
        ------
        ValueError, TypeError
            If X is invalid, or the quantizer is not fitted.
        """
        rows = self._rows(_inputs.read(X))
        m, n = rows.shape
        codes = np.empty((m, self.n_subspaces), np.uint8)
        places = [PersistentInputs(Inputs(centroids)) for centroids in self.centroids]
        count = max(_BLOCK_BYTES // (n * rows.itemsize), 1)
        for first in range(0, m, count):
            block = rows[first : first + count]
            for j, part in enumerate(self._parts(block)):
                codes[first : first + count, j] = assign(
                    part, _inputs.Prepared(places[j]), n_threads=self.n_threads
                )
        return codes

    def decode(self, codes: ArrayLike) -> np.ndarray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : array_like of shape (m, n_subspaces)
            Integers from 0 to K - 1.

        Returns
        -------
        ndarray of shape (m, n), float32

        Raises
        ------
        ValueError, TypeError
            If codes are invalid, or the quantizer is not fitted.
        """
        centroids = self._fitted()
        codes = _validate.codes(codes, self.n_subspaces, self.K)
        places = codes + np.arange(0, centroids.shape[0] * centroids.shape[1], centroids.shape[1])
        table = centroids.reshape(-1, centroids.shape[2])
        # All places are valid; mode="raise" would make a copy of what is taken.
        return table.take(places, axis=0, mode="clip").reshape(len(codes), -1)

    def distortion(self, X: PointsLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean squared distance between vectors and what their codes stand for.

        Parameters
        ----------
        X : array_like of shape (m, n)
            Vectors.
        sample_weight : array_like of shape (m,), optional
            Weight of each vector; 1 by default.

        Returns
        -------
        float
            In squared units of X.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid, or the quantizer is not fitted.
        """
        points = _inputs.read(X, sample_weight)
        parts = self._parts(self._rows(points))
        threads = self.n_threads
        return sum(
            distortion(Inputs(part, points.weights), centroids, n_threads=threads)
            for part, centroids in zip(parts, self.centroids, strict=True)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the centroids to one file, which `load` reads.

        Parameters
        ----------
        path : str or path
            The name is used as given, without a suffix added. The file holds plain arrays and a version,
            no pickled objects.
        """
        _archive.write(path, _FORMAT, {"max_iter": self.max_iter}, {"centroids": self._fitted()})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ProductQuantizer:
        """Read a fitted quantizer that `save` wrote.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        ProductQuantizer

        Raises
        ------
        ValueError
            If the file is damaged, was written by a newer version, or holds anything but plain arrays.
        OSError
            If the file cannot be opened.
        """
        return _archive.read(path, _FORMAT, _quantizer_of)

    def __repr__(self) -> str:
        state = "not fitted"
        if hasattr(self, "centroids"):
            state = f"{self.n_subspaces * self.centroids.shape[2]} features"
        return f"<ckmeans.ProductQuantizer: {self.n_subspaces} subspaces, K={self.K}, {state}>"

    def _fitted(self) -> np.ndarray:
        return _validate.fitted(getattr(self, "centroids", None), "ProductQuantizer")

    def _rows(self, points: Inputs) -> np.ndarray:
        """Return vectors of as many features as the quantizer was fitted for."""
        n = self.n_subspaces * self._fitted().shape[2]
        return _validate.vectors(points.rows, self.n_subspaces, n)

    def _parts(self, rows: np.ndarray) -> Any:
        """Return the part of vectors in each subspace."""
        return rows.reshape(len(rows), self.n_subspaces, -1).swapaxes(0, 1)


def _quantizer_of(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> ProductQuantizer:
    """Return a quantizer of what a file holds, if that is consistent."""
    centroids = arrays["centroids"]
    if centroids.ndim != 3 or centroids.dtype != np.float32 or not np.isfinite(centroids).all():
        raise ValueError("its centroids are not those of a quantizer")
    quantizer = ProductQuantizer(*centroids.shape[:2], max_iter=about["max_iter"])
    quantizer.centroids = centroids
    return quantizer
