"""A provable lower bound first: distances in full only where it does not decide.

Scores of few features, the projections, bound the distance of every pair from below; a centroid whose bound is above
the exact distance to the point's present centroid is out. The others' distances are computed in full, and where those
do not decide, the dense kernel does.

Why the labels are those of the dense engine, bit for bit: see _projection.pyx. What is known of points from step to
step: _bounds.pyx. Whether to screen at all, and on how many directions: _verdict.pyx.
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport (
    MAX_BLOCK, Block, Engine, EngineFactory, PartialSum, Problem, Step, Sweep, cached_rows, entry_of, sweep_bytes,
    sweep_close, sweep_open, sweep_step, update_labels,
)
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, allocate, hit, lowest_bit, release, wide_stride

include "_screen_pca.pxi"
include "_screen_lower_bound.pxi"
include "_screen_hamerly.pxi"
include "_screen_cost.pxi"

cdef int64_t SUBSET = 32           # centroids that are packed together to settle a tile
cdef int64_t PAIRS = 1 << 16       # most pairs of a tile that are computed one by one
cdef int64_t CARRY_ROWS = 4        # rows for each centroid from which carried sums take no more memory than X


# ---- what one fit holds ----------------------------------------------------------------------

cdef void workspace_layout(Workspace *work, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *rows = e.sweep.rows
    cdef size_t item = rows.kernels.itemsize
    cdef int64_t n = rows.n, tile = rows.kernels.tile
    work.at = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    work.label = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    work.norms = take(memory, at, tile * item)
    work.gathered = take(memory, at, tile * (MOST_DIRECTIONS + 1) * item)
    work.copied = take(memory, at, (tile * n + 8) * item)
    work.least = take(memory, at, tile * item)
    work.waiting = <int32_t *>take(memory, at, MAX_BLOCK * sizeof(int32_t))
    work.open = <int32_t *>take(memory, at, MAX_BLOCK * sizeof(int32_t))
    work.tile = take(memory, at, (e.piece * n + 8) * item)
    work.scores = take(memory, at, e.piece * item)
    work.ids = take(memory, at, e.piece * item)
    work.partial = take(memory, at, e.K * tile * item)
    work.best = take(memory, at, tile * item)
    work.winner = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    work.bounds = take(memory, at, tile * item)
    work.hits = <hit *>take(memory, at, (e.K + 1) * sizeof(hit))
    work.point = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    work.row = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    work.k = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    work.squared = take(memory, at, e.pairs * item)
    work.chosen = take(memory, at, (max(SUBSET, tile) * n + 8) * item)
    work.subset.n = n
    work.subset.c = take(memory, at, SUBSET * n * item)
    work.subset.norms = take(memory, at, SUBSET * item)
    work.subset.ids = take(memory, at, SUBSET * item)
    work.products = take(memory, at, tile * (MOST_DIRECTIONS + 1) * item)


cdef size_t screen_layout(Screen *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = e.sweep.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Screen) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = e.K, i, most = MOST_DIRECTIONS + 1
    cdef Workspace work
    e.origin = take(memory, &at, n * item)
    e.origin_wide = <double *>take(memory, &at, wide_stride(n) * sizeof(double))
    e.shift = take(memory, &at, n * item)
    e.zeros = take(memory, &at, max(n, most) * item)
    e.zero_labels = <int32_t *>take(memory, &at, rows.kernels.tile * sizeof(int32_t))
    e.directions.c = take(memory, &at, most * n * item)
    e.directions.norms = take(memory, &at, most * item)
    e.directions.ids = take(memory, &at, most * item)
    e.projected = take(memory, &at, K * most * item)
    e.screened.c = take(memory, &at, K * most * item)
    e.screened.norms = take(memory, &at, K * item)
    e.screened.ids = take(memory, &at, K * item)
    e.guessed.c = take(memory, &at, K * most * item)
    e.guessed.ids = take(memory, &at, K * item)
    e.left = take(memory, &at, K * item)
    e.dense1 = <double *>take(memory, &at, K * sizeof(double))
    e.dense2 = <double *>take(memory, &at, K * sizeof(double))
    e.everyone = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    e.before = take(memory, &at, K * n * item)
    e.moves = <Move *>take(memory, &at, K * sizeof(Move))
    e.moved = <double *>take(memory, &at, K * sizeof(double))
    e.active.c = take(memory, &at, K * most * item)
    e.active.norms = take(memory, &at, K * item)
    e.active.ids = take(memory, &at, K * item)
    e.active_k = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    e.full.c = take(memory, &at, K * n * item)
    e.full.norms = take(memory, &at, K * item)
    e.full.ids = take(memory, &at, K * item)
    e.workspaces = <Workspace *>take(memory, &at, e.n_workspaces * sizeof(Workspace))
    for i in range(e.n_workspaces):
        workspace_layout(&work, e, memory, &at)
        if memory != NULL:
            e.workspaces[i] = work
    return at


cdef Engine *open_any(const Problem *problem, int64_t K, bint watchful) noexcept nogil:
    cdef const Rows *rows = problem.rows
    cdef Screen draft
    cdef Screen *e
    cdef char *memory
    cdef int64_t k
    memset(&draft, 0, sizeof(Screen))
    draft.engine.name = SCREEN.name
    if watchful:
        draft.engine.name = b"dense"  # until it screens
    draft.engine.step = screen_step
    draft.engine.close = screen_close
    draft.engine.n_labels = rows.m
    draft.K = K
    draft.watchful = watchful
    draft.first_in_full = True
    draft.patience = rows.m
    draft.pairs = min(<int64_t>(rows.kernels.tile * K * 2 / pair_price(rows.n)), PAIRS) + rows.kernels.tile
    draft.full.n = draft.directions.n = rows.n
    draft.n_workspaces = problem.n_threads
    if sweep_open(&draft.sweep, rows, K, problem.n_threads, rows.m >= CARRY_ROWS * K, True):
        return NULL
    draft.piece = tiles_of(rows, cached_rows(rows)) * rows.kernels.tile
    draft.engine.bytes = <int64_t>screen_layout(&draft, NULL) + sweep_bytes(&draft.sweep)
    memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        sweep_close(&draft.sweep)
        return NULL
    screen_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Screen))
    e = <Screen *>memory
    memset(e.zeros, 0, max(rows.n, MOST_DIRECTIONS + 1) * rows.kernels.itemsize)
    memset(e.zero_labels, 0, rows.kernels.tile * sizeof(int32_t))
    for k in range(K):
        e.everyone[k] = <int32_t>k
    return &e.engine


cdef void screen_close(Engine *engine) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    sweep_close(&e.sweep)
    directions_close(&e.found)
    release(e.points)
    release(e)


cdef Engine *screen_open(const Problem *problem, int64_t K) noexcept nogil:
    return open_any(problem, K, False)


cdef Engine *watchful_open(const Problem *problem, int64_t K) noexcept nogil:
    return open_any(problem, K, True)


# ---- the dense kernel has the last word ------------------------------------------------------

cdef const void *rows_of(const Screen *e, const Workspace *work, const void *rows, int64_t *stride) noexcept nogil:
    """A tile's rows, one after the other."""
    cdef int64_t p, item = e.sweep.rows.kernels.itemsize, size = e.sweep.rows.n * item
    if side_by_side(work):
        return <const char *>rows + work.at[0] * stride[0] * item
    for p in range(work.count):
        memcpy(<char *>work.copied + p * size, <const char *>rows + work.at[p] * stride[0] * item, size)
    stride[0] = e.sweep.rows.n
    return work.copied


