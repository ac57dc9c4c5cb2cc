"""The near end of a worker: starts it, asks for rounds, and notices when it dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal

from benchmarks import memory
from benchmarks.data import Mapped
from benchmarks.worker import Measured, Task, serve

PATIENCE = 1800  # seconds that a contender may take for one answer
GLANCE = 0.002  # seconds between two looks at a worker's memory


class Worker:
    """A process that works for one contender or several."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=serve, args=(far,), daemon=True)
        self.process.start()
        far.close()

    def end(self) -> None:
        """End the process, which should be waiting for an order."""
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(5)
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Crew:
    """The workers by name: kept for their next task until they are dismissed."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self.dismiss()

    def worker(self, name: str) -> Worker:
        """The worker of that name, a new one where there is none or the last one died."""
        if name not in self._workers or not self._workers[name].process.is_alive():
            self._workers[name] = Worker()
        return self._workers[name]

    def dismiss(self) -> None:
        """End them all."""
        while self._workers:
            self._workers.popitem()[1].end()


class Contender:
    """A contender at work on one workload; ``trouble`` says what stopped it, if anything."""

    def __init__(self, task: Task, worker: Worker) -> None:
        self.task = task
        self.name = task.contender
        self.trouble = ""
        self.left_out = ""  # why, where further rounds do without it
        self.first: Measured | None = None
        self.rounds: list[Measured] = []
        self.growth: int | None = None
        self._worker = worker
        self._pipe = worker.pipe
        self._ask(task)
        self._measure()

    @property
    def calls(self) -> list[Measured]:
        """What counts: the rounds, or the first call where it was not let into any."""
        return self.rounds or ([self.first] if self.first and self.left_out else [])

    def run(self, number: int) -> None:
        """One more round."""
        if self.trouble or self.left_out:
            return
        self._ask(number)
        answer = self._answer()
        if isinstance(answer, Measured):
            self.rounds.append(answer)

    def close(self) -> None:
        """End the task; the worker goes on with others, or waits for the next one."""
        self._ask(None)

    def _ask(self, order: object) -> None:
        """Send an order; that the worker is dead is seen when it is to answer."""
        with contextlib.suppress(OSError):
            self._pipe.send((self.name, order))

    def _measure(self) -> None:
        """The first call, with an eye on the memory that no file stands behind."""
        before = self._answer()
        if self.trouble:
            return
        process, peak = self._worker.process, 0
        while not self._pipe.poll(GLANCE) and process.is_alive():
            peak = max(peak, memory.resident("RssAnon", process.pid or 0) or 0)
        answer = self._answer()
        if isinstance(answer, Measured):
            self.first = answer
            self.growth = answer.growth
            if isinstance(self.task.workload.data, Mapped) and isinstance(before, int):
                self.growth = max(0, peak - before)

    def _answer(self) -> object:
        """The worker's next message; a text, silence or death becomes ``trouble``."""
        try:
            if not self._pipe.poll(PATIENCE):
                self.trouble = f"no answer in {PATIENCE} s"
                self._worker.process.kill()
                return None
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._worker.process.join(5)
            self.trouble = _manner_of_death(self._worker.process.exitcode)
            return None
        if isinstance(message, str):
            self.trouble = message
        return message


def _manner_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"crashed: {signal.Signals(-code).name}"
    return f"crashed: exit status {code}"
