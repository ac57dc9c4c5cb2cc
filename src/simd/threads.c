#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include "threads.h"

#if defined(_WIN32)
#include <windows.h>
double ckmeans_now(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (double)ticks.QuadPart / (double)per_second.QuadPart;
}
void ckmeans_sleep(void) { Sleep(1); }
void ckmeans_yield(void) { SwitchToThread(); }
#else
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
double ckmeans_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
void ckmeans_sleep(void)
{
    const struct timespec millisecond = { 0, 1000000 };
    nanosleep(&millisecond, 0);
}
void ckmeans_yield(void) { sched_yield(); }
#endif

#ifdef _OPENMP
#include <omp.h>
int ckmeans_openmp(void) { return _OPENMP; }
int ckmeans_max_threads(void) { return omp_get_max_threads(); }
int ckmeans_thread_num(void) { return omp_get_thread_num(); }
int ckmeans_team_size(void) { return omp_get_num_threads(); }
#else
int ckmeans_openmp(void) { return 0; }
int ckmeans_max_threads(void) { return 1; }
int ckmeans_thread_num(void) { return 0; }
int ckmeans_team_size(void) { return 1; }
#endif

#if defined(_OPENMP) && !defined(_WIN32)
/* What is known of the team that OpenMP keeps for the calling thread. GNU's runtime has one for each thread
 * that starts regions, and lets surplus threads go when a region is smaller than the one before. */
static __thread int team_size = 1;   /* of this thread's last region */
static __thread double retry_at = 0; /* a request for more than the system granted is made again after this */
static __thread int has_team = 0;    /* it has started a region of ours */
static __thread int serial = 0;      /* it came through a fork, perhaps with a record of threads that did not */

/* ---- a system that refuses threads: OpenMP's runtimes then end the process, so ask before they do ---- */

enum { RESERVE = 1 << 16 }; /* bytes that the runtime may need for a team, and for each of 64 threads */
static const double RETRY_SECONDS = 1;

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    int open;
} gate;

typedef struct {
    gate *gate;
    pthread_t thread;
    long id; /* Linux's */
} probe;

#if defined(__GLIBC__) && defined(__x86_64__)
/* As they were called before glibc 2.34 moved them: a wheel that is built on a newer system runs on older ones. */
__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_join,pthread_join@GLIBC_2.2.5");
#endif

static void *wait_at_gate(void *argument)
{
    probe *self = argument;
#if defined(__linux__)
    self->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(&self->gate->lock);
    while (!self->gate->open) pthread_cond_wait(&self->gate->opened, &self->gate->lock);
    pthread_mutex_unlock(&self->gate->lock);
    return 0;
}

/* A thread that was joined counts against the limits until the kernel has let go of it. */
static void await_release(const probe *ended)
{
#if defined(__linux__)
    int turns;
    for (turns = 0; turns < 1000 && syscall(SYS_tgkill, getpid(), ended->id, 0) == 0; ++turns) sched_yield();
#else
    (void)ended;
#endif
}

/* How many of so many more threads the system grants, all alive at once. */
static int probe_threads(int wanted)
{
    gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    void *reserve = malloc(RESERVE + (size_t)wanted * (RESERVE / 64));
    probe *probes = malloc((size_t)wanted * sizeof *probes);
    int n = 0, i;
    while (reserve && probes && n < wanted) {
        probes[n].gate = &gate;
        if (pthread_create(&probes[n].thread, 0, wait_at_gate, &probes[n])) break;
        ++n;
    }
    pthread_mutex_lock(&gate.lock);
    gate.open = 1;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
    for (i = 0; i < n; ++i) pthread_join(probes[i].thread, 0);
    for (i = 0; i < n; ++i) await_release(&probes[i]);
    free(probes);
    free(reserve);
    return n;
}

/* Whether there is memory for the records of a team of another size. */
static int has_reserve(void)
{
    void *reserve = malloc(RESERVE);
    free(reserve);
    return reserve != 0;
}

int ckmeans_request_threads(int wanted)
{
    if (wanted <= 1 || serial) return 1;
    if (wanted > team_size && ckmeans_now() < retry_at) wanted = team_size;
    if (wanted > team_size) {
        const int granted = team_size + probe_threads(wanted - team_size);
        if (granted < wanted) retry_at = ckmeans_now() + RETRY_SECONDS;
        wanted = granted;
    } else if (wanted < team_size && !has_reserve()) {
        return 1;
    }
    if (wanted <= 1) return 1; /* a region of one thread leaves the team as it is */
    has_team = 1;
    return team_size = wanted;
}

/* ---- fork: the child has its parent's record of a team but none of its threads, and would wait for them ---- */

#if defined(__clang__)
/* LLVM's runtime starts anew in a child by itself, and a pause would stop the teams of all threads. */
void ckmeans_guard_forks(int private_runtime) { (void)private_runtime; }
#else
static int runtime_is_private = 0;
static __thread int serial_in_child = 0;

/* Let go of the forking thread's team and of no other: only this thread goes on in the child. Where it has
 * started no region of ours it has no team, unless another library started one. That is left alone, and the
 * child, which cannot tell, computes on one thread. */
static void before_fork(void)
{
    serial_in_child = serial;
    if (serial) return; /* a pause would wait for threads that are not there */
    if (!has_team) {
        serial_in_child = !runtime_is_private;
        return;
    }
#if _OPENMP >= 201811 || __GNUC__ >= 9 /* OpenMP 5.0, or a gcc that has this much of it */
    if (omp_pause_resource_all(omp_pause_hard) == 0) {
        team_size = 1;
        return;
    }
#endif
    serial_in_child = 1;
}

static void in_child(void)
{
    serial = serial_in_child;
    retry_at = 0;
}

void ckmeans_guard_forks(int private_runtime)
{
    runtime_is_private = private_runtime;
    pthread_atfork(before_fork, 0, in_child);
}
#endif
#else
int ckmeans_request_threads(int wanted) { return wanted > 1 && ckmeans_openmp() ? wanted : 1; }
void ckmeans_guard_forks(int private_runtime) { (void)private_runtime; }
#endif
