#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/mman.h>
#endif
#include "memory.h"
#include "threads.h"

#include <stdint.h>
#include <stdlib.h>

enum { LINE = 64 };

/* ---- for the tests ---- */

static int counting = 0;
static int64_t failing_number = 0, n_allocated = 0, n_live = 0;

void ckmeans_count_allocations(int64_t failing)
{
    ckmeans_store_flag(&counting, 0);
    ckmeans_fetch_add(&failing_number, failing - ckmeans_load(&failing_number));
    ckmeans_fetch_add(&n_allocated, -ckmeans_load(&n_allocated));
    ckmeans_fetch_add(&n_live, -ckmeans_load(&n_live));
    ckmeans_store_flag(&counting, failing >= 0);
}

int64_t ckmeans_allocations(void) { return ckmeans_load(&n_allocated); }
int64_t ckmeans_live_allocations(void) { return ckmeans_load(&n_live); }

/* Whether this allocation is to fail. */
static int fails(void)
{
    return ckmeans_load_flag(&counting) && ckmeans_fetch_add(&n_allocated, 1) + 1 == ckmeans_load(&failing_number);
}

static void count_live(const void *memory, int64_t change)
{
    if (memory && ckmeans_load_flag(&counting)) ckmeans_fetch_add(&n_live, change);
}

#if defined(CKMEANS_ADDRESS_SANITIZER) && !defined(_WIN32)
/* Every block is the system's, so that the sanitizer sees what lies around it and what is used too late. */
static void *acquire(size_t size)
{
    void *memory;
    return posix_memalign(&memory, LINE, size) ? 0 : memory;
}
static void give_back(void *memory) { free(memory); }
void ckmeans_limit_cache(size_t max_bytes) { (void)max_bytes; }
size_t ckmeans_clear_cache(void) { return 0; }
#else

enum {
    HUGE_SIZE = 1 << 22,  /* bytes from which huge pages pay: to fault in a small page costs as much as to write it */
    SMALL_SIZE = 1 << 15, /* up to which malloc's own cache is enough */
    MAX_BLOCKS = 32,
};

/* A block from the system; a copy of this lies in the line before the memory that the caller gets. */
typedef struct {
    void *start;
    size_t size; /* that the caller may use */
} block;

/* ---- blocks from the system ---- */

static block block_new(size_t size)
{
    block b = { 0, size };
    if (size > SIZE_MAX - 2 * LINE) return b;
#if defined(__linux__)
    if (size >= HUGE_SIZE) {
        b.start = mmap(0, size + 2 * LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b.start == MAP_FAILED) b.start = 0;
#ifdef MADV_HUGEPAGE
        if (b.start) madvise(b.start, size + 2 * LINE, MADV_HUGEPAGE);
#endif
        return b;
    }
#endif
    b.start = malloc(size + 2 * LINE);
    return b;
}

static void block_free(block b)
{
#if defined(__linux__)
    if (b.size >= HUGE_SIZE) {
        munmap(b.start, b.size + 2 * LINE);
        return;
    }
#endif
    free(b.start);
}

static void *memory_of(block b)
{
    char *memory = (char *)b.start + (2 * LINE - (uintptr_t)b.start % LINE);
    ((block *)memory)[-1] = b;
    return memory;
}

/* ---- the cache of released blocks, oldest first: pages that the system takes back are faulted in again, which
 * takes short fits as long as their work ---- */

static block cache[MAX_BLOCKS];
static int n_cached = 0;
static size_t cached_bytes = 0;
static size_t max_cached_bytes = 0;

static int locked = 0;
/* On contention the caller goes without the cache: no thread waits, nor a forked child for one that is gone. */
static int try_lock(void) { return ckmeans_exchange_flag(&locked, 1) == 0; }
static void unlock(void) { ckmeans_store_flag(&locked, 0); }

static int is_cacheable(size_t size) { return size > SMALL_SIZE && size <= max_cached_bytes; }

static block cache_remove(int i)
{
    const block b = cache[i];
    cached_bytes -= b.size;
    for (n_cached -= 1; i < n_cached; ++i) cache[i] = cache[i + 1];
    return b;
}

/* The best fit, if it wastes at most a quarter of the size, or all of it again if that is large. */
static block cache_pop(size_t size)
{
    block best = { 0, (size >= HUGE_SIZE ? 2 * size : size + size / 4) + 1 };
    int i, found = -1;
    if (!try_lock()) return best;
    for (i = 0; i < n_cached; ++i)
        if (cache[i].size >= size && cache[i].size < best.size) {
            best = cache[i];
            found = i;
        }
    if (found >= 0) cache_remove(found);
    unlock();
    return best;
}

/* Cache a block; `evicted` receives the blocks to be freed instead. */
static int cache_push(block b, block *evicted)
{
    int n = 0;
    if (!try_lock()) {
        evicted[0] = b;
        return 1;
    }
    while (n_cached == MAX_BLOCKS || (n_cached > 0 && cached_bytes + b.size > max_cached_bytes))
        evicted[n++] = cache_remove(0);
    cache[n_cached++] = b;
    cached_bytes += b.size;
    unlock();
    return n;
}

void ckmeans_limit_cache(size_t max_bytes) { max_cached_bytes = max_bytes; }

size_t ckmeans_clear_cache(void)
{
    block evicted[MAX_BLOCKS];
    size_t bytes = 0;
    int n = 0, tries;
    for (tries = 1; !try_lock(); ++tries) {
        if (tries == 1000) return 0; /* in a forked child another thread may have held it */
        ckmeans_yield();
    }
    while (n_cached > 0) evicted[n++] = cache_remove(n_cached - 1);
    unlock();
    while (n > 0) {
        bytes += evicted[--n].size;
        block_free(evicted[n]);
    }
    return bytes;
}

static void *acquire(size_t size)
{
    block b = { 0, size };
    if (is_cacheable(size)) b = cache_pop(size);
    if (!b.start) b = block_new(size);
    if (!b.start && ckmeans_clear_cache() > 0) b = block_new(size);
    return b.start ? memory_of(b) : 0;
}

static void give_back(void *memory)
{
    block evicted[MAX_BLOCKS], b = ((block *)memory)[-1];
    int i, n;
    if (!is_cacheable(b.size)) {
        block_free(b);
        return;
    }
    n = cache_push(b, evicted);
    for (i = 0; i < n; ++i) block_free(evicted[i]);
}
#endif

/* ---- for the callers ---- */

void *ckmeans_allocate(size_t size)
{
    void *const memory = fails() ? 0 : acquire(size);
    count_live(memory, 1);
    return memory;
}

void ckmeans_release(void *memory)
{
    count_live(memory, -1);
    if (memory) give_back(memory);
}
