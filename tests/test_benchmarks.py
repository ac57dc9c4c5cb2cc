"""What the benchmarks make of times: ratios, verdicts, growth, who is left out, tables, resuming."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").exists():
    pytest.skip("needs the source tree", allow_module_level=True)
sys.path.append(str(ROOT))

from benchmarks import grid, measure, report, table  # noqa: E402
from benchmarks.job import Outcome  # noqa: E402
from benchmarks.measure import Line, Settings, spread  # noqa: E402
from benchmarks.worker import Measured  # noqa: E402
from benchmarks.workloads import WORKLOADS, Goal, select  # noqa: E402

SETTINGS = Settings(Path(), 6, 2, 1.0)
MACHINE = {
    "cpu": "one",
    "model": "1",
    "flags": ["avx2"],
    "threads": 2,
    "python": "3.11",
    "versions": {"numpy": "2"},
}


@pytest.fixture
def cell():
    return next(w for w in WORKLOADS if w.group == "grid" and w.data.n == 3 and w.K == 64)


def line(name, ratios, seconds=1.0, **others):
    return Line(name, seconds=[seconds], ratio=spread(ratios) if ratios else None, **others)


@dataclasses.dataclass
class Fake:
    """A contender whose times are known."""

    name: str
    rounds: list
    first: Measured
    trouble: str = ""
    left_out: str = ""

    @property
    def calls(self):
        return self.rounds


def fake(name, *seconds, n_iter=20):
    calls = [Measured(s, Outcome(n_iter=n_iter)) for s in seconds]
    return Fake(name, calls[1:], calls[0])


def test_the_interval_needs_six_rounds_and_drops_outliers_from_nine_on():
    assert spread([1, 2, 3, 4, 5]).low is None
    assert (spread([1, 2, 3, 4, 5, 6]).low, spread([1, 2, 3, 4, 5, 6]).high) == (1, 6)
    nine = spread([0, 2, 3, 4, 5, 6, 7, 8, 99])
    assert (nine.low, nine.median, nine.high) == (2, 5, 8)


@pytest.mark.parametrize(
    ("ratios", "word"),
    [
        ([1.2] * 6, "met"),
        ([0.8, 1.2, 1.2, 1.2, 1.2, 1.2], "met by the median alone"),
        ([1.2, 0.8, 0.8, 0.8, 0.8, 0.8], "missed by the median alone"),
        ([0.8] * 6, "MISSED"),
        ([1.2] * 3, "met by the median alone"),
    ],
)
def test_verdicts_say_how_much_of_the_interval_speaks(cell, ratios, word):
    lines = [line("ckmeans", None), line("faiss", ratios), line("cv2", [9.0] * 6)]
    said = measure.verdict(Goal(1.0, ("faiss", "cv2")), cell, lines)
    assert said == f"{word}: {spread(ratios).median:.3g} against faiss"


def test_an_upper_bound_is_judged_from_the_other_side():
    workload = select(["scaling-rows-2"])[0]
    goal = workload.goals[0]
    assert goal.bound == 36
    for ratio, word in ((35, "met: 35"), (37, "MISSED: 37")):
        assert measure.verdict(goal, workload, [line("ckmeans", [ratio] * 6)]) == word


def test_growth_is_a_ratio_of_ends_or_a_power():
    curve = [(10, 1.0), (100, 4.0), (1000, 16.0)]
    assert measure.GROWTH["rows"](curve) == 16
    assert measure.GROWTH["clusters"](curve) == pytest.approx(0.60206, abs=1e-5)


def test_only_those_who_may_decide_a_goal_go_on(cell):
    contenders = [
        fake("ckmeans", *[1.0] * 7),
        fake("ckmeans-dense", 1.0, 1.0),
        fake("ckmeans-cells", 1.0, 2.6),
        fake("ckmeans-screen", 3.9),
        fake("sklearn", *[2.0] * 7),
        fake("faiss", *[1.4] * 7),
        fake("cv2", 6.0),
    ]
    measure._leave_out(cell, contenders)
    said = {contender.name: contender.left_out for contender in contenders if contender.left_out}
    assert said == {"ckmeans-cells": "far behind", "sklearn": "settled", "cv2": "far behind"}


def test_one_short_call_does_not_leave_anybody_out(cell):
    contenders = [fake("ckmeans", 1e-4), fake("ckmeans-dense", 1e-4), fake("ckmeans-cells", 1e-2)]
    measure._leave_out(cell, contenders)
    assert not any(contender.left_out for contender in contenders)


def test_every_cell_of_the_grid_is_there_once():
    cells = [(w.data.n, w.K, w.data.m) for w in WORKLOADS if w.group == "grid"]
    assert len(set(cells)) == len(cells) == 11 * 5 * 2
    assert all(m == 2000 or 10_000 <= m <= 1_000_000 for _, _, m in cells)


def test_the_grid_as_a_table(cell):
    lines = [
        line("ckmeans", None, engine="cells"),
        line("ckmeans-dense", [2.0] * 6),
        line("ckmeans-cells", [0.8] * 6),
        line("faiss", [0.9, *[3.0] * 5]),
    ]
    found = report.Report(cell, lines, "")
    text = table.markdown(MACHINE, [found])
    assert "| 3 | small | cells 3.0? / 0.80**!** |" in text
    assert grid.cells([found])[0].engines.rival == "ckmeans-cells"


def test_reports_survive_being_stored(cell):
    lines = [line("ckmeans", None, curve=[(1, 2.0)]), line("faiss", [3.0] * 6, notes=["a note"])]
    stored = report.as_json(MACHINE, [report.Report(cell, lines, "what")], SETTINGS)
    (again,) = report.from_json(stored, MACHINE, SETTINGS)
    assert again.workload == cell
    assert again.lines[1] == lines[1]
    with pytest.raises(ValueError, match="other threads"):
        report.from_json(stored, MACHINE | {"threads": 1}, SETTINGS)
