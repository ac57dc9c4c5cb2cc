"""Lloyd's algorithm: assign, check whether to stop, update (S. P. Lloyd, "Least squares quantization in PCM", IEEE
Trans. Information Theory 28, 1982).

The loop of one restart is here; it knows an engine by its contract alone (_engine.pxd). The rest of a fit: starts in
_seed.pxi, the rules of stopping in _stop.pxi, empty clusters in _empty.pxi, the update of centroids in _update.pxi, the
search by swaps in _swap.pxi, all restarts in _restarts.pxi, arguments and result in _fit.pxi, many fits in one call in
_fit_many.pxi.
"""
from cpython.buffer cimport PyBUF_ANY_CONTIGUOUS, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport square_of
from ckmeans._points cimport Rows, mean_loss, out_of_range
from ckmeans._random cimport stream_of
from ckmeans._runtime cimport CallContext, Poll, allocate, is_stopped, release, wide_stride
from ckmeans._values cimport get, put, widen

import numpy as np

include "_arrays.pxi"
include "_seed.pxi"
include "_seed_order.pxi"
include "_seed_blocks.pxi"
include "_seed_batches.pxi"
include "_stop.pxi"
include "_empty.pxi"
include "_update.pxi"
include "_fit_state.pxi"

cdef double MIN_GAIN = 1e-9            # of the distortion, below which it is summed up in full: carried sums lose less


# ---- record ----------------------------------------------------------------------------------

cdef int grow(void **memory, int64_t used, int64_t *capacity, size_t size) noexcept nogil:
    """Make room for one more item of `size` bytes; nonzero: no memory."""
    cdef int64_t wanted = max(64, 2 * used)
    cdef void *larger
    if used < capacity[0]:
        return 0
    larger = allocate(wanted * size)
    if larger == NULL:
        return 1
    if used:  # memcpy from NULL is undefined, of no bytes too
        memcpy(larger, memory[0], used * size)
    release(memory[0])
    memory[0] = larger
    capacity[0] = wanted
    return 0


cdef int record(Fit *f) noexcept nogil:
    """Append the distortion (and the centroids) of the assignment that was just made. Nonzero: no memory."""
    cdef Restart *r = f.run
    cdef size_t size = f.options.K * f.rows.n * f.rows.kernels.itemsize
    cdef int64_t capacity = r.path_capacity
    if grow(<void **>&r.history, r.n_iter, &r.history_capacity, sizeof(double)):
        return 1
    r.history[r.n_iter] = r.distortion
    if f.options.keep_path:
        if grow(<void **>&r.path, r.n_iter, &capacity, size):
            return 1
        if grow(<void **>&r.path_K, r.n_iter, &r.path_capacity, sizeof(int64_t)):
            return 1
        memcpy(r.path + r.n_iter * size, r.centroids, r.K * f.rows.n * f.rows.kernels.itemsize)
        r.path_K[r.n_iter] = r.K
    return 0


# ---- assign ----------------------------------------------------------------------------------

cdef void widen_centroids(Fit *f) noexcept nogil:
    """Convert the centroids to float64, where the engine wants that."""
    if f.step.wide != NULL:
        widen(f.run.centroids, f.run.K, f.rows.n, f.rows.kernels.itemsize, f.step.wide, wide_stride(f.rows.n))


cdef int assign(Fit *f, int64_t updates, Poll *p) noexcept nogil:
    """Find labels, sums and the distortion for the present centroids, those after so many updates."""
    cdef bint first = f.step.labels_epoch == 0
    if f.engine_K < f.run.K or (f.engine_K != f.run.K and not f.factory.fewer_centroids):
        if open_engine(f, f.run.K):
            return NO_MEMORY
    widen_centroids(f)
    f.step.K = f.run.K
    f.step.centroids = f.run.centroids
    f.step.labels = f.run.labels
    f.step.sums.counts = f.run.counts
    f.step.steps_left = f.lloyd.last_iter - updates
    f.step.full_sums = f.lloyd.full_sums or f.problem.same_sums or f.step.steps_left <= 0
    f.step.epoch = f.epoch + 1
    if f.engine.step(f.engine, &f.step, p):
        return INTERRUPTED if is_stopped(p) else NO_MEMORY
    if first:
        f.step.n_changed = f.rows.m
    f.epoch = f.step.labels_epoch = f.step.epoch
    f.step.previous = f.run.centroids
    f.run.distortion = mean_loss(f.rows, square_of(f.rows, &f.step))
    f.run.incremental = f.step.sums.incremental
    f.stats.n_distances += f.step.n_distances
    f.stats.n_pairs += <double>f.rows.m * f.run.K
    return RUNNING


