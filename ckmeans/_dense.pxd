"""Every pair of point and centroid, fused, at the speed of a matrix product; any n."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Engine, Prepared
from ckmeans._points cimport Rows


# `prepared` is not used. NULL where there is no memory.
cdef Engine *dense_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil
