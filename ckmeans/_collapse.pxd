"""Equal points made one, with a weight: the pixels of a photo."""
from ckmeans._engine cimport Units
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll

# Whether there is reason to look.
cdef bint may_collapse(const Rows *rows) noexcept nogil

# False: no memory, or interrupted; to be released all the same. `trace`: find the unit of each row.
cdef bint collapse(const Rows *rows, bint trace, int n_threads, Units *units, Poll *p) noexcept nogil

cdef void release_units(Units *units) noexcept nogil
