"""What a fit asks of its blocks, and the replies: each request is answered block by block, and replies are
added.

No reply depends on the order of the additions, on the threads, or on what a block was asked before, so
blocks may lie anywhere, move, and be opened anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ckmeans._block import draw_rows
from ckmeans.dask import _sums
from ckmeans.dask._sums import Units


class Block(Protocol):
    """An open block, as requests see it: see `ckmeans.dask._worker.Block`."""

    number: int
    kept: bool
    info: Any
    points: Any
    weights: np.ndarray | None
    run: Callable[[int], Any]
    values: Callable[[np.ndarray], np.ndarray]
    nearest: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    squares: Callable[[np.ndarray, np.ndarray], float]
    labels: Callable[[int, int, np.ndarray], np.ndarray]
    candidates: Callable[[int, tuple[np.ndarray, ...]], tuple[np.ndarray, np.ndarray]]
    forget_candidates: Callable[[int], None]

    def __len__(self) -> int: ...


class Stale(Exception):
    """A block has not the labels that a request builds on, as it was opened anew."""


class Grid(NamedTuple):
    """Units of the sums of a fit."""

    offset: Units
    weight: Units
    square: Units


class Request(Protocol):
    """A question to blocks."""

    blocks: frozenset[int] | None  # which ones; None: all

    def of_block(self, block: Block) -> Any:
        """Return one block's reply."""


def light(request: Any, streamed: bool = False) -> Any:
    """Return a request without what only blocks need that were opened anew."""
    if isinstance(request, Assign) and (request.new_labels is None or not streamed):
        return request._replace(previous=None, complete=False)
    return request


class Inspect(NamedTuple):
    """Say what the blocks are, also those without rows."""

    blocks: None = None

    def of_block(self, block: Block) -> Infos:
        """Return what one block is."""
        return Infos([block.info])


class Infos:
    """What blocks are."""

    def __init__(self, infos: list[Any]) -> None:
        self.infos = infos

    def add(self, other: Infos) -> None:
        """Add other blocks."""
        self.infos += other.infos

    def complete(self) -> None:
        """Do nothing."""


# ---- a step ---------------------------------------------------------------------------------------


class StepSums:
    """Sums over the blocks of one step: what the update of the centroids needs.

    `changed` counts labels that changed since the step before, None where blocks keep no labels; then
    `labels_hash` is a sum of hashes of all labels. `slow_rows` counts rows whose block would take less time
    with dense steps; `exact` says whether rows were added up one by one: else the square is right to
    rounding only.
    """

    def __init__(
        self,
        offsets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
        square: np.ndarray,
        changed: int | None,
        labels_hash: int,
        slow_rows: int,
        exact: bool,
    ) -> None:
        self.offsets, self.weights, self.counts, self.square = offsets, weights, counts, square
        self.changed, self.labels_hash, self.slow_rows, self.exact = changed, labels_hash, slow_rows, exact

    def add(self, other: StepSums) -> None:
        """Add the sums over other blocks."""
        self.offsets += other.offsets
        self.weights += other.weights
        self.counts += other.counts
        self.square += other.square
        self.changed = None if self.changed is None or other.changed is None else self.changed + other.changed
        self.labels_hash = (self.labels_hash + other.labels_hash) & 0xFFFFFFFFFFFFFFFF
        self.slow_rows += other.slow_rows
        self.exact = self.exact and other.exact

    def complete(self) -> None:
        """Round the sums over all blocks, which halves their bytes."""
        self.offsets = _sums.total(self.offsets)[None]


