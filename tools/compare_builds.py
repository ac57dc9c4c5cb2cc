"""Compares the speed of two installed builds of ckmeans on one machine.

    python tools/compare_builds.py BASE_PYTHON HEAD_PYTHON [--rounds 7] [--most 1.15]

The two take turns, a process each, and only ratios count: machines differ, and the same one differs
from hour to hour. Exit status 1 where the median ratio of a workload is above --most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

# (points, features, clusters, dtype): low and high dimensions, small and large.
WORKLOADS = [
    (300, 2, 3, "f4"),
    (200_000, 3, 64, "f4"),
    (50_000, 16, 100, "f4"),
    (20_000, 16, 100, "f8"),
    (10_000, 384, 100, "f4"),
]
TIMED = """
import json, sys, time
import numpy as np
import ckmeans

times = []
for m, n, K, dtype in json.loads(sys.argv[1]):
    X = np.random.default_rng(0).standard_normal((m, n)).astype(dtype)
    start = X[:K].copy()
    best = float("inf")
    for _ in range(6):
        before = time.perf_counter()
        ckmeans.kmeans(X, K, init=start, max_iter=5, tol=0, empty="reinit", seed=0)
        best = min(best, time.perf_counter() - before)
    times.append(best)
print(json.dumps(times))
"""


def measure(python: str, folder: str) -> list[float]:
    """The best time of each workload, in a process that sees no checkout."""
    command = [python, "-c", TIMED, json.dumps(WORKLOADS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def ratios(base: str, head: str, rounds: int) -> list[list[float]]:
    """For each workload, head's time over base's in each round."""
    found: list[list[float]] = [[] for _ in WORKLOADS]
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            order = [base, head] if turn % 2 else [head, base]
            times = {python: measure(python, folder) for python in order}
            for ratio, before, after in zip(found, times[base], times[head], strict=True):
                ratio.append(after / before)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="the Python that has the build to compare with")
    parser.add_argument("head", help="the Python that has the build in question")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most", type=float, default=1.15, help="largest median ratio that is let pass")
    options = parser.parse_args()
    slow = False
    print("| points x features, clusters | time against base | from | to |\n| --- | --- | --- | --- |")
    for (m, n, K, dtype), found in zip(
        WORKLOADS, ratios(options.base, options.head, options.rounds), strict=True
    ):
        middle = statistics.median(found)
        slow |= middle > options.most
        print(f"| {m} x {n}, {K} ({dtype}) | {middle:.2f} | {min(found):.2f} | {max(found):.2f} |")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
