"""Screen pairs by a lower bound on their distance, and compute in full only the distances that it leaves.

A dense score over few features, the projections, bounds the distance of every pair from below; a centroid whose bound
is above the exact distance to the point's present centroid cannot win. The distances to the others are computed in
full, each with an interval for what the dense score may say, and where those intervals overlap, the dense kernel
compares the centroids.

Why the labels are those of the dense engine, bit for bit: see _screen_lower_bound.pxi. Bounds that are carried from
step to step: _screen_hamerly.pxi. Whether to screen at all, and on how many directions: _screen_cost.pxi. Each of these
files has a struct that it alone writes.
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport (
    Block, Engine, EngineFactory, PartialSum, Problem, Step, Sweep, cached_rows, entry_of, sweep_bytes, sweep_close,
    sweep_open, sweep_step, update_labels,
)
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, allocate, lowest_bit, panel, release

include "_screen_pca.pxi"
include "_screen_lower_bound.pxi"
include "_screen_hamerly.pxi"
include "_screen_cost.pxi"

cdef enum:
    SUBSET = 32              # centroids that are packed together for exact scoring: a few groups of the kernel

cdef int64_t MAX_PAIRS = 1 << 16        # pairs of a tile that are listed: about 1 MiB
cdef int64_t CARRY_ROWS = 4             # rows for each centroid from which carried sums take no more memory than X
cdef double FEW_FALLBACKS = 0.01        # part of the tiles up to which packing all centroids would not pay


# ---- what one fit holds ----------------------------------------------------------------------

# Pairs of a tile whose distances are computed one by one.
cdef struct PairList:
    int64_t count
    int32_t *point           # a point of the tile,
    int32_t *row             # its row of the block,
    int32_t *k               # a centroid,
    void *squared            # and their squared distance

# Scratch memory of exact scoring.
cdef struct ExactWorkspace:
    void *best               # (tile,) lowest scores
    void *centroids          # (SUBSET, n)
    panel subset             # those, packed

# Scratch memory of a thread.
cdef struct Workspace:
    RowClasses classes
    TileWorkspace tile
    KernelWorkspace kernel
    PairList pairs
    ExactWorkspace exact
    int32_t *winner          # (tile,) new labels of a tile

cdef struct Screen:
    Engine engine
    Sweep sweep
    Projection projection
    StepPanels panels
    Hamerly hamerly
    CostModel cost
    Workspace *workspaces
    int n_workspaces
    int64_t K                # limits of this engine: centroids,
    int64_t max_pairs        # pairs of a tile that are computed one by one,
    int64_t piece            # and rows that are packed together for the dense kernel
    int32_t *all_k           # 0 .. K - 1
    bint exact               # this step computes all pairs


cdef void workspace_layout(Workspace *work, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    cdef size_t item = X.kernels.itemsize
    classes_layout(&work.classes, memory, at)
    tile_layout(&work.tile, X, e.K, memory, at)
    kernel_layout(&work.kernel, e, memory, at)
    work.pairs.point = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.row = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.k = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.squared = take(memory, at, e.max_pairs * item)
    work.exact.best = take(memory, at, X.kernels.tile * item)
    work.exact.centroids = take(memory, at, (SUBSET * X.n + 8) * item)
    panel_layout(&work.exact.subset, SUBSET, X.n, item, memory, at)
    work.exact.subset.n = X.n
    work.winner = <int32_t *>take(memory, at, X.kernels.tile * sizeof(int32_t))


cdef size_t screen_layout(Screen *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *X = e.sweep.rows
    cdef size_t at = (sizeof(Screen) + 63) // 64 * 64
    cdef int64_t i
    cdef Workspace work
    memset(&work, 0, sizeof(Workspace))
    projection_layout(&e.projection, memory, &at)
    panels_layout(&e.panels, X, e.K, memory, &at)
    hamerly_layout(&e.hamerly, X, e.K, memory, &at)
    e.all_k = <int32_t *>take(memory, &at, e.K * sizeof(int32_t))
    e.workspaces = <Workspace *>take(memory, &at, e.n_workspaces * sizeof(Workspace))
    for i in range(e.n_workspaces):
        workspace_layout(&work, e, memory, &at)
        if memory != NULL:
            e.workspaces[i] = work
    return at


cdef Engine *open_screen(const Problem *problem, int64_t K, bint adaptive) noexcept nogil:
    cdef const Rows *X = problem.rows
    cdef Screen draft
    cdef Screen *e
    cdef char *memory
    cdef int64_t k, tile = X.kernels.tile
    memset(&draft, 0, sizeof(Screen))
    draft.engine.name = SCREEN.name
    if adaptive:
        draft.engine.name = b"dense"  # until it screens
    draft.engine.step = screen_step
    draft.engine.close = screen_close
    draft.engine.n_labels = X.m
    draft.K = K
    draft.n_workspaces = problem.n_threads
    draft.piece = n_tiles(X, cached_rows(X)) * tile
    # As many pairs as take as long as all pairs in a tile.
    draft.max_pairs = min(<int64_t>(tile * K * 2 / pair_cost(X.n)), MAX_PAIRS) + tile
    draft.projection.rows = X
    cost_open(&draft.cost, X, adaptive)
    if sweep_open(&draft.sweep, X, K, problem.n_threads, X.m >= CARRY_ROWS * K, True):
        return NULL
    draft.engine.bytes = <int64_t>screen_layout(&draft, NULL) + sweep_bytes(&draft.sweep)
    memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        sweep_close(&draft.sweep)
        return NULL
    screen_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Screen))
    e = <Screen *>memory
    projection_open(&e.projection)
    for k in range(K):
        e.all_k[k] = <int32_t>k
    return &e.engine


cdef Engine *screen_open(const Problem *problem, int64_t K) noexcept nogil:
    return open_screen(problem, K, False)


cdef Engine *adaptive_open(const Problem *problem, int64_t K) noexcept nogil:
    return open_screen(problem, K, True)


cdef void screen_close(Engine *engine) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    sweep_close(&e.sweep)
    projection_close(&e.projection)
    hamerly_close(&e.hamerly)
    release(e)


# ---- fallback: exact scoring -----------------------------------------------------------------

cdef Block tile_rows(const Screen *e, Workspace *work, const Block *block) noexcept nogil:
    """Return a tile's rows as a block of their own, in place or copied."""
    cdef const TileWorkspace *tile = &work.tile
    cdef int64_t p, n = e.sweep.rows.n, item = e.sweep.rows.kernels.itemsize, size = block.stride * item
    if is_consecutive(tile):
        return Block(<const char *>block.rows + tile.row[0] * size, block.stride, 0, tile.count)
    for p in range(tile.count):
        memcpy(<char *>work.kernel.rows + p * n * item, <const char *>block.rows + tile.row[p] * size, n * item)
    return Block(work.kernel.rows, n, 0, tile.count)


