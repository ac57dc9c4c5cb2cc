"""The loop of a restart, on the client: it yields requests to all blocks, and receives their replies.

It is Lloyd's algorithm as in src/ckmeans/_lloyd.pyx, with the same rules. Each restart is a generator, so
that the requests of all restarts are answered in one pass over the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np

from ckmeans import _validate
from ckmeans._block import RandomStream
from ckmeans.dask import _sums
from ckmeans.dask._requests import Assign, Farthest, Grid, Measure, StepSums

RANDOM_DRAWS = (
    64  # after which an empty cluster is put on the farthest point: few points are off their centroid
)


class Options(NamedTuple):
    """What controls a fit."""

    K: int
    n_init: int
    max_iter: int
    tol: float
    empty: str
    seed: int
    keep_path: bool
    callback: Callable[[int, float, np.ndarray], Any] | None


class Data(NamedTuple):
    """What a restart knows of all points."""

    rows: int
    total_weight: float
    grid: Grid
    fetch: Callable[[np.ndarray], Any]  # generator function: rows by number -> keys (weights), values


class Outcome(NamedTuple):
    """Where a restart ended."""

    centroids: np.ndarray
    counts: np.ndarray
    history: list[float]
    stop_reason: str
    path: list[np.ndarray]
    iteration: int  # number of the last step, whose labels the blocks hold
    restart: int

    @property
    def distortion(self) -> float:
        """J."""
        return self.history[-1]


class Restart:
    """One restart of Lloyd's algorithm."""

    def __init__(self, number: int, options: Options, data: Data, random: RandomStream) -> None:
        self.number, self.options, self.data, self.random = number, options, data, random
        self.centroids = np.empty((0, 0))
        self.previous: np.ndarray | None = None
        self.new_labels: np.ndarray | None = None
        self.step = -1
        self.dense = False
        self.changed = True
        self.labels_hash: int | None = None
        self.sums: StepSums
        self.distortion = np.inf
        self.history: list[float] = []
        self.path: list[np.ndarray] = []

    # ---- assign -------------------------------------------------------------------------------------

    def assign(self) -> Generator[Any, Any, None]:
        """Find sums and distortion for the present centroids."""
        self.step += 1
        sums = yield Assign(
            self.number, self.step, self.centroids, self.previous, self.new_labels, self.dense, self.data.grid
        )
        self.sums = sums
        self.previous, self.new_labels = self.centroids, None
        self.distortion = float(_sums.total(sums.square)) / self.data.total_weight
        if not np.isfinite(self.distortion):
            _validate.raise_beyond_float64(X=np.array([np.inf]))
        self.changed = sums.labels_hash != self.labels_hash if sums.changed is None else sums.changed > 0
        self.labels_hash = sums.labels_hash
        self.dense = self.dense or 2 * sums.slow_rows > self.data.rows
        if self.options.empty == "error" and not self.weights.all():
            raise ValueError(
                _validate.empty_cluster_message(int(self.weights.argmin()), max(len(self.history) - 1, 0))
            )

    @property
    def weights(self) -> np.ndarray:
        """Weight of each cluster."""
        return _sums.total(self.sums.weights)

    def record(self) -> None:
        """Append the distortion of the assignment that was just made."""
        self.history.append(self.distortion)
        if self.options.keep_path:
            self.path.append(self.centroids.copy())

    # ---- update -------------------------------------------------------------------------------------

    def update(self) -> Generator[Any, Any, None]:
        """Move every centroid to the mean of its points; drop or fill empty clusters."""
        weights = self.weights
        filled = weights > 0
        moved = self.centroids.astype(np.float64)
        moved[filled] += _sums.total(self.sums.offsets)[filled] / weights[filled, None]
        moved = moved.astype(self.centroids.dtype)
        if not filled.all() and self.options.empty != "drop":
            values = yield from self.refill(int((~filled).sum()))
            moved[np.flatnonzero(~filled)[: len(values)]] = values
        self.centroids = moved
        if not filled.all() and self.options.empty == "drop":
            self.drop(filled)

    def drop(self, filled: np.ndarray) -> None:
        """Remove the empty clusters; the others keep their order."""
        self.new_labels = np.where(filled, np.cumsum(filled) - 1, -1).astype(np.int32)
        self.centroids = np.ascontiguousarray(self.centroids[filled])

    def refill(self, count: int) -> Generator[Any, Any, np.ndarray]:
        """Return points for empty clusters, those that lie off their centroids."""
        centroids = self.previous
        assert centroids is not None
        if self.options.empty == "reinit":
            rows = np.array([self.random.below(self.data.rows) for _ in range(RANDOM_DRAWS * count)])
            weights, values = yield from self.data.fetch(rows)
            on_centroid = (values[:, None] == centroids).all(axis=2).any(axis=1)
            chosen = np.flatnonzero((weights > 0) & ~on_centroid)[:count]
            if len(chosen) == count:
                return values[chosen]
        found = yield Farthest(centroids, count)
        return found.values

    # ---- the loop -----------------------------------------------------------------------------------

    def run(self, start: np.ndarray) -> Generator[Any, Any, Outcome]:
        """Iterate from a start until it stops."""
        self.centroids = start
        reason = yield from self.iterate()
        while self.options.empty == "drop" and not self.weights.all():
            self.drop(self.weights > 0)
            yield from self.assign()
            self.history.pop()
            self.path[-1:] = []
            self.record()
        if not self.sums.exact:
            yield from self.measure()
        return Outcome(
            self.centroids, self.sums.counts, self.history, reason, self.path, self.step, self.number
        )

    def iterate(self) -> Generator[Any, Any, str]:
        """Assign, check whether to stop, update; return why it stopped."""
        before = np.inf
        yield from self.assign()
        while True:
            self.record()
            reason = self.check_stop(before)
            if reason:
                return reason
            before = self.distortion
            state = self.centroids, self.sums
            yield from self.update()
            yield from self.assign()
            if self.distortion > before:  # by rounding: return to the state before
                reason = "tolerance" if self.changed else "stable"
                if len(self.centroids) != len(state[0]):
                    self.new_labels, self.previous = None, None
                self.centroids = state[0]
                yield from self.assign()
                self.history[-1] = self.distortion
                return reason

    def check_stop(self, before: float) -> str:
        """Return why the restart stops after the assignment that was just made; "" if it goes on."""
        n_updates = len(self.history) - 1
        if self.options.callback is not None:
            returned = self.options.callback(n_updates, self.distortion, self.centroids.copy())
            if isinstance(returned, (bool, np.bool_)) and returned:
                return "callback"
        if n_updates > 0:
            if not self.changed:
                return "stable"
            if before - self.distortion <= self.options.tol * before:
                return "tolerance"
        return "max_iter" if n_updates == self.options.max_iter else ""

    def measure(self) -> Generator[Any, Any, None]:
        """Give the distortion all digits; what was found before must not lie below it."""
        reply = yield Measure(self.number, self.step, self.centroids, self.data.grid)
        exact = float(_sums.total(reply.parts)) / self.data.total_weight
        self.history = [max(value, exact) for value in self.history]
        self.history[-1] = exact
