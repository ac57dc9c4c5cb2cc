"""Memory of a process as reported by Linux; None on other systems."""

from __future__ import annotations

from pathlib import Path


def restart_peak() -> int | None:
    """Reset the peak memory of this process and return its resident bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return resident("VmRSS")


def resident(field: str, pid: int | str = "self") -> int | None:
    """Return a field of /proc/PID/status in bytes, such as VmRSS, VmHWM (the peak) or RssAnon."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
