"""Fails every allocation once, interrupts calls at random moments, and makes calls that raise.

    python tools/inject_faults.py                                 # 500 interrupts, 10,000 errors
    python tools/inject_faults.py --interrupts 50 --errors 1000   # a look

What is called, and what must hold, stands in tests/fault_cases.py. Prints what was done, and by how much the
memory of the process grew: by less than 5 MB, or this fails. Linux only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import fault_cases

MAX_GROWTH = 5_000_000  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interrupts", type=int, default=500)
    parser.add_argument("--errors", type=int, default=10_000)
    options = parser.parse_args()
    failed = 0
    for name, call in fault_cases.CALLS.items():
        failed += (count := fault_cases.fail_each_allocation(call))
        print(f"{name}: each of {count} allocations failed once")
    print(f"{failed} allocations failed once in {len(fault_cases.CALLS)} calls")
    # What is loaded and kept once is there before it is measured.
    fault_cases.interrupt(len(fault_cases.CALLS))
    fault_cases.call_with_errors(len(fault_cases.ERRORS) * 10)
    before = fault_cases.memory_in_use()
    ended = fault_cases.interrupt(options.interrupts, seed=1)
    print(f"{options.interrupts} interrupts, {ended} of them within a call")
    fault_cases.call_with_errors(options.errors)
    growth = fault_cases.memory_in_use() - before
    print(f"{options.errors} calls with errors; memory grew by {growth / 1e6:.2f} MB")
    return growth >= MAX_GROWTH


if __name__ == "__main__":
    sys.exit(main())
