"""The caller's points, read block by block in the computing dtype."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from ckmeans._runtime cimport Poll, kernels, source


cdef extern from "simd/source.h" nogil:
    void ckmeans_read_rows(const source *source, int itemsize, int64_t row0, int64_t count, void *rows)


# Points that come in chunks from Python: some rows of them are at hand at a time.
cdef struct Feed:
    PyObject *owner          # the Points that fetches them
    char *window             # `count` rows from `first` on, in the computing dtype
    int64_t first
    int64_t count
    int64_t room             # rows that a fetch brings, or more where more are asked for


cdef struct Rows:
    source source
    Feed *feed               # NULL: the points lie in memory
    const kernels *kernels
    int64_t m
    int64_t n
    int64_t stride           # values from row to row, where rows are read in place
    int64_t in_place         # a block that ends at or before this row is read in place
    const double *weights    # NULL: every point weighs 1
    const double *cumulative  # weights up to and with each row; NULL where weights is
    double total_weight
    double stored            # number of values: m * n, or of sparse rows those that are stored
    uint64_t most            # of sparse rows: bits of their largest magnitude
    uint64_t least           # bits of the magnitudes between which squares are safe
    uint64_t greatest


# The bits of a magnitude in the computing dtype: they rise as it does.
cdef uint64_t bits_of(double magnitude, int itemsize) noexcept nogil

# How many of the next `count` rows to read together: those in place, as whole tiles, before others.
cdef int64_t block_at(const Rows *rows, int64_t first, int64_t count) noexcept nogil

# Have these rows at hand before they are read; nonzero where that failed and all is to stop. To be
# called by the thread that called from Python, while no other reads.
cdef int hold(const Rows *rows, int64_t first, int64_t count, Poll *p) noexcept nogil

# `count` rows from `first` on: in place or in `scratch`, which holds count * n + 8 values.
cdef const void *read_rows(const Rows *rows, int64_t first, int64_t count, void *scratch,
                           int64_t *stride) noexcept nogil

cdef void read_row(const Rows *rows, int64_t row, void *values) noexcept nogil

# Single rows from anywhere: `hold` and `read_row`, in as few passes over a feed as can be.
cdef void reach_row(const Rows *rows, int64_t row, void *values, Poll *p) noexcept nogil
cdef void reach_rows(const Rows *rows, const int64_t *wanted, int64_t count, void *values, Poll *p) noexcept nogil

# Whether a largest magnitude of these bits leaves the dtype's safe range (NaN and infinity do).
cdef bint out_of_range(const Rows *rows, uint64_t most) noexcept nogil


cdef class Points:
    cdef Rows rows
    cdef Py_buffer view
    cdef const double[::1] weights
    cdef const double[::1] cumulative
    cdef bint viewed
    cdef object held             # arrays that sparse rows lie in
    cdef Feed feed
    cdef object chunks           # where there is a feed: what is iterated over, again and again,
    cdef object iterator         # where the present pass is,
    cdef object chunk            # the chunk it has come to
    cdef int64_t chunk_first     # and that chunk's first row

    cdef int load(self, int64_t first, int64_t count) except -1
    cdef int make_room(self, int64_t count) except -1
    cdef int turn_to(self, int64_t row) except -1
    cdef int copy_chunk(self, int64_t end) except -1
