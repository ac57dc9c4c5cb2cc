"""What every engine stands on: the kernels that were chosen, threads, interruption."""
import os

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "simd/dispatch.h" nogil:
    struct instruction_set:
        const char *name
        const kernels *(*kernels)(int itemsize) noexcept nogil
        int (*supported)() noexcept nogil

    const instruction_set ckmeans_instruction_sets[]

cdef extern from "simd/threads.h" nogil:
    int ckmeans_openmp()
    int ckmeans_max_threads()
    int ckmeans_thread_num()
    int ckmeans_team_size()
    int ckmeans_processor()
    void ckmeans_step_aside(int processor)
    void ckmeans_spread_out(int n_threads)
    int64_t ckmeans_take(int64_t *next)
    int ckmeans_must_be_serial()
    void ckmeans_guard_fork()
    double ckmeans_now()
    void ckmeans_nap()
    void ckmeans_yield()

cdef extern from "simd/memory.h" nogil:
    void *ckmeans_allocate(size_t size)
    void ckmeans_release(void *memory)


# ---- the kernels ---------------------------------------------------------------------------

cdef const kernels *chosen32 = NULL
cdef const kernels *chosen64 = NULL

cdef const kernels *kernels_for(int itemsize) noexcept nogil:
    return chosen32 if itemsize == 4 else chosen64


def instruction_sets():
    """Names of the instruction sets of this build that this processor runs, best first."""
    names = []
    cdef int i = 0
    while ckmeans_instruction_sets[i].name != NULL:
        if ckmeans_instruction_sets[i].supported():
            names.append(ckmeans_instruction_sets[i].name.decode())
        i += 1
    return names


def built_instruction_sets():
    """Names of the instruction sets of this build, best first."""
    names = []
    cdef int i = 0
    while ckmeans_instruction_sets[i].name != NULL:
        names.append(ckmeans_instruction_sets[i].name.decode())
        i += 1
    return names


def chosen_instruction_set():
    """Name of the instruction set in use, as its own table of kernels states it."""
    return chosen32.name.decode()


def choose_instruction_set(name):
    """Use the instruction set of this name; an empty name means the best one."""
    global chosen32, chosen64
    runnable = instruction_sets()
    wanted = name or runnable[0]
    if wanted not in runnable:
        raise ImportError(
            f"CKMEANS_SIMD={wanted!r} is not available: this build and processor offer {', '.join(runnable)}"
        )
    cdef int i = 0
    while ckmeans_instruction_sets[i].name.decode() != wanted:
        i += 1
    chosen32 = ckmeans_instruction_sets[i].kernels(4)
    chosen64 = ckmeans_instruction_sets[i].kernels(8)


# ---- threads -------------------------------------------------------------------------------

def openmp_version():
    """The _OPENMP date of the compiler, 0 where the build has no OpenMP."""
    return ckmeans_openmp()


def openmp_max_threads():
    """OpenMP's limit for the calling thread (what threadpoolctl and OMP_NUM_THREADS set)."""
    return ckmeans_max_threads()


cdef int threads_for(int n_threads, double work) noexcept nogil:
    """How many threads `work` multiply-adds are worth: starting a team costs microseconds."""
    if ckmeans_openmp() == 0 or ckmeans_must_be_serial() or work < 1e6:
        return 1
    return n_threads


cdef int thread_num() noexcept nogil:
    return ckmeans_thread_num()


cdef int team_size() noexcept nogil:
    return ckmeans_team_size()


cdef int processor() noexcept nogil:
    """On which the calling thread runs, or its number where that is not known."""
    return ckmeans_processor()


cdef void step_aside(int other) noexcept nogil:
    """Have the calling thread go on elsewhere if it runs on that processor."""
    ckmeans_step_aside(other)


cdef int64_t fetch_add(int64_t *next_) noexcept nogil:
    """A number from a sequence that many threads share."""
    return ckmeans_take(next_)


cdef int64_t load(int64_t *counter) noexcept nogil:
    return counter[0]


cdef void yield_cpu() noexcept nogil:
    """Let a thread run that waits for this processor."""
    ckmeans_yield()


cdef void spread_out(int n_threads) noexcept nogil:
    """Before short work: have no two threads begin it on one processor, where there are others."""
    if n_threads > 1:
        ckmeans_spread_out(n_threads)


# ---- memory --------------------------------------------------------------------------------

cdef void *allocate(size_t size) noexcept nogil:
    """Memory on a cache line's boundary; NULL where there is none."""
    return ckmeans_allocate(size)


cdef void release(void *memory) noexcept nogil:
    ckmeans_release(memory)


# ---- interruption --------------------------------------------------------------------------

cdef double POLL_SECONDS = 0.05

cdef void poll_signals(Poll *p) noexcept with gil:
    call = <CallContext>p.call
    try:
        PyErr_CheckSignals()
        if call.on_progress is not None:
            call.on_progress(p.done)
    except BaseException as error:
        call.error = error
        p.stopped = 1


cdef int poll(Poll *p) noexcept nogil:
    """Nonzero once the work is to be dropped. Takes the GIL at most every POLL_SECONDS."""
    if p.stopped or ckmeans_thread_num() != 0:
        return p.stopped
    cdef double now = ckmeans_now()
    if now >= p.next:
        poll_signals(p)
        p.next = ckmeans_now() + POLL_SECONDS
    return p.stopped


cdef int sleep_and_poll(Poll *p) noexcept nogil:
    """`poll` for a thread that has nothing left to do but to look at signals for the others."""
    ckmeans_nap()
    return poll(p)


cdef void stop(Poll *p) noexcept nogil:
    p.stopped = 1


cdef class CallContext:
    """Holds what interrupted the work until it can be raised. `on_progress(done)` is called on the way."""

    def __cinit__(self, on_progress=None):
        self.on_progress = on_progress
        self.poll.call = <PyObject *>self
        self.poll.next = ckmeans_now() + POLL_SECONDS

    cdef void stop(self, error):
        """Drop the work, to raise this error after it."""
        self.error = error
        stop(&self.poll)

    cdef int check(self) except -1:
        if self.error is not None:
            raise self.error
        return 0


ckmeans_guard_fork()
choose_instruction_set(os.environ.get("CKMEANS_SIMD", ""))
