"""The engine "auto": chooses among the others by the shapes, and hands over between them by what the steps show.

It decides by shapes, dtype, the number of fits that share an index, and by counts of changed labels and computed
distances, never by a clock or by the number of threads, so that results are reproducible.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._codes cimport MAX_CODES_BYTES, codes_bytes
from ckmeans._cost_model cimport cells_time, dense_time, expected_distances, tree_time
from ckmeans._engine cimport Engine, EngineEntry, EngineFactory, Problem, Step, entry_of, store_row_labels
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, allocate, release

from ckmeans import _cells, _dense, _screen, _sparse

cdef const EngineFactory *DENSE = (<EngineEntry>_dense.ENGINE).factory
cdef const EngineFactory *CELLS = (<EngineEntry>_cells.ENGINE).factory
cdef const EngineFactory *SPARSE = (<EngineEntry>_sparse.ENGINE).factory
cdef const EngineFactory *SCREEN = (<EngineEntry>_screen.ADAPTIVE_ENGINE).factory  # dense where that pays more

cdef int64_t TYPICAL_STEPS = 21         # of a fit whose limit is higher
cdef int64_t SCREEN_FEATURES = 8        # fewer are one vector: nothing is cheaper than their distances
cdef int64_t SCREEN_CLUSTERS = 9        # fewer are compared with rows as they lie, in less time than bounds take
cdef double SCREEN_WORK = 1 << 21       # multiply-adds of a step: of fewer a fit is short in any case


# ---- the choice by shapes --------------------------------------------------------------------

cdef bint tree_pays(const Problem *p) noexcept nogil:
    cdef int64_t m = p.rows.m, n = p.rows.n, K = p.K
    cdef double steps = <double>p.n_fits * min(p.max_iter + 1, TYPICAL_STEPS)
    if n > CELLS.max_features or m > CELLS.max_points or K == 1 or p.n_fits == 0:
        return False
    return (tree_time(m, n) + steps * cells_time(m, n, expected_distances(m, n, K))
            < steps * dense_time(n, K, p.rows.kernels.itemsize == 8))


cdef bint screening_may_pay(const Problem *p) noexcept nogil:
    """Sooner or later, and within the memory that "auto" may take."""
    cdef const Rows *rows = p.rows
    return (rows.n >= SCREEN_FEATURES and p.K >= SCREEN_CLUSTERS and rows.stored * p.K >= SCREEN_WORK
            and codes_bytes(rows) <= max(<int64_t>(rows.stored * rows.value_bytes) // 2, MAX_CODES_BYTES))


cdef const EngineFactory *choose(const Problem *p) noexcept nogil:
    if p.rows.source.indptr != NULL:
        return SPARSE
    if p.rows.window != NULL:
        return DENSE
    if tree_pays(p):
        return CELLS if p.same_sums else &AUTO
    if screening_may_pay(p) and (p.n_fits > 0 or SCREEN.pays_once(p)):
        return SCREEN
    return DENSE


# ---- the hand-over from cells to dense ---------------------------------------------------------

# Cells where the tree settles much, and dense steps from the moment that it turns out to settle little. Only the first
# restart changes its engine, as the labels of others are in the order of the engine that found them.
cdef struct Auto:
    Engine engine
    const Problem *problem
    Engine *open             # the engine at work
    bint may_change
    bint settles_little      # the last step of cells took longer than a dense one
    int64_t n_starts         # restarts that have begun


cdef int change_to_dense(Auto *a, Step *s) noexcept nogil:
    """Go on by dense steps, with labels in the order of the rows; nonzero: no memory."""
    cdef int64_t size = a.problem.rows.m * sizeof(int32_t)
    cdef int32_t *labels = <int32_t *>allocate(size)
    cdef Engine *dense = DENSE.open(a.problem, a.problem.K)
    if labels == NULL or dense == NULL:
        release(labels)
        if dense != NULL:
            dense.close(dense)
        return 1
    a.open.store_labels(a.open, s.labels, labels)
    memcpy(s.labels, labels, size)
    release(labels)
    a.open.close(a.open)
    a.open = dense
    a.may_change = False
    return 0


cdef bint settles_little(const Auto *a, const Step *s) noexcept nogil:
    """Tell whether the step of cells that was made took longer than a dense one."""
    cdef const Rows *X = a.problem.rows
    return (cells_time(X.m, X.n, <double>s.n_distances / X.m)
            > dense_time(X.n, s.K, X.kernels.itemsize == 8))


cdef int auto_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Auto *a = <Auto *>engine
    cdef int failed
    a.n_starts += s.labels_epoch == 0
    if a.may_change and a.n_starts == 1 and s.labels_epoch != 0 and a.settles_little and change_to_dense(a, s):
        return 1
    failed = a.open.step(a.open, s, p)
    a.settles_little = a.may_change and settles_little(a, s)
    engine.name = a.open.name
    engine.bytes = a.open.bytes
    return failed


cdef void auto_store_labels(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    cdef Auto *a = <Auto *>engine
    store_row_labels(a.open, own, a.problem.rows.m, labels)


cdef void auto_close(Engine *engine) noexcept nogil:
    cdef Auto *a = <Auto *>engine
    a.open.close(a.open)
    release(engine)


cdef Engine *auto_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef Auto *a = <Auto *>allocate(sizeof(Auto))
    if a == NULL:
        return NULL
    memset(a, 0, sizeof(Auto))
    a.problem = problem
    a.open = CELLS.open(problem, K)
    if a.open == NULL:
        release(a)
        return NULL
    a.may_change = True
    a.engine.name = a.open.name
    a.engine.step = auto_step
    a.engine.store_labels = auto_store_labels
    a.engine.close = auto_close
    a.engine.n_labels = max(a.open.n_labels, problem.rows.m)
    a.engine.bytes = a.open.bytes
    return &a.engine


cdef EngineFactory AUTO = CELLS[0]
AUTO.name = b"auto"
AUTO.max_features = AUTO.max_points = 0
AUTO.choose = choose
AUTO.open = auto_open
ENGINE = entry_of(&AUTO)
