"""The table of engines, and one step of any of them for assign, update and distortion."""
from libc.math cimport INFINITY, fabs, isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Points, PreparedPoints, Rows, bits_of, check_range, read_row, some_rows
from ckmeans._runtime cimport (
    ROW_PADDING, CallContext, Poll, allocate, is_stopped, kernels_for, release, wide_stride,
)
from ckmeans._shift cimport find_shift
from ckmeans._values cimport dot_with_wide, get, put, widen

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

cdef int64_t PART_VALUES = 1 << 26     # of X that are assigned together, where an engine keeps something of each row

# What `step` is to find.
cdef enum:
    _ASSIGN = 1
    _SUM = 2
    _MEASURE = 4

ASSIGN, SUM, MEASURE = _ASSIGN, _SUM, _MEASURE


cdef uint64_t read_centroids(const Rows *centroids, int itemsize, double *row, void *rounded) noexcept nogil:
    """Round the centroids to the computing dtype; return the bits of their largest magnitude. `row`: for one."""
    cdef int64_t n = centroids.n, k, l
    cdef double value, max_abs = 0
    for k in range(centroids.m):
        read_row(centroids, k, row)
        for l in range(n):
            put(rounded, k * n + l, itemsize, row[l])
            value = get(rounded, k * n + l, itemsize)
            if fabs(value) > max_abs or value != value:  # a NaN then stays
                max_abs = fabs(value)
    return bits_of(max_abs, itemsize)


cdef class Centroids:
    """Centroids rounded to a computing dtype, and packed where they serve many calls."""

    def __cinit__(self, Points points, int itemsize, bint packed):
        cdef const Rows *rows = &points.rows
        cdef double *row
        self.K, self.is_packed = rows.m, packed
        self.bytes = <int64_t>self.layout(rows.n, itemsize, &row)
        self.memory = allocate(self.bytes)
        if self.memory == NULL:
            raise MemoryError
        self.layout(rows.n, itemsize, &row)
        with nogil:
            self.max_abs_bits = read_centroids(rows, itemsize, row, self.values)
            if packed:
                find_shift(itemsize, self.K, rows.n, self.values, self.packed.shift)
                kernels_for(itemsize).pack_centroids(self.values, self.packed.shift, &self.packed.panel)

    def __dealloc__(self):
        release(self.memory)

    cdef size_t layout(self, int64_t n, int itemsize, double **row):
        """Lay everything out; while there is no memory only count the bytes."""
        cdef size_t at = 0
        cdef char *memory = <char *>self.memory
        row[0] = <double *>take(memory, &at, n * sizeof(double))
        self.values = take(memory, &at, (self.K * n + ROW_PADDING) * itemsize)
        if self.is_packed:
            self.packed.panel.K, self.packed.panel.n = self.K, n
            self.packed.panel.c = take(memory, &at, self.K * n * itemsize)
            self.packed.panel.norms = take(memory, &at, self.K * itemsize)
            self.packed.panel.ids = take(memory, &at, self.K * itemsize)
            self.packed.shift = take(memory, &at, n * itemsize)
        return at


cdef double square_of(const Rows *rows, const Step *s) noexcept nogil:
    """The length of a centroid is 1 but for rounding, which may change J by more than an update does. With c of length
    1 / (1 + g), and v = g c from it to unit length, sum |x - c - v|^2 = sum |x - c|^2 - 2 v sum (x - c) + W |v|^2."""
    cdef int64_t n = rows.n, size = n * rows.kernels.itemsize, k
    cdef double square = s.sums.square, length, product, g
    if not rows.unit:
        return square
    for k in range(s.K):
        if s.sums.weights[k] == 0:
            continue
        product = dot_with_wide(<const char *>s.centroids + k * size, s.sums.offsets + k * wide_stride(n), n,
                                rows.kernels.itemsize, &length)
        if s.sums.uncentred:
            product -= s.sums.weights[k] * length
        g = 1 / sqrt(length) - 1
        square += g * (s.sums.weights[k] * g * length - 2 * product)
    return square


# What a step needs beside its engine.
cdef struct StepMemory:
    double *wide             # the centroids
    int32_t *labels          # the engine's own


