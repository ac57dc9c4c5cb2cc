"""Ratios of paired calls: median, range and confidence interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.contender import Contender
from benchmarks.workload import Workload

CONFIDENCE = 0.95
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Spread:
    """Median of paired ratios, their range, and a confidence interval of the true median."""

    median: float
    least: float
    most: float
    low: float | None  # None if there are too few rounds for the confidence level
    high: float | None


def spread(ratios: Sequence[float]) -> Spread:
    """Compute median, range, and the interval between two order statistics."""
    ordered = sorted(ratios)
    rank = _rank(len(ordered))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], low, high)


def paired(workload: Workload, contender: Contender, baseline: Contender) -> tuple[Spread, str]:
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


def medians(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """Return the pointwise median of several curves over the same sizes."""
    sizes = [size for size, _ in curves[0]]
    values = zip(*([value for _, value in curve] for curve in curves), strict=True)
    return list(zip(sizes, map(statistics.median, values), strict=True))


def _higher(theirs: Sequence[Curve], ours: Sequence[Curve]) -> str:
    """Describe the largest excess of our distortions over theirs, and whether ours increase with K."""
    pairs = zip(medians(ours), medians(theirs), strict=True)
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
