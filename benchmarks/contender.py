"""The near end of a worker: starts it, asks for rounds, and notices when it dies."""

from __future__ import annotations

import multiprocessing
import signal

from benchmarks import memory
from benchmarks.data import Mapped
from benchmarks.worker import Measured, Task, serve

PATIENCE = 1800  # seconds that a contender may take for one answer
GLANCE = 0.002  # seconds between two looks at a worker's memory


class Contender:
    """A contender at work on one workload; ``trouble`` says what stopped it, if anything."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.trouble = ""
        self.first: Measured | None = None
        self.rounds: list[Measured] = []
        self.growth: int | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=serve, args=(far, task), daemon=True)
        self._process.start()
        far.close()
        self._measure()

    def run(self, number: int) -> None:
        """One more round."""
        if self.trouble:
            return
        self._pipe.send(number)
        answer = self._answer()
        if isinstance(answer, Measured):
            self.rounds.append(answer)

    def close(self) -> None:
        """End the worker."""
        if self._process.is_alive() and not self.trouble:
            self._pipe.send(None)
            self._process.join(5)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _measure(self) -> None:
        """The first call, with an eye on the memory that no file stands behind."""
        before = self._answer()
        if self.trouble:
            return
        peak = 0
        while not self._pipe.poll(GLANCE) and self._process.is_alive():
            peak = max(peak, memory.resident("RssAnon", self._process.pid or 0) or 0)
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
                return None
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            self.trouble = _manner_of_death(self._process.exitcode)
            return None
        if isinstance(message, str):
            self.trouble = message
        return message


def _manner_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"crashed: {signal.Signals(-code).name}"
    return f"crashed: exit status {code}"
