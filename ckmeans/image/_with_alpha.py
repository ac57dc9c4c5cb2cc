"""k-means over colours with alpha that keeps opaque colours opaque and fully transparent ones transparent.

One entry of the palette is the transparent one, for the transparent pixels. The others are opaque or
free: opaque pixels go to the nearest opaque entry, translucent pixels to the nearest entry of all. How
many entries are opaque is part of the search: from the start of an ordinary k-means, an entry that is
hardly missed is moved to a colour with a large error, opaque if that colour is, and the move is kept if
the error falls (Fränti, P., "Efficiency of random swap clustering", J. Big Data 5, 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.api import assign, kmeans, update

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._spaces import ColorSpace
    from ckmeans.image._types import Bytes

__all__ = ["fit_with_alpha", "nearest", "nearest_with_alpha", "squared_error"]

_SWAPS = 256  # tried at most; fewer for many colours
_SWAP_WORK = 200_000_000  # distances of all swaps together
_SWAP_STEPS = 6
_PATIENCE = 96  # swaps in a row that lower nothing, before the search ends
_RANK = 0.35  # chance that the entry which is missed least is the one that moves, else the next, ...


def nearest_with_alpha(
    points: NDArray[Any],
    alpha: NDArray[Any],
    entries: NDArray[Any],
    entry_alpha: NDArray[Any],
    n_threads: Any,
) -> NDArray[np.int32]:
    """Return the nearest entry of each colour: of the same alpha, if it is 0 or 255 and there is one."""
    labels = nearest(points, entries, n_threads)
    for fixed in (0, 255):
        rows, places = np.flatnonzero(entry_alpha == fixed), np.flatnonzero(alpha == fixed)
        if rows.size and places.size:
            labels[places] = rows[nearest(points[places], entries[rows], n_threads)]
    return labels


def nearest(points: NDArray[Any], entries: NDArray[Any], n_threads: Any) -> NDArray[np.int32]:
    labels = np.empty(len(points), dtype=np.int32)
    assign(points, entries.astype(np.float32), out=labels, n_threads=n_threads)
    return labels


def squared_error(
    points: NDArray[Any], entries: NDArray[Any], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the squared distance (u,) of each point to its entry; exact between bytes."""
    difference = points.astype(np.float32) if points.dtype == np.uint8 else points.copy()
    difference -= entries[labels]
    squared: NDArray[np.float64] = np.einsum("ul,ul->u", difference, difference).astype(np.float64)
    return squared


class _Entries(NamedTuple):
    """The entries except the transparent one, and the error of each colour with them."""

    points: NDArray[Any]  # (k, n)
    opaque: NDArray[np.bool_]  # (k,)
    labels: NDArray[np.int32]  # (u,): -1 is the transparent entry
    errors: NDArray[np.float64]  # (u,), times the weights

    @property
    def error(self) -> float:
        return float(self.errors.sum())


def fit_with_alpha(
    colors: Bytes, weights: NDArray[np.float64], K: int, space: ColorSpace, options: dict[str, Any]
) -> Bytes:
    """Return up to K colours for RGBA colours (u, 4), of which more than K are distinct.

    With K = 1 the transparent colour is left out.
    """
    visible = colors[:, 3] > 0
    if K == 1:
        colors, weights, visible = colors[visible], weights[visible], visible[visible]
    search = _Search(space.to_points(colors), colors[:, 3], weights, space, options["n_threads"])
    entries = search.settle(*search.start(K, options), options)
    entries = search.settle(*search.swap(entries, options["seed"]), options)
    palette = space.to_bytes(entries.points)
    palette[palette[:, 3] == 0] = 0
    return palette if visible.all() else np.concatenate([np.zeros((1, 4), np.uint8), palette])


