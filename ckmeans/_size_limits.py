"""Limits of what a file may unpack to: a few kilobytes can hold more than any memory."""

from __future__ import annotations

import os

__all__ = ["check_unpacked", "most_unpacked"]

_UNKNOWN_MEMORY = 1 << 36  # where the system does not say how much there is


def most_unpacked(copies: int = 1) -> int:
    """Return how many bytes may be unpacked if that many copies of them must fit the machine's memory."""
    return memory_bytes() // copies


def memory_bytes() -> int:
    """Return the size of the machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN_MEMORY


def check_unpacked(size: int, copies: int = 1) -> None:
    """Raise ValueError for more bytes than may be unpacked."""
    if size > most_unpacked(copies):
        memory = f"{memory_bytes() / 1e9:.3g} GB of memory"
        raise ValueError(f"it unpacks to {size / 1e9:.3g} GB, more than fits the {memory} here")
