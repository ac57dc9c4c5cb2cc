import numpy as np

from ckmeans._points import Points

def step(
    points: Points,
    centroids: Points,
    labels: np.ndarray,
    squared: np.ndarray | None,
    score: bool,
    sum: bool,
    n_threads: int,
) -> tuple[int, float, np.ndarray | None, np.ndarray | None, np.ndarray | None]: ...
