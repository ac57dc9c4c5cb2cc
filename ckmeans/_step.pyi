import numpy as np

from ckmeans._points import Points
from ckmeans._store import Store

def step(
    points: Points,
    centroids: Points,
    labels: np.ndarray,
    squared: np.ndarray | None,
    score: bool,
    sum: bool,
    measure: bool,
    n_threads: int,
) -> tuple[int, float, np.ndarray | None, np.ndarray | None, np.ndarray | None]: ...
def assign_in_boxes(points: Store, centroids: Points, labels: np.ndarray, n_threads: int) -> int: ...
