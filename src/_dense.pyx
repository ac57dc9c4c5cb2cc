"""Every pair of point and centroid, fused, at the speed of a matrix product; any n.

How the result stays the same on any number of threads: the rows are cut into chunks whose size
follows from n and K alone; chunk i adds to partial sum i mod P, in rising order; the partial sums
are added up in order. One partial sum belongs to one thread at a time.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Points, Rows, block_at, hold, read_rows
from ckmeans._runtime cimport (
    Poll, Watch, allocate, panel, poll, release, sums, threads_for, wide_stride,
)
from ckmeans._shift cimport find_shift, take

import numpy as np

# ---- sizes: of n, K and the dtype alone ------------------------------------------------------

cdef int64_t CHUNK_ROWS = 512
cdef int64_t CHUNK_WORK = 1 << 30     # multiply-adds that may pass between two looks at signals
cdef int64_t WINDOW_WORK = 1 << 31    # multiply-adds between two meetings of the threads
cdef int64_t BLOCK_BYTES = 192 * 1024  # packed rows that stay in the second cache


cdef int64_t chunk_rows(int64_t n, int64_t K) noexcept nogil:
    cdef int64_t rows = CHUNK_ROWS
    while rows > 32 and rows * n > CHUNK_WORK // K:
        rows //= 2
    return rows


cdef int64_t partial_count(int64_t n, int64_t K) noexcept nogil:
    """Partial sums: enough for many threads while they are small, few when they are large."""
    cdef int64_t size = K * (wide_stride(n) + 2) * sizeof(double)
    cdef int64_t count = 64
    while count > 1 and count * size > ((8 << 20) if count > 16 else (128 << 20)):
        count //= 2
    return count


# ---- what one fit holds ----------------------------------------------------------------------

cdef struct Part:
    sums sums
    int64_t changed
    uint64_t most

# One thread's scratch.
cdef struct Desk:
    void *rows
    void *tiles
    void *scores
    void *ids
    void *partial

cdef struct Dense:
    Engine engine
    const Rows *rows
    int64_t K
    int n_threads
    int64_t chunk
    int64_t block
    int64_t partials
    panel panel
    void *shift
    Part *parts
    Desk *desks


cdef int64_t block_rows(const Rows *rows, int64_t chunk) noexcept nogil:
    cdef int64_t tile = rows.kernels.tile
    cdef int64_t tiles = BLOCK_BYTES // (tile * rows.n * rows.kernels.itemsize)
    return min(max(tiles, 1) * tile, chunk)


cdef size_t dense_layout(Dense *d, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = d.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Dense) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = d.K, i, tile = rows.kernels.tile
    cdef int64_t block = (d.block + tile - 1) // tile * tile

    d.panel.c = take(memory, &at, K * n * item)
    d.panel.norms = take(memory, &at, K * item)
    d.panel.ids = take(memory, &at, K * item)
    d.shift = take(memory, &at, n * item)
    d.parts = <Part *>take(memory, &at, d.partials * sizeof(Part))
    d.desks = <Desk *>take(memory, &at, d.n_threads * sizeof(Desk))
    cdef Part part
    for i in range(d.partials):
        part.sums.offsets = <double *>take(memory, &at, K * wide_stride(n) * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        if memory != NULL:
            d.parts[i] = part
    cdef Desk desk
    for i in range(d.n_threads):
        desk.rows = take(memory, &at, (block * n + 8) * item)
        desk.tiles = take(memory, &at, block * n * item)
        desk.scores = take(memory, &at, block * item)
        desk.ids = take(memory, &at, block * item)
        desk.partial = take(memory, &at, K * tile * item if n > rows.kernels.features else 0)
        if memory != NULL:
            d.desks[i] = desk
    return at


cdef Engine *dense_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    cdef Dense draft
    draft.engine.step = dense_step
    draft.engine.finish = dense_finish
    draft.engine.close = dense_close
    draft.engine.room = rows.m
    draft.rows = rows
    draft.K = draft.panel.K = K
    draft.panel.n = rows.n
    draft.chunk = chunk_rows(rows.n, K)
    draft.block = block_rows(rows, draft.chunk)
    draft.partials = min(partial_count(rows.n, K), (rows.m + draft.chunk - 1) // draft.chunk)
    draft.n_threads = min(threads_for(n_threads, <double>rows.m * rows.n * K), <int>draft.partials)
    draft.engine.bytes = dense_layout(&draft, NULL)
    cdef char *memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        return NULL
    dense_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Dense))
    return <Engine *>memory


cdef void dense_close(Engine *engine) noexcept nogil:
    release(engine)


cdef void dense_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    """This engine's labels are the rows'."""
    memcpy(labels, own, engine.room * sizeof(int32_t))


# ---- one step --------------------------------------------------------------------------------

cdef inline int64_t store_labels(const void *ids, int itemsize, int64_t count, int32_t *labels) noexcept nogil:
    """Labels from a kernel's integers; returns how many changed."""
    cdef int64_t i, changed = 0
    cdef int32_t label
    for i in range(count):
        label = <int32_t>(<const uint32_t *>ids)[i] if itemsize == 4 else <int32_t>(<const uint64_t *>ids)[i]
        changed += label != labels[i]
        labels[i] = label
    return changed


