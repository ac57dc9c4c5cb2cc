"""Load the compiled runtime and, with it, OpenMP.

After a parallel region OpenMP's workers busy-wait for the next one before they sleep: GNU's runtime for
300,000 turns (4 to 20 ms, depending on the processor), LLVM's for 200 ms. On an oversubscribed machine a
spinning worker delays the thread it waits for, and within a fit the next region comes within microseconds.
OpenMP has no call to shorten the wait: a runtime reads an environment variable when it starts. A repaired
wheel brings a runtime of its own that no other library uses, so for that one the variable is set while it
loads, unless the user has set it, and removed again. A runtime that others may share is left as it is.
"""

from __future__ import annotations

import os

# Runtime in the wheel -> the variable it reads and the value: 5000 turns are about 0.1 ms; LLVM counts in ms.
_SPIN = {"libgomp": ("GOMP_SPINCOUNT", "5000"), "libomp": ("KMP_BLOCKTIME", "0")}


def private_runtime() -> str | None:
    """Name of the OpenMP runtime that this wheel brings; None if there is none, as in a build in place."""
    package = os.path.dirname(__file__)
    # Where auditwheel and delocate copy libraries to.
    for folder in (
        os.path.join(os.path.dirname(package), "ckmeans_simd.libs"),
        os.path.join(package, ".dylibs"),
    ):
        files = os.listdir(folder) if os.path.isdir(folder) else []
        for name in _SPIN:
            if any(file.startswith(name) for file in files):
                return name
    return None


_private = private_runtime()
_variable, _value = _SPIN.get(_private or "", ("", ""))
_set = bool(_variable) and not {_variable, "OMP_WAIT_POLICY"} & set(os.environ)
if _set:
    os.environ[_variable] = _value
try:
    from ckmeans import _runtime

    _runtime.openmp_max_threads()  # LLVM's runtime starts at its first call
finally:
    if _set:
        del os.environ[_variable]
_runtime.guard_forks(_private is not None)
