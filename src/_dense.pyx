"""Every pair of point and centroid, fused, at the speed of a matrix product; any n.

Rows are packed into tiles, with points in the SIMD lanes, a block at a time. With few centroids that takes longer
than the products: then rows are scored as they lie, with features in the lanes (assign_rows_body.h), and only those
whose label this leaves in doubt are packed. The labels are the same, bit for bit.

Sums go from step to step where few rows change their label (_sweep.pyx), as adding all rows up takes as long as the
products of several centroids.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Points, Rows, read_rows
from ckmeans._runtime cimport Poll, Watch, allocate, panel, poll, release, threads_for
from ckmeans._shift cimport find_shift
from ckmeans._sweep cimport Part, Sweep, store_labels, sweep_bytes, sweep_close, sweep_open, sweep_step

import numpy as np


# One thread's scratch.
cdef struct Desk:
    void *tiles
    void *scores
    void *ids
    void *partial
    int32_t *doubtful        # rows of the block
    void *copied             # a tile of them,
    void *settled            # and their indices

cdef struct Dense:
    Engine engine
    Sweep sweep
    panel panel
    void *shift
    void *few                # the centroids, where they are few; NULL: rows are packed
    bint tied                # too many rows were in doubt: all are packed from here on
    Desk *desks


# Bytes of a row, for each centroid, from which it is scored as it lies: a product takes longer than in a tile, but
# packing is saved. That is dearest where X exceeds the second cache, as rows side by side look like no stream.
cdef int64_t FEW_CACHED = 64
cdef int64_t FEW_FETCHED = 32
cdef int64_t CACHE_BYTES = 1 << 20

cdef int64_t CARRY_FROM = 16  # rows for each centroid from which carried sums take little memory beside X


def set_few_bytes(int64_t cached, int64_t fetched):
    """Change from which rows on that is done by the engines to come; returns what it was. It changes no label."""
    global FEW_CACHED, FEW_FETCHED
    before = FEW_CACHED, FEW_FETCHED
    FEW_CACHED, FEW_FETCHED = cached, fetched
    return before


cdef int64_t few_room(const Rows *rows, int64_t K) noexcept nogil:
    """How many values the centroids take where they are few; 0: tiles are faster."""
    cdef int64_t row = rows.n * rows.kernels.itemsize
    cdef int64_t least = FEW_FETCHED if rows.m * row > CACHE_BYTES else FEW_CACHED
    return rows.kernels.assign_rows_size(K, rows.n) if row >= least * K else 0


cdef size_t dense_layout(Dense *d, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = d.sweep.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Dense) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = d.sweep.K, i, tile = rows.kernels.tile
    cdef int64_t block = (d.sweep.block + tile - 1) // tile * tile, few = few_room(rows, K)
    cdef Desk desk

    d.panel.c = take(memory, &at, K * n * item)
    d.panel.norms = take(memory, &at, K * item)
    d.panel.ids = take(memory, &at, K * item)
    d.shift = take(memory, &at, n * item)
    d.few = take(memory, &at, few * item) if few > 0 else NULL
    d.desks = <Desk *>take(memory, &at, d.sweep.n_threads * sizeof(Desk))
    for i in range(d.sweep.n_threads):
        desk.tiles = take(memory, &at, block * n * item)
        desk.scores = take(memory, &at, block * item)
        desk.ids = take(memory, &at, block * item)
        desk.partial = take(memory, &at, K * tile * item if n > rows.kernels.max_features else 0)
        if few > 0:
            desk.doubtful = <int32_t *>take(memory, &at, (block + 1) * sizeof(int32_t))
            desk.copied = take(memory, &at, (tile * n + 8) * item)
            desk.settled = take(memory, &at, tile * item)
        if memory != NULL:
            d.desks[i] = desk
    return at


cdef Engine *dense_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    cdef Dense draft
    cdef char *memory
    cdef int i
    memset(&draft, 0, sizeof(Dense))
    draft.engine.step = dense_step
    draft.engine.close = dense_close
    draft.engine.finish = dense_finish
    draft.engine.room = rows.m
    draft.panel.n = rows.n
    if sweep_open(&draft.sweep, rows, K, n_threads, rows.m >= CARRY_FROM * K, False):
        return NULL
    draft.engine.bytes = <int64_t>dense_layout(&draft, NULL) + sweep_bytes(&draft.sweep)
    memory = <char *>allocate(dense_layout(&draft, NULL))
    if memory == NULL:
        sweep_close(&draft.sweep)
        return NULL
    dense_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Dense))
    for i in range(draft.sweep.n_threads if draft.few != NULL else 0):
        memset(draft.desks[i].copied, 0, rows.kernels.tile * rows.n * rows.kernels.itemsize)
    return <Engine *>memory


cdef void dense_close(Engine *engine) noexcept nogil:
    sweep_close(&(<Dense *>engine).sweep)
    release(engine)


cdef void dense_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    """This engine's labels are the rows'."""
    memcpy(labels, own, engine.room * sizeof(int32_t))


# ---- one step --------------------------------------------------------------------------------

cdef void score_tiles(Dense *d, Part *part, Desk *desk, const void *rows, int64_t stride, int64_t count,
                      void *ids) noexcept nogil:
    cdef const Rows *X = d.sweep.rows
    cdef int64_t tiles = (count + X.kernels.tile - 1) // X.kernels.tile
    cdef uint64_t most = X.kernels.pack(rows, stride, count, X.n, d.shift, desk.tiles)
    part.most = max(part.most, most)
    X.kernels.assign(desk.tiles, tiles, &d.panel, desk.scores, ids, desk.partial)


cdef void score_doubtful(Dense *d, Part *part, Desk *desk, const void *rows, int64_t stride,
                         int64_t doubts) noexcept nogil:
    """Give some rows of a block their labels, in tiles of their own. A tile is filled up with the rows that were
    copied before: a whole one is packed faster."""
    cdef const Rows *X = d.sweep.rows
    cdef int64_t item = X.kernels.itemsize, done = 0, count, i
    while done < doubts:
        count = min(doubts - done, <int64_t>X.kernels.tile)
        for i in range(count):
            memcpy(<char *>desk.copied + i * X.n * item,
                   <const char *>rows + desk.doubtful[done + i] * stride * item, X.n * item)
        score_tiles(d, part, desk, desk.copied, X.n, X.kernels.tile, desk.settled)
        for i in range(count):
            memcpy(<char *>desk.ids + desk.doubtful[done + i] * item, <char *>desk.settled + i * item, item)
        done += count


cdef void score_block(void *engine, const Step *s, Part *part, int thread, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef Dense *d = <Dense *>engine
    cdef Desk *desk = &d.desks[thread]
    cdef const Rows *X = d.sweep.rows
    cdef int64_t doubts = count
    if d.few != NULL and not d.tied:
        doubts = X.kernels.assign_rows(rows, stride, count, s.K, X.n, d.few, desk.ids, desk.doubtful, &part.most)
        part.open += doubts
    if doubts > count // 2:
        score_tiles(d, part, desk, rows, stride, count, desk.ids)
    else:
        score_doubtful(d, part, desk, rows, stride, doubts)
    part.changed += store_labels(desk.ids, X.kernels.itemsize, count, s.labels + first)


cdef bint mostly_in_doubt(const Dense *d) noexcept nogil:
    cdef int64_t open_ = 0, i
    for i in range(d.sweep.partials):
        open_ += d.sweep.parts[i].open
    return open_ > d.sweep.rows.m // 4


cdef int dense_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was interrupted."""
    cdef Dense *d = <Dense *>engine
    cdef const Rows *rows = d.sweep.rows
    cdef int stopped
    s.computed = rows.m * s.K
    if s.score:
        d.panel.K = s.K
        d.tied = d.tied and not s.fresh
        find_shift(rows.kernels.itemsize, s.K, rows.n, s.wide, d.shift)
        rows.kernels.pack_centroids(s.centroids, d.shift, &d.panel)
        if d.few != NULL:
            rows.kernels.assign_rows_pack(s.centroids, d.shift, s.K, rows.n, d.few)
    stopped = sweep_step(&d.sweep, engine, score_block, s, p)
    d.tied = d.tied or mostly_in_doubt(d)
    return stopped


