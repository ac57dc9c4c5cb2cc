"""The optimum of many problems of one feature: each on one thread, which uses an engine again for as many rows.

Centroids, labels, counts and J are made as for one problem (fit_optimal in ckmeans/_dispatch.py), bit for bit.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport NAN, isfinite
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._engine cimport Engine, EngineFactory, Problem, Step, make_step, row_sums_factory
from ckmeans._points cimport (
    ProblemResults, ProblemRows, ProblemSource, ResultPlaces, Rows, longest_of, out_of_range, rows_of_problem,
)
from ckmeans._runtime cimport (
    CallContext, Poll, allocate, fetch_add, is_stopped, load_counter, poll, release, request_threads, wide_stride,
)
from ckmeans._values cimport get, put

cdef enum:
    FOUND = 0
    FIT_OUT_OF_RANGE = -1    # the values leave the safe range of the computing dtype, or are not finite
    FIT_FAILED = -2          # no result, and none in a wider dtype

# The optima of a call: what they have in common, and where their results are.
cdef struct Optima:
    const ProblemSource *problems
    const EngineFactory *factory  # of the engine that adds rows up
    const int64_t *K         # of each problem
    bint fill                # clusters without points stay, at the last centroid,
    bint drop                # or are dropped; neither: there is no result with such
    ResultPlaces results
    int64_t n_done           # shared, an atomic

# The state of a thread.
cdef struct OptimumWorker:
    Rows rows                # of the problem at hand
    Problem problem
    Engine *engine           # NULL: none is open
    Step step
    double *offsets          # (K, 1), rows of wide_stride(1)
    double *weights          # (K,)
    double *running_sums     # of the weights of rows


# ---- one problem -----------------------------------------------------------------------------

cdef int64_t store_optimum(const Rows *rows, int64_t K, char *centroids, Intervals *range_, Poll *p) noexcept nogil:
    """Store the centroids of the best partition, and the range of the values; returns how many centroids there are,
    or why there are none."""
    cdef ValueSums v
    cdef uint64_t max_abs_bits = 0
    cdef int64_t count = FIT_FAILED
    if open_value_sums(rows, 1, &v, &max_abs_bits, p):
        range_.low, range_.high = get(v.values, 0, v.itemsize), get(v.values, v.d - 1, v.itemsize)
        if store_means(&v, min(K, v.d), 1, centroids, p) and not is_stopped(p):
            count = min(K, v.d)
    elif out_of_range(rows, max_abs_bits):
        count = FIT_OUT_OF_RANGE
    release_value_sums(&v)
    return count


cdef bint run_step(OptimumWorker *w, const Optima *a, int64_t K, bint assign, Poll *p) noexcept nogil:
    """Label the rows, or add them up by their labels. False: no memory, or interrupted."""
    cdef Step *s = &w.step
    if w.engine == NULL or w.problem.K != K:
        if w.engine != NULL:
            w.engine.close(w.engine)
        w.problem.K = K
        w.engine = a.factory.open(&w.problem, K)
        if w.engine == NULL:
            return False
    s.K = K
    s.epoch += 1
    s.assign = assign
    s.sum = s.measure = not assign
    return not make_step(w.engine, &w.rows, a.factory.wide, s, p) and not is_stopped(p)


cdef bint label(OptimumWorker *w, const Optima *a, int64_t K, Intervals *intervals, Poll *p) noexcept nogil:
    """Label the rows for K rising centroids. False: no memory, or interrupted."""
    cdef const void *centroids = w.step.centroids
    cdef int item = a.results.itemsize
    cdef int64_t uncertain = 1
    if K == 1 or get(centroids, K - 1, item) != get(centroids, K - 2, item):
        uncertain = label_rows(&w.rows, centroids, K, 1, w.step.labels, intervals, p)
    return uncertain == 0 or (uncertain > 0 and run_step(w, a, K, True, p))


cdef int64_t keep_filled(OptimumWorker *w, int64_t K, char *centroids, int item) noexcept nogil:
    """Keep the clusters with points alone; returns how many these are."""
    cdef int64_t kept = 0, k
    for k in range(K):
        if w.step.sums.weights[k] > 0:
            put(centroids, kept, item, get(centroids, k, item))
            kept += 1
    for k in range(kept, K):
        put(centroids, k, item, NAN)
        w.step.sums.counts[k] = 0
    return kept


cdef int solve(OptimumWorker *w, const Optima *a, int64_t i, Poll *p) noexcept nogil:
    """Find the optimum of problem i. Returns FOUND, or why there is no result."""
    cdef int item = a.results.itemsize
    cdef char *centroids = <char *>w.step.centroids
    cdef int64_t K = a.K[i], kept, k
    cdef Intervals intervals
    memset(&intervals, 0, sizeof(intervals))
    kept = store_optimum(&w.rows, K, centroids, &intervals, p)
    if kept < 0:
        return <int>kept
    if a.fill:
        for k in range(kept, K):
            put(centroids, k, item, get(centroids, kept - 1, item))
    elif kept < K and not a.drop:
        return FIT_FAILED
    K = K if a.fill else kept
    while True:
        if not label(w, a, K, &intervals, p) or not run_step(w, a, K, False, p):
            return FIT_FAILED
        kept = K if a.fill else keep_filled(w, K, centroids, item)
        if kept == K:
            return FOUND if isfinite(w.step.sums.square) else FIT_OUT_OF_RANGE
        if not a.drop:
            return FIT_FAILED
        K = kept


cdef void open_rows(OptimumWorker *w, const Optima *a, int64_t i) noexcept nogil:
    """Take the rows of problem i, and an engine for them that is open."""
    cdef const ResultPlaces *to = &a.results
    cdef Rows rows = rows_of_problem(&a.problems[i], to.itemsize, w.running_sums)
    if w.engine != NULL and (rows.m != w.rows.m or (rows.weights == NULL) != (w.rows.weights == NULL)):
        w.engine.close(w.engine)
        w.engine = NULL
    w.rows = rows
    w.problem.rows, w.problem.n_threads = &w.rows, 1
    w.step.centroids = to.centroids + i * to.K * to.itemsize
    w.step.labels = to.labels + to.first[i]
    w.step.sums.offsets, w.step.sums.weights = w.offsets, w.weights
    w.step.sums.counts = to.counts + i * to.K


cdef void solve_problem(OptimumWorker *w, Optima *a, int64_t i, Poll *p) noexcept nogil:
    cdef int64_t k
    open_rows(w, a, i)
    a.results.status[i] = solve(w, a, i, p)
    a.results.n_iter[i] = 0
    a.results.distortions[i] = w.step.sums.square / w.rows.total_weight
    if a.results.status[i] < 0:
        for k in range(a.K[i]):
            put(<char *>w.step.centroids, k, a.results.itemsize, NAN)
            w.step.sums.counts[k] = 0


# ---- all of them -------------------------------------------------------------------------------

cdef void solve_problems(Optima *a, OptimumWorker *workers, int n_threads, const int64_t[::1] which,
                         Poll *p) noexcept nogil:
    cdef int64_t at
    for at in prange(which.shape[0], schedule="dynamic", chunksize=1, num_threads=request_threads(n_threads)):
        if not poll(p):
            solve_problem(&workers[threadid()], a, which[at], p)
            fetch_add(&a.n_done, 1)
            if threadid() == 0:
                p.done = load_counter(&a.n_done)


cdef OptimumWorker *open_workers(int count, int64_t K, int64_t longest) noexcept nogil:
    """Allocate the threads' states; NULL: no memory. `longest`: rows of the longest problem with weights, or 0."""
    cdef int64_t sums = K * (wide_stride(1) + 1), i
    cdef OptimumWorker *workers = <OptimumWorker *>allocate(
        count * (sizeof(OptimumWorker) + (sums + longest) * sizeof(double)))
    if workers == NULL:
        return NULL
    memset(workers, 0, count * sizeof(OptimumWorker))
    for i in range(count):
        workers[i].offsets = <double *>(workers + count) + i * (sums + longest)
        workers[i].weights = workers[i].offsets + K * wide_stride(1)
        workers[i].running_sums = workers[i].offsets + sums
    return workers


