"""Measurement of a workload: interleaved rounds, paired ratios, J of every result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks import exact
from benchmarks.contender import ANSWER_TIMEOUT, STOPPED, Contender, Crew
from benchmarks.data import Array
from benchmarks.peers import PEERS, can
from benchmarks.ratios import Curve, Spread, medians, paired, spread
from benchmarks.rounds import interleave
from benchmarks.worker import Measured, Task, build
from benchmarks.workload import BASELINE, Goal, Workload

PATIENCE = 0.5  # of a time limit: a contender whose first call takes longer is stopped


@dataclass(frozen=True)
class Settings:
    """Command-line options that apply to every workload."""

    folder: Path
    rounds: int
    threads: int
    scale: float
    limit: float | None = None  # seconds, in place of those of the workloads whose time is limited


@dataclass
class Line:
    """The reported results of one contender."""

    name: str
    trouble: str = ""
    seconds: list[float] = field(default_factory=list)
    ratio: Spread | None = None
    J: float | None = None
    n_iter: int | None = None
    engine: str = ""
    memory: int | None = None
    notes: list[str] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)  # medians of the rounds
    stopped: bool = False  # before the first call ended: time and ratio are lower bounds


def run(workload: Workload, names: Sequence[str], settings: Settings, crew: Crew) -> list[Line]:
    """Run all contenders on one workload; the baseline comes first."""
    if not _shares_processes(workload):
        crew.dismiss()
    contenders: list[Contender] = []
    able = [name for name in names if name != BASELINE and can(name, workload.kind)]
    limit = workload.time_limit and (settings.limit or workload.time_limit)
    for name in (BASELINE, *able):
        task = Task(workload, name, settings.folder, settings.scale, settings.threads)
        patience = _patience(workload, name, limit)
        contenders.append(Contender(task, crew.worker(_process(workload, name)), patience))
        if workload.measures_memory_only:
            contenders[-1].close()
    if not workload.measures_memory_only:
        interleave(workload, contenders, settings.rounds, limit)
        for contender in contenders:
            contender.close()
    X = _reference_rows(workload, settings)
    return [_line(workload, X, contender, contenders[0]) for contender in contenders]


def _process(workload: Workload, name: str) -> str:
    """Return the name of the worker process for a contender."""
    if workload.together:
        return "all"
    return name.split("-")[0] if _shares_processes(workload) and not PEERS[name].alone else name


def _shares_processes(workload: Workload) -> bool:
    """Return whether contenders of one library share a process, over several workloads."""
    return workload.economical or workload.time_limit is not None


def _patience(workload: Workload, name: str, limit: float | None) -> float:
    """Return the seconds that a contender's first call may take."""
    if limit is None or name.startswith(BASELINE):
        return ANSWER_TIMEOUT
    return max(workload.patience or 0, limit * PATIENCE)


def _reference_rows(workload: Workload, settings: Settings) -> Array | None:
    """Return the rows on which J is computed, None for no J."""
    most = workload.J_distances
    if most == 0:
        return None
    X = build(workload, settings.folder, settings.scale)[0]
    return X if most is None else X[:: max(1, X.shape[0] * workload.K // most)]


def fastest(goal: Goal, workload: Workload, lines: Sequence[Line]) -> Line | None:
    """Return the contender, of those a goal names, whose ratio is the worst for the goal."""
    rivals = [line for line in lines if line.name in goal.against and line.ratio]
    if goal.of != BASELINE:
        own = next((line.seconds for line in lines if line.name == goal.of), [])
        pairs = [(line, [a / b for a, b in zip(line.seconds, own, strict=False)]) for line in rivals]
        rivals = [replace(line, ratio=spread(ratios)) for line, ratios in pairs if ratios]
    sign = -1 if workload.at_most else 1
    return min(rivals, key=lambda line: sign * line.ratio.median if line.ratio else 0.0, default=None)


def verdict(goal: Goal, workload: Workload, lines: Sequence[Line]) -> str:
    """Say whether a goal is met, judged by the fastest contender that it names.

    "met" and "MISSED" hold for the whole interval; if it contains the bound, the median alone decides.
    """
    rival = fastest(goal, workload, lines)
    if rival is None or rival.ratio is None:
        return "not measured"
    ratio = rival.ratio
    sign, ends = 1, (ratio.low, ratio.high)
    if workload.at_most:
        sign, ends = -1, (ratio.high, ratio.low)
    if rival.stopped and not workload.at_most and ratio.median < goal.bound:
        return f"not decided: at least {ratio.median:.3g} against {rival.name}, which was stopped"
    near, far = (None if end is None else sign * (end - goal.bound) >= 0 for end in ends)
    word = "met" if sign * (ratio.median - goal.bound) >= 0 else "missed"
    if near is False or near is None:
        word += " by the median alone"
    if far is False:
        word = "MISSED"
    against = "" if rival.name == BASELINE else f" against {rival.name}"
    if goal.of != BASELINE:
        against += f" (of {goal.of})"
    return f"{word}: {ratio.median:.3g}{against}"


def _line(workload: Workload, X: Array | None, contender: Contender, baseline: Contender) -> Line:
    line = Line(contender.name, contender.trouble, stopped=contender.left_out == STOPPED)
    if workload.kind not in ("assign", "import") and not _shares_processes(workload):
        line.memory = contender.growth
    line.seconds = [measured.seconds for measured in contender.calls]
    if contender.first is None:
        return line
    outcome = contender.first.outcome
    line.n_iter, line.engine = outcome.n_iter, outcome.engine
    line.notes += [outcome.note] if outcome.note else []
    if contender.left_out:
        count = len(contender.rounds)
        line.notes += [f"{contender.left_out}: left out after {count} round{'s' * (count != 1)}"]
    line.J = None if X is None else _mean_distortion(workload, X, contender)
    if workload.measures_memory_only:
        line.seconds = [contender.first.seconds]
    elif contender is not baseline and contender.calls and baseline.calls:
        line.ratio, remark = paired(workload, contender, baseline)
        line.notes += [remark] if remark else []
    if workload.kind in GROWTH and contender.rounds:
        curves = [measured.outcome.curve for measured in contender.rounds]
        line.ratio = spread([GROWTH[workload.kind](curve) for curve in curves])
        line.curve = medians(curves)
    return line


def _mean_distortion(workload: Workload, X: Array, contender: Contender) -> float | None:
    """Compute J of the first call; where each round has its own start, the mean over the rounds."""
    results: list[Measured | None] = [contender.first]
    if workload.kind in ("seed", "default") and contender.rounds:
        results = list(contender.rounds)
    found = [m.outcome.centroids for m in results if m and m.outcome.centroids is not None]
    if not found:
        return None
    return float(np.mean([exact.distortion(X, centroids) for centroids in found]))


def _times_as_long(curve: Curve) -> float:
    """Return the time of the largest size divided by that of the smallest."""
    return curve[-1][1] / curve[0][1]


def _power(curve: Curve) -> float:
    """Fit the exponent with which the time grows with the size, by least squares."""
    sizes, seconds = np.log(np.array(curve).T)
    return float(np.polyfit(sizes, seconds, 1)[0])


GROWTH = {"rows": _times_as_long, "clusters": _power, "distances": _times_as_long}
