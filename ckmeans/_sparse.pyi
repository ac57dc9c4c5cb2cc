# The engine for sparse rows.
from ckmeans._engine import EngineEntry

ENGINE: EngineEntry
