"""What a fit by the k-d tree takes beside dense steps, for the engine "auto": nanoseconds for each point.

Measured by tools/calibrate.py, 2026-11-28, on 2 cores of an AMD EPYC with AVX-512 (tools/calibration.txt has the names
and the spread); only their ratios matter. The number of distances that a step of cells computes is a property of the
data: where the points fill their space, a leaf of 32 points has the side (32 / m)^(1/n), a cluster 1 / K^(1/n), and a
leaf meets about (1 + reach rho)^n - 1 centroids beside its own, rho being the ratio of the sides. `reach` is the
geometric mean over the sets of the calibration.
"""
from libc.math cimport log2, pow, sqrt
from libc.stdint cimport int64_t

from ckmeans._runtime cimport LEAF

cdef inline double dense_time(int64_t n, double K, bint wide) noexcept nogil:
    """Return what a dense step takes: dense_point, dense_point_per_n, dense_pair, dense_pair_per_n; in float64 a pair
    takes twice as long."""
    return 2.46 + 0.165 * n + K * (0.0549 + 0.0184 * n) * (2 if wide else 1)


cdef inline double tree_time(int64_t m, int64_t n) noexcept nogil:
    """Return what building the tree takes: tree_point, tree_point_per_n, tree_point_per_level, tree_fixed."""
    return 16.7 + 3.71 * n + 1.54 * max(log2(m / 2048.0), 0) + 1.1e4 / m


cdef inline double cells_time(int64_t m, int64_t n, double distances) noexcept nogil:
    """Return what a step of cells takes that computes so many distances for each point: cells_point[n], cells_list[n],
    cells_distance[n], cells_step[n]."""
    cdef double *point = [0.48, 0.51, 0.97, 1.8, 3.7, 4.9, 5.6, 6.0]
    cdef double *list_ = [3.0, 1.9, 1.2, 1.6, 0.48, 0.1, 0, 0]
    cdef double *distance = [0.95, 0.28, 0.5, 1.2, 1.5, 1.75, 1.95, 2.2]
    return point[n - 1] + list_[n - 1] * sqrt(distances) + distance[n - 1] * distances + 4600.0 / m


cdef inline double expected_distances(int64_t m, int64_t n, double K) noexcept nogil:
    """Return how many distances a step of cells computes for each point, as far as the shapes tell."""
    cdef double *reach = [3.9, 1.9, 1.5, 1.3, 1.1, 0.97, 0.82, 0.71]
    return min(pow(1 + reach[n - 1] * pow(LEAF * K / m, 1.0 / n), n) - 1, K)
