"""The fits of many problems: each on one thread, which opens an engine for a shape and uses it again.

A problem that needs another dtype, or on which a fit fails, has a negative status in the end, and no other is affected.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._codes cimport Codes, codes_close
from ckmeans._engine cimport (
    EngineEntry, EngineFactory, Problem, chosen_factory, row_sums_factory, store_row_labels,
)
from ckmeans._points cimport (
    ProblemResults, ProblemRows, ProblemSource, ResultPlaces, Rows, UniquePoints, take_unit_length, deduplicate,
    longest_of, max_abs_bits_of, mean_loss, out_of_range, release_unique, rows_of_problem,
)
from ckmeans._runtime cimport (
    CallContext, Poll, allocate, fetch_add, is_stopped, load_counter, poll, release, request_threads,
)

cdef enum:
    FIT_FAILED = -2          # no result, and none in a wider dtype
    FIT_OUT_OF_RANGE = -1    # the values leave the safe range of the computing dtype, or are not finite

# The fits of a call: what they have in common, and where their options and results are.
cdef struct ManyFits:
    const ProblemSource *problems
    const EngineFactory *factory    # that was asked for
    const EngineFactory *row_sums   # that measures distortions row by row
    Options options
    bint unit                # rows are taken at unit length
    const int64_t *K         # of each problem,
    const int64_t *trials
    const uint64_t *seeds
    const char *starts       # and its start; NULL: none is given
    int64_t start_bytes      # from one start to the next; 0: all have the same
    ResultPlaces results
    int64_t n_done           # shared, an atomic

# The state of a thread.
cdef struct FitWorker:
    Rows rows                # of the problem at hand
    Problem problem
    Options options
    UniquePoints unique
    Codes *codes
    Fit *fit                 # NULL: none is open
    double *running_sums     # of its weights
    double *factors          # that bring its rows to unit length


# ---- one problem -----------------------------------------------------------------------------

cdef void worker_close(FitWorker *w) noexcept nogil:
    """Close the fit of the last problem, with what was made of its rows."""
    if w.fit != NULL:
        fit_close(w.fit)
        w.fit = NULL
    codes_close(w.codes)
    w.codes = NULL
    if w.problem.index != NULL:
        w.problem.index.free(w.problem.index)
        w.problem.index = NULL
    release_unique(&w.unique)


cdef int index_rows(FitWorker *w, const EngineFactory *factory, Poll *p) noexcept nogil:
    """Make what the engine computes from the points once, if it does. Returns RUNNING, or why there is none."""
    if factory.build_index == NULL:
        return RUNNING
    if not deduplicate(&w.rows, True, 1, &w.unique, p):
        return FIT_FAILED
    if out_of_range(&w.rows, w.unique.max_abs_bits):
        return FIT_OUT_OF_RANGE
    w.problem.index = factory.build_index(&w.unique, 1, p)
    return FIT_FAILED if w.problem.index == NULL else RUNNING


cdef bint fits_again(const FitWorker *w, const Rows *rows, int64_t K, int64_t trials) noexcept nogil:
    """Whether the open fit does for these rows: it is of the same shape, and keeps nothing of the rows it was for."""
    cdef const Fit *f = w.fit
    if f == NULL or f.swaps != NULL or f.factory.keeps_rows or f.factory.build_index != NULL:
        return False
    return (rows.m == w.rows.m and K == w.options.K and trials == w.options.trials
            and rows.value_bytes == w.rows.value_bytes and (rows.weights == NULL) == (w.rows.weights == NULL)
            and not keeps_seeds(f.seeding))


cdef int reset_fit(Fit *f) noexcept nogil:
    """Make an open fit as a new one, for other rows. Returns RUNNING, or why there is none."""
    f.run, f.best = &f.restarts[0], &f.restarts[1]
    f.run.number = f.best.number = -1
    return FIT_FAILED if f.engine == NULL and open_engine(f, f.options.K) else RUNNING


cdef int open_problem(FitWorker *w, const ManyFits *a, int64_t i, Poll *p) noexcept nogil:
    """Open the fit of problem i, or take the last one's. Returns RUNNING, or why there is none."""
    cdef Rows rows = rows_of_problem(&a.problems[i], a.results.itemsize, w.running_sums)
    cdef bint again = fits_again(w, &rows, a.K[i], a.trials[i])
    cdef const EngineFactory *factory
    cdef int status
    if not again:
        worker_close(w)
    w.rows = rows
    if a.unit and not take_unit_length(&w.rows, w.factors):
        return FIT_FAILED
    w.options.K, w.options.trials, w.options.seed = a.K[i], a.trials[i], a.seeds[i]
    if a.starts != NULL:
        w.options.starts = a.starts + i * a.start_bytes
        w.options.n_given = a.options.n_given if a.options.n_given < w.options.K else 0
        if start_out_of_range(w, a.options.n_given):
            return FIT_FAILED
    if again:
        return reset_fit(w.fit)
    w.problem = Problem(&w.rows, NULL, 1, w.options.K, w.options.n_init, w.options.max_iter, False, &w.codes)
    w.problem.same_sums = may_share(&w.problem, &w.options)
    factory = chosen_factory(a.factory, &w.problem)
    status = index_rows(w, factory, p)
    if status == RUNNING:
        w.fit = fit_open(&w.problem, factory, &w.options, &w.rows)
        if w.fit == NULL:
            return FIT_FAILED
    return status


