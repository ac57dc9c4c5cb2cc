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
from ckmeans._bounds cimport learn, remember, sort_out, watch_tile
from ckmeans._directions cimport directions_close, get, put, tiles_of
from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Rows
from ckmeans._projection cimport (
    MOST_DIRECTIONS, Desk, Move, Screen, gather, guess, measure_own, prepare_in_full, prepare_projections, set_bounds,
    side_by_side,
)
from ckmeans._runtime cimport Poll, allocate, hit, lowest_bit, release, wide_stride
from ckmeans._sweep cimport (
    LARGEST_BLOCK, Part, piece_rows, store_labels, sweep_bytes, sweep_close, sweep_open, sweep_step,
)
from ckmeans._verdict cimport judge_step, may_look, pair_price, prepare

cdef int64_t SUBSET = 32           # centroids that are packed together to settle a tile
cdef int64_t PAIRS = 1 << 16       # most pairs of a tile that are computed one by one
cdef int64_t CARRY_ROWS = 4        # rows for each centroid from which carried sums take no more memory than X


# ---- what one fit holds ----------------------------------------------------------------------

cdef void take_desk(Desk *desk, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *rows = e.sweep.rows
    cdef size_t item = rows.kernels.itemsize
    cdef int64_t n = rows.n, tile = rows.kernels.tile
    desk.at = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    desk.label = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    desk.norms = take(memory, at, tile * item)
    desk.gathered = take(memory, at, tile * (MOST_DIRECTIONS + 1) * item)
    desk.copied = take(memory, at, (tile * n + 8) * item)
    desk.least = take(memory, at, tile * item)
    desk.waiting = <int32_t *>take(memory, at, LARGEST_BLOCK * sizeof(int32_t))
    desk.open = <int32_t *>take(memory, at, LARGEST_BLOCK * sizeof(int32_t))
    desk.tile = take(memory, at, (e.piece * n + 8) * item)
    desk.scores = take(memory, at, e.piece * item)
    desk.ids = take(memory, at, e.piece * item)
    desk.partial = take(memory, at, e.K * tile * item)
    desk.best = take(memory, at, tile * item)
    desk.winner = <int32_t *>take(memory, at, tile * sizeof(int32_t))
    desk.bounds = take(memory, at, tile * item)
    desk.hits = <hit *>take(memory, at, (e.K + 1) * sizeof(hit))
    desk.point = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    desk.row = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    desk.k = <int32_t *>take(memory, at, e.pairs * sizeof(int32_t))
    desk.squared = take(memory, at, e.pairs * item)
    desk.chosen = take(memory, at, (max(SUBSET, tile) * n + 8) * item)
    desk.subset.n = n
    desk.subset.c = take(memory, at, SUBSET * n * item)
    desk.subset.norms = take(memory, at, SUBSET * item)
    desk.subset.ids = take(memory, at, SUBSET * item)
    desk.products = take(memory, at, tile * (MOST_DIRECTIONS + 1) * item)


cdef size_t screen_layout(Screen *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = e.sweep.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Screen) + 63) // 64 * 64
    cdef int64_t n = rows.n, K = e.K, i, most = MOST_DIRECTIONS + 1
    cdef Desk desk
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
    e.desks = <Desk *>take(memory, &at, e.n_desks * sizeof(Desk))
    for i in range(e.n_desks):
        take_desk(&desk, e, memory, &at)
        if memory != NULL:
            e.desks[i] = desk
    return at


cdef Engine *open_any(const Rows *rows, int64_t K, int n_threads, bint watchful) noexcept nogil:
    cdef Screen draft
    cdef Screen *e
    cdef char *memory
    cdef int64_t k
    memset(&draft, 0, sizeof(Screen))
    draft.engine.step = screen_step
    draft.engine.close = screen_close
    draft.engine.finish = screen_finish
    draft.engine.room = rows.m
    draft.engine.any_K = True
    draft.K = K
    draft.watchful = watchful
    draft.first_in_full = True
    draft.engine.plain = watchful
    draft.patience = rows.m
    draft.pairs = min(<int64_t>(rows.kernels.tile * K * 2 / pair_price(rows.n)), PAIRS) + rows.kernels.tile
    draft.full.n = draft.directions.n = rows.n
    draft.n_desks = n_threads
    if sweep_open(&draft.sweep, rows, K, n_threads, rows.m >= CARRY_ROWS * K, True):
        return NULL
    draft.piece = tiles_of(rows, piece_rows(rows)) * rows.kernels.tile
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


