"""A provable lower bound first: distances in full only where it does not decide. Any n; made for many."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Engine
from ckmeans._points cimport Rows


# NULL where there is no memory. `watchful`: fall back to every pair where screening does not pay.
cdef Engine *screen_open(const Rows *rows, int64_t K, int n_threads, bint watchful) noexcept nogil

# Whether shapes alone let screening be worth a try.
cdef bint screen_may_pay(const Rows *rows, int64_t K, int64_t most_bytes) noexcept nogil
