from typing import Any, Self

import numpy as np
from typing_extensions import disjoint_base

from ckmeans._points import Points, PreparedPoints

ASSIGN: int
SUM: int
MEASURE: int
ENGINES: dict[str, EngineEntry]

@disjoint_base
class EngineEntry:
    @property
    def name(self) -> str: ...
    @property
    def max_features(self) -> int | None: ...
    @property
    def max_points(self) -> int | None: ...
    @property
    def chooses(self) -> bool: ...
    def accepts(self, kind: str) -> bool: ...
    def renamed(self, name: str) -> Self: ...

@disjoint_base
class Centroids:
    def __new__(cls, points: Points, itemsize: int, packed: bool) -> Self: ...
    @property
    def bytes(self) -> int: ...

def register(entry: EngineEntry) -> None: ...
def set_part_values(values: int) -> int: ...
def step(
    points: PreparedPoints,
    engine: EngineEntry,
    centroids: Centroids,
    labels: np.ndarray,
    squared: np.ndarray | None,
    outputs: int,
    n_threads: int,
) -> tuple[float, Any, Any, Any]: ...