cdef void assign_subset(const Screen *e, const Step *s, Workspace *work, const int32_t *k,
                        int64_t count) noexcept nogil:
    """Let the dense kernel compare at most SUBSET centroids with the packed tile's winners so far."""
    cdef const Rows *X = e.sweep.rows
    cdef ExactWorkspace *exact = &work.exact
    cdef KernelWorkspace *kernel = &work.kernel
    cdef int64_t size = X.n * X.kernels.itemsize, i, p
    cdef int item = X.kernels.itemsize
    cdef int32_t id
    for i in range(count):
        memcpy(<char *>exact.centroids + i * size, <const char *>s.centroids + k[i] * size, size)
    exact.subset.K = count
    X.kernels.pack_centroids(exact.centroids, e.panels.shift, &exact.subset)
    X.kernels.assign(kernel.packed, 1, &exact.subset, kernel.scores, kernel.ids, kernel.partial)
    for p in range(X.kernels.tile):
        if get(kernel.scores, p, item) < get(exact.best, p, item):
            id = <int32_t>((<uint32_t *>kernel.ids)[p] if item == 4 else (<uint64_t *>kernel.ids)[p])
            put(exact.best, p, item, get(kernel.scores, p, item))
            work.winner[p] = k[id]


cdef void assign_exactly(Screen *e, const Step *s, PartialSum *part, Workspace *work, const Block *block,
                         const int32_t *k, int64_t n_candidates) noexcept nogil:
    """Find a tile's winners among some centroids (rising) by the dense kernel, which gives no bounds."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *kernel = &work.kernel
    cdef const TileWorkspace *tile = &work.tile
    cdef int64_t p, done = 0
    cdef Block rows = tile_rows(e, work, block)
    X.kernels.pack(rows.rows, rows.stride, rows.count, X.n, e.panels.shift, kernel.packed)
    part.n_distances += tile.count * n_candidates
    for p in range(tile.count):
        forget_bounds(&e.hamerly, block.first + tile.row[p], 1)
    if n_candidates == s.K and e.panels.full_packed:
        X.kernels.assign(kernel.packed, 1, &e.panels.full, kernel.scores, kernel.ids, kernel.partial)
        update_labels(kernel.ids, X.kernels.itemsize, tile.count, work.winner)
        return
    for p in range(X.kernels.tile):
        put(work.exact.best, p, X.kernels.itemsize, INFINITY)
        work.winner[p] = 0
    while done < n_candidates:
        assign_subset(e, s, work, k + done, min(<int64_t>SUBSET, n_candidates - done))
        done += SUBSET


# ---- interval elimination among the surviving pairs ------------------------------------------

# What is known of a point's scores, as squared distances: bounds on that of the centroid with the lowest upper bound,
# and a lower bound on those of all others.
cdef struct Interval:
    double norm              # |y|
    int32_t winner
    double lower
    double upper
    double others


cdef bint list_pairs(const Screen *e, Workspace *work, int64_t n_hits) noexcept nogil:
    """List the surviving pairs but those with the present centroids; False: they are too many."""
    cdef const TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef int64_t count = 0, i, p
    cdef uint32_t points
    for i in range(n_hits):
        points = tile.hits[i].points
        if count + 2 * tile.count > e.max_pairs:
            return False
        while points:
            p = lowest_bit(points)
            points &= points - 1
            pairs.point[count] = <int32_t>p
            pairs.row[count] = tile.row[p]
            pairs.k[count] = tile.hits[i].k
            count += tile.label[p] != tile.hits[i].k  # else the next pair takes this place
    pairs.count = count
    return True


cdef inline double interval_error(const Screen *e, int32_t k, double square, double norm) noexcept nogil:
    """Bound how far a computed squared distance is from what the dense score stands for."""
    cdef const Margins *g = &e.projection.margins
    cdef const ScoreError *error = &e.panels.errors[k]
    return square * g.exact + error.constant + (error.slope + 2 * g.score * e.panels.shift_offset) * norm


cdef inline void update_interval(const Screen *e, Interval *point, int32_t k, double square) noexcept nogil:
    """Take centroid k into account."""
    cdef double error = interval_error(e, k, square, point.norm)
    cdef double lower = square - error, upper = square + error
    if upper < point.upper:
        point.others = min(point.others, point.lower)
        point.winner, point.lower, point.upper = k, lower, upper
    else:
        point.others = min(point.others, lower)


cdef uint32_t decide_intervals(const Screen *e, Workspace *work, Interval *intervals) noexcept nogil:
    """Find the winners by their distances; returns the points for which those do not decide, one bit each."""
    cdef const TileWorkspace *tile = &work.tile
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p
    cdef uint32_t undecided = 0
    for p in range(tile.count):
        intervals[p].norm = sqrt(get(tile.norms, p, item)) * (1 + e.projection.margins.rounding)
        intervals[p].upper = intervals[p].others = intervals[p].lower = INFINITY
        intervals[p].winner = tile.label[p]
        update_interval(e, &intervals[p], tile.label[p], get(tile.assigned_squared, p, item))
    for i in range(pairs.count):
        update_interval(e, &intervals[pairs.point[i]], pairs.k[i], get(pairs.squared, i, item))
    for p in range(tile.count):
        work.winner[p] = intervals[p].winner
        if not intervals[p].others > intervals[p].upper:
            undecided |= <uint32_t>1 << p
    return undecided


cdef bint add_candidate(int32_t *candidates, int64_t *count, int32_t k) noexcept nogil:
    """Add a centroid to a rising list of at most SUBSET, each once; False: it is full."""
    cdef int64_t j = count[0]
    while j > 0 and candidates[j - 1] > k:
        j -= 1
    if j > 0 and candidates[j - 1] == k:
        return True
    if count[0] == SUBSET:
        return False
    memmove(candidates + j + 1, candidates + j, (count[0] - j) * sizeof(int32_t))
    candidates[j] = k
    count[0] += 1
    return True


cdef inline bint may_win(const Screen *e, const Interval *point, int32_t k, double square) noexcept nogil:
    return not square - interval_error(e, k, square, point.norm) > point.upper


cdef int64_t list_candidates(const Screen *e, const Workspace *work, uint32_t points, const Interval *intervals,
                             int32_t *candidates) noexcept nogil:
    """List the centroids that may win one of these points, rising; returns how many, -1: more than SUBSET."""
    cdef const TileWorkspace *tile = &work.tile
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p, count = 0
    for p in range(tile.count):
        if (points >> p & 1 and may_win(e, &intervals[p], tile.label[p], get(tile.assigned_squared, p, item))
                and not add_candidate(candidates, &count, tile.label[p])):
            return -1
    for i in range(pairs.count):
        p = pairs.point[i]
        if (points >> p & 1 and may_win(e, &intervals[p], pairs.k[i], get(pairs.squared, i, item))
                and not add_candidate(candidates, &count, pairs.k[i])):
            return -1
    return count


cdef void assign_by_intervals(Screen *e, const Step *s, PartialSum *part, Workspace *work,
                              const Block *block) noexcept nogil:
    """Find a tile's winners among its surviving pairs."""
    cdef const Rows *X = e.sweep.rows
    cdef const TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef Interval intervals[MAX_TILE]
    cdef int32_t candidates[SUBSET]
    cdef uint32_t undecided
    cdef int64_t p, count
    X.kernels.pair_distances(block.rows, block.stride, X.n, s.centroids, pairs.row, pairs.k, pairs.count, pairs.squared)
    part.n_distances += tile.count + pairs.count
    undecided = decide_intervals(e, work, intervals)
    if undecided:
        count = list_candidates(e, work, undecided, intervals, candidates)
        if count < 0:
            assign_exactly(e, s, part, work, block, e.all_k, s.K)
        else:
            assign_exactly(e, s, part, work, block, candidates, count)
    for p in range(tile.count):
        if not undecided >> p & 1:
            work.winner[p] = intervals[p].winner
            store_bounds(&e.hamerly, e, block.first + tile.row[p], sqrt(intervals[p].upper),
                         positive_root(min(intervals[p].others, squared_above(e, tile, p))))


