"""Screen pairs of points and centroids by bounds from 8-bit codes; compute in full only what those leave.

Products of bytes bound the distance of every pair from both sides (_codes.pyx): a centroid whose lower bound is above
another one's upper bound cannot win, and mostly one centroid is left. The distances to those that are left are computed
in full, each with an interval for what the dense score may say, and where those intervals overlap, the dense kernel
compares the centroids: the labels are those of the dense engine, bit for bit.

Fewer products by leading directions first: _screen_leading.pxi. Bounds that are carried from step to step:
_screen_hamerly.pxi. Whether to screen at all, and how: _screen_cost.pxi. Each of these files has a struct that it alone
writes.
"""
from libc.math cimport INFINITY, exp, fabs, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._codes cimport (
    Bounds, CodedCentroids, Codes, can_code, code_centroids, codes_close, codes_open, coded_layout, load_stats,
    load_tile, loss, pair_bounds,
)
from ckmeans._engine cimport (
    Block, Engine, EngineFactory, PartialSum, Problem, Step, Sweep, cached_rows, entry_of, sweep_bytes, sweep_close,
    sweep_open, sweep_step, update_labels,
)
from ckmeans._points cimport Points, Rows
from ckmeans._runtime cimport (
    CODE_GROUP_MAX, CODE_TILE, CallContext, Poll, allocate, code_panel, code_rows, code_tile, hit, kernels_of_codes,
    lowest_bit, panel, release, wide_stride,
)
from ckmeans._shift cimport find_shift
from ckmeans._values cimport get, put

import numpy as np

cdef struct Screen           # the engine: see below

# Upper bound on E of _codes.pyx, as a function of the point: constant + slope |y|.
cdef struct ScoreError:
    double constant
    double slope

# The tile at hand: up to CODE_TILE rows of a block.
cdef struct TileWorkspace:
    int64_t count
    int32_t *row             # which rows of the block they are
    int32_t *label           # their present centroids
    code_tile codes
    hit *hits                # (K,) centroids that may win some of the points,
    float *scores            # and their scores
    float *lowest            # (tile,) lower bounds on the scores of the centroids that cannot win

include "_screen_pca.pxi"
include "_screen_leading.pxi"
include "_screen_hamerly.pxi"
include "_screen_cost.pxi"
include "_screen_bounds.pxi"

cdef enum:
    SUBSET = 32              # centroids that are packed together for exact scoring: a few groups of the kernel

cdef int64_t MAX_PAIRS = 1 << 16        # pairs of a tile that are listed: about 1 MiB
cdef int64_t CARRY_ROWS = 16            # rows for each centroid from which carried sums take little memory beside X
cdef float LARGE = 3e38               # a bound that no score reaches
cdef int64_t SLACK_PAIRS = 6            # pairs of a point up to which those beyond its bound are worth their distances
cdef double FEW_FALLBACKS = 0.01        # part of the tiles up to which packing all centroids would not pay


# ---- what one fit holds ----------------------------------------------------------------------

# Pairs of a tile that are looked at one by one.
cdef struct PairList:
    int64_t capacity
    int64_t count
    int32_t *point           # a point of the tile,
    int32_t *row             # its row of the block,
    int32_t *k               # a centroid,
    int32_t *product         # the product of their codes,
    double *lower            # a lower bound on their score,
    void *squared            # and their squared distance

# Scratch memory of the kernels that pack and assign.
cdef struct KernelWorkspace:
    void *rows               # (tile, n) rows that do not lie in place
    void *packed             # a piece of the block, all features
    void *scores
    void *ids
    void *partial
    void *best               # (tile,) lowest scores
    void *centroids          # (SUBSET, n)
    panel subset             # those, packed

# Scratch memory of a thread.
cdef struct Workspace:
    RowClasses classes
    TileWorkspace tile
    PairList pairs
    KernelWorkspace kernel
    ProjectionWorkspace projection
    int32_t *winner          # (CODE_TILE,) new labels of a tile

