"""Runs a workload: interleaved rounds, paired ratios, J of every result."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import exact
from benchmarks.contender import Contender
from benchmarks.data import Array
from benchmarks.peers import BASELINE, can
from benchmarks.worker import Measured, Task, build
from benchmarks.workloads import Goal, Workload

REST = 0.05  # seconds between contenders, until the idle threads of the last one sleep
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Settings:
    """What the command line says of every workload."""

    folder: Path
    rounds: int
    threads: int
    scale: float


@dataclass(frozen=True)
class Spread:
    """The median of paired ratios, their range, and an interval that holds the true median."""

    median: float
    least: float
    most: float
    low: float | None  # None where there are too few rounds for the confidence wanted
    high: float | None


@dataclass
class Line:
    """What is reported of one contender."""

    name: str
    trouble: str = ""
    seconds: list[float] = field(default_factory=list)
    ratio: Spread | None = None
    J: float | None = None
    n_iter: int | None = None
    memory: int | None = None
    notes: list[str] = field(default_factory=list)


def run(workload: Workload, names: Sequence[str], settings: Settings) -> list[Line]:
    """All contenders on one workload, the baseline first."""
    contenders: list[Contender] = []
    able = [name for name in names if name != BASELINE and can(name, workload.kind)]
    for name in (BASELINE, *able):
        task = Task(workload, name, settings.folder, settings.scale, settings.threads)
        contenders.append(Contender(task))
        if workload.measures_memory_only:
            contenders[-1].close()
    try:
        if not workload.measures_memory_only:
            _interleave(contenders, settings.rounds)
    finally:
        for contender in contenders:
            contender.close()
    X = build(workload, settings.folder, settings.scale)[0]
    return [_line(workload, X, contender, contenders[0]) for contender in contenders]


def spread(ratios: Sequence[float]) -> Spread:
    """Median, range, and the interval between two order statistics."""
    ordered = sorted(ratios)
    rank = _rank(len(ordered))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], low, high)


def verdict(goal: Goal, workload: Workload, lines: Sequence[Line]) -> str:
    """Whether a goal is met, judged by the fastest contender that it names."""
    rivals = [line for line in lines if line.name in goal.against and line.ratio]
    if not rivals:
        return "not measured"
    sign = -1 if workload.has_yardstick else 1
    fastest = min(rivals, key=lambda line: sign * line.ratio.median if line.ratio else math.inf)
    ratio = fastest.ratio
    assert ratio is not None
    end = ratio.high if workload.has_yardstick else ratio.low
    if end is not None and sign * end >= sign * goal.bound:
        word = "met"
    elif sign * ratio.median >= sign * goal.bound:
        word = "met by the median alone"
    else:
        word = "MISSED"
    return f"{word}: {ratio.median:.3g} against {fastest.name}"


def _interleave(contenders: Sequence[Contender], rounds: int) -> None:
    for number in range(1, rounds + 1):
        for contender in contenders:
            time.sleep(REST)
            contender.run(number)


def _line(workload: Workload, X: Array, contender: Contender, baseline: Contender) -> Line:
    line = Line(contender.task.contender, contender.trouble)
    if workload.kind not in ("assign", "import"):
        line.memory = contender.growth
    line.seconds = [measured.seconds for measured in contender.rounds]
    if contender.first is None:
        return line
    outcome = contender.first.outcome
    line.n_iter = outcome.n_iter
    line.notes += [outcome.note] if outcome.note else []
    line.J = _mean_distortion(workload, X, contender)
    if workload.measures_memory_only:
        line.seconds = [contender.first.seconds]
    elif contender is not baseline and contender.rounds and baseline.rounds:
        line.ratio, remark = _ratio(workload, contender, baseline)
        line.notes += [remark] if remark else []
    return line


def _ratio(workload: Workload, contender: Contender, baseline: Contender) -> tuple[Spread, str]:
    """The paired ratios; for each iteration where only one did all that were asked."""
    pairs = list(zip(contender.rounds, baseline.rounds, strict=False))
    ratios = [their.seconds / our.seconds for their, our in pairs]
    if workload.has_yardstick:
        return spread([1 / ratio for ratio in ratios]), ""
    theirs, ours = (measured.outcome.n_iter for measured in pairs[0])
    if not workload.asks_iterations or theirs is None or ours is None or theirs == ours:
        return spread(ratios), ""
    if workload.iterations not in (theirs, ours):
        return spread(ratios), "both stable early"
    remark = f"ratio for each iteration: {theirs} against {ours}"
    return spread([ratio * ours / theirs for ratio in ratios]), remark


def _mean_distortion(workload: Workload, X: Array, contender: Contender) -> float | None:
    """J of the first call; of seeds, which are luck, the mean over the rounds."""
    results: list[Measured | None] = [contender.first]
    if workload.kind == "seed" and contender.rounds:
        results = list(contender.rounds)
    found = [m.outcome.centroids for m in results if m and m.outcome.centroids is not None]
    if not found:
        return None
    return float(np.mean([exact.distortion(X, centroids) for centroids in found]))


def _rank(rounds: int) -> int:
    """The largest k such that the k-th least and the k-th largest enclose the median.

    A distribution-free interval: each sample lies below the median with probability 1/2. Zero
    where even the range of all rounds does not reach the confidence.
    """
    outside, rank = 0.0, 0
    for k in range((rounds + 1) // 2):
        outside += 2 * math.comb(rounds, k) / 2**rounds
        if outside > 1 - CONFIDENCE:
            break
        rank = k + 1
    return rank
