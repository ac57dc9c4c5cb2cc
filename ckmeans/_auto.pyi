# The engine that chooses among the others.
from ckmeans._engine import EngineEntry

ENGINE: EngineEntry