cdef void settle_subset(Screen *e, const Step *s, Workspace *work, const int32_t *k, int64_t count) noexcept nogil:
    """Let the dense kernel compare these centroids (rising) with the tile's best ones so far."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t size = X.n * X.kernels.itemsize, i, p
    cdef int item = X.kernels.itemsize
    cdef int32_t id
    for i in range(count):
        memcpy(<char *>work.chosen + i * size, <char *>s.centroids + k[i] * size, size)
    work.subset.K = count
    X.kernels.pack_centroids(work.chosen, e.shift, &work.subset)
    X.kernels.assign(work.tile, 1, &work.subset, work.scores, work.ids, work.partial)
    for p in range(X.kernels.tile):
        if get(work.scores, p, item) < get(work.best, p, item):
            id = <int32_t>((<uint32_t *>work.ids)[p] if item == 4 else (<uint64_t *>work.ids)[p])
            put(work.best, p, item, get(work.scores, p, item))
            work.winner[p] = k[id]


cdef void settle(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                 int64_t first, const int32_t *k, int64_t candidates) noexcept nogil:
    """The winners of a tile among some centroids (rising), by the dense kernel: nothing is learned of distances."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t p, done = 0, count = work.count
    cdef int item = X.kernels.itemsize
    cdef const void *tile = rows_of(e, work, rows, &stride)
    X.kernels.pack(tile, stride, count, X.n, e.shift, work.tile)
    part.n_distances += count * candidates
    for p in range(count):
        e.low[first + work.at[p]] = 0
    if candidates == s.K and e.full_packed:
        X.kernels.assign(work.tile, 1, &e.full, work.scores, work.ids, work.partial)
        update_labels(work.ids, item, count, work.winner)
        return
    for p in range(X.kernels.tile):
        put(work.best, p, item, INFINITY)
        work.winner[p] = 0
    while done < candidates:
        settle_subset(e, s, work, k + done, min(SUBSET, candidates - done))
        done += SUBSET


