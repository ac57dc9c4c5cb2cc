"""Many arrays in one block of memory."""


cdef inline void *take(char *memory, size_t *at, size_t size) noexcept nogil:
    """The next `size` bytes of a block; with memory NULL they are only counted."""
    cdef void *start = NULL if memory == NULL else memory + at[0]
    at[0] += (size + 63) // 64 * 64
    return start
