"""Calls of every kind from several Python threads at once, some on two OpenMP threads: the same bits.

For ThreadSanitizer: `python tools/sanitize.py thread` runs it with a build of ckmeans that it watches.
"""

from __future__ import annotations

import sys
import threading

import fault_cases

THREADS = 3
# OpenMP's threads of a call; the others have theirs in fault_cases.
MORE = {
    "dense on two": lambda: fault_cases.fit(fault_cases.WIDE, 7, algorithm="dense", n_init=3, n_threads=2),
    "cells on two": lambda: fault_cases.fit(fault_cases.FLAT, 9, algorithm="cells", n_threads=2),
    "auto on two": lambda: fault_cases.fit(fault_cases.WIDE, 50, n_init=2, n_threads=2),
    "sparse on two": lambda: fault_cases.fit(fault_cases.sparse_rows(), 6, n_init=2, n_threads=2),
    "large": lambda: fault_cases.fit(fault_cases.LARGE, 20, max_iter=6, n_init=2, n_threads=2),
    "large cells": lambda: fault_cases.fit(fault_cases.LARGE[:, :3], 9, algorithm="cells", n_threads=2),
}
CALLS = {**fault_cases.CALLS, **MORE}


def main() -> int:
    expected = {name: fault_cases.digest(call()) for name, call in CALLS.items()}
    wrong = []

    def work(first):
        names = list(CALLS)
        for name in names[first:] + names[:first]:
            if fault_cases.digest(CALLS[name]()) != expected[name]:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(i * len(CALLS) // THREADS,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(CALLS)} calls from {THREADS} threads: {', '.join(wrong) or 'ok'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
