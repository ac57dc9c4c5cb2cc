"""The only loop: assign, look whether to stop, update; over the iterations and the restarts.

It knows no engine, only the contract of a step. Many restarts of a small problem are shared out
over the threads, one restart each at a time; else a step shares out its rows.
"""
from cpython.buffer cimport PyBUF_ANY_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cython.parallel cimport parallel
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._boxes cimport boxes_prepare
from ckmeans._cells cimport cells_open
from ckmeans._dense cimport dense_open
from ckmeans._engine cimport Engine, Kind, Prepared, Step
from ckmeans._points cimport Rows, out_of_range, reach_row
from ckmeans._random cimport Stream, next_below, next_unit, stream_of
from ckmeans._runtime cimport (
    Poll, Watch, allocate, let_others_in, poll, processor, release, step_aside, take_next, team_size, thread_num,
    threads_for, wait_a_little, wide_stride,
)
from ckmeans._screen cimport screen_open, watchful_open
from ckmeans._seed cimport (
    Seeding, draw_row, plus_plus, random_examples, seeding_close, seeding_open,
)
from ckmeans._sparse cimport sparse_open, squared_norms
from ckmeans._store cimport Store

import numpy as np

from ckmeans._points import OutOfRange

cdef enum Empty:
    DROP, REINIT, FARTHEST, ERROR

# Why a restart ended. The first four are answers, the others are not.
cdef enum Ending:
    STABLE, TOLERANCE, MAX_ITER, CALLBACK, INTERRUPTED, OUT_OF_RANGE, EMPTY_CLUSTER, NO_MEMORY, GOES_ON

STOP_REASONS = ("stable", "tolerance", "max_iter", "callback")
EMPTY_POLICIES = {"drop": DROP, "reinit": REINIT, "farthest": FARTHEST, "error": ERROR}

# The engines by number, in the order of their names.
ALGORITHMS = ("dense", "cells", "screen", "sparse")
cdef Kind KINDS[5]
KINDS[0] = Kind(NULL, dense_open)
KINDS[1] = Kind(boxes_prepare, cells_open)
KINDS[2] = Kind(NULL, screen_open)
KINDS[3] = Kind(NULL, sparse_open)
KINDS[4] = Kind(NULL, watchful_open)

cdef int64_t SCAN_ROWS = 512           # rows between two looks at signals
cdef int64_t SHARED_WORK = 1 << 31     # multiply-adds of a step up to which restarts are shared out
cdef double SETTLING = 0.05            # part of the labels that change, from which the dense engine hands over
cdef double SMALL_GAIN = 1e-9           # of the distortion: far above what carried sums lose
cdef int WAKEFUL_LOOKS = 10_000         # of a thread that waits for the others, before it takes naps
cdef size_t SHARED_BYTES = 256 << 20   # memory that shared restarts may take
cdef int64_t STEPS_EACH = 12          # that a restart takes, or more
cdef int64_t ROW_WORK = 8             # multiply-adds of a value that take as long as what else is done with it


# ---- what a fit holds ------------------------------------------------------------------------

cdef struct Options:
    int64_t K
    int64_t n_init
    int64_t max_iter
    double tol               # stop where J falls by at most tol * J; not looked at with tol_shift
    double relax             # centroids go so many times as far as to the mean: fewer updates above 1
    double noise             # they are disturbed by at first so many times the root of J,
    int64_t cooling          # less and less over so many updates, during which nothing ends the restart
    double largest           # how far from 0 they may go
    double tol_shift         # scikit-learn's way, stop where squared moves add up to at most this; < 0: no
    int empty
    int64_t trials           # k-means++; 0: random examples
    uint64_t seed
    bint late                # the dense engine may hand over to screening, where few labels change
    bint shareable           # with enough threads restarts are shared out: all engines are to add up alike
    const char *given        # (n_init, K, n) the starts of all restarts,
    PyObject *start          # or called for each one's, in order; both NULL: drawn
    char *ends               # (n_init, K, n) where each restart ended; NULL: not kept
    PyObject *callback       # None, or called after each assignment

# What a restart came to.
cdef struct Run:
    int64_t restart
    int64_t K
    int64_t n_iter
    int ending
    double distortion
    bint rough               # it is right to rounding only: not summed up point by point
    char *centroids          # (K, n) of the computing dtype
    int32_t *labels          # the engine's own
    int64_t *counts          # (K,)
    double *history          # n_iter + 1 distortions
    int64_t history_room
    char *path               # n_iter + 1 times (K, n), with the K of each; NULL: not kept
    int64_t *path_K
    int64_t path_room

