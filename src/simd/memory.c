#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

static void ask_for_large_pages(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)memory;
    const uintptr_t first = (begin + page - 1) / page * page, last = (begin + size) / page * page;
    if (last > first) madvise((void *)first, last - first, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}
#else
static void ask_for_large_pages(void *memory, size_t size) { (void)memory, (void)size; }
#endif

enum {
    LINE = 64,
    LARGE = 1 << 22,      /* bytes from which large pages pay: a small one costs as much as to write it */
    SMALL = 1 << 15,      /* up to which the system keeps what is released itself */
    KEPT_BLOCKS = 32,
    KEPT_BYTES = 1 << 27, /* the most that is kept */
};

typedef struct {
    void *raw;
    size_t size;
} block;

/* What was released lately, the oldest first, for who asks next: a system that takes memory back has every page
 * of it faulted in again, which takes short fits as long as their work. */
static block kept[KEPT_BLOCKS];
static int n_kept = 0;
static size_t kept_bytes = 0;

/* Who finds this taken does without: nobody waits, in a forked child neither. */
#if defined(_MSC_VER)
#include <intrin.h>
static volatile long busy = 0;
static int enter(void) { return _InterlockedExchange(&busy, 1) == 0; }
static void leave(void) { _InterlockedExchange(&busy, 0); }
#else
static int busy = 0;
static int enter(void) { return __atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE) == 0; }
static void leave(void) { __atomic_store_n(&busy, 0, __ATOMIC_RELEASE); }
#endif

static block remove_kept(int i)
{
    const block found = kept[i];
    kept_bytes -= found.size;
    n_kept -= 1;
    for (; i < n_kept; ++i) kept[i] = kept[i + 1];
    return found;
}

/* The smallest block that is kept and large enough, but not much larger: up to twice where it is large. */
static block take_kept(size_t size)
{
    block found = { 0, (size >= LARGE ? 2 * size : size + size / 4) + 1 };
    int i, best = -1;
    if (!enter()) return found;
    for (i = 0; i < n_kept; ++i)
        if (kept[i].size >= size && kept[i].size < found.size) {
            found = kept[i];
            best = i;
        }
    if (best >= 0) remove_kept(best);
    leave();
    return found;
}

/* Keep a block; the ones that have to go for it. */
static int put_kept(block released, block *gone)
{
    int n = 0;
    if (!enter()) {
        gone[0] = released;
        return 1;
    }
    while (n_kept == KEPT_BLOCKS || (n_kept > 0 && kept_bytes + released.size > KEPT_BYTES)) gone[n++] = remove_kept(0);
    kept[n_kept++] = released;
    kept_bytes += released.size;
    leave();
    return n;
}

/* Give all of it back. */
static void drop_kept(void)
{
    block gone[KEPT_BLOCKS];
    int n = 0;
    if (!enter()) return;
    while (n_kept > 0) gone[n++] = remove_kept(n_kept - 1);
    leave();
    while (n > 0) free(gone[--n].raw);
}

/* A block's own note of itself lies before what is handed out. */
static void *hand_out(block b)
{
    char *aligned = (char *)b.raw + (2 * LINE - (uintptr_t)b.raw % LINE);
    ((block *)aligned)[-1] = b;
    return aligned;
}

void *ckmeans_allocate(size_t size)
{
    block b = { 0, size };
    if (size > SMALL && size <= KEPT_BYTES) b = take_kept(size);
    if (b.raw) return hand_out(b);
    b.size = size;
    b.raw = malloc(size + 2 * LINE);
    if (!b.raw) {
        drop_kept();
        b.raw = malloc(size + 2 * LINE);
    }
    if (!b.raw) return 0;
    if (size >= LARGE) ask_for_large_pages(b.raw, size);
    return hand_out(b);
}

void ckmeans_release(void *memory)
{
    block gone[KEPT_BLOCKS];
    int i, n = 1;
    if (!memory) return;
    gone[0] = ((block *)memory)[-1];
    if (gone[0].size > SMALL && gone[0].size <= KEPT_BYTES) n = put_kept(gone[0], gone);
    for (i = 0; i < n; ++i) free(gone[i].raw);
}