# ---- one step --------------------------------------------------------------------------------

cdef void fill_tile(const Screen *e, TileWorkspace *tile, const int32_t *rows, int64_t count, int64_t first,
                    const int32_t *labels) noexcept nogil:
    """Make a tile of at most so many rows of the block that starts with row `first`."""
    cdef int64_t p
    cdef int item = e.sweep.rows.kernels.itemsize
    tile.count = min(count, <int64_t>e.sweep.rows.kernels.tile)
    for p in range(tile.count):
        tile.row[p] = rows[p]
        tile.label[p] = labels[first + rows[p]]
        put(tile.norms, p, item, get(e.projection.norms, first + rows[p], item))


cdef void assign_tile(Screen *e, const Step *s, PartialSum *part, Workspace *work, const Block *block) noexcept nogil:
    """Find the labels of a tile of open rows."""
    cdef const TileWorkspace *tile = &work.tile
    cdef const void *projections = tile_projections(&e.projection, tile, block.first)
    cdef int32_t *label
    cdef int64_t p
    if list_pairs(e, work, screen_tile(e, s, work, block, projections)):
        assign_by_intervals(e, s, part, work, block)
    else:
        part.n_fallback_tiles += 1
        assign_exactly(e, s, part, work, block, e.all_k, s.K)
    for p in range(tile.count):
        label = s.labels + block.first + tile.row[p]
        part.n_changed += label[0] != work.winner[p]
        label[0] = work.winner[p]


