"""The leading directions of a sample of the points, by subspace iteration."""
from libc.stdint cimport int64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll


cdef struct Directions:
    int64_t d
    void *vectors            # (d, n) in the computing dtype; NULL: none yet
    double defect            # at least the norm of what separates them from orthonormal ones


# Of the points minus `origin`, at most so many; nonzero where there is no memory.
cdef int directions_find(Directions *found, const Rows *rows, const void *origin, int64_t most, int n_threads,
                         Poll *p) noexcept nogil
# Every feature is one.
cdef int directions_all(Directions *found, const Rows *rows) noexcept nogil
cdef void directions_close(Directions *found) noexcept nogil


cdef inline double get(const void *values, int64_t i, int item) noexcept nogil:
    return (<const float *>values)[i] if item == 4 else (<const double *>values)[i]


cdef inline void put(void *values, int64_t i, int item, double value) noexcept nogil:
    if item == 4:
        (<float *>values)[i] = <float>value
    else:
        (<double *>values)[i] = value


cdef inline int64_t tiles_of(const Rows *rows, int64_t count) noexcept nogil:
    return (count + rows.kernels.tile - 1) // rows.kernels.tile
