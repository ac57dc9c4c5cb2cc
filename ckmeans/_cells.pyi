import numpy as np

from ckmeans._engine import EngineEntry
from ckmeans._points import PreparedPoints

ENGINE: EngineEntry

def node_means(points: PreparedPoints, max_rows: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]: ...