cdef int assign_nonempty(Fit *f, int64_t updates, Poll *p) noexcept nogil:
    """`assign`, which ends the restart where a cluster is empty and the policy is to raise."""
    cdef int status = assign(f, updates, p)
    if status != RUNNING or f.options.empty != RAISE:
        return status
    f.empty.first_empty = first_empty(f)
    return EMPTY_CLUSTER if f.empty.first_empty >= 0 else RUNNING


cdef int assign_after_update(Fit *f, double distortion_before, Poll *p) noexcept nogil:
    """Assign; where the distortion hardly falls and is right to rounding only, again with full sums."""
    cdef int64_t n_changed
    cdef int status = assign_nonempty(f, f.run.n_iter + 1, p)
    if status != RUNNING or not f.run.incremental or not f.factory.row_sums or f.lloyd.full_sums:
        return status
    if distortion_before - f.run.distortion < MIN_GAIN * distortion_before:
        f.lloyd.full_sums = True
        n_changed = f.step.n_changed
        status = assign_nonempty(f, f.run.n_iter + 1, p)
        f.step.n_changed = n_changed
    return status


# ---- stop? -----------------------------------------------------------------------------------

cdef bint callback_stops(Fit *f, Poll *p) noexcept with gil:
    """Whether the callback wants to stop; an exception stops the whole call."""
    call = <CallContext>p.context
    cdef bint stop = False
    try:
        returned = (<object>f.options.callback)(
            f.run.n_iter, f.run.distortion, centroids_array(f, f.run.centroids, f.run.K))
        stop = type(returned) in (bool, np.bool_) and returned
    except BaseException as error:
        call.stop(error)
    return stop


cdef int check_stop(Fit *f, double distortion_before, Poll *p) noexcept nogil:
    """Whether the restart stops after the assignment that was just made."""
    cdef int status = RUNNING
    if f.options.callback != NULL:
        if callback_stops(f, p):
            return CALLBACK
        if is_stopped(p):
            return INTERRUPTED
    if f.run.n_iter > 0:  # the start is not compared with anything
        status = f.lloyd.should_stop(f, distortion_before)
    return MAX_ITER if status == RUNNING and f.run.n_iter == f.lloyd.last_iter else status


# ---- update ----------------------------------------------------------------------------------

cdef void keep_previous(Fit *f) noexcept nogil:
    """Keep the centroids that the labels are of, before they move."""
    f.previous_K = f.run.K
    memcpy(f.previous, f.run.centroids, f.run.K * f.rows.n * f.rows.kernels.itemsize)
    f.step.previous = f.previous
    if f.options.frozen != NULL:
        memcpy(f.frozen.previous, f.frozen.present, f.run.K)


cdef int update(Fit *f, Poll *p) noexcept nogil:
    """Nonzero: no memory."""
    cdef bint has_empty = first_empty(f) >= 0
    keep_previous(f)
    if has_empty and f.options.empty != DROP and refill_empty(f, p):
        return 1
    move_centroids(f)
    if has_empty and f.options.empty == DROP:
        drop_empty(f)
    return 0


cdef int revert_update(Fit *f, Poll *p) noexcept nogil:
    """Rounding raised the distortion: return to the state before the last update."""
    cdef int status = STABLE if f.step.n_changed == 0 else TOLERANCE, failure
    cdef char *centroids = f.previous
    cdef int64_t K = f.previous_K
    f.previous, f.previous_K = f.run.centroids, f.run.K  # which the labels were found for
    f.run.centroids, f.run.K = centroids, K
    f.frozen.present, f.frozen.previous = f.frozen.previous, f.frozen.present
    failure = assign(f, f.run.n_iter + 1, p)
    if failure != RUNNING:
        return failure
    f.run.history[f.run.n_iter] = f.run.distortion
    return status


# ---- the loop --------------------------------------------------------------------------------

