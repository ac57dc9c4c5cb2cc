import numpy as np

from ckmeans._engine import EngineEntry
from ckmeans._points import Points

ENGINE: EngineEntry
ADAPTIVE_ENGINE: EngineEntry

def set_directions(d: int) -> int: ...
def pair_bounds_of(
    points: Points, centroids: np.ndarray, by_tile: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]: ...
