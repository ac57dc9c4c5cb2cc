"""The interface of a contender: its task and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import Array


@dataclass
class Job:
    """The task that every contender of a workload gets."""

    X: Array
    starts: list[Array]  # row indices of X, one array for each given start
    iterations: int
    restarts: int
    threads: int
    algorithm: str
    sizes: tuple[int, ...] = ()  # numbers of rows or clusters, if one call runs several
    prepared_bytes: int = 0  # memory of a contender's own copy of X

    @property
    def K(self) -> int:
        """The number of clusters."""
        return len(self.starts[0])

    def start(self, number: int) -> Array:
        """Return a copy of the initial centroids, as floats."""
        rows = self.X[self.starts[number]]
        if not isinstance(rows, np.ndarray):  # sparse
            rows = rows.toarray()
        return rows if rows.dtype.kind == "f" else rows.astype(np.float32)

    def floats(self) -> Array:
        """Return X as a C-contiguous float32 or float64 array; X itself if it is one, or sparse."""
        if not isinstance(self.X, np.ndarray):
            return self.X
        return self._in_form(self.X.dtype if self.X.dtype == np.float64 else np.float32)

    def float32(self) -> Array:
        """Return X as a C-contiguous float32 array; X itself if it is one."""
        return self._in_form(np.float32)

    def _in_form(self, dtype: Any) -> Array:
        prepared = np.ascontiguousarray(self.X, dtype)
        if not np.may_share_memory(prepared, self.X):
            self.prepared_bytes += prepared.nbytes
        return prepared


@dataclass
class Outcome:
    """The result of one call of a contender."""

    centroids: Array | None = None
    n_iter: int | None = None  # updates made, if the contender reports it
    objective: float | None = None  # as the contender reports it; compares only its own fits
    seconds: float | None = None  # if the time is not that of the whole call
    note: str = ""
    engine: str = ""  # the engine that ran, if the contender has several
    curve: tuple[tuple[int, float], ...] = ()  # (size, result), if the call ran several sizes


Run = Callable[[int], Outcome]
Adapter = Callable[[Job], Run]


@dataclass(frozen=True)
class Peer:
    """A contender: its package, and an adapter for each kind of workload it supports.

    An adapter imports its library, prepares everything that must not be timed (threads, dtype,
    start) and returns the function to be timed. That function gets the number of the round, as a
    seed, or of the start, if several are given.
    """

    package: str
    adapters: dict[str, Adapter]
    alone: bool = False  # needs a process of its own: it changes X, or how its library is loaded
