"""Many arrays in one block of memory, laid out by a function that runs twice: to count the bytes, then to set the
pointers. Arrays begin at multiples of 64 bytes, a cache line and the widest SIMD vector.
"""


cdef inline void *take(char *memory, size_t *at, size_t size) noexcept nogil:
    """Return the next `size` bytes of a block; with memory NULL they are only counted."""
    cdef void *start = NULL if memory == NULL else memory + at[0]
    at[0] += (size + 63) // 64 * 64
    return start
