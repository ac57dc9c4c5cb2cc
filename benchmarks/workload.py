"""What a workload is: the task, the data, the contenders and the goals."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.data import Source

BASELINE = "ckmeans"
SEEDING = "ckmeans-seeding"
STABLE = 300  # iteration limit of fits that run until no label changes

TIMED = {
    "fit": "one fit from given rows as start",
    "refits": "several fits, each from its own given rows; the best one counts",
    "random": "random restarts, each until nothing changes; the best one counts",
    "step": "one full step (assignment and update) of ckmeans, as the time of 6 iterations less"
    " that of 1, divided by 5; against numpy.matmul(X, C.T, out=...) alone",
    "assign": "the label of one row; against ((C - x) ** 2).sum(1).argmin()",
    "seed": "k-means++ seeding with greedy local trials, another seed each round",
    "rows": "ckmeans on the first m rows, for several m, from the same start",
    "clusters": "one step of cells for several K, as the time of 22 iterations less that of 2, divided by 20",
    "calls": "a call of kmeans with its default options for each K, on what prepare(X) made (counted"
    " too); against the same calls on X",
    "default": "the call as a user types it, from choosing the start to the result, another seed each round",
    "distances": "one step of ckmeans for several K, as the time of 6 iterations less that of 1, divided by 5"
    " and by the pairs of point and centroid",
    "elbow": "elbow(X, ks) with 5 starts for each K; against a call of kmeans for each K",
    "import": "importing ckmeans on top of numpy in a fresh interpreter; against importing numpy",
}

RATIO = {  # what is reported, if not the time of the contender divided by that of ckmeans
    "step": "ckmeans / yardstick",
    "assign": "ckmeans / yardstick",
    "import": "ckmeans / yardstick",
    "rows": "time of the most rows / time of the fewest",
    "clusters": "the power of K that the time of a step grows with, by least squares",
    "distances": "time of a pair with the most clusters / with the fewest",
}


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio to the fastest of some contenders.

    The ratio peer / ckmeans must be at least the bound; for the kinds listed in `RATIO` the ratio must
    be at most the bound.
    """

    bound: float
    against: tuple[str, ...]
    of: str = BASELINE  # the contender whose time the ratio is divided by


@dataclass(frozen=True)
class Workload:
    """A named workload."""

    name: str
    group: str
    kind: str
    data: Source
    K: int
    peers: tuple[str, ...]
    iterations: int = STABLE
    starts: int = 1
    algorithm: str = "auto"
    goals: tuple[Goal, ...] = ()
    memory_goal: float | None = None  # GiB on top of the array
    J_goal: float | None = None  # J / J of one contender, at most
    J_against: str = ""  # that contender; the first peer by default
    sizes: tuple[int, ...] = ()  # numbers of rows or clusters that one call runs
    economical: bool = False  # reuse workers, drop contenders that can no longer decide a goal
    together: bool = False  # economical, with all contenders in one process, until the goals are decided
    time_limit: float | None = None  # seconds for all calls, the first ones included
    patience: float | None = None  # seconds that a peer's first call may take; half the limit by default
    J_distances: int | None = None  # J of so many distances on evenly spaced rows; of all rows if None
    stand_in: Source | None = None  # generated data of the same kind, where the files are missing
    measures_memory_only: bool = False
    by_default: bool = True

    @property
    def has_yardstick(self) -> bool:
        """Return whether ratios are ckmeans / yardstick instead of peer / ckmeans."""
        return self.kind in ("step", "assign", "import")

    @property
    def at_most(self) -> bool:
        """Return whether goals are upper bounds."""
        return self.kind in RATIO

    @property
    def sizes_are_clusters(self) -> bool:
        """Return whether `sizes` are numbers of clusters."""
        return bool(self.sizes) and self.kind != "rows"

    @property
    def asks_iterations(self) -> bool:
        """Return whether every contender has to make the same number of iterations."""
        return self.kind in ("fit", "refits") and self.iterations < STABLE
