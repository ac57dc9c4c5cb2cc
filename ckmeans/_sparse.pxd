"""Sparse rows against dense centroids, without a dense copy of the rows."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Engine, Prepared
from ckmeans._points cimport Rows


# `prepared` is not used. NULL where there is no memory.
cdef Engine *sparse_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil

# Squared norms of centroids k .. k + count - 1, at most 8; each is one sum in rising order.
cdef void squared_norms(const double *wide, int64_t n, int64_t k, int64_t count, double *norms) noexcept nogil
