"""The state of a thread that runs restarts: its memory, its engine, from opening to closing."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport EngineFactory, Problem
from ckmeans._points cimport Rows
from ckmeans._runtime cimport ROW_PADDING, allocate, release, wide_stride


cdef inline int n_kept(const Options *options) noexcept nogil:
    """Return how many restarts are kept: the one that runs and the best one, if there are several."""
    return 2 if options.n_init > 1 else 1


cdef size_t fit_layout(Fit *f, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef int64_t K = f.options.K, n = f.rows.n, stride = wide_stride(n)
    cdef size_t item = f.rows.kernels.itemsize, at = (sizeof(Fit) + 63) // 64 * 64
    cdef int i
    for i in range(n_kept(f.options)):
        f.restarts[i].centroids = <char *>take(memory, &at, (K * n + ROW_PADDING) * item)
        f.restarts[i].counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        f.restarts[i].labels = <int32_t *>take(memory, &at, f.engine.n_labels * sizeof(int32_t))
    f.previous = <char *>take(memory, &at, (K * n + ROW_PADDING) * item)
    if f.factory.wide:
        f.step.wide = <double *>take(memory, &at, K * stride * sizeof(double))
    f.step.sums.offsets = <double *>take(memory, &at, K * stride * sizeof(double))
    f.step.sums.weights = <double *>take(memory, &at, K * sizeof(double))
    f.frozen.present = <uint8_t *>take(memory, &at, K)
    f.frozen.previous = <uint8_t *>take(memory, &at, K)
    f.empty.new_label = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    f.empty.farthest = <int64_t *>take(memory, &at, K * sizeof(int64_t))
    f.empty.farthest_squared = <double *>take(memory, &at, K * sizeof(double))
    f.empty.norms = <double *>take(memory, &at, K * sizeof(double))
    return at


cdef Fit *fit_open(const Problem *problem, const EngineFactory *factory, const Options *options,
                   const Rows *seeds) noexcept nogil:
    """NULL: no memory. `seeds`: the points to draw starts from."""
    cdef Fit draft
    cdef Fit *f
    cdef char *memory
    cdef int i
    memset(&draft, 0, sizeof(draft))
    draft.problem, draft.rows, draft.factory, draft.options = problem, problem.rows, factory, options
    if open_engine(&draft, options.K):
        return NULL
    draft.stats.bytes = <int64_t>fit_layout(&draft, NULL)
    memory = <char *>allocate(draft.stats.bytes)
    if memory == NULL:
        draft.engine.close(draft.engine)
        return NULL
    fit_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Fit))
    f = <Fit *>memory
    f.run, f.best = &f.restarts[0], &f.restarts[1]
    for i in range(2):
        f.restarts[i].number = -1
        if f.restarts[i].labels != NULL:
            memset(f.restarts[i].labels, 0, f.engine.n_labels * sizeof(int32_t))
    f.seeding = open_seeding(seeds, options.K, options.trials, problem.n_threads, problem.codes)
    if f.seeding == NULL:
        fit_close(f)
        return NULL
    return f


cdef int open_engine(Fit *f, int64_t K) noexcept nogil:
    """Open the engine for K centroids, as how it adds up depends on K. Nonzero: no memory."""
    if f.engine != NULL:
        f.engine.close(f.engine)
    f.engine = f.factory.open(f.problem, K)
    f.engine_K = K
    return f.engine == NULL


cdef void swaps_close(SwapSearch *s) noexcept nogil:
    if s == NULL:
        return
    if s.local.engine != NULL:
        s.local.engine.close(s.local.engine)
    release(s.local.values)
    release(s.local.weights)
    release(s.local.indptr)
    release(s.local.indices)
    release(s.local.labels)
    release(s.summary)
    release(s)


cdef void fit_close(Fit *f) noexcept nogil:
    cdef int i
    if f.engine != NULL:
        f.engine.close(f.engine)
    seeding_close(f.seeding)
    for i in range(2):
        release(f.restarts[i].history)
        release(f.restarts[i].path)
        release(f.restarts[i].path_K)
    release(f.empty.row_labels)
    swaps_close(f.swaps)
    release(f)
