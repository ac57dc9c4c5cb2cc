"""Whole boxes of points at once; few features."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Engine, Prepared
from ckmeans._points cimport Rows


# `prepared`: of boxes_prepare. NULL where there is no memory.
cdef Engine *cells_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil
