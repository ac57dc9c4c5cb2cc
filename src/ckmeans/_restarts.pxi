"""All restarts of a fit: in order, each on all threads, or shared out, each on one thread."""
from cython.parallel cimport parallel
from libc.stdint cimport int64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport (
    Poll, fetch_add, is_stopped, load_counter, poll, request_threads, sleep_and_poll, stop_work, team_size,
    thread_num, threads_for, yield_cpu,
)

cdef double SHARED_WORK = 1 << 31      # multiply-adds of a step up to which restarts are shared out: about 20 ms
cdef size_t SHARED_BYTES = 256 << 20   # memory that shared restarts may take
cdef int64_t MIN_STEPS = 12            # that a restart takes, mostly
cdef int64_t VALUE_WORK = 8            # multiply-adds that take as long as the rest of the work for a value
cdef enum:
    MAX_FITS = 1024                    # threads that share restarts

cdef int SPIN_POLLS = 10_000           # of a thread that waits for the others, before it sleeps between polls: 10 ms


cdef bint may_share(const Problem *p, const Options *o) noexcept nogil:
    """Whether restarts may be shared out, with enough threads: then no sum may depend on which engine made it."""
    return o.n_init > 1 and p.rows.stored * o.K <= SHARED_WORK


cdef int restart_threads(const Problem *p, const Options *o) noexcept nogil:
    """On how many threads to run whole restarts; 1: in order, each on all threads."""
    cdef const Rows *rows = p.rows
    cdef size_t bytes_each = rows.m * 24 + 8 * o.K * (rows.n + 8) * 24
    if o.n_init < p.n_threads or o.next_start != NULL or o.callback != NULL or rows.window != NULL:
        return 1
    if not may_share(p, o) or bytes_each * p.n_threads > SHARED_BYTES:
        return 1
    return min(threads_for(p.n_threads, rows.stored * (o.K + VALUE_WORK) * o.n_init * MIN_STEPS), MAX_FITS)


cdef void run_restart(Fit *f, int64_t number, Poll *p) noexcept nogil:
    f.run.status = begin(f, number, p)
    if f.run.status == RUNNING:
        f.run.status = iterate(f, p)
    if f.options.swap_factory != NULL and f.run.status < CALLBACK:
        f.run.status = search_swaps(f, p)
    if f.options.empty == DROP:
        f.run.status = drop_empty_final(f, p)


cdef void keep_if_best(Fit *f) noexcept nogil:
    """Let f.best be the restart that was run, if it is the best one so far."""
    cdef Restart *run
    if f.best.number < 0 or f.run.distortion < f.best.distortion:
        run = f.best
        f.best = f.run
        f.run = run


cdef void run_and_keep_best(Fit *f, int64_t number, double *distortions, Poll *p) noexcept nogil:
    """Run a restart. After this f.best holds the best one so far, unless the status of f.run is no result."""
    run_restart(f, number, p)
    if f.run.status > CALLBACK:
        stop_work(p)
        return
    distortions[number] = f.run.distortion
    keep_if_best(f)


cdef int64_t run_in_order(Fit *f, double *distortions, Poll *p) noexcept nogil:
    """Returns how many restarts were run: a callback that wants to stop ends them all."""
    cdef int64_t number
    cdef Restart *last
    for number in range(f.options.n_init):
        last = f.run
        run_and_keep_best(f, number, distortions, p)
        if is_stopped(p):
            break
        if last.status == CALLBACK:
            f.best.status = CALLBACK
            return number + 1
        if f.options.n_init > 1:
            p.done = number + 1
    return f.options.n_init


# ---- shared out ------------------------------------------------------------------------------

# Restarts that wait for a thread. The counters are atomics.
cdef struct RestartQueue:
    int64_t next
    int64_t n_done
    int64_t n_init
    int64_t n_started        # threads that have come,
    int64_t n_finished       # and those that found no restart left
    double *distortions


cdef void run_shared(Fit **each, int count, double *distortions, Poll *p) noexcept:
    """Run restart r on any thread: its random numbers come from stream r, and of equally good ones the first wins."""
    cdef RestartQueue queue = RestartQueue(0, 0, each[0].options.n_init, 0, 0, distortions)
    with nogil, parallel(num_threads=request_threads(count)):
        restart_worker(each, min(count, team_size()), &queue, p)


cdef void restart_worker(Fit **each, int team, RestartQueue *queue, Poll *p) noexcept nogil:
    """What one thread does: the restarts that no other one took."""
    cdef int i = thread_num()
    cdef int64_t number
    fetch_add(&queue.n_started, 1)
    if i == 0 and load_counter(&queue.n_started) < team:  # one may wait for this processor
        yield_cpu()
    number = fetch_add(&queue.next, 1)
    while number < queue.n_init and not poll(p):
        run_and_keep_best(each[i], number, queue.distortions, p)
        fetch_add(&queue.n_done, 1)
        if i == 0:
            p.done = load_counter(&queue.n_done)
            if load_counter(&queue.n_started) < team:
                yield_cpu()
        number = fetch_add(&queue.next, 1)
    fetch_add(&queue.n_finished, 1)
    if i == 0:
        wait_for_workers(queue, team, p)


cdef void wait_for_workers(RestartQueue *queue, int team, Poll *p) noexcept nogil:
    """Poll for signals, as only the first thread can, until the others are through."""
    cdef int polls = 0
    while load_counter(&queue.n_finished) < team:
        p.done = load_counter(&queue.n_done)
        if polls < SPIN_POLLS:
            polls += 1
            yield_cpu()
            poll(p)
        else:
            sleep_and_poll(p)