cdef void assign_all_pairs(Screen *e, const Step *s, PartialSum *part, Workspace *work,
                           const Block *block) noexcept nogil:
    """Find the labels of a block by the dense kernel, a piece at a time."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *kernel = &work.kernel
    cdef int64_t done = 0, count
    cdef uint64_t max_abs_bits
    while done < block.count:
        count = min(e.piece, block.count - done)
        max_abs_bits = X.kernels.pack(<const char *>block.rows + done * block.stride * X.kernels.itemsize, block.stride,
                                      count, X.n, e.panels.shift, kernel.packed)
        part.max_abs_bits = max(part.max_abs_bits, max_abs_bits)
        X.kernels.assign(kernel.packed, n_tiles(X, count), &e.panels.full, kernel.scores, kernel.ids, kernel.partial)
        part.n_changed += update_labels(kernel.ids, X.kernels.itemsize, count, s.labels + block.first + done)
        done += count
    part.n_distances += block.count * s.K
    if e.cost.ready:
        forget_bounds(&e.hamerly, block.first, block.count)


cdef void score_block(void *engine, const Step *s, PartialSum *part, int thread, const Block *block) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    cdef Workspace *work = &e.workspaces[thread]
    cdef RowClasses *rows = &work.classes
    cdef int64_t done = 0
    if e.exact:
        assign_all_pairs(e, s, part, work, block)
        return
    classify_rows(e, s, rows, block)
    while done < rows.n_stable:
        fill_tile(e, &work.tile, rows.stable + done, rows.n_stable - done, block.first, s.labels)
        check_active(e, work, block.first)
        done += work.tile.count
    part.n_undecided += rows.n_open
    done = 0
    while done < rows.n_open:
        fill_tile(e, &work.tile, rows.open + done, rows.n_open - done, block.first, s.labels)
        assign_tile(e, s, part, work, block)
        done += work.tile.count


cdef void start_step(Screen *e, const Step *s) noexcept nogil:
    """Choose how to make the step, and pack its centroids."""
    e.exact = not e.cost.ready or s.labels_epoch == 0 and e.cost.first_exact
    panels_start(&e.panels, e.sweep.rows, s)
    if not e.exact:
        pack_screened(&e.panels, e, s)
    if e.exact or e.cost.fallback_share > FEW_FALLBACKS:
        pack_full(&e.panels, e.sweep.rows, s)
    if e.cost.ready:
        update_bounds(e, s)


cdef StepCounts count_parts(const Sweep *w) noexcept nogil:
    cdef StepCounts counts = StepCounts(0, 0, 0)
    cdef int64_t i
    for i in range(w.n_parts):
        counts.n_distances += w.parts[i].n_distances
        counts.n_undecided += w.parts[i].n_undecided
        counts.n_fallback_tiles += w.parts[i].n_fallback_tiles
    return counts


cdef int screen_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    cdef const Rows *X = e.sweep.rows
    cdef StepCounts counts
    if s.assign and not e.cost.ready and may_probe(&e.cost, s) and enable_screening(e, s, p):
        return 1
    if s.K != e.sweep.K:
        sweep_close(&e.sweep)
        if sweep_open(&e.sweep, X, s.K, e.n_workspaces, X.m >= CARRY_ROWS * s.K, True):
            return 1
        hamerly_reset(&e.hamerly)
    if s.assign:
        start_step(e, s)
    if sweep_step(&e.sweep, engine, score_block, s, p):
        hamerly_reset(&e.hamerly)
        return 1
    s.max_abs_bits = max(s.max_abs_bits, e.projection.max_abs_bits)
    counts = count_parts(&e.sweep)
    s.n_distances = <int64_t>counts.n_distances
    if s.assign:
        review_step(e, s, &counts)
    return 0


cdef EngineFactory SCREEN
memset(&SCREEN, 0, sizeof(SCREEN))
SCREEN.name = b"screen"
SCREEN.distances = SCREEN.fewer_centroids = SCREEN.row_sums = True
SCREEN.open = screen_open
ENGINE = entry_of(&SCREEN)

# The same, which computes every pair where screening does not pay: a part of "auto".
cdef EngineFactory ADAPTIVE = SCREEN
ADAPTIVE.open = adaptive_open
ADAPTIVE_ENGINE = entry_of(&ADAPTIVE)
