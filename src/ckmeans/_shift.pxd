"""Where the data are shifted to before they are scored."""
from libc.stdint cimport int64_t

from ckmeans._runtime cimport wide_stride


cdef inline double median_of(double *values, int64_t count) noexcept nogil:
    """The lower median, by insertion sort: `count` is a handful."""
    cdef int64_t i, j
    cdef double value
    for i in range(1, count):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return values[(count - 1) // 2]


cdef inline void find_shift(int itemsize, int64_t K, int64_t n, const double *wide, void *shift) noexcept nogil:
    """The componentwise median of a few centroids: near the data wherever they are, whatever
    one far centroid does, and the same for every row and every engine."""
    cdef double few[9]
    cdef int64_t stride = wide_stride(n), count = min(K, 9), l, i
    cdef double value
    for l in range(n):
        for i in range(count):
            few[i] = wide[(i * (K - 1) // max(count - 1, 1)) * stride + l]
        value = median_of(few, count)
        if itemsize == 4:
            (<float *>shift)[l] = <float>value
        else:
            (<double *>shift)[l] = value
