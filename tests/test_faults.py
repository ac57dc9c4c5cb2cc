"""No memory, signals and errors at any moment: the process stays usable, and nothing is lost or left behind.

`python tools/inject_faults.py` does the same many more times.
"""

from __future__ import annotations

import inspect
import sys

import fault_cases
import pytest

import ckmeans

# They allocate nothing in compiled code, or compute nothing.
WITHOUT_FAULTS = {"ManyResult", "PartialStep", "Prepared", "Result"} | {
    "__version__",
    "load",
    "plot",
    "release_memory",
    "show_config",
}


@pytest.mark.parametrize("name", fault_cases.CALLS)
def test_each_allocation_fails_once(name):
    assert fault_cases.fail_each_allocation(fault_cases.CALLS[name]) > 0


def test_every_public_function_is_called():
    source = inspect.getsource(fault_cases)
    assert [
        name for name in ckmeans.__all__ if name not in WITHOUT_FAULTS and f"ckmeans.{name}(" not in source
    ] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, sends POSIX signals")
def test_interrupts_and_errors_leak_nothing():
    fault_cases.interrupt(len(fault_cases.CALLS))
    fault_cases.call_with_errors(100)
    before = fault_cases.memory_in_use()
    fault_cases.interrupt(60, seed=1)
    fault_cases.call_with_errors(1000)
    assert fault_cases.memory_in_use() - before < 5e6
