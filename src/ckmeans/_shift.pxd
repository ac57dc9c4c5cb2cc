"""The shift of rows and centroids before they are scored, so that scores lose no digits to an offset."""
from libc.stdint cimport int64_t

from ckmeans._values cimport get, put

cdef enum:
    SHIFT_CENTROIDS = 9  # centroids whose median is the shift: four may be far from the data


cdef inline double median_of(double *values, int64_t count) noexcept nogil:
    """Return the lower median, by insertion sort; the values are reordered."""
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


cdef inline void find_shift(int itemsize, int64_t K, int64_t n, const void *centroids, void *shift) noexcept nogil:
    """Find the componentwise median of a few centroids, evenly spaced among all: near the data wherever they are,
    robust against a far centroid, and the same for every row and every engine."""
    cdef double sample[SHIFT_CENTROIDS]
    cdef int64_t count = min(K, <int64_t>SHIFT_CENTROIDS), l, i
    for l in range(n):
        for i in range(count):
            sample[i] = get(centroids, (i * (K - 1) // max(count - 1, 1)) * n + l, itemsize)
        put(shift, l, itemsize, median_of(sample, count))
