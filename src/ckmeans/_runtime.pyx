"""What every engine stands on: the kernels that were chosen, threads, interruption."""
import os
import sys

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "simd/dispatch.h" nogil:
    struct instruction_set:
        const char *name
        const kernels *(*kernels)(int itemsize) noexcept nogil
        int (*supported)() noexcept nogil
        const code_kernels *(*codes)() noexcept nogil

    const instruction_set ckmeans_instruction_sets[]
    const char *const ckmeans_built_codes[]

cdef extern from "simd/threads.h" nogil:
    int ckmeans_openmp()
    int ckmeans_max_threads()
    int ckmeans_thread_num()
    int ckmeans_team_size()
    int ckmeans_request_threads(int wanted)
    void ckmeans_guard_forks(int private_runtime)
    double ckmeans_now()
    void ckmeans_sleep()
    void ckmeans_yield()

cdef extern from "simd/memory.h" nogil:
    void *ckmeans_allocate(size_t size)
    void ckmeans_release(void *memory)
    void ckmeans_limit_cache(size_t max_bytes)
    size_t ckmeans_clear_cache()
    void ckmeans_count_allocations(int64_t failing)
    int64_t ckmeans_allocations()
    int64_t ckmeans_live_allocations()


# ---- the kernels ---------------------------------------------------------------------------

cdef const kernels *chosen32 = NULL
cdef const kernels *chosen64 = NULL
cdef const code_kernels *chosen_codes = NULL

cdef const kernels *kernels_for(int itemsize) noexcept nogil:
    return chosen32 if itemsize == 4 else chosen64


cdef const code_kernels *kernels_of_codes() noexcept nogil:
    return chosen_codes


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


def built_code_instructions():
    """Names of the instructions of this build for products of 8-bit codes, best first."""
    names = []
    cdef int i = 0
    while ckmeans_built_codes[i] != NULL:
        names.append(ckmeans_built_codes[i].decode())
        i += 1
    return names


def kernel_compiler():
    """The compiler of the kernels in use, and its version."""
    return chosen32.compiler.decode()


def chosen_instruction_set():
    """Name of the instruction set in use, as its own table of kernels states it."""
    return chosen32.name.decode()


def chosen_code_instructions():
    """Name of the instructions in use for products of 8-bit codes."""
    return chosen_codes.name.decode()


def choose_instruction_set(name):
    """Use the instruction set of this name; an empty name means the best one."""
    global chosen32, chosen64, chosen_codes
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
    chosen_codes = ckmeans_instruction_sets[i].codes()


# ---- threads -------------------------------------------------------------------------------

def openmp_version():
    """The _OPENMP date of the compiler, 0 where the build has no OpenMP."""
    return ckmeans_openmp()


def openmp_max_threads():
    """OpenMP's limit for the calling thread (what threadpoolctl and OMP_NUM_THREADS set)."""
    return ckmeans_max_threads()


def guard_forks(bint private_runtime):
    """Keep forked children computing; called once. `private_runtime`: no other library uses this OpenMP."""
    ckmeans_guard_forks(private_runtime)


cdef int threads_for(int n_threads, double work) noexcept nogil:
    """How many threads `work` multiply-adds are worth: starting a team costs microseconds."""
    return 1 if ckmeans_openmp() == 0 or work < 1e6 else n_threads


cdef int request_threads(int wanted) noexcept nogil:
    """The `num_threads` of every parallel region: as many as wanted, or as the system grants, at least 1.

    OpenMP's runtimes end the process if the system refuses a thread, and a forked child may have to do
    without. Asking again for what was granted costs nanoseconds.
    """
    return ckmeans_request_threads(wanted)


cdef int thread_num() noexcept nogil:
    return ckmeans_thread_num()


cdef int team_size() noexcept nogil:
    return ckmeans_team_size()


cdef double now() noexcept nogil:
    """Seconds on a monotonic clock."""
    return ckmeans_now()


cdef void yield_cpu() noexcept nogil:
    """Let another thread run on this CPU."""
    ckmeans_yield()


# ---- memory --------------------------------------------------------------------------------

DEFAULT_CACHE_BYTES = 1 << 27  # the workspaces of a fit of a million points


cdef void *allocate(size_t size) noexcept nogil:
    """Memory aligned to a cache line; NULL if there is none."""
    return ckmeans_allocate(size)


cdef void release(void *memory) noexcept nogil:
    ckmeans_release(memory)


def limit_cache(setting):
    """Cache at most so many bytes of released workspaces: a decimal string, 0 for no cache."""
    if not (setting.isascii() and setting.isdigit()):
        raise ImportError(f"CKMEANS_CACHE_BYTES={setting!r} is not a number of bytes")
    ckmeans_limit_cache(min(int(setting), sys.maxsize))


def clear_cache():
    """Give cached workspaces back to the system; returns their bytes."""
    return ckmeans_clear_cache()


def count_allocations(failing=0):
    """For the tests: count allocations from now on, of which the one of this number fails (0: none); None: stop."""
    ckmeans_count_allocations(-1 if failing is None else failing)


def allocation_counts():
    """How many allocations were made since count_allocations, and how many of them were not released."""
    return ckmeans_allocations(), ckmeans_live_allocations()


# ---- interruption --------------------------------------------------------------------------

cdef double POLL_SECONDS = 0.05

cdef void poll_signals(Poll *p) noexcept with gil:
    context = <CallContext>p.context
    try:
        PyErr_CheckSignals()
        if context.on_progress is not None:
            context.on_progress(p.done)
    except BaseException as error:
        context.stop(error)


cdef int poll(Poll *p) noexcept nogil:
    """Nonzero once the work is to be dropped. Takes the GIL at most every POLL_SECONDS."""
    if is_stopped(p) or ckmeans_thread_num() != 0:
        return is_stopped(p)
    cdef double now = ckmeans_now()
    if now >= p.next:
        poll_signals(p)
        p.next = ckmeans_now() + POLL_SECONDS
    return is_stopped(p)


cdef int sleep_and_poll(Poll *p) noexcept nogil:
    """Poll signals for the other threads, if there is nothing else to do."""
    ckmeans_sleep()
    return poll(p)


cdef class CallContext:
    """Hold the exception that interrupts a call until it can be raised; report to `on_progress(done)`."""

    def __cinit__(self, on_progress=None):
        self.on_progress = on_progress
        self.poll.context = <PyObject *>self
        self.poll.next = ckmeans_now() + POLL_SECONDS

    cdef void stop(self, error):
        self.error = error
        stop_work(&self.poll)

    cdef int check(self) except -1:
        if self.error is not None:
            raise self.error
        return 0


limit_cache(os.environ.get("CKMEANS_CACHE_BYTES") or str(DEFAULT_CACHE_BYTES))
choose_instruction_set(os.environ.get("CKMEANS_SIMD", ""))
