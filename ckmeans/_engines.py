"""The table of engines: to add one, register it here. Where several would do, the first is asked first."""

from __future__ import annotations

from ckmeans import _auto, _cells, _dense, _screen, _sparse
from ckmeans._engine import ENGINES, register

__all__ = ["ENGINES", "register"]

for _module in (_auto, _dense, _cells, _screen, _sparse):
    register(_module.ENGINE)
