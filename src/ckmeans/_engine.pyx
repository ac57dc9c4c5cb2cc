"""The table of engines, and one step of any of them for assign, update and distortion."""
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Points, PreparedPoints, Rows, bits_of, check_range, read_row
from ckmeans._runtime cimport CallContext, Poll, allocate, release, wide_stride
from ckmeans._values cimport put

import numpy as np

from ckmeans._points import OutOfRange

include "_sweep.pxi"


# ---- the table -------------------------------------------------------------------------------

cdef class EngineEntry:
    """One row of the table: an engine, and what it can do."""

    @property
    def name(self):
        """Its name, as the argument `algorithm` has it."""
        return self.factory.name.decode()

    @property
    def max_features(self):
        """How many features it takes; None: any number."""
        return self.factory.max_features or None

    @property
    def max_points(self):
        """How many points it takes; None: any number."""
        return self.factory.max_points or None

    def accepts(self, kind):
        """Whether it takes points of this kind: "array", "sparse" or "chunks"."""
        if self.factory.choose != NULL:
            return True
        return bool(self.factory.chunks if kind == "chunks" else self.factory.sparse_rows == (kind == "sparse"))

    @property
    def chooses(self):
        """Whether it chooses among the others."""
        return self.factory.choose != NULL

    def renamed(self, name):
        """The same engine under another name, for the table."""
        cdef EngineEntry entry = EngineEntry.__new__(EngineEntry)
        entry._name = name.encode()
        entry.own = self.factory[0]
        entry.own.name = entry._name
        entry.factory = &entry.own
        return entry


cdef EngineEntry entry_of(const EngineFactory *factory):
    cdef EngineEntry entry = EngineEntry.__new__(EngineEntry)
    entry.factory = factory
    return entry


# Name -> EngineEntry. Where several engines would do, the first is taken.
ENGINES = {}


def register(EngineEntry entry not None):
    """Add an engine to the table, under its name."""
    ENGINES[entry.name] = entry


cdef const EngineFactory *row_sums_factory(const Rows *rows) except NULL:
    cdef EngineEntry entry
    for entry in ENGINES.values():
        if (entry.factory.choose == NULL and entry.factory.row_sums
                and entry.factory.sparse_rows == (rows.source.indptr != NULL)):
            return entry.factory
    raise LookupError("no engine adds up these rows one by one")


cdef const EngineFactory *chosen_factory(const EngineFactory *factory, const Problem *problem) noexcept nogil:
    return factory if factory.choose == NULL else factory.choose(problem)


# ---- one step --------------------------------------------------------------------------------

# What `step` is to find.
cdef enum:
    _ASSIGN = 1
    _SUM = 2
    _MEASURE = 4

ASSIGN, SUM, MEASURE = _ASSIGN, _SUM, _MEASURE


cdef uint64_t read_centroids(const Rows *centroids, int itemsize, double *wide, void *rounded) noexcept nogil:
    """Centroids rounded to the computing dtype, and the same in float64; the bits of their largest magnitude."""
    cdef int64_t n = centroids.n, stride = wide_stride(n), k, l
    cdef double value, max_abs = 0
    for k in range(centroids.m):
        read_row(centroids, k, wide + k * stride)
        for l in range(n):
            value = wide[k * stride + l]
            put(rounded, k * n + l, itemsize, value)
            value = <float>value if itemsize == 4 else value
            wide[k * stride + l] = value
            # Also true for a NaN, which then stays.
            if not fabs(value) <= max_abs:
                max_abs = fabs(value)
        for l in range(n, stride):
            wide[k * stride + l] = 0
    return bits_of(max_abs, itemsize)


cdef size_t step_layout(Step *s, int64_t n, int itemsize, int64_t n_labels, char *memory) noexcept nogil:
    """Lay out the centroids, and labels of the engine's own; with memory NULL only count the bytes."""
    cdef size_t at = 0
    cdef void *labels
    s.wide = <double *>take(memory, &at, s.K * wide_stride(n) * sizeof(double))
    s.centroids = take(memory, &at, s.K * n * itemsize)
    labels = take(memory, &at, n_labels * sizeof(int32_t))
    if n_labels > 0:
        s.labels = <int32_t *>labels
    return at