# One thread's working state.
cdef struct Fit:
    const Rows *rows
    const Options *options
    const Kind *kind
    const Kind *first        # with which a restart begins
    Prepared *prepared       # shared by all fits
    Engine *engine
    int64_t engine_K         # the number of centroids it was opened for
    double relax             # with which the centroids moved last
    bint exactly             # so little is gained that every digit of the distortion counts
    int n_threads
    Seeding *seeding
    Step step
    Stream random
    Run *run                 # the restart at work
    Run *best                # the best one before it; restart -1: none
    Run runs[2]
    char *before             # centroids before the last update
    int64_t K_before
    double *wide
    int32_t *row_labels      # (m,) in the order of rows, where an update asks for them; NULL: not yet
    double computed          # distances, over all steps
    double pairs             # and how many the dense engine computes
    int32_t *renumber        # (K,) new index of each centroid, -1: dropped
    int64_t *farthest        # (K,) rows for the empty clusters
    double *farthest_squared
    double *norms            # (K,) squared norms of the centroids, where the rows are sparse
    uint64_t most
    int64_t emptied          # the empty cluster that ended the fit


cdef size_t fit_layout(Fit *f, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef int64_t K = f.options.K, n = f.rows.n, stride = wide_stride(n)
    cdef size_t item = f.rows.kernels.itemsize, at = (sizeof(Fit) + 63) // 64 * 64
    cdef int i
    for i in range(2):
        f.runs[i].centroids = <char *>take(memory, &at, K * n * item)
        f.runs[i].counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        f.runs[i].labels = <int32_t *>take(memory, &at, f.engine.room * sizeof(int32_t))
    f.before = <char *>take(memory, &at, K * n * item)
    f.wide = <double *>take(memory, &at, K * stride * sizeof(double))
    f.step.offsets = <double *>take(memory, &at, K * stride * sizeof(double))
    f.step.weights = <double *>take(memory, &at, K * sizeof(double))
    f.renumber = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    f.farthest = <int64_t *>take(memory, &at, K * sizeof(int64_t))
    f.farthest_squared = <double *>take(memory, &at, K * sizeof(double))
    f.norms = <double *>take(memory, &at, K * sizeof(double))
    return at


cdef Fit *fit_open(const Rows *rows, const Rows *seeds, const Options *options, const Kind *kind,
                   Prepared *prepared, int n_threads) noexcept nogil:
    """NULL where there is no memory. `seeds`: the points to draw starts from."""
    cdef Fit draft
    memset(&draft, 0, sizeof(draft))
    draft.rows = rows
    draft.options = options
    draft.kind = draft.first = kind
    draft.prepared = prepared
    draft.n_threads = n_threads
    if open_engine(&draft, options.K):
        return NULL
    cdef char *memory = <char *>allocate(fit_layout(&draft, NULL))
    if memory == NULL:
        draft.engine.close(draft.engine)
        return NULL
    fit_layout(&draft, memory)
    draft.runs[0].restart = draft.runs[1].restart = -1
    memcpy(memory, &draft, sizeof(Fit))
    cdef Fit *f = <Fit *>memory
    f.run = &f.runs[0]
    f.best = &f.runs[1]
    f.step.score = f.step.sum = True
    f.step.wide = f.wide
    f.seeding = seeding_open(seeds, options.K, options.trials, n_threads)
    if f.seeding == NULL:
        fit_close(f)
        return NULL
    return f


cdef int open_engine(Fit *f, int64_t K) noexcept nogil:
    """An engine for K centroids: how it adds up depends on K. Nonzero: no memory."""
    if f.engine != NULL:
        f.engine.close(f.engine)
    f.engine = f.kind.open(f.rows, f.prepared, K, f.n_threads)
    f.engine_K = K
    return f.engine == NULL


cdef void fit_close(Fit *f) noexcept nogil:
    cdef int i
    if f.engine != NULL:
        f.engine.close(f.engine)
    seeding_close(f.seeding)
    for i in range(2):
        release(f.runs[i].history)
        release(f.runs[i].path)
        release(f.runs[i].path_K)
    release(f.row_labels)
    release(f)


# ---- what is remembered of a restart ---------------------------------------------------------

cdef int grow(void **memory, int64_t used, int64_t *room, size_t size) noexcept nogil:
    """Room for one more of `size` bytes; nonzero where there is no memory."""
    cdef int64_t wanted = max(64, 2 * used)
    cdef void *larger
    if used < room[0]:
        return 0
    larger = allocate(wanted * size)
    if larger == NULL:
        return 1
    if used:  # memcpy from NULL is undefined, of no bytes too
        memcpy(larger, memory[0], used * size)
    release(memory[0])
    memory[0] = larger
    room[0] = wanted
    return 0


cdef int record(Fit *f, bint keep_path) noexcept nogil:
    """Note the distortion (and the centroids) of the assignment that was just made."""
    cdef Run *r = f.run
    cdef size_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    cdef int64_t room = r.path_room
    if grow(<void **>&r.history, r.n_iter, &r.history_room, sizeof(double)):
        return 1
    r.history[r.n_iter] = r.distortion
    if keep_path:
        if grow(<void **>&r.path, r.n_iter, &room, size):
            return 1
        if grow(<void **>&r.path_K, r.n_iter, &r.path_room, sizeof(int64_t)):
            return 1
        memcpy(r.path + r.n_iter * size, r.centroids, r.K * f.rows.n * f.rows.kernels.itemsize)
        r.path_K[r.n_iter] = r.K
    return 0


# ---- the assignment --------------------------------------------------------------------------

cdef void widen(Fit *f) noexcept nogil:
    """The float64 copy of the centroids."""
    cdef int64_t n = f.rows.n, stride = wide_stride(n), k, l
    cdef bint single = f.rows.kernels.itemsize == 4
    for k in range(f.run.K):
        for l in range(n):
            if single:
                f.wide[k * stride + l] = (<float *>f.run.centroids)[k * n + l]
            else:
                f.wide[k * stride + l] = (<double *>f.run.centroids)[k * n + l]
        for l in range(n, stride):
            f.wide[k * stride + l] = 0


cdef bint settling(const Fit *f) noexcept nogil:
    """Whether so few labels change that what is known of them may save most of the steps to come."""
    return (f.options.late and f.kind == &KINDS[0] and f.step.changed <= SETTLING * f.rows.m
            and f.run.n_iter + 4 <= f.options.max_iter)


cdef int assign(Fit *f, Poll *p) noexcept nogil:
    """Labels, sums and the distortion for the present centroids; else an ending is returned."""
    if f.engine_K < f.run.K or (f.engine_K != f.run.K and not f.engine.any_K):
        if open_engine(f, f.run.K):
            return NO_MEMORY
    widen(f)
    f.step.K = f.run.K
    f.step.centroids = f.run.centroids
    f.step.labels = f.run.labels
    f.step.before = NULL if f.step.fresh or f.run.K != f.K_before else f.before
    f.step.counts = f.run.counts
    f.step.exact = f.exactly or f.options.shareable or f.run.n_iter + 1 >= f.options.max_iter
    if f.engine.step(f.engine, &f.step, p):
        return INTERRUPTED if p.stopped else NO_MEMORY
    if f.step.fresh:
        f.step.changed = f.rows.m  # whatever lay there before
    f.step.fresh = False
    f.run.distortion = f.step.square / f.rows.total_weight
    f.run.rough = f.step.rough
    f.computed += f.step.computed
    f.pairs += <double>f.rows.m * f.run.K
    return GOES_ON


cdef int64_t first_empty(const Fit *f) noexcept nogil:
    cdef int64_t k
    for k in range(f.run.K):
        if f.step.weights[k] == 0:
            return k
    return -1


# ---- the update ------------------------------------------------------------------------------

cdef void move_to_means(Fit *f) noexcept nogil:
    """Every centroid with points to their mean, rounded to the dtype in which it is returned."""
    cdef int64_t n = f.rows.n, stride = wide_stride(n), k, l
    cdef bint single = f.rows.kernels.itemsize == 4
    cdef double mean
    for k in range(f.run.K):
        if f.step.weights[k] == 0:
            continue
        for l in range(n):
            mean = f.step.offsets[k * stride + l] / f.step.weights[k]
            if not f.step.about_zero:
                mean = f.wide[k * stride + l] + mean
            if single:
                (<float *>f.run.centroids)[k * n + l] = <float>mean
            else:
                (<double *>f.run.centroids)[k * n + l] = mean


cdef void move_beyond(Fit *f) noexcept nogil:
    """From the means on in the same direction, and while it is hot to somewhere about there.

    Up to twice the way to the mean J falls, too, even if no label changes. Where none changed, the
    centroids are to come to rest at the means."""
    cdef int64_t i, values = f.run.K * f.rows.n
    cdef bint single = f.rows.kernels.itemsize == 4
    cdef double spread = 0, before, mean, value
    f.relax = f.options.relax if f.step.changed or f.run.n_iter == 0 else 1
    if f.run.n_iter < f.options.cooling:
        spread = f.options.noise * (1 - <double>f.run.n_iter / f.options.cooling)
        spread *= sqrt(12 * f.run.distortion / f.rows.n)
    if f.relax == 1 and spread == 0:
        return
    for i in range(values):
        if f.step.weights[i // f.rows.n] == 0:
            continue
        before = <double>(<float *>f.before)[i] if single else (<double *>f.before)[i]
        mean = <double>(<float *>f.run.centroids)[i] if single else (<double *>f.run.centroids)[i]
        value = before + f.relax * (mean - before) + spread * (next_unit(&f.random) - 0.5)
        if fabs(value) > f.options.largest:
            continue
        if single:
            (<float *>f.run.centroids)[i] = <float>value
        else:
            (<double *>f.run.centroids)[i] = value


cdef void drop_empty(Fit *f) noexcept nogil:
    """Remove the centroids without points; the others keep their order."""
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, k, kept = 0, i, K = f.run.K
    for k in range(K):
        f.renumber[k] = -1
        if f.step.weights[k] != 0:
            memmove(f.run.centroids + kept * size, f.run.centroids + k * size, size)
            f.renumber[k] = <int32_t>kept
            kept += 1
    f.run.K = kept
    for i in range(f.engine.room):
        # Engines leave what they do not use as they find it.
        if 0 <= f.run.labels[i] < K:
            f.run.labels[i] = f.renumber[f.run.labels[i]]


cdef double squared_to_own(const Fit *f, int64_t row, void *values, Poll *p) noexcept nogil:
    """The squared distance of a row to its centroid; `values` holds n + 8 values."""
    cdef double squared
    cdef int64_t k = f.row_labels[row]
    if f.rows.source.indptr != NULL:
        return f.rows.kernels.sparse.squared_distance(
            &f.rows.source, row, f.wide + k * wide_stride(f.rows.n), f.norms[k])
    reach_row(f.rows, row, values, p)
    f.rows.kernels.distances(values, f.rows.n, 1, f.rows.n, f.row_labels + row, f.wide, &squared)
    return squared


cdef bint may_move_to(const Fit *f, int64_t row, void *values, Poll *p) noexcept nogil:
    return (f.rows.weights == NULL or f.rows.weights[row] > 0) and squared_to_own(f, row, values, p) > 0


cdef int64_t random_row_away(Fit *f, void *values, Poll *p) noexcept nogil:
    """A random row that is not on its centroid, -1 where there is none."""
    cdef int64_t row, i, _
    for _ in range(64):
        row = draw_row(f.rows, &f.random)
        if may_move_to(f, row, values, p):
            return row
    row = next_below(&f.random, f.rows.m)
    for i in range(f.rows.m):
        if may_move_to(f, row, values, p):
            return row
        if i % SCAN_ROWS == 0 and poll(p):
            return -1
        row = row + 1 if row + 1 < f.rows.m else 0
    return -1


cdef void note_far(Fit *f, int64_t row, double squared, int64_t *found, int64_t wanted) noexcept nogil:
    """Insert a row into the farthest ones; of equally far ones the first come first."""
    cdef int64_t j = found[0]
    if j == wanted:
        if squared <= f.farthest_squared[j - 1]:
            return
        j -= 1
    else:
        found[0] += 1
    while j > 0 and f.farthest_squared[j - 1] < squared:
        f.farthest_squared[j] = f.farthest_squared[j - 1]
        f.farthest[j] = f.farthest[j - 1]
        j -= 1
    f.farthest_squared[j] = squared
    f.farthest[j] = row


cdef int64_t farthest_rows(Fit *f, int64_t wanted, void *values, Poll *p) noexcept nogil:
    """The rows farthest from their centroids into f.farthest; returns how many there are."""
    cdef int64_t row, found = 0
    cdef double squared
    for row in range(f.rows.m):
        if row % SCAN_ROWS == 0 and poll(p):
            break
        if f.rows.weights != NULL and f.rows.weights[row] == 0:
            continue
        squared = squared_to_own(f, row, values, p)
        if squared > 0:
            note_far(f, row, squared, &found, wanted)
    return found


cdef void take_out(Fit *f, int64_t row, const char *values) noexcept nogil:
    """The mean of its cluster goes on without this row, unless only rounding would be left of it."""
    cdef int64_t n = f.rows.n, start = f.row_labels[row] * wide_stride(n), l
    cdef double *total = &f.step.weights[f.row_labels[row]]
    cdef double weight = 1 if f.rows.weights == NULL else f.rows.weights[row], value
    if total[0] - weight <= 1e-9 * total[0]:
        return
    total[0] -= weight
    for l in range(n):
        value = (<float *>values)[l] if f.rows.kernels.itemsize == 4 else (<double *>values)[l]
        f.step.offsets[start + l] -= weight * (value if f.step.about_zero else value - f.wide[start + l])


cdef int refill_empty(Fit *f, Poll *p) noexcept nogil:
    """Put the empty clusters on points, away from where the points' centroids are before those move
    to their means: in scikit-learn's way without the farthest points that are taken."""
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, k, row, taken = 0, found = 0, empty = 0
    cdef void *values
    if f.row_labels == NULL:
        f.row_labels = <int32_t *>allocate(f.rows.m * sizeof(int32_t))
    values = allocate(size + 64)
    if values == NULL or f.row_labels == NULL:
        release(values)
        return 1
    f.engine.finish(f.engine, f.run.labels, f.row_labels)
    if f.rows.source.indptr != NULL:
        for k in range(f.run.K):
            squared_norms(f.wide, f.rows.n, k, 1, f.norms)
    if f.options.empty == FARTHEST:
        for k in range(f.run.K):
            empty += f.step.weights[k] == 0
        found = farthest_rows(f, empty, values, p)
    for k in range(f.run.K):
        if f.step.weights[k] != 0:
            continue
        if f.options.empty == REINIT:
            row = random_row_away(f, values, p)
        else:
            row = f.farthest[taken] if taken < found else -1
            taken += 1
        if row >= 0:
            reach_row(f.rows, row, f.run.centroids + k * size, p)
        if row >= 0 and f.options.empty == FARTHEST and f.options.tol_shift >= 0:
            take_out(f, row, f.run.centroids + k * size)
    release(values)
    return 0


cdef int update(Fit *f, Poll *p) noexcept nogil:
    f.K_before = f.run.K
    memcpy(f.before, f.run.centroids, f.run.K * f.rows.n * f.rows.kernels.itemsize)
    cdef bint empty = first_empty(f) >= 0
    if empty and f.options.empty != DROP and refill_empty(f, p):
        return 1
    move_to_means(f)
    move_beyond(f)
    if empty and f.options.empty == DROP:
        drop_empty(f)
    return 0


# ---- one restart -----------------------------------------------------------------------------

cdef int call_start(Fit *f, Poll *p) noexcept with gil:
    """Take the start of this restart from Python."""
    cdef Py_buffer view
    watch = <Watch>p.watch
    try:
        PyObject_GetBuffer((<object>f.options.start)(f.run.restart), &view, PyBUF_ANY_CONTIGUOUS)
        memcpy(f.run.centroids, view.buf, view.len)
        PyBuffer_Release(&view)
    except BaseException as error:
        watch.error = error
        p.stopped = 1
    return p.stopped


cdef bint call_back(Fit *f, Poll *p) noexcept with gil:
    """Whether the callback wants to stop (an exception does)."""
    watch = <Watch>p.watch
    cdef bint stop = False
    try:
        said = (<object>f.options.callback)(
            f.run.n_iter, f.run.distortion, centroids_of(f, f.run.centroids, f.run.K))
        stop = type(said) in (bool, np.bool_) and said
    except BaseException as error:
        watch.error = error
        p.stopped = 1
    return stop


cdef int begin(Fit *f, int64_t restart, Poll *p) noexcept nogil:
    """Seed a restart."""
    cdef int64_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    cdef uint64_t most = 0
    f.run.restart = restart
    f.run.K = f.options.K
    f.run.n_iter = 0
    f.step.fresh = True
    f.exactly = False
    if f.first == &KINDS[0] and f.kind != f.first:
        f.kind = f.first
        if open_engine(f, f.options.K):
            return NO_MEMORY
    f.random = stream_of(f.options.seed, restart)
    if f.options.given != NULL:
        memcpy(f.run.centroids, f.options.given + restart * size, size)
    elif f.options.start != NULL:
        call_start(f, p)
    elif f.options.trials == 0:
        most = random_examples(f.seeding, &f.random, f.run.centroids, p)
    else:
        most = plus_plus(f.seeding, &f.random, f.run.centroids, p)
    f.most = most
    if p.stopped:
        return INTERRUPTED
    return OUT_OF_RANGE if out_of_range(f.rows, most) else GOES_ON


cdef double squared_shift(const Fit *f) noexcept nogil:
    """The sum of the squared moves of the centroids in the last update."""
    cdef int64_t i, values = f.run.K * f.rows.n
    cdef double total = 0, move
    if f.run.K != f.K_before:
        return INFINITY
    for i in range(values):
        if f.rows.kernels.itemsize == 4:
            move = <double>(<float *>f.run.centroids)[i] - (<float *>f.before)[i]
        else:
            move = (<double *>f.run.centroids)[i] - (<double *>f.before)[i]
        total += move * move
    return total


cdef int judge(Fit *f, double distortion_before, Poll *p) noexcept nogil:
    """Whether the restart ends after the assignment that was just made."""
    if f.options.callback != NULL:
        if call_back(f, p):
            return CALLBACK
        if p.stopped:
            return INTERRUPTED
    if f.run.n_iter > f.options.cooling:
        if f.options.tol_shift >= 0 and squared_shift(f) <= f.options.tol_shift:
            return TOLERANCE
        if f.step.changed == 0 and f.relax == 1:
            return STABLE
        if f.options.tol_shift < 0 and distortion_before - f.run.distortion <= f.options.tol * distortion_before:
            return TOLERANCE
    return MAX_ITER if f.run.n_iter == f.options.max_iter else GOES_ON


cdef int assign_and_check(Fit *f, Poll *p) noexcept nogil:
    cdef int ending = assign(f, p)
    if ending != GOES_ON or f.options.empty != ERROR:
        return ending
    f.emptied = first_empty(f)
    return EMPTY_CLUSTER if f.emptied >= 0 else GOES_ON


cdef int step_back(Fit *f, Poll *p) noexcept nogil:
    """Rounding raised the distortion: return to the state before the last update."""
    cdef int ending = STABLE if f.step.changed == 0 else TOLERANCE, failure
    f.run.K = f.K_before
    memcpy(f.run.centroids, f.before, f.run.K * f.rows.n * f.rows.kernels.itemsize)
    failure = assign(f, p)
    if failure != GOES_ON:
        return failure
    f.run.history[f.run.n_iter] = f.run.distortion
    return ending


cdef int step_forward(Fit *f, double distortion_before, Poll *p) noexcept nogil:
    """The assignment after an update; where it hardly changes a rough distortion, that is made exact."""
    cdef int64_t changed
    cdef int ending
    if settling(f):
        f.kind = &KINDS[4]
        if open_engine(f, f.options.K):
            return NO_MEMORY
    ending = assign_and_check(f, p)
    if ending != GOES_ON or not f.run.rough or f.engine.always_rough or f.exactly:
        return ending
    if distortion_before - f.run.distortion < SMALL_GAIN * distortion_before:
        f.exactly = True
        changed = f.step.changed
        ending = assign_and_check(f, p)
        f.step.changed = changed
    return ending


cdef int iterate(Fit *f, bint keep_path, Poll *p) noexcept nogil:
    cdef double distortion_before = INFINITY
    cdef int ending = assign_and_check(f, p)
    f.most = f.step.most
    if ending == GOES_ON and out_of_range(f.rows, f.most):
        ending = OUT_OF_RANGE
    while ending == GOES_ON:
        if record(f, keep_path):
            return NO_MEMORY
        ending = judge(f, distortion_before, p)
        if ending != GOES_ON:
            break
        distortion_before = f.run.distortion
        if update(f, p):
            return NO_MEMORY
        ending = INTERRUPTED if p.stopped else step_forward(f, distortion_before, p)
        if ending == GOES_ON and f.run.distortion > distortion_before and f.run.n_iter >= f.options.cooling:
            return step_back(f, p)
        f.run.n_iter += 1
        if f.options.n_init == 1:
            p.done = f.run.n_iter
    return ending


cdef int drop_at_the_end(Fit *f, bint keep_path, Poll *p) noexcept nogil:
    """Leave no empty cluster, and the state exactly as the last assignment makes it."""
    cdef int ending = f.run.ending, failure
    while ending <= CALLBACK and first_empty(f) >= 0:
        drop_empty(f)
        failure = assign(f, p)
        if failure == GOES_ON and record(f, keep_path):
            failure = NO_MEMORY
        if failure != GOES_ON:
            ending = failure
    return ending


cdef void run_restart(Fit *f, int64_t restart, bint keep_path, Poll *p) noexcept nogil:
    f.run.ending = begin(f, restart, p)
    if f.run.ending == GOES_ON:
        f.run.ending = iterate(f, keep_path, p)
    if f.options.empty == DROP:
        f.run.ending = drop_at_the_end(f, keep_path, p)


# ---- all restarts ----------------------------------------------------------------------------

cdef void run_and_keep_best(Fit *f, int64_t restart, bint keep_path, double *distortions, Poll *p) noexcept nogil:
    """After this, f.best holds the best restart so far, unless f.run.ending is no answer."""
    cdef Run *run
    cdef int64_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    run_restart(f, restart, keep_path, p)
    if f.run.ending > CALLBACK:
        p.stopped = 1
        return
    distortions[restart] = f.run.distortion
    if f.options.ends != NULL:
        memcpy(f.options.ends + restart * size, f.run.centroids, size)
    if f.best.restart < 0 or f.run.distortion < f.best.distortion:
        run = f.best
        f.best = f.run
        f.run = run


cdef int sharing_threads(const Rows *rows, const Options *o, int n_threads) noexcept nogil:
    """On how many threads to run whole restarts; 1: one after another, a step on all threads."""
    cdef double work = rows.stored * o.K
    cdef size_t bytes_each = rows.m * 24 + 8 * o.K * (rows.n + 8) * 24
    if o.n_init < n_threads or o.start != NULL or o.callback != NULL or rows.feed != NULL:
        return 1
    if work > SHARED_WORK or bytes_each * n_threads > SHARED_BYTES:
        return 1
    work += rows.stored * ROW_WORK
    return threads_for(n_threads, work * <double>o.n_init * max(STEPS_EACH, o.cooling))


cdef class Fits:
    """The threads' fits, while they are in use."""
    cdef Fit *each[1024]
    cdef int count
    cdef int64_t done            # restarts that have come to an answer

    def __cinit__(self):
        self.count = 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            fit_close(self.each[i])


cdef int64_t run_in_order(Fit *f, int64_t n_init, bint keep_path, double *distortions, Poll *p) noexcept nogil:
    """Returns how many restarts were run: a callback that wants to stop ends them all."""
    cdef int64_t restart
    cdef Run *last
    for restart in range(n_init):
        last = f.run
        run_and_keep_best(f, restart, keep_path, distortions, p)
        if p.stopped:
            break
        if last.ending == CALLBACK:
            f.best.ending = CALLBACK
            return restart + 1
        if n_init > 1:
            p.done = restart + 1
    return n_init


# Restarts that wait for a thread.
cdef struct Line:
    int64_t next
    int64_t done
    int64_t n_init
    int64_t at_work          # threads that have come,
    int64_t at_rest          # and those that found no more to do
    int processor            # of the first thread
    double *distortions


cdef void run_shared(Fits fits, int64_t n_init, double *distortions, Poll *p) noexcept:
    """Restart r on any thread: its numbers come from stream r, and of equals the first wins."""
    cdef Fit **each = fits.each
    cdef int count = fits.count
    cdef Line line
    line.next = line.done = line.at_work = line.at_rest = 0
    line.n_init, line.processor, line.distortions = n_init, processor(), distortions
    with nogil, parallel(num_threads=count):
        run_team(each, min(count, team_size()), &line, p)


cdef void run_team(Fit **each, int team, Line *line, Poll *p) noexcept nogil:
    """What one thread does: the restarts that no other one took."""
    cdef int i = thread_num(), looks = 0
    cdef int64_t restart
    take_next(&line.at_work)
    if i > 0:
        step_aside(line.processor)
    elif line.at_work < team:  # one may wait for this processor
        let_others_in()
    restart = take_next(&line.next)
    while restart < line.n_init and not poll(p):
        run_and_keep_best(each[i], restart, False, line.distortions, p)
        take_next(&line.done)
        if i == 0:
            p.done = line.done
            if line.at_work < team:
                let_others_in()
        restart = take_next(&line.next)
    take_next(&line.at_rest)
    # Only the first thread can look at signals, so it stays until the others are through.
    while i == 0 and line.at_rest < team:
        looks += 1
        p.done = line.done
        if looks < WAKEFUL_LOOKS:
            let_others_in()
            poll(p)
        else:
            wait_a_little(p)


# ---- to Python -------------------------------------------------------------------------------

cdef object array_of(const void *values, size_t size, dtype, shape):
    """A new array with a copy of these bytes."""
    cdef Py_buffer view
    array = np.empty(shape, dtype)
    PyObject_GetBuffer(array, &view, PyBUF_WRITABLE)
    memcpy(view.buf, values, size)
    PyBuffer_Release(&view)
    return array


cdef object centroids_of(const Fit *f, const char *values, int64_t K):
    cdef size_t item = f.rows.kernels.itemsize
    dtype = np.float32 if item == 4 else np.float64
    return array_of(values, K * f.rows.n * item, dtype, (K, f.rows.n))


cdef object path_of(const Fit *f, const Run *r):
    cdef size_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    return [centroids_of(f, r.path + i * size, r.path_K[i]) for i in range(r.n_iter + 1)]


cdef object labels_of(Fit *f, Run *r):
    """The labels of the rows, by the engine that found them."""
    labels = np.empty(f.rows.m, np.int32)
    cdef int32_t[::1] view = labels
    with nogil:
        f.engine.finish(f.engine, r.labels, &view[0])
    return labels


cdef int assigned_square(Fit *f, Run *r, int32_t *labels, int n_threads, double *square, Poll *p) noexcept nogil:
    """The sum of squared distances to centroids that are assigned already, row by row, as the dense
    engine adds up. Nonzero: no memory."""
    cdef const Kind *kind = f.kind if f.kind == &KINDS[3] else &KINDS[0]
    cdef Engine *engine = kind.open(f.rows, NULL, r.K, n_threads)
    cdef Step s = f.step
    if engine == NULL:
        return 1
    f.run = r
    widen(f)
    s.K, s.centroids, s.labels, s.counts = r.K, r.centroids, labels, r.counts
    s.score = s.sum = False
    s.measure = True
    engine.step(engine, &s, p)
    engine.close(engine)
    square[0] = s.square
    return 0


cdef int add_up_rows(Fit *f, dict result, int n_threads, Watch watch) except -1:
    """Give the distortion the bits that adding row by row has: sums of whole boxes agree with it to
    rounding only, and those of moves. What was measured like that must not lie below it."""
    cdef int32_t[::1] labels = result["labels"]
    cdef double square = 0
    cdef bint failed
    with nogil:
        failed = assigned_square(f, f.best, &labels[0], n_threads, &square, &watch.poll)
    watch.check()
    if failed:
        raise MemoryError
    distortion = result["distortion"] = square / f.rows.total_weight
    for name, own in (("history", -1), ("distortions", result["distortions"].argmin())):
        result[name] = np.maximum(result[name], distortion)
        result[name][own] = distortion
    return 0


cdef object answer(Fit *f, Run *r, bint keep_path):
    return {
        "centroids": centroids_of(f, r.centroids, r.K),
        "labels": labels_of(f, r),
        "counts": array_of(r.counts, r.K * sizeof(int64_t), np.int64, r.K),
        "distortion": r.distortion,
        "history": array_of(r.history, (r.n_iter + 1) * sizeof(double), np.float64, r.n_iter + 1),
        "n_iter": r.n_iter,
        "stop_reason": STOP_REASONS[r.ending],
        "path": path_of(f, r) if keep_path else None,
    }


cdef object stats_of(Fits fits, Store points):
    """What all restarts cost."""
    cdef double computed = 0, pairs = 0
    cdef int64_t bytes_ = points.bytes
    cdef int i
    for i in range(fits.count):
        computed += fits.each[i].computed
        pairs += fits.each[i].pairs
        bytes_ += fits.each[i].engine.bytes
    return {"distances_computed": int(computed), "distances_avoided": int(pairs - computed), "bytes": bytes_}


cdef object best_of(Fits fits):
    """The thread whose best restart has the lowest distortion; of equals the first restart."""
    runs = [(fits.each[i].best.distortion, fits.each[i].best.restart, i) for i in range(fits.count)]
    return min(run for run in runs if run[1] >= 0)[2]


cdef int open_fits(Fits fits, int count, const Rows *rows, const Rows *seeds, const Options *options,
                   const Kind *kind, Prepared *prepared, int n_threads) except -1:
    cdef int i
    for i in range(count):
        fits.each[i] = fit_open(rows, seeds, options, kind, prepared, n_threads)
        if fits.each[i] == NULL:
            raise MemoryError
        fits.count += 1
    return 0


class EmptyCluster(Exception):
    """Under the policy "error"; args: the cluster and the iteration."""


cdef int raise_ending(const Fit *f) except -1:
    if f.run.ending == OUT_OF_RANGE:
        raise OutOfRange(f.most)
    if f.run.ending == EMPTY_CLUSTER:
        raise EmptyCluster(f.emptied, f.run.n_iter)
    if f.run.ending == NO_MEMORY:
        raise MemoryError
    return 0


cdef int raise_first(Fits fits) except -1:
    """What became of the earliest of the restarts that came to no answer, those that were dropped for it aside."""
    cdef int i
    cdef Fit *first = NULL
    for i in range(fits.count):
        if fits.each[i].run.ending > INTERRUPTED and (first == NULL or fits.each[i].run.restart < first.run.restart):
            first = fits.each[i]
    return 0 if first == NULL else raise_ending(first)


def fit(Store points, *, int algorithm, bint watchful, bint late, int64_t K, int64_t trials, given,
        start, int64_t n_init, int64_t max_iter, double tol, double tol_shift, double relax,
        double noise, int64_t cooling, int empty, uint64_t seed, int n_threads, callback, beat, bint keep_path,
        bint keep_ends):
    """All restarts; the best one as a dict, with every restart's distortion.

    `algorithm`: its place in ALGORITHMS; `watchful`: screening where it pays alone; `late`: the dense engine may
    hand over to that.
    `given`: (n_init, K, n) starts, C-contiguous, of the computing dtype; or `start(restart)` gives one; both
    None: seed with `trials` candidates a centre, 0 for random examples.
    `beat(done)` is called now and then. `keep_ends`: where every restart ended, too, as (n_init, K, n)
    centroids; none may be dropped.
    """
    cdef Options options
    options.K, options.n_init, options.max_iter, options.tol = K, n_init, max_iter, tol
    options.relax, options.noise, options.cooling, options.largest = relax, noise, cooling, points.largest
    options.trials, options.tol_shift, options.empty, options.seed = trials, tol_shift, empty, seed
    cdef const char[::1] given_bytes = None if given is None else given.reshape(-1).view(np.int8)
    options.given = NULL if given is None else <const char *>&given_bytes[0]
    options.start = NULL if start is None else <PyObject *>start
    options.callback = NULL if callback is None else <PyObject *>callback
    cdef Rows *rows = &points.rows
    cdef Watch watch = Watch(beat)
    cdef Fits fits = Fits()
    cdef int sharing = min(sharing_threads(rows, &options, n_threads), 1024)
    distortions_array = np.empty(n_init)
    cdef double[::1] distortions = distortions_array
    ends = np.empty((n_init if keep_ends else 0, K, rows.n), np.float32 if rows.kernels.itemsize == 4 else float)
    cdef char[::1] ends_bytes = ends.reshape(-1).view(np.int8)
    options.ends = &ends_bytes[0] if keep_ends else NULL
    cdef const Kind *kind = &KINDS[4 if watchful and algorithm == 2 else algorithm]
    options.shareable = n_init > 1 and <double>rows.stored * K <= SHARED_WORK
    options.late = late and not options.shareable
    cdef Prepared *prepared = points.prepared(kind.prepare, n_threads, watch)
    cdef const Rows *seeds = points.to_seed_from(trials, kind.prepare != NULL, n_threads, watch)
    open_fits(fits, sharing, rows, seeds, &options, kind, prepared, n_threads if sharing == 1 else 1)
    if sharing == 1:
        with nogil:
            fits.done = run_in_order(fits.each[0], n_init, keep_path, &distortions[0], &watch.poll)
    else:
        run_shared(fits, n_init, &distortions[0], &watch.poll)
        fits.done = n_init
    watch.check()
    raise_first(fits)
    cdef Fit *f = fits.each[best_of(fits)]
    if keep_path and sharing > 1:
        with nogil:
            run_restart(f, f.best.restart, True, &watch.poll)
        watch.check()
        raise_ending(f)
        f.best = f.run
    result = answer(f, f.best, keep_path)
    result |= {"distortions": distortions_array[:fits.done], "ends": ends, "stats": stats_of(fits, points)}
    if f.best.rough:
        add_up_rows(f, result, n_threads, watch)
    result["algorithm"] = "dense" if f.engine.plain else ALGORITHMS[2 if f.kind == &KINDS[4] else f.kind - &KINDS[0]]
    return result
