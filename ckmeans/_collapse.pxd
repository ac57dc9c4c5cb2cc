"""Equal points made one, with a weight: the pixels of a photo."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll


cdef struct Units:
    Rows rows                # the distinct points, or the rows as they came
    int32_t *unit_of         # of each row; NULL: nothing was collapsed
    double *numbers          # rows of each unit; NULL: 1
    uint64_t most            # bits of the largest |value| of the rows
    void *memory


# False: no memory, or interrupted. unit_of goes to the caller.
cdef bint collapse(const Rows *rows, int n_threads, Units *units, Poll *p) noexcept nogil

cdef void release_units(Units *units) noexcept nogil
