"""What this build is, and how many threads it may use."""

from __future__ import annotations

import os

from ckmeans._openmp import _runtime
from ckmeans._version import __version__

_quota: float | None = None


class Config(dict):
    """A dict that prints as a table."""

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{name:<{width}}  {_legible(value)}" for name, value in self.items())


def _legible(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def show_config() -> Config:
    """What this build of ckmeans is and what it uses here.

    Returns
    -------
    dict
        ``version``; ``simd_built``, ``simd_supported`` (instruction sets in the build, and those of
        them that this processor runs, best first); ``simd`` (the one in use; the environment
        variable CKMEANS_SIMD overrides it); ``simd_codes`` (the instructions that multiply 8-bit
        codes, which screening uses: the best of the processor that go with that set);
        ``simd_codes_built`` (those in the build, best first); ``compiler`` (of the kernels, with its
        version); ``openmp`` (date of the OpenMP version, or False);
        ``threads`` (how many a call uses by default here). It prints as a table.
    """
    return Config(
        version=__version__,
        simd_built=_runtime.built_instruction_sets(),
        simd_supported=_runtime.instruction_sets(),
        simd=_runtime.chosen_instruction_set(),
        simd_codes=_runtime.chosen_code_instructions(),
        simd_codes_built=_runtime.built_code_instructions(),
        compiler=_runtime.kernel_compiler(),
        openmp=_runtime.openmp_version() or False,
        threads=default_threads(),
    )


def release_memory() -> int:
    """Give the memory that ckmeans keeps for its next calls back to the system.

    What a call worked in, up to 128 MiB in all, is kept for the next call, as new pages cost a short
    fit as much time as its work. The environment variable CKMEANS_CACHE_BYTES, read at import, sets
    another limit; 0 keeps nothing.

    Returns
    -------
    int
        The number of bytes that were given back.

    Examples
    --------
    >>> import ckmeans
    >>> freed = ckmeans.release_memory()
    >>> ckmeans.release_memory()
    0
    """
    return _runtime.clear_cache()


def default_threads() -> int:
    """OpenMP's limit for the calling thread, capped by CPU affinity and the cgroup's quota."""
    return cap_threads(_runtime.openmp_max_threads())


def cap_threads(threads: int) -> int:
    """Return a number of threads, at most what CPU affinity and the cgroup's quota allow."""
    if threads > 1:
        if hasattr(os, "sched_getaffinity"):
            threads = min(threads, len(os.sched_getaffinity(0)))
        threads = min(threads, int(_cpu_quota()))
    return max(threads, 1)


def _cpu_quota() -> float:
    """CPUs that the control group allows; read once, as it costs files."""
    global _quota
    if _quota is None:
        quotas = [_read_quota(folder) for folder in _cgroup_folders()]
        _quota = min(quotas, default=float(1 << 20))
    return _quota


def _cgroup_folders() -> list[str]:
    """The process's control group and the ones around it (version 2; version 1's cpu controller)."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup/cpu" if controllers else "/sys/fs/cgroup"
        while True:
            folders.append(root + path.rstrip("/"))
            if path in ("/", ""):
                break
            path = os.path.dirname(path)
    return folders


def _read_quota(folder: str) -> float:
    """CPUs allowed by one control group, rounded up to at least one; a large number where none is set."""
    unlimited = float(1 << 20)
    try:
        if os.path.exists(f"{folder}/cpu.max"):
            with open(f"{folder}/cpu.max") as file:
                quota, period = file.read().split()
        else:
            with open(f"{folder}/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open(f"{folder}/cpu.cfs_period_us") as file:
                period = file.read().strip()
    except (OSError, ValueError):
        return unlimited
    if quota in ("max", "-1"):
        return unlimited
    return max(1.0, -(-int(quota) // int(period)))