cdef size_t step_layout(StepMemory *to, const Engine *engine, int64_t K, const Rows *rows, bint wide,
                        char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t at = 0
    to.wide = <double *>take(memory, &at, K * wide_stride(rows.n) * sizeof(double) if wide else 0)
    to.labels = <int32_t *>take(memory, &at, engine.n_labels * sizeof(int32_t) if engine.store_labels != NULL else 0)
    return at


cdef int make_step(Engine *engine, const Rows *rows, bint wide, Step *s, Poll *p) noexcept nogil:
    cdef int32_t *labels = s.labels
    cdef StepMemory own
    cdef int failed
    cdef char *memory = <char *>allocate(step_layout(&own, engine, s.K, rows, wide, NULL))
    if memory == NULL:
        return 1
    step_layout(&own, engine, s.K, rows, wide, memory)
    if wide:
        widen(s.centroids, s.K, rows.n, rows.kernels.itemsize, own.wide, wide_stride(rows.n))
    s.wide = own.wide
    if engine.store_labels != NULL:
        s.labels = own.labels
        memset(s.labels, 0, engine.n_labels * sizeof(int32_t))
    failed = engine.step(engine, s, p)
    if not failed and engine.store_labels != NULL:
        engine.store_labels(engine, s.labels, labels)
    s.labels = labels
    release(memory)
    return failed and not is_stopped(p)


cdef int step_once(const EngineFactory *factory, const Problem *problem, Step *s, Poll *p) noexcept nogil:
    """Open an engine, make one step and close it; nonzero: no memory."""
    cdef Engine *engine = factory.open(problem, problem.K)
    cdef int failed
    if engine == NULL:
        return 1
    failed = make_step(engine, problem.rows, factory.wide, s, p)
    engine.close(engine)
    return failed


def set_part_values(int64_t values):
    """Change this limit for calls from now on; returns what it was. Labels do not change."""
    global PART_VALUES
    before = PART_VALUES
    PART_VALUES = values
    return before


cdef int assign_parts(const EngineFactory *factory, const Problem *problem, Step *s, Poll *p) noexcept nogil:
    """Find the labels alone, so many rows at a time that what the engine keeps of them is small. Nonzero: no memory."""
    cdef Problem part = problem[0]
    cdef Rows rows
    cdef Step step = s[0]
    cdef int64_t m = problem.rows.m, n_parts = (m * problem.rows.n + PART_VALUES - 1) // PART_VALUES, first, i
    part.rows = &rows
    for i in range(n_parts):
        first = i * m // n_parts
        rows = some_rows(problem.rows, first, (i + 1) * m // n_parts - first)
        step.labels = s.labels + first
        memset(step.labels, 0, rows.m * sizeof(int32_t))
        if step_once(factory, &part, &step, p):
            return 1
        s.max_abs_bits = max(s.max_abs_bits, step.max_abs_bits)
        if is_stopped(p):
            break
    return 0


cdef int run_step(const EngineFactory *factory, Problem *problem, PreparedPoints points, Step *s,
                  CallContext call) except -1:
    cdef bint failed
    problem.index = points.index(factory.build_index, problem.n_threads, call)
    with nogil:
        if s.assign and factory.keeps_rows:
            failed = assign_parts(factory, problem, s, &call.poll)
        else:
            failed = step_once(factory, problem, s, &call.poll)
    if failed:
        raise MemoryError
    call.check()
    return 0


def step(PreparedPoints points, EngineEntry engine, Centroids centroids, int32_t[::1] labels, double[::1] squared,
         int outputs, int n_threads):
    """Make one step: (sum of squared distances, offsets, weights, counts).

    `centroids`: of the computing dtype of the points.
    `outputs`: the sum of ASSIGN (fill `labels`, which are given else), SUM (the last three of the result; else
    they mean nothing) and MEASURE (the first). `squared` (or None) is filled. Where the engine gives no
    distances, or takes the rows in parts, it finds the labels, and the first of the table that adds rows up makes
    the rest.
    """
    cdef Problem problem
    cdef Step s
    cdef int64_t K = centroids.K, n = points.rows.n
    cdef CallContext call = CallContext()
    memset(&problem, 0, sizeof(problem))
    memset(&s, 0, sizeof(s))
    points.bring_to_unit_length(n_threads, call)
    problem.rows, problem.K, problem.n_threads = &points.rows, K, n_threads
    problem.n_fits = 1 << 30 if points.persistent else 0  # an index serves many more calls, or is not worth it
    cdef const EngineFactory *factory = row_sums_factory(&points.rows)
    s.K, s.epoch, s.labels, s.centroids = K, 1, &labels[0], centroids.values
    s.packed = &centroids.packed if centroids.is_packed else NULL
    # How small the values are is for the points alone to say: a fit, too, looks only at these for that. Of points
    # that are all 0 the centroids say it.
    if centroids.max_abs_bits > points.rows.max_safe_bits:
        check_range(&points.rows, centroids.max_abs_bits)
    s.assign = outputs & _ASSIGN != 0
    if s.assign:
        factory = chosen_factory(engine.factory, &problem)
    cdef bint measure = outputs & (_SUM | _MEASURE) != 0
    cdef bint all_zero = s.assign and factory.build_index == NULL  # unless the step finds another magnitude
    cdef bint in_parts = s.assign and factory.keeps_rows, labels_first = s.assign and not factory.distances
    cdef double[:, ::1] offsets
    cdef double[::1] weights
    cdef int64_t[::1] counts
    sums = None, None, None
    if measure or labels_first:
        offsets, weights, counts = np.empty((K, wide_stride(n))), np.empty(K), np.empty(K, np.int64)
        s.sums.offsets, s.sums.weights, s.sums.counts = &offsets[0, 0], &weights[0], &counts[0]
        sums = np.asarray(offsets)[:, :n], np.asarray(weights), np.asarray(counts)
    if labels_first or in_parts:
        s.sum = labels_first
        run_step(factory, &problem, points, &s, call)
        factory, s.assign, s.labels_epoch, s.epoch = row_sums_factory(&points.rows), False, 1, 2
    s.sum, s.measure = outputs & _SUM != 0 or (measure and points.rows.unit), outputs & _MEASURE != 0
    s.squared = NULL if squared is None else &squared[0]
    if s.max_abs_bits <= points.rows.max_safe_bits and (s.assign or measure or s.squared != NULL):
        run_step(factory, &problem, points, &s, call)
    check_range(&points.rows, centroids.max_abs_bits if all_zero and s.max_abs_bits == 0 else s.max_abs_bits)
    if measure and not isfinite(s.sums.square):
        raise OutOfRange(INFINITY)
    return square_of(&points.rows, &s) if measure else 0, *sums