class Assign(NamedTuple):
    """Assign all points to centroids, and add them up: step `iteration` of a restart.

    `previous` are the centroids of the step before, where they are of use, for blocks that were opened
    anew; without them the request is not `complete`. `new_labels` renumbers the labels where centroids were
    dropped since then; `dense` makes the k-d tree give way to dense steps.
    """

    restart: int
    iteration: int
    centroids: np.ndarray
    previous: np.ndarray | None
    new_labels: np.ndarray | None
    dense: bool
    grid: Grid
    complete: bool = True
    blocks: None = None

    def of_block(self, block: Block) -> StepSums:
        """Return one block's sums."""
        run = block.run(self.restart)
        if self.dense:
            run.state.go_dense()
        known = block.kept or self.new_labels is not None
        if known and run.iteration != self.iteration:
            self._go_on(run)
        square, offsets, weights, counts, changed, slow = run.state.step(self.centroids)
        if run.iteration != self.iteration:
            run.iteration, run.changed = self.iteration, changed
        if block.points.kind == "sparse":
            offsets = offsets - weights[:, None] * self.centroids
        return StepSums(
            _sums.cut(offsets, self.grid.offset),
            _sums.cut(weights, self.grid.weight),
            counts,
            _sums.cut(square, self.grid.square),
            run.changed if known else None,
            0 if block.kept else _hash(block.number, run.state.labels()),
            len(block) if slow else 0,
            run.state.adds_rows,
        )

    def _go_on(self, run: Any) -> None:
        """Bring a restart's labels to the state before this step."""
        if self.iteration == 0:
            run.state.restart()
            return
        if run.iteration != self.iteration - 1:
            if not self.complete:
                raise Stale
            run.state.restart()
            if self.previous is not None:
                run.state.step(self.previous)
        if self.new_labels is not None:
            run.state.renumber(self.new_labels)


def _hash(number: int, labels: np.ndarray) -> int:
    """Return 64 bits that differ if a label does, but for one case in 2^64."""
    digest = hashlib.blake2b(labels, digest_size=8, salt=number.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


class Measure(NamedTuple):
    """Add up the squared distances of points with the labels of step `iteration`, row by row."""

    restart: int
    iteration: int
    centroids: np.ndarray
    grid: Grid
    blocks: None = None

    def of_block(self, block: Block) -> Addend:
        """Return one block's sum."""
        labels = block.labels(self.restart, self.iteration, self.centroids)
        return Addend(_sums.cut(block.squares(self.centroids, labels), self.grid.square))


class Addend:
    """A number cut into parts."""

    def __init__(self, parts: np.ndarray) -> None:
        self.parts = parts

    def add(self, other: Addend) -> None:
        """Add another one."""
        self.parts += other.parts

    def complete(self) -> None:
        """Do nothing: it is small."""


# ---- rows -------------------------------------------------------------------------------------------


class Found:
    """Rows of blocks with their values, each with a key; of equal keys the first rows count as the larger.

    `limit` is how many of the largest keys are wanted; None: all.
    """

    def __init__(
        self, keys: np.ndarray, places: np.ndarray, values: np.ndarray, limit: int | None = None
    ) -> None:
        self.keys, self.places, self.values, self.limit = keys, places, values, limit

    def add(self, other: Found) -> None:
        """Add the rows of other blocks."""
        self.keys = np.concatenate([self.keys, other.keys])
        self.places = np.concatenate([self.places, other.places])
        self.values = np.concatenate([self.values, other.values])
        if self.limit is not None:
            self._keep(np.lexsort((self.places[:, 1], self.places[:, 0], -self.keys))[: self.limit])

    def _keep(self, which: np.ndarray) -> None:
        self.keys, self.places, self.values = self.keys[which], self.places[which], self.values[which]

    def complete(self) -> None:
        """Do nothing: these are the rows that were asked for."""


def _places(block: Block, rows: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(rows), block.number), rows]).astype(np.int64)


class Fetch(NamedTuple):
    """Fetch some rows: of each block of `rows` those with these numbers."""

    rows: dict[int, np.ndarray]
    blocks: frozenset[int]

    def of_block(self, block: Block) -> Found:
        """Return one block's rows."""
        rows = self.rows[block.number]
        weights = np.ones(len(rows)) if block.weights is None else block.weights[rows]
        return Found(weights, _places(block, rows), block.values(rows))


