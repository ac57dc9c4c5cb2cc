"""The results as a text table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measure import Line, Settings, Spread, verdict
from benchmarks.workloads import TIMED, Workload

HEADINGS = ("contender", "time", "ratio", "95 % interval", "range", "J", "iter", "memory", "notes")
NOTHING = "-"  # in a cell that has nothing to say
GIB = 2**30


@dataclass(frozen=True)
class Report:
    """A workload and what came of it."""

    workload: Workload
    lines: list[Line]


def machine_text(machine: dict[str, Any]) -> str:
    """The machine in a few lines."""
    versions = ", ".join(f"{name} {number or NOTHING}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']} ({' '.join(machine['flags'])}), {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, load before {machine['load_before']}\n{versions}"
    )


def text(report: Report, settings: Settings) -> str:
    """One workload: what is timed, the table, the goals."""
    workload = report.workload
    parts = [f"\n{workload.name}", f"  {definition(workload, settings)}"]
    parts += _table([HEADINGS, *(_cells(line, report.lines[0]) for line in report.lines)])
    parts += [f"  {goal}" for goal in goals(report)]
    return "\n".join(parts)


def definition(workload: Workload, settings: Settings) -> str:
    """What is timed, and in which units the ratios are."""
    asked = f"at most {workload.iterations} iterations" if workload.kind != "seed" else ""
    if workload.asks_iterations:
        asked = f"{workload.iterations} iterations"
    if workload.kind in ("step", "assign", "import"):
        asked = ""
    facts = [repr(workload.data), f"K={workload.K}", asked, f"{settings.threads} threads"]
    if workload.starts > 1:
        facts.insert(2, f"{workload.starts} starts")
    if settings.scale != 1:
        facts.append(f"SCALED by {settings.scale:g}")
    rounds = "one call each" if workload.measures_memory_only else f"{settings.rounds} rounds"
    ratio = "ckmeans / yardstick" if workload.has_yardstick else "contender / ckmeans"
    facts += [rounds, f"ratio: {ratio}"]
    return f"{TIMED[workload.kind]}\n  {', '.join(fact for fact in facts if fact)}"


def goals(report: Report) -> list[str]:
    """One sentence for each goal of the workload."""
    workload = report.workload
    side = "at most" if workload.has_yardstick else "at least"
    found = []
    for goal in workload.goals:
        against = ", ".join(goal.against)
        outcome = verdict(goal, workload, report.lines)
        found.append(f"goal: {side} {goal.bound:.3g} against the fastest of {against}: {outcome}")
    if workload.memory_goal is not None:
        used = report.lines[0].memory
        outcome = "not measured"
        if used is not None:
            outcome = "met" if used <= workload.memory_goal * GIB else "MISSED"
        found.append(f"goal: at most {workload.memory_goal} GiB on top of the array: {outcome}")
    return found


def as_json(machine: dict[str, Any], reports: Sequence[Report], settings: Settings) -> str:
    """Everything, machine readable."""
    workloads = [
        {
            "name": report.workload.name,
            "group": report.workload.group,
            "definition": definition(report.workload, settings).replace("\n  ", ": "),
            "lines": [asdict(line) for line in report.lines],
            "goals": goals(report),
        }
        for report in reports
    ]
    results = {
        "machine": machine,
        "rounds": settings.rounds,
        "scale": settings.scale,
        "workloads": workloads,
    }
    return json.dumps(results, indent=1, default=str)


def _cells(line: Line, baseline: Line) -> tuple[str, ...]:
    if line.trouble and not line.seconds:
        return (line.name, *[NOTHING] * (len(HEADINGS) - 2), line.trouble)
    notes = [*line.notes, line.trouble] if line.trouble else line.notes
    return (
        line.name,
        _time(statistics.median(line.seconds)) if line.seconds else NOTHING,
        f"{line.ratio.median:.3g}" if line.ratio else NOTHING,
        _interval(line.ratio),
        f"{line.ratio.least:.3g} to {line.ratio.most:.3g}" if line.ratio else NOTHING,
        _distortion(line, baseline),
        NOTHING if line.n_iter is None else str(line.n_iter),
        NOTHING if line.memory is None else f"{line.memory / 2**20:,.1f} MiB",
        "; ".join(notes),
    )


def _interval(ratio: Spread | None) -> str:
    if ratio is None or ratio.low is None or ratio.high is None:
        return NOTHING
    return f"{ratio.low:.3g} to {ratio.high:.3g}"


def _distortion(line: Line, baseline: Line) -> str:
    """J, and how far it is from that of the baseline."""
    if line.J is None:
        return NOTHING
    if line is baseline or not baseline.J:
        return f"{line.J:.8g}"
    return f"{line.J:.8g} ({(line.J / baseline.J - 1) * 100:+.4f} %)"


def _time(seconds: float) -> str:
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, size = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{seconds / size:.4g} {unit}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell; the last one as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    padded = ([*map(str.ljust, row[:-1], widths), row[-1]] for row in rows)
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]
