from collections.abc import Callable
from typing import Any

import numpy as np
from typing_extensions import disjoint_base

from ckmeans._store import Store

STOP_REASONS: tuple[str, ...]
ALGORITHMS: tuple[str, ...]
EMPTY_POLICIES: dict[str, int]

@disjoint_base
class Fits: ...

class EmptyCluster(Exception): ...

def fit(
    points: Store,
    *,
    algorithm: int,
    watchful: bool,
    late: bool,
    K: int,
    trials: int,
    given: np.ndarray | None,
    start: Callable[[int], np.ndarray] | None,
    n_init: int,
    max_iter: int,
    tol: float,
    tol_shift: float,
    relax: float,
    noise: float,
    cooling: int,
    empty: int,
    seed: int,
    n_threads: int,
    callback: Callable[[int, float, np.ndarray], Any] | None,
    beat: Callable[[int], Any] | None,
    keep_path: bool,
    keep_ends: bool,
) -> dict[str, Any]: ...