# ---- all distances ---------------------------------------------------------------------------

cdef int64_t PAIRS_ROWS = 128  # rows of a block, a whole number of tiles
cdef int64_t PAIRS_K = 64      # centroids whose distances to a block are kept at a time

# One thread's scratch.
cdef struct PairsDesk:
    void *rows
    void *tiles
    void *scores             # (PAIRS_K, PAIRS_ROWS) squared distances

cdef struct Pairs:
    const Rows *rows
    const char *centres
    int64_t K
    char *out                # (m, K)
    void *no_shift
    PairsDesk *desks
    uint64_t *most           # of each thread


cdef size_t pairs_layout(Pairs *p, int n_threads, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t item = p.rows.kernels.itemsize, at = 0
    cdef int i
    p.no_shift = take(memory, &at, p.rows.n * item)
    p.most = <uint64_t *>take(memory, &at, n_threads * sizeof(uint64_t))
    p.desks = <PairsDesk *>take(memory, &at, n_threads * sizeof(PairsDesk))
    cdef PairsDesk desk
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
    cdef PairsDesk *desk = &p.desks[thread]
    cdef int64_t first = block * PAIRS_ROWS, count = min(PAIRS_ROWS, X.m - first), k = 0, group, stride
    cdef int64_t tile = X.kernels.tile, tiles = (count + tile - 1) // tile, item = X.kernels.itemsize
    cdef const void *rows = read_rows(X, first, count, desk.rows, &stride)
    p.most[thread] = max(p.most[thread], X.kernels.pack(rows, stride, count, X.n, p.no_shift, desk.tiles))
    while k < p.K:
        group = min(PAIRS_K, p.K - k)
        X.kernels.min_distance_update(desk.tiles, tiles, X.n, p.centres + k * X.n * item, group, NULL, desk.scores)
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
