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


cdef void move_to_directions(const ClusterSums *sums, int64_t K, int64_t n, int item, const char *previous,
                             char *centroids) noexcept nogil:
    """Move every centroid with points to the direction of their mean. It stays where they have none, their mean being
    zero but for rounding."""
    cdef int64_t k, l
    cdef double square, length
    for k in range(K):
        if sums.weights[k] == 0:
            continue
        square = 0
        for l in range(n):
            square += mean_of(sums, k, l, previous, n, item) ** 2
        length = sqrt(square)
        if length > (FLT_EPSILON if item == 4 else 8 * DBL_EPSILON):
            for l in range(n):
                put(centroids, k * n + l, item, mean_of(sums, k, l, previous, n, item) / length)


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
