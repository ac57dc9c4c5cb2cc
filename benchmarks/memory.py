"""Memory of a process as Linux counts it; None where it does not tell."""

from __future__ import annotations

from pathlib import Path


def restart_peak() -> int | None:
    """Make the peak of this process start from now; its resident bytes now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return resident("VmRSS")


def resident(field: str, pid: int | str = "self") -> int | None:
    """A line of /proc/PID/status in bytes, such as VmRSS, VmHWM (its peak) or RssAnon."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
