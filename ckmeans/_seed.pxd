"""Starting centroids: random examples, or greedy k-means++."""
from libc.stdint cimport int64_t

from ckmeans._points cimport Rows
from ckmeans._random cimport Stream
from ckmeans._runtime cimport Poll


cdef struct Seeding:
    const Rows *rows
    int64_t K
    int64_t trials           # candidates a centre; 0: k-means++ is not asked for
    int n_threads

cdef Seeding *seeding_open(const Rows *rows, int64_t K, int64_t trials, int n_threads) noexcept nogil
cdef void seeding_close(Seeding *seeding) noexcept nogil

# A row, drawn with its weight as its probability.
cdef int64_t draw_row(const Rows *rows, Stream *random) noexcept nogil

# Fill K rows of n values in the computing dtype; the bits of the largest magnitude that was read.
cdef unsigned long long random_examples(Seeding *seeding, Stream *random, void *centroids,
                                        Poll *p) noexcept nogil
cdef unsigned long long plus_plus(Seeding *seeding, Stream *random, void *centroids, Poll *p) noexcept nogil
