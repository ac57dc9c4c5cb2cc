"""Rounds of interleaved calls, and when further ones cannot change a verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.contender import Contender
from benchmarks.ratios import paired
from benchmarks.worker import SHORTEST
from benchmarks.workload import BASELINE, Workload

PAUSE = 0.05  # seconds between contenders, so that idle threads of the previous one stop spinning
SHORT_PAUSE = 0.01  # the same where there are hundreds of workloads

# Economical workloads drop contenders that can no longer decide a goal:
MAX_SLOWDOWN_FIRST, MAX_SLOWDOWN = 4.0, 2.5  # against the fastest rival: after the first call, after a round
SETTLED_ROUNDS, SETTLED_FACTOR = 6, 1.5  # dropped if the worst of so many rounds is so far beyond the goal
EXTRA_SECONDS, MAX_EXTRA = 1.0, 3  # short calls get more rounds: within this time, at most 3 times as many

# Workloads whose contenders share one process end when their goals are decided:
LEAST_ROUNDS = 2
MARGIN = 0.3  # of the ratio, divided by the rounds: so far off a bound, no further round is needed

# Where the time is limited, some contenders make one call, and long first calls count as a round:
LONG = 1 / 4  # of the limit: the call takes longer
CLEAR = 16  # times the call of ckmeans, and more than a twentieth of the limit: the ratio is clear enough
LASTING = 0.5  # seconds: a first call of ckmeans that is not ruled by cold memory and new threads


def interleave(workload: Workload, contenders: Sequence[Contender], rounds: int, limit: float | None) -> None:
    """Run rounds of one call per contender, in an order that rotates from round to round."""
    begin, first, start = time.perf_counter(), contenders[0].first, 1
    if workload.economical and first is not None and not workload.together:
        rounds = max(rounds, min(MAX_EXTRA * rounds, int(EXTRA_SECONDS / max(first.seconds, SHORTEST))))
    if limit and not workload.economical:
        begin -= sum(contender.first.seconds for contender in contenders if contender.first)
        start = 2 if _count_first_calls(contenders, limit) else 1
    least = LEAST_ROUNDS if workload.together else 1
    for number in range(start, rounds + 1):
        if workload.economical:
            leave_out(workload, contenders)
        those = [contender for contender in contenders if not contender.left_out]
        if number > 1 and len(those) == 1 < len(contenders):
            return
        if limit and number > least and time.perf_counter() - begin + _round_seconds(those) > limit:
            return
        if workload.together and number > least and _decided(workload, contenders):
            return
        shift = number % len(those)
        for contender in (*those[shift:], *those[:shift]):
            time.sleep(SHORT_PAUSE if workload.together else PAUSE)
            contender.run(number)


def _count_first_calls(contenders: Sequence[Contender], limit: float) -> bool:
    """Leave out the slowest contenders; return whether the first calls, if long, are the first round."""
    own = contenders[0].first
    counted = own is not None and own.seconds >= LASTING
    for contender in contenders:
        if contender.first is None:
            continue
        if counted:
            contender.rounds.append(contender.first)
        seconds = contender.first.seconds
        clear = own is not None and seconds > max(CLEAR * own.seconds, limit / 20)
        if contender is not contenders[0] and (seconds > LONG * limit or clear):
            contender.left_out = contender.left_out or "long"
    return counted


def _round_seconds(contenders: Sequence[Contender]) -> float:
    """Return how long the next round will take."""
    return sum(contender.calls[-1].seconds for contender in contenders if contender.calls)


def _decided(workload: Workload, contenders: Sequence[Contender]) -> bool:
    """Return whether further rounds would hardly change on which side of a goal's bound the ratio is.

    The fewer rounds there are, the farther off the bound all ratios to the fastest rival must be.
    """
    for goal in workload.goals:
        rivals = [c for c in contenders if c.name in goal.against and c.calls and contenders[0].calls]
        ratios = [paired(workload, rival, contenders[0])[0] for rival in rivals]
        if not ratios:
            continue
        nearest = min(ratios, key=lambda ratio: ratio.median)
        margin = 1 + MARGIN / len(contenders[0].calls)
        if nearest.least < goal.bound * margin and nearest.most > goal.bound / margin:
            return False
    return True


def leave_out(workload: Workload, contenders: Sequence[Contender]) -> None:
    """Drop contenders whose further rounds cannot change whether a goal is met."""
    enough = LEAST_ROUNDS if workload.together else SETTLED_ROUNDS
    for goal in workload.goals:
        rivals = [c for c in contenders if c.name in goal.against and c.first and not c.trouble]
        pace = {rival.name: _pace(rival, contenders[0]) for rival in rivals}
        if workload.together and contenders[0].first:
            pace[BASELINE] = goal.bound * _pace(contenders[0], contenders[0])
        for rival in rivals:
            limit = MAX_SLOWDOWN if rival.rounds else MAX_SLOWDOWN_FIRST
            if pace[rival.name] > limit * min(pace.values()) and (rival.rounds or _lasts(rival)):
                rival.left_out = rival.left_out or "far behind"
            elif len(rival.rounds) == enough:
                bound = max(each.bound for each in workload.goals if rival.name in each.against)
                clear = paired(workload, rival, contenders[0])[0].least > SETTLED_FACTOR * bound
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
