"""A fit: from its arguments to its result."""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._codes cimport Codes, codes_close
from ckmeans._engine cimport (
    EngineEntry, EngineFactory, Problem, Step, chosen_factory, row_sums_factory, store_row_labels,
)
from ckmeans._points cimport PreparedPoints, Rows, check_range, mean_loss
from ckmeans._runtime cimport CallContext, Poll, allocate, release

import numpy as np

STOP_REASONS = ("stable", "tolerance", "max_iter", "max_swaps", "callback")
cdef int64_t MAX_COUNT = (<int64_t>1) << 62  # more than anything that is counted
cdef dict EMPTY_POLICIES = {"drop": DROP, "reinit": REINIT, "farthest": FARTHEST, "error": RAISE}


cdef class Fits:
    """The threads' fits, while they are in use."""
    cdef Fit **each
    cdef Problem *problems       # the same for all, but each with codes of its own
    cdef Codes **codes
    cdef void *memory
    cdef int count
    cdef int64_t n_done          # restarts that came to a result

    def __cinit__(self, int capacity):
        cdef size_t size = fits_layout(self, capacity)
        self.memory = allocate(size)
        if self.memory == NULL:
            raise MemoryError
        memset(self.memory, 0, size)
        fits_layout(self, capacity)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            fit_close(self.each[i])
            codes_close(self.codes[i])
        release(self.memory)

    cdef int open(self, const Problem *problem, const EngineFactory *factory, const Options *options,
                  const Rows *seeds) except -1:
        cdef Problem *own = &self.problems[self.count]
        own[0] = problem[0]
        own.codes = &self.codes[self.count]
        self.each[self.count] = fit_open(own, factory, options, seeds)
        if self.each[self.count] == NULL:
            raise MemoryError
        self.count += 1
        return 0

    cdef Fit *best(self) except NULL:
        """The fit whose best restart has the lowest distortion; of equals that of the first restart."""
        cdef int i
        results = [(self.each[i].best.distortion, self.each[i].best.number, i) for i in range(self.count)]
        return self.each[min(result for result in results if result[1] >= 0)[2]]

    cdef int raise_first_error(self) except -1:
        """Raise the error of the first restart that failed; those that were interrupted for it do not count."""
        cdef int i
        cdef Fit *first = NULL
        cdef Fit *f
        for i in range(self.count):
            f = self.each[i]
            if f.run.status > INTERRUPTED:
                first = f if first == NULL or f.run.number < first.run.number else first
        return 0 if first == NULL else raise_status(first)


cdef size_t fits_layout(Fits fits, int capacity):
    """Lay everything out; while there is no memory only count the bytes."""
    cdef size_t at = 0
    cdef char *memory = <char *>fits.memory
    fits.each = <Fit **>take(memory, &at, capacity * sizeof(void *))
    fits.problems = <Problem *>take(memory, &at, capacity * sizeof(Problem))
    fits.codes = <Codes **>take(memory, &at, capacity * sizeof(void *))
    return at


class EmptyCluster(Exception):
    """A cluster is empty under the policy "error"; args: the cluster and the iteration."""


cdef int raise_status(const Fit *f) except -1:
    if f.run.status == OUT_OF_RANGE:
        check_range(f.rows, f.run.max_abs_bits)
    if f.run.status == EMPTY_CLUSTER:
        raise EmptyCluster(f.empty.first_empty, f.run.n_iter)
    if f.run.status == NO_MEMORY:
        raise MemoryError
    return 0


# ---- the result ------------------------------------------------------------------------------

cdef object path_list(const Fit *f, const Restart *r):
    cdef size_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    return [centroids_array(f, r.path + i * size, r.path_K[i]) for i in range(r.n_iter + 1)]


cdef object labels_array(Fit *f, Restart *r):
    """The labels of the rows, from those of the engine that found them."""
    labels = np.empty(f.rows.m, np.int32)
    cdef int32_t[::1] view = labels
    with nogil:
        store_row_labels(f.engine, r.labels, f.rows.m, &view[0])
    return labels


cdef int sum_rows(Fit *f, const EngineFactory *factory, const Problem *problem, int32_t *labels, double *square,
                  Poll *p) noexcept nogil:
    """Find the sum of the squared distances to the best restart's centroids row by row. Nonzero: no memory."""
    cdef Step s = f.step
    # The engine's own labels were taken, and another one needs memory, too.
    if f.factory != factory or f.problem.n_threads != problem.n_threads or f.engine_K != f.best.K:
        f.engine.close(f.engine)
        f.engine = factory.open(problem, f.best.K)
        f.engine_K = f.best.K
        if f.engine == NULL:
            return 1
    f.run = f.best
    widen_centroids(f)
    s.K, s.centroids, s.labels, s.sums.counts = f.best.K, f.best.centroids, labels, f.best.counts
    s.assign = False
    s.sum = f.rows.unit
    s.measure = True
    f.engine.step(f.engine, &s, p)
    square[0] = square_of(f.rows, &s)
    return 0


cdef int complete_distortion(Fit *f, dict result, const Problem *problem, CallContext call) except -1:
    """Give the distortion all digits, where it was made from sums of cells or of moves. What was found like that
    before must not lie below it."""
    cdef int32_t[::1] labels = result["labels"]
    cdef const EngineFactory *factory = row_sums_factory(f.rows)
    cdef double square = 0
    cdef bint failed
    with nogil:
        failed = sum_rows(f, factory, problem, &labels[0], &square, &call.poll)
    call.check()
    if failed:
        raise MemoryError
    distortion = result["distortion"] = mean_loss(f.rows, square)
    for name, own in (("history", -1), ("distortions", result["distortions"].argmin())):
        result[name] = np.maximum(result[name], distortion)
        result[name][own] = distortion
    return 0


