"""The command `python -m benchmarks random`: engines and peers on random shapes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import machine, measure, shape_results, shapes
from benchmarks.contender import Crew
from benchmarks.measure import Line, Settings
from benchmarks.report import machine_text
from benchmarks.shape_results import Record
from benchmarks.workload import Workload


def main(arguments: Sequence[str]) -> int:
    """Measure the shapes of a seed that are not in the file yet; report all that are."""
    options = _parser().parse_args(arguments)
    limit_threads(options.threads)
    described = machine.describe(options.threads)
    known: dict[tuple[int, int], Record] = {}
    if options.json and options.json.exists():
        try:
            known = {shape_results.key(each): each for each in shape_results.read(options.json, described)}
        except ValueError as error:
            print(f"benchmarks: {options.json} {error}", file=sys.stderr)
            return 2
    print(machine_text(described), flush=True)
    settings = Settings(Path(), options.rounds, options.threads, 1.0)
    begin = time.perf_counter()
    with Crew() as crew:
        for number in range(options.first, options.first + options.count):
            if options.resume and (options.seed, number) in known:
                continue
            if options.budget is not None and time.perf_counter() - begin > options.budget:
                print(f"the budget ended before number {number}; --resume goes on", flush=True)
                break
            workload = shapes.draw(options.seed, number, options.scale)
            lines = run(workload, settings, crew)
            found = shape_results.record(options.seed, number, workload, lines)
            known[options.seed, number] = found
            print(shape_results.line_text(found), flush=True)
            if options.json:
                shape_results.append(options.json, described, found)
    text = shape_results.summary(known.values())
    print(f"\n{text}")
    if options.table:
        options.table.write_text(f"{machine_text(described)}\n\n{text}\n")
    return 0


def run(workload: Workload, settings: Settings, crew: Crew) -> list[Line]:
    """Measure all contenders in one process; in a process for each library if one of them crashes."""
    lines = measure.run(workload, workload.peers, settings, crew)
    if any(line.stopped or line.trouble.startswith("crashed") for line in lines):
        return measure.run(replace(workload, together=False), workload.peers, settings, crew)
    return lines


def limit_threads(threads: int) -> None:
    """Limit the threads of the worker processes, which read these variables when they start."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks random",
        description='"auto", the other engines and the installed peers on random shapes, from given starts.',
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shapes (default 0)")
    parser.add_argument("--count", type=int, default=100, help="number of shapes (default 100)")
    parser.add_argument("--first", type=int, default=0, help="number of the first shape (default 0)")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no shape after this time")
    parser.add_argument("--rounds", type=int, default=9, help="at most, for a ratio near a limit (default 9)")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="(default: all cores)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE.jsonl",
        help="add a line for each shape; report all lines",
    )
    parser.add_argument("--resume", action="store_true", help="leave out the shapes that the file has")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="write the summary")
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    return parser
