"""Measurement of a workload: interleaved rounds, paired ratios, J of every result."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import exact
from benchmarks.contender import ANSWER_TIMEOUT, STOPPED, Contender, Crew
from benchmarks.data import Array
from benchmarks.peers import PEERS, can
from benchmarks.worker import SHORTEST, Measured, Task, build
from benchmarks.workload import BASELINE, Goal, Workload

PAUSE = 0.05  # seconds between contenders, so that idle threads of the previous one stop spinning
SHORT_PAUSE = 0.01  # the same where there are hundreds of workloads
CONFIDENCE = 0.95
Curve = Sequence[tuple[int, float]]

# Economical workloads drop contenders that can no longer decide a goal:
MAX_SLOWDOWN_FIRST, MAX_SLOWDOWN = 4.0, 2.5  # against the fastest rival: after the first call, after a round
SETTLED_ROUNDS, SETTLED_FACTOR = 6, 1.5  # dropped if the worst of so many rounds is so far beyond the goal
LEAST_ROUNDS = 2
MARGIN = 0.3  # of the ratio, divided by the rounds: so far off a bound, no further round is needed
EXTRA_SECONDS, MAX_EXTRA = 1.0, 3  # short calls get more rounds: within this time, at most 3 times as many

# Workloads whose time is limited:
PATIENCE = 0.5  # of the limit: a contender whose first call takes longer is stopped
PATIENCE_TOGETHER = 5.0  # the same where stopping one ends the others, too
LONG = 1 / 4  # of the limit: a contender whose first call takes longer makes one call


@dataclass(frozen=True)
class Settings:
    """Command-line options that apply to every workload."""

    folder: Path
    rounds: int
    threads: int
    scale: float
    limit: float | None = None  # seconds, in place of those of the workloads whose time is limited


@dataclass(frozen=True)
class Spread:
    """Median of paired ratios, their range, and a confidence interval of the true median."""

    median: float
    least: float
    most: float
    low: float | None  # None if there are too few rounds for the confidence level
    high: float | None


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
        _interleave(workload, contenders, settings.rounds, limit)
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
    return limit * (PATIENCE_TOGETHER if workload.together else PATIENCE)


def _reference_rows(workload: Workload, settings: Settings) -> Array | None:
    """Return the rows on which J is computed, None for no J."""
    most = workload.J_distances
    if most == 0:
        return None
    X = build(workload, settings.folder, settings.scale)[0]
    return X if most is None else X[:: max(1, X.shape[0] * workload.K // most)]


def spread(ratios: Sequence[float]) -> Spread:
    """Compute median, range, and the interval between two order statistics."""
    ordered = sorted(ratios)
    rank = _rank(len(ordered))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], low, high)


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


def _interleave(
    workload: Workload, contenders: Sequence[Contender], rounds: int, limit: float | None
) -> None:
    """Run rounds of one call per contender, in an order that rotates from round to round."""
    begin, first, start = time.perf_counter(), contenders[0].first, 1
    if workload.economical and first is not None and not workload.together:
        rounds = max(rounds, min(MAX_EXTRA * rounds, int(EXTRA_SECONDS / max(first.seconds, SHORTEST))))
    if limit and not workload.economical:
        start = 2
        begin -= _count_first_calls(contenders, limit)
    for number in range(start, rounds + 1):
        if workload.economical:
            _leave_out(workload, contenders)
        those = [contender for contender in contenders if not contender.left_out]
        if number > 1 and len(those) == 1 < len(contenders):
            return
        if limit and number > 1 and time.perf_counter() - begin + _round_seconds(those) > limit:
            return
        if workload.together and number > LEAST_ROUNDS and _decided(workload, contenders):
            return
        shift = number % len(those)
        for contender in (*those[shift:], *those[:shift]):
            time.sleep(SHORT_PAUSE if workload.together else PAUSE)
            contender.run(number)


def _count_first_calls(contenders: Sequence[Contender], limit: float) -> float:
    """Make the first calls, of libraries that are loaded, the first round; return the seconds they took."""
    for contender in contenders:
        if contender.first is not None:
            contender.rounds.append(contender.first)
            if contender.name != BASELINE and contender.first.seconds > LONG * limit:
                contender.left_out = contender.left_out or "long"
    return sum(contender.first.seconds for contender in contenders if contender.first)


def _round_seconds(contenders: Sequence[Contender]) -> float:
    """Return how long the next round will take."""
    return sum(contender.calls[-1].seconds for contender in contenders if contender.calls)


def _decided(workload: Workload, contenders: Sequence[Contender]) -> bool:
    """Return whether further rounds would hardly change on which side of a goal's bound the ratio is.

    The fewer rounds there are, the farther off the bound all ratios to the fastest rival must be.
    """
    for goal in workload.goals:
        rivals = [c for c in contenders if c.name in goal.against and c.calls and contenders[0].calls]
        ratios = [_ratio(workload, rival, contenders[0])[0] for rival in rivals]
        if not ratios:
            continue
        nearest = min(ratios, key=lambda ratio: ratio.median)
        margin = 1 + MARGIN / len(contenders[0].calls)
        if nearest.least < goal.bound * margin and nearest.most > goal.bound / margin:
            return False
    return True


def _leave_out(workload: Workload, contenders: Sequence[Contender]) -> None:
    """Drop contenders whose further rounds cannot change whether a goal is met."""
    for goal in workload.goals:
        rivals = [c for c in contenders if c.name in goal.against and c.first and not c.trouble]
        pace = {rival.name: _pace(rival, contenders[0]) for rival in rivals}
        if workload.together and contenders[0].first:
            pace[BASELINE] = goal.bound * _pace(contenders[0], contenders[0])
        for rival in rivals:
            limit = MAX_SLOWDOWN if rival.rounds else MAX_SLOWDOWN_FIRST
            if pace[rival.name] > limit * min(pace.values()) and (rival.rounds or _lasts(rival)):
                rival.left_out = rival.left_out or "far behind"
            elif len(rival.rounds) == SETTLED_ROUNDS:
                bound = max(each.bound for each in workload.goals if rival.name in each.against)
                clear = _ratio(workload, rival, contenders[0])[0].least > SETTLED_FACTOR * bound
                rival.left_out = rival.left_out or ("settled" if clear else "")


def _lasts(contender: Contender) -> bool:
    """Return whether the first call was long enough to be timed."""
    return contender.first is not None and contender.first.seconds > SHORTEST


def _pace(contender: Contender, baseline: Contender) -> float:
    """Return the seconds per iteration of the fastest call."""
    assert contender.first is not None
    counts = [c.first.outcome.n_iter for c in (contender, baseline) if c.first]
    calls = contender.rounds or [contender.first]
    return min(call.seconds for call in calls) / next((n for n in counts if n), 1)


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
        line.ratio, remark = _ratio(workload, contender, baseline)
        line.notes += [remark] if remark else []
    if workload.kind in GROWTH and contender.rounds:
        curves = [measured.outcome.curve for measured in contender.rounds]
        line.ratio = spread([GROWTH[workload.kind](curve) for curve in curves])
        line.curve = _medians(curves)
    return line


def _ratio(workload: Workload, contender: Contender, baseline: Contender) -> tuple[Spread, str]:
    """Compute the paired ratios, per iteration if only one contender did all requested iterations."""
    pairs = list(zip(contender.calls, baseline.calls, strict=False))
    ratios = [peer.seconds / own.seconds for peer, own in pairs]
    if workload.has_yardstick:
        return spread([1 / ratio for ratio in ratios]), ""
    if workload.kind == "elbow":
        theirs, ours = ([each.outcome.curve for each in side] for side in zip(*pairs, strict=True))
        return spread(ratios), _higher(theirs, ours)
    their, our = (measured.outcome.n_iter for measured in pairs[0])
    if not workload.asks_iterations or their is None or our is None or their == our:
        return spread(ratios), ""
    if workload.iterations not in (their, our):
        return spread(ratios), "both stable early"
    remark = f"ratio for each iteration: {their} against {our}"
    return spread([ratio * our / their for ratio in ratios]), remark


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


def _medians(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """Return the pointwise median of several curves over the same sizes."""
    sizes = [size for size, _ in curves[0]]
    values = zip(*([value for _, value in curve] for curve in curves), strict=True)
    return list(zip(sizes, map(statistics.median, values), strict=True))


def _higher(theirs: Sequence[Curve], ours: Sequence[Curve]) -> str:
    """Describe the largest excess of our distortions over theirs, and whether ours increase with K."""
    pairs = zip(_medians(ours), _medians(theirs), strict=True)
    excess, K = max((mine / other - 1, K) for (K, mine), (_, other) in pairs)
    rises = any(after[1] > before[1] for curve in ours for before, after in pairwise(curve))
    return f"J of ckmeans at worst {excess:+.4%} (K={K}), {'RISES' if rises else 'never rises'} with K"


def _rank(rounds: int) -> int:
    """Return the largest k such that the k-th smallest and k-th largest sample enclose the median.

    The interval is distribution-free: each sample is below the median with probability 1/2. Zero
    if even the range of all rounds does not reach the confidence level.
    """
    outside, rank = 0.0, 0
    for k in range((rounds + 1) // 2):
        outside += 2 * math.comb(rounds, k) / 2**rounds
        if outside > 1 - CONFIDENCE:
            break
        rank = k + 1
    return rank
