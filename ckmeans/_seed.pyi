import numpy as np

from ckmeans._store import Store

def init(points: Store, K: int, trials: int, seed: int, n_threads: int) -> tuple[np.ndarray, int]: ...
