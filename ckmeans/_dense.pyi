import numpy as np

from ckmeans._points import Points

def distances(points: Points, centroids: np.ndarray, out: np.ndarray, n_threads: int) -> int: ...
