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
from ckmeans._points cimport Points, Rows, n_tiles
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

include "_screen_pca.pxi"
include "_screen_leading.pxi"
include "_screen_tile.pxi"
include "_screen_hamerly.pxi"
include "_screen_probe.pxi"
include "_screen_cost.pxi"
include "_screen_exact.pxi"
include "_screen_bounds.pxi"

cdef int64_t MAX_PAIRS = 1 << 16        # pairs of a tile that are listed: about 1 MiB
cdef int64_t CARRY_ROWS = 16            # rows for each centroid from which carried sums take little memory beside X
cdef double FEW_FALLBACKS = 0.01        # part of the tiles up to which packing all centroids would not pay


# ---- what one fit holds ----------------------------------------------------------------------

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
    double underflow         # absolute
    double distance_error    # relative, of a distance in full
    bint exact               # this step, or the one before, computes all pairs


cdef void float_panel_layout(panel *to, int64_t K, int64_t n, size_t item, char *memory, size_t *at) noexcept nogil:
    to.n = n
    to.c = take(memory, at, K * n * item)
    to.norms = take(memory, at, K * item)
    to.ids = take(memory, at, K * item)


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
    coded_layout(&e.centroids.coded, e.K, words_of(X.n), memory, &at)
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
    # Three times as many as take as long as all pairs of a tile in the dense kernel, which gives no bounds to carry.
    draft.max_pairs = min(<int64_t>(CODE_TILE * K * 3 / pair_cost(X.n)), MAX_PAIRS) + CODE_TILE
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
        norm = sqrt(c.coded.rows.squares[k]) * (1 + e.codes.margins.rounding)
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
            project_centroids(e, s)
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
    cdef int64_t changed = s.n_changed
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
        review_step(e, s, changed, &counts)
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
