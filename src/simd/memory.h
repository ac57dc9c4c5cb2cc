/* Workspace memory, of which a bounded amount is cached when it is released. */
#ifndef CKMEANS_MEMORY_H
#define CKMEANS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define CKMEANS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

void *ckmeans_allocate(size_t size);        /* aligned to a cache line; NULL if there is none */
void ckmeans_release(void *memory);         /* which may be NULL */
void ckmeans_limit_cache(size_t max_bytes); /* that released blocks may hold; 0: no cache */
size_t ckmeans_clear_cache(void);           /* give the cached blocks back to the system; their bytes */

/* For the tests. Counts allocations from now on, of which the one of this number fails (0: none, negative: no longer
 * count). Without it an allocation costs one load more. */
void ckmeans_count_allocations(int64_t failing);
int64_t ckmeans_allocations(void);      /* how many since then */
int64_t ckmeans_live_allocations(void); /* how many of these were not released */

/* Returns the next `size` bytes of a block that holds many arrays (see _arena.pxd); with memory NULL they are only
 * counted. Arrays begin at multiples of a cache line. With AddressSanitizer, what lies between them is out of bounds. */
static inline void *ckmeans_take(char *memory, size_t *at, size_t size)
{
    char *const start = memory ? memory + *at : 0;
    const size_t whole = (size + 63) / 64 * 64;
#ifdef CKMEANS_ADDRESS_SANITIZER
    *at += whole + 64;
    if (start) {
        __asan_unpoison_memory_region(start, size);
        __asan_poison_memory_region(start + size, whole + 64 - size);
    }
#else
    *at += whole;
#endif
    return start;
}

#endif