# The centroids of one step.
cdef struct StepCentroids:
    void *shift              # (n,) s of the proof
    double offset            # |s - o|
    ScoreError *errors       # (K,)
    CodedCentroids coded
    double mean_length       # of the factors of the losses; geometric means, which a far centroid moves little
    double mean_error
    panel full               # all features for the dense kernel, in memory of its own,
    bint full_packed         # where they are packed in this step

cdef struct Screen:
    Engine engine
    Sweep sweep
    Codes *codes             # of the points; NULL: not yet made
    Codes **shared_codes     # where they are kept for others, too; NULL: nowhere
    StepCentroids centroids
    Leading leading
    Hamerly hamerly
    CostModel cost
    Workspace *workspaces
    int n_workspaces
    int64_t K                # limits of this engine: centroids,
    int64_t max_pairs        # pairs of a tile that are looked at one by one,
    int64_t piece            # and rows that are packed together for the dense kernel
    int32_t *all_k           # 0 .. K - 1
    double rounding          # relative, of squared norms and of what is computed from them
    double underflow         # absolute
    double distance_error    # relative, of a distance in full
    bint exact               # this step computes all pairs


cdef void float_panel_layout(panel *to, int64_t K, int64_t n, size_t item, char *memory, size_t *at) noexcept nogil:
    to.n = n
    to.c = take(memory, at, K * n * item)
    to.norms = take(memory, at, K * item)
    to.ids = take(memory, at, K * item)


