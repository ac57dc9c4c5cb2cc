"""What runs on the workers: blocks of points that stay open during a fit, and the tasks that ask them.

A block is the result of a task, which keeps it on its worker as long as the client holds the task's future:
it goes with the future, and where a worker dies, Dask makes its blocks anew elsewhere. Tasks find the
blocks of their worker by number, through weak references, so that a step is one task a worker whatever the
number of blocks. A block is never sent: what arrives in its place is a `Moved`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import distributed
import numpy as np

from ckmeans import _arrays, _engine, _inputs, _runtime, _validate
from ckmeans._block import BlockState, keep_nearest
from ckmeans._config import cap_threads
from ckmeans._engines import ENGINES
from ckmeans._inputs import Inputs
from ckmeans._points import Points, PreparedPoints
from ckmeans._version import __version__
from ckmeans.dask._requests import Inspect, Stale


class Spec(NamedTuple):
    """What the blocks of a fit have in common.

    `itemsize` is that of the computing dtype; 0: not known before all blocks were looked at. `kept` says
    whether blocks stay open between requests.
    """

    fit: str
    K: int
    n_init: int
    max_iter: int
    algorithm: str
    n_threads: int | None
    itemsize: int
    kept: bool


Fault: TypeAlias = tuple[str, int, int | None, float]  # argument, row, column (None for weights), value


class Info(NamedTuple):
    """What the client knows of a block.

    `fault` is the first value that is not finite, or the first weight that is not valid: the argument's
    name, the row, the column (None for weights), the value.
    """

    number: int
    rows: int
    features: int
    dtype: np.dtype | None
    max_abs: float
    weight: float
    bytes: int
    fault: Fault | None
    version: str
    simd: str


class Answer:
    """Replies to requests, and the blocks that gave none: they are not there, or have to be opened anew."""

    def __init__(self, replies: list[Any], missing: list[int]) -> None:
        self.replies, self.missing = replies, missing

    def add(self, other: Answer) -> None:
        """Add the replies of other blocks."""
        for i, reply in enumerate(other.replies):
            if self.replies[i] is None:
                self.replies[i] = reply
            elif reply is not None:
                self.replies[i].add(reply)
        self.missing += other.missing


class Failure(NamedTuple):
    """What a worker raised; what Dask returns as an exception is a worker that was not reached."""

    error: Exception


class Run:
    """One restart on one block: the engine with labels of step `iteration`, of which `changed` are new."""

    def __init__(self, state: BlockState) -> None:
        self.state, self.iteration, self.changed = state, -1, 0


class Block:
    """The points of a block, and what restarts keep of them."""

    def __init__(self, spec: Spec, number: int, points: Inputs | None, info: Info, n_threads: int) -> None:
        self.spec, self.number, self.info, self.n_threads = spec, number, info, n_threads
        self.kept = spec.kept
        self.lock = threading.Lock()
        self._runs: dict[int, Run] = {}
        self._candidates: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
        self._points = points
        itemsize = spec.itemsize or (0 if points is None else points.itemsize)
        self._prepared_points = None if points is None else points.prepared_points(itemsize)

    def __len__(self) -> int:
        return self.info.rows

    @property
    def points(self) -> Inputs:
        """The points, of which there are some."""
        assert self._points is not None
        return self._points

    @property
    def _prepared(self) -> PreparedPoints:
        assert self._prepared_points is not None
        return self._prepared_points

    @property
    def weights(self) -> np.ndarray | None:
        """Weight of each point; None: 1."""
        return self.points.weights

    @property
    def dtype(self) -> type[np.floating]:
        """The computing dtype."""
        return np.float32 if self._prepared.itemsize == 4 else np.float64

    def run(self, restart: int) -> Run:
        """Return the state of a restart."""
        if restart not in self._runs:
            spec = self.spec
            self._runs[restart] = Run(
                BlockState(
                    self._prepared,
                    ENGINES[spec.algorithm],
                    spec.K,
                    spec.n_init,
                    spec.max_iter,
                    self.n_threads,
                )
            )
        return self._runs[restart]

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows in the computing dtype."""
        selected = self.points.select(rows)
        selected = selected.toarray() if _arrays.is_sparse(selected) else selected
        return np.ascontiguousarray(selected, self.dtype)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and squared distances of all points."""
        labels, squared = np.empty(len(self), np.int32), np.empty(len(self))
        self._step(centroids, labels, squared, _engine.ASSIGN)
        return labels, squared

    def squares(self, centroids: np.ndarray, labels: np.ndarray) -> float:
        """Return the (weighted) sum of the squared distances of points to their centroids."""
        return float(self._step(centroids, labels, None, _engine.MEASURE)[0])

    def _step(
        self, centroids: np.ndarray, labels: np.ndarray, squared: np.ndarray | None, outputs: int
    ) -> Any:
        places = _engine.Centroids(Points(centroids, 8), self._prepared.itemsize, False)
        return _engine.step(self._prepared, ENGINES["auto"], places, labels, squared, outputs, self.n_threads)

    def labels(self, restart: int, iteration: int, centroids: np.ndarray) -> np.ndarray:
        """Return the labels of a step, made anew where they are gone."""
        run = self._runs.get(restart)
        if run is not None and run.iteration == iteration:
            return run.state.labels()
        return self.nearest(centroids)[0]

    def candidates(self, restart: int, pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's squared distance to the nearest candidate, in the computing dtype, and its
        number.

        The candidates come in pieces, one a round; what earlier rounds found is kept."""
        done, squared, nearest = self._candidates.get(
            restart, (0, np.full(len(self), np.inf, self.dtype), np.zeros(len(self), np.int32))
        )
        first = sum(map(len, pieces[:done]))
        for piece in pieces[done:]:
            labels, new = self.nearest(piece)
            keep_nearest(new, labels, first, squared, nearest)
            first += len(piece)
        if self.kept:
            self._candidates[restart] = len(pieces), squared, nearest
        return squared, nearest

    def forget_candidates(self, restart: int) -> None:
        """Free what `candidates` keeps."""
        self._candidates.pop(restart, None)

    def __sizeof__(self) -> int:
        """Bytes for Dask, with those of the points: what is small it moves to where there is time for it."""
        return 1024 + self.info.bytes + sum(run.state.bytes for run in self._runs.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return Moved, ()


class Moved:
    """What becomes of a block that leaves its worker's memory."""


_blocks: weakref.WeakValueDictionary[tuple[str, int], Block] = weakref.WeakValueDictionary()


# ---- tasks ----------------------------------------------------------------------------------------------


def open_block(spec: Spec, number: int, rows: Any, weights: Any) -> Block:
    """Return a block that is found by its number, too, as long as it lives."""
    block = _block_of(spec, number, rows, weights, _worker_threads(spec))
    _blocks[spec.fit, number] = block
    return block


def survey_block(spec: Spec, number: int, rows: Any, weights: Any) -> Info:
    """Return the same of points that are not kept."""
    return _block_of(spec, number, rows, weights, 1).info


def ask_blocks(fit: str, numbers: Sequence[int], requests: Sequence[Any]) -> Answer:
    """Return what the blocks of this worker answer, added up."""
    answer = Answer([None] * len(requests), [])
    for number in numbers:
        block = _blocks.get((fit, number))
        if block is None:
            answer.missing.append(number)
            continue
        try:
            with block.lock:
                replies = _replies(block, requests)
        except Stale:
            answer.missing.append(number)
        else:
            answer.add(Answer(replies, []))
    return answer


async def ask_now(
    fit: str, places: dict[str, list[int]], requests: Sequence[Any], dask_worker: distributed.Worker
) -> Answer | Failure:
    """Do what `ask_blocks` does for the blocks of this worker, without a task: for short steps.

    A task takes Dask some ten milliseconds, most of them in the scheduler; this takes two."""
    numbers = places.get(dask_worker.address, [])
    loop, pool = asyncio.get_running_loop(), dask_worker.executors["default"]
    try:
        return await loop.run_in_executor(pool, ask_blocks, fit, numbers, requests)
    except Exception as error:
        return Failure(error)


def ask_rows(spec: Spec, number: int, rows: Any, weights: Any, requests: Sequence[Any]) -> Answer:
    """Return what a block answers that is not kept."""
    answer = Answer(_replies(_block_of(spec, number, rows, weights, 1), requests), [])
    _runtime.clear_cache()  # where X does not fit, memory is scarce
    return answer


def merge_answers(answers: Sequence[Answer], last: bool) -> Answer:
    """Return the sum of some answers; the `last` one, of all blocks, is rounded to float64."""
    first = Answer([None] * len(answers[0].replies), [])
    for answer in answers:
        first.add(answer)
    if last and not first.missing:
        for reply in first.replies:
            if reply is not None:
                reply.complete()
    return first


def labels_of_block(block: Block | Moved, restart: int, iteration: int, centroids: np.ndarray) -> np.ndarray:
    """Return the labels of a block's points, int32."""
    if isinstance(block, Moved):
        raise Stale
    if block.info.rows == 0:
        return np.empty(0, np.int32)
    with block.lock:
        return block.labels(restart, iteration, centroids)


def labels_of_rows(spec: Spec, rows: Any, centroids: np.ndarray) -> np.ndarray:
    """Return the labels of points that are not kept."""
    block = _block_of(spec, 0, rows, None, 1)
    return np.empty(0, np.int32) if block.info.rows == 0 else block.nearest(centroids)[0]


def same(value: Any) -> Any:
    """Return what is given: a task whose result several others use."""
    return value


def _replies(block: Block, requests: Sequence[Any]) -> list[Any]:
    return [request.of_block(block) if _asks(request, block) else None for request in requests]


def _asks(request: Any, block: Block) -> bool:
    if block.info.rows == 0:
        return isinstance(request, Inspect)
    return request.blocks is None or block.number in request.blocks


def _worker_threads(spec: Spec) -> int:
    """Return how many threads a task of its own may use on this worker: as many as Dask runs there."""
    if spec.n_threads is not None:
        return spec.n_threads
    # OpenMP's own limit is 1 on a worker: Dask sets it so, as it runs a task on each of its threads.
    threads = 1
    with contextlib.suppress(ValueError):  # not on a worker
        threads = distributed.get_worker().state.nthreads
    return cap_threads(threads)


# ---- reading --------------------------------------------------------------------------------------------


def _block_of(spec: Spec, number: int, rows: Any, weights: Any, n_threads: int) -> Block:
    if len(rows.shape) == 2 and rows.shape[0] == 0:
        if weights is not None and len(weights):
            raise ValueError(
                f"sample_weight must have the rows of X, found {len(weights)} in block {number} for 0"
            )
        info = _info(number, (0, rows.shape[1]), None, 0.0, 0.0, 0, None)
        return Block(spec, number, None, info, n_threads)
    points = _inputs.read(rows)
    checked, weight = None, float(len(points))
    fault: Fault | None = None
    if weights is not None:
        checked = _arrays.widened(_arrays.read("sample_weight", weights)[0])
        if checked.shape != (len(points),):
            raise ValueError(
                f"sample_weight must have the rows of X, found shape {checked.shape} in block {number} for "
                f"{len(points)} rows"
            )
        checked = np.ascontiguousarray(checked, np.float64)
        weight = float(checked.sum())
        bad = np.flatnonzero(~(checked >= 0) | ~np.isfinite(checked))
        if len(bad):
            fault, checked, weight = ("sample_weight", int(bad[0]), None, float(checked[bad[0]])), None, 0.0
    largest = _validate.max_abs(points.rows)
    if not np.isfinite(largest):
        fault = _first_not_finite(points) or fault
        return Block(
            spec, number, None, _info(number, points.shape, points.dtype, 0.0, weight, 0, fault), n_threads
        )
    bytes_ = getattr(points.rows, "nbytes", None) or points.size * (points.dtype.itemsize + 8)
    info = _info(number, points.shape, points.dtype, largest, weight, bytes_, fault)
    return Block(spec, number, points.reweighted(checked), info, n_threads)


def _first_not_finite(points: Inputs) -> Fault | None:
    rows: Any = points.rows
    found = (Points(rows, 8) if isinstance(rows, np.ndarray) else rows).first_not_finite()
    return found and ("X", int(found[0]), int(found[1]), float(found[2]))


def _info(
    number: int, shape: tuple[int, int], dtype: Any, max_abs: float, weight: float, bytes_: int, fault: Any
) -> Info:
    simd = _runtime.chosen_instruction_set()
    return Info(number, *shape, dtype, max_abs, weight, bytes_, fault, __version__, simd)
