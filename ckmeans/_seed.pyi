import numpy as np

from ckmeans._points import Points

def init(points: Points, K: int, trials: int, seed: int, n_threads: int) -> tuple[np.ndarray, int]: ...
