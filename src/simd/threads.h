/* Threads: OpenMP's calls, what keeps it alive through fork() and refused threads, atomics, the clock. */
#ifndef CKMEANS_THREADS_H
#define CKMEANS_THREADS_H

#include <stdint.h>

int ckmeans_openmp(void);                      /* the OpenMP version this was built with, 0 without */
int ckmeans_max_threads(void);                 /* OpenMP's present limit for the calling thread, 1 without */
int ckmeans_thread_num(void);                  /* of the calling thread in its parallel region, 0 outside */
int ckmeans_team_size(void);                   /* threads of that region, 1 outside */
int ckmeans_request_threads(int wanted);       /* before every parallel region: how many threads it can have, >= 1 */
void ckmeans_guard_forks(int private_runtime); /* once, at import; nonzero: no other library uses this OpenMP */
double ckmeans_now(void);                      /* seconds on a monotonic clock */
void ckmeans_sleep(void);                      /* for about a millisecond */
void ckmeans_yield(void);                      /* let another thread run on this CPU */

/* Shared flags and counters. Loads acquire, stores release, fetch_add does both. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static __inline int ckmeans_load_flag(const int *flag) { return _InterlockedOr((volatile long *)flag, 0); }
static __inline void ckmeans_store_flag(int *flag, int value) { _InterlockedExchange((volatile long *)flag, value); }
static __inline int ckmeans_exchange_flag(int *flag, int value)
{
    return _InterlockedExchange((volatile long *)flag, value);
}
static __inline int64_t ckmeans_load(const int64_t *value)
{
    return _InterlockedCompareExchange64((volatile __int64 *)value, 0, 0);
}
static __inline int64_t ckmeans_fetch_add(int64_t *value, int64_t addend)
{
    return _InterlockedExchangeAdd64((volatile __int64 *)value, addend);
}
#else
static inline int ckmeans_load_flag(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static inline void ckmeans_store_flag(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
static inline int ckmeans_exchange_flag(int *flag, int value)
{
    return __atomic_exchange_n(flag, value, __ATOMIC_ACQ_REL);
}
static inline int64_t ckmeans_load(const int64_t *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }
static inline int64_t ckmeans_fetch_add(int64_t *value, int64_t addend)
{
    return __atomic_fetch_add(value, addend, __ATOMIC_ACQ_REL);
}
#endif

#endif