cdef int make_step(Engine *engine, const Rows *rows, const Rows *centroids, Step *s, Poll *p) noexcept nogil:
    """One step of an open engine, with labels of the rows; nonzero: no memory."""
    cdef int itemsize = rows.kernels.itemsize
    cdef bint own_labels = engine.store_labels != NULL
    cdef int32_t *labels = s.labels
    cdef int64_t n_labels = engine.n_labels if own_labels else 0
    cdef uint64_t max_abs_bits
    cdef char *memory = <char *>allocate(step_layout(s, rows.n, itemsize, n_labels, NULL))
    if memory == NULL:
        return 1
    step_layout(s, rows.n, itemsize, n_labels, memory)
    memset(s.labels, 0, n_labels * sizeof(int32_t))
    max_abs_bits = read_centroids(centroids, itemsize, s.wide, <void *>s.centroids)
    if max_abs_bits <= rows.max_safe_bits:
        if not engine.step(engine, s, p) and own_labels:
            engine.store_labels(engine, s.labels, labels)
    else:
        # How small the values are is for the points alone to say: a fit, too, looks only at these for that.
        s.max_abs_bits = max_abs_bits
    s.labels = labels
    release(memory)
    return 0


cdef int step_once(const EngineFactory *factory, const Problem *problem, const Rows *centroids, Step *s,
                   Poll *p) noexcept nogil:
    """Open an engine, make one step and close it; nonzero: no memory."""
    cdef Engine *engine = factory.open(problem, problem.K)
    cdef int failed
    if engine == NULL:
        return 1
    failed = make_step(engine, problem.rows, centroids, s, p)
    engine.close(engine)
    return failed


cdef int run_step(const EngineFactory *factory, Problem *problem, PreparedPoints points, const Rows *centroids,
                  Step *s, CallContext call) except -1:
    cdef bint failed
    problem.index = points.index(factory.build_index, problem.n_threads, call)
    with nogil:
        failed = step_once(factory, problem, centroids, s, &call.poll)
    if failed:
        raise MemoryError
    call.check()
    return 0


def step(PreparedPoints points, EngineEntry engine, Points centroids, int32_t[::1] labels, double[::1] squared,
         int outputs, int n_threads):
    """Make one step: (sum of squared distances, offsets, weights, counts).

    `centroids`: opened to be read in float64; they are rounded to the computing dtype first.
    `outputs`: the sum of ASSIGN (fill `labels`, which are given else), SUM (the last three of the result; else
    they mean nothing) and MEASURE (the first). `squared` (or None) is filled. Where the engine gives no
    distances, it finds the labels, and the first of the table that adds rows up makes the rest.
    """
    cdef Problem problem
    cdef Step s
    cdef int64_t K = centroids.rows.m, n = points.rows.n
    cdef CallContext call = CallContext()
    memset(&problem, 0, sizeof(problem))
    memset(&s, 0, sizeof(s))
    problem.rows, problem.K, problem.n_threads = &points.rows, K, n_threads
    problem.n_fits = 1 << 30 if points.persistent else 0  # an index serves many more calls, or is not worth it
    cdef const EngineFactory *factory = row_sums_factory(&points.rows)
    s.K, s.epoch, s.labels = K, 1, &labels[0]
    s.assign = outputs & _ASSIGN != 0
    if s.assign:
        factory = chosen_factory(engine.factory, &problem)
    cdef bint measure = outputs & (_SUM | _MEASURE) != 0
    cdef bint labels_first = s.assign and not factory.distances
    cdef double[:, ::1] offsets
    cdef double[::1] weights
    cdef int64_t[::1] counts
    sums = None, None, None
    if measure or labels_first:
        offsets, weights, counts = np.empty((K, wide_stride(n))), np.empty(K), np.empty(K, np.int64)
        s.sums.offsets, s.sums.weights, s.sums.counts = &offsets[0, 0], &weights[0], &counts[0]
        sums = np.asarray(offsets)[:, :n], np.asarray(weights), np.asarray(counts)
    if labels_first:
        s.sum = True
        run_step(factory, &problem, points, &centroids.rows, &s, call)
        factory, s.assign, s.labels_epoch, s.epoch = row_sums_factory(&points.rows), False, 1, 2
    s.sum, s.measure = outputs & _SUM != 0, outputs & _MEASURE != 0
    s.squared = NULL if squared is None else &squared[0]
    if s.max_abs_bits <= points.rows.max_safe_bits and (s.assign or measure or s.squared != NULL):
        run_step(factory, &problem, points, &centroids.rows, &s, call)
    check_range(&points.rows, s.max_abs_bits)
    if measure and not isfinite(s.sums.square):
        raise OutOfRange(INFINITY)
    return s.sums.square, *sums