cdef void score_block(Dense *d, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef const Rows *X = d.rows
    cdef int64_t tiles = (count + X.kernels.tile - 1) // X.kernels.tile
    cdef uint64_t most = X.kernels.pack(rows, stride, count, X.n, d.shift, desk.tiles)
    part.most = max(part.most, most)
    X.kernels.assign(desk.tiles, tiles, &d.panel, desk.scores, desk.ids, desk.partial)
    part.changed += store_labels(desk.ids, X.kernels.itemsize, count, s.labels + first)


cdef void work_chunk(Dense *d, const Step *s, Poll *p, Part *part, Desk *desk, int64_t chunk) noexcept nogil:
    """Find the labels of a chunk and add its rows up while they are in the cache."""
    cdef const Rows *X = d.rows
    cdef int64_t first = chunk * d.chunk, end = min(first + d.chunk, X.m), count, stride
    cdef const void *rows
    while first < end and not poll(p):
        count = block_at(X, first, min(d.block, end - first))
        rows = read_rows(X, first, count, desk.rows, &stride)
        if s.score:
            score_block(d, s, part, desk, rows, stride, first, count)
        if s.sum:
            X.kernels.accumulate(rows, stride, count, X.n, s.labels + first,
                                 NULL if X.weights == NULL else X.weights + first, s.wide, &part.sums)
        if s.squared != NULL:
            X.kernels.distances(rows, stride, count, X.n, s.labels + first, s.wide, s.squared + first)
        first += count


cdef void work_part(Dense *d, const Step *s, Poll *p, int64_t i, int64_t thread, int64_t first,
                    int64_t last) noexcept nogil:
    """Partial sum i over those of the chunks first .. last - 1 that belong to it, in order."""
    cdef Part *part = &d.parts[i]
    cdef int64_t chunk = first + (i - first % d.partials + d.partials) % d.partials
    if first == 0:
        part.changed = part.most = 0
        memset(part.sums.square, 0, sizeof(part.sums.square))
        if s.sum:
            memset(part.sums.offsets, 0, s.K * wide_stride(d.rows.n) * sizeof(double))
            memset(part.sums.weights, 0, s.K * sizeof(double))
            memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    while chunk < last:
        work_chunk(d, s, p, part, &d.desks[thread], chunk)
        chunk += d.partials


cdef void reduce_cluster(Dense *d, Step *s, int64_t k) noexcept nogil:
    cdef int64_t stride = wide_stride(d.rows.n), i, l
    cdef double *total = s.offsets + k * stride
    cdef const double *part
    memset(total, 0, stride * sizeof(double))
    s.weights[k] = 0
    s.counts[k] = 0
    for i in range(d.partials):
        part = d.parts[i].sums.offsets + k * stride
        for l in range(stride):
            total[l] += part[l]
        s.weights[k] += d.parts[i].sums.weights[k]
        s.counts[k] += d.parts[i].sums.counts[k]
    if d.rows.weights == NULL:
        s.weights[k] = <double>s.counts[k]


cdef void reduce_parts(Dense *d, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, k, lane
    s.changed = s.most = 0
    s.computed = d.rows.m * s.K
    s.square = 0
    for i in range(d.partials):
        s.changed += d.parts[i].changed
        s.most = max(s.most, d.parts[i].most)
        for lane in range(16):
            s.square += d.parts[i].sums.square[lane]
    if not s.sum:
        return
    if threads_for(d.n_threads, <double>s.K * wide_stride(d.rows.n) * d.partials) == 1:
        for k in range(s.K):
            reduce_cluster(d, s, k)
    else:
        for k in prange(s.K, schedule="static", num_threads=d.n_threads):
            reduce_cluster(d, s, k)


cdef int64_t window_chunks(const Dense *d, int64_t K) noexcept nogil:
    """How many chunks lie between two meetings of the threads: this changes no bits."""
    cdef int64_t rounds = max(1, WINDOW_WORK // (d.partials * d.chunk) // (d.rows.n * K))
    if d.rows.feed == NULL:
        return rounds * d.partials
    return min(rounds * d.partials, max(d.rows.feed.room // d.chunk, d.n_threads))


cdef int dense_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was interrupted."""
    cdef Dense *d = <Dense *>engine
    cdef int64_t chunks = (d.rows.m + d.chunk - 1) // d.chunk, first = 0, last, i
    cdef int64_t window = window_chunks(d, s.K)
    s.about_zero = False
    if s.score:
        d.panel.K = s.K
        find_shift(d.rows.kernels.itemsize, s.K, d.rows.n, s.wide, d.shift)
        d.rows.kernels.pack_centroids(s.centroids, d.shift, &d.panel)
    while first < chunks and not p.stopped:
        last = min(first + window, chunks)
        if hold(d.rows, first * d.chunk, (last - first) * d.chunk, p):
            break
        if d.n_threads == 1:
            for i in range(d.partials):
                work_part(d, s, p, i, 0, first, last)
        else:
            for i in prange(d.partials, schedule="dynamic", chunksize=1, num_threads=d.n_threads):
                work_part(d, s, p, i, threadid(), first, last)
        first = last
    if p.stopped:
        return 1
    reduce_parts(d, s)
    return 0


# ---- all distances ---------------------------------------------------------------------------

cdef int64_t PAIRS_ROWS = 128  # rows of a block, a whole number of tiles
cdef int64_t PAIRS_K = 64      # centroids whose distances to a block are kept at a time

cdef struct Pairs:
    const Rows *rows
    const char *centres
    int64_t K
    char *out                # (m, K)
    void *no_shift
    Desk *desks              # scores: (PAIRS_K, PAIRS_ROWS) squared distances
    uint64_t *most           # of each thread


cdef size_t pairs_layout(Pairs *p, int n_threads, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t item = p.rows.kernels.itemsize, at = 0
    cdef int i
    p.no_shift = take(memory, &at, p.rows.n * item)
    p.most = <uint64_t *>take(memory, &at, n_threads * sizeof(uint64_t))
    p.desks = <Desk *>take(memory, &at, n_threads * sizeof(Desk))
    cdef Desk desk
    desk.ids = NULL
    for i in range(n_threads):
        desk.rows = take(memory, &at, (PAIRS_ROWS * p.rows.n + 8) * item)
        desk.tiles = take(memory, &at, PAIRS_ROWS * p.rows.n * item)
        desk.scores = take(memory, &at, PAIRS_ROWS * PAIRS_K * item)
        if memory != NULL:
            p.desks[i] = desk
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
    cdef Desk *desk = &p.desks[thread]
    cdef int64_t first = block * PAIRS_ROWS, count = min(PAIRS_ROWS, X.m - first), k = 0, group, stride
    cdef int64_t tile = X.kernels.tile, tiles = (count + tile - 1) // tile, item = X.kernels.itemsize
    cdef const void *rows = read_rows(X, first, count, desk.rows, &stride)
    p.most[thread] = max(p.most[thread], X.kernels.pack(rows, stride, count, X.n, p.no_shift, desk.tiles))
    while k < p.K:
        group = min(PAIRS_K, p.K - k)
        X.kernels.relax(desk.tiles, tiles, X.n, p.centres + k * X.n * item, group, NULL, desk.scores)
        store_roots(desk.scores, item, tiles * tile, count, group, p.K, p.out + (first * p.K + k) * item)
        k += group


cdef void pairs_all(Pairs *p, int n_threads, Poll *poll_) noexcept nogil:
    cdef int64_t block, blocks = (p.rows.m + PAIRS_ROWS - 1) // PAIRS_ROWS
    for block in prange(blocks, schedule="dynamic", num_threads=n_threads):
        if not poll(poll_):
            pairs_block(p, block, threadid())


def distances(Points points, centroids, out, int n_threads):
    """Fill `out` with the distances of all pairs, from sums of squared differences; the bits of the
    largest magnitude that was read. `centroids` and `out`: C-contiguous, of the computing dtype."""
    cdef const uint8_t[::1] centres = centroids.reshape(-1).view(np.uint8)
    cdef uint8_t[::1] filled = out.reshape(-1).view(np.uint8)
    cdef Watch watch = Watch()
    cdef Pairs p
    cdef uint64_t most = 0
    cdef int i, threads = threads_for(n_threads, <double>points.rows.m * points.rows.n * len(centroids))
    p.rows, p.centres, p.K, p.out = &points.rows, <const char *>&centres[0], len(centroids), <char *>&filled[0]
    cdef char *memory = <char *>allocate(pairs_layout(&p, threads, NULL))
    if memory == NULL:
        raise MemoryError
    pairs_layout(&p, threads, memory)
    memset(p.no_shift, 0, p.rows.n * p.rows.kernels.itemsize)
    memset(p.most, 0, threads * sizeof(uint64_t))
    with nogil:
        pairs_all(&p, threads, &watch.poll)
        for i in range(threads):
            most = max(most, p.most[i])
        release(memory)
    watch.check()
    return most
