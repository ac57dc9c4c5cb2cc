"""Output of the results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import grid
from benchmarks.grid import Cell, Side
from benchmarks.measure import GROWTH, Line, fastest
from benchmarks.ratios import Spread
from benchmarks.report import Report, goals, interval, seconds_text
from benchmarks.workload import BASELINE

GRID = """\
20 iterations from the same rows in every cell; small m is 2,000, large m stands in the cell. A cell has the
engine that "auto" took, then two ratios, medians of paired rounds: fastest peer / auto (scikit-learn,
scikit-learn-intelex, faiss, OpenCV), and best engine asked for by name / auto. No mark: the lower end of the
95 % interval is at least 1 (peers), 1/1.1 (engines). "?": the interval reaches below. **!**: all of it does.
"""

SIDE_BY_SIDE = """\
Time of the contender / time of ckmeans: medians of paired rounds with their 95 % interval, or their range if
there are too few rounds for one; and the contender's J compared with that of ckmeans. ckmeans-seeding is the
start alone, ckmeans-avx2 the same fit without AVX-512.
"""


def markdown(machine: dict[str, Any], reports: Sequence[Report]) -> str:
    """Describe the machine and make a table for each kind of result."""
    versions = (f"{name} {number}" for name, number in machine["versions"].items() if number)
    parts = [
        f"{machine['cpu']} ({' '.join(machine['flags'])}), {machine['threads']} threads, "
        f"Python {machine['python']}; {', '.join(versions)}.\n"
    ]
    if found := grid.cells(reports):
        parts += [GRID, _grid(found), _summary(found)]
    if growing := [report for report in reports if report.workload.kind in GROWTH]:
        parts += [_growth(growing)]
    limited = [r for r in reports if r.workload.time_limit and r.workload.kind not in GROWTH]
    if limited:
        groups = dict.fromkeys(report.workload.group for report in limited)
        tables = (_side_by_side([r for r in limited if r.workload.group == group]) for group in groups)
        parts += [SIDE_BY_SIDE, *tables]
    rest = [r for r in reports if r.workload.group != grid.GROUP and r.workload.kind not in GROWTH]
    if rest:
        parts += [_ratios(rest)]
    return "\n".join(parts)


def _grid(found: Sequence[Cell]) -> str:
    Ks = sorted({cell.K for cell in found})
    lines = [["n", "m", *(f"K = {K}" for K in Ks)]]
    for (n, large), row in grid.rows(found).items():
        lines.append([str(n), "large" if large else "small", *(_text(row.get(K), large) for K in Ks)])
    return _table(lines)


def _text(cell: Cell | None, large: bool) -> str:
    if cell is None:
        return ""
    m = f"{cell.m // 1000}k " if large else ""
    return f"{m}{cell.engine} {_side(cell.peers, 1)} / {_side(cell.engines, 2)}"


def _side(side: Side | None, digits: int) -> str:
    if side is None:
        return "-"
    mark = "**!**" if side.mark == "!" else side.mark
    return f"{side.ratio.median:.{digits}f}{mark}"


def _summary(found: Sequence[Cell]) -> str:
    sides = {
        "the fastest peer": [cell.peers for cell in found],
        "the best engine": [cell.engines for cell in found],
    }
    sentences = []
    for name, each in sides.items():
        marks = [side.mark for side in each if side]
        sentences.append(
            f"- against {name}: the lower end of the interval says yes in {marks.count('')} of {len(each)}"
            f" cells, the interval holds the bound in {marks.count('?')}, lies below in {marks.count('!')}."
        )
    return "\n".join(sentences) + "\n"


def _growth(reports: Sequence[Report]) -> str:
    parts = []
    for kind, what, growth in (
        ("rows", "10 iterations, K = 64, seconds for m =", "time(30 m) / time(m)"),
        ("clusters", "a step of cells, 1M points, seconds for K =", "power of K"),
        ("distances", "a step, seconds for each pair of point and centroid, K =", "most K / fewest K"),
    ):
        of_kind = [report for report in reports if report.workload.kind == kind and report.lines[0].curve]
        if not of_kind:
            continue
        lines = [[what, *(f"{size:,}" for size, _ in of_kind[0].lines[0].curve), growth, "95 %", "goal"]]
        for report in of_kind:
            line = report.lines[0]
            times = [f"{seconds:.3g}" for _, seconds in line.curve]
            lines.append([report.workload.name, *times, *_spread(line.ratio), _judged(report)])
        parts.append(_table(lines))
    return "\n".join(parts)


def _side_by_side(reports: Sequence[Report]) -> str:
    """Make a table with a row for each workload and a column for each contender."""
    names = list(dict.fromkeys(line.name for report in reports for line in report.lines[1:]))
    lines = [["workload", "ckmeans", *names]]
    for report in reports:
        own, *others = report.lines
        cells = {line.name: _against(line, own) for line in others}
        lines.append([report.workload.name, seconds_text(own), *(cells.get(name, "") for name in names)])
    return _table(lines)


def _against(line: Line, own: Line) -> str:
    if line.ratio is None:
        return line.trouble
    text = f"{line.ratio.median:.3g}"
    if line.stopped:
        return f"more than {text}"
    if line.ratio.low is not None:
        text += f" ({interval(line.ratio)})"
    elif line.ratio.least < line.ratio.most:
        text += f" (range {line.ratio.least:.3g} to {line.ratio.most:.3g})"
    return text + (f", J {line.J / own.J - 1:+.2%}" if line.J and own.J else "")


def _ratios(reports: Iterable[Report]) -> str:
    """Make a table with a row for each goal: the contender that decides it, and the ratio or the finding."""
    lines = [["workload", "ckmeans", "fastest of the rivals", "ratio", "95 %", "goal"]]
    for report in reports:
        for goal, sentence in zip(report.workload.goals, goals(report), strict=False):
            rival = fastest(goal, report.workload, report.lines)
            name = rival.name if rival else ""
            name += f", of {goal.of}" if rival and goal.of != BASELINE else ""
            time = seconds_text(report.lines[0])
            ratio = _spread(rival.ratio if rival else None)
            lines.append([report.workload.name, time, name, *ratio, _short(sentence)])
        for sentence in goals(report)[len(report.workload.goals) :]:
            found = sentence.rpartition(": ")[2]
            lines.append(
                [report.workload.name, seconds_text(report.lines[0]), "", found, "", _short(sentence)]
            )
    return _table(lines)


def _judged(report: Report) -> str:
    return "; ".join(map(_short, goals(report)))


def _short(sentence: str) -> str:
    """Shorten "goal: at least 8 against ...: met: 9.1 against ..." to "at least 8: met"."""
    _, wanted, word, *_ = (part.strip() for part in sentence.split(":"))
    return f"{wanted.split(' against')[0]}: {word}"


def _spread(ratio: Spread | None) -> tuple[str, str]:
    return (f"{ratio.median:.3g}" if ratio else "-", interval(ratio))


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