class Locate(NamedTuple):
    """Find the rows where the running sum of the weights, which is `start` before the block, exceeds
    targets.

    Without targets the key of the one reply is the running sum behind the block.
    """

    block: int
    start: float
    targets: np.ndarray
    blocks: frozenset[int]

    def of_block(self, block: Block) -> Found:
        """Return the rows, or the sum."""
        assert block.weights is not None
        running = np.cumsum(np.concatenate([[self.start], block.weights]))[1:]
        rows = np.minimum(np.searchsorted(running, self.targets, side="right"), len(running) - 1)
        if not len(self.targets):
            return Found(running[-1:], _places(block, np.zeros(1, np.int64)), np.empty((1, 0)))
        return Found(block.weights[rows], _places(block, rows), block.values(rows))


class Examples(NamedTuple):
    """Find the next rows, from `first` on, with values that are not among those of `seen`."""

    block: int
    first: int
    wanted: int
    seen: frozenset[bytes]
    blocks: frozenset[int]

    def of_block(self, block: Block) -> Found:
        """Return the rows in their order."""
        seen = set(self.seen)
        rows: list[int] = []
        for row in range(self.first, len(block)):
            if len(rows) == self.wanted:
                break
            value = (block.values(np.array([row])) + 0.0).tobytes()
            if value not in seen and (block.weights is None or block.weights[row] > 0):
                seen.add(value)
                rows.append(row)
        found = np.array(rows, np.int64)
        return Found(np.zeros(len(found)), _places(block, found), block.values(found))


class Farthest(NamedTuple):
    """Find the points farthest from their centroids that weigh something and are off them."""

    centroids: np.ndarray
    wanted: int
    blocks: None = None

    def of_block(self, block: Block) -> Found:
        """Return one block's farthest points."""
        _, squared = block.nearest(self.centroids)
        if block.weights is not None:
            squared = np.where(block.weights > 0, squared, 0)
        rows = np.lexsort((np.arange(len(squared)), -squared))[: self.wanted]
        rows = rows[squared[rows] > 0]
        return Found(squared[rows], _places(block, rows), block.values(rows), self.wanted)


# ---- k-means|| ----------------------------------------------------------------------------------------


class Sample:
    """Rows drawn for a round of k-means||, and the cost: see `Draw`."""

    def __init__(self, cost: np.ndarray, found: Found, wanted: int) -> None:
        self.cost, self.found, self.wanted = cost, found, wanted

    def add(self, other: Sample) -> None:
        """Add the rows of other blocks, and drop those that the larger cost excludes."""
        self.cost += other.cost
        self.found.add(other.found)
        self.found._keep(np.flatnonzero(self.found.keys > float(_sums.total(self.cost)) / self.wanted))

    def complete(self) -> None:
        """Do nothing: there are few rows."""


class Draw(NamedTuple):
    """Draw each row with probability min(1, wanted * w d^2 / cost), in one pass.

    d is the distance to the nearest candidate (the rounds of `pieces`), the cost the sum of w d^2 over all
    rows. With a number u that is uniform in (0, 1), a row is drawn where w d^2 / u exceeds cost / wanted. A
    block knows only its own part of the cost, which is lower: it returns all rows that may turn out to be
    drawn.
    """

    restart: int
    pieces: tuple[np.ndarray, ...]
    wanted: int
    seed: int
    grid: Grid
    blocks: None = None

    def of_block(self, block: Block) -> Sample:
        """Return one block's rows and cost."""
        squared, _ = block.candidates(self.restart, self.pieces)
        number = ((self.restart * 64 + len(self.pieces)) << 32) + block.number + 1
        cost, rows, keys = draw_rows(squared, block.weights, self.wanted, self.seed, number)
        return Sample(
            _sums.cut(cost, self.grid.square),
            Found(keys, _places(block, rows), block.values(rows)),
            self.wanted,
        )


class Tally(NamedTuple):
    """Add up the weights of the points nearest to each candidate."""

    restart: int
    pieces: tuple[np.ndarray, ...]
    grid: Grid
    blocks: None = None

    def of_block(self, block: Block) -> Addend:
        """Return one block's sums; this ends the draws of a restart."""
        _, nearest = block.candidates(self.restart, self.pieces)
        count = sum(map(len, self.pieces))
        weights = np.bincount(nearest, block.weights, minlength=count).astype(np.float64)
        block.forget_candidates(self.restart)
        return Addend(_sums.cut(weights, self.grid.weight))