# ---- the race of the surviving pairs ---------------------------------------------------------

cdef int64_t list_pairs(Screen *e, Workspace *work, int64_t hits) noexcept nogil:
    """Survivors after the pairs of points and their present centroids; -1 where they are too many."""
    cdef int64_t at = work.count, i, p
    cdef uint32_t points
    for i in range(hits):
        points = work.hits[i].points
        if at + work.count > e.pairs:
            return -1
        while points:
            p = lowest_bit(points)
            points &= points - 1
            work.point[at] = <int32_t>p
            work.row[at] = work.at[p]
            work.k[at] = work.hits[i].k
            at += work.label[p] != work.hits[i].k  # else the next one takes this place
    return at


# One point's race: the centroid with the lowest upper end, and the lowest lower end of all others.
cdef struct Race:
    double norm              # |y|
    int32_t winner
    double low               # of the winner
    double high
    double others


cdef inline double error_of(const Screen *e, const Workspace *work, int64_t i, double norm) noexcept nogil:
    """Of pair i: how far its squared distance may be from what its dense score stands for."""
    cdef int32_t k = work.k[i]
    cdef double square = get(work.squared, i, e.sweep.rows.kernels.itemsize)
    return square * e.margins.full + e.dense1[k] + (e.dense2[k] + 2 * e.margins.dense * e.far) * norm


cdef void run_race(Race *race, int32_t k, double low, double high) noexcept nogil:
    if high < race.high:
        race.others = min(race.others, race.low)
        race.winner, race.low, race.high = k, low, high
    else:
        race.others = min(race.others, low)