class _Search:
    """The search for the entries of one set of colours."""

    def __init__(
        self,
        points: NDArray[np.float32],
        alpha: NDArray[np.uint8],
        weights: NDArray[np.float64],
        space: ColorSpace,
        n_threads: int | None,
    ) -> None:
        self.points, self.alpha, self.weights = points, alpha, weights
        self.space, self.n_threads = space, n_threads
        self.is_opaque = alpha == 255
        self.clear = points[alpha == 0][:1]  # all fully transparent pixels are one colour

    def start(self, K: int, options: dict[str, Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the entries of an ordinary k-means, opaque where most of their pixels are.

        The transparent colour weighs so much that one centroid is equal to it.
        """
        weights = np.where(self.alpha == 0, 1000 * self.weights.sum(), self.weights)
        fit = kmeans(self.points, K, sample_weight=weights, empty="farthest", **options)
        points, labels = fit.centroids, fit.labels
        weight = np.bincount(labels, self.weights, K)
        opaque_weight = np.bincount(labels, self.weights * self.is_opaque, K)
        if len(self.clear):
            kept = np.arange(K) != labels[self.alpha == 0][0]
            points, weight, opaque_weight = points[kept], weight[kept], opaque_weight[kept]
        opaque = opaque_weight > weight / 2
        if self.is_opaque.any() and not opaque.any():
            opaque[opaque_weight.argmax()] = True
        return self._flatten(points, opaque), opaque

    def settle(self, points: NDArray[Any], opaque: NDArray[np.bool_], options: dict[str, Any]) -> _Entries:
        """Alternate assignment and update until the error hardly falls."""
        entries = self._assign(points, opaque)
        for _ in range(options["max_iter"]):
            following = self._assign(self._update(entries), opaque)
            fell = entries.error - following.error
            if fell > 0:
                entries = following
            if fell <= options["tol"] * entries.error:
                break
        return entries

    def swap(self, entries: _Entries, seed: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return better entries, by moves of one at a time."""
        rng = np.random.default_rng(seed)
        work = _SWAP_STEPS * len(self.points) * len(entries.points)
        failures = 0
        for _ in range(min(_SWAPS, _SWAP_WORK // work)):
            costs = self._removal_costs(entries)
            order = np.argsort(costs, kind="stable")[: np.isfinite(costs).sum()]
            if not order.size or entries.error == 0 or failures == _PATIENCE:
                break
            moved = order[min(rng.geometric(_RANK), order.size) - 1]
            target = rng.choice(len(self.points), p=entries.errors / entries.error)
            points, opaque = entries.points.copy(), entries.opaque.copy()
            points[moved], opaque[moved] = self.points[target], self.is_opaque[target]
            trial = self._assign(points, opaque)
            for _ in range(_SWAP_STEPS):
                trial = self._assign(self._update(trial), opaque)
            failures = 0 if trial.error < entries.error else failures + 1
            if failures == 0:
                entries = trial
        return entries.points, entries.opaque

    def _removal_costs(self, entries: _Entries) -> NDArray[np.float64]:
        """Return by how much the error rises when an entry is merged with another one; infinity if it
        is the only one for opaque pixels."""
        k, n_clear = len(entries.points), len(self.clear)
        weight = np.bincount(entries.labels + n_clear, self.weights, k + n_clear)[n_clear:, None]
        others = np.concatenate([entries.points, self.clear])
        squared = ((entries.points[:, None] - others) ** 2).sum(axis=2, dtype=np.float64)
        # The transparent entry does not give way: it costs as much as if its weight were infinite.
        share = np.ones((k, len(others)))
        share[:, :k] = weight.T / np.maximum(weight + weight.T, np.finfo(float).tiny)
        costs = weight * share * squared
        costs[np.arange(k), np.arange(k)] = np.inf
        takes_opaque = np.concatenate([entries.opaque, np.zeros(n_clear, bool)])
        costs[np.ix_(entries.opaque, ~takes_opaque)] = np.inf
        smallest: NDArray[np.float64] = costs.min(axis=1)
        return smallest

    def _assign(self, points: NDArray[Any], opaque: NDArray[np.bool_]) -> _Entries:
        every = np.concatenate([self.clear, points])
        free = 1  # any alpha between
        every_alpha = np.concatenate([np.zeros(len(self.clear), int), np.where(opaque, 255, free)])
        labels = nearest_with_alpha(self.points, self.alpha, every, every_alpha, self.n_threads)
        errors = self.weights * squared_error(self.points, every, labels)
        return _Entries(points, opaque, labels - np.int32(len(self.clear)), errors)

    def _update(self, entries: _Entries) -> NDArray[Any]:
        """Return the means; entries without a pixel stay."""
        labels, k = entries.labels + len(self.clear), len(entries.points)
        means, counts = update(
            self.points,
            labels,
            k + len(self.clear),
            sample_weight=self.weights,
            n_threads=self.n_threads,
        )
        filled = (counts > 0)[len(self.clear) :, None]
        return self._flatten(np.where(filled, means[len(self.clear) :], entries.points), entries.opaque)

    def _flatten(self, points: NDArray[Any], opaque: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the points with those of opaque entries among opaque colours."""
        return np.where(opaque[:, None], self.space.to_opaque(points), points)