cdef Engine *screen_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    return open_any(rows, K, n_threads, False)


cdef Engine *watchful_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    return open_any(rows, K, n_threads, True)


cdef void screen_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    """This engine's labels are the rows'."""
    memcpy(labels, own, engine.room * sizeof(int32_t))


# ---- the dense kernel has the last word ------------------------------------------------------

cdef const void *rows_of(const Screen *e, const Desk *desk, const void *rows, int64_t *stride) noexcept nogil:
    """A tile's rows, one after the other."""
    cdef int64_t p, item = e.sweep.rows.kernels.itemsize, size = e.sweep.rows.n * item
    if side_by_side(desk):
        return <const char *>rows + desk.at[0] * stride[0] * item
    for p in range(desk.count):
        memcpy(<char *>desk.copied + p * size, <const char *>rows + desk.at[p] * stride[0] * item, size)
    stride[0] = e.sweep.rows.n
    return desk.copied


cdef void settle_subset(Screen *e, const Step *s, Desk *desk, const int32_t *k, int64_t count) noexcept nogil:
    """Let the dense kernel compare these centroids (rising) with the tile's best ones so far."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t size = X.n * X.kernels.itemsize, i, p
    cdef int item = X.kernels.itemsize
    cdef int32_t id
    for i in range(count):
        memcpy(<char *>desk.chosen + i * size, <char *>s.centroids + k[i] * size, size)
    desk.subset.K = count
    X.kernels.pack_centroids(desk.chosen, e.shift, &desk.subset)
    X.kernels.assign(desk.tile, 1, &desk.subset, desk.scores, desk.ids, desk.partial)
    for p in range(X.kernels.tile):
        if get(desk.scores, p, item) < get(desk.best, p, item):
            id = <int32_t>((<uint32_t *>desk.ids)[p] if item == 4 else (<uint64_t *>desk.ids)[p])
            put(desk.best, p, item, get(desk.scores, p, item))
            desk.winner[p] = k[id]


cdef void settle(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                 int64_t first, const int32_t *k, int64_t candidates) noexcept nogil:
    """The winners of a tile among some centroids (rising), by the dense kernel: nothing is learned of distances."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t p, done = 0, count = desk.count
    cdef int item = X.kernels.itemsize
    cdef const void *tile = rows_of(e, desk, rows, &stride)
    X.kernels.pack(tile, stride, count, X.n, e.shift, desk.tile)
    part.computed += count * candidates
    for p in range(count):
        e.low[first + desk.at[p]] = 0
    if candidates == s.K and e.full_packed:
        X.kernels.assign(desk.tile, 1, &e.full, desk.scores, desk.ids, desk.partial)
        store_labels(desk.ids, item, count, desk.winner)
        return
    for p in range(X.kernels.tile):
        put(desk.best, p, item, INFINITY)
        desk.winner[p] = 0
    while done < candidates:
        settle_subset(e, s, desk, k + done, min(SUBSET, candidates - done))
        done += SUBSET


# ---- the race of the surviving pairs ---------------------------------------------------------

cdef int64_t list_pairs(Screen *e, Desk *desk, int64_t hits) noexcept nogil:
    """Survivors after the pairs of points and their present centroids; -1 where they are too many."""
    cdef int64_t at = desk.count, i, p
    cdef uint32_t points
    for i in range(hits):
        points = desk.hits[i].points
        if at + desk.count > e.pairs:
            return -1
        while points:
            p = lowest_bit(points)
            points &= points - 1
            desk.point[at] = <int32_t>p
            desk.row[at] = desk.at[p]
            desk.k[at] = desk.hits[i].k
            at += desk.label[p] != desk.hits[i].k  # else the next one takes this place
    return at


