"""Plots of the results: a heat map of the grid, curves for scaling, bars for other ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import grid
from benchmarks.grid import Cell, Side
from benchmarks.measure import Line
from benchmarks.report import Report

PANELS = {"rows": ("m", 1.0), "clusters": ("K", 0.8)}  # the x axis, and a power to compare with


def save(reports: Sequence[Report], path: Path) -> None:
    """Save the plot that fits the kind of the workloads."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    if found := grid.cells(reports):
        _heat_maps(figure, found)
    elif growing := [r for r in reports if r.workload.kind in PANELS and r.lines[0].curve]:
        _curves(figure, growing)
    else:
        _bars(figure, reports)
    figure.savefig(path, dpi=100)


def _heat_maps(figure: Any, found: Sequence[Cell]) -> None:
    figure.set_size_inches(11, 8.5)
    left, right = figure.subplots(1, 2, sharey=True)
    _heat_map(left, found, [cell.peers for cell in found], 32, "{:.1f}")
    _heat_map(right, found, [cell.engines for cell in found], 2, "{:.2f}")
    left.set_title("time of the fastest peer / time of auto")
    right.set_title("time of the best engine / time of auto")
    figure.supxlabel("K        (?: the 95 % interval reaches below the goal; !: all of it is below)", size=9)


def _heat_map(axes: Any, found: Sequence[Cell], sides: Sequence[Side | None], most: float, text: str) -> None:
    """Draw auto in blue where it is faster and in red where it is slower, on a log scale."""
    table, Ks = grid.rows(found), sorted({cell.K for cell in found})
    places = {cell: (row, Ks.index(K)) for row, line in enumerate(table.values()) for K, cell in line.items()}
    values = [[math.nan] * len(Ks) for _ in table]
    for cell, side in zip(found, sides, strict=True):
        row, column = places[cell]
        if side:
            values[row][column] = math.log(side.ratio.median) / math.log(most)
            label = text.format(side.ratio.median) + side.mark
            label += f"\n{cell.engine}"
            axes.text(column, row, label, ha="center", va="center", fontsize=6.5, linespacing=0.95)
    axes.imshow(values, cmap="RdBu", vmin=-1.3, vmax=1.3, aspect="auto")
    axes.set_xticks(range(len(Ks)), Ks)
    names = [f"n = {n}, {'large' if large else 'small'} m" for n, large in table]
    axes.set_yticks(range(len(table)), names, fontsize=8)


def _curves(figure: Any, reports: Sequence[Report]) -> None:
    kinds = [kind for kind in PANELS if any(report.workload.kind == kind for report in reports)]
    figure.set_size_inches(5.5 * len(kinds), 4.5)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        letter, power = PANELS[kind]
        curves = {r.workload.name: r.lines[0].curve for r in reports if r.workload.kind == kind}
        for name, curve in curves.items():
            axes.loglog(*zip(*curve, strict=True), marker="o", label=name)
        sizes = [size for size, _ in next(iter(curves.values()))]
        top = max(curve[0][1] for curve in curves.values())
        guide = [2 * top * (size / sizes[0]) ** power for size in sizes]
        axes.loglog(sizes, guide, "k--", linewidth=0.8, label=f"{letter}^{power:g}")
        axes.set_xlabel(letter)
        axes.set_ylabel("seconds a step" if kind == "clusters" else "seconds")
        axes.legend(fontsize="small")


def _bars(figure: Any, reports: Sequence[Report]) -> None:
    """Draw a bar for each contender, with its 95 % interval."""
    shown = [report for report in reports if any(line.ratio for line in report.lines)]
    names = list(dict.fromkeys(line.name for report in shown for line in report.lines))
    bars = sum(len(_measured(report)) for report in shown)
    figure.set_size_inches(9, 1.5 + 0.22 * bars + 0.2 * len(shown))
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


def _measured(report: Report) -> list[Line]:
    return [line for line in report.lines if line.ratio]


def _title(report: Report) -> str:
    return report.workload.name + (" *" if report.workload.has_yardstick else "")


def _bar(axes: Any, height: float, line: Line, color: str, label: str | None) -> None:
    ratio = line.ratio
    assert ratio is not None
    low = ratio.least if ratio.low is None else ratio.low
    high = ratio.most if ratio.high is None else ratio.high
    spread = [[ratio.median - low], [high - ratio.median]]
    axes.barh(height, ratio.median, xerr=spread, color=color, label=label, capsize=2)
