/* What the system is told of memory. */
#ifndef CKMEANS_MEMORY_H
#define CKMEANS_MEMORY_H

#include <stddef.h>

void ckmeans_ask_for_large_pages(void *memory, size_t size); /* a wish: much of it will be written soon */

#endif
