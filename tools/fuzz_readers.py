"""Fuzz the readers of saved results, tables and pictures with mutations of the tests' corpus.

python tools/fuzz_readers.py --seconds 600 --seed 1 --found found/

Each file is a mutation of a mutation (up to eight deep) of a seed of tests/reader_corpus.py, and is read in
this process. A file is kept in the folder --found if its reader ended otherwise than promised: with an
exception, more than a line on stderr, after --limit seconds of processor time, or beyond --memory MiB.
Status 1: some were.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import reader_corpus


class TookTooLong(BaseException):
    """A file takes longer than the limit; no reader catches it."""


def stop(*_):
    raise TookTooLong


class Ended(BaseException):
    """The process is to end: what was done so far is reported."""


def end(*_):
    raise Ended


def fuzz(seconds: float, seed: int, limit: int, folder: Path) -> tuple[Counter, list[str]]:
    """Return how many files each reader read, and what was found."""
    rng, deadline = np.random.default_rng(seed), time.monotonic() + seconds
    seeds = list(reader_corpus.seeds().items())
    contents = [content for _, content in seeds]
    counts: Counter = Counter()
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as work, contextlib.suppress(Ended):
        while time.monotonic() < deadline:
            name, content = seeds[int(rng.integers(len(seeds)))]
            for _ in range(int(rng.integers(1, 9))):
                content = reader_corpus.mutated(content, rng, contents)
                reader, _, own = name.partition("/")
                path = Path(work, reader, own)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
                try:
                    signal.setitimer(signal.ITIMER_PROF, limit)
                    what = reader_corpus.complaint(path)
                except TookTooLong:
                    what = f"took more than {limit} seconds"
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                counts[reader] += 1
                if what and (key := what[:60]) not in found:
                    found[key] = f"{name}: {what}"
                    folder.mkdir(exist_ok=True, parents=True)
                    (folder / f"{len(found)}-{reader}-{own}").write_bytes(content)
                    print(found[key], flush=True)
    return counts, list(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=20, help="seconds of processor time for a file")
    parser.add_argument("--memory", type=int, default=4096, help="MiB of address space")
    parser.add_argument("--found", type=Path, default=Path("found"))
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory << 20, arguments.memory << 20))
    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGTERM, end)
    counts, found = fuzz(arguments.seconds, arguments.seed, arguments.limit, arguments.found)
    print(f"files read: {dict(counts)}; found: {len(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