# One point's race: the centroid with the lowest upper end, and the lowest lower end of all others.
cdef struct Race:
    double norm              # |y|
    int32_t winner
    double low               # of the winner
    double high
    double others


cdef inline double error_of(const Screen *e, const Desk *desk, int64_t i, double norm) noexcept nogil:
    """Of pair i: how far its squared distance may be from what its dense score stands for."""
    cdef int32_t k = desk.k[i]
    cdef double square = get(desk.squared, i, e.sweep.rows.kernels.itemsize)
    return square * e.margins.full + e.dense1[k] + (e.dense2[k] + 2 * e.margins.dense * e.far) * norm


cdef void run_race(Race *race, int32_t k, double low, double high) noexcept nogil:
    if high < race.high:
        race.others = min(race.others, race.low)
        race.winner, race.low, race.high = k, low, high
    else:
        race.others = min(race.others, low)


cdef uint64_t judge(Screen *e, Desk *desk, int64_t pairs, Race *races) noexcept nogil:
    """Winners from the distances in full; the points for which those do not decide, one bit each."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p
    cdef double square, error
    cdef uint64_t undecided = 0
    for p in range(desk.count):
        races[p].norm = sqrt(get(desk.norms, p, item)) * (1 + e.margins.store)
        races[p].high = races[p].others = races[p].low = INFINITY
        races[p].winner = desk.k[p]
    for i in range(pairs):
        p = desk.point[i]
        square = get(desk.squared, i, item)
        error = error_of(e, desk, i, races[p].norm)
        run_race(&races[p], desk.k[i], square - error, square + error)
    for p in range(desk.count):
        desk.winner[p] = races[p].winner
        if not races[p].others > races[p].high:
            undecided |= <uint64_t>1 << p
    return undecided


cdef int64_t candidates_of(const Screen *e, const Desk *desk, int64_t pairs, uint64_t points, const Race *races,
                           int32_t *k) noexcept nogil:
    """The centroids that may win one of these points, rising, each once; -1 where they are too many."""
    cdef int64_t i, j, p, count = 0
    cdef double low
    for i in range(pairs):
        p = desk.point[i]
        if not points >> p & 1:
            continue
        low = get(desk.squared, i, e.sweep.rows.kernels.itemsize) - error_of(e, desk, i, races[p].norm)
        if low > races[p].high:
            continue
        j = count
        while j > 0 and k[j - 1] > desk.k[i]:
            j -= 1
        if j > 0 and k[j - 1] == desk.k[i]:
            continue
        if count == SUBSET:
            return -1
        memmove(k + j + 1, k + j, (count - j) * sizeof(int32_t))
        k[j] = desk.k[i]
        count += 1
    return count


cdef void settle_undecided(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                           int64_t first, int64_t pairs, uint64_t undecided, const Race *races) noexcept nogil:
    """Let the dense kernel choose among the centroids that may win these points."""
    cdef int32_t k[33]
    cdef int64_t candidates
    candidates = candidates_of(e, desk, pairs, undecided, races, k)
    if candidates < 0:
        settle(e, s, part, desk, rows, stride, first, e.everyone, s.K)
    else:
        settle(e, s, part, desk, rows, stride, first, k, candidates)


cdef void decide(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                 int64_t first, int64_t pairs) noexcept nogil:
    """Winners of a tile from its surviving pairs."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef Race races[64]
    cdef uint64_t undecided
    cdef int64_t p, count = desk.count
    X.kernels.pair_distances(rows, stride, X.n, s.centroids, desk.row + count, desk.k + count, pairs - count,
                             <char *>desk.squared + count * item)
    part.computed += pairs
    undecided = judge(e, desk, pairs, races)
    if undecided:
        settle_undecided(e, s, part, desk, rows, stride, first, pairs, undecided, races)
    for p in range(count):
        if not undecided >> p & 1:
            learn(e, desk, first + desk.at[p], p, races[p].high, races[p].others)
            desk.winner[p] = races[p].winner


# ---- one step --------------------------------------------------------------------------------

