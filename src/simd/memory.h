/* Workspace memory, of which a bounded amount is cached when it is released. */
#ifndef CKMEANS_MEMORY_H
#define CKMEANS_MEMORY_H

#include <stddef.h>

void *ckmeans_allocate(size_t size);        /* aligned to a cache line; NULL if there is none */
void ckmeans_release(void *memory);         /* which may be NULL */
void ckmeans_limit_cache(size_t max_bytes); /* that released blocks may hold; 0: no cache */
size_t ckmeans_clear_cache(void);           /* give the cached blocks back to the system; their bytes */

#endif
