"""Loads ckmeans._runtime, and OpenMP's runtime with it so that its idle threads soon sleep.

After a parallel region a thread looks out for the next one, burning its processor, before it
sleeps: by default for 300,000 turns with GNU's runtime (4 to 20 ms, by processor), for 200 ms with
LLVM's. Within a fit the next region comes within microseconds, and where other programs want the
processor, threads that spin keep those off which they wait for. So let them look out for a tenth
of a millisecond. OpenMP has no call for that: a runtime reads the environment when it starts. What
the user has set stays, and what is set here is gone again once the runtime has read it.
"""

from __future__ import annotations

import os

_SHORT_SPIN = {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "0"}

_ours = (
    {} if "OMP_WAIT_POLICY" in os.environ else {k: v for k, v in _SHORT_SPIN.items() if k not in os.environ}
)
os.environ.update({name: _SHORT_SPIN[name] for name in _ours})
try:
    from ckmeans import _runtime

    _runtime.openmp_max_threads()  # LLVM's starts at its first call
finally:
    for _name in _ours:
        del os.environ[_name]
