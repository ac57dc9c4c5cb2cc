"""Cells of the grid: the engine that "auto" used, and its ratios to the other engines and to the peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.data import Blobs, Uniform
from benchmarks.measure import fastest
from benchmarks.ratios import Spread
from benchmarks.report import Report

GROUP = "grid"


@dataclass(frozen=True)
class Side:
    """The fastest contender that a goal names, the ratio to it, and the bound of the goal."""

    rival: str
    ratio: Spread
    bound: float

    @property
    def mark(self) -> str:
        """Empty if the whole interval is above the bound, "?" if the interval contains it, "!" if
        all of it is below."""
        low, high = self.ratio.low, self.ratio.high
        if low is not None and low >= self.bound:
            return ""
        return "!" if high is not None and high < self.bound else "?"


@dataclass(frozen=True)
class Cell:
    """The results for one shape."""

    n: int
    K: int
    m: int
    engine: str
    engines: Side | None
    peers: Side | None


def cells(reports: Sequence[Report]) -> list[Cell]:
    """Return the cells of the grid that were measured."""
    return [_cell(report) for report in reports if report.workload.group == GROUP]


def rows(found: Sequence[Cell]) -> dict[tuple[int, bool], dict[int, Cell]]:
    """Return {(n, whether m is the large one): {K: cell}}, sorted."""
    least = min((cell.m for cell in found), default=0)
    table: dict[tuple[int, bool], dict[int, Cell]] = {}
    for cell in sorted(found, key=lambda cell: (cell.n, cell.m > least, cell.K)):
        table.setdefault((cell.n, cell.m > least), {})[cell.K] = cell
    return table


def _cell(report: Report) -> Cell:
    workload = report.workload
    sides = []
    for goal in workload.goals:
        rival = fastest(goal, workload, report.lines)
        sides.append(Side(rival.name, rival.ratio, goal.bound) if rival and rival.ratio else None)
    shape = workload.data
    assert isinstance(shape, Blobs | Uniform)
    return Cell(shape.n, workload.K, shape.m, report.lines[0].engine, *sides)
