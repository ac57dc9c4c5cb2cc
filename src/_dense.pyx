"""Every pair of point and centroid, fused, at the speed of a matrix product; any n."""
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._engine cimport Engine, Step
from ckmeans._points cimport Points, Rows, read_row
from ckmeans._runtime cimport Poll, Watch, allocate, panel, release, wide_stride
from ckmeans._shift cimport find_shift
from ckmeans._sweep cimport Part, Sweep, store_labels, sweep_bytes, sweep_close, sweep_open, sweep_step, take

import numpy as np


# One thread's scratch.
cdef struct Desk:
    void *tiles
    void *scores
    void *ids

cdef struct Dense:
    Engine engine
    Sweep sweep
    panel panel
    void *shift
    Desk *desks


cdef size_t dense_layout(Dense *d, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = d.sweep.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Dense) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = d.sweep.K, i, tile = rows.kernels.tile
    cdef int64_t block = (d.sweep.block + tile - 1) // tile * tile
    cdef Desk desk

    d.panel.c = take(memory, &at, K * n * item)
    d.panel.norms = take(memory, &at, K * item)
    d.panel.ids = take(memory, &at, K * item)
    d.shift = take(memory, &at, n * item)
    d.desks = <Desk *>take(memory, &at, d.sweep.n_threads * sizeof(Desk))
    for i in range(d.sweep.n_threads):
        desk.tiles = take(memory, &at, block * n * item)
        desk.scores = take(memory, &at, block * item)
        desk.ids = take(memory, &at, block * item)
        if memory != NULL:
            d.desks[i] = desk
    return at


cdef Engine *dense_open(const Rows *rows, int64_t K, int n_threads) noexcept nogil:
    cdef Dense draft
    cdef char *memory
    memset(&draft, 0, sizeof(Dense))
    draft.engine.step = dense_step
    draft.engine.close = dense_close
    draft.engine.name = "dense"
    draft.panel.n = rows.n
    if sweep_open(&draft.sweep, rows, K, n_threads):
        return NULL
    draft.engine.bytes = <int64_t>dense_layout(&draft, NULL) + sweep_bytes(&draft.sweep)
    memory = <char *>allocate(dense_layout(&draft, NULL))
    if memory == NULL:
        sweep_close(&draft.sweep)
        return NULL
    dense_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Dense))
    return <Engine *>memory


cdef void dense_close(Engine *engine) noexcept nogil:
    sweep_close(&(<Dense *>engine).sweep)
    release(engine)


# ---- one step --------------------------------------------------------------------------------

cdef void score_block(void *engine, const Step *s, Part *part, int thread, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef Dense *d = <Dense *>engine
    cdef Desk *desk = &d.desks[thread]
    cdef const Rows *X = d.sweep.rows
    cdef int64_t tiles = (count + X.kernels.tile - 1) // X.kernels.tile
    cdef uint64_t most = X.kernels.pack(rows, stride, count, X.n, d.shift, desk.tiles)
    part.most = max(part.most, most)
    X.kernels.assign(desk.tiles, tiles, &d.panel, desk.scores, desk.ids)
    part.changed += store_labels(desk.ids, X.kernels.itemsize, count, s.labels + first)


cdef int dense_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was interrupted."""
    cdef Dense *d = <Dense *>engine
    cdef const Rows *rows = d.sweep.rows
    if s.score:
        d.panel.K = s.K
        find_shift(s, rows.n, rows.kernels.itemsize, d.shift)
        rows.kernels.pack_centroids(s.centroids, d.shift, &d.panel)
        engine.computed += <double>rows.m * s.K
    return sweep_step(&d.sweep, engine, score_block, s, p)


# ---- for the low-level functions ---------------------------------------------------------------

cdef uint64_t read_centroids(const Rows *centroids, int itemsize, double *wide, void *rounded) noexcept nogil:
    """Centroids rounded to the computing dtype, and the same in float64; the bits of the largest
    magnitude."""
    cdef int64_t n = centroids.n, stride = wide_stride(n), k, l
    cdef double value, most = 0
    cdef float most_single
    for k in range(centroids.m):
        read_row(centroids, k, wide + k * stride)
        for l in range(n):
            value = wide[k * stride + l]
            if itemsize == 4:
                (<float *>rounded)[k * n + l] = <float>value
                value = <float>value
            else:
                (<double *>rounded)[k * n + l] = value
            wide[k * stride + l] = value
            # Also true for a NaN, which then stays.
            if not fabs(value) <= most:
                most = fabs(value)
        for l in range(n, stride):
            wide[k * stride + l] = 0
    most_single = <float>most
    return (<uint32_t *>&most_single)[0] if itemsize == 4 else (<uint64_t *>&most)[0]


cdef int step_once(const Rows *rows, const Rows *centroids, Step *s, int n_threads, Poll *p) noexcept nogil:
    """One step with everything made for it; nonzero where there is no memory."""
    cdef int itemsize = rows.kernels.itemsize
    cdef Engine *engine = dense_open(rows, centroids.m, n_threads)
    cdef void *rounded = allocate(centroids.m * rows.n * itemsize)
    cdef uint64_t most
    s.wide = <double *>allocate(centroids.m * wide_stride(rows.n) * sizeof(double))
    cdef bint failed = engine == NULL or rounded == NULL or s.wide == NULL
    if not failed:
        most = read_centroids(centroids, itemsize, s.wide, rounded)
        s.K = centroids.m
        s.centroids = rounded
        engine.step(engine, s, p)
        s.most = max(s.most, most)
    if engine != NULL:
        engine.close(engine)
    release(rounded)
    release(s.wide)
    return failed


def step(Points points, Points centroids, int32_t[::1] labels, double[::1] squared, bint score, bint sum,
         int n_threads):
    """One step from Python: (most, square, offsets, weights, counts).

    `centroids`: opened to be read in float64; they are rounded to the computing dtype first.
    `labels` are filled if `score`, else read; `squared` (or None) is filled. The last three are
    None unless `sum`. `most` holds the bits of the largest magnitude of X and the centroids, or of
    infinity where labels were given and the sum of squares is not finite.
    """
    cdef int64_t K = centroids.rows.m, n = points.rows.n
    cdef Step s
    cdef double[:, ::1] offsets
    cdef double[::1] weights
    cdef int64_t[::1] counts
    offsets_array = weights_array = counts_array = None
    if sum:
        offsets = offsets_array = np.empty((K, wide_stride(n)))
        weights = weights_array = np.empty(K)
        counts = counts_array = np.empty(K, np.int64)
        s.offsets, s.weights, s.counts = &offsets[0, 0], &weights[0], &counts[0]
        offsets_array = offsets_array[:, :n]
    s.score, s.sum, s.fresh = score, sum, True
    s.labels = &labels[0]
    s.squared = NULL if squared is None else &squared[0]
    cdef Watch watch = Watch()
    cdef bint failed
    with nogil:
        failed = step_once(&points.rows, &centroids.rows, &s, n_threads, &watch.poll)
    if failed:
        raise MemoryError
    watch.check()
    if sum and not isfinite(s.square):
        s.most = points.bits(INFINITY)
    return s.most, s.square, offsets_array, weights_array, counts_array
