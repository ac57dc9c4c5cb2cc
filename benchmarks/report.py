"""Output of the results as a text table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measure import Line, Settings, verdict
from benchmarks.ratios import Spread
from benchmarks.workload import BASELINE, RATIO, SEEDING, TIMED, Workload
from benchmarks.workloads import WORKLOADS

HEADINGS = ("contender", "time", "ratio", "95 % interval", "range", "J", "iter", "memory", "notes")
EMPTY_CELL = "-"
GIB = 2**30


@dataclass(frozen=True)
class Report:
    """A workload and its results."""

    workload: Workload
    lines: list[Line]
    definition: str


def machine_text(machine: dict[str, Any]) -> str:
    """Describe the machine in a few lines."""
    versions = ", ".join(f"{name} {number or EMPTY_CELL}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']} ({' '.join(machine['flags'])}), {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, load before {machine['load_before']}\n{versions}"
    )


def text(report: Report) -> str:
    """Format one workload: what is timed, the table, the goals."""
    parts = [f"\n{report.workload.name}", f"  {report.definition}"]
    parts += _table([HEADINGS, *(_cells(line, report.lines[0]) for line in report.lines)])
    parts += [f"  {goal}" for goal in goals(report)]
    return "\n".join(parts)


def definition(workload: Workload, settings: Settings, rounds: int) -> str:
    """Describe what is timed and how the ratios are defined."""
    asked = f"at most {workload.iterations} iterations"
    if workload.asks_iterations:
        asked = f"{workload.iterations} iterations"
    if workload.kind not in ("fit", "refits", "random", "rows"):
        asked = ""
    K = f"K={', '.join(map(str, workload.sizes)) if workload.sizes_are_clusters else workload.K}"
    facts = [repr(workload.data), K, asked, f"{settings.threads} threads"]
    if workload.starts > 1:
        facts.insert(2, f"{workload.starts} starts")
    if settings.scale != 1:
        facts.append(f"SCALED by {settings.scale:g}")
    calls = "one call each" if workload.measures_memory_only else f"{rounds} round{'s' * (rounds != 1)}"
    facts += [calls, f"ratio: {RATIO.get(workload.kind, 'contender / ckmeans')}"]
    if workload.J_distances:
        facts += ["J of some rows"]
    return f"{TIMED[workload.kind]}\n  {', '.join(fact for fact in facts if fact)}"


def goals(report: Report) -> list[str]:
    """Return one sentence for each goal of the workload."""
    workload = report.workload
    side = "at most" if workload.at_most else "at least"
    found = []
    for goal in workload.goals:
        against = "" if BASELINE in goal.against else f" against the fastest of {', '.join(goal.against)}"
        against += "" if goal.of == BASELINE else f" for {goal.of}"
        outcome = verdict(goal, workload, report.lines)
        found.append(f"goal: {side} {goal.bound:.3g}{against}: {outcome}")
    if workload.J_goal is not None:
        peer = workload.J_against or "the peer"
        found.append(f"goal: mean J at most {workload.J_goal} times that of {peer}: {_worse(report)}")
    if any(line.name == SEEDING for line in report.lines):
        found.append(
            f"goal: the start at most half of the call or a tenth of faiss' whole call: {_seeding(report)}"
        )
    if workload.memory_goal is not None:
        used = report.lines[0].memory
        outcome = "not measured"
        if used is not None:
            outcome = "met" if used <= workload.memory_goal * GIB else "MISSED"
        found.append(f"goal: at most {workload.memory_goal:.3g} GiB on top of the array: {outcome}")
    return found


def _worse(report: Report) -> str:
    ours, *peers = report.lines
    against = report.workload.J_against
    theirs = next((line.J for line in peers if against in ("", line.name)), None)
    if not (ours.J and theirs):
        return "not measured"
    assert report.workload.J_goal is not None
    word = "met" if report.workload.J_goal * theirs >= ours.J else "MISSED"
    return f"{word}: {ours.J / theirs:.4f}"


def _seeding(report: Report) -> str:
    """Judge the time of the start alone by the medians."""
    lines = {line.name: line for line in report.lines}
    start, peer = lines[SEEDING], lines.get("faiss")
    if start.ratio is None:
        return "not measured"
    share, word = start.ratio.median, f"{start.ratio.median:.1%} of the call"
    if peer and peer.seconds:
        tenths = statistics.median(start.seconds) / statistics.median(peer.seconds)
        share, word = min(share, 5 * tenths), f"{word}, {tenths:.1%} of faiss'"
    return f"{'met' if share <= 0.5 else 'MISSED'}: {word}"


def as_json(machine: dict[str, Any], reports: Iterable[Report], settings: Settings) -> str:
    """Return all results as JSON."""
    workloads = [
        {
            "name": report.workload.name,
            "group": report.workload.group,
            "definition": report.definition,
            "lines": [asdict(line) for line in report.lines],
            "goals": goals(report),
        }
        for report in reports
    ]
    results = {"machine": machine, "scale": settings.scale, "workloads": workloads}
    return json.dumps(results, indent=1, default=str)


def from_json(results: str, machine: dict[str, Any], settings: Settings) -> list[Report]:
    """Read the reports of an earlier run, which must be from the same machine and versions."""
    found = json.loads(results)
    if found["scale"] != settings.scale:
        raise ValueError(f"was scaled by {found['scale']}")
    for fact in ("cpu", "model", "flags", "threads", "versions"):
        if found["machine"][fact] != json.loads(json.dumps(machine[fact])):
            raise ValueError(f"was measured with other {fact}")
    known = {workload.name: workload for workload in WORKLOADS}
    return [
        Report(known[entry["name"]], list(map(_line, entry["lines"])), entry["definition"])
        for entry in found["workloads"]
        if entry["name"] in known
    ]


def _line(entry: dict[str, Any]) -> Line:
    ratio = entry.pop("ratio")
    return Line(**entry, ratio=ratio and Spread(**ratio))


def _cells(line: Line, baseline: Line) -> tuple[str, ...]:
    if line.trouble and not line.seconds:
        return (line.name, *[EMPTY_CELL] * (len(HEADINGS) - 2), line.trouble)
    notes = [*line.notes, line.trouble] if line.trouble else line.notes
    return (
        line.name,
        seconds_text(line),
        f"{line.ratio.median:.3g}" if line.ratio else EMPTY_CELL,
        interval(line.ratio),
        f"{line.ratio.least:.3g} to {line.ratio.most:.3g}" if line.ratio else EMPTY_CELL,
        _distortion(line, baseline),
        EMPTY_CELL if line.n_iter is None else str(line.n_iter),
        EMPTY_CELL if line.memory is None else f"{line.memory / 2**20:,.1f} MiB",
        "; ".join(notes),
    )


def interval(ratio: Spread | None) -> str:
    """Format the interval."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return EMPTY_CELL
    return f"{ratio.low:.3g} to {ratio.high:.3g}"


def _distortion(line: Line, baseline: Line) -> str:
    """Format J and its difference from the baseline's."""
    if line.J is None:
        return EMPTY_CELL
    if line is baseline or not baseline.J:
        return f"{line.J:.8g}"
    return f"{line.J:.8g} ({(line.J / baseline.J - 1) * 100:+.4f} %)"


def seconds_text(line: Line) -> str:
    """Format the median time with its unit."""
    if not line.seconds:
        return EMPTY_CELL
    seconds = statistics.median(line.seconds)
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, size = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{seconds / size:.4g} {unit}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad all columns but the last to their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    padded = ([*map(str.ljust, row[:-1], widths), row[-1]] for row in rows)
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]
