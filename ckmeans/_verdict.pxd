"""Whether screening pays: what steps cost, on how many directions, and from when on."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Step
from ckmeans._projection cimport Screen
from ckmeans._runtime cimport Poll


# Whether it is time to look whether screening pays.
cdef bint may_look(const Screen *e, const Step *s) noexcept nogil
# Find directions and project the points on them, unless this step is better made in full; nonzero where there is no
# memory, or it was interrupted.
cdef int prepare(Screen *e, const Step *s, Poll *p) noexcept nogil
# Look at the step that was made, whether to go on like this.
cdef void judge_step(Screen *e, const Step *s, double computed) noexcept nogil


cdef inline double pair_price(int64_t n) noexcept nogil:
    """A distance by itself takes longer than one among many: it is found in a list, and added up across lanes."""
    return 6 + 400.0 / n
