"""The ratios as a picture: a bar for each contender, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Line
from benchmarks.report import Report


def save(reports: Sequence[Report], path: Path) -> None:
    """Write the bar chart of all workloads that have ratios."""
    from matplotlib.figure import Figure

    shown = [report for report in reports if any(line.ratio for line in report.lines)]
    names = list(dict.fromkeys(line.name for report in shown for line in report.lines))
    bars = sum(len(_measured(report)) for report in shown)
    figure = Figure(figsize=(9, 1.5 + 0.22 * bars + 0.2 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    height, ticks, seen = 0.0, [], set()
    for report in shown:
        lines = _measured(report)
        ticks.append((height + (len(lines) - 1) / 2, _title(report)))
        for line in lines:
            label = None if line.name in seen else line.name
            seen.add(line.name)
            _bar(axes, height, line, f"C{names.index(line.name) % 10}", label)
            height += 1
        height += 1
    axes.set_yticks([tick[0] for tick in ticks], [tick[1] for tick in ticks])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of the contender / time of ckmeans (*: ckmeans / yardstick)")
    if seen:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _measured(report: Report) -> list[Line]:
    return [line for line in report.lines if line.ratio]


def _title(report: Report) -> str:
    return report.workload.name + (" *" if report.workload.has_yardstick else "")


def _bar(axes, height: float, line: Line, color: str, label: str | None) -> None:  # type: ignore
    ratio = line.ratio
    assert ratio is not None
    low = ratio.least if ratio.low is None else ratio.low
    high = ratio.most if ratio.high is None else ratio.high
    spread = [[ratio.median - low], [high - ratio.median]]
    axes.barh(height, ratio.median, xerr=spread, color=color, label=label, capsize=2)
