"""All distances between points and centroids, for `transform` of the estimators."""
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Points, Rows, out_of_range, raise_out_of_range, read_rows
from ckmeans._runtime cimport CallContext, Poll, allocate, poll, release, request_threads, threads_for

import numpy as np

cdef int64_t PAIRS_ROWS = 128  # rows of a block, a whole number of tiles
cdef int64_t PAIRS_K = 64      # centroids whose distances to a block are computed together

# Scratch memory of a thread.
cdef struct PairsWorkspace:
    void *rows
    void *tiles
    void *scores             # (PAIRS_K, PAIRS_ROWS) squared distances

cdef struct Pairs:
    const Rows *rows
    const char *centres
    int64_t K
    char *out                # (m, K)
    void *no_shift
    PairsWorkspace *workspaces
    uint64_t *max_abs_bits   # of each thread


cdef size_t pairs_layout(Pairs *p, int n_threads, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t item = p.rows.kernels.itemsize, at = 0
    cdef int i
    p.no_shift = take(memory, &at, p.rows.n * item)
    p.max_abs_bits = <uint64_t *>take(memory, &at, n_threads * sizeof(uint64_t))
    p.workspaces = <PairsWorkspace *>take(memory, &at, n_threads * sizeof(PairsWorkspace))
    cdef PairsWorkspace work
    for i in range(n_threads):
        work.rows = take(memory, &at, (PAIRS_ROWS * p.rows.n + 8) * item)
        work.tiles = take(memory, &at, PAIRS_ROWS * p.rows.n * item)
        work.scores = take(memory, &at, PAIRS_ROWS * PAIRS_K * item)
        if memory != NULL:
            p.workspaces[i] = work
    return at


cdef void store_roots(const void *squared, int itemsize, int64_t stride, int64_t count, int64_t group, int64_t K,
                      char *out) noexcept nogil:
    """`group` columns of `count` rows of K distances, from as many rows of squared ones."""
    cdef int64_t i, j
    for i in range(count):
        for j in range(group):
            if itemsize == 4:
                (<float *>out)[i * K + j] = sqrtf((<const float *>squared)[j * stride + i])
            else:
                (<double *>out)[i * K + j] = sqrt((<const double *>squared)[j * stride + i])


cdef void pairs_block(Pairs *p, int64_t block, int64_t thread) noexcept nogil:
    cdef const Rows *X = p.rows
    cdef PairsWorkspace *work = &p.workspaces[thread]
    cdef int64_t first = block * PAIRS_ROWS, count = min(PAIRS_ROWS, X.m - first), k = 0, group, stride
    cdef int64_t tile = X.kernels.tile, tiles = (count + tile - 1) // tile, item = X.kernels.itemsize
    cdef const void *rows = read_rows(X, first, count, work.rows, &stride)
    p.max_abs_bits[thread] = max(p.max_abs_bits[thread],
                                 X.kernels.pack(rows, stride, count, X.n, p.no_shift, work.tiles))
    while k < p.K:
        group = min(PAIRS_K, p.K - k)
        X.kernels.min_distance_update(work.tiles, tiles, X.n, p.centres + k * X.n * item, group, NULL, work.scores)
        store_roots(work.scores, item, tiles * tile, count, group, p.K, p.out + (first * p.K + k) * item)
        k += group


cdef void pairs_all(Pairs *p, int n_threads, Poll *poll_) noexcept nogil:
    cdef int64_t block, blocks = (p.rows.m + PAIRS_ROWS - 1) // PAIRS_ROWS
    for block in prange(blocks, schedule="dynamic", num_threads=request_threads(n_threads)):
        if not poll(poll_):
            pairs_block(p, block, threadid())


def distances(Points points, centroids, out, int n_threads):
    """Fill `out` with the distances of all pairs, from sums of squared differences.

    `centroids` and `out`: C-contiguous, of the computing dtype."""
    cdef const uint8_t[::1] centres = centroids.reshape(-1).view(np.uint8)
    cdef uint8_t[::1] filled = out.reshape(-1).view(np.uint8)
    cdef CallContext call = CallContext()
    cdef Pairs p
    cdef uint64_t max_abs_bits = 0
    cdef int i, threads = threads_for(n_threads, <double>points.rows.m * points.rows.n * len(centroids))
    p.rows, p.centres, p.K, p.out = &points.rows, <const char *>&centres[0], len(centroids), <char *>&filled[0]
    cdef char *memory = <char *>allocate(pairs_layout(&p, threads, NULL))
    if memory == NULL:
        raise MemoryError
    pairs_layout(&p, threads, memory)
    memset(p.no_shift, 0, p.rows.n * p.rows.kernels.itemsize)
    memset(p.max_abs_bits, 0, threads * sizeof(uint64_t))
    with nogil:
        pairs_all(&p, threads, &call.poll)
        for i in range(threads):
            max_abs_bits = max(max_abs_bits, p.max_abs_bits[i])
        release(memory)
    call.check()
    if out_of_range(&points.rows, max_abs_bits):
        raise_out_of_range(&points.rows, max_abs_bits)
