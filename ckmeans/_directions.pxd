"""The leading directions of a sample of the points, by subspace iteration."""
from libc.stdint cimport int64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll


cdef struct Directions:
    int64_t d
    int64_t count            # rows of the sample
    double share             # of the sample's squares that lies in these directions
    void *vectors            # (d, n) in the computing dtype
    double defect            # at least the norm of what separates them from orthonormal ones
    void *memory


# Of the points minus `origin`; nonzero where there is no memory.
cdef int directions_find(Directions *found, const Rows *rows, const void *origin, int64_t most, int n_threads,
                         Poll *p) noexcept nogil
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
