from ckmeans._engine import EngineEntry

ENGINE: EngineEntry
