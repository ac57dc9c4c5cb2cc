"""Many problems in a call, and product quantisers: python -m benchmarks many

Each task is done by every contender in turns, in one process; the ratios are of the calls of a round.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.ratios import spread

Call = Callable[[], tuple[Any, float]]  # returns what is kept alive until the time is taken, and J


class Task(NamedTuple):
    """What is timed: the first contender is ckmeans."""

    name: str
    contenders: dict[str, Call]
    goals: dict[str, float]  # least time of a contender / time of ckmeans
    most_rounds: dict[str, int]  # of slow contenders


def main(arguments: list[str]) -> int:
    """Run the tasks and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks many", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="tasks; all of them by default")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the problems (default 1)")
    options = parser.parse_args(arguments)
    tasks = {"small": small, "palettes": palettes, "quantizer": quantizer}
    for name in options.names or tasks:
        if name not in tasks:
            parser.error(f"no task is called {name!r}; there are {', '.join(tasks)}")
        run(tasks[name](options.scale), options.rounds)
    return 0


def run(task: Task, rounds: int) -> None:
    """Call the contenders in turns; print times, ratios and J."""
    seconds: dict[str, list[float]] = {name: [] for name in task.contenders}
    J: dict[str, float] = {}
    names = list(task.contenders)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if number < task.most_rounds.get(name, rounds):
                started = time.perf_counter()
                kept, J[name] = task.contenders[name]()
                seconds[name].append(time.perf_counter() - started)
                del kept
    print(f"\n{task.name}")
    own = names[0]
    for name in names:
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds[own], strict=False)]
        found = spread(ratios)
        goal = f", goal {task.goals[name]:g}" if name in task.goals else ""
        print(
            f"  {name:16}{min(seconds[name]):9.3f} s  ratio {found.median:7.2f} "
            f"({found.least:.2f} to {found.most:.2f}){goal}  J {J[name]:.8g} ({J[name] / J[own] - 1:+.3%})"
        )


def _installed(contenders: dict[str, tuple[str, Call]]) -> Iterator[tuple[str, Call]]:
    """Yield the contenders whose packages there are."""
    for name, (package, call) in contenders.items():
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
        else:
            yield name, call


def small(scale: float) -> Task:
    """Return 10,000 problems of 150 points of 4 features, K = 3: against loops."""
    import ckmeans

    rng = np.random.default_rng(0)
    P = max(int(10_000 * scale), 1)
    X = (rng.normal(size=(P, 150, 4)) + 3 * rng.integers(0, 3, (P, 150, 1))).astype(np.float32)
    part = max(P // 20, 1)  # of which scikit-learn's time is taken, times the rest

    def many() -> tuple[Any, float]:
        result = ckmeans.kmeans_many(X, 3, seed=0)
        return result, float(result.distortions.mean())

    def loop() -> tuple[Any, float]:
        results = [ckmeans.kmeans(x, 3, seed=0) for x in X]
        return results, float(np.mean([result.distortion for result in results]))

    def sklearn() -> tuple[Any, float]:
        from sklearn.cluster import KMeans

        fits = [KMeans(3, n_init=1, random_state=0).fit(x) for x in X[:part]]
        return fits, float(np.mean([fit.inertia_ for fit in fits]) / X.shape[1])

    name = f"{P:,} problems of 150 x 4, K = 3 (scikit-learn: {part:,} of them, for a goal of 100)"
    contenders = {"ckmeans": many, "loop of kmeans": loop}
    contenders |= dict(_installed({"scikit-learn": ("scikit-learn", sklearn)}))
    return Task(name, contenders, {"loop of kmeans": 3, "scikit-learn": 100 * part / P}, {"scikit-learn": 3})


def palettes(scale: float) -> Task:
    """Return 2,048 rows of 4,096 weights, K = 16, with importance: against flash1dkmeans in a loop."""
    import ckmeans

    rng = np.random.default_rng(0)
    W = (0.02 * rng.standard_t(5, (max(int(2048 * scale), 1), 4096))).astype(np.float32)
    importance = rng.gamma(1, size=W.shape).astype(np.float32) + np.float32(1e-3)

    def many() -> tuple[Any, float]:
        result = ckmeans.kmeans_many(W[:, :, None], 16, sample_weight=importance)
        return result, float(result.distortions.mean())

    def flash() -> tuple[Any, float]:
        from flash1dkmeans import kmeans_1d

        pairs = [
            kmeans_1d(row, 16, sample_weights=weights, random_state=0)
            for row, weights in zip(W, importance, strict=True)
        ]
        return pairs, 0.0

    def J_of(pairs: Any) -> float:
        restored = np.stack([centroids[labels] for centroids, labels in pairs])
        return float(np.average((W.astype(float) - restored) ** 2, axis=1, weights=importance).mean())

    contenders: dict[str, Call] = {"ckmeans": many}
    for name, call in _installed({"flash1dkmeans": ("flash1dkmeans", flash)}):
        J = J_of(call()[0])  # compiles, too
        contenders[name] = lambda call=call, J=J: (call()[0], J)  # type: ignore[misc]
    return Task(f"{len(W):,} rows of 4,096 weights, K = 16", contenders, {"flash1dkmeans": 2}, {})


def quantizer(scale: float) -> Task:
    """Return a product quantiser of 65,536 x 128 in 16 subspaces, 25 iterations: against faiss."""
    import ckmeans

    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(128, 128)) * np.arange(1, 129) ** -0.5
    X = (rng.normal(size=(max(int(65_536 * scale), 10_000), 128)) @ mixing).astype(np.float32)

    def own() -> tuple[Any, float]:
        fitted = ckmeans.ProductQuantizer(16, seed=0).fit(X)
        return fitted, fitted.distortion(X)

    def faiss() -> tuple[Any, float]:
        import faiss

        fitted = faiss.ProductQuantizer(128, 16, 8)
        fitted.train(X)
        return fitted, float(((X - fitted.decode(fitted.compute_codes(X))) ** 2).sum(axis=1).mean())

    contenders = {"ckmeans": own} | dict(_installed({"faiss": ("faiss-cpu", faiss)}))
    name = f"product quantiser of {len(X):,} x 128 in 16 x 8, K = 256 (J and codes counted)"
    return Task(name, contenders, {"faiss": 4}, {})
