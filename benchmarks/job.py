"""What a contender is asked to do, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import Array


@dataclass
class Job:
    """The task of every contender of a workload."""

    X: Array
    starts: list[Array]  # row numbers of X, one array for each given start
    iterations: int
    restarts: int
    threads: int
    algorithm: str
    sizes: tuple[int, ...] = ()  # numbers of rows or clusters, where one call goes through several
    prepared_bytes: int = 0  # what a contender's own form of X takes beside X

    @property
    def K(self) -> int:
        """The number of clusters."""
        return len(self.starts[0])

    def start(self, number: int) -> Array:
        """A copy of the centroids to start from, as floats."""
        rows = self.X[self.starts[number]]
        if not isinstance(rows, np.ndarray):  # sparse
            rows = rows.toarray()
        return rows if rows.dtype.kind == "f" else rows.astype(np.float32)

    def floats(self) -> Array:
        """X as a C-contiguous array of float32 or float64: X itself where it is one, or sparse."""
        if not isinstance(self.X, np.ndarray):
            return self.X
        return self._in_form(self.X.dtype if self.X.dtype == np.float64 else np.float32)

    def float32(self) -> Array:
        """X as a C-contiguous float32 array: X itself where it is one."""
        return self._in_form(np.float32)

    def _in_form(self, dtype: Any) -> Array:
        prepared = np.ascontiguousarray(self.X, dtype)
        if not np.may_share_memory(prepared, self.X):
            self.prepared_bytes += prepared.nbytes
        return prepared


@dataclass
class Outcome:
    """What a contender came to."""

    centroids: Array | None = None
    n_iter: int | None = None  # updates done, where it tells
    objective: float | None = None  # by its own account; compares its own fits only
    seconds: float | None = None  # where the time is not simply that of the call
    note: str = ""
    engine: str = ""  # which one ran, where it has several
    curve: tuple[tuple[int, float], ...] = ()  # what came of each size, where there are several


Run = Callable[[int], Outcome]
Adapter = Callable[[Job], Run]


@dataclass(frozen=True)
class Peer:
    """A contender: its package, and an adapter for each kind of work it can do.

    An adapter imports its library, prepares everything that must not be timed (threads, dtype,
    start) and returns the function to be timed. That function gets the number of the round, for
    those who draw random numbers, or of the start, where several are given.
    """

    package: str
    adapters: dict[str, Adapter]
