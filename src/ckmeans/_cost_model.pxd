"""From which sizes on a k-d tree pays, for the engine "auto".

Measured by tools/calibrate.py, 2026-11-28, on 2 cores of an AMD EPYC with AVX-512; tools/calibration.txt has the names
and the spread.
"""
from libc.stdint cimport int64_t

# Least m K with 1 to 3 features: rows_from[n], which is for K = 16, times 16.
cdef inline double min_work_of_cells(int64_t n) noexcept nogil:
    return 3.0e4 if n == 1 else 8.0e4 if n == 2 else 5.2e5


# Least m K^2 with 4 to 8 features, for one fit (cells_from[n]) and for fits that share the tree (shared_from[n]). With
# 8 one of ten sets and sizes had a crossing at all, so that it says little: the number is the upper end for 7.
cdef inline double min_square_work_of_cells(int64_t n, bint shared) noexcept nogil:
    if n == 4:
        return 4.4e8 if shared else 9.6e8
    if n == 5:
        return 4.3e9 if shared else 6.5e9
    if n == 6:
        return 1.6e10 if shared else 2.0e10
    if n == 7:
        return 6.1e10 if shared else 7.4e10
    return 2.1e11 if shared else 2.3e11
