"""Description of the machine and of the package versions, stored with every result."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS

FLAGS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "asimd", "asimddp")


def describe(threads: int) -> dict[str, Any]:
    """Return CPU, memory, system, load average and the version of every package."""
    cpu = _cpuinfo()
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    return {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "family": cpu.get("cpu family"),
        "model": cpu.get("model"),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": usable_cores(),
        "threads": threads,
        "memory_gib": _memory_gib(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in sorted({p.package for p in PEERS.values()})},
        "ckmeans_config": _config(),
    }


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """Return the entry of the first processor in /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory_gib() -> float | None:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    return round(pages / 2**30, 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _config() -> dict[str, Any] | None:
    try:
        import ckmeans

        return dict(ckmeans.show_config())
    except (ImportError, AttributeError):  # not built, or only the source folder was found
        return None
