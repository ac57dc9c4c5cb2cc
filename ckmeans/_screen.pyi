from ckmeans._engine import EngineEntry

ENGINE: EngineEntry
ADAPTIVE_ENGINE: EngineEntry

def set_directions(d: int) -> int: ...
