/* Memory from the system, of which some is kept for who asks next. */
#ifndef CKMEANS_MEMORY_H
#define CKMEANS_MEMORY_H

#include <stddef.h>

void *ckmeans_allocate(size_t size); /* on a cache line's boundary; NULL where there is none */
void ckmeans_release(void *memory);  /* which may be NULL */

#endif
