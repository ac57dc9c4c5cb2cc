"""The engine "auto": chooses among the others by the shapes, and hands over between them by what the steps show.

It decides by shapes, dtype, the number of fits that share an index, and by counts of changed labels and computed
distances, never by a clock or by the number of threads, so that results are reproducible.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from ckmeans._codes cimport codes_bytes
from ckmeans._cost_model cimport min_square_work_of_cells, min_work_of_cells
from ckmeans._engine cimport Engine, EngineEntry, EngineFactory, Problem, Step, entry_of
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, allocate, release

from ckmeans import _cells, _dense, _screen, _sparse

cdef const EngineFactory *DENSE = (<EngineEntry>_dense.ENGINE).factory
cdef const EngineFactory *CELLS = (<EngineEntry>_cells.ENGINE).factory
cdef const EngineFactory *SPARSE = (<EngineEntry>_sparse.ENGINE).factory
cdef const EngineFactory *SCREEN = (<EngineEntry>_screen.ADAPTIVE_ENGINE).factory  # dense where that pays more

cdef int64_t SHARED_FITS = 4            # fits from which building an index is a small part of their time
cdef int64_t SHARED_ROWS = 2048         # rows from which they are faster with a tree of up to 3 features,
cdef int64_t SHARED_ROWS_4 = 1 << 14    # and of 4 to 8
cdef int64_t MIN_CLUSTERS = 6           # dense is no faster with fewer centroids: a group of them is one operation

cdef int64_t SCREEN_FEATURES = 48       # from which screening pays from the first step on,
cdef int64_t LATE_FEATURES = 8          # and late in a fit: fewer than these are one vector
cdef int64_t SCREEN_CLUSTERS = 16       # fewer pairs than these take less time than their bounds
cdef double SCREEN_PAIRS = 1e6          # pairs of a step: fewer take less time than finding directions
cdef int64_t SCREEN_ROWS = 1024         # fewer rows tell nothing of directions; the engine looks for groups itself
cdef int64_t LATE_ROWS = 4096           # rows from which a step takes longer than finding directions
cdef int64_t MAX_BYTES = 256 << 20      # of projections, or half of X if that is more
cdef double FEW_CHANGES = 0.05          # part of the labels that change, below which bounds of most points are kept
cdef int64_t MIN_STEPS_LEFT = 3         # that pay for the projection


# ---- the choice by shapes --------------------------------------------------------------------

cdef bint tree_pays(const Problem *p) noexcept nogil:
    cdef int64_t m = p.rows.m, n = p.rows.n, K = p.K
    cdef bint shared = p.n_fits >= SHARED_FITS
    cdef double clusters = max(K, MIN_CLUSTERS)
    if n > CELLS.max_features or m > CELLS.max_points or K == 1 or p.n_fits == 0:
        return False
    if n >= 3 and m < 8 * K:  # even the leaves lie in several clusters
        return False
    if n < 4:
        return <double>m * K >= min_work_of_cells(n) or (shared and m >= SHARED_ROWS)
    return m * clusters * clusters >= min_square_work_of_cells(n, shared and m >= SHARED_ROWS_4)


cdef bint screening_may_pay(const Problem *p, int64_t min_rows) noexcept nogil:
    """Sooner or later, and within the memory that "auto" may take."""
    cdef const Rows *rows = p.rows
    cdef int64_t projected = codes_bytes(rows)
    return (rows.n >= LATE_FEATURES and rows.m >= min_rows and p.K >= SCREEN_CLUSTERS
            and <double>rows.m * p.K >= SCREEN_PAIRS
            and projected <= max(<int64_t>(rows.stored * rows.value_bytes) // 2, MAX_BYTES))


cdef const EngineFactory *choose(const Problem *p) noexcept nogil:
    if p.rows.source.indptr != NULL:
        return SPARSE
    if p.rows.window != NULL:
        return DENSE
    if tree_pays(p):
        return CELLS
    if p.rows.n >= SCREEN_FEATURES and screening_may_pay(p, SCREEN_ROWS) and (p.n_fits > 0 or SCREEN.pays_once(p)):
        return SCREEN
    return &AUTO if p.n_fits > 0 and not p.same_sums and screening_may_pay(p, LATE_ROWS) else DENSE


# ---- the hand-over from dense to screening ---------------------------------------------------

cdef struct Auto:
    Engine engine
    const Problem *problem
    const EngineFactory *factory  # of the engine at work
    Engine *open             # that engine
    int64_t K                # that it was opened for


cdef int open_engine(Auto *a, const EngineFactory *factory, int64_t K) noexcept nogil:
    """Nonzero: no memory."""
    if a.open != NULL:
        a.open.close(a.open)
    a.factory, a.K = factory, K
    a.open = factory.open(a.problem, K)
    return a.open == NULL


cdef const EngineFactory *next_factory(const Auto *a, const Step *s) noexcept nogil:
    """Every pair at first; screening once few labels change."""
    if s.labels_epoch == 0:
        return DENSE
    if s.n_changed <= FEW_CHANGES * a.problem.rows.m and s.steps_left >= MIN_STEPS_LEFT:
        return SCREEN
    return a.factory


cdef int auto_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Auto *a = <Auto *>engine
    cdef const EngineFactory *factory = next_factory(a, s)
    cdef int failed
    if factory != a.factory or a.K < s.K or (a.K != s.K and not factory.fewer_centroids):
        if open_engine(a, factory, max(s.K, a.problem.K) if factory.fewer_centroids else s.K):
            return 1
    failed = a.open.step(a.open, s, p)
    engine.name = a.open.name
    engine.bytes = a.open.bytes
    return failed


cdef void auto_close(Engine *engine) noexcept nogil:
    cdef Auto *a = <Auto *>engine
    if a.open != NULL:
        a.open.close(a.open)
    release(engine)


cdef Engine *auto_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef Auto *a = <Auto *>allocate(sizeof(Auto))
    if a == NULL:
        return NULL
    memset(a, 0, sizeof(Auto))
    a.problem = problem
    if open_engine(a, DENSE, K):
        release(a)
        return NULL
    a.engine.name = a.open.name
    a.engine.step = auto_step
    a.engine.close = auto_close
    a.engine.n_labels = a.open.n_labels
    a.engine.bytes = a.open.bytes
    return &a.engine


cdef EngineFactory AUTO
memset(&AUTO, 0, sizeof(AUTO))
AUTO.name = b"auto"
AUTO.distances = AUTO.fewer_centroids = AUTO.row_sums = True
AUTO.choose = choose
AUTO.open = auto_open
ENGINE = entry_of(&AUTO)
