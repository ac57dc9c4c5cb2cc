import numpy as np

from ckmeans._store import Store

def box_means(points: Store, most: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]: ...
