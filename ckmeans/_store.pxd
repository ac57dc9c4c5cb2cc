"""Points, with what was made of them once."""
from libc.stdint cimport int64_t

from ckmeans._engine cimport Prepared, Preparer, Units
from ckmeans._points cimport Points, Rows
from ckmeans._runtime cimport CallContext


cdef class Store(Points):
    cdef Units all_units
    cdef bint united
    cdef public bint lasting     # it serves more than one call, which may ask for anything
    cdef object lock             # held while something is made
    cdef Preparer preparers[4]
    cdef Prepared *made[4]
    cdef int count               # of them

    # One call that asks for more than one of these asks with one `trace`.
    cdef const Units *units(self, bint trace, int n_threads, CallContext watch) except NULL
    cdef const Rows *to_seed_from(self, int64_t trials, bint trace, int n_threads, CallContext watch) except NULL
    cdef Prepared *prepared(self, Preparer prepare, int n_threads, CallContext watch) except? NULL
