"""The caller's array, read block by block in the computing dtype."""
from libc.stdint cimport int64_t, uint64_t

from ckmeans._runtime cimport kernels


cdef extern from "simd/source.h" nogil:
    struct source:
        const char *data
        int64_t m
        int64_t n
        int64_t row_stride
        int64_t column_stride
        int dtype
        int swapped

    void ckmeans_read_rows(const source *source, int itemsize, int64_t row0, int64_t count, void *rows)


cdef struct Rows:
    source source
    const kernels *kernels
    int64_t m
    int64_t n
    int64_t stride           # values from row to row, where rows are read in place
    int64_t in_place         # a block that ends at or before this row is read in place
    const double *weights    # NULL: every point weighs 1
    const double *cumulative  # weights up to and with each row; NULL where weights is
    double total_weight
    uint64_t least           # bits of the magnitudes between which squares are safe
    uint64_t greatest


# How many of the next `count` rows to read together: those in place, as whole tiles, before others.
cdef int64_t block_at(const Rows *rows, int64_t first, int64_t count) noexcept nogil

# `count` rows from `first` on: in place or in `scratch`, which holds count * n + 8 values.
cdef const void *read_rows(const Rows *rows, int64_t first, int64_t count, void *scratch,
                           int64_t *stride) noexcept nogil

cdef void read_row(const Rows *rows, int64_t row, void *values) noexcept nogil

# Whether a largest magnitude of these bits leaves the dtype's safe range (NaN and infinity do).
cdef bint out_of_range(const Rows *rows, uint64_t most) noexcept nogil


cdef class Points:
    cdef Rows rows
    cdef Py_buffer view
    cdef const double[::1] weights
    cdef const double[::1] cumulative
    cdef bint viewed
