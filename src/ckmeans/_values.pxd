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


cdef inline double dot_with_wide(const void *values, const double *wide, int64_t n, int itemsize,
                                 double *square) noexcept nogil:
    """The inner product of n values and a float64 row, and the sum of the squares of the values; in eight sums each,
    which fill vectors."""
    cdef double[8] products
    cdef double[8] squares
    cdef int64_t l = 0, i
    cdef double value
    for i in range(8):
        products[i] = squares[i] = 0
    if itemsize == 4:
        while l + 8 <= n:
            for i in range(8):
                products[i] += <double>(<const float *>values)[l + i] * wide[l + i]
                squares[i] += <double>(<const float *>values)[l + i] * <double>(<const float *>values)[l + i]
            l += 8
    else:
        while l + 8 <= n:
            for i in range(8):
                products[i] += (<const double *>values)[l + i] * wide[l + i]
                squares[i] += (<const double *>values)[l + i] * (<const double *>values)[l + i]
            l += 8
    for i in range(l, n):
        value = get(values, i, itemsize)
        products[i - l] += value * wide[i]
        squares[i - l] += value * value
    for i in range(1, 8):
        products[0] += products[i]
        squares[0] += squares[i]
    square[0] = squares[0]
    return products[0]
