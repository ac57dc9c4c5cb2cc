"""The one contract of a step, which every engine fulfils."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, sums


cdef struct Step:
    # IN
    int64_t K
    const void *centroids   # K rows of n values in the computing dtype
    double *wide            # the same in float64, rows of wide_stride(n)
    bint score              # find the labels; else they are given
    bint sum                # fill the sums
    bint measure            # fill `square`, of labels that are given (dense and sparse engines), as `sum` does too
    bint fresh              # nothing is known of `labels`: they may hold anything
    bint exact              # it will be the last: every row is to be added up
    const void *before      # the centroids that `labels` were found for, in order; NULL: not known
    # INOUT
    int32_t *labels         # the engine's own: `room` of them; 0 .. K - 1, or negative where unused
    int64_t changed         # points whose label differs from what `labels` held; so many did in the step before
    # OUT
    double *squared         # each point's squared distance (NULL: not asked for)
    double *offsets         # weighted sums of (x - its centroid), rows of wide_stride(n)
    bint about_zero         # they are sums of x itself
    double *weights         # weight of each cluster
    int64_t *counts         # number of points of each cluster
    double square           # weighted sum of squared distances
    bint rough              # not every row was added up: sums and square are right to rounding only
    int64_t computed        # distances that were computed, those of boxes too
    uint64_t most           # bits of the largest |value| that was read


cdef inline void empty_cluster(Step *s, int64_t k, int64_t stride) noexcept nogil:
    """Begin a cluster's sums, whose rows are `stride` apart."""
    cdef int64_t l
    for l in range(stride):
        s.offsets[k * stride + l] = 0
    s.weights[k] = 0
    s.counts[k] = 0


cdef inline void add_cluster(Step *s, int64_t k, int64_t stride, const sums *part) noexcept nogil:
    """Add a partial sum to them."""
    cdef int64_t l
    for l in range(stride):
        s.offsets[k * stride + l] += part.offsets[k * stride + l]
    s.weights[k] += part.weights[k]
    s.counts[k] += part.counts[k]


cdef struct Engine:
    int (*step)(Engine *engine, Step *step, Poll *poll) noexcept nogil
    # The labels of the rows, in their order, from the engine's own.
    void (*finish)(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil
    void (*close)(Engine *engine) noexcept nogil
    int64_t room             # how many labels the engine keeps of its own
    int64_t bytes
    bint always_rough        # no step of it adds up row by row, `exact` or not
    bint any_K               # a step may have fewer centroids than it was opened for
    bint plain               # every step so far computed every pair, as the dense engine does


# The points, equal ones made one where that was found to pay.
cdef struct Units:
    Rows rows                # of the distinct points, or as they came
    bint collapsed
    int32_t *unit_of         # of each row; NULL: none was collapsed, or this was not asked for
    double *numbers          # rows of each unit; NULL: 1
    uint64_t most            # bits of the largest |value| of the rows, if that can be out of range
    int64_t bytes
    void *memory


# What an engine makes of the data once, for all K and all restarts; its own struct begins with this.
cdef struct Prepared:
    int64_t bytes
    void (*discard)(Prepared *prepared) noexcept nogil


# NULL results: no memory, or interrupted. The units, traced, outlive what is made of them.
ctypedef Prepared *(*Preparer)(const Units *units, int n_threads, Poll *poll) noexcept nogil

cdef struct Kind:
    Preparer prepare         # NULL: there is nothing to prepare
    Engine *(*open)(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil
