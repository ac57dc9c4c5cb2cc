#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/mman.h>
#endif
#include "memory.h"
#include "threads.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || \
    HAS_FEATURE(thread_sanitizer) || HAS_FEATURE(memory_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { LINE = 64 };

#if SANITIZED && !defined(_WIN32)
/* Every block is the system's, so that the sanitizer sees what lies around it and what is used too late. */
void *ckmeans_allocate(size_t size)
{
    void *memory;
    return posix_memalign(&memory, LINE, size) ? 0 : memory;
}
void ckmeans_release(void *memory) { free(memory); }
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

/* ---- for the callers ---- */

void *ckmeans_allocate(size_t size)
{
    block b = { 0, size };
    if (is_cacheable(size)) b = cache_pop(size);
    if (!b.start) b = block_new(size);
    if (!b.start && ckmeans_clear_cache() > 0) b = block_new(size);
    return b.start ? memory_of(b) : 0;
}

void ckmeans_release(void *memory)
{
    block evicted[MAX_BLOCKS], b;
    int i, n;
    if (!memory) return;
    b = ((block *)memory)[-1];
    if (!is_cacheable(b.size)) {
        block_free(b);
        return;
    }
    n = cache_push(b, evicted);
    for (i = 0; i < n; ++i) block_free(evicted[i]);
}
#endif