cdef uint64_t judge(Screen *e, Workspace *work, int64_t pairs, Race *races) noexcept nogil:
    """Winners from the distances in full; the points for which those do not decide, one bit each."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p
    cdef double square, error
    cdef uint64_t undecided = 0
    for p in range(work.count):
        races[p].norm = sqrt(get(work.norms, p, item)) * (1 + e.margins.store)
        races[p].high = races[p].others = races[p].low = INFINITY
        races[p].winner = work.k[p]
    for i in range(pairs):
        p = work.point[i]
        square = get(work.squared, i, item)
        error = error_of(e, work, i, races[p].norm)
        run_race(&races[p], work.k[i], square - error, square + error)
    for p in range(work.count):
        work.winner[p] = races[p].winner
        if not races[p].others > races[p].high:
            undecided |= <uint64_t>1 << p
    return undecided


cdef int64_t candidates_of(const Screen *e, const Workspace *work, int64_t pairs, uint64_t points, const Race *races,
                           int32_t *k) noexcept nogil:
    """The centroids that may win one of these points, rising, each once; -1 where they are too many."""
    cdef int64_t i, j, p, count = 0
    cdef double low
    for i in range(pairs):
        p = work.point[i]
        if not points >> p & 1:
            continue
        low = get(work.squared, i, e.sweep.rows.kernels.itemsize) - error_of(e, work, i, races[p].norm)
        if low > races[p].high:
            continue
        j = count
        while j > 0 and k[j - 1] > work.k[i]:
            j -= 1
        if j > 0 and k[j - 1] == work.k[i]:
            continue
        if count == SUBSET:
            return -1
        memmove(k + j + 1, k + j, (count - j) * sizeof(int32_t))
        k[j] = work.k[i]
        count += 1
    return count


cdef void settle_undecided(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                           int64_t first, int64_t pairs, uint64_t undecided, const Race *races) noexcept nogil:
    """Let the dense kernel choose among the centroids that may win these points."""
    cdef int32_t k[33]
    cdef int64_t candidates
    candidates = candidates_of(e, work, pairs, undecided, races, k)
    if candidates < 0:
        settle(e, s, part, work, rows, stride, first, e.everyone, s.K)
    else:
        settle(e, s, part, work, rows, stride, first, k, candidates)


cdef void decide(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                 int64_t first, int64_t pairs) noexcept nogil:
    """Winners of a tile from its surviving pairs."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef Race races[64]
    cdef uint64_t undecided
    cdef int64_t p, count = work.count
    X.kernels.pairs(rows, stride, X.n, s.centroids, work.row + count, work.k + count, pairs - count,
                    <char *>work.squared + count * item)
    part.n_distances += pairs
    undecided = judge(e, work, pairs, races)
    if undecided:
        settle_undecided(e, s, part, work, rows, stride, first, pairs, undecided, races)
    for p in range(count):
        if not undecided >> p & 1:
            learn(e, work, first + work.at[p], p, races[p].high, races[p].others)
            work.winner[p] = races[p].winner


# ---- one step --------------------------------------------------------------------------------

cdef void lay_out(Screen *e, Workspace *work, const int32_t *at, int64_t count, int64_t first,
                  const int32_t *labels) noexcept nogil:
    """These rows of the chunk are the tile."""
    cdef int64_t p
    cdef int item = e.sweep.rows.kernels.itemsize
    work.count = count
    for p in range(count):
        work.at[p] = at[p]
        work.label[p] = labels[at[p]]
        put(work.norms, p, item, get(e.norms, first + at[p], item))


cdef void score_tile(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                     int64_t first) noexcept nogil:
    """Screen the tile's points against all centroids."""
    cdef const Rows *X = e.sweep.rows
    cdef const void *tile = gather(e, work, first)
    cdef int32_t *label
    cdef int64_t p, hits, pairs
    if s.labels_epoch == 0:
        guess(e, work, tile, work.count, work.label)
    measure_own(e, s, work, rows, stride)
    set_bounds(e, work)
    hits = X.kernels.screen(tile, &e.screened, work.bounds, work.hits, work.least)
    pairs = list_pairs(e, work, hits)
    if pairs < 0:
        part.n_fallback_tiles += 1
        settle(e, s, part, work, rows, stride, first, e.everyone, s.K)
    else:
        decide(e, s, part, work, rows, stride, first, pairs)
    for p in range(work.count):
        label = s.labels + first + work.at[p]
        part.n_changed += label[0] != work.winner[p]
        label[0] = work.winner[p]


