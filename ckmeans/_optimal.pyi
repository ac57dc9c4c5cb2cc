# One feature: the partition with the lowest distortion of all.
from typing import Self

import numpy as np
from typing_extensions import disjoint_base

from ckmeans._points import PreparedPoints

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
    points: PreparedPoints, m: int, centroids: np.ndarray, counts: np.ndarray, n_threads: int
) -> None: ...
