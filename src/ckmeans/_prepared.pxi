"""Points with cached preprocessing, for one call or for as long as the caller keeps them.

Everything is built when it is first asked for, under a lock, and only read from then on, so any number of threads may
work on one object. Nothing in it depends on the number of threads.
"""
from _thread import allocate_lock

from libc.stdint cimport int64_t

from ckmeans._runtime cimport CallContext, allocate, release


cdef class PreparedPoints(Points):
    """`Points`, their distinct ones, and the indexes that engines build of them."""

    def __cinit__(self, *_):
        self.lock = allocate_lock()

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_indexes):
            self.indexes[i].free(self.indexes[i])
        release_unique(&self.unique)
        release(self.factors)

    cdef int bring_to_unit_length(self, int n_threads, CallContext call) except -1:
        """Find the factors of the rows once, where they are to have unit length; chunks are measured as they come."""
        if not self.rows.unit or self.rows.window != NULL:
            return 0
        with self.lock:
            if not self.factors_found:
                self.find_factors(n_threads, call)
        return 0

    cdef int find_factors(self, int n_threads, CallContext call) except -1:
        cdef int failed
        cdef double *factors = <double *>allocate(self.rows.m * sizeof(double))
        if factors == NULL:
            raise MemoryError
        try:
            with nogil:
                failed = find_factors(&self.rows, factors, n_threads, &call.poll)
            call.check()
            if failed:
                raise MemoryError
            check_factors(factors, self.rows.m, 0)
            if not all_ones(factors, self.rows.m):
                self.factors, factors = factors, NULL
                self.rows.source.factors = self.factors
            self.factors_found = True
        finally:
            release(factors)
        return 0

    cdef const UniquePoints *unique_points(self, bint want_inverse, int n_threads, CallContext call) except NULL:
        """Find the distinct points, where that pays."""
        cdef bint done = True
        want_inverse = want_inverse or self.persistent
        with self.lock:
            if not self.unique_found:
                with nogil:
                    done = deduplicate(&self.rows, want_inverse, n_threads, &self.unique, &call.poll)
                    if not done:
                        release_unique(&self.unique)
                self.unique_found = done
        call.check()
        if not done:
            raise MemoryError
        check_range(&self.rows, self.unique.max_abs_bits)
        return &self.unique

    cdef const Rows *seeding_points(self, int64_t trials, bint want_inverse, int n_threads,
                                    CallContext call) except NULL:
        """The points to draw starts from: k-means++, with its many passes, draws from the distinct ones."""
        if trials == 0 or not may_deduplicate(&self.rows):
            return &self.rows
        return &self.unique_points(want_inverse, n_threads, call).rows

    cdef Index *index(self, IndexBuilder build, int n_threads, CallContext call) except? NULL:
        """The index that `build` makes of the points; NULL where `build` is."""
        cdef Index *index = NULL
        cdef const UniquePoints *unique
        cdef int i
        if build == NULL:
            return NULL
        unique = self.unique_points(True, n_threads, call)
        with self.lock:
            for i in range(self.n_indexes):
                if self.builders[i] == build:
                    return self.indexes[i]
            with nogil:
                index = build(unique, n_threads, &call.poll)
            if index != NULL:
                self.builders[self.n_indexes] = build
                self.indexes[self.n_indexes] = index
                self.n_indexes += 1
        call.check()
        if index == NULL:
            raise MemoryError
        return index

    def accept_small_values(self):
        """Take values whose squares underflow: those beside which they are measured allow no smaller unit."""
        self.rows.min_safe_bits = 0

    @property
    def distinct(self):
        """The number of distinct points, where equal ones were deduplicated; else None."""
        return self.unique.rows.m if self.unique.deduplicated else None

    @property
    def bytes(self):
        """Bytes of what was built so far."""
        cdef int i
        cdef int64_t total = self.unique.bytes + (self.rows.m * sizeof(double) if self.factors != NULL else 0)
        for i in range(self.n_indexes):
            total += self.indexes[i].bytes
        return total
