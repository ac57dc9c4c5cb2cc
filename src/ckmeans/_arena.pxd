"""Many arrays in one block of memory, laid out by a function that runs twice: to count the bytes, then to set the
pointers. Arrays begin at multiples of 64 bytes, a cache line and the widest SIMD vector.
"""


cdef extern from "simd/memory.h" nogil:
    # Return the next `size` bytes of a block; with memory NULL they are only counted.
    void *take "ckmeans_take"(char *memory, size_t *at, size_t size)
