/* What threads share in C, for ThreadSanitizer: the block cache, flags, counters, OpenMP's teams.
 *
 * Each check passes plain memory from one thread to another by the atomics of simd/threads.h alone: one memory barrier
 * less is a data race. tools/sanitize.py builds and runs this. */
#include "simd/memory.h"
#include "simd/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 2000, PARTS = 64 };

static int failures = 0;

static void expect(int good, const char *what)
{
    if (good) return;
    printf("%s is wrong\n", what);
    failures += 1;
}

static void run_threads(void *(*work)(void *), void *argument)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; ++i)
        if (pthread_create(&threads[i], 0, work, argument)) abort();
    for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], 0);
}

/* ---- a block that one thread releases is the next one's ---- */

static void *use_blocks(void *bad)
{
    for (int round = 0; round < ROUNDS; ++round) {
        const size_t size = (size_t)40000 + (size_t)(round % 7) * 5000;
        char *const memory = ckmeans_allocate(size);
        if (!memory) abort();
        memset(memory, round, 256), memset(memory + size - 256, round, 256);
        if (memory[0] != (char)round || memory[size - 1] != (char)round) ckmeans_store_flag(bad, 1);
        ckmeans_release(memory);
        if (round % 100 == 99) ckmeans_clear_cache();
    }
    return 0;
}

static void check_blocks(void)
{
    int bad = 0;
    ckmeans_limit_cache(1 << 20);
    ckmeans_count_allocations(0);
    run_threads(use_blocks, &bad);
    expect(!bad && ckmeans_live_allocations() == 0, "a block");
    expect(ckmeans_allocations() == THREADS * ROUNDS, "the number of allocations");
    ckmeans_count_allocations(-1);
    ckmeans_limit_cache(0);
    ckmeans_clear_cache();
}

/* ---- a flag says that a message is there ---- */

struct message {
    int is_there, text;
};

static void *wait_for_message(void *argument)
{
    struct message *const message = argument;
    while (!ckmeans_load_flag(&message->is_there)) ckmeans_yield();
    return message->text == 42 ? 0 : argument;
}

static void check_flag(void)
{
    static struct message messages[200];
    for (int round = 0; round < 200; ++round) {
        struct message *const message = &messages[round];
        pthread_t reader;
        void *bad;
        if (pthread_create(&reader, 0, wait_for_message, message)) abort();
        message->text = 42;
        ckmeans_store_flag(&message->is_there, 1);
        pthread_join(reader, &bad);
        expect(!bad, "a message");
    }
}

/* ---- parts are taken from a counter, and who ends the last one adds them up ---- */

struct parts {
    int64_t next, ended, values[PARTS], total;
};

static void *add_parts(void *argument)
{
    struct parts *const parts = argument;
    for (int64_t i; (i = ckmeans_fetch_add(&parts->next, 1)) < PARTS;) {
        parts->values[i] = i;
        if (ckmeans_fetch_add(&parts->ended, 1) + 1 < PARTS) continue;
        for (int64_t j = 0; j < PARTS; ++j) parts->total += parts->values[j];
    }
    return 0;
}

static void check_parts(void)
{
    for (int round = 0; round < 200; ++round) {
        struct parts parts = { 0, 0, { 0 }, 0 };
        run_threads(add_parts, &parts);
        expect(parts.total == PARTS * (PARTS - 1) / 2, "a sum of parts");
    }
}

/* ---- each of the threads starts regions of its own ---- */

static void *run_regions(void *unused)
{
    for (int round = 0; round < 50; ++round) {
        struct parts parts = { 0, 0, { 0 }, 0 };
        const int team = ckmeans_request_threads(1 + round % 3);
#pragma omp parallel num_threads(team)
        add_parts(&parts);
        if (parts.total != PARTS * (PARTS - 1) / 2) return run_regions;
    }
    return unused;
}

static void check_regions(void)
{
    pthread_t threads[2];
    void *bad[2];
    for (int i = 0; i < 2; ++i)
        if (pthread_create(&threads[i], 0, run_regions, 0)) abort();
    for (int i = 0; i < 2; ++i) pthread_join(threads[i], &bad[i]);
    expect(!bad[0] && !bad[1], "a sum of a region");
}

int main(void)
{
    check_blocks();
    check_flag();
    check_parts();
    check_regions();
    printf("threads: %s\n", failures ? "FAILED" : "ok");
    return failures != 0;
}