cdef void score_in_full(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                        int64_t first, int64_t count) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    part.max_abs_bits = max(part.max_abs_bits, X.kernels.pack(rows, stride, count, X.n, e.shift, work.tile))
    X.kernels.assign(work.tile, tiles_of(X, count), &e.full, work.scores, work.ids, work.partial)
    part.n_changed += update_labels(work.ids, X.kernels.itemsize, count, s.labels + first)
    part.n_distances += count * s.K
    if e.ready:
        memset(e.low + first, 0, count * sizeof(uint16_t))


cdef void score_chunk(Screen *e, const Step *s, PartialSum *part, Workspace *work, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef int64_t tile = e.sweep.rows.kernels.tile, at = 0, open_, waiting
    cdef int32_t *labels = s.labels + first
    waiting = sort_out(e, s, work, first, count, &open_)
    while at < waiting:
        lay_out(e, work, work.waiting + at, min(tile, waiting - at), first, labels)
        watch_tile(e, s, work, first, &open_)
        at += tile
    at = 0
    part.n_undecided += open_
    while at < open_:
        lay_out(e, work, work.open + at, min(tile, open_ - at), first, labels)
        score_tile(e, s, part, work, rows, stride, first)
        at += tile


cdef void score_block(void *engine, const Step *s, PartialSum *part, int thread, const Block *block) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    cdef int64_t item = e.sweep.rows.kernels.itemsize, at = 0
    if not e.in_full:
        score_chunk(e, s, part, &e.workspaces[thread], block.rows, block.stride, block.first, block.count)
        return
    while at < block.count:
        score_in_full(e, s, part, &e.workspaces[thread], <char *>block.rows + at * block.stride * item, block.stride,
                      block.first + at, min(e.piece, block.count - at))
        at += e.piece


cdef void prepare_step(Screen *e, const Step *s) noexcept nogil:
    e.in_full = not e.ready or s.labels_epoch == 0 and e.first_in_full
    e.full_packed = e.in_full or e.waived > 0.01
    if not e.in_full:
        prepare_projections(e, s)
    if e.full_packed:
        prepare_in_full(e, s)
    if e.ready:
        remember(e, s)


cdef int screen_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was not done."""
    cdef Screen *e = <Screen *>engine
    cdef const Rows *rows = e.sweep.rows
    cdef double computed = 0
    cdef int64_t i
    if s.assign and not e.ready and may_look(e, s) and prepare(e, s, p):
        return 1
    if s.K != e.sweep.K:
        sweep_close(&e.sweep)
        if sweep_open(&e.sweep, rows, s.K, e.n_workspaces, rows.m >= CARRY_ROWS * s.K, True):
            return 1
        e.bounds_epoch = 0
    if s.assign:
        prepare_step(e, s)
    if sweep_step(&e.sweep, engine, score_block, s, p):
        e.bounds_epoch = 0
        return 1
    s.max_abs_bits = max(s.max_abs_bits, e.most)
    for i in range(e.sweep.n_parts):
        computed += e.sweep.parts[i].n_distances
    s.n_distances = <int64_t>computed
    if s.assign:
        judge_step(e, s, computed)
    return 0


cdef EngineFactory SCREEN
memset(&SCREEN, 0, sizeof(SCREEN))
SCREEN.name = b"screen"
SCREEN.distances = SCREEN.fewer_centroids = SCREEN.row_sums = True
SCREEN.open = screen_open
ENGINE = entry_of(&SCREEN)

# The same, which computes every pair where screening does not pay: a part of "auto".
cdef EngineFactory ADAPTIVE = SCREEN
ADAPTIVE.open = watchful_open
ADAPTIVE_ENGINE = entry_of(&ADAPTIVE)
