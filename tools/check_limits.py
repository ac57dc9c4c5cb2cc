"""Run what is at the limits of sizes, and compare its time and memory with what the documentation says.

python tools/check_limits.py            # a few minutes; Linux
python tools/check_limits.py --list
python tools/check_limits.py clusters   # one of them

Each case runs in a process of its own. Its result is checked against what is known of its data; by how much
its peak memory grows beyond what making the data took must stay below the limit that stands beside it.
Status 1: a case failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import textwrap
from typing import NamedTuple


class Case(NamedTuple):
    """A case: what makes the data, what is done with them, and how much memory that may take."""

    about: str
    data: str
    work: str
    megabytes: float


CASES = {
    "pairs": Case(
        "m * K = 2^31.3: labels and counts of more pairs than 32 bits count; 4 bytes a point",
        "X = (np.arange(600_000) % 4099).astype(np.float32)[:, None]",
        """
        centroids = np.arange(4099, dtype=np.float32)[:, None]
        labels = ckmeans.assign(X, centroids)
        assert len(X) * len(centroids) > 2**31
        assert (labels == X[:, 0]).all()
        """,
        60,
    ),
    "values": Case(
        "m * n = 2^32.1: a uint8 memory map of more values than 32 bits count, read block by block",
        """
        X = np.lib.format.open_memmap("X.npy", "w+", np.uint8, (36_000_000, 128))  # holes: no disk is taken
        X[-1] = 255
        """,
        """
        assert X.size > 2**32
        centroids = np.array([[0.0], [255.0]]).repeat(128, axis=1)
        labels = ckmeans.assign(X, centroids)
        assert labels.sum() == labels[-1] == 1
        means, counts = ckmeans.update(X, labels, 2)
        assert counts.tolist() == [len(X) - 1, 1] and (means == centroids).all()
        assert ckmeans.distortion(X, centroids, labels) == 0
        """,
        4608 + 400,  # the pages of the map, which the system may drop at any moment, and 4 bytes a point
    ),
    "zero strides": Case(
        "m * n = 2^32.9: one row that is repeated without memory; a fit finds one cluster",
        "X = np.broadcast_to(np.arange(2000, dtype=np.float32), (4_000_000, 2000))",
        """
        assert X.size > 2**32
        labels = ckmeans.assign(X, X[:1] + [[0.0], [1.0]])
        assert not labels.any()
        """,
        60,
    ),
    "clusters": Case(
        "K = 100,000 of 400,000 points: seeding and an iteration, 2 K n and 16 bytes a point",
        "X = np.random.default_rng(0).random((400_000, 4), np.float32)",
        """
        r = ckmeans.kmeans(X, 100_000, seed=0, max_iter=1)
        assert r.counts.sum() == len(X) and (r.counts > 0).all()
        assert r.distortion < 0.01
        """,
        250,
    ),
    "one feature": Case(
        "n = 1, m = 10,000,000: the optimum, up to 250 bytes a distinct value",
        "X = np.random.default_rng(0).integers(0, 1 << 20, (10_000_000, 1)).astype(np.float32)",
        """
        r = ckmeans.kmeans(X, 1000)
        assert r.optimal and r.distortion < (2**20 / 1000) ** 2 / 11
        """,
        600,
    ),
    "many features": Case(
        "n = 20,000: rows of 80 kB, screening takes at most half the size of X",
        "X = np.random.default_rng(0).random((3000, 20_000), np.float32)",
        """
        r = ckmeans.kmeans(X, 20, seed=0, max_iter=3)
        assert r.counts.sum() == 3000 and r.history[-1] < r.history[0]
        """,
        200,
    ),
}

HEAD = """
import os, resource, tempfile, time
import numpy as np
import ckmeans
os.chdir(tempfile.mkdtemp())
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
"""
REPORT = """
print(f"{time.process_time() - start:.1f} {peak() - before:.0f}")
for name in os.listdir():
    os.remove(name)
"""


def run(name: str, case: Case) -> bool:
    """Run a case and print how it went; return whether it held."""
    parts = [HEAD, textwrap.dedent(case.data), "before, start = peak(), time.process_time()\n"]
    code = "\n".join([*parts, textwrap.dedent(case.work), REPORT])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        print(f"{name}: FAILED ({case.about})\n{done.stderr[-2000:]}", flush=True)
        return False
    seconds, megabytes = map(float, done.stdout.split())
    held = megabytes <= case.megabytes
    verdict = "" if held else f": MORE THAN {case.megabytes:g} MB"
    print(f"{name}: {seconds:g} s of processor time, {megabytes:g} MB{verdict} ({case.about})", flush=True)
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="CASE", help="some of the cases; all by default")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(f"{name}: {case.about}" for name, case in CASES.items()), sep="\n")
        return 0
    held = [run(name, CASES[name]) for name in arguments.names or CASES]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
