/* Arrays between two pages that cannot be touched: a part of kernels_check.c. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bytes between the end of an array and the page after it: qemu reads whole vectors where a masked load asks for a
 * part. */
static int64_t spare = 0;

/* 1: arrays end where that page begins, at whatever address their size makes of it. 0: they begin where the page before
 * them ends. */
static int at_end = 1;

enum { MAX_ARRAYS = 64 };

/* Pages between guards; `array` is NULL while nobody uses them. */
static struct mapping {
    char *first, *array;
    int64_t bytes, size; /* of the pages, of the array */
} mappings[MAX_ARRAYS];

/* Pages for `bytes` bytes: those of a released array, or new ones. */
static struct mapping *mapping_for(int64_t bytes)
{
    const int64_t page = sysconf(_SC_PAGESIZE);
    struct mapping *unused = 0;
    for (int i = 0; i < MAX_ARRAYS; ++i) {
        if (!mappings[i].array && mappings[i].bytes == bytes) return &mappings[i];
        if (!mappings[i].array && (!unused || !mappings[i].bytes)) unused = &mappings[i];
    }
    if (!unused) abort();
    if (unused->bytes) munmap(unused->first - page, (size_t)(unused->bytes + 2 * page));
    char *memory = mmap(0, (size_t)(bytes + 2 * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + page, (size_t)bytes, PROT_READ | PROT_WRITE)) abort();
    unused->first = memory + page, unused->bytes = bytes;
    return unused;
}

/* Filled with 0xff, so that a value which a kernel does not write is a NaN; and so are the bytes around it. */
static void *allocate(int64_t size)
{
    const int64_t page = sysconf(_SC_PAGESIZE);
    struct mapping *const m = mapping_for((size + spare + page) / page * page);
    memset(m->first, 0xff, (size_t)m->bytes);
    m->size = size;
    return m->array = at_end ? m->first + m->bytes - spare - size : m->first;
}

/* Returns whether the bytes of its pages beside the array are as they were. */
static int is_whole(const struct mapping *m)
{
    int good = 1;
    for (const char *p = m->first; p < m->array; ++p) good &= *p == (char)0xff;
    for (const char *p = m->array + m->size; p < m->first + m->bytes; ++p) good &= *p == (char)0xff;
    return good;
}

static void release(void *array)
{
    for (int i = 0; i < MAX_ARRAYS; ++i) {
        if (mappings[i].array != array || !array) continue;
        if (!is_whole(&mappings[i])) {
            printf("bytes beside an array of %lld bytes were written\n", (long long)mappings[i].size);
            exit(1);
        }
        mappings[i].array = 0;
        return;
    }
    if (array) abort();
}
