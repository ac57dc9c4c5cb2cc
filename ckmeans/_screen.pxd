"""A provable lower bound first: distances in full only where it does not decide. Any n; made for many."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Engine, Prepared
from ckmeans._points cimport Rows


# NULL where there is no memory. The watchful one computes every pair where screening does not pay.
cdef Engine *screen_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil
cdef Engine *watchful_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil
