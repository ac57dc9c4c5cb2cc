"""The one contract of a step, which every engine fulfils."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll


cdef struct Step:
    # IN
    int64_t K
    const void *centroids   # K rows of n values in the computing dtype
    double *wide            # the same in float64, rows of wide_stride(n)
    bint score              # find the labels; else they are given
    bint sum                # fill the sums
    bint fresh              # nothing is known of `labels`: they may hold anything
    # INOUT
    int32_t *labels
    # OUT
    double *squared         # each point's squared distance (NULL: not asked for)
    double *offsets         # weighted sums of (x - its centroid), rows of wide_stride(n)
    double *weights         # weight of each cluster
    int64_t *counts         # number of points of each cluster
    double square           # weighted sum of squared distances
    int64_t changed         # labels that differ from what `labels` held
    uint64_t most           # bits of the largest |value| that was read


cdef struct Engine:
    int (*step)(Engine *engine, Step *step, Poll *poll) noexcept nogil  # nonzero: not done
    void (*close)(Engine *engine) noexcept nogil
    const char *name
    bint any_K               # a step may have fewer centroids than it was opened for
    bint gives_up            # it does not pay here: the dense engine is to take over
    double computed          # distances computed in full, over all steps
    double avoided           # distances that were not
    int64_t bytes            # memory that it holds
