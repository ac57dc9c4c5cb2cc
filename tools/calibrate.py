"""Measures the constants of the cost model of "auto" on this machine.

    python tools/calibrate.py [--quick] [--only SECTION ...] [--out tools/calibration] [--data DIR]

Writes OUT.txt, a line `name = value  # unit; spread; residual` for each constant under the machine and the
date, and OUT.json with the same and every measurement. It takes less than 10 minutes on 2 cores, with --quick
less than 2. It measures the installed ckmeans through its public functions, on one thread and in float32; the
machine should be idle.

Every section is measured and fitted by least squares on relative errors several times (--repeats). A constant
is the median of those fits, its spread their range, its residual the root mean square of the relative errors.
The unit MAC is what one multiply-add of the dense engine takes in a step of the same shape, so that prices
are parts of a dense step.

Machine costs
-------------
screening
    A step by screening in which every point is scored takes per point, on d of n features, with q distances
    computed (one at least, to the point's own centroid), in MACs,
        common K n + score_cost K (d + 4) + handling + handling_per_n n
        + (pair_cost n + pair_cost_per_n) q,
    where `common` is the part of a dense step that both engines do (sums, centroids). So a pair costs
    pair_cost + pair_cost_per_n / n times as much as in the dense engine. A first step has no labels yet and
    guesses them: it scores twice and takes first_step more. Data: 8 latent features, and noise in the others,
    so loud that q has a wanted size. Timed are the first two steps of several restarts, from distinct rows,
    after which every centroid moves far. q comes from stats["distances_computed"], d from stats["bytes"].
    handling_all[n] is what a model with a single number for each point has to take at n features:
    handling + (handling_per_n + pair_cost) n + pair_cost_per_n.
gather
    gather_cost: MACs more per point where the points that keep their labels and those that are scored again
    take turns, against the same points in two contiguous parts. As a factor on scoring A active centroids it
    is 1 + gather_cost / (A (d + 4)); `gathered` is that for A (d + 4) = 2500.
cells
    Nanoseconds per point. A dense step takes
        dense_point + dense_point_per_n n + K (dense_pair + dense_pair_per_n n) + dense_step / m,
    building the k-d tree
        tree_point + tree_point_per_n n + tree_point_per_level log2(m / 2048) + tree_fixed / m,
    and a step of cells that computes q distances per point, those to whole cells included,
        cells_point[n] + cells_list[n] sqrt(q) + cells_distance[n] q
        + (cells_centroid[n] K + cells_step[n]) / m,
    where the root stands for lists of candidates too short to fill a vector. q is a property of the data:
    log2 q is fitted as a polynomial of second degree in log2 K and log2(m / K), for each n and kind of data.
    "cells" is faster than "dense" from the smallest K on with S (dense - cells) > tree, where S = 21 steps of
    a fit of 20 iterations, or 84 where 4 restarts share the tree. cells_from[n] and shared_from[n] are m K of
    that K (n <= 3) or m K^2: the geometric mean over m and kinds of data. The range shows how well one number
    serves; the table "thresholds" has K itself (2: from the smallest K on; inf: not for K up to m / 8), and
    "check" has both engines timed at that K: about 1 where the formula holds. rows_from[n] and
    shared_rows_from[n] are the least m for K = 16 by the same formula.
few
    few_cached, few_fetched: bytes of a row for each centroid from which the dense engine scores rows as they
    lie (K <= 8) instead of packing them, where X fits the second cache and where it does not. It needs the
    private hook `set_few_bytes`, which is looked for in all modules of ckmeans; else it is left out.

Statistics of data, not machine costs
-------------------------------------
survivors
    later_survivors (LATER_SURVIVORS): pairs that each of the 10 steps after the first screening step
    computes, relative to that one. And by data set what the limits on the share of survivors
    (MORE_DIRECTIONS_FROM, MORE_DIRECTIONS_UP_TO, MAX_SURVIVORS) and on close distances (MAX_CLOSE,
    CLOSE_FACTOR) have to separate:
    the share of survivors of the first screening step, the share of squared distances of at most 3 times the
    second smallest, and the time of 11 steps against the dense engine. Data: mixtures, uniform, decaying
    spectra, low rank with noise, and stored embeddings where --data has them.
settling
    settling_change (FEW_CHANGES, FEW_CHANGED): share of labels that change in a step, from which on a step by
    screening with carried bounds is faster than a dense one. Data: the same kinds with 16 to 64 features.

Limits that are choices of policy are not measured: MIN_GAIN and MAX_FIRST_COST (how sure a gain must be),
FEWER_CHANGED (how soon to look again), N_LATER_STEPS (how long a fit is expected to last), the sizes of
samples. The lower limits on K, n and m of screening follow from the costs: even without survivors a step in
which every point is scored costs (d + 4) / n + handling_all[n] / (K n) of a dense one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import ckmeans

ROOT = Path(__file__).resolve().parent.parent
MINILM = "embeddings/debian_minilm_384_f16.npy"
STEPS_ALONE, STEPS_SHARED = 21, 84  # assignments that use one tree: 20 iterations of a fit, of 4 restarts
LATENT = 8  # features that carry the structure of the data of `screening`
Row = dict[str, float]


@dataclass
class Constant:
    """A constant with its uncertainty."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    residual: float | None = None

    def __str__(self) -> str:
        fit = "" if self.residual is None else f"; residual {self.residual:.0%}"
        return f"{self.name} = {self.value:.4g}  # {self.unit}; {self.low:.4g} to {self.high:.4g}{fit}"


