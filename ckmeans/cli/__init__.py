"""The ``ckmeans`` command."""

from ckmeans.cli._main import main

__all__ = ["main"]