cdef int call_next_start(Fit *f, Poll *p) noexcept with gil:
    """Take the start of this restart from Python."""
    cdef Py_buffer view
    call = <CallContext>p.context
    try:
        PyObject_GetBuffer((<object>f.options.next_start)(f.run.number), &view, PyBUF_ANY_CONTIGUOUS)
        memcpy(f.run.centroids, view.buf, view.len)
        PyBuffer_Release(&view)
    except BaseException as error:
        call.stop(error)
    return is_stopped(p)


cdef int begin(Fit *f, int64_t number, Poll *p) noexcept nogil:
    """Find the start of a restart."""
    cdef int64_t row_bytes = f.rows.n * f.rows.kernels.itemsize, size = f.options.K * row_bytes
    cdef int failed = 0
    f.run.number = number
    f.run.K = f.options.K
    f.run.n_iter = 0
    f.step.assign = f.step.sum = True
    f.step.labels_epoch = 0
    f.step.previous = NULL
    begin_lloyd(f, f.options.max_iter, f.options.tol, f.options.should_stop)
    f.random = stream_of(f.options.seed, number)
    f.run.max_abs_bits = 0
    if f.options.frozen != NULL:
        memcpy(f.frozen.present, f.options.frozen, f.options.K)
    if f.options.n_given > 0:
        memcpy(f.run.centroids, f.options.starts, f.options.n_given * row_bytes)
    elif f.options.starts != NULL:
        memcpy(f.run.centroids, f.options.starts + number * size, size)
    if f.options.next_start != NULL:
        call_next_start(f, p)
    elif f.options.starts == NULL or f.options.n_given > 0:
        failed = draw_start(f.seeding, &f.random, f.options.n_given, f.run.centroids, &f.run.max_abs_bits, p)
    if is_stopped(p):
        return INTERRUPTED
    if failed:
        return NO_MEMORY
    return OUT_OF_RANGE if out_of_range(f.rows, f.run.max_abs_bits) else RUNNING


cdef int assign_start(Fit *f, Poll *p) noexcept nogil:
    cdef int status = assign_nonempty(f, 0, p)
    f.run.max_abs_bits = f.step.max_abs_bits
    return OUT_OF_RANGE if status == RUNNING and out_of_range(f.rows, f.run.max_abs_bits) else status


cdef void begin_lloyd(Fit *f, int64_t max_iter, double tol, StopRule should_stop) noexcept nogil:
    """What holds for the following run of Lloyd's algorithm."""
    f.lloyd = LloydRun(tol, should_stop, f.run.n_iter + max_iter, False)


cdef int record_and_check(Fit *f, double distortion_before, Poll *p) noexcept nogil:
    return NO_MEMORY if record(f) else check_stop(f, distortion_before, p)


cdef int run_lloyd(Fit *f, Poll *p) noexcept nogil:
    """Update and assign, from a state that was recorded, until a rule stops that."""
    cdef double distortion_before
    cdef int status = RUNNING
    while status == RUNNING:
        distortion_before = f.run.distortion
        if update(f, p):
            return NO_MEMORY
        status = INTERRUPTED if is_stopped(p) else assign_after_update(f, distortion_before, p)
        if status == RUNNING and f.run.distortion > distortion_before:
            return revert_update(f, p)
        f.run.n_iter += 1
        if f.options.reports_steps:
            p.done = f.run.n_iter
        if status == RUNNING:
            status = record_and_check(f, distortion_before, p)
    return status


cdef int iterate(Fit *f, Poll *p) noexcept nogil:
    """Lloyd's algorithm, from a start until it stops."""
    cdef int status = assign_start(f, p)
    if status == RUNNING:
        status = record_and_check(f, INFINITY, p)
    return run_lloyd(f, p) if status == RUNNING else status


cdef int drop_empty_final(Fit *f, Poll *p) noexcept nogil:
    """Leave no empty cluster, and the state exactly as the last assignment makes it."""
    cdef int status = f.run.status, failure
    while status <= CALLBACK and first_empty(f) >= 0:
        drop_empty(f)
        failure = assign(f, f.run.n_iter + 1, p)
        if failure == RUNNING and record(f):
            failure = NO_MEMORY
        if failure != RUNNING:
            status = failure
    return status


include "_swap_local.pxi"
include "_swap_items.pxi"
include "_hartigan.pxi"
include "_swap.pxi"
include "_restarts.pxi"
include "_fit.pxi"
include "_fit_many.pxi"
