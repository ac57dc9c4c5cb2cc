"""Every pair of point and centroid, fused, at the speed of a matrix product; any n.

Rows are packed into tiles, with points in the SIMD lanes, a block at a time. With few centroids packing takes longer
than the products: then rows are scored where they lie, with features in the lanes (assign_rows_body.h), and only those
that this leaves undecided are packed. The labels are bit-identical.

Sums are carried from step to step where few rows change their label (_sweep.pxi), as adding all rows up takes as long
as the products of several centroids.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport (
    Block, Engine, EngineFactory, PackedCentroids, PartialSum, Problem, Step, Sweep, entry_of, sweep_bytes, sweep_close,
    sweep_open, sweep_step, update_labels,
)
from ckmeans._points cimport Rows, n_tiles
from ckmeans._runtime cimport Poll, allocate, panel, release
from ckmeans._shift cimport find_shift


# Scratch memory of a thread.
cdef struct Workspace:
    void *tiles
    void *scores
    void *ids
    void *partial            # scores over part of the features
    int32_t *undecided       # rows of the block
    void *copied             # a tile of them,
    void *copied_ids         # and its labels

cdef struct Dense:
    Engine engine
    Sweep sweep
    panel panel              # memory for the centroids,
    void *shift
    PackedCentroids packed   # and what is used: this, or as they were given
    void *row_panel          # the centroids, to score rows where they lie; NULL: all rows are packed
    bint always_packed       # too many rows were undecided: all are packed from here on
    Workspace *workspaces


# Bytes of a row, for each centroid, from which it is scored where it lies: a product takes longer than in a tile, but
# packing is saved. Packing costs most where X exceeds the second-level cache, as rows side by side are no stream to
# the prefetcher. tools/calibrate.py measured 61 (few_cached) and 24, 23 to 32 (few_fetched).
cdef int64_t FEW_CACHED = 64
cdef int64_t FEW_FETCHED = 32
cdef int64_t CACHE_BYTES = 1 << 20

cdef int64_t CARRY_FROM = 16  # rows for each centroid from which carried sums take little memory beside X


def set_few_bytes(int64_t cached, int64_t fetched):
    """Change these two limits for engines that open from now on; returns what they were. Labels do not change."""
    global FEW_CACHED, FEW_FETCHED
    before = FEW_CACHED, FEW_FETCHED
    FEW_CACHED, FEW_FETCHED = cached, fetched
    return before


cdef int64_t row_panel_size(const Rows *rows, int64_t K) noexcept nogil:
    """How many values the panel for rows takes; 0: tiles are faster."""
    cdef int64_t row = rows.n * rows.kernels.itemsize
    cdef int64_t least = FEW_FETCHED if rows.m * row > CACHE_BYTES else FEW_CACHED
    return rows.kernels.assign_rows_size(K, rows.n) if row >= least * K else 0


cdef size_t dense_layout(Dense *d, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = d.sweep.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Dense) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = d.sweep.K, i, tile = rows.kernels.tile
    cdef int64_t block = (d.sweep.block + tile - 1) // tile * tile, few = row_panel_size(rows, K)
    cdef Workspace work

    d.panel.c = take(memory, &at, K * n * item)
    d.panel.norms = take(memory, &at, K * item)
    d.panel.ids = take(memory, &at, K * item)
    d.shift = take(memory, &at, n * item)
    d.row_panel = take(memory, &at, few * item) if few > 0 else NULL
    d.workspaces = <Workspace *>take(memory, &at, d.sweep.n_threads * sizeof(Workspace))
    for i in range(d.sweep.n_threads):
        work.tiles = take(memory, &at, block * n * item)
        work.scores = take(memory, &at, block * item)
        work.ids = take(memory, &at, block * item)
        work.partial = take(memory, &at, K * tile * item if n > rows.kernels.max_features else 0)
        if few > 0:
            work.undecided = <int32_t *>take(memory, &at, (block + 1) * sizeof(int32_t))
            work.copied = take(memory, &at, (tile * n + 8) * item)
            work.copied_ids = take(memory, &at, tile * item)
        if memory != NULL:
            d.workspaces[i] = work
    return at


cdef Engine *dense_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef const Rows *rows = problem.rows
    cdef Dense draft
    cdef char *memory
    cdef int i
    memset(&draft, 0, sizeof(Dense))
    draft.engine.name = DENSE.name
    draft.engine.step = dense_step
    draft.engine.close = dense_close
    draft.engine.n_labels = rows.m
    draft.panel.n = rows.n
    if sweep_open(&draft.sweep, rows, K, problem.n_threads, rows.m >= CARRY_FROM * K, False):
        return NULL
    draft.engine.bytes = <int64_t>dense_layout(&draft, NULL) + sweep_bytes(&draft.sweep)
    memory = <char *>allocate(dense_layout(&draft, NULL))
    if memory == NULL:
        sweep_close(&draft.sweep)
        return NULL
    dense_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Dense))
    for i in range(draft.sweep.n_threads if draft.row_panel != NULL else 0):
        memset(draft.workspaces[i].copied, 0, rows.kernels.tile * rows.n * rows.kernels.itemsize)
    return <Engine *>memory


cdef void dense_close(Engine *engine) noexcept nogil:
    sweep_close(&(<Dense *>engine).sweep)
    release(engine)


# ---- one step --------------------------------------------------------------------------------

cdef void score_tiles(Dense *d, PartialSum *part, Workspace *work, const Block *block, void *ids) noexcept nogil:
    cdef const Rows *X = d.sweep.rows
    cdef int64_t tiles = n_tiles(X, block.count)
    cdef uint64_t max_abs_bits = X.kernels.pack(block.rows, block.stride, block.count, X.n, d.packed.shift, work.tiles)
    part.max_abs_bits = max(part.max_abs_bits, max_abs_bits)
    X.kernels.assign(work.tiles, tiles, &d.packed.panel, work.scores, ids, work.partial)


cdef void score_undecided(Dense *d, PartialSum *part, Workspace *work, const Block *block,
                          int64_t n_undecided) noexcept nogil:
    """Give the undecided rows of a block their labels, in tiles of their own. A last tile that is not full keeps the
    rows that were copied before: a whole tile is packed faster."""
    cdef const Rows *X = d.sweep.rows
    cdef int64_t item = X.kernels.itemsize, done = 0, count, i
    cdef Block copied = Block(work.copied, X.n, 0, X.kernels.tile)
    while done < n_undecided:
        count = min(n_undecided - done, <int64_t>X.kernels.tile)
        for i in range(count):
            memcpy(<char *>work.copied + i * X.n * item,
                   <const char *>block.rows + work.undecided[done + i] * block.stride * item, X.n * item)
        score_tiles(d, part, work, &copied, work.copied_ids)
        for i in range(count):
            memcpy(<char *>work.ids + work.undecided[done + i] * item, <char *>work.copied_ids + i * item, item)
        done += count


cdef void score_block(void *engine, const Step *s, PartialSum *part, int thread, const Block *block) noexcept nogil:
    cdef Dense *d = <Dense *>engine
    cdef Workspace *work = &d.workspaces[thread]
    cdef const Rows *X = d.sweep.rows
    cdef int64_t n_undecided = block.count
    if d.row_panel != NULL and not d.always_packed:
        n_undecided = X.kernels.assign_rows(block.rows, block.stride, block.count, s.K, X.n, d.row_panel, work.ids,
                                            work.undecided, &part.max_abs_bits)
        part.n_undecided += n_undecided
    if n_undecided > block.count // 2:
        score_tiles(d, part, work, block, work.ids)
    else:
        score_undecided(d, part, work, block, n_undecided)
    part.n_changed += update_labels(work.ids, X.kernels.itemsize, block.count, s.labels + block.first)


cdef bint mostly_undecided(const Dense *d) noexcept nogil:
    cdef int64_t n_undecided = 0, i
    for i in range(d.sweep.n_parts):
        n_undecided += d.sweep.parts[i].n_undecided
    return n_undecided > d.sweep.rows.m // 4


cdef int dense_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Dense *d = <Dense *>engine
    cdef const Rows *rows = d.sweep.rows
    cdef int interrupted
    s.n_distances = rows.m * s.K
    if s.assign:
        d.panel.K = s.K
        d.always_packed = d.always_packed and s.labels_epoch != 0
        if s.packed == NULL:
            find_shift(rows.kernels.itemsize, s.K, rows.n, s.centroids, d.shift)
            rows.kernels.pack_centroids(s.centroids, d.shift, &d.panel)
            d.packed = PackedCentroids(d.panel, d.shift)
        else:
            d.packed = s.packed[0]
        if d.row_panel != NULL:
            rows.kernels.assign_rows_pack(s.centroids, d.packed.shift, s.K, rows.n, d.row_panel)
    interrupted = sweep_step(&d.sweep, engine, score_block, s, p)
    d.always_packed = d.always_packed or mostly_undecided(d)
    return interrupted


cdef EngineFactory DENSE
memset(&DENSE, 0, sizeof(DENSE))
DENSE.name = b"dense"
DENSE.chunks = DENSE.distances = DENSE.row_sums = True
DENSE.open = dense_open
ENGINE = entry_of(&DENSE)


include "_pairwise.pxi"
