from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

BFLOAT16: np.dtype

def set_window_bytes(size: int) -> int: ...
def order_of(X: Any) -> str: ...

class OutOfRange(Exception): ...
class ZeroRow(Exception): ...

@disjoint_base
class Points:
    def __new__(
        cls, X: Any, itemsize: int, weights: np.ndarray | None = None, unit: bool = False
    ) -> Self: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def largest(self) -> float: ...
    def first_zero_row(self) -> int | None: ...
    def first_not_finite(self) -> tuple[int, int, float] | None: ...

@disjoint_base
class PreparedPoints(Points):
    persistent: bool
    def accept_small_values(self) -> None: ...
    @property
    def distinct(self) -> int | None: ...
    @property
    def bytes(self) -> int: ...

@disjoint_base
class ProblemRows:
    def __new__(
        cls,
        X: Any,
        lengths: np.ndarray,
        starts: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        weight_starts: np.ndarray | None = None,
    ) -> Self: ...

@disjoint_base
class ProblemResults:
    def __new__(
        cls,
        centroids: np.ndarray,
        counts: np.ndarray,
        labels: np.ndarray,
        first: np.ndarray,
        distortions: np.ndarray,
        n_iter: np.ndarray,
        status: np.ndarray,
    ) -> Self: ...