cdef void lay_out(Screen *e, Desk *desk, const int32_t *at, int64_t count, int64_t first,
                  const int32_t *labels) noexcept nogil:
    """These rows of the chunk are the tile."""
    cdef int64_t p
    cdef int item = e.sweep.rows.kernels.itemsize
    desk.count = count
    for p in range(count):
        desk.at[p] = at[p]
        desk.label[p] = labels[at[p]]
        put(desk.norms, p, item, get(e.norms, first + at[p], item))


cdef void score_tile(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                     int64_t first) noexcept nogil:
    """Screen the tile's points against all centroids."""
    cdef const Rows *X = e.sweep.rows
    cdef const void *tile = gather(e, desk, first)
    cdef int32_t *label
    cdef int64_t p, hits, pairs
    if s.fresh:
        guess(e, desk, tile, desk.count, desk.label)
    measure_own(e, s, desk, rows, stride)
    set_bounds(e, desk)
    hits = X.kernels.screen(tile, &e.screened, desk.bounds, desk.hits, desk.least)
    pairs = list_pairs(e, desk, hits)
    if pairs < 0:
        part.waived += 1
        settle(e, s, part, desk, rows, stride, first, e.everyone, s.K)
    else:
        decide(e, s, part, desk, rows, stride, first, pairs)
    for p in range(desk.count):
        label = s.labels + first + desk.at[p]
        part.changed += label[0] != desk.winner[p]
        label[0] = desk.winner[p]


cdef void score_in_full(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                        int64_t first, int64_t count) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    part.most = max(part.most, X.kernels.pack(rows, stride, count, X.n, e.shift, desk.tile))
    X.kernels.assign(desk.tile, tiles_of(X, count), &e.full, desk.scores, desk.ids, desk.partial)
    part.changed += store_labels(desk.ids, X.kernels.itemsize, count, s.labels + first)
    part.computed += count * s.K
    if e.ready:
        memset(e.low + first, 0, count * sizeof(uint16_t))


cdef void score_chunk(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef int64_t tile = e.sweep.rows.kernels.tile, at = 0, open_, waiting
    cdef int32_t *labels = s.labels + first
    waiting = sort_out(e, s, desk, first, count, &open_)
    while at < waiting:
        lay_out(e, desk, desk.waiting + at, min(tile, waiting - at), first, labels)
        watch_tile(e, s, desk, first, &open_)
        at += tile
    at = 0
    part.open += open_
    while at < open_:
        lay_out(e, desk, desk.open + at, min(tile, open_ - at), first, labels)
        score_tile(e, s, part, desk, rows, stride, first)
        at += tile


cdef void score_block(void *engine, const Step *s, Part *part, int thread, const void *rows, int64_t stride,
                      int64_t first, int64_t count) noexcept nogil:
    cdef Screen *e = <Screen *>engine
    cdef int64_t item = e.sweep.rows.kernels.itemsize, at = 0, i
    for i in range(first, first + count):
        if not 0 <= s.labels[i] < s.K:
            s.labels[i] = 0
    if not e.in_full:
        score_chunk(e, s, part, &e.desks[thread], rows, stride, first, count)
        return
    while at < count:
        score_in_full(e, s, part, &e.desks[thread], <char *>rows + at * stride * item, stride, first + at,
                      min(e.piece, count - at))
        at += e.piece


cdef void prepare_step(Screen *e, const Step *s) noexcept nogil:
    e.in_full = not e.ready or s.fresh and e.first_in_full
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
    if s.score and not e.ready and may_look(e, s) and prepare(e, s, p):
        return 1
    if s.K != e.sweep.K:
        sweep_close(&e.sweep)
        if sweep_open(&e.sweep, rows, s.K, e.n_desks, rows.m >= CARRY_ROWS * s.K, True):
            return 1
        e.known = NULL
    if s.score:
        prepare_step(e, s)
    if sweep_step(&e.sweep, engine, score_block, s, p):
        e.known = NULL
        return 1
    s.most = max(s.most, e.most)
    for i in range(e.sweep.partials):
        computed += e.sweep.parts[i].computed
    s.computed = <int64_t>computed
    if s.score:
        judge_step(e, s, computed)
    return 0
