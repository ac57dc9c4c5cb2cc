"""Starts of a fit on many machines: the random rows that one machine draws, and k-means||.

Bahmani, B., Moseley, B., Vattani, A., Kumar, R. and Vassilvitskii, S., "Scalable k-means++", VLDB 2012.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

import ckmeans
from ckmeans._block import RandomStream
from ckmeans.dask import _sums
from ckmeans.dask._requests import Draw, Examples, Fetch, Found, Grid, Locate, Tally

OVERSAMPLING = 2  # candidates that a round of k-means|| draws, for each cluster
ROUNDS = 3
EXAMPLE_DRAWS = 16  # draws a cluster, and
MORE_DRAWS = 64  # more, for examples of distinct values before all rows are scanned: as on one machine
CANDIDATE_RESTARTS = 5  # of the clustering of the candidates, which are few


class Rows(NamedTuple):
    """Rows of all blocks, by their number in X."""

    offsets: np.ndarray  # of each block's first row, and the number of all rows
    weighted: bool

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def fetch(self, rows: np.ndarray) -> Generator[Any, Any, tuple[np.ndarray, np.ndarray]]:
        """Return the weights and the values of some rows, in the order given."""
        blocks = np.searchsorted(self.offsets, rows, side="right") - 1
        wanted = {int(b): rows[blocks == b] - self.offsets[b] for b in np.unique(blocks)}
        found = yield Fetch(wanted, frozenset(wanted))
        where = np.lexsort((found.places[:, 1], found.places[:, 0]))
        order = np.empty(len(rows), np.int64)
        order[np.lexsort((rows - self.offsets[blocks], blocks))] = where
        return found.keys[order], found.values[order]


# ---- random examples -------------------------------------------------------------------------------


def random_examples(
    rows: Rows, K: int, random: RandomStream, total_weight: float
) -> Generator[Any, Any, np.ndarray]:
    """Return K examples, of distinct values while there are such: the rows that one machine draws."""
    examples: dict[bytes, np.ndarray] = {}
    running = (yield from _running_weights(rows)) if rows.weighted else None
    draws = EXAMPLE_DRAWS * K + MORE_DRAWS
    while len(examples) < K and draws > 0:
        count = min(K - len(examples), draws)
        draws -= count
        for value in (yield from _draw(rows, count, random, running)):
            examples.setdefault(value.tobytes(), value)
    if len(examples) < K:
        yield from _scan(rows, K, random, running, examples)
    while len(examples) < K:  # fewer distinct values than clusters: some rows come twice
        for value in (yield from _draw(rows, 1, random, running)):
            examples[len(examples).to_bytes(8, "little") + value.tobytes()] = value
    return np.ascontiguousarray(list(examples.values()))


def _running_weights(rows: Rows) -> Generator[Any, Any, np.ndarray]:
    """Return the running sum of the weights behind each block, added row by row as on one machine."""
    ends = [0.0]
    for block in range(len(rows.offsets) - 1):
        if rows.offsets[block] == rows.offsets[block + 1]:
            ends.append(ends[-1])
            continue
        found = yield Locate(block, ends[-1], np.empty(0), frozenset([block]))
        ends.append(float(found.keys[0]))
    return np.array(ends)


def _draw(
    rows: Rows, count: int, random: RandomStream, running: np.ndarray | None
) -> Generator[Any, Any, np.ndarray]:
    """Return the values of rows drawn by their weight, without negative zeros."""
    if running is None:
        _, values = yield from rows.fetch(np.array([random.below(len(rows)) for _ in range(count)]))
        return np.asarray(values + values.dtype.type(0))
    found = yield from _draw_weighted(count, random, running)
    return np.asarray([value + value.dtype.type(0) for _, value in found])


def _draw_weighted(
    count: int, random: RandomStream, running: np.ndarray
) -> Generator[Any, Any, list[tuple[tuple[int, int], np.ndarray]]]:
    """Return places and values of rows drawn by their weight."""
    targets = np.array([random.unit() * running[-1] for _ in range(count)])
    blocks = np.minimum(np.searchsorted(running[1:], targets, side="right"), len(running) - 2)
    found: list[Any] = [None] * count
    for block in np.unique(blocks):
        which = np.flatnonzero(blocks == block)
        reply = yield Locate(int(block), float(running[block]), targets[which], frozenset([int(block)]))
        for i, place, value in zip(which, reply.places, reply.values, strict=True):
            found[i] = (int(place[0]), int(place[1])), value
    return found


def _scan(
    rows: Rows, K: int, random: RandomStream, running: np.ndarray | None, examples: dict[bytes, np.ndarray]
) -> Generator[Any, Any, None]:
    """Go on where few values are distinct: try every row once, from a random one on."""
    if running is None:
        row = random.below(len(rows))
        block = int(np.searchsorted(rows.offsets, row, side="right")) - 1
        first = row - int(rows.offsets[block])
    else:
        ((block, first), _), *_ = yield from _draw_weighted(1, random, running)
    count = len(rows.offsets) - 1
    for i in range(count + 1):
        number = (block + i) % count
        if rows.offsets[number] == rows.offsets[number + 1]:
            continue
        found = yield Examples(
            number, first if i == 0 else 0, K - len(examples), frozenset(examples), frozenset([number])
        )
        for value in found.values + found.values.dtype.type(0):
            examples.setdefault(value.tobytes(), value)
        if len(examples) >= K:
            return


# ---- k-means|| ---------------------------------------------------------------------------------------


def scalable_start(
    rows: Rows, K: int, restart: int, seed: int, block_weights: Sequence[float], grid: Grid
) -> Generator[Any, Any, np.ndarray]:
    """Return K centroids by k-means||: in each round draw 2 K rows or so by D^2 sampling, all at once; at
    the end weigh each candidate by the points nearest to it, and cluster the candidates.

    A round is one pass over the points, ROUNDS + 1 in all."""
    random = RandomStream(seed, restart)
    first = yield from _first_candidate(rows, random, block_weights)
    pieces = [first]
    for _ in range(ROUNDS):
        sample = yield Draw(restart, tuple(pieces), OVERSAMPLING * K, seed, grid)
        found: Found = sample.found
        chosen = np.flatnonzero(found.keys > float(_sums.total(sample.cost)) / (OVERSAMPLING * K))
        if not len(chosen):
            break
        order = np.lexsort((found.places[chosen, 1], found.places[chosen, 0]))
        pieces.append(np.ascontiguousarray(found.values[chosen[order]]))
    tally = yield Tally(restart, tuple(pieces), grid)
    candidates, weights = np.concatenate(pieces), _sums.total(tally.parts)
    if len(candidates) <= K:
        return (yield from _fill(rows, candidates, K, random))
    return reduce_candidates(candidates, weights, K, seed + restart)


def _first_candidate(
    rows: Rows, random: RandomStream, block_weights: Sequence[float]
) -> Generator[Any, Any, np.ndarray]:
    """Return one row, drawn by its weight."""
    if not rows.weighted:
        _, values = yield from rows.fetch(np.array([random.below(len(rows))]))
        return values
    running = np.concatenate([[0.0], np.cumsum(block_weights)])
    found = yield from _draw_weighted(1, random, running)
    return found[0][1][None]


def _fill(
    rows: Rows, candidates: np.ndarray, K: int, random: RandomStream
) -> Generator[Any, Any, np.ndarray]:
    """Return K centroids where there are no more candidates than that: with random rows beside them."""
    if len(candidates) == K:
        return candidates
    numbers = np.array([random.below(len(rows)) for _ in range(K - len(candidates))])
    _, values = yield from rows.fetch(numbers)
    return np.concatenate([candidates, values])


def reduce_candidates(candidates: np.ndarray, weights: np.ndarray, K: int, seed: int) -> np.ndarray:
    """Return K centroids of weighted candidates: k-means++ and Lloyd's algorithm, the best of a few."""
    result = ckmeans.kmeans(
        candidates,
        K,
        sample_weight=weights,
        n_init=CANDIDATE_RESTARTS,
        empty="reinit",
        algorithm="dense",
        seed=seed,
    )
    return result.centroids
