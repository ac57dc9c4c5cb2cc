"""The update where rows have unit length: a centroid moves to the direction of its points' mean.

Of all unit vectors c this one has the lowest sum of |x - c|^2 = 2 - 2 cos(x, c) (I. S. Dhillon and D. S. Modha,
"Concept decompositions for large sparse text data using clustering", Machine Learning 42, 2001).
"""
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport sqrt
from libc.stdint cimport int64_t

from ckmeans._runtime cimport wide_stride
from ckmeans._values cimport get, put


cdef double mean_of(Fit *f, int64_t k) noexcept nogil:
    """Put the mean of a cluster's points in the place of their sum; return its squared length."""
    cdef int64_t n = f.rows.n, l
    cdef double *sums = f.step.sums.offsets + k * wide_stride(n)
    cdef double square = 0
    for l in range(n):
        sums[l] /= f.step.sums.weights[k]
        if not f.step.sums.uncentred:
            sums[l] += get(f.previous, k * n + l, f.rows.kernels.itemsize)
        square += sums[l] * sums[l]
    return square


cdef void move_to_direction(Fit *f, int64_t k) noexcept nogil:
    """Move a centroid to the direction of the mean of its points. It stays where they have none, their mean being zero
    but for rounding."""
    cdef int64_t n = f.rows.n, l
    cdef int item = f.rows.kernels.itemsize
    cdef const double *mean = f.step.sums.offsets + k * wide_stride(n)
    cdef double length = sqrt(mean_of(f, k))
    if length > (FLT_EPSILON if item == 4 else 8 * DBL_EPSILON):
        for l in range(n):
            put(f.run.centroids, k * n + l, item, mean[l] / length)
