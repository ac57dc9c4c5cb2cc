"""Points, with what was made of them once: for one call, or for as long as the caller keeps them.

Everything is made when it is first asked for, under a lock, and only read from then on: so any
number of threads may work on one store. Nothing in it depends on the number of threads.
"""
from _thread import allocate_lock

from libc.stdint cimport int64_t

from ckmeans._collapse cimport collapse, may_collapse, release_units
from ckmeans._engine cimport Prepared, Preparer, Units
from ckmeans._points cimport Points, Rows, out_of_range
from ckmeans._runtime cimport CallContext

from ckmeans._points import OutOfRange


cdef class Store(Points):
    """`Points`, and what engines and seeding make of them."""

    def __cinit__(self, *_):
        self.lock = allocate_lock()

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            self.made[i].discard(self.made[i])
        release_units(&self.all_units)

    cdef const Units *units(self, bint trace, int n_threads, CallContext watch) except NULL:
        """Equal points made one, where that pays."""
        cdef bint done = True
        trace = trace or self.lasting
        with self.lock:
            if not self.united:
                with nogil:
                    done = collapse(&self.rows, trace, n_threads, &self.all_units, &watch.poll)
                    if not done:
                        release_units(&self.all_units)
                self.united = done
        watch.check()
        if not done:
            raise MemoryError
        if out_of_range(&self.rows, self.all_units.most):
            raise OutOfRange(self.all_units.most)
        return &self.all_units

    cdef const Rows *to_seed_from(self, int64_t trials, bint trace, int n_threads, CallContext watch) except NULL:
        """Points to draw from with their weights: k-means++, which reads all of them again and again,
        draws from the distinct ones."""
        if trials == 0 or not may_collapse(&self.rows):
            return &self.rows
        return &self.units(trace, n_threads, watch).rows

    cdef Prepared *prepared(self, Preparer prepare, int n_threads, CallContext watch) except? NULL:
        """What an engine makes of the points; NULL where that is nothing."""
        cdef Prepared *made = NULL
        cdef const Units *units
        cdef int i
        if prepare == NULL:
            return NULL
        units = self.units(True, n_threads, watch)
        with self.lock:
            for i in range(self.count):
                if self.preparers[i] == prepare:
                    return self.made[i]
            with nogil:
                made = prepare(units, n_threads, &watch.poll)
            if made != NULL:
                self.preparers[self.count] = prepare
                self.made[self.count] = made
                self.count += 1
        watch.check()
        if made == NULL:
            raise MemoryError
        return made

    @property
    def distinct(self):
        """The number of distinct points, where equal ones were made one; else None."""
        return self.all_units.rows.m if self.all_units.collapsed else None

    @property
    def bytes(self):
        """What was made so far, in bytes."""
        cdef int i
        cdef int64_t total = self.all_units.bytes
        for i in range(self.count):
            total += self.made[i].bytes
        return total
