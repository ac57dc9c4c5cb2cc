"""Timing of an import in a new interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.job import Outcome, Run


def timed_import(statement: str, after: str) -> Run:
    """Time one statement after another one has been executed."""
    clock = "from time import perf_counter as t; begin = t(); {}; print(t() - begin)"
    # -P: the current folder must not shadow the installed packages
    command = [sys.executable, "-P", "-c", f"{after}; {clock.format(statement)}"]

    def run(number: int) -> Outcome:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ImportError(done.stderr.strip().splitlines()[-1])
        return Outcome(seconds=float(done.stdout))

    return run
