"""Benchmarks: ratios, verdicts, scaling, contenders that are left out, tables, and tools for builds."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").exists():
    pytest.skip("needs the source tree", allow_module_level=True)
sys.path.append(str(ROOT))

from benchmarks import grid, measure, report, rounds, shape_results, shapes, table  # noqa: E402
from benchmarks.contender import Crew  # noqa: E402
from benchmarks.data import HeavyTails, NonNegative, Spectrum, Tiled  # noqa: E402
from benchmarks.job import Outcome  # noqa: E402
from benchmarks.measure import Line, Settings  # noqa: E402
from benchmarks.ratios import spread  # noqa: E402
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
    """Stand for a contender whose times are known."""

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


def test_interval_depends_on_round_count():
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
def test_verdict_depends_on_the_interval(cell, ratios, word):
    lines = [line("ckmeans", None), line("faiss", ratios), line("cv2", [9.0] * 6)]
    said = measure.verdict(Goal(1.0, ("faiss", "cv2")), cell, lines)
    assert said == f"{word}: {spread(ratios).median:.3g} against faiss"


def test_verdict_for_an_upper_bound():
    workload = select(["scaling-rows-2"])[0]
    goal = workload.goals[0]
    assert goal.bound == 36
    for ratio, word in ((35, "met: 35"), (37, "MISSED: 37")):
        assert measure.verdict(goal, workload, [line("ckmeans", [ratio] * 6)]) == word


def test_scaling_is_ratio_or_exponent():
    curve = [(10, 1.0), (100, 4.0), (1000, 16.0)]
    assert measure.GROWTH["rows"](curve) == 16
    assert measure.GROWTH["clusters"](curve) == pytest.approx(0.60206, abs=1e-5)


def test_slow_contenders_are_left_out(cell):
    contenders = [
        fake("ckmeans", *[1.0] * 7),
        fake("ckmeans-dense", 1.0, 1.0),
        fake("ckmeans-cells", 1.0, 2.6),
        fake("ckmeans-screen", 3.9),
        fake("sklearn", *[2.0] * 7),
        fake("faiss", *[1.4] * 7),
        fake("cv2", 6.0),
    ]
    rounds.leave_out(cell, contenders)
    said = {contender.name: contender.left_out for contender in contenders if contender.left_out}
    assert said == {"ckmeans-cells": "far behind", "sklearn": "settled", "cv2": "far behind"}


def test_short_calls_leave_out_no_contender(cell):
    contenders = [fake("ckmeans", 1e-4), fake("ckmeans-dense", 1e-4), fake("ckmeans-cells", 1e-2)]
    rounds.leave_out(cell, contenders)
    assert not any(contender.left_out for contender in contenders)


def test_grid_cells_are_unique_and_complete():
    cells = [(w.data.n, w.K, w.data.m) for w in WORKLOADS if w.group == "grid"]
    assert len(set(cells)) == len(cells) == 11 * 5 * 2
    assert all(m == 2000 or 10_000 <= m <= 1_000_000 for _, _, m in cells)


def test_grid_as_a_table(cell):
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


def test_reports_round_trip_through_json(cell):
    lines = [line("ckmeans", None, curve=[(1, 2.0)]), line("faiss", [3.0] * 6, notes=["a note"])]
    stored = report.as_json(MACHINE, [report.Report(cell, lines, "what")], SETTINGS)
    (again,) = report.from_json(stored, MACHINE, SETTINGS)
    assert again.workload == cell
    assert again.lines[1] == lines[1]
    with pytest.raises(ValueError, match="other threads"):
        report.from_json(stored, MACHINE | {"threads": 1}, SETTINGS)


# ---- default calls, index building -------------------------------------------------------------------


def seconds(name, *times, **others):
    ratio = others.pop("ratio", None)
    return Line(name, seconds=list(times), ratio=spread(ratio) if ratio else None, **others)


def test_new_groups_are_bounded_in_time():
    for group, minutes in (("calls", 8), ("index", 10), ("index25", 10)):
        chosen = select([group])
        assert chosen
        assert {workload.group for workload in chosen} == {group}
        limits = [workload.time_limit or 0 for workload in chosen]
        assert sum(limits) <= 60 * minutes
    assert not any(workload.by_default for workload in select(["index", "index25"]))


def test_real_data_have_stand_ins():
    for workload in select(["calls", "index", "index25"]):
        if workload.data.needs:
            assert workload.stand_in is not None
            assert not workload.stand_in.needs


def test_goal_of_another_contender():
    workload = select(["index-spectrum"])[0]
    goal = next(goal for goal in workload.goals if goal.of == "ckmeans-avx2")
    lines = [
        seconds("ckmeans", *[1.0] * 6),
        seconds("faiss", *[6.0] * 6, ratio=[6.0] * 6),
        seconds("ckmeans-avx2", *[2.0] * 6, ratio=[2.0] * 6),
    ]
    assert measure.verdict(goal, workload, lines) == "met: 3 against faiss (of ckmeans-avx2)"
    assert measure.verdict(workload.goals[0], workload, lines) == "met: 6 against faiss"


def test_stopped_contender_gives_lower_bound(tmp_path):
    workload = select(["index-spectrum"])[0]
    lines = [seconds("ckmeans", 10.0), seconds("faiss", 22.0, ratio=[2.2], stopped=True)]
    said = measure.verdict(workload.goals[0], workload, lines)
    assert said == "not decided: at least 2.2 against faiss, which was stopped"
    text = table.markdown(MACHINE, [report.Report(workload, lines, "")])
    assert "| 10 s | more than 2.2 |" in text


def test_seeding_is_judged_by_either_bound():
    workload = select(["calls-birch1"])[0]
    for start, faiss, word in ((0.4, 1.0, "met"), (0.9, 10.0, "met"), (0.9, 1.0, "MISSED")):
        lines = [
            seconds("ckmeans", 1.0),
            seconds("ckmeans-seeding", start, ratio=[start]),
            seconds("faiss", faiss, ratio=[faiss]),
        ]
        said = report.goals(report.Report(workload, lines, ""))[-1]
        assert said.split(": ")[2] == word


def test_long_first_call_is_only_call():
    contenders = [fake("ckmeans", 5.0), fake("faiss", 30.0), fake("sklearn", 10.0)]
    assert rounds._count_first_calls(contenders, limit=60.0)
    assert [contender.left_out for contender in contenders] == ["", "long", ""]
    assert [len(contender.rounds) for contender in contenders] == [1, 1, 1]
    contenders = [fake("ckmeans", 0.05), fake("faiss", 0.2), fake("sklearn", 4.0)]
    assert not rounds._count_first_calls(contenders, limit=60.0)  # too short to be a round
    assert [contender.left_out for contender in contenders] == ["", "", "long"]


@pytest.mark.parametrize(
    "source",
    [
        Spectrum(1000, 20, 30, 0.5),
        Spectrum(1000, 20, 30, 0.5, "float64"),
        NonNegative(1000, 20, 30),
        HeavyTails(1000, 20, 2.0, "float64"),
    ],
)
def test_generated_data_repeat(source):
    X = source.load(Path(), 1.0)
    assert X.shape == (1000, 20)
    assert X.dtype == getattr(source, "dtype", "float32")
    assert (source.load(Path(), 1.0) == X).all()
    assert X.min() >= 0 or not isinstance(source, NonNegative)
    if isinstance(source, Spectrum):
        deviations = X.std(axis=0)
        assert deviations[0] > 2 * deviations[-1]


def test_tiled_rows_have_asked_noise(tmp_path):
    np = pytest.importorskip("numpy")
    stored = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    np.save(tmp_path / "rows.npy", stored)
    X = Tiled(5000, "rows.npy", 0.3).load(tmp_path, 1.0)
    noise = (X - stored.astype(np.float32)[np.arange(5000) % 50]).std(axis=0)
    assert noise == pytest.approx(0.3 * stored.astype(np.float32).std(axis=0), rel=0.05)


@pytest.mark.parametrize("name", ["calls-birch1", "calls-values", "index-spectrum", "index-200k"])
def test_tiny_runs_of_new_groups(name):
    pytest.importorskip("ckmeans")
    workload = select([name])[0]
    workload = dataclasses.replace(workload, data=NonNegative(2000, 40, 40), K=64, time_limit=5.0)
    if workload.sizes:
        workload = dataclasses.replace(workload, sizes=(16, 64))
    if name == "calls-values":
        workload = dataclasses.replace(workload, data=Spectrum(2000, 1, 40, 0.0), K=16)
    settings = Settings(Path(), 2, 1, 1.0)
    with Crew() as crew:
        lines = measure.run(workload, workload.peers, settings, crew)
    assert lines[0].trouble == ""
    for each in lines:  # what is installed must work
        assert not each.trouble or each.trouble.startswith("not installed") or "avx2" in each.trouble
        if not each.trouble and not workload.sizes:
            assert len(each.seconds) in (1, 2)
            assert each.J is not None
    done = report.Report(workload, lines, "")
    assert workload.name in report.text(done)
    assert workload.name in table.markdown(MACHINE, [done])


# ---- random shapes -----------------------------------------------------------------------------------


def test_random_shapes_keep_their_bounds():
    drawn = [shapes.draw(5, number) for number in range(300)]
    assert drawn[7] == shapes.draw(5, 7) != shapes.draw(6, 7)
    for workload in drawn:
        data, K = workload.data, workload.K
        assert 1 <= data.n <= 900
        assert 2 <= K <= 2000
        assert 4 * K <= data.m <= 500_000
        assert data.m * data.n <= 3e7
        assert data.m * data.n * K * workload.iterations <= 1e10
        assert 5 <= workload.iterations <= 50
        assert ("ckmeans-cells" in workload.peers) == (data.n <= 8)
        assert ("ckmeans-screen" in workload.peers) == (data.n >= 8)
        assert ("faiss" in workload.peers) == (data.dtype == "float32")
    assert len({type(workload.data) for workload in drawn}) == 4
    assert {workload.data.n for workload in drawn} >= {1, 2, 3, 8}


def random_record(number, over, gain):
    workload = shapes.draw(5, number)
    lines = [
        seconds("ckmeans", 1.0, engine="dense"),
        seconds("ckmeans-dense", 1 / over, ratio=[1 / over] * 2),
        seconds("sklearn", gain, ratio=[gain] * 2),
    ]
    return shape_results.record(5, number, workload, lines)


def test_random_summary_counts_limits():
    records = [
        random_record(number, over, gain)
        for number, (over, gain) in enumerate([(1.0, 3.0), (1.05, 2.0), (1.2, 1.5), (1.5, 0.9), (2.0, 4.0)])
    ]
    text = shape_results.summary(records)
    assert "at most 1.1 times as long as the best engine: 40.0% of 5" in text
    assert "at most 1.25 times as long as the best engine: 60.0% of 5" in text
    assert "at most 1.6 times as long as the best engine: 80.0% of 5" in text
    assert "not slower than the fastest peer: 80.0% of 5" in text
    assert text.index("| 5, 4 |") < text.index("| 5, 3 |") < text.index("| 5, 0 |")  # the worst first
    assert text.count("| 5, 3 |") == 2  # slower than a peer, too


def test_random_verdicts_end_the_rounds():
    workload = shapes.draw(5, 1)

    def decided(*ratios):
        pairs = [fake("ckmeans", *[1.0] * (len(ratios) + 1)), fake("ckmeans-dense", 1.0, *ratios)]
        return rounds._decided(workload, pairs)

    assert decided(1.3, 1.3)  # "auto" is clearly the best
    assert not decided(0.95, 0.95)  # too near 1 / 1.1
    assert not decided(0.7, 0.9)
    assert decided(*[0.99] * 5)


def test_random_shapes_resume(tmp_path):
    pytest.importorskip("ckmeans")
    file = tmp_path / "shapes.jsonl"
    command = [sys.executable, "-m", "benchmarks", "random", "--seed", "3", "--scale", "1e-4"]
    command += ["--rounds", "2", "--json", str(file), "--resume", "--table", str(tmp_path / "shapes.md")]

    def run(*more):
        threads = more if "--threads" in more else (*more, "--threads", "1")
        return subprocess.run([*command, *threads], cwd=ROOT, capture_output=True, text=True, check=False)

    done = run("--count", "2")
    assert done.returncode == 0, done.stderr
    first = file.read_text()
    assert len(first.splitlines()) == 3
    file.write_text(first + '{"seed": 3, "num')  # as an interruption leaves it
    done = run("--count", "3", "--budget", "0")
    assert done.returncode == 0, done.stderr
    assert "the budget ended before number 2" in done.stdout
    done = run("--count", "3")
    assert done.returncode == 0, done.stderr
    machine = json.loads(file.read_text().splitlines()[0])["machine"]
    assert [each["number"] for each in shape_results.read(file, machine)] == [0, 1, 2]
    assert "3 shapes, 0 of them failed" in (tmp_path / "shapes.md").read_text()
    assert run("--count", "3", "--threads", "2").returncode == 2  # another number of threads


# ---- tools/compare_builds.py -------------------------------------------------------------------------

SCRIPT = ROOT / "tools" / "compare_builds.py"


def load(script):
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = sys.modules[script.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tool():
    yield load(SCRIPT)
    del sys.modules["compare_builds"]


def compared(tool, ratios):
    return tool.Comparison("some", {"base": [2.0] * len(ratios), "head": [2 * ratio for ratio in ratios]})


@pytest.mark.parametrize(
    ("ratios", "is_slower"),
    [
        ([1.1] * 9, True),
        ([1.0, *[1.1] * 8], True),  # of 9 rounds the 2nd least counts
        ([1.0, 1.0, *[1.1] * 7], False),
        ([1.0, *[1.1] * 5], False),
        ([1.1] * 5, False),  # too few for an interval
        ([0.9] * 9, False),
        ([], False),
    ],
)
def test_slower_builds_need_a_whole_interval(tool, ratios, is_slower):
    each = compared(tool, ratios)
    assert each.is_slower(1.03) is is_slower
    assert not each.is_slower(1.2)
    facts = {"machine": {"cpu": "one", "flags": [], "python": "3.11"}, "threads": 1}
    facts |= {side: {"version": "1", "digest": side} for side in tool.SIDES}
    assert ("**slower**" in tool.text([each], facts, 1.03)) is is_slower


def test_builds_alternate_with_equal_calls(tool):
    asked = []

    class Fake:
        def __init__(self, side):
            self.side = side

        def ask(self, question, threads):
            asked.append((self.side, question["calls"]))
            return {"seconds": 2.0 if self.side == "head" else 1.0, "calls": 7, "engine": self.side}

    options = argparse.Namespace(data=Path(), threads=1, budget=1.0)
    each = compared(tool, [])
    for number in range(3):
        each.run_round(number, {side: Fake(side) for side in tool.SIDES}, options)
    assert asked == [("base", 0), ("head", 7), ("head", 7), ("base", 7), ("base", 7), ("head", 7)]
    assert each.ratio.median == 2
    assert tool._remark(each, 3) == "base, now head"


def test_compared_workloads_cover_their_groups(tool):
    shortened = [tool.shortened(workload) for workload in select(list(tool.GROUPS))]
    assert {workload.group for workload, _ in shortened} == set(tool.GROUPS)
    assert all(0 < share <= 1 for _, share in shortened)
    names = [workload.name for workload in WORKLOADS]
    groups = {workload.group for workload in WORKLOADS}
    assert all(key in groups or any(name.startswith(key) for name in names) for key in tool.SHARE)


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_build_equals_itself(tmp_path):
    ckmeans = pytest.importorskip("ckmeans")
    build, kept = tmp_path / "build", tmp_path / "kept.json"
    package = Path(ckmeans.__file__).parent
    for folder in (package, package.with_name("ckmeans_simd.libs")):  # a repaired wheel brings libraries
        if folder.exists():
            shutil.copytree(folder, build / folder.name)
    paths = ["--base-path", build, "--head-path", build]
    options = [*paths, "--budget", "0.02", "--json", kept, "--resume", "--most", "1000"]
    done = run_script("tiny-assign-blobs", "restarts-300-2-3-blobs", *options, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    done = run_script("tiny-assign-blobs", *options, "--rounds", "2")
    assert done.returncode == 0, done.stderr
    assert "| tiny-assign-blobs |" in done.stdout
    assert "restarts-300" not in done.stdout
    stored = {entry["name"]: entry for entry in json.loads(kept.read_text())["workloads"]}
    assert [len(stored["tiny-assign-blobs"]["seconds"][side]) for side in ("base", "head")] == [2, 2]
    assert len(stored["restarts-300-2-3-blobs"]["seconds"]["base"]) == 1
    assert run_script("tiny-assign-blobs", *options, "--threads", "1").returncode == 2  # other facts


def test_checkout_is_not_a_build(tmp_path):
    done = run_script("tiny-assign-blobs", "--base-path", ROOT, "--head-path", ROOT)
    assert done.returncode == 2
    assert "compare_builds:" in done.stderr
    done = run_script("tiny-assign-blobs", "--base-path", tmp_path, "--head-path", tmp_path / "none")
    assert done.returncode == 2
    assert "there is no" in done.stderr


# ---- tools/calibrate.py ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrate():
    yield load(ROOT / "tools" / "calibrate.py")
    del sys.modules["calibrate"]


def test_least_squares_costs_are_nonnegative(calibrate):
    rows = [{"a": 1.0, "b": float(x), "c": 1.0 / x, "y": 3 + 2.0 * x} for x in range(1, 9)]
    found, residual = calibrate.least_squares(rows)
    assert found == pytest.approx({"a": 3, "b": 2, "c": 0}, abs=1e-9)
    assert residual == pytest.approx(0, abs=1e-9)
    falling = [{"a": 1.0, "b": float(x), "y": 10.0 - x} for x in range(1, 9)]
    assert calibrate.least_squares(falling)[0]["b"] == 0


def test_distances_of_steps_add_up(calibrate):
    X = calibrate.uniform(500, 3)
    start = calibrate.last_rows(X, 5)
    assert calibrate.first_steps(X, start, ["dense"], 1)[0].distances == 5
    assert calibrate.trace(X, start, "dense", max_iter=5, stop=3).stats["distances_computed"] == 3 * 2500


def test_calibration_writes_text_and_json(calibrate, tmp_path, monkeypatch):
    constant = calibrate.Constant("some_cost", float("nan"), "MAC", 1.0, 2.0, 0.1)
    section = calibrate.Section([constant], {"rows": [{"K": 2, "ratio": float("inf")}]})
    monkeypatch.setattr(calibrate, "SECTIONS", {"few": lambda quick, repeats: section})
    monkeypatch.setattr(sys, "argv", ["calibrate.py", "--quick", "--out", str(tmp_path / "found")])
    assert calibrate.main() == 0
    assert "some_cost = nan  # MAC; 1 to 2; residual 10%" in (tmp_path / "found.txt").read_text()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["constants"][0]["value"] is None
    assert found["tables"]["rows"] == [{"K": 2, "ratio": None}]
