#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
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
void ckmeans_nap(void) { Sleep(1); }
void ckmeans_yield(void) { SwitchToThread(); }
#else
#include <pthread.h>
#include <sched.h>
#include <time.h>
double ckmeans_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
void ckmeans_nap(void)
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

#if defined(_MSC_VER)
#include <intrin.h>
int64_t ckmeans_take(int64_t *next) { return _InterlockedExchangeAdd64(next, 1); }
#else
int64_t ckmeans_take(int64_t *next) { return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED); }
#endif

#if defined(__linux__) && defined(_OPENMP)
/* A thread is woken where it last ran, or by the one that wakes it. Where no two processors share a cache and
 * idle ones count as taken, as virtual machines have it, two threads of short steps so take turns on one
 * processor for as long as they last. The way out is to forbid a thread this processor for a moment. */
static const double PATIENCE = 1e-3; /* seconds for all of them to come, who may have no processor at all */

static void leave(int processor)
{
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return; /* more processors than a cpu_set_t holds */
    others = allowed;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others)) return;
    sched_setaffinity(0, sizeof allowed, &allowed);
}

int ckmeans_processor(void) { return sched_getcpu(); }

void ckmeans_step_aside(int processor)
{
    if (processor >= 0 && sched_getcpu() == processor) leave(processor);
}

void ckmeans_spread_out(int n_threads)
{
    const int here = sched_getcpu();
    const double end = ckmeans_now() + PATIENCE;
    int arrived = 1;
#pragma omp parallel num_threads(n_threads) shared(arrived)
    if (omp_get_thread_num() != 0) {
        ckmeans_step_aside(here);
        __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    } else { /* lets the others run here without going to sleep, or it would be woken beside one of them */
        while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < omp_get_num_threads() && ckmeans_now() < end)
            ckmeans_yield();
    }
}
#else
int ckmeans_processor(void) { return ckmeans_thread_num(); }
void ckmeans_step_aside(int processor) { (void)processor; }
void ckmeans_spread_out(int n_threads) { (void)n_threads; }
#endif

static int serial = 0;
int ckmeans_must_be_serial(void) { return serial; }

#if defined(_OPENMP) && !defined(_WIN32)
/* A child of fork() inherits the books of a thread pool, but none of its threads, and waits for
 * them for ever. So let the pool go before every fork (another extension may have started it),
 * and where it cannot be let go, have the child compute on one thread. */
static int pool_remains = 0;

static void before_fork(void)
{
#if _OPENMP >= 201811 || (defined(__GNUC__) && __GNUC__ >= 9) /* OpenMP 5.0, or a gcc that has this much of it */
    pool_remains = omp_pause_resource_all(omp_pause_hard) != 0;
#else
    pool_remains = 1;
#endif
}

static void in_child(void)
{
    if (pool_remains) serial = 1;
}

void ckmeans_guard_fork(void) { pthread_atfork(before_fork, 0, in_child); }
#else
void ckmeans_guard_fork(void) {}
#endif