cdef bint start_out_of_range(const FitWorker *w, int64_t n_given) noexcept nogil:
    """Whether the dtype cannot hold the squares of the given centroids, though it may hold those of the rows."""
    cdef int64_t count = n_given * w.rows.n
    return max_abs_bits_of(w.options.starts, count, w.rows.kernels.itemsize) > w.rows.max_safe_bits


cdef int run_problem(Fit *f, Poll *p) noexcept nogil:
    """Run all restarts; returns why the best one stopped, or why there is no result."""
    cdef int64_t number
    for number in range(f.options.n_init):
        run_restart(f, number, p)
        if f.run.status == OUT_OF_RANGE:
            return FIT_OUT_OF_RANGE
        if f.run.status > CALLBACK:
            return FIT_FAILED
        keep_if_best(f)
    return f.best.status


cdef bint store_result(FitWorker *w, const ManyFits *a, int64_t i, Poll *p) noexcept nogil:
    """Store the result of problem i; False: no memory."""
    cdef const ResultPlaces *to = &a.results
    cdef Restart *r = w.fit.best
    cdef int32_t *labels = to.labels + to.first[i]
    cdef double square
    memcpy(to.centroids + i * to.K * to.n * to.itemsize, r.centroids, r.K * to.n * to.itemsize)
    memcpy(to.counts + i * to.K, r.counts, r.K * sizeof(int64_t))
    store_row_labels(w.fit.engine, r.labels, w.rows.m, labels)
    to.distortions[i] = r.distortion
    to.n_iter[i] = r.n_iter
    if r.incremental:
        if sum_rows(w.fit, a.row_sums, &w.problem, labels, &square, p):
            return False
        to.distortions[i] = mean_loss(&w.rows, square)
    return True


cdef void fit_problem(FitWorker *w, ManyFits *a, int64_t i, Poll *p) noexcept nogil:
    cdef int status = open_problem(w, a, i, p)
    if status == RUNNING:
        status = run_problem(w.fit, p)
    if status >= 0 and (not store_result(w, a, i, p) or is_stopped(p)):
        status = FIT_FAILED
    a.results.status[i] = status


# ---- all of them -------------------------------------------------------------------------------

cdef void run_problems(ManyFits *a, FitWorker *workers, int n_threads, const int64_t[::1] which,
                       Poll *p) noexcept nogil:
    cdef int64_t at
    for at in prange(which.shape[0], schedule="dynamic", chunksize=1, num_threads=request_threads(n_threads)):
        if not poll(p):
            fit_problem(&workers[threadid()], a, which[at], p)
            fetch_add(&a.n_done, 1)
            if threadid() == 0:
                p.done = load_counter(&a.n_done)


cdef FitWorker *open_workers(const ManyFits *a, int count, int64_t longest) noexcept nogil:
    """Allocate the threads' states; NULL: no memory. `longest`: rows of the longest problem."""
    cdef FitWorker *workers = <FitWorker *>allocate(count * (sizeof(FitWorker) + 2 * longest * sizeof(double)))
    cdef int i
    if workers == NULL:
        return NULL
    memset(workers, 0, count * sizeof(FitWorker))
    for i in range(count):
        workers[i].options = a.options
        workers[i].running_sums = <double *>(workers + count) + 2 * i * longest
        workers[i].factors = workers[i].running_sums + longest
    return workers


def fit_many(ProblemRows problems, const int64_t[::1] which, EngineEntry engine, options, each, ProblemResults results,
             on_progress):
    """Fit some of the problems, each on one thread.

    `which`: their numbers. `options`: a FitOptions that all have in common; `each`: an EachFit, what each has of its
    own. `on_progress(done)` is called now and then with the number of problems that were fitted.
    """
    cdef ManyFits a
    cdef FitWorker *workers
    cdef Rows dense          # rows that are not sparse
    cdef CallContext call = CallContext(on_progress)
    cdef const int64_t[::1] K = each.K, trials = each.trials
    cdef const uint64_t[::1] seeds = each.seeds
    cdef bint given = each.starts is not None
    cdef const char[::1] starts = each.starts.reshape(-1).view(np.int8) if given else None
    cdef int n_threads = min(<int64_t>options.n_threads, max(which.shape[0], 1)), i
    memset(&a, 0, sizeof(a))
    a.options = options_of(options, None)
    a.options.reports_steps = False
    a.problems, a.factory, a.results = problems.problems, engine.factory, results.places
    a.K, a.trials, a.seeds, a.unit = &K[0], &trials[0], &seeds[0], each.unit
    cdef const uint8_t[::1] frozen = options.frozen  # the options keep it
    a.options.frozen = NULL if frozen is None else &frozen[0]
    if given:
        a.starts, a.options.n_given = &starts[0], each.starts.shape[1]
        a.start_bytes = each.starts[0].nbytes if len(each.starts) > 1 else 0
    memset(&dense, 0, sizeof(dense))
    a.row_sums = row_sums_factory(&dense)
    a.options.swap_factory = NULL if options.search is None else a.row_sums
    cdef int64_t longest = longest_of(problems, which)
    with nogil:
        workers = open_workers(&a, n_threads, longest)
        if workers != NULL:
            run_problems(&a, workers, n_threads, which, &call.poll)
            for i in range(n_threads):
                worker_close(&workers[i])
            release(workers)
    call.check()
    if workers == NULL:
        raise MemoryError