cdef void tile_layout(TileWorkspace *tile, const Rows *X, int64_t K, char *memory, size_t *at) noexcept nogil:
    cdef int64_t places = K + CODE_GROUP_MAX
    tile.row = <int32_t *>take(memory, at, CODE_TILE * sizeof(int32_t))
    tile.label = <int32_t *>take(memory, at, CODE_TILE * sizeof(int32_t))
    tile.codes.words = <int32_t *>take(memory, at, (X.n + 3) // 4 * CODE_TILE * sizeof(int32_t))
    tile.hits = <hit *>take(memory, at, places * sizeof(hit))
    tile.scores = <float *>take(memory, at, places * CODE_TILE * sizeof(float))
    tile.lowest = <float *>take(memory, at, CODE_TILE * sizeof(float))


cdef void kernel_layout(KernelWorkspace *work, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    cdef size_t item = X.kernels.itemsize
    work.rows = take(memory, at, (CODE_TILE * X.n + 8) * item)
    work.packed = take(memory, at, (e.piece * X.n + 8) * item)
    work.scores = take(memory, at, e.piece * item)
    work.ids = take(memory, at, e.piece * item)
    work.partial = take(memory, at, e.K * X.kernels.tile * item if X.n > X.kernels.max_features else 0)
    work.best = take(memory, at, CODE_TILE * item)
    work.centroids = take(memory, at, (SUBSET * X.n + 8) * item)
    float_panel_layout(&work.subset, SUBSET, X.n, item, memory, at)


cdef void workspace_layout(Workspace *work, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    classes_layout(&work.classes, memory, at)
    tile_layout(&work.tile, X, e.K, memory, at)
    kernel_layout(&work.kernel, e, memory, at)
    projection_layout(&work.projection, X, memory, at)
    work.pairs.capacity = e.max_pairs
    work.pairs.point = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.row = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.k = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.product = <int32_t *>take(memory, at, e.max_pairs * sizeof(int32_t))
    work.pairs.lower = <double *>take(memory, at, e.max_pairs * sizeof(double))
    work.pairs.squared = take(memory, at, e.max_pairs * X.kernels.itemsize)
    work.winner = <int32_t *>take(memory, at, CODE_TILE * sizeof(int32_t))


cdef size_t screen_layout(Screen *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *X = e.sweep.rows
    cdef size_t at = (sizeof(Screen) + 63) // 64 * 64, item = X.kernels.itemsize
    cdef int64_t i
    cdef Workspace work
    memset(&work, 0, sizeof(Workspace))
    e.centroids.shift = take(memory, &at, X.n * item)
    e.centroids.errors = <ScoreError *>take(memory, &at, e.K * sizeof(ScoreError))
    coded_layout(&e.centroids.coded, e.K, (X.n + 3) // 4, memory, &at)
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
    draft.shared_codes = problem.codes
    draft.n_workspaces = problem.n_threads
    draft.piece = max(n_tiles(X, cached_rows(X)) * tile, <int64_t>CODE_TILE)
    draft.max_pairs = min(<int64_t>(CODE_TILE * K * 2 / pair_cost(X.n)), MAX_PAIRS) + CODE_TILE
    draft.rounding = 2.0 ** -16 if X.kernels.itemsize == 4 else 2.0 ** -20
    # Fewer lanes add up more terms each, more lanes take longer to add up.
    draft.distance_error = 1.1 * (X.n + 48) * (2.0 ** -24 if X.kernels.itemsize == 4 else 2.0 ** -53)
    draft.underflow = 32 * (X.n + 16) * (1.5e-45 if X.kernels.itemsize == 4 else 5e-324)
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
    leading_close(&e.leading)
    hamerly_close(&e.hamerly)
    if e.shared_codes == NULL:
        codes_close(e.codes)
    release(e.centroids.full.c)
    release(e)


# ---- scores and distances --------------------------------------------------------------------

cdef inline const CodedCentroids *cheapest_centroids(const Screen *e) noexcept nogil:
    """Return the centroids on which points are screened first."""
    return &e.leading.centroids if e.leading.in_use else &e.centroids.coded


cdef inline const code_rows *points_of_cheapest(const Screen *e) noexcept nogil:
    return &e.leading.points if e.leading.in_use else &e.codes.points


cdef inline float score_below(const Screen *e, int64_t i, double squared_distance) noexcept nogil:
    """Bound from above the score that stands for a squared distance of point i."""
    cdef double square = e.codes.points.squares[i], factor = e.codes.factor
    cdef double score = squared_distance - square + e.rounding * (squared_distance + 2 * square)
    return <float>((score + e.rounding * fabs(score)) * factor * factor)


cdef inline double distance_above(const Screen *e, int64_t i, double score) noexcept nogil:
    """Bound from below the distance of point i that a score stands for."""
    cdef double square = e.codes.points.squares[i]
    if score == INFINITY:
        return score
    score /= e.codes.factor * e.codes.factor
    score += square - e.rounding * (fabs(score) + 2 * square)
    return sqrt(score) if score > 0 else 0


# ---- fallback: exact scoring -----------------------------------------------------------------

cdef bint is_consecutive(const TileWorkspace *tile) noexcept nogil:
    cdef int64_t p
    for p in range(tile.count):
        if tile.row[p] != tile.row[0] + p:
            return False
    return True


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
    cdef KernelWorkspace *kernel = &work.kernel
    cdef int64_t size = X.n * X.kernels.itemsize, i, p
    cdef int item = X.kernels.itemsize
    cdef int32_t id
    for i in range(count):
        memcpy(<char *>kernel.centroids + i * size, <const char *>s.centroids + k[i] * size, size)
    kernel.subset.K = count
    X.kernels.pack_centroids(kernel.centroids, e.centroids.shift, &kernel.subset)
    X.kernels.assign(kernel.packed, n_tiles(X, work.tile.count), &kernel.subset, kernel.scores, kernel.ids,
                     kernel.partial)
    for p in range(work.tile.count):
        if get(kernel.scores, p, item) < get(kernel.best, p, item):
            id = <int32_t>((<uint32_t *>kernel.ids)[p] if item == 4 else (<uint64_t *>kernel.ids)[p])
            put(kernel.best, p, item, get(kernel.scores, p, item))
            work.winner[p] = k[id]


cdef void assign_exactly(Screen *e, const Step *s, PartialSum *part, Workspace *work, const Block *block,
                         const int32_t *k, int64_t n_candidates) noexcept nogil:
    """Find a tile's winners among some centroids (rising) by the dense kernel, which gives no bounds."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *kernel = &work.kernel
    cdef const TileWorkspace *tile = &work.tile
    cdef int64_t p, done = 0
    cdef Block rows = tile_rows(e, work, block)
    X.kernels.pack(rows.rows, rows.stride, rows.count, X.n, e.centroids.shift, kernel.packed)
    part.n_distances += tile.count * n_candidates
    for p in range(tile.count):
        forget_bounds(&e.hamerly, block.first + tile.row[p], 1)
    if n_candidates == s.K and e.centroids.full_packed:
        X.kernels.assign(kernel.packed, n_tiles(X, tile.count), &e.centroids.full, kernel.scores, kernel.ids,
                         kernel.partial)
        update_labels(kernel.ids, X.kernels.itemsize, tile.count, work.winner)
        return
    for p in range(tile.count):
        put(kernel.best, p, X.kernels.itemsize, INFINITY)
        work.winner[p] = 0
    while done < n_candidates:
        assign_subset(e, s, work, k + done, min(<int64_t>SUBSET, n_candidates - done))
        done += SUBSET


# ---- interval elimination among the pairs that are left ----------------------------------------

# What is known of a point's scores, as squared distances: bounds on that of the centroid with the lowest upper bound,
# and a lower bound on those of all others.
cdef struct Interval:
    double norm              # |y|
    int32_t winner
    double lower
    double upper
    double others


cdef inline double interval_error(const Screen *e, int32_t k, double square, double norm) noexcept nogil:
    """Bound how far a computed squared distance is from what the dense score stands for."""
    cdef const ScoreError *error = &e.centroids.errors[k]
    return square * e.distance_error + error.constant + error.slope * norm


cdef inline void update_interval(const Screen *e, Interval *point, int32_t k, double square) noexcept nogil:
    """Take centroid k into account."""
    cdef double error = interval_error(e, k, square, point.norm)
    cdef double lower = square - error, upper = square + error
    if upper < point.upper:
        point.others = min(point.others, point.lower)
        point.winner, point.lower, point.upper = k, lower, upper
    else:
        point.others = min(point.others, lower)


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


cdef int64_t list_candidates(const Screen *e, const Workspace *work, uint32_t points, const Interval *intervals,
                             int32_t *candidates) noexcept nogil:
    """List the centroids that may win one of these points, rising; returns how many, -1: all or too many."""
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p, count = 0
    cdef double square
    for p in range(work.tile.count):
        if intervals[p].upper == INFINITY:  # no pair: its scores leave float32
            return -1
    for i in range(pairs.count):
        p = pairs.point[i]
        square = get(pairs.squared, i, item)
        square -= interval_error(e, pairs.k[i], square, intervals[p].norm)
        if (points >> p & 1 and not square > intervals[p].upper
                and not add_candidate(candidates, &count, pairs.k[i])):
            return -1
    return count


cdef uint32_t decide_intervals(const Screen *e, Workspace *work, int64_t first, Interval *intervals) noexcept nogil:
    """Find the winners by their distances; returns the points for which those do not decide, one bit each."""
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p
    cdef uint32_t undecided = 0
    for p in range(work.tile.count):
        intervals[p].norm = norm_of(e, first + work.tile.row[p]) * (1 + e.rounding)
        intervals[p].upper = intervals[p].others = intervals[p].lower = INFINITY
        intervals[p].winner = 0
    for i in range(pairs.count):
        update_interval(e, &intervals[pairs.point[i]], pairs.k[i], get(pairs.squared, i, item))
    for p in range(work.tile.count):
        work.winner[p] = intervals[p].winner
        if not intervals[p].others > intervals[p].upper:
            undecided |= <uint32_t>1 << p
    return undecided


cdef void assign_by_intervals(Screen *e, const Step *s, PartialSum *part, Workspace *work,
                              const Block *block) noexcept nogil:
    """Find a tile's winners among the pairs that are left."""
    cdef const Rows *X = e.sweep.rows
    cdef const TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef Interval intervals[32]
    cdef int32_t candidates[SUBSET]
    cdef int64_t p, row, count
    cdef uint32_t undecided
    X.kernels.pair_distances(block.rows, block.stride, X.n, s.centroids, pairs.row, pairs.k, pairs.count, pairs.squared)
    part.n_distances += pairs.count
    undecided = decide_intervals(e, work, block.first, intervals)
    if undecided:
        count = list_candidates(e, work, undecided, intervals, candidates)
        if count < 0:
            assign_exactly(e, s, part, work, block, e.all_k, s.K)
        else:
            assign_exactly(e, s, part, work, block, candidates, count)
    for p in range(tile.count):
        if not undecided >> p & 1:
            row = block.first + tile.row[p]
            work.winner[p] = intervals[p].winner
            store_bounds(&e.hamerly, e, row, sqrt(intervals[p].upper),
                         min(sqrt(max(intervals[p].others, 0)), distance_above(e, row, tile.lowest[p])))


# ---- screening a tile --------------------------------------------------------------------------

cdef void fill_tile(const Screen *e, TileWorkspace *tile, const int32_t *rows, int64_t count, int64_t first,
                    const int32_t *labels) noexcept nogil:
    """Make a tile of at most so many rows of the block that starts with row `first`."""
    cdef int64_t p
    tile.count = min(count, <int64_t>CODE_TILE)
    for p in range(tile.count):
        tile.row[p] = rows[p]
        tile.label[p] = labels[first + rows[p]]


cdef code_rows block_codes(const code_rows *points, int64_t first) noexcept nogil:
    """Return the codes from row `first` on."""
    cdef code_rows rows = points[0]
    rows.codes += first * rows.stride
    rows.stats += first
    rows.squares += first
    return rows


cdef void bound_by_labels(const Screen *e, Workspace *work, const code_rows *points) noexcept nogil:
    """Bound the lowest score of each point by that of its present centroid."""
    cdef TileWorkspace *tile = &work.tile
    cdef const CodedCentroids *c = &e.centroids.coded
    cdef int64_t p
    kernels_of_codes().products(points, &c.rows, c.sums, e.codes.words, tile.row, tile.label, tile.count,
                                work.pairs.product)
    for p in range(tile.count):
        tile.codes.bound[p] = round_up(
            pair_bounds(points, tile.row[p], &c.panel, tile.label[p], work.pairs.product[p]).upper)


cdef void estimate_labels(const Screen *e, Workspace *work) noexcept nogil:
    """Label a tile's points by the scores on leading directions alone, without the losses; its stats are lost."""
    cdef TileWorkspace *tile = &work.tile
    cdef int64_t i, p
    cdef uint32_t points
    memset(tile.codes.length, 0, sizeof(tile.codes.length))
    memset(tile.codes.error, 0, sizeof(tile.codes.error))
    memset(tile.codes.residual, 0, sizeof(tile.codes.residual))
    for p in range(tile.count):
        tile.codes.bound[p] = LARGE
    # Each hit was the lowest so far, so the last one of a point is the lowest of all.
    for i in range(kernels_of_codes().screen(&tile.codes, &e.leading.centroids.panel, tile.hits, tile.scores)):
        points = tile.hits[i].points
        while points:
            tile.label[lowest_bit(points)] = tile.hits[i].k
            points &= points - 1


cdef inline float round_up(double value) noexcept nogil:
    return <float>(value + fabs(value) * 2.0 ** -23)


cdef inline bint is_within(TileWorkspace *tile, int64_t p, double lower) noexcept nogil:
    """Tell whether a lower bound on a score of point p is within its bound; else it is noted."""
    if lower > <double>tile.codes.bound[p] + tile.codes.slack[p]:
        tile.lowest[p] = min(tile.lowest[p], <float>(lower - fabs(lower) * 2.0 ** -23))
        return False
    return True


cdef bint list_hits(Workspace *work, const code_panel *panel, int64_t n_hits, PartialSum *part) noexcept nogil:
    """List the pairs of the hits that are within the final bounds; False: they are too many."""
    cdef TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef int64_t i, p
    cdef uint32_t points, all_points = <uint32_t>((<uint64_t>1 << tile.count) - 1)
    pairs.count = 0
    for i in range(n_hits):
        points = tile.hits[i].points & all_points  # a NaN makes a hit of places without a point
        if pairs.count + tile.count > work.pairs.capacity:
            return False
        while points:
            p = lowest_bit(points)
            points &= points - 1
            part.n_pairs += 1
            pairs.point[pairs.count] = <int32_t>p
            pairs.row[pairs.count] = tile.row[p]
            pairs.k[pairs.count] = tile.hits[i].k
            # Else the next pair takes this place.
            pairs.count += is_within(tile, p, tile.scores[i * CODE_TILE + p] - loss(&tile.codes, p, panel, tile.hits[i].k))
    return True


cdef void bound_pairs(const Screen *e, Workspace *work, const code_rows *points) noexcept nogil:
    """Bound the scores of the pairs by the codes of all features, and keep those within the bounds that this gives."""
    cdef TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef const CodedCentroids *c = &e.centroids.coded
    cdef int64_t i, p, count = 0
    cdef Bounds bounds
    kernels_of_codes().products(points, &c.rows, c.sums, e.codes.words, pairs.row, pairs.k, pairs.count,
                                pairs.product)
    for i in range(pairs.count):
        p = pairs.point[i]
        bounds = pair_bounds(points, pairs.row[i], &c.panel, pairs.k[i], pairs.product[i])
        pairs.lower[i] = bounds.lower
        tile.codes.bound[p] = min(tile.codes.bound[p], round_up(bounds.upper))
    for i in range(pairs.count):
        pairs.point[count], pairs.row[count], pairs.k[count] = pairs.point[i], pairs.row[i], pairs.k[i]
        count += is_within(tile, pairs.point[count], pairs.lower[i])
    pairs.count = count


cdef void allow_slack(const Screen *e, const Step *s, TileWorkspace *tile, const code_rows *points) noexcept nogil:
    """List pairs beyond the bounds, too, by twice what codes lose of a score: their distances give bounds to carry."""
    cdef int64_t p
    if s.labels_epoch != 0 and s.steps_left > 0 and not e.cost.no_slack:
        for p in range(tile.count):
            tile.codes.slack[p] = <float>(2 * (points.stats[tile.row[p]].length * e.centroids.mean_error
                                               + points.stats[tile.row[p]].error * e.centroids.mean_length))


cdef bint screen_tile(const Screen *e, const Step *s, PartialSum *part, Workspace *work,
                      const Block *block) noexcept nogil:
    """List a tile's pairs that may be the closest, in rising order of centroids; False: they are too many."""
    cdef TileWorkspace *tile = &work.tile
    cdef code_rows points = block_codes(&e.codes.points, block.first)
    cdef const CodedCentroids *c = cheapest_centroids(e)
    cdef bint leading = e.leading.in_use
    cdef int64_t p, n_hits
    load_tile(&tile.codes, points_of_cheapest(e), c.panel.words, block.first, tile.row, tile.count)
    if s.labels_epoch == 0 and leading:
        estimate_labels(e, work)
        load_stats(&tile.codes, &e.leading.points, block.first, tile.row, tile.count)
    if s.labels_epoch != 0 or leading:
        bound_by_labels(e, work, &points)
    else:
        for p in range(tile.count):
            tile.codes.bound[p] = LARGE
    allow_slack(e, s, tile, &points)
    n_hits = kernels_of_codes().screen(&tile.codes, &c.panel, tile.hits, tile.scores)
    memcpy(tile.lowest, tile.codes.lowest_above, CODE_TILE * sizeof(float))
    if not list_hits(work, &c.panel, n_hits, part):
        return False
    if work.pairs.count > SLACK_PAIRS * tile.count and s.labels_epoch != 0:
        memset(tile.codes.slack, 0, sizeof(tile.codes.slack))
        list_hits(work, &c.panel, n_hits, part)
    if leading:
        bound_pairs(e, work, &points)
    return True


cdef void assign_tile(Screen *e, const Step *s, PartialSum *part, Workspace *work, const Block *block) noexcept nogil:
    """Find the labels of a tile of open rows."""
    cdef const TileWorkspace *tile = &work.tile
    cdef int32_t *label
    cdef int64_t p
    if screen_tile(e, s, part, work, block):
        assign_by_intervals(e, s, part, work, block)
    else:
        part.n_fallback_tiles += 1
        assign_exactly(e, s, part, work, block, e.all_k, s.K)
    for p in range(tile.count):
        label = s.labels + block.first + tile.row[p]
        part.n_changed += label[0] != work.winner[p]
        label[0] = work.winner[p]


# ---- one step --------------------------------------------------------------------------------

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
                                      count, X.n, e.centroids.shift, kernel.packed)
        part.max_abs_bits = max(part.max_abs_bits, max_abs_bits)
        X.kernels.assign(kernel.packed, n_tiles(X, count), &e.centroids.full, kernel.scores, kernel.ids,
                         kernel.partial)
        part.n_changed += update_labels(kernel.ids, X.kernels.itemsize, count, s.labels + block.first + done)
        done += count
    part.n_distances += block.count * s.K


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


cdef int pack_full(Screen *e, const Step *s) noexcept nogil:
    """Pack all features of the centroids for the dense kernel; nonzero: no memory."""
    cdef panel *full = &e.centroids.full
    cdef const Rows *X = e.sweep.rows
    cdef size_t item = X.kernels.itemsize, size = 0
    if full.c == NULL:
        float_panel_layout(full, e.K, X.n, item, NULL, &size)
        full.c = allocate(size)
        if full.c == NULL:
            return 1
        e.engine.bytes += size
        size = 0
        float_panel_layout(full, e.K, X.n, item, <char *>full.c, &size)
    full.K = s.K
    X.kernels.pack_centroids(s.centroids, e.centroids.shift, full)
    e.centroids.full_packed = True
    return 0


cdef void code_step(Screen *e, const Step *s) noexcept nogil:
    """Code the centroids of a step, and bound the errors of their dense scores."""
    cdef StepCentroids *c = &e.centroids
    cdef const Rows *X = e.sweep.rows
    cdef double offset = 0, difference, norm
    cdef double margin = e.codes.margins.score
    cdef int64_t k, l
    cdef int item = X.kernels.itemsize
    for l in range(X.n):
        difference = get(c.shift, l, item) - get(e.codes.origin, l, item)
        offset += difference * difference
    c.offset = sqrt(offset) * (1 + X.n * 1e-15)
    code_centroids(&c.coded, e.codes, s.centroids, s.K, c.offset, e.n_workspaces)
    c.mean_length = c.mean_error = 0
    for k in range(s.K):
        c.mean_length += log(c.coded.panel.lengths[k]) / s.K
        c.mean_error += log(c.coded.panel.errors[k]) / s.K
        norm = sqrt(c.coded.rows.squares[k]) * (1 + e.rounding)
        c.errors[k].constant = margin * (norm * norm + c.offset * (4 * norm + 3 * c.offset)) + e.underflow
        c.errors[k].slope = 2 * margin * (norm + c.offset)
    c.mean_length, c.mean_error = exp(c.mean_length), exp(c.mean_error)


cdef int start_step(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Choose how to make the step, and pack its centroids; nonzero: no memory, or interrupted."""
    cdef StepCentroids *c = &e.centroids
    find_shift(e.sweep.rows.kernels.itemsize, s.K, e.sweep.rows.n, s.centroids, c.shift)
    c.full_packed = False
    e.exact = not wants_codes(e, s)
    if not e.exact:
        if e.codes == NULL and make_codes(e, p):
            return 1
        code_step(e, s)
        if plan_step(e, s, p):
            return 1
    if (e.exact or e.cost.fallback_share > FEW_FALLBACKS) and pack_full(e, s):
        return 1
    if not e.exact:
        if e.leading.in_use:
            project_centroids(&e.leading, e.codes, s.centroids, &c.coded, c.offset, &e.workspaces[0].projection)
        update_bounds(e, s)
    elif e.codes != NULL:
        hamerly_reset(&e.hamerly)
    return 0


cdef StepCounts count_parts(const Sweep *w) noexcept nogil:
    cdef StepCounts counts = StepCounts(0, 0, 0, 0)
    cdef int64_t i
    for i in range(w.n_parts):
        counts.n_distances += w.parts[i].n_distances
        counts.n_pairs += w.parts[i].n_pairs
        counts.n_undecided += w.parts[i].n_undecided
        counts.n_fallback_tiles += w.parts[i].n_fallback_tiles
    return counts


cdef int screen_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    cdef const Rows *X = e.sweep.rows
    cdef StepCounts counts
    if s.K != e.sweep.K:
        sweep_close(&e.sweep)
        if sweep_open(&e.sweep, X, s.K, e.n_workspaces, X.m >= CARRY_ROWS * s.K, True):
            return 1
        hamerly_reset(&e.hamerly)
    if s.assign and start_step(e, s, p):
        return 1
    if sweep_step(&e.sweep, engine, score_block, s, p):
        hamerly_reset(&e.hamerly)
        return 1
    if e.codes != NULL:
        s.max_abs_bits = max(s.max_abs_bits, e.codes.max_abs_bits)
    counts = count_parts(&e.sweep)
    s.n_distances = <int64_t>counts.n_distances
    if s.assign:
        review_step(e, s, &counts)
    return 0


# ---- for tests -------------------------------------------------------------------------------

def pair_bounds_of(Points points, centroids, bint by_tile):
    """Bound the scores of all points and centroids (in the computing dtype), by tiles or pair by pair.

    Returns lower and upper bounds, of shape (m, K), on factor^2 times the scores about the origin, the origin, the
    shift of the step, and the factor. `set_directions` chooses on which directions.
    """
    cdef Problem problem
    cdef Step step
    cdef Screen *e
    cdef CallContext call = CallContext()
    cdef int64_t m = points.rows.m, n = points.rows.n, K = len(centroids)
    cdef size_t size = n * points.rows.kernels.itemsize
    cdef int failed
    bounds, wide, labels = np.empty((2, m, K)), np.zeros((K, wide_stride(n))), np.zeros(m, np.int32)
    centroids = np.ascontiguousarray(centroids)
    wide[:, :n] = centroids
    places = np.empty((2, n), centroids.dtype)  # the origin and the shift
    cdef double[:, :, ::1] out = bounds
    cdef double[:, ::1] wide_view = wide
    cdef int32_t[::1] labels_view = labels
    cdef char *to = <char *><size_t>places.ctypes.data
    memset(&problem, 0, sizeof(Problem))
    memset(&step, 0, sizeof(Step))
    problem.rows, problem.n_threads, problem.K = &points.rows, 1, K
    step.K, step.centroids, step.wide = K, <const void *><size_t>centroids.ctypes.data, &wide_view[0, 0]
    step.labels, step.epoch, step.assign = &labels_view[0], 1, True
    e = <Screen *>open_screen(&problem, K, False)
    if e == NULL:
        raise MemoryError
    try:
        failed = start_step(e, &step, &call.poll)
        if not failed and by_tile:
            failed = bound_by_tiles(points_of_cheapest(e), m, cheapest_centroids(e), &out[0, 0, 0], &out[1, 0, 0])
        elif not failed:
            failed = bound_by_pairs(points_of_cheapest(e), m, cheapest_centroids(e), &out[0, 0, 0], &out[1, 0, 0])
        if failed:
            raise MemoryError
        memcpy(to, e.codes.origin, size)
        memcpy(to + size, e.centroids.shift, size)
        return bounds[0], bounds[1], places[0], places[1], e.codes.factor
    finally:
        screen_close(&e.engine)


cdef EngineFactory SCREEN
memset(&SCREEN, 0, sizeof(SCREEN))
SCREEN.name = b"screen"
SCREEN.distances = SCREEN.fewer_centroids = SCREEN.row_sums = SCREEN.keeps_rows = True
SCREEN.pays_once = pays_once
SCREEN.open = screen_open
ENGINE = entry_of(&SCREEN)

# The same, which computes every pair where screening does not pay: a part of "auto".
cdef EngineFactory ADAPTIVE = SCREEN
ADAPTIVE.open = adaptive_open
ADAPTIVE_ENGINE = entry_of(&ADAPTIVE)