cdef void close_workers(OptimumWorker *workers, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        if workers[i].engine != NULL:
            workers[i].engine.close(workers[i].engine)
    release(workers)


def fit_many(ProblemRows problems, const int64_t[::1] which, const int64_t[::1] K, str empty, ProblemResults results,
             int n_threads, on_progress):
    """Find the optimum of some problems of one feature, each on one thread.

    `which`: their numbers; `K`: the clusters of each of all. The status of those with a result is 0.
    `on_progress(done)` is called now and then with the number of problems that were solved.
    """
    cdef CallContext call = CallContext(on_progress)
    cdef OptimumWorker *workers
    cdef Optima a
    cdef Rows dense          # rows that are not sparse
    memset(&a, 0, sizeof(a))
    memset(&dense, 0, sizeof(dense))
    a.problems, a.K, a.results = problems.problems, &K[0], results.places
    a.factory = row_sums_factory(&dense)
    a.drop, a.fill = empty == "drop", empty in ("reinit", "farthest")
    n_threads = min(<int64_t>n_threads, which.shape[0])
    cdef int64_t longest = longest_of(problems, which) if problems.weights is not None else 0
    with nogil:
        workers = open_workers(n_threads, a.results.K, longest)
        if workers != NULL:
            solve_problems(&a, workers, n_threads, which, &call.poll)
            close_workers(workers, n_threads)
    call.check()
    if workers == NULL:
        raise MemoryError