@dataclass
class Section:
    """What a section has found: constants, and tables for whoever wants to look closer."""

    constants: list[Constant] = field(default_factory=list)
    tables: dict[str, list[Row | dict[str, Any]]] = field(default_factory=dict)


# ---- timing and fitting ----------------------------------------------------------------------------


@dataclass
class Trace:
    """The seconds of every step of every restart, and the stats of the fit."""

    seconds: list[list[float]]
    stats: dict[str, int]


def trace(
    X: Any, start: np.ndarray, algorithm: str, *, max_iter: int = 1, restarts: int = 1, stop: int = 1 << 30
) -> Trace:
    """Fit from the same start in every restart; end after `stop` assignments."""
    seconds: list[list[float]] = []
    before, done = 0.0, 0

    def init(X: Any, K: int, rng: Any) -> np.ndarray:
        nonlocal before
        seconds.append([])
        before = perf_counter()
        return start

    def note(iteration: int, distortion: float, centroids: np.ndarray) -> bool:
        nonlocal before, done
        now = perf_counter()
        seconds[-1].append(now - before)
        done += 1
        before = perf_counter()
        return done >= stop

    result = ckmeans.kmeans(
        X, len(start), init=init, n_init=restarts, max_iter=max_iter, tol=0, empty="farthest",
        algorithm=algorithm, n_threads=1, callback=note, seed=0,
    )  # fmt: skip
    return Trace(seconds, result.stats)


def computed_by_step(X: Any, start: np.ndarray, algorithm: str, steps: int, **options: Any) -> list[int]:
    """Distances computed in each of the first steps: of fits that end one step later each time."""
    totals = [0]
    for stop in range(1, steps + 1):
        stats = trace(X, start, algorithm, stop=stop, **options).stats
        totals.append(stats["distances_computed"])
    return list(np.diff(totals))


def best_of(times: int, call: Callable[[], Any]) -> float:
    """The least time of some calls."""
    found = []
    for _ in range(times):
        begin = perf_counter()
        call()
        found.append(perf_counter() - begin)
    return min(found)


def least_squares(rows: Sequence[Row], target: str = "y") -> tuple[Row, float]:
    """Coefficients >= 0 of the columns that least relative errors call for, and their root mean square."""
    names = [name for name in rows[0] if name != target]
    A = np.array([[row[name] / row[target] for name in names] for row in rows])
    used = list(range(len(names)))
    while True:
        solution = np.linalg.lstsq(A[:, used], np.ones(len(rows)), rcond=None)[0]
        if (solution >= 0).all():
            break
        used.pop(int(solution.argmin()))
    residual = float(np.sqrt(np.mean((A[:, used] @ solution - 1) ** 2)))
    return dict.fromkeys(names, 0.0) | {
        names[i]: float(v) for i, v in zip(used, solution, strict=True)
    }, residual


def constants(fits: Sequence[tuple[Row, float]], units: dict[str, str]) -> list[Constant]:
    """The median and the range of each coefficient over the repetitions."""
    residual = statistics.median(residual for _, residual in fits)
    found = []
    for name, unit in units.items():
        values = [fit[name] for fit, _ in fits]
        found.append(Constant(name, statistics.median(values), unit, min(values), max(values), residual))
    return found


def spread(name: str, values: Sequence[float], unit: str) -> Constant:
    """The median and the range of a number."""
    return Constant(name, statistics.median(values), unit, min(values), max(values))


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


# ---- data ------------------------------------------------------------------------------------------


