import numpy as np

from ckmeans._engine import EngineEntry
from ckmeans._points import PreparedPoints

ENGINE: EngineEntry

def distances(points: PreparedPoints, centroids: np.ndarray, out: np.ndarray, n_threads: int) -> None: ...
def set_few_bytes(cached: int, fetched: int) -> tuple[int, int]: ...
