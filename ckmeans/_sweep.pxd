"""One pass over the rows, shared out over the threads, with sums that do not depend on them."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from ckmeans._engine cimport Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, sums
from ckmeans._team cimport Team


cdef enum:
    LARGEST_BLOCK = 512


# A partial sum, and what else the chunks that belong to it came to.
cdef struct Part:
    sums sums
    int64_t changed
    uint64_t most
    int64_t computed         # distances computed in full
    int64_t waived           # left to an engine: tiles that it gave up,
    int64_t open             # rows whose label was in question
    sums taken               # what moved rows take out: the same arrays, squares of its own
    uint8_t *touched         # (K,) clusters with something in their sums, where these are of moved rows
    bint clean               # offsets and counts are zero but for those


# Finds the labels of `count` rows from `first` on; thread `thread` runs it.
ctypedef void (*Scorer)(void *engine, const Step *s, Part *part, int thread, const void *rows,
                        int64_t stride, int64_t first, int64_t count) noexcept nogil

# Sums that go from step to step: of (x - anchor), where the anchors are the centroids of the last full step.
cdef struct Carried:
    bint wanted
    bint by_moves            # this step adds up moved rows alone
    const int32_t *labels    # those that the sums belong to; NULL: there are no sums
    int64_t moved            # rows that changed their label in the last step
    double *anchors          # (K, n), rows of wide_stride(n)
    double *offsets
    int64_t *counts
    double square
    double churn             # twice what was taken out of `square`
    double *apart            # (K,) what lies between its terms and those about the centroids
    double *heft             # (K,) how large the terms of that are

cdef struct Sweep:
    const Rows *rows
    int64_t K
    int n_threads
    Team team
    int64_t chunk
    int64_t block            # rows that a scorer gets at most: a multiple of a tile
    int64_t partials
    Part *parts
    void **scratch           # a block of rows for each thread
    int32_t **before         # and their labels before the step
    void *memory
    Carried carried
    bint again               # a second pass of a step, for the sums alone


# Nonzero where there is no memory. With `carries` sums may go from step to step; with `whole` blocks are whole
# chunks, else they stay in a cache.
cdef int sweep_open(Sweep *w, const Rows *rows, int64_t K, int n_threads, bint carries, bint whole) noexcept nogil
# Rows that stay in the second cache when they are packed: a multiple of a tile.
cdef int64_t piece_rows(const Rows *rows) noexcept nogil
cdef void sweep_close(Sweep *w) noexcept nogil
cdef int64_t sweep_bytes(const Sweep *w) noexcept nogil

# Fulfil a step with `score` as its scorer; nonzero where it was interrupted.
cdef int sweep_step(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil


cdef inline int64_t store_labels(const void *ids, int itemsize, int64_t count, int32_t *labels) noexcept nogil:
    """Labels from a kernel's integers; returns how many changed."""
    cdef int64_t i, changed = 0
    cdef int32_t label
    for i in range(count):
        label = <int32_t>(<const uint32_t *>ids)[i] if itemsize == 4 else <int32_t>(<const uint64_t *>ids)[i]
        changed += label != labels[i]
        labels[i] = label
    return changed
