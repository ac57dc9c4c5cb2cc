"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine, many, measure, minima, plot, report, shape_run, table
from benchmarks.contender import Crew
from benchmarks.data import missing_files
from benchmarks.peers import PEERS
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS, select

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the chosen workloads and report."""
    if sys.argv[1:2] == ["random"]:
        _prefer_what_is_installed()
        return shape_run.main(sys.argv[2:])
    if sys.argv[1:2] == ["minima"]:
        return minima.main(sys.argv[2:])
    if sys.argv[1:2] == ["many"]:
        _prefer_what_is_installed()
        return many.main(sys.argv[2:])
    options = _parser().parse_args()
    try:
        chosen = select(options.names)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if options.list:
        _list(chosen if options.names else WORKLOADS)
        return 0
    _prefer_what_is_installed()
    shape_run.limit_threads(options.threads)
    settings = measure.Settings(options.data, options.rounds, options.threads, options.scale, options.limit)
    out = sys.stderr if options.json == "-" else sys.stdout
    described = machine.describe(options.threads)
    try:
        reports = _earlier(options.json, described, settings)
    except ValueError as error:
        print(f"benchmarks: {options.json} {error}", file=sys.stderr)
        return 2
    print(report.machine_text(described), file=out, flush=True)
    with Crew() as crew:
        for workload in chosen:
            if options.resume and workload.name in reports:
                continue
            if missing := missing_files(workload.data, options.data):
                print(f"\n{workload.name}\n  the data folder has no {missing[0]}", file=out)
                if workload.stand_in is None:
                    print("  skipped", file=out)
                    continue
                workload = replace(workload, data=workload.stand_in)
            lines = measure.run(workload, options.peers or workload.peers, settings, crew)
            definition = report.definition(workload, settings, len(lines[0].seconds))
            done = report.Report(workload, lines, definition)
            reports[workload.name] = done
            print(report.text(done), file=out, flush=True)
            _save(options.json, report.as_json(described, reports.values(), settings))
    if options.json == "-":
        print(report.as_json(described, reports.values(), settings))
    shown = [reports[workload.name] for workload in chosen if workload.name in reports]
    if options.table:
        options.table.write_text(table.markdown(described, shown))
    if options.plot:
        plot.save(shown, options.plot)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run named workloads side by side with the installed peers.",
        epilog="Also: python -m benchmarks random --help, and many --help.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="workloads, groups of them, or beginnings of names"
    )
    parser.add_argument("--list", action="store_true", help="list the workloads and stop")
    parser.add_argument(
        "--peers",
        type=_peers,
        metavar="A,B",
        help=f"contenders instead of each workload's own: {', '.join(PEERS)}",
    )
    parser.add_argument("--rounds", type=_count, default=9, help="interleaved rounds (default 9)")
    parser.add_argument(
        "--threads",
        type=_count,
        default=machine.usable_cores(),
        help="threads for every contender (default: all cores)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as JSON, or add them to it; - is stdout"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out the workloads that the JSON file already has"
    )
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="write the ratios as Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        metavar="DIR",
        help="folder of the real data sets",
    )
    parser.add_argument(
        "--limit",
        type=float,
        metavar="SECONDS",
        help="for each workload whose time is limited (groups calls, index, index25), instead of its own",
    )
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def _list(workloads: list[Workload]) -> None:
    for workload in workloads:
        print(f"{workload.name:36}{workload.group:12}{', '.join(workload.peers)}")


def _prefer_what_is_installed() -> None:
    """Keep the sources beside this folder from shadowing the installed package."""
    if sys.path and Path(sys.path[0]).resolve() == ROOT:
        sys.path.append(sys.path.pop(0))


def _earlier(
    file: str | None, described: dict[str, Any], settings: measure.Settings
) -> dict[str, report.Report]:
    """Return the reports in the JSON file by the name of the workload."""
    if not file or file == "-" or not Path(file).exists():
        return {}
    found = report.from_json(Path(file).read_text(), described, settings)
    return {earlier.workload.name: earlier for earlier in found}


def _save(file: str | None, results: str) -> None:
    """Write the results so far, in case a long run is interrupted."""
    if file and file != "-":
        Path(file).write_text(results + "\n")


if __name__ == "__main__":
    sys.exit(main())
