/* The few calls to OpenMP that Cython does not make itself, and what keeps fork() safe. */
#ifndef CKMEANS_THREADS_H
#define CKMEANS_THREADS_H

#include <stdint.h>

int ckmeans_openmp(void);       /* the OpenMP version this was built with, 0 without */
int ckmeans_max_threads(void);  /* OpenMP's present limit for the calling thread, 1 without */
int ckmeans_thread_num(void);   /* of the calling thread in its parallel region, 0 outside */
int ckmeans_team_size(void);    /* threads of that region, 1 outside */
int ckmeans_processor(void);    /* that the thread runs on; its number where that is not told */
void ckmeans_step_aside(int processor); /* the caller goes to another one, if it runs there and there is one */
void ckmeans_spread_out(int n_threads); /* threads that share the caller's processor move to others */
void ckmeans_guard_fork(void);  /* once, at import */
int ckmeans_must_be_serial(void); /* a forked child whose inherited threads could not be let go */
int64_t ckmeans_take(int64_t *next); /* what no other thread takes: 0, 1, 2 .. */
double ckmeans_now(void);       /* seconds on a clock that never goes back */
void ckmeans_nap(void);         /* about a millisecond */
void ckmeans_yield(void);       /* to whoever waits for this processor */

#endif
