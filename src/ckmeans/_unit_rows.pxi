"""Rows at unit length, for cosines: the factor of each is found once, and rows are multiplied while they are read.

For unit vectors x and c, |x - c|^2 = 2 - 2 cos(x, c), so that assignment, sums and k-means++ are those of squared
distances (I. S. Dhillon and D. S. Modha, "Concept decompositions for large sparse text data using clustering", Machine
Learning 42, 2001). 8 bytes a row; none where all rows have unit length already.
"""
from cython.parallel cimport prange
from libc.math cimport isfinite
from libc.stdint cimport int64_t

from ckmeans._runtime cimport Poll, allocate, poll, release, request_threads, threads_for

cdef int64_t FACTOR_BLOCK = 512        # rows between two polls for signals

# What is wrong with a row that cannot be brought to unit length.
cdef enum Defect:
    NO_DEFECT, ZERO_ROW, NOT_FINITE, BEYOND_RANGE


class ZeroRow(Exception):
    """A row of zeros, which has no direction; args[0]: its number."""


cdef inline Defect defect_of(double factor) noexcept nogil:
    if factor == 0:
        return ZERO_ROW
    if isfinite(factor):
        return NO_DEFECT
    return NOT_FINITE if factor != factor else BEYOND_RANGE


cdef int find_block(const Rows *rows, int64_t block, double *factors) noexcept nogil:
    """Find the factors of a block of rows; nonzero: no memory."""
    cdef int64_t first = block * FACTOR_BLOCK, count = min(FACTOR_BLOCK, rows.m - first)
    cdef void *row = NULL
    if rows.source.indptr == NULL:
        row = allocate(rows.n * rows.kernels.itemsize)
        if row == NULL:
            return 1
    ckmeans_unit_factors(&rows.source, rows.kernels.itemsize, first, count, factors + first, row)
    release(row)
    return 0


cdef int find_factors(const Rows *rows, double *factors, int n_threads, Poll *p) noexcept nogil:
    """Find the factors of all rows; nonzero: no memory."""
    cdef int64_t n_blocks = (rows.m + FACTOR_BLOCK - 1) // FACTOR_BLOCK, block
    cdef int threads = threads_for(n_threads, rows.stored), failed = 0
    for block in prange(n_blocks, schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            failed |= find_block(rows, block, factors)
    return failed


cdef bint all_ones(const double *factors, int64_t count) noexcept nogil:
    cdef int64_t i
    for i in range(count):
        if factors[i] != 1:
            return False
    return True


cdef int check_factors(const double *factors, int64_t count, int64_t first) except -1:
    """Raise if one of the rows from number `first` on has no factor: for the first row of zeros, else another one."""
    cdef int64_t i
    cdef Defect defect, other = NO_DEFECT
    for i in range(count):
        defect = defect_of(factors[i])
        if defect == ZERO_ROW:
            raise ZeroRow(first + i)
        if defect != NO_DEFECT and other != NOT_FINITE:
            other = defect
    if other != NO_DEFECT:
        raise OutOfRange(float("nan") if other == NOT_FINITE else 0.0)
    return 0
