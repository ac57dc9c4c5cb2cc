"""Values of the computing dtype, float32 or float64, by the size of an item."""
from libc.stdint cimport int64_t


cdef inline double get(const void *values, int64_t i, int itemsize) noexcept nogil:
    return (<const float *>values)[i] if itemsize == 4 else (<const double *>values)[i]


cdef inline void put(void *values, int64_t i, int itemsize, double value) noexcept nogil:
    if itemsize == 4:
        (<float *>values)[i] = <float>value
    else:
        (<double *>values)[i] = value


cdef inline void squared_norms(const double *wide, int64_t stride, int64_t n, int64_t count,
                               double *norms) noexcept nogil:
    """Squared norms of up to 8 float64 rows; each is one sum in rising order of the features."""
    cdef double[8] sums
    cdef int64_t l, i
    for i in range(8):
        sums[i] = 0
    for l in range(n):
        for i in range(count):
            sums[i] += wide[i * stride + l] * wide[i * stride + l]
    for i in range(count):
        norms[i] = sums[i]


cdef inline void widen(const void *values, int64_t count, int64_t n, int itemsize, double *wide,
                       int64_t stride) noexcept nogil:
    """Convert rows of n values to float64, `stride` apart and padded with zeros."""
    cdef int64_t k, l
    for k in range(count):
        for l in range(n):
            wide[k * stride + l] = get(values, k * n + l, itemsize)
        for l in range(n, stride):
            wide[k * stride + l] = 0