def uniform(m: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((m, n), dtype=np.float32)


def mixture(m: int, n: int, components: int, side: float = 10.0, seed: int = 0) -> np.ndarray:
    """Unit Gaussians around centres in a cube."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, side, (components, n)).astype(np.float32)
    X: np.ndarray = rng.standard_normal((m, n), dtype=np.float32)
    X += centres[rng.integers(0, components, m)]
    return X


def spectrum(m: int, n: int, power: float, seed: int = 0) -> np.ndarray:
    """Gaussian, with standard deviations that decay along random directions."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((n, n)))[0].astype(np.float32)
    scale = (np.arange(1, n + 1) ** -power).astype(np.float32)
    return np.ascontiguousarray((rng.standard_normal((m, n), dtype=np.float32) * scale) @ axes)


def low_rank(m: int, n: int, K: int, survivors: float, seed: int = 0) -> np.ndarray:
    """LATENT uniform features, and noise so loud that about that share of K centroids survives screening.

    A centroid survives where its squared distance in the latent features exceeds that of the own centroid
    by less than the noise in both rows adds to it.
    """
    rng = np.random.default_rng(seed)
    latent = rng.random((m, LATENT), dtype=np.float32)
    distances = ((latent[:256, None] - latent[None, -K:]) ** 2).sum(2)
    excess = np.sort((distances - distances.min(1, keepdims=True)).ravel())[256:]
    noise = math.sqrt(excess[int(survivors * len(excess))] / 2 / (n - LATENT))
    axes = np.linalg.qr(rng.standard_normal((n, LATENT)))[0].T.astype(np.float32)
    X = noise * rng.standard_normal((m, n), dtype=np.float32)
    X += latent @ axes
    return X


def last_rows(X: np.ndarray, K: int) -> np.ndarray:
    """A start."""
    return X[-K:].copy()


# ---- screening -------------------------------------------------------------------------------------


def directions(X: np.ndarray, start: np.ndarray) -> float:
    """The number of directions that screening chose, from the memory it takes: 4 (d + 3) bytes a row.

    The rows are repeated until there are 64 partial sums, of which there are never more.
    """
    few, many = (np.resize(X, (m, X.shape[1])) for m in (1 << 15, 1 << 16))
    taken = [trace(each, start, "screen", stop=1).stats["bytes"] for each in (few, many)]
    return (taken[1] - taken[0]) / len(few) / 4 - 3


def screening(quick: bool, repeats: int) -> Section:
    """Costs of scoring, of handling a point, of a pair."""
    shapes = [(64, 256), (64, 1000), (128, 512), (384, 64), (384, 256)]
    shapes += [] if quick else [(64, 512), (96, 256), (200, 200), (384, 1000), (784, 100), (784, 256)]
    shares = (0.0, 0.003, 0.02) if quick else (0.0, 0.003, 0.01, 0.02)
    shaped = []
    for n, K in shapes:
        m = int(min(max(6e8 / (K * n), 4 * K, 2048), 16384)) // 1024 * 1024
        for share in shares:
            X = low_rank(m, n, K, share)
            start = last_rows(X, K)
            d = directions(X, start)
            counts = computed_by_step(X, start, "screen", 4, restarts=2)
            # Left out where a step computes all, or where the two numbers of rows got another d.
            if d > 1 and abs(d - round(d)) < 0.05 and m <= counts[3] and max(counts[2:]) < 0.5 * m * K:
                shaped.append((X, start, round(d), counts))
    section, fits, rows = Section(tables={"screening": []}), [], []
    for _ in range(repeats):
        rows = [row for cell in shaped for row in _screening_rows(*cell)]
        fits.append(least_squares([row for _, row in rows]))
    for shape, row in rows:
        fitted = sum(fits[-1][0][name] * row[name] for name in fits[-1][0])
        section.tables["screening"].append(shape | {"macs": row["y"], "fit": fitted / row["y"]})
    units = {
        "common": "MAC for each of K n of a point",
        "score_cost": "MAC for each of K (d + 4) of a point",
        "handling": "MAC for each point that is scored",
        "handling_per_n": "MAC for each feature of a point that is scored",
        "first_step": "MAC for each point in a first step",
        "pair_cost": "MAC for each feature of a pair",
        "pair_cost_per_n": "MAC for each pair",
    }
    section.constants = constants(fits, units)
    for n in sorted({n for n, _ in shapes}):
        found = [fit["handling"] + (fit["handling_per_n"] + fit["pair_cost"]) * n + fit["pair_cost_per_n"]
                 for fit, _ in fits]  # fmt: skip
        section.constants.append(spread(f"handling_all[{n}]", found, "MAC for each point that is scored"))
    return section


def _screening_rows(X: np.ndarray, start: np.ndarray, d: int, counts: list[int]) -> list[tuple[Row, Row]]:
    """The first and the second step, of all restarts but the first one, which projects the points."""
    (m, n), K = X.shape, len(start)
    dense, screened = (trace(X, start, engine, restarts=6).seconds[1:] for engine in ("dense", "screen"))
    found = []
    for step in (0, 1):
        q = counts[2 + step] / m
        times = [min(steps[step] for steps in each) for each in (screened, dense)]
        row = {
            "common": float(K * n),
            "score_cost": (1.0 if step else 2.0) * K * (d + 4),
            "handling": 1.0,
            "handling_per_n": float(n),
            "first_step": float(step == 0),
            "pair_cost": n * q,
            "pair_cost_per_n": q,
            "y": times[0] / times[1] * K * n,
        }
        found.append(({"m": m, "n": n, "K": K, "d": d, "step": step, "q": q}, row))
    return found


# ---- gathered points -------------------------------------------------------------------------------


def two_kinds(m: int, n: int, K: int, moving: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of equal points, and a start from which `moving` of the centroids reach theirs in one update.

    The others stay where they are. Bounds keep the label of every point of those; the points of the
    moving ones are scored again, as their centroid comes from farther than half the way to the next one.
    """
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((n, 3)))[0].T
    step, sites = 1.0, np.zeros((K, 3))
    rest = K - moving
    # A row of sites 0.9 steps apart that do not move, far from one of sites 1.5 steps apart that do.
    sites[:rest, 0] = 0.9 * step * np.arange(rest)
    sites[rest:, 0] = 1.5 * step * np.arange(moving)
    sites[rest:, 1] = 10 * step
    places = (sites @ axes).astype(np.float32)
    start = places.copy()
    start[rest:] += (step * axes[2]).astype(np.float32)
    labels = np.concatenate([np.arange(m // 2) % rest, rest + np.arange(m // 2) % moving])
    return np.ascontiguousarray(places[labels]), start, labels


def gather(quick: bool, repeats: int) -> Section:
    """What it costs that points do not lie side by side."""
    m, n, section, values = 16384, 128, Section(tables={"gather": []}), []
    for K in (128, 256) if quick else (128, 256, 512):
        X, start, _ = two_kinds(m, n, K, K // 8)
        turns = np.arange(m).reshape(2, -1).T.ravel()  # kept, scored again, kept, scored again ...
        mixed = np.ascontiguousarray(X[turns])
        for _ in range(repeats):
            found: list[list[float]] = [[], []]
            for _ in range(3):  # in turns, as a machine that is not idle disturbs some of them
                for times, points in zip(found, (X, mixed), strict=True):
                    steps = trace(points, start, "screen", restarts=8).seconds[1:]
                    times.append(min(step[1] for step in steps))
            contiguous, alternating = map(min, found)
            dense = min(steps[0] for steps in trace(X, start, "dense", restarts=6).seconds[1:])
            macs = (alternating - contiguous) / dense * K * n
            values.append(macs)
            row = {"K": K, "contiguous": contiguous / dense, "alternating": alternating / dense}
            section.tables["gather"].append(row | {"macs": macs})
    scored = 2500  # A (d + 4): an eighth of 1000 centroids, on 16 directions
    section.constants = [
        spread("gather_cost", values, "MAC for each point that is not beside the one before it"),
        spread(
            "gathered",
            [1 + macs / scored for macs in values],
            "factor on scoring active centroids, A (d + 4) = 2500",
        ),
    ]
    return section


# ---- cells against dense ---------------------------------------------------------------------------

EACH = "ns for each"
CELLS_UNITS = {
    "dense": {
        "dense_step": f"{EACH} step",
        "dense_point": f"{EACH} point",
        "dense_point_per_n": f"{EACH} value of a point",
        "dense_pair": f"{EACH} pair",
        "dense_pair_per_n": f"{EACH} feature of a pair",
    },
    "tree": {
        "tree_point": f"{EACH} point",
        "tree_point_per_n": f"{EACH} value of a point",
        "tree_point_per_level": f"{EACH} point and doubling of m from 2048 on",
        "tree_fixed": f"{EACH} tree",
    },
}
STEP_UNITS = {
    "cells_point": f"{EACH} point",
    "cells_list": f"{EACH} point and root of q",
    "cells_distance": f"{EACH} distance",
    "cells_centroid": f"{EACH} centroid",
    "cells_step": f"{EACH} step",
}

KINDS: dict[str, Callable[[int, int], np.ndarray]] = {
    "uniform": uniform,
    "mixture": lambda m, n: mixture(m, n, 64),
}


def cells(quick: bool, repeats: int) -> Section:
    """Costs of a tree, of its steps and of dense ones, and the thresholds that follow."""
    features = range(1, 9)
    sizes = (512, 2048, 16_384, 131_072) if quick else (512, 2048, 8192, 32_768, 131_072, 524_288)
    section, fits, steps = Section(), [], []
    for _ in range(repeats):
        dense, tree, steps = [], [], []
        for n in features:
            dense += [_dense_row(m, n, K) for K in (2, 4, 16, 64, 256) for m in (512, 2048, 16_384, 131_072)]
            for m in sizes:
                for kind in KINDS:
                    built, stepped = _cells_rows(kind, m, n)
                    tree.append(built)
                    steps += stepped
        each = {"dense": least_squares(dense), "tree": least_squares(tree)}
        for n in features:
            each[f"cells[{n}]"] = least_squares([_cells_terms(row) for row in steps if row["n"] == n])
        fits.append(each)
    for name, units in CELLS_UNITS.items():
        section.constants += constants([each[name] for each in fits], units)
    for n in features:
        found = constants([each[f"cells[{n}]"] for each in fits], STEP_UNITS)
        section.constants += [replace(each, name=f"{each.name}[{n}]") for each in found]
    counts = {(kind, n): _count_model(steps, kind, n) for kind in KINDS for n in features}
    costs = {constant.name: constant.value for constant in section.constants}
    for name, number in (("cells_from", STEPS_ALONE), ("shared_from", STEPS_SHARED)):
        section.constants += [_threshold(name, n, costs, counts, number, sizes[1:]) for n in features]
    for name, number in (("rows_from", STEPS_ALONE), ("shared_rows_from", STEPS_SHARED)):
        section.constants += [_row_threshold(name, n, costs, counts, number, sizes) for n in (1, 2, 3)]
    section.tables = {
        "cells": steps,
        "counts": [{"kind": kind, "n": n, **fit} for (kind, n), fit in counts.items()],
        "thresholds": [
            {"n": n, "kind": kind, "steps": number}
            | {f"K of m={m}": smallest_K(n, m, costs, counts[kind, n], number) for m in sizes}
            for n in features for kind in KINDS for number in (STEPS_ALONE, STEPS_SHARED)
        ],
        "check": [_check(n, kind, costs, counts[kind, n]) for n in features for kind in KINDS],
    }  # fmt: skip
    return section


def _dense_row(m: int, n: int, K: int) -> Row:
    """Nanoseconds per point of a dense step."""
    X = uniform(m, n)
    start = last_rows(X, K)
    seconds = best_of(2, lambda: _fit(X, start, "dense", 5)) / 6
    return {
        "dense_step": 1 / m,
        "dense_point": 1.0,
        "dense_point_per_n": float(n),
        "dense_pair": float(K),
        "dense_pair_per_n": float(K * n),
        "y": seconds / m * 1e9,
    }


def _fit(X: Any, start: np.ndarray, algorithm: str, max_iter: int) -> Any:
    return ckmeans.kmeans(
        X, len(start), init=start, max_iter=max_iter, tol=0, algorithm=algorithm, n_threads=1,
        empty="farthest", seed=0,
    )  # fmt: skip


def _cells_rows(kind: str, m: int, n: int) -> tuple[Row, list[dict[str, Any]]]:
    """Nanoseconds of building, and of steps with several K."""
    X = KINDS[kind](m, n)
    start, builds = last_rows(X, 16), []
    for _ in range(2):
        points = ckmeans.prepare(X)
        first = best_of(1, lambda points=points: _fit(points, start, "cells", 1))
        builds.append(first - best_of(2, lambda points=points: _fit(points, start, "cells", 1)))
    build = max(min(builds), 1e-9)
    tree = {
        "tree_point": float(m),
        "tree_point_per_n": float(m * n),
        "tree_point_per_level": m * math.log2(m / 2048),
        "tree_fixed": 1.0,
        "y": build * 1e9,
    }
    steps = []
    for K in (4, 16, 64, 256, 1024):
        if K > 4 and (m < 8 * K or m * K * n**2 > 5e9):  # outside of the model, or too slow
            continue
        start = last_rows(X, K)
        result = _fit(points, start, "cells", 5)
        seconds = best_of(2, lambda start=start: _fit(points, start, "cells", 5))
        count = len(result.history)
        q = result.stats["distances_computed"] / count / m
        steps.append({"kind": kind, "n": n, "m": m, "K": K, "q": q, "ns": seconds / count / m * 1e9})
    return tree, steps


def _cells_terms(row: dict[str, Any]) -> Row:
    return {
        "cells_point": 1.0,
        "cells_list": math.sqrt(row["q"]),
        "cells_distance": row["q"],
        "cells_centroid": row["K"] / row["m"],
        "cells_step": 1 / row["m"],
        "y": row["ns"],
    }


def _count_model(steps: Sequence[dict[str, Any]], kind: str, n: int) -> Row:
    """The coefficients of log2 q, and its root mean square error."""
    rows = [row for row in steps if (row["kind"], row["n"]) == (kind, n)]
    A = np.array([_count_terms(row["m"], row["K"]) for row in rows])
    y = np.log2([row["q"] for row in rows])
    solution = np.linalg.lstsq(A, y, rcond=None)[0]
    names = ("1", "k", "r", "k k", "k r", "r r")  # k = log2 K, r = log2 (m / K)
    return dict(zip(names, map(float, solution), strict=True)) | {"rms": float(np.std(A @ solution - y))}


def _count_terms(m: int, K: float) -> list[float]:
    k, r = math.log2(K), math.log2(m / K)
    return [1.0, k, r, k * k, k * r, r * r]


def gain(n: int, m: int, K: float, costs: Row, count: Row, steps: int) -> float:
    """Nanoseconds that a fit by cells saves against a dense one."""
    coefficients = [value for name, value in count.items() if name != "rms"]
    q = 2 ** float(np.dot(coefficients, _count_terms(m, K)))
    dense = costs["dense_step"] / m + costs["dense_point"] + costs["dense_point_per_n"] * n
    dense += K * (costs["dense_pair"] + costs["dense_pair_per_n"] * n)
    step = costs[f"cells_point[{n}]"] + costs[f"cells_list[{n}]"] * math.sqrt(q)
    step += costs[f"cells_distance[{n}]"] * q
    step += (costs[f"cells_centroid[{n}]"] * K + costs[f"cells_step[{n}]"]) / m
    build = costs["tree_point"] + costs["tree_point_per_n"] * n
    build += costs["tree_point_per_level"] * max(0.0, math.log2(m / 2048))
    return m * (steps * (dense - step) - build) - costs["tree_fixed"]


def smallest_K(n: int, m: int, costs: Row, count: Row, steps: int) -> float:
    """The K from which cells gain, at least 2; infinite where they do not with 8 points a cluster."""
    Ks = [2 * 1.05**i for i in range(400) if 2 * 1.05**i <= m / 8]
    losing = [K for K in Ks if gain(n, m, K, costs, count, steps) <= 0]
    if not losing:
        return 2.0
    return losing[-1] * 1.05 if losing[-1] < Ks[-1] else math.inf


def _threshold(
    name: str, n: int, costs: Row, counts: dict[tuple[str, int], Row], steps: int, rows: Sequence[int]
) -> Constant:
    power, found = 1 if n <= 3 else 2, []
    for kind in KINDS:
        for m in rows:
            K = smallest_K(n, m, costs, counts[kind, n], steps)
            if 2 < K < math.inf:
                found.append(m * K**power)
    unit = f"m K{'^2' if power > 1 else ''}; {len(found)} of {len(KINDS) * len(rows)} with 2 < K < m / 8"
    if not found:
        return Constant(f"{name}[{n}]", math.nan, unit, math.nan, math.nan)
    return Constant(f"{name}[{n}]", geometric_mean(found), unit, min(found), max(found))


def _row_threshold(
    name: str, n: int, costs: Row, counts: dict[tuple[str, int], Row], steps: int, rows: Sequence[int]
) -> Constant:
    """The rows from which cells gain with 16 centroids; infinite where the measured sizes are too few."""
    found = []
    for kind in KINDS:
        sizes = [round(rows[0] * 1.05**i) for i in range(300) if rows[0] * 1.05**i <= rows[-1]]
        losing = [m for m in sizes if gain(n, m, 16, costs, counts[kind, n], steps) <= 0]
        least = losing[-1] * 1.05 if losing else float(rows[0])
        found.append(math.inf if losing and losing[-1] == sizes[-1] else least)
    return spread(f"{name}[{n}]", found, f"rows, with 16 centroids; {rows[0]} to {rows[-1]} measured")


def _check(n: int, kind: str, costs: Row, count: Row) -> dict[str, Any]:
    """Cells against dense in one fit where the formula expects them to take equally long."""
    m = 4000 if n <= 2 else 8000 if n == 3 else 50_000
    K = smallest_K(n, m, costs, count, STEPS_ALONE)
    row = {"n": n, "kind": kind, "m": m, "K": K, "cells / dense": None}
    if not 2 < K < 2000:
        return row
    X = KINDS[kind](m, n)
    start = last_rows(X, round(K))
    tree, dense = (best_of(3, lambda a=a: _fit(X, start, a, 20)) for a in ("cells", "dense"))
    return row | {"K": round(K), "cells / dense": tree / dense}


# ---- few centroids ---------------------------------------------------------------------------------


def few(quick: bool, repeats: int) -> Section:
    """From which size of rows on few centroids are scored without packing."""
    hooks = [getattr(module, "set_few_bytes", None) for name, module in sys.modules.items()
             if name.startswith("ckmeans.")]  # fmt: skip
    hook = next(filter(None, hooks), None)
    section = Section(tables={"few": []})
    if hook is None:
        return section
    before = hook(0, 0)
    try:
        for name, size in (("few_cached", 1 << 19), ("few_fetched", 1 << 24)):
            found = []
            for _ in range(repeats):
                rows = [_few_row(hook, size, K, share) for K in ((2, 4) if quick else (2, 3, 4, 6, 8))
                        for share in (16, 32, 48, 64, 96, 128)
                        if share * K >= 64]  # fmt: skip
                section.tables["few"] += [row | {"bytes": size} for row in rows]
                logs = np.log([[row["share"], row["ratio"]] for row in rows])
                slope, offset = np.polyfit(logs[:, 0], logs[:, 1], 1)
                found.append(float(np.exp(-offset / slope)))
            section.constants.append(spread(name, found, "bytes of a row for each centroid"))
    finally:
        hook(*before)
    return section


def _few_row(hook: Callable[[int, int], Any], size: int, K: int, share: int) -> Row:
    """Time without packing against that with it."""
    n = share * K // 4
    X = mixture(max(256, size // (4 * n)), n, K)
    start, seconds = last_rows(X, K), []
    for least in (0, 1 << 30):
        hook(least, least)
        # Steps of many restarts: what opening takes is left out.
        steps = trace(X, start, "dense", restarts=8 if size > 1 << 20 else 40).seconds[1:]
        seconds.append(min(step[0] for step in steps))
    return {"K": K, "share": share, "ratio": seconds[0] / seconds[1]}


# ---- statistics of data ----------------------------------------------------------------------------


def sources(n: int, m: int, folder: Path | None) -> dict[str, np.ndarray]:
    """Data of several kinds with n features."""
    found = {
        "uniform": uniform(m, n),
        "mixture, apart": mixture(m, n, 256),
        "mixture, overlapping": mixture(m, n, 256, side=20 / math.sqrt(n)),
        "spectrum, slow": spectrum(m, n, 0.5),
        "spectrum, fast": spectrum(m, n, 1.0),
        "low rank": low_rank(m, n, 256, 0.02),
    }
    if folder is not None and (folder / MINILM).is_file() and n == 384:
        rows = np.load(folder / MINILM)[:m].astype(np.float32)
        found["embeddings"] = rows[np.random.default_rng(0).permutation(len(rows))]
    return found


def survivors(quick: bool, repeats: int, folder: Path | None = None) -> Section:
    """How many pairs are left, and how fast screening is then."""
    K, section, later = 256, Section(tables={"survivors": []}), []
    for n in (128,) if quick else (64, 128, 384):
        for name, X in sources(n, 6144, folder).items():
            start, m = last_rows(X, K), len(X)
            counts = computed_by_step(X, start, "screen", 12, max_iter=11)
            first = next((i for i, count in enumerate(counts) if count < 0.9 * m * K), len(counts) - 1)
            share = (counts[first] / m - 1) / K
            rest = counts[first + 1 :]
            screened = counts[first] < 0.9 * m * K
            following = statistics.fmean(rest) / counts[first] if screened and rest else None
            if following is not None and share * K >= 2:  # else most pairs are the points' own
                later.append(following)
            times = [sum(trace(X, start, engine, max_iter=10).seconds[0]) for engine in ("screen", "dense")]
            section.tables["survivors"].append(
                {"data": name, "n": n, "survivors": share, "later": following,
                 "near": near_share(X, start), "screen / dense": times[0] / times[1]}
            )  # fmt: skip
    if later:
        unit = "pairs of a later step for one of the first; spread over data sets"
        section.constants = [spread("later_survivors", later, unit)]
    return section


def near_share(X: np.ndarray, centroids: np.ndarray, times: float = 3.0) -> float:
    """Share of squared distances that are at most so many times their point's second smallest."""
    some = X[:256].astype(np.float64)
    squares = (some**2).sum(1)[:, None] - 2 * some @ centroids.T + (centroids.astype(float) ** 2).sum(1)
    second = np.partition(squares, 1, axis=1)[:, 1:2]
    return float((squares <= times * second).mean())


def settling(quick: bool, repeats: int) -> Section:
    """From which share of changed labels on carried bounds pay."""
    section, found, steps = Section(tables={"settling": []}), [], 100
    for n in (32,) if quick else (16, 32, 64):
        for K in (256,) if quick else (256, 1000):
            for name, X in sources(n, 16_384, None).items():
                start = last_rows(X, K)
                path = ckmeans.kmeans(X, K, init=start, max_iter=steps, tol=0, keep_path=True).path
                assert path is not None
                labels = [ckmeans.assign(X, centroids) for centroids in path]
                changed = [float((one != two).mean()) for one, two in pairwise(labels)]
                engines = [
                    trace(X, start, engine, max_iter=steps).seconds[0] for engine in ("screen", "dense")
                ]
                ratios = [a / b for a, b in zip(*engines, strict=False)][1:]
                slow = [i for i, ratio in enumerate(_smoothed(ratios)) if ratio > 1]
                last = slow[-1] + 1 if slow else 0
                crosses = 0 < last < min(len(changed), len(ratios)) and changed[last] > 0
                if crosses:
                    found.append(changed[last])
                section.tables["settling"].append(
                    {"data": name, "n": n, "K": K, "steps": len(ratios), "from step": last + 1,
                     "changed": changed[last] if crosses else None, "last ratio": ratios[-1]}
                )  # fmt: skip
    if found:
        unit = "share of labels that change; spread over data sets"
        section.constants = [spread("settling_change", found, unit)]
    return section


def _smoothed(values: Sequence[float]) -> list[float]:
    """The median of each value and its neighbours."""
    return [statistics.median(values[max(0, i - 1) : i + 2]) for i in range(len(values))]


# ---- the report ------------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[..., Section]] = {
    "screening": screening,
    "gather": gather,
    "cells": cells,
    "few": few,
    "survivors": survivors,
    "settling": settling,
}


def describe() -> dict[str, Any]:
    """The machine and the build that the constants belong to."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    build = ckmeans.show_config()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_set": build["simd"],
        "ckmeans": build["version"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def heading(machine: dict[str, Any], quick: bool) -> str:
    return (
        f"# {machine['cpu']}, {machine['cores']} cores, {machine['instruction_set']}, float32, one thread; "
        f"ckmeans {machine['ckmeans']}, {machine['date']}, load before {machine['load_before']}"
        f"{'; --quick' if quick else ''}\n"
    )


def table(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """A table as text."""
    columns = list(rows[0])
    shown = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in shown]
    return "\n".join([f"{name}:", *(f"  {line}" for line in lines)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: null for what is not finite."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return float(value) if isinstance(value, float) and math.isfinite(value) else _plain(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) else int(value) if isinstance(value, np.integer) else value


def main() -> int:
    """Measure, print and write the constants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and repetitions")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--repeats", type=int, help="repetitions of each fit (3; with --quick 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "calibration", metavar="FILE")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", metavar="DIR")
    options = parser.parse_args()
    machine, repeats = describe(), options.repeats or (2 if options.quick else 3)
    text = heading(machine, options.quick)
    kept: dict[str, Any] = {"machine": machine, "quick": options.quick, "constants": [], "tables": {}}
    print(text, end="")
    begin = perf_counter()
    for name in options.only or SECTIONS:
        more = {"folder": options.data} if name == "survivors" else {}
        section = SECTIONS[name](options.quick, repeats, **more)
        lines = [f"\n# {name}", *map(str, section.constants)]
        text += "\n".join(lines) + "\n"
        print("\n".join(lines))
        for title, rows in section.tables.items():
            if rows:
                print(table(title, rows))
        print(f"({perf_counter() - begin:.0f} s)", flush=True)
        kept["constants"] += [asdict(constant) for constant in section.constants]
        kept["tables"] |= section.tables
    options.out.with_suffix(".txt").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps(_finite(kept), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
