"""The update: centroids move to the means of their points, or where rows have unit length to their directions.

Of all unit vectors c the direction of the mean has the lowest sum of |x - c|^2 = 2 - 2 cos(x, c) (I. S. Dhillon and
D. S. Modha, "Concept decompositions for large sparse text data using clustering", Machine Learning 42, 2001).
"""
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ckmeans._engine cimport ClusterSums
from ckmeans._runtime cimport wide_stride
from ckmeans._values cimport get, put


cdef inline double mean_of(const ClusterSums *sums, int64_t k, int64_t l, const char *previous, int64_t n,
                           int item) noexcept nogil:
    """Feature l of the mean of cluster k, whose points are not none; sums are about the centroids `previous`."""
    cdef double mean = sums.offsets[k * wide_stride(n) + l] / sums.weights[k]
    return mean if sums.uncentred else get(previous, k * n + l, item) + mean


cdef void move_to_means(const ClusterSums *sums, int64_t K, int64_t n, int item, const char *previous,
                        char *centroids) noexcept nogil:
    """Move every centroid with points to their mean, rounded to the computing dtype."""
    cdef int64_t k, l
    for k in range(K):
        if sums.weights[k] == 0:
            continue
        for l in range(n):
            put(centroids, k * n + l, item, mean_of(sums, k, l, previous, n, item))


cdef double length_of_sum(const double *total, double own, const char *previous, int64_t n, int item) noexcept nogil:
    """The length of a sum of points, given about the centroid before; in eight sums, which fill vectors."""
    cdef double[8] squares
    cdef int64_t l, i
    cdef double value
    for i in range(8):
        squares[i] = 0
    for l in range(0, n, 8):
        for i in range(min(n - l, <int64_t>8)):
            value = total[l + i] + own * get(previous, l + i, item)
            squares[i] += value * value
    for i in range(1, 8):
        squares[0] += squares[i]
    return sqrt(squares[0])


cdef void move_to_directions(const ClusterSums *sums, int64_t K, int64_t n, int item, const char *previous,
                             char *centroids) noexcept nogil:
    """Move every centroid with points to the direction of their mean. It stays where they have none, their mean being
    zero but for rounding."""
    cdef int64_t k, l
    cdef double least = FLT_EPSILON if item == 4 else 8 * DBL_EPSILON, weight, own, length
    cdef const double *total
    for k in range(K):
        weight = sums.weights[k]
        if weight == 0:
            continue
        total = sums.offsets + k * wide_stride(n)
        own = 0 if sums.uncentred else weight  # of the centroid before, in the sum of the points
        length = length_of_sum(total, own, previous + k * n * item, n, item)
        if length > least * weight:
            for l in range(n):
                put(centroids, k * n + l, item, (total[l] + own * get(previous, k * n + l, item)) * (1 / length))


cdef void move_centroids(Fit *f) noexcept nogil:
    """Move the centroids; frozen ones stay."""
    cdef int64_t n = f.rows.n, size = n * f.rows.kernels.itemsize, k
    if f.rows.unit:
        move_to_directions(&f.step.sums, f.run.K, n, f.rows.kernels.itemsize, f.previous, f.run.centroids)
    else:
        move_to_means(&f.step.sums, f.run.K, n, f.rows.kernels.itemsize, f.previous, f.run.centroids)
    for k in range(f.run.K):
        if is_frozen(f, k):
            memcpy(f.run.centroids + k * size, f.previous + k * size, size)
