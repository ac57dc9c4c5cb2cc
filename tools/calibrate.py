"""Measures the machine costs of the cost model of "auto" on this machine.

    python tools/calibrate.py [--quick] [--only SECTION ...] [--out tools/calibration]

Writes OUT.txt, a line `name = value  # unit; spread; residual` for each constant under the machine and the
date, and OUT.json with the same and every measurement. It takes less than 10 minutes on 2 cores, with --quick
less than 2. It measures the installed ckmeans through its public functions, on one thread, in CPU time and
in float32; the machine should be idle.

Every section is measured and fitted by least squares on relative errors several times (--repeats). A constant
is the median of those fits, its spread their range, its residual the root mean square of the relative errors.

screening
    Constants of src/ckmeans/_screen_cost.pxi, which has them in capitals. Their unit MAC is a multiply-add of
    the dense engine in float32: a dense step takes n (K + row_cost) of them for each point. Timed are first
    steps, in which every point is open, in turns with dense ones. A step by codes takes for each point
        K (codes_cost d + bound_cost) + point_cost n + point_overhead + listed_pair_cost p
        + (pair_cost n + pair_overhead) q + centroid_cost K n / m,
    where d is n rounded up to whole words, and on d leading directions, where it scores twice,
        2 K (codes_cost d + bound_cost) + point_cost n + point_overhead + coded_pair_cost p + ...
    q is counted by the engine, p here. Clusters far apart leave one pair; nearly equal centroids raise q,
    centroids in the order of falling distance p, noise the pairs that directions leave. A fit's first step
    takes coding_cost n + coding_overhead more than that of the next restart, and the search for directions
    directions_cost for each feature of a row of its sample and direction. stable_cost is what is left of late
    steps in which few points are open. centroid_cost and coding_overhead are fitted for the sake of
    the others: the model leaves them out.
codes
    codes_cost of each instruction set that CKMEANS_SIMD offers, relative to its own dense kernel: CODES_COST
    in src/simd/codes_*.c. It is the slope over n of what more centroids take. Where the processor has VNNI,
    "avx512" is codes_avx512vnni.c.
cells
    Constants of src/ckmeans/_cost_model.pxd, in nanoseconds for each point. A dense step takes
        dense_point + dense_point_per_n n + K (dense_pair + dense_pair_per_n n) + dense_step / m,
    building the k-d tree
        tree_point + tree_point_per_n n + tree_point_per_level log2(m / 2048) + tree_fixed / m,
    and a step of cells that computes q distances per point, those to whole cells included,
        cells_point[n] + cells_list[n] sqrt(q) + cells_distance[n] q
        + (cells_centroid[n] K + cells_step[n]) / m,
    where the root stands for lists of candidates too short to fill a vector. q is a property of the data:
    reach[n] explains it by (1 + reach (32 K / m)^(1/n))^n - 1, as the geometric mean over the sets.
few
    few_cached, few_fetched: bytes of a row for each centroid from which the dense engine scores rows as they
    lie (K <= 8) instead of packing them, where X fits the second cache and where it does not. It needs the
    private hook `set_few_bytes`, which is looked for in all modules of ckmeans; else it is left out.

Statistics of data (FEW_CHANGED, OPEN_SHARE, TYPICAL_PAIRS) are not measured here, nor limits that are choices
of policy (MIN_GAIN, MAX_COST, MAX_LOSS, TRIAL_STEPS, LATER_STEPS: how sure a gain must be, and how long a fit
is expected to last).
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

import ckmeans

ROOT = Path(__file__).resolve().parent.parent
LEAF = 32  # points of a leaf of the k-d tree
CENTROID_COST = 190.0  # as `screening` found it
LATENT = 8  # features that carry the structure of low_rank
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
        before = process_time()
        return start

    def note(iteration: int, distortion: float, centroids: np.ndarray) -> bool:
        nonlocal before, done
        now = process_time()
        seconds[-1].append(now - before)
        done += 1
        before = process_time()
        return done >= stop

    result = ckmeans.kmeans(
        X, len(start), init=init, n_init=restarts, max_iter=max_iter, tol=0, empty="farthest",
        algorithm=algorithm, n_threads=1, callback=note, seed=0,
    )  # fmt: skip
    return Trace(seconds, result.stats)


def best_of(times: int, call: Callable[[], Any]) -> float:
    """The least time of some calls."""
    found = []
    for _ in range(times):
        begin = process_time()
        call()
        found.append(process_time() - begin)
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


# ---- dense steps and screening ---------------------------------------------------------------------


def apart(m: int, n: int, K: int, copies: int = 1, falling: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters far apart, and as a start that many copies of each centre, nearly equal.

    The noise lies in a quarter of the features and the centres in the others, so that no leading directions
    tell them apart. The first `falling` centroids are ever closer to all points, and closest to none.
    """
    rng = np.random.default_rng(0)
    noise = np.where(np.arange(n) < n // 4, 2.0, 0.3).astype(np.float32)
    centres = rng.standard_normal((-(-(K - falling) // copies), n), dtype=np.float32)
    centres[:, : n // 4] = 0
    X = rng.standard_normal((m, n), dtype=np.float32) * noise
    X += centres[rng.integers(0, len(centres), m)]
    start = rng.permutation(np.repeat(centres, copies, axis=0)[: K - falling])
    start += 0.02 * rng.standard_normal(start.shape, dtype=np.float32)
    line = rng.standard_normal(n, dtype=np.float32) * np.linspace(6, 3, falling, dtype=np.float32)[:, None]
    return X, np.concatenate([line, start])


@dataclass
class FirstStep:
    """CPU seconds of the first step of a fit and of its next restarts, and the distances of a point."""

    opening: float
    seconds: float
    distances: float


def first_steps(X: np.ndarray, start: np.ndarray, engines: Sequence[str], rounds: int) -> list[FirstStep]:
    """The least of what they take in turns. Restarts find what the first step has made of the points."""
    openings: list[list[float]] = [[] for _ in engines]
    later: list[list[float]] = [[] for _ in engines]
    distances = [0.0 for _ in engines]
    for _ in range(rounds):
        for i, engine in enumerate(engines):
            first = trace(X, start, engine, stop=1)
            distances[i] = first.stats["distances_computed"] / len(X)
            openings[i].append(first.seconds[0][0])
            later[i] += [steps[0] for steps in trace(X, start, engine, restarts=4).seconds[1:]]
    return [FirstStep(min(a), min(b), q) for a, b, q in zip(openings, later, distances, strict=True)]


def listed(X: np.ndarray, start: np.ndarray) -> float:
    """Pairs of a point that a first step on all features lists: the closest so far, or nearly."""
    points, centroids, _ = _about_mean(X, start)
    scores = (centroids**2).sum(1) - 2 * points @ centroids.T
    nearly = scores - _loss(points, centroids) <= np.minimum.accumulate(scores, axis=1)
    return float(nearly.mean(0).sum())


def left(X: np.ndarray, start: np.ndarray, d: int) -> float:
    """Pairs of a point that d leading directions leave in a first step."""
    points, centroids, axes = _about_mean(X, start, d)
    squares = [(a**2).sum(1) for a in (points, centroids)]
    least = (squares[0][:, None] - 2 * points @ centroids.T + squares[1]).min(1)
    projected = [a @ axes.T for a in (points, centroids)]
    rests = [np.sqrt(np.maximum(b - (a**2).sum(1), 0)) for a, b in zip(projected, squares, strict=True)]
    below = squares[0][:, None] + squares[1] - 2 * projected[0] @ projected[1].T
    below -= 2 * np.outer(*rests) + _loss(*projected)
    return float((below <= least[:, None]).mean(0).sum())


def _about_mean(X: np.ndarray, start: np.ndarray, d: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some points and the centroids about the mean, and d leading directions."""
    origin = X.mean(0, dtype=np.float64)
    axes = np.linalg.svd(X[:1024] - origin, full_matrices=False)[2][:d]
    return X[:: max(1, len(X) // 256)] - origin, start - origin, axes


def _loss(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """What the codes of two vectors lose of a score: about 3 % of the product of their lengths."""
    found: np.ndarray = 0.03 * np.outer(np.linalg.norm(points, axis=1), np.linalg.norm(centroids, axis=1))
    return found


def directions(X: np.ndarray, start: np.ndarray) -> int:
    """The number of leading directions in use: 48 where a row takes more than 36 bytes beside its codes.

    The rows are repeated until there are 64 partial sums, of which there are never more.
    """
    few, many = (np.resize(X, (m, X.shape[1])) for m in (1 << 15, 1 << 16))
    taken = [trace(each, start, "screen", stop=1).stats["bytes"] for each in (few, many)]
    return 48 if (taken[1] - taken[0]) / len(few) - (X.shape[1] + 3) // 4 * 4 > 48 else 0


# Columns of the first steps: constants of the model, and centroids, which are coded and packed.
SCREENING_UNITS = {
    "codes_cost": "MAC for each product of codes",
    "bound_cost": "MAC for each bound",
    "point_cost": "MAC for each feature of a point that is screened",
    "point_overhead": "MAC for each point that is screened",
    "listed_pair_cost": "MAC for each pair that is listed",
    "coded_pair_cost": "MAC for each pair that is bounded by itself",
    "pair_cost": "MAC for each feature of a distance",
    "pair_overhead": "MAC for each distance",
    "centroid_cost": "MAC for each feature of a centroid",
}
OPENING_UNITS = {
    "coding_cost": "MAC for each feature of a point that is coded",
    "coding_overhead": "MAC for each point that is coded",
    "directions_cost": "MAC for each feature of a row of the sample and direction",
}
DENSE_UNITS = {
    "mac": "s",
    "row": "s for each feature of a row",
    "centroid": "s for each feature of a centroid",
    "step": "s for each step",
}


def dense_rows(shapes: Sequence[tuple[int, int]], dtype: str, rounds: int) -> list[Row]:
    """Seconds of dense steps, for each point."""
    rows = []
    for n, K in shapes:
        m = rows_for(n, K)
        X = uniform(m, n).astype(dtype)
        y = first_steps(X, last_rows(X, K), ["dense"], rounds)[0].seconds / m
        rows.append({"mac": float(K * n), "row": float(n), "centroid": K * n / m, "step": 1 / m, "y": y})
    return rows


def rows_for(n: int, K: int) -> int:
    """As many points as make a step long enough to time."""
    return int(min(max(2e8 / (K * n), 8 * K, 2048), 16384)) // 1024 * 1024


def screening_rows(
    X: np.ndarray, start: np.ndarray, d: int, row_cost: float, rounds: int
) -> tuple[Row, float]:
    """What a first step takes for each point, in MACs, and how much more where all is yet to be made."""
    (m, n), K = X.shape, len(start)
    dense, screened = first_steps(X, start, ["dense", "screen"], rounds)
    macs = n * (K + row_cost) / dense.seconds
    scans, features = (2, d) if d else (1, (n + 3) // 4 * 4)  # directions guess labels first
    step = {
        "codes_cost": float(K * scans * features),
        "bound_cost": float(K * scans),
        "point_cost": float(n),
        "point_overhead": 1.0,
        "listed_pair_cost": 0.0 if d else listed(X, start),
        "coded_pair_cost": left(X, start, d) if d else 0.0,
        "pair_cost": n * screened.distances,
        "pair_overhead": screened.distances,
        "centroid_cost": K * n / m,
        "y": screened.seconds * macs - K * n * d / m,  # centroids are projected
    }
    return step, (screened.opening - screened.seconds) * macs


def opening_row(m: int, n: int, K: int, d: int, more: float, costs: Row) -> Row:
    """What coding and the search for directions take for each point, in MACs.

    Left out: the probe of 256 points, which are scored twice, and the projection of all points.
    """
    row = {"coding_cost": float(n), "coding_overhead": 1.0, "directions_cost": 512 * d * n / m, "y": more}
    if d:
        scans = 512 * (costs["codes_cost"] * d + costs["bound_cost"])
        row["y"] -= K * (n * (d + costs["centroid_cost"]) + scans) / m + n * d
    return row


def screening_data(quick: bool) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Points, a start, and the number of leading directions: 0 where all features are screened."""
    shapes = [(16, 256), (16, 1024), (64, 64), (64, 512), (256, 64), (256, 512), (784, 64), (784, 256)]
    shapes += [] if quick else [(32, 512), (64, 2048), (128, 256), (512, 64), (512, 1024)]
    data = [(*apart(rows_for(n, K), n, K), 0) for n, K in shapes]
    data += [(*apart(1024, n, 1024), 0) for n in (16, 64, 256)]  # few points, to tell what centroids take
    for n in (32, 256) if quick else (16, 32, 128, 256, 784):
        for copies, falling in ((4, 0), (12, 0), (1, 32), (1, 64)):
            data.append((*apart(rows_for(n, 256), n, 256, copies, falling), 0))
    for n, K in ((192, 1024), (384, 1024)) if quick else ((192, 1024), (256, 1024), (384, 1024), (384, 2048)):
        for share in (0.0, 0.003, 0.01):
            X = low_rank(8192, n, K, share)
            start = last_rows(X, K)
            data.append((X, start, directions(X, start)))
    return data


def codes_cost(centroid_cost: float) -> float:
    """The cost of a product of codes for the instruction set of this process: what more centroids take."""
    rows, m = [], 8192
    for n in (32, 96, 256):
        few, many = (first_steps(*apart(m, n, K), ["dense", "screen"], 2) for K in (128, 512))
        dense, screened = (more.seconds - less.seconds for less, more in zip(few, many, strict=True))
        macs = n * screened / dense - centroid_cost * n / m
        rows.append({"codes_cost": float(n), "bound_cost": 1.0, "y": macs})
    return least_squares(rows)[0]["codes_cost"]


def codes(quick: bool, repeats: int) -> Section:
    """Costs of products of codes: in a process for each instruction set."""
    section, chosen = Section(), os.environ.get("CKMEANS_SIMD")
    for name in ckmeans.show_config()["simd_supported"]:
        os.environ["CKMEANS_SIMD"] = name
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = [pool.submit(codes_cost, CENTROID_COST).result() for _ in range(repeats)]
        section.constants.append(spread(f"codes_cost[{name}]", found, SCREENING_UNITS["codes_cost"]))
    os.environ.pop("CKMEANS_SIMD")
    if chosen is not None:
        os.environ["CKMEANS_SIMD"] = chosen
    return section


def screening(quick: bool, repeats: int) -> Section:
    """Costs of dense steps, and of what screening does in a step and once."""
    shapes = [(n, K) for n in (16, 64, 256, 784) for K in ((16, 256) if quick else (16, 64, 256, 1024))]
    data, fits, openings, dense_costs, stable = screening_data(quick), [], [], [], []
    section, rounds = Section(), 2 if quick else 4
    for _ in range(repeats):
        narrow, wide = (least_squares(dense_rows(shapes, dtype, rounds)) for dtype in ("float32", "float64"))
        row_cost = narrow[0]["row"] / narrow[0]["mac"]
        dense_costs.append(
            ({"row_cost": row_cost, "wide_cost": wide[0]["mac"] / narrow[0]["mac"]}, narrow[1])
        )
        rows = [screening_rows(X, start, d, row_cost, rounds) for X, start, d in data]
        fits.append(least_squares([step for step, _ in rows]))
        # Few centroids, for which no directions are sought, and data where some were found.
        once = [
            opening_row(*X.shape, len(start), d, more, fits[-1][0])
            for (X, start, d), (_, more) in zip(data, rows, strict=True)
            if d or len(start) <= 64
        ]
        openings.append(least_squares([row for row in once if row["y"] > 0]))
        stable.append(stable_cost(row_cost, fits[-1][0], quick))
        section.tables["screening"] = [
            {"n": X.shape[1], "m": len(X), "K": len(start), "d": d, "listed": step["listed_pair_cost"],
             "left": step["coded_pair_cost"], "q": step["pair_overhead"], "macs": step["y"],
             "fit": sum(fits[-1][0][name] * step[name] for name in fits[-1][0]) / step["y"],
             "once": more}
            for (X, start, d), (step, more) in zip(data, rows, strict=True)
        ]  # fmt: skip
    units = {"row_cost": "MAC for each feature of a row", "wide_cost": "MAC for each MAC in float64"}
    section.constants = constants(dense_costs, units) + constants(fits, SCREENING_UNITS)
    section.constants += constants(openings, OPENING_UNITS)
    section.constants.append(spread("stable_cost", stable, "MAC for each point whose label stays"))
    return section


def stable_cost(row_cost: float, costs: Row, quick: bool) -> float:
    """What a point takes whose label stays: of late steps in which few points are open."""
    found = []
    for n in (32, 128) if quick else (16, 32, 128, 256):
        m, K, slow = 16384, 256, 8
        X, start = apart(m, n, K - slow)
        rng = np.random.default_rng(1)
        X[: m // 20] = 0.1 * rng.standard_normal((m // 20, n)) + (np.arange(n) >= n // 4)
        X[: m // 20, -2:] += rng.uniform(0, math.sqrt(n), (m // 20, 2))  # which take many steps to settle
        start = np.concatenate([start, X[:slow]])
        X = rng.permutation(X)
        until = [trace(X, start, "screen", max_iter=20, stop=stop) for stop in (10, 20)]
        steps = len(until[1].seconds[0]) - 10
        dense = first_steps(X, start, ["dense"], 2)[0].seconds
        macs = n * (K + row_cost) / dense
        q = (until[1].stats["distances_computed"] - until[0].stats["distances_computed"]) / steps / m
        product = (n + 3) // 4 * 4 * costs["codes_cost"] + costs["bound_cost"]
        opened = K * product + n * (costs["point_cost"] + costs["pair_cost"])
        opened += costs["point_overhead"] + costs["pair_overhead"]
        y = statistics.median(until[1].seconds[0][10:]) * macs
        found.append((y - q * opened) / (1 - q) - slow * product)
    return statistics.median(found)


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
    """Costs of a tree, of its steps and of dense ones, and the distances that those steps compute."""
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
    section.constants += [_reach(steps, n) for n in features]
    section.tables = {"cells": steps}
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


def _reach(steps: Sequence[dict[str, Any]], n: int) -> Constant:
    """The reach that explains the counted distances, where neither few nor nearly all are computed."""
    found = [((1 + row["q"]) ** (1 / n) - 1) / (LEAF * row["K"] / row["m"]) ** (1 / n) for row in steps
             if row["n"] == n and row["K"] >= 4 and 0.05 < row["q"] < 0.7 * row["K"]]  # fmt: skip
    return Constant(f"reach[{n}]", geometric_mean(found), "sides of a leaf", min(found), max(found))


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


# ---- the report ------------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[..., Section]] = {
    "screening": screening,
    "codes": codes,
    "cells": cells,
    "few": few,
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
    parser.add_argument("--repeats", type=int, help="repetitions of each fit (3; with --quick 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "calibration", metavar="FILE")
    options = parser.parse_args()
    machine, repeats = describe(), options.repeats or (1 if options.quick else 3)
    text = heading(machine, options.quick)
    kept: dict[str, Any] = {"machine": machine, "quick": options.quick, "constants": [], "tables": {}}
    print(text, end="")
    begin = perf_counter()
    for name in options.only or SECTIONS:
        section = SECTIONS[name](options.quick, repeats)
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
