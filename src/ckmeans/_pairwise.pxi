"""All distances between points and centroids, for `transform` of the estimators.

They come from sums of squared differences: unlike |x|^2 - 2 x c + |c|^2 these lose no digits where x is close to c.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport PreparedPoints, Rows, check_range, read_rows
from ckmeans._runtime cimport CallContext, Poll, allocate, poll, release, request_threads, threads_for

import numpy as np

cdef int64_t PAIRS_ROWS = 128  # rows of a block: a multiple of every tile
cdef int64_t PAIRS_K = 64      # centroids of a block, whose distances then take at most 64 KiB

# Scratch memory of a thread.
cdef struct PairsWorkspace:
    void *rows
    void *tiles
    void *squared            # (PAIRS_K, PAIRS_ROWS)

cdef struct Pairs:
    const Rows *rows
    const char *centroids
    int64_t K
    char *out                # (m, K)
    void *no_shift           # (n,) zeros
    PairsWorkspace *workspaces
    uint64_t *max_abs_bits   # of each thread


cdef size_t pairs_layout(Pairs *pairs, int n_threads, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef int64_t n = pairs.rows.n
    cdef size_t item = pairs.rows.kernels.itemsize, at = 0
    cdef PairsWorkspace work
    cdef int i
    pairs.no_shift = take(memory, &at, n * item)
    pairs.max_abs_bits = <uint64_t *>take(memory, &at, n_threads * sizeof(uint64_t))
    pairs.workspaces = <PairsWorkspace *>take(memory, &at, n_threads * sizeof(PairsWorkspace))
    for i in range(n_threads):
        work.rows = take(memory, &at, (PAIRS_ROWS * n + 8) * item)
        work.tiles = take(memory, &at, PAIRS_ROWS * n * item)
        work.squared = take(memory, &at, PAIRS_ROWS * PAIRS_K * item)
        if memory != NULL:
            pairs.workspaces[i] = work
    return at


cdef void store_roots(const void *squared, int itemsize, int64_t stride, int64_t count, int64_t group, int64_t K,
                      char *out) noexcept nogil:
    """Store `group` columns of `count` rows of K distances, from `group` rows of squared ones."""
    cdef int64_t i, j
    for i in range(count):
        for j in range(group):
            if itemsize == 4:
                (<float *>out)[i * K + j] = sqrtf((<const float *>squared)[j * stride + i])
            else:
                (<double *>out)[i * K + j] = sqrt((<const double *>squared)[j * stride + i])


cdef void measure_block(Pairs *pairs, int64_t block, int64_t thread) noexcept nogil:
    """Find the distances of a block of rows to all centroids."""
    cdef const Rows *X = pairs.rows
    cdef PairsWorkspace *work = &pairs.workspaces[thread]
    cdef int64_t first = block * PAIRS_ROWS, count = min(PAIRS_ROWS, X.m - first), k = 0, group, stride
    cdef int64_t tile = X.kernels.tile, tiles = (count + tile - 1) // tile, item = X.kernels.itemsize
    cdef const void *rows = read_rows(X, first, count, work.rows, &stride)
    cdef uint64_t max_abs_bits = X.kernels.pack(rows, stride, count, X.n, pairs.no_shift, work.tiles)
    pairs.max_abs_bits[thread] = max(pairs.max_abs_bits[thread], max_abs_bits)
    while k < pairs.K:
        group = min(PAIRS_K, pairs.K - k)
        X.kernels.min_distance_update(
            work.tiles, tiles, X.n, pairs.centroids + k * X.n * item, group, NULL, work.squared)
        store_roots(work.squared, item, tiles * tile, count, group, pairs.K, pairs.out + (first * pairs.K + k) * item)
        k += group


cdef void measure_blocks(Pairs *pairs, int n_threads, Poll *p) noexcept nogil:
    cdef int64_t block, blocks = (pairs.rows.m + PAIRS_ROWS - 1) // PAIRS_ROWS
    for block in prange(blocks, schedule="dynamic", num_threads=request_threads(n_threads)):
        if not poll(p):
            measure_block(pairs, block, threadid())


def distances(PreparedPoints points, centroids, out, int n_threads):
    """Fill `out` with the distances of all pairs; `centroids` and `out` are C-contiguous, of the computing dtype."""
    cdef const uint8_t[::1] centroid_bytes = centroids.reshape(-1).view(np.uint8)
    cdef uint8_t[::1] out_bytes = out.reshape(-1).view(np.uint8)
    cdef CallContext call = CallContext()
    cdef Pairs pairs
    cdef uint64_t max_abs_bits = 0
    cdef int i, threads = threads_for(n_threads, <double>points.rows.m * points.rows.n * len(centroids))
    points.bring_to_unit_length(n_threads, call)
    pairs.rows, pairs.K = &points.rows, len(centroids)
    pairs.centroids, pairs.out = <const char *>&centroid_bytes[0], <char *>&out_bytes[0]
    cdef char *memory = <char *>allocate(pairs_layout(&pairs, threads, NULL))
    if memory == NULL:
        raise MemoryError
    pairs_layout(&pairs, threads, memory)
    memset(pairs.no_shift, 0, pairs.rows.n * pairs.rows.kernels.itemsize)
    memset(pairs.max_abs_bits, 0, threads * sizeof(uint64_t))
    with nogil:
        measure_blocks(&pairs, threads, &call.poll)
        for i in range(threads):
            max_abs_bits = max(max_abs_bits, pairs.max_abs_bits[i])
        release(memory)
    call.check()
    check_range(&points.rows, max_abs_bits)
