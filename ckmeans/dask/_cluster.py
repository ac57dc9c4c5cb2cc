"""The blocks of a fit on a Dask cluster: opened, asked, opened anew where a worker died, and dropped at the
end.

Where X fits into the workers' memory its blocks stay open, and a request costs one task a worker, as blocks
are found through their worker (_worker.py); Dask's scheduler sees neither X nor the blocks in a step. Else
every request reads X again, block by block, and is one task a block.

A task names the blocks it asks, and its answer says which of them were missing. So where a worker dies, its
task runs elsewhere, where those blocks are not found; the scheduler makes them anew, as the client still
holds them, and they are asked again. No block is added twice or left out: what a worker's task returned is
used as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import distributed
import numpy as np
from dask.delayed import delayed

from ckmeans._version import __version__
from ckmeans.dask import _worker
from ckmeans.dask._points import DaskPoints, raise_faults
from ckmeans.dask._requests import Inspect, Stale, light
from ckmeans.dask._worker import Answer, Info, Spec

logger = logging.getLogger("distributed.ckmeans")

KEPT_SHARE = 0.4  # of the workers' memory limits that X and what is kept of it may take
TREE_SHARE = 1.5  # of X that is kept at most beside it: a tree for up to TREE_FEATURES features, and labels,
CODES_SHARE = 0.6  # or codes and bounds for more
TREE_FEATURES = 8
SHARED_VALUES = 8_000  # of a request up to which it is sent to each worker, and its answers to the client
QUICK_WORK = 2e9  # multiply-adds of a worker, a tenth of a second, up to which a step is no task
FAN_IN = 8  # answers that one task adds up
MAX_ATTEMPTS = 20  # to have a request answered: each but the first follows the loss of a worker
POLL_SECONDS = 0.02  # between two looks for blocks that are made anew
CLEAN_SECONDS = 10.0  # to wait at the end for the scheduler to drop what is released


class Cluster:
    """The blocks of X on the workers of a client, for one fit.

    As a context manager it leaves nothing on the cluster.
    """

    def __init__(self, client: distributed.Client, X: DaskPoints, spec: Spec, keep: bool | None) -> None:
        self.client, self.X = client, X
        self.fit = spec.fit
        self.spec = spec
        self.infos: list[Info] = []
        self.offsets = np.zeros(len(X) + 1, np.int64)  # number of the first row of each block
        self.total_weight = 0.0
        self.max_abs = 0.0
        self._keep = keep
        self._opened: list[distributed.Future] = []
        self._places: list[str] = []  # worker of each block
        self._pending: list[distributed.Future] = []
        self._count = 0

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._drop_pending()
        self._opened = []
        if kind is not None:
            self._wait_until_clean()

    # ---- opening -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Look at all blocks, and keep them open if there is memory for that."""
        keep = self._keep
        if keep is None and not math.isnan(self.X.nbytes):
            keep = self._fits(self.X.nbytes)
        if keep is None:
            self._survey()
            keep = self._fits(sum(info.bytes for info in self.infos))
        self.spec = self.spec._replace(kept=keep)
        if keep:
            self._open_blocks(range(len(self.X)))
            self._locate(range(len(self.X)))
            (inspected,) = self._ask_kept([Inspect()], range(len(self.X)), "inspect")
            self._read_infos(inspected.infos)
        elif not self.infos:
            self._survey()
        logger.info(
            "ckmeans %s: %d points x %d in %d blocks, %s",
            self.fit, self.offsets[-1], self.X.n, len(self.X),
            "kept open on the workers" if keep else "read again in each step",
        )  # fmt: skip

    def reopen(self, itemsize: int) -> None:
        """Open all blocks anew for another computing dtype."""
        self.spec = self.spec._replace(itemsize=itemsize)
        if self.spec.kept:
            self._opened = []
            self._open_blocks(range(len(self.X)))
            self._locate(range(len(self.X)))

    def _fits(self, size: float) -> bool:
        """Return whether the workers have memory for X of so many bytes and what is kept of it."""
        limits = [
            worker["memory_limit"] or 1 << 62 for worker in self.client.scheduler_info(-1)["workers"].values()
        ]
        share = TREE_SHARE if self.X.n <= TREE_FEATURES else CODES_SHARE
        return size * (1 + share) <= KEPT_SHARE * sum(limits)

    def _survey(self) -> None:
        tasks = [
            delayed(_worker.survey_block)(self.spec, i, rows, weights, dask_key_name=self._key("survey", i))
            for i, (rows, weights) in enumerate(zip(self.X.blocks, self.X.weights, strict=True))
        ]
        self._read_infos(self._gather(self.client.compute(tasks)))

    def _open_blocks(self, numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        self._count += 1
        tasks = [
            delayed(_worker.open_block)(
                self.spec, i, self.X.blocks[i], self.X.weights[i],
                dask_key_name=self._key("block", self._count, i),
            )
            for i in numbers
        ]  # fmt: skip
        futures = self.client.compute(tasks)
        if not self._opened:
            self._opened, self._places = futures, [""] * len(futures)
        else:
            for i, future in zip(numbers, futures, strict=True):
                self._opened[i] = future

    def _read_infos(self, infos: Sequence[Info]) -> None:
        self.infos = sorted(infos)
        self.offsets[1:] = np.cumsum([info.rows for info in self.infos])
        raise_faults(self.infos, self.offsets)
        for info in self.infos:
            if info.features != self.X.n:
                raise ValueError(
                    f"X must have {self.X.n} features in all blocks, found {info.features} in block "
                    f"{info.number}"
                )
        self.total_weight = math.fsum(info.weight for info in self.infos)
        self.max_abs = max(info.max_abs for info in self.infos)
        _check_versions(self.infos)

    # ---- asking ------------------------------------------------------------------------------------

    def ask(self, requests: Sequence[Any], step: str) -> list[Any]:
        """Return the replies to requests, each added up over the blocks that it is for.

        `step` names the tasks on Dask's dashboard."""
        self._count += 1
        wanted = self._wanted(requests)
        if not self.spec.kept:
            requests = [light(request, streamed=True) for request in requests]
            return self._ask_rows(requests, wanted, step).replies
        return self._ask_kept(requests, wanted, step)

    def _ask_kept(self, requests: Sequence[Any], wanted: Sequence[int], step: str) -> list[Any]:
        """Ask blocks that are kept, and those that were missing again."""
        answer = self._ask_blocks([light(request) for request in requests], wanted, step)
        losses: Counter[int] = Counter()
        while answer.missing:
            missing, answer.missing = sorted(set(answer.missing)), []
            losses.update(missing)
            if max(losses.values()) > MAX_ATTEMPTS:
                raise RuntimeError(
                    f"ckmeans: block {missing[0]} of X was lost {MAX_ATTEMPTS} times in one step: its "
                    "workers die, or have no memory for it"
                )
            logger.warning("ckmeans %s: %d of %d blocks are opened anew", self.fit, len(missing), len(self.X))
            # A second loss in a row: the block is in the scheduler's books, but was moved or spilled.
            self._open_blocks([i for i in missing if losses[i] % 2 == 0])
            self._locate(missing)
            self._count += 1
            answer = _added(answer, self._ask_blocks(requests, missing, step))
        return answer.replies

    def _wanted(self, requests: Sequence[Any]) -> list[int]:
        """Return the blocks that requests are for, but those without rows."""
        if any(request.blocks is None for request in requests):
            return [info.number for info in self.infos if info.rows]
        return sorted(frozenset().union(*(request.blocks for request in requests)))

    def _ask_blocks(self, requests: Sequence[Any], numbers: Sequence[int], step: str) -> Answer:
        """Ask blocks that are kept: one task a worker, or none for steps shorter than a task takes."""
        groups: dict[str, list[int]] = {}
        for i in numbers:
            groups.setdefault(self._places[i], []).append(i)
        values = _values_of(requests)
        rows = (
            max(sum(self.infos[i].rows for i in members) for members in groups.values()) if self.infos else 0
        )
        if values * rows <= QUICK_WORK and values <= SHARED_VALUES:
            return self._ask_now(requests, groups)
        shared: Any = list(requests)
        large = values > SHARED_VALUES
        if large and len(groups) > 1:
            shared = self._submit(_worker.same, shared, key=self._key("order", self._count))
        asked = [
            self._submit(
                _worker.ask_blocks, self.fit, members, shared,
                key=self._key(step, self._count, i), workers=[place], allow_other_workers=True,
            )
            for i, (place, members) in enumerate(groups.items())
        ]  # fmt: skip
        if large or len(asked) > FAN_IN:
            asked = [self._merge(asked)]
        return self._sum(asked, list(groups.values()) if len(asked) == len(groups) else [list(numbers)])

    def _ask_now(self, requests: Sequence[Any], groups: dict[str, list[int]]) -> Answer:
        """Ask blocks by a message to all workers; those whose worker does not answer are missing."""
        found = self.client.run(_worker.ask_now, self.fit, groups, list(requests), on_error="return")
        total = Answer([], [])
        for place, members in groups.items():
            answer = found.get(place)
            if isinstance(answer, _worker.Failure):
                raise answer.error
            total = _added(total, answer if isinstance(answer, Answer) else Answer([], members))
        return total

    def _ask_rows(self, requests: Sequence[Any], numbers: Sequence[int], step: str) -> Answer:
        """Ask blocks that are read for it: one task a block, as Dask schedules any graph."""
        shared = delayed(_worker.same, pure=False)(
            list(requests), dask_key_name=self._key("order", self._count)
        )
        tasks = [
            delayed(_worker.ask_rows)(
                self.spec, i, self.X.blocks[i], self.X.weights[i], shared,
                dask_key_name=self._key(step, self._count, i),
            )
            for i in numbers
        ]  # fmt: skip
        level = 0
        while len(tasks) > 1:
            level += 1
            last = len(tasks) <= FAN_IN
            tasks = [
                delayed(_worker.merge_answers)(
                    tasks[i : i + FAN_IN], last, dask_key_name=self._key("merge", self._count, level, i)
                )
                for i in range(0, len(tasks), FAN_IN)
            ]
        future = self.client.compute(tasks[0])
        self._pending.append(future)
        (answer,) = self._gather([future])
        self._pending = []
        return answer

    def _merge(self, asked: list[distributed.Future]) -> distributed.Future:
        """Add answers up on the workers."""
        level = 0
        while len(asked) > 1 or level == 0:
            level += 1
            last = len(asked) <= FAN_IN
            asked = [
                self._submit(
                    _worker.merge_answers, asked[i : i + FAN_IN], last,
                    key=self._key("merge", self._count, level, i),
                )
                for i in range(0, len(asked), FAN_IN)
            ]  # fmt: skip
        return asked[0]

    def _submit(self, function: Callable[..., Any], *args: Any, **options: Any) -> distributed.Future:
        future = self.client.submit(function, *args, pure=False, **options)
        self._pending.append(future)
        return future

    def _sum(self, asked: list[distributed.Future], groups: list[list[int]]) -> Answer:
        """Return the sum of answers; where a task was lost with its workers, its blocks are missing."""
        total: Answer | None = None
        for future, members in zip(asked, groups, strict=True):
            try:
                answer = self._gather([future])[0] if len(asked) == 1 else None
            except distributed.KilledWorker:
                answer = Answer([], list(members))
            if answer is None:
                break
            total = answer
        if total is None:
            total = Answer([], [])
            for answer, members in zip(self._gather(asked, errors=True), groups, strict=True):
                total = _added(total, Answer([], list(members)) if answer is None else answer)
        self._pending = []
        return total

    def label_blocks(self, name: str, best: Any) -> list[distributed.Future]:
        """Return the labels of all blocks as futures with the keys of a dask array."""
        if not self.spec.kept:
            return self._label_rows(name, best)
        labels: dict[int, distributed.Future] = {}
        for attempt in range(MAX_ATTEMPTS):
            waiting = [i for i in range(len(self.X)) if i not in labels]
            if attempt:
                if attempt % 2 == 0:
                    self._open_blocks(waiting)
                self._locate(waiting)
            centroids = delayed(best.centroids, name=f"{name}-{attempt}-centroids")
            tasks = [
                delayed(_worker.labels_of_block)(
                    self._opened[i], best.restart, best.iteration, centroids,
                    dask_key_name=(f"{name}-{attempt}", i),
                )
                for i in waiting
            ]  # fmt: skip
            labels.update(zip(waiting, self.client.compute(tasks), strict=True))
            self._wait([labels[i] for i in waiting])
            labels = {i: future for i, future in labels.items() if not _is_stale(future)}
            if len(labels) == len(self.X):
                break
        self._raise_errors(labels.values())
        return [labels[i] for i in range(len(self.X))]

    def _label_rows(self, name: str, best: Any) -> list[distributed.Future]:
        """Return the labels of blocks that are read for it."""
        centroids = delayed(best.centroids, name=f"{name}-centroids")
        futures: list[distributed.Future] = self.client.compute(
            [
                delayed(_worker.labels_of_rows)(self.spec, rows, centroids, dask_key_name=(name, i))
                for i, rows in enumerate(self.X.blocks)
            ]
        )
        self._wait(futures)
        self._raise_errors(futures)
        return futures

    # ---- futures -----------------------------------------------------------------------------------

    def _key(self, *parts: Any) -> str:
        return "-".join(["ckmeans", str(parts[0]), self.fit, *map(str, parts[1:])])

    def _gather(self, futures: Sequence[distributed.Future], errors: bool = False) -> list[Any]:
        """Return the results of tasks; with `errors` None for those whose workers died again and again."""
        try:
            return list(self.client.gather(list(futures)))
        except distributed.KilledWorker:
            if not errors:
                raise
            return [None if future.status == "error" else future.result() for future in futures]
        except CancelledError as error:
            raise self._explain(error) from error

    def _explain(self, error: BaseException) -> Exception:
        """Return why tasks were cancelled."""
        lost = [future.key for future in self.X.held if future.status in ("lost", "cancelled", "error")]
        if lost:
            return RuntimeError(
                f"ckmeans: {len(lost)} of {len(self.X)} blocks of X are lost with their worker, and Dask has "
                "no way to make them anew: they were put on the cluster as they are. Load them by a graph "
                "(from files, or dask.array.from_array(...).persist()), or keep copies (client.replicate)"
            )
        return CancelledError("ckmeans: the fit was cancelled, as its tasks were, or its client was closed")

    def _wait(self, futures: Iterable[distributed.Future]) -> None:
        """Wait until tasks are done, or failed."""
        try:
            distributed.wait(list(futures))
        except CancelledError as error:
            raise self._explain(error) from error

    def _raise_errors(self, futures: Iterable[distributed.Future]) -> None:
        """Raise the error of a task that failed."""
        for future in futures:
            if future.status == "error":
                future.result()
            elif future.status == "cancelled":
                raise self._explain(CancelledError())

    def _locate(self, numbers: Iterable[int]) -> None:
        """Find the workers of blocks, once they are open."""
        waiting = list(numbers)
        self._wait([self._opened[i] for i in waiting])
        while waiting:
            workers = self.client.who_has([self._opened[i] for i in waiting])
            still = []
            for i in waiting:
                future = self._opened[i]
                if workers.get(future.key):
                    self._places[i] = workers[future.key][0]
                elif future.status == "error":
                    future.result()
                elif future.status == "cancelled":
                    raise self._explain(CancelledError())
                else:
                    still.append(i)
            waiting = still
            if waiting:
                time.sleep(POLL_SECONDS)

    def _drop_pending(self) -> None:
        """Cancel what is under way; a task that runs ends by itself, and its result is dropped."""
        if self._pending:
            with contextlib.suppress(Exception):
                self.client.cancel(self._pending, force=True)
        self._pending = []

    def _wait_until_clean(self) -> None:
        """Wait until the scheduler has dropped what was released: then nothing of the fit is left."""
        deadline = time.monotonic() + CLEAN_SECONDS
        with contextlib.suppress(Exception):  # of a client that is closed
            while time.monotonic() < deadline:
                kept = self.client.who_has()
                if not any(_is_state(key, self.fit) and workers for key, workers in kept.items()):
                    break
                time.sleep(POLL_SECONDS)


def new_fit_name() -> str:
    """Return a name that no other fit has."""
    return uuid.uuid4().hex


def _is_state(key: Any, fit: str) -> bool:
    return isinstance(key, str) and key.startswith("ckmeans-") and fit in key


def _is_stale(future: distributed.Future) -> bool:
    """Return whether a task ran elsewhere than its block lies."""
    return future.status == "error" and isinstance(future.exception(), (Stale, distributed.KilledWorker))


def _added(total: Answer, answer: Answer) -> Answer:
    if not total.replies:
        answer.missing = total.missing + answer.missing
        return answer
    total.add(answer)
    return total


def _values_of(requests: Sequence[Any]) -> int:
    """Return how many numbers the arrays of requests hold."""
    values = [value for request in requests for value in request]
    arrays = [a for v in values for a in (v if isinstance(v, tuple) else (v,)) if isinstance(a, np.ndarray)]
    return sum(array.size for array in arrays)


def _check_versions(infos: Sequence[Info]) -> None:
    """Raise where workers have another version of ckmeans; warn where they compute by other instructions."""
    versions = {info.version for info in infos} | {__version__}
    if len(versions) > 1:
        raise RuntimeError(
            "the client and all workers must have the same version of ckmeans, found "
            + ", ".join(sorted(versions))
        )
    simd = {info.simd for info in infos if info.rows}
    if len(simd) > 1:
        warnings.warn(
            f"the workers compute by different instructions ({', '.join(sorted(simd))}): last digits depend "
            "on where a block lies; CKMEANS_SIMD sets one for all",
            stacklevel=2,
        )


def check_client(client: Any) -> distributed.Client:
    """Return the client to use."""
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "client must be a distributed.Client, found none: start one with "
                "client = distributed.Client() (a cluster on this machine), or pass client="
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client, found {type(client).__name__}")
    if client.asynchronous:
        raise TypeError("client must not be asynchronous: a fit waits for its steps")
    return client
