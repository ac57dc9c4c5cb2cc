# One feature: the partition with the lowest distortion of all.
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

from ckmeans._points import PreparedPoints, ProblemResults, ProblemRows

@disjoint_base
class SortedValues:
    def __new__(cls, points: PreparedPoints, n_threads: int) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def centroids(self, K: int, n_threads: int) -> np.ndarray: ...
    def label(
        self, points: PreparedPoints, centroids: np.ndarray, labels: np.ndarray, n_threads: int
    ) -> int: ...

def fit_many(
    problems: ProblemRows,
    which: np.ndarray,
    K: np.ndarray,
    empty: str,
    results: ProblemResults,
    n_threads: int,
    on_progress: Callable[[int], Any] | None,
) -> None: ...
