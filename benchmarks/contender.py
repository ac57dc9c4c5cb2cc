"""The parent's side of a worker process: starts it, requests rounds, detects when it dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time

from benchmarks import memory
from benchmarks.data import Mapped
from benchmarks.job import Outcome
from benchmarks.worker import Measured, Task, serve

ANSWER_TIMEOUT = 1800  # seconds: a contender that takes longer for one answer is killed
STOPPED = "stopped"  # why a contender is left out whose first call took too long
MEMORY_INTERVAL = 0.002  # seconds between two samples of a worker's memory


class Worker:
    """A process that runs the calls of one or several contenders."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=serve, args=(far,), daemon=True)
        self.process.start()
        far.close()

    def end(self) -> None:
        """Stop the process, which should be waiting for a message."""
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(5)
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Crew:
    """The worker processes by name, reused for further tasks until `dismiss`."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self.dismiss()

    def worker(self, name: str) -> Worker:
        """Return the worker of that name; start one if there is none or it died."""
        if name not in self._workers or not self._workers[name].process.is_alive():
            self._workers[name] = Worker()
        return self._workers[name]

    def dismiss(self) -> None:
        """Stop all workers."""
        while self._workers:
            self._workers.popitem()[1].end()


class Contender:
    """A contender running one workload; ``trouble`` is the error that stopped it, if any."""

    def __init__(self, task: Task, worker: Worker, patience: float = ANSWER_TIMEOUT) -> None:
        self.task = task
        self.patience = patience  # seconds that the first call may take
        self.name = task.contender
        self.trouble = ""
        self.left_out = ""  # the reason, if it is dropped from further rounds
        self.first: Measured | None = None
        self.rounds: list[Measured] = []
        self.growth: int | None = None
        self._worker = worker
        self._pipe = worker.pipe
        self._ask(task)
        self._measure()

    @property
    def calls(self) -> list[Measured]:
        """The timed calls: the rounds, or the first call if it was dropped before the first round."""
        return self.rounds or ([self.first] if self.first and self.left_out else [])

    def run(self, number: int) -> None:
        """Run one more round."""
        if self.trouble or self.left_out:
            return
        self._ask(number)
        answer = self._answer()
        if isinstance(answer, Measured):
            self.rounds.append(answer)

    def close(self) -> None:
        """End the task; the worker remains available for others."""
        self._ask(None)

    def _ask(self, order: object) -> None:
        """Send a message; a dead worker is detected when its answer is read."""
        with contextlib.suppress(OSError):
            self._pipe.send((self.name, order))

    def _measure(self) -> None:
        """Make the first call and sample the anonymous memory of the worker meanwhile."""
        before = self._answer()
        if self.trouble:
            return
        process, peak, begin = self._worker.process, 0, time.perf_counter()
        while not self._pipe.poll(MEMORY_INTERVAL) and process.is_alive():
            peak = max(peak, memory.resident("RssAnon", process.pid or 0) or 0)
            if time.perf_counter() - begin > self.patience:
                process.kill()
                process.join()
                note = f"stopped after {self.patience:g} s: the time and the ratio are lower bounds"
                self.first, self.left_out = Measured(self.patience, Outcome(note=note)), STOPPED
                return
        answer = self._answer()
        if isinstance(answer, Measured):
            self.first = answer
            self.growth = answer.growth
            if isinstance(self.task.workload.data, Mapped) and isinstance(before, int):
                self.growth = max(0, peak - before)

    def _answer(self) -> object:
        """Return the worker's next message; an error text, a timeout or a crash is stored in ``trouble``."""
        try:
            if not self._pipe.poll(ANSWER_TIMEOUT):
                self.trouble = f"no answer in {ANSWER_TIMEOUT} s"
                self._worker.process.kill()
                return None
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._worker.process.join(5)
            self.trouble = _crash_text(self._worker.process.exitcode)
            return None
        if isinstance(message, str):
            self.trouble = message
        return message


def _crash_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"crashed: {signal.Signals(-code).name}"
    return f"crashed: exit status {code}"
