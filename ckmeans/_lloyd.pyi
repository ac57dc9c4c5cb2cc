from collections.abc import Callable
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

from ckmeans._engine import EngineEntry
from ckmeans._fit_options import EachFit, FitOptions
from ckmeans._points import PreparedPoints, ProblemResults, ProblemRows

STOP_REASONS: tuple[str, ...]

@disjoint_base
class Fits:
    def __new__(cls, capacity: int) -> Self: ...

class EmptyCluster(Exception): ...

def init(
    points: PreparedPoints,
    given: np.ndarray,
    K: int,
    trials: int,
    seed: int,
    n_threads: int,
    want_rows: bool,
) -> tuple[np.ndarray, np.ndarray | None]: ...
def fit(
    points: PreparedPoints,
    engine: EngineEntry,
    starts: np.ndarray | Callable[[int], np.ndarray] | None,
    options: FitOptions,
    on_progress: Callable[[int], Any] | None,
) -> dict[str, Any]: ...
def fit_many(
    problems: ProblemRows,
    which: np.ndarray,
    engine: EngineEntry,
    options: FitOptions,
    each: EachFit,
    results: ProblemResults,
    on_progress: Callable[[int], Any] | None,
) -> None: ...