cdef dict result_of(Fit *f, Restart *r):
    return {
        "centroids": centroids_array(f, r.centroids, r.K),
        "labels": labels_array(f, r),
        "counts": array_of(r.counts, r.K * sizeof(int64_t), np.int64, r.K),
        "distortion": r.distortion,
        "history": array_of(r.history, (r.n_iter + 1) * sizeof(double), np.float64, r.n_iter + 1),
        "n_iter": r.n_iter,
        "stop_reason": STOP_REASONS[r.status],
        "path": path_list(f, r) if f.options.keep_path else None,
        "algorithm": f.engine.name.decode(),
    }


cdef dict stats_of(Fits fits, PreparedPoints points):
    """What all restarts cost."""
    cdef double computed = 0, pairs = 0
    cdef int64_t bytes_ = points.bytes
    cdef int i
    for i in range(fits.count):
        computed += fits.each[i].stats.n_distances
        pairs += fits.each[i].stats.n_pairs
        bytes_ += fits.each[i].stats.bytes + fits.each[i].engine.bytes
        if fits.codes[i] != NULL:
            bytes_ += fits.codes[i].bytes
    return {"distances_computed": int(computed), "distances_avoided": int(pairs - computed), "bytes": bytes_}


# ---- the fit ---------------------------------------------------------------------------------

cdef Options options_of(options, starts):
    """The options of a fit (see ckmeans/_fit_options.py), but for what points into arrays."""
    cdef Options o
    memset(&o, 0, sizeof(o))
    o.K, o.n_init, o.max_iter, o.trials = options.K, options.n_init, options.max_iter, options.trials
    o.tol, o.seed = options.tol, options.seed
    o.reports_steps = o.n_init == 1
    o.shift_tol = -1 if options.shift_tol is None else options.shift_tol
    o.should_stop = stop_by_shift if o.shift_tol >= 0 else stop_by_distortion
    o.settle = options.settle
    o.max_swaps = MAX_COUNT if options.max_swaps is None else options.max_swaps
    o.empty = EMPTY_POLICIES[options.empty]
    o.next_start = <PyObject *>starts if callable(starts) else NULL
    o.callback = NULL if options.callback is None else <PyObject *>options.callback
    cdef const uint8_t[::1] frozen = options.frozen  # the options keep it
    o.frozen = NULL if frozen is None else &frozen[0]
    return o


cdef int run_fits(Fits fits, Options *o, double *distortions, bint keep_path, CallContext call) except -1:
    """Run all restarts, in order on one fit or shared out over several."""
    o.keep_path = keep_path and fits.count == 1
    if fits.count == 1:
        with nogil:
            fits.n_done = run_in_order(fits.each[0], distortions, &call.poll)
    else:
        run_shared(fits.each, fits.count, distortions, &call.poll)
        fits.n_done = o.n_init
    call.check()
    fits.raise_first_error()
    return 0


cdef int run_again(Fit *f, Options *o, CallContext call) except -1:
    """Run the best restart once more, to keep its path: restarts on several threads keep none."""
    o.keep_path = True
    with nogil:
        run_restart(f, f.best.number, &call.poll)
    call.check()
    raise_status(f)
    f.best = f.run
    return 0


def fit(PreparedPoints points, EngineEntry engine, starts, options, on_progress):
    """Run all restarts; the best one as a dict, with every restart's distortion.

    `starts`: (n_init, K, n) starts, C-contiguous, of the computing dtype, or (1, < K, n), which k-means++ completes; or
    `starts(restart)` gives one; None: drawn as the options say.
    `options`: a FitOptions. `on_progress(done)` is called now and then.
    """
    cdef Options o = options_of(options, starts)
    cdef Rows *rows = &points.rows
    cdef Problem problem, shared
    cdef CallContext call = CallContext(on_progress)
    cdef bint given = isinstance(starts, np.ndarray)
    cdef const char[::1] given_bytes = starts.reshape(-1).view(np.int8) if given else None
    o.starts = <const char *>&given_bytes[0] if given else NULL
    o.n_given = starts.shape[1] if given and starts.shape[1] < o.K else 0
    distortions_array = np.empty(o.n_init)
    cdef double[::1] distortions = distortions_array
    o.swap_factory = NULL if options.search is None else row_sums_factory(rows)
    points.bring_to_unit_length(options.n_threads, call)
    problem = Problem(rows, NULL, options.n_threads, o.K, o.n_init, o.max_iter, False, NULL)
    problem.same_sums = may_share(&problem, &o)
    cdef const EngineFactory *factory = chosen_factory(engine.factory, &problem)
    problem.index = points.index(factory.build_index, problem.n_threads, call)
    cdef const Rows *seeds = points.seeding_points(o.trials, factory.build_index != NULL, problem.n_threads, call)
    cdef int count = restart_threads(&problem, &o)
    cdef Fits fits = Fits(count)
    shared = problem
    if count > 1:
        shared.n_threads = 1
    for _ in range(count):
        fits.open(&shared, factory, &o, seeds)
    run_fits(fits, &o, &distortions[0], options.keep_path, call)
    cdef Fit *f = fits.best()
    if options.keep_path and count > 1:
        run_again(f, &o, call)
    result = result_of(f, f.best)
    result |= {"distortions": distortions_array[:fits.n_done], "stats": stats_of(fits, points)}
    if f.best.incremental:
        complete_distortion(f, result, &problem, call)
    return result
