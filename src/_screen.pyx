"""A provable lower bound first: distances in full only where it does not decide.

All points are projected once on the leading directions q_1 .. q_d of a sample. With y = x - o, z its
projection and R a bound on what the projection leaves out (the same for centroids), the product
z_x . z_k + R_x R_k of d + 1 features is at least y_x . y_k, by Cauchy and Schwarz. So a dense score over
d + 1 features bounds the distance of every pair from below; a centroid whose bound is above the exact
distance to the point's present centroid is out. The others' distances are computed in full.

Why the labels are those of the dense engine, bit for bit. u is the unit roundoff, g(i) = 1.1 i u bounds
i roundings (i u <= 0.05), |.| are norms, Q has the rows q as stored, and QQ' = I + D with |D| <= defect.

1. Projection. z differs from Qy by at most t |y|, t = g(68 + n / 64) sqrt(d (1 + defect)): the kernel's
   depth, and the rounding of x - o. So |z| <= L |y|, L = 1 + defect + t.
2. Residual. e = y - Q'z exactly. Then |e|^2 <= |y|^2 - |z|^2 + (2 L t + L^2 defect) |y|^2, and
   y_x . y_k <= z_x . z_k + |e_x| |e_k| + M |y_x| |y_k| with M = 2 L t + 3 L^2 defect.
3. The dense score. It is |x - c|^2 - |x - s|^2 up to E = g(n + 8) (|c - s|^2 + 2 |x - s| |c - s|), s the
   step's shift; with h = |s - o|, |c - s| <= |y_k| + h and |x - s| <= |y_x| + h.
4. The bound's own score. Its d + 1 multiply-adds err by at most g(d + 4) (|y_k|^2 + 4.5 |y_x| |y_k|).

Every margin with |y_x| |y_k| goes into R, since |e_x| |e_k| + b |y_x| b |y_k| <= R_x R_k where
R^2 = |e|^2 + b^2 |y|^2; margins with the centroid alone lower its norm, those with the point alone
raise its threshold. What is left after the distances in full (relative error g(n / LANES + 2 LANES + 8))
is judged with E again; points for which that leaves two or more are settled by the dense kernel itself.

What is known of a point goes from step to step (G. Hamerly, "Making k-means even faster", SDM 2010):
`high`, at least the distance to its centroid, which rises by how far that one moves, and `low`, at most the
distance to any other. Centroids that moved far are active: every point is screened against them. The others
take from `low` only the largest of their moves. Where low^2 - high^2 is still above 2 E, and no active
centroid's bound reaches `high`, the label stays and the point's features are not even read.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdlib cimport qsort
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._directions cimport Directions, directions_close, directions_find, get, put, tiles_of
from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport Poll, allocate, hit, panel, poll, release, threads_for, wide_stride
from ckmeans._shift cimport find_shift
from ckmeans._sweep cimport (
    LARGEST_BLOCK, Part, Sweep, piece_rows, store_labels, sweep_bytes, sweep_close, sweep_open, sweep_step,
)

cdef int64_t MOST_DIRECTIONS = 128
cdef int64_t FEW_DIRECTIONS = 16    # that show whether there are directions at all
cdef int64_t TRIED = 256           # points with which their number is chosen
cdef double LATER = 0.15           # survivors of later steps, for one of the first
cdef int64_t SUBSET = 32           # centroids that are packed together to settle a tile
cdef int64_t PAIRS = 1 << 16       # most pairs of a tile that are computed one by one
cdef double HANDLING = 2000        # multiply-adds of the dense kernel for as long as a point is handled
cdef double STEPS = 10             # over which the projection of the points is to pay
cdef int64_t ASKED = 1024          # points that are asked how many centroids to call active


# ---- what one fit holds ----------------------------------------------------------------------

# One thread's scratch. A tile's points are `at` those rows of the chunk.
cdef struct Desk:
    int64_t count
    int32_t *at
    int32_t *label
    void *norms
    void *gathered           # their projections, where they do not lie side by side,
    void *copied             # and their rows
    void *least              # of the scores that are out of reach
    int32_t *waiting         # rows of the chunk whose label may stay,
    int32_t *open            # and those to be screened in full
    void *tile               # points of one tile (or a piece of the chunk), all features
    void *scores
    void *ids
    void *partial
    void *best               # scores of the points' best centroids
    int32_t *winner
    void *bounds
    hit *hits                # (K,)
    int32_t *point           # pairs: a point of the tile,
    int32_t *row             # its row of the chunk,
    int32_t *k               # a centroid,
    void *squared            # and their squared distance
    panel subset
    void *chosen             # (SUBSET, n) centroids
    void *products           # a tile of projections

# Factors of the margins; see above.
cdef struct Margins:
    double residual          # of |y|^2 in R^2
    double dense             # g(n + 8)
    double bound             # g(d + 4)
    double full              # of a distance in full
    double store             # of what is computed in double and stored in the computing dtype
    double least             # of underflow: absolute

cdef struct Move:
    double far
    int32_t k

cdef struct Screen:
    Engine engine
    Sweep sweep
    int64_t K                # room for so many centroids
    bint watchful
    bint ready               # the points are projected
    bint chosen_again        # the number of directions
    int64_t points_bytes
    int64_t piece            # rows that are packed together for the dense kernel
    int64_t d                # directions
    Margins margins
    uint64_t most
    void *origin
    double *origin_wide
    void *shift
    void *zeros
    int32_t *zero_labels
    panel directions         # of n features
    void *projected          # (K, d + 1)
    panel screened           # of d + 1 features
    panel guessed            # the same without R: no bounds, but the best estimates
    void *left               # R of each centroid
    double *dense1           # E of each centroid: dense1 + dense2 |y|
    double *dense2
    double far               # h
    panel full               # all centroids and features; packed where it is wanted
    bint full_packed
    bint first_in_full       # a first step by screening would take longer
    bint in_full             # this step computes every pair
    double waived            # share of the tiles that the last step gave up
    int32_t *everyone        # 0 .. K - 1
    void *points             # tiles of d + 1 features
    void *norms              # |y|^2
    uint16_t *high           # in grains of |y|, rounded up,
    uint16_t *low            # and rounded down; 0: nothing is known
    const int32_t *known     # labels that those two belong to; NULL: none
    bint knows               # they may be used in this step
    void *before             # (K, n) centroids of the last step
    Move *moves              # (K,) the farthest first
    double *moved            # (K,) by centroid
    double calm              # the farthest move of those that are not active
    double doubt1            # E of any centroid: at most doubt1 + doubt2 |y|
    double doubt2
    panel active             # of d + 1 features
    int32_t *active_k
    int64_t pairs
    Desk *desks
    int n_desks


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
    draft.pairs = min(<int64_t>(rows.kernels.tile * K * 2 / pair_price(rows.n)), PAIRS) + rows.kernels.tile
    draft.full.n = draft.directions.n = rows.n
    draft.n_desks = n_threads
    if sweep_open(&draft.sweep, rows, K, n_threads, True):
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
    release(e.points)
    release(e)


cdef Engine *screen_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    return open_any(rows, K, n_threads, False)


cdef Engine *watchful_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    return open_any(rows, K, n_threads, True)


cdef void screen_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    """This engine's labels are the rows'."""
    memcpy(labels, own, engine.room * sizeof(int32_t))


# ---- directions ------------------------------------------------------------------------------

cdef void use_directions(Screen *e, const Directions *f, int64_t d) noexcept nogil:
    """Project on the first d directions."""
    e.d = e.directions.K = d
    e.screened.n = d + 1
    if d > 0:
        e.sweep.rows.kernels.pack_centroids(f.vectors, e.zeros, &e.directions)
    set_margins(e, f.defect)


cdef void set_margins(Screen *e, double defect) noexcept nogil:
    cdef const Rows *rows = e.sweep.rows
    cdef double unit = 1.1 * (2.0 ** -24 if rows.kernels.itemsize == 4 else 2.0 ** -53)
    cdef double n = rows.n, d = e.d
    cdef double lanes = 16 if rows.kernels.itemsize == 4 else 8
    cdef double t = unit * (68 + n / 64) * sqrt(d * (1 + defect)), L = 1 + defect + t
    cdef Margins *g = &e.margins
    g.dense = unit * (n + 8)
    g.bound = unit * (d + 4)
    # Fewer lanes add up more terms each, more lanes take longer to add up.
    g.full = unit * (n + 2 * lanes + 16)
    g.store = 16 * unit + (n + d + 32) * 2.0 ** -51
    g.residual = 2 * (2 * L * t + 3 * L * L * defect) + g.dense + 2.5 * g.bound + g.store
    g.least = 32 * (n + 16) * (1.5e-45 if rows.kernels.itemsize == 4 else 5e-324)


cdef inline double pair_price(int64_t n) noexcept nogil:
    """A distance by itself takes longer than one among many: it is found in a list, and added up across lanes."""
    return 2 + 1600.0 / n


cdef inline double scores_price(const Screen *e, double open_) noexcept nogil:
    """What bounds for that part of the points cost, and the handling of all points."""
    return open_ * (e.d + 4) / e.sweep.rows.n + HANDLING / (<double>e.screened.K * e.sweep.rows.n)


cdef double price_of(const Screen *e, double survivors) noexcept nogil:
    """Of a step, in dense ones."""
    return scores_price(e, 1) + pair_price(e.sweep.rows.n) * survivors


cdef double step_price(const Screen *e, const Step *s, double computed) noexcept nogil:
    """The same of the step that was just made."""
    cdef double open_ = 0, waived = 0, m = e.sweep.rows.m, tile = e.sweep.rows.kernels.tile
    cdef int64_t i
    for i in range(e.sweep.partials):
        open_ += e.sweep.parts[i].open
        waived += e.sweep.parts[i].waived * tile
    computed = max(computed - open_ - waived * s.K, 0) / s.K
    return scores_price(e, open_ / m) + (pair_price(e.sweep.rows.n) * computed + waived) / m


cdef double try_directions(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Share of the pairs of a few tiles that survive a step."""
    cdef const Rows *X = e.sweep.rows
    cdef Desk *desk = e.desks
    cdef int64_t tile = X.kernels.tile, tiles = tiles_of(X, X.m), stride, i, j, first, count, seen = 0, survivors = 0
    cdef double squares[64]
    cdef uint32_t points
    prepare_step(e, s)
    for i in range(min(tiles, TRIED // tile)):
        if poll(p):
            return 1
        first = i * tiles // min(tiles, TRIED // tile) * tile
        count = min(tile, X.m - first)
        rows = read_rows(X, first, count, desk.chosen, &stride)
        project_tile(e, desk, rows, stride, count, desk.products, squares)
        desk.count = count
        for j in range(count):
            desk.at[j] = <int32_t>j
            desk.label[j] = s.labels[first + j] if 0 <= s.labels[first + j] < s.K else 0
            put(desk.norms, j, X.kernels.itemsize, squares[j])
        if s.fresh:
            guess(e, desk, desk.products, count, desk.label)
        measure_own(e, s, desk, rows, stride)
        set_bounds(e, desk)
        for j in range(X.kernels.screen(desk.products, &e.screened, desk.bounds, desk.hits, desk.least)):
            points = desk.hits[j].points
            while points:
                survivors += 1
                points &= points - 1
        seen += count
        survivors -= count
    return max(survivors, 0) / (<double>seen * s.K)


cdef void choose_directions(Screen *e, const Directions *f, const Step *s, Poll *p) noexcept nogil:
    """As many as make steps cheapest. Later steps leave about a sixth of a fresh one's survivors."""
    cdef int64_t d = min(f.d, 8), best = d
    cdef double price, survivors, first = 0, least = INFINITY
    while not p.stopped:
        use_directions(e, f, d)
        if <double>d / e.sweep.rows.n > least:
            break
        survivors = try_directions(e, s, p)
        price = price_of(e, LATER * survivors if s.fresh else survivors) + <double>d / s.K / STEPS
        if price < least:
            least = price
            best = d
            first = price_of(e, survivors) + <double>(d + 4) / e.sweep.rows.n
        if d == f.d:
            break
        d = min(f.d, d + 8 if d < 32 else d * 3 // 2)
    use_directions(e, f, best)
    e.chosen_again = e.chosen_again or not s.fresh
    e.engine.gives_up = e.watchful and least > (0.8 if s.fresh else 1.4)
    e.first_in_full = first > 1


# ---- projections -----------------------------------------------------------------------------

cdef uint64_t project_tile(Screen *e, Desk *desk, const void *rows, int64_t stride, int64_t count, void *products,
                           double *squares) noexcept nogil:
    """Projections and R of one tile's points (a tile of d + 1 features), and their |y|^2."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, j, i
    cdef int item = X.kernels.itemsize
    cdef double left, z
    cdef uint64_t most = X.kernels.pack(rows, stride, count, X.n, e.origin, desk.tile)
    if e.d > 0:
        X.kernels.project(desk.tile, 1, &e.directions, e.d + 1, products)
    X.kernels.distances(rows, stride, count, X.n, e.zero_labels, e.origin_wide, squares)
    for i in range(tile):
        left = 0
        if i < count:
            left = squares[i]
            for j in range(e.d):
                z = get(products, j * tile + i, item)
                left -= z * z
            left = (left if left > 0 else 0) + e.margins.residual * squares[i]
            left = sqrt(left) * (1 + e.margins.store)
        put(products, e.d * tile + i, item, left)
    return most


cdef void project_some(Screen *e, Desk *desk, int64_t first, int64_t count, uint64_t *most) noexcept nogil:
    """The tile of points that starts with row `first`."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t stride, i, item = X.kernels.itemsize
    cdef double squares[64]
    cdef const void *rows = read_rows(X, first, count, desk.chosen, &stride)
    cdef void *products = <char *>e.points + first * (e.d + 1) * item
    most[0] = max(most[0], project_tile(e, desk, rows, stride, count, products, squares))
    for i in range(count):
        put(e.norms, first + i, <int>item, squares[i])


cdef int project_points(Screen *e, Poll *p) noexcept nogil:
    """Nonzero where there is no memory."""
    cdef const Rows *rows = e.sweep.rows
    cdef int64_t tile = rows.kernels.tile, t, tiles = tiles_of(rows, rows.m), item = rows.kernels.itemsize
    cdef int64_t size = tiles * tile * ((e.d + 2) * item + 2 * sizeof(uint16_t)) + 128
    cdef int threads = threads_for(e.n_desks, <double>rows.m * rows.n * (e.d + 1)), i
    cdef uint64_t most[1024]
    e.points = allocate(size)
    if e.points == NULL:
        return 1
    e.points_bytes = size
    e.engine.bytes += size
    e.norms = <char *>e.points + tiles * tile * (e.d + 1) * item
    e.high = <uint16_t *>(<char *>e.norms + tiles * tile * item)
    e.low = e.high + tiles * tile
    memset(most, 0, sizeof(most))
    for t in prange(tiles, schedule="static", num_threads=threads):
        if not poll(p):
            project_some(e, &e.desks[threadid()], t * tile, min(tile, rows.m - t * tile), &most[threadid()])
    for i in range(threads):
        e.most = max(e.most, most[i])
    return 0


cdef bint is_flat(const Directions *found, int64_t n) noexcept nogil:
    """Whether no few directions hold more than those of noise would, whose largest variance in a sample is
    (1 + sqrt(n / count))^2 times the mean one (V. Marchenko and L. Pastur, 1967)."""
    cdef double edge = 1 + sqrt(<double>n / found.count)
    return found.share < 2 * edge * edge * found.d / n


cdef int prepare(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Everything that is made once; nonzero where it was not."""
    cdef Directions found
    cdef const Rows *rows = e.sweep.rows
    cdef int64_t l
    find_shift(rows.kernels.itemsize, s.K, rows.n, s.wide, e.origin)
    for l in range(wide_stride(rows.n)):
        e.origin_wide[l] = get(e.origin, l, rows.kernels.itemsize) if l < rows.n else 0
    if e.watchful and rows.n > MOST_DIRECTIONS:
        if directions_find(&found, rows, e.origin, FEW_DIRECTIONS, e.n_desks, p):
            return 1
        e.engine.gives_up = is_flat(&found, rows.n)
        directions_close(&found)
        if p.stopped or e.engine.gives_up:
            return 1
    if directions_find(&found, rows, e.origin, MOST_DIRECTIONS, e.n_desks, p):
        return 1
    choose_directions(e, &found, s, p)
    directions_close(&found)
    if p.stopped or e.engine.gives_up or project_points(e, p) or p.stopped:
        return 1
    e.ready = True
    return 0


cdef void project_centroids(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t count) noexcept nogil:
    """A tile of centroids: their projections, norms and margins."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t n = X.n, tile = X.kernels.tile, features = e.d + 1, i, j, k
    cdef int item = X.kernels.itemsize
    cdef double squares[64]
    cdef double square, norm, dense, low
    project_tile(e, desk, <char *>s.centroids + first * n * item, n, count, desk.products, squares)
    for i in range(count):
        k = first + i
        for j in range(e.d):
            put(e.projected, k * features + j, item, get(desk.products, j * tile + i, item))
        put(e.projected, k * features + e.d, item, 0)
        put(e.left, k, item, get(desk.products, e.d * tile + i, item))
        square = squares[i]
        norm = sqrt(square)
        dense = e.margins.dense * (square + e.far * (4 * norm + 3 * e.far)) + e.margins.least
        e.dense1[k] = dense
        e.dense2[k] = 2 * e.margins.dense * norm
        low = square - dense - (1.1 * e.margins.bound + e.margins.store) * square
        put(e.screened.norms, k, item, low - e.margins.store * fabs(low))


cdef void prepare_step(Screen *e, const Step *s) noexcept nogil:
    """The panels of this step's centroids."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t n = X.n, tile = X.kernels.tile, t, l, tiles = tiles_of(X, s.K)
    cdef int item = X.kernels.itemsize
    cdef int threads = threads_for(e.n_desks, <double>s.K * n * (e.d + 1))
    cdef double apart, far = 0
    e.screened.K = e.full.K = s.K
    find_shift(item, s.K, n, s.wide, e.shift)
    for l in range(n):
        apart = get(e.shift, l, item) - e.origin_wide[l]
        far += apart * apart
    e.far = sqrt(far) * (1 + n * 1e-15)
    for t in prange(tiles, schedule="static", num_threads=threads):
        project_centroids(e, s, &e.desks[threadid()], t * tile, min(tile, s.K - t * tile))
    pack_screened(e, s)
    e.in_full = s.fresh and e.first_in_full
    e.full_packed = e.in_full or e.waived > 0.01
    if e.full_packed:
        X.kernels.pack_centroids(s.centroids, e.shift, &e.full)


cdef void pack_screened(Screen *e, const Step *s) noexcept nogil:
    """Packing writes norms of its own: those with the margins take their place."""
    cdef const Rows *X = e.sweep.rows
    cdef void *norms = e.screened.norms
    cdef int64_t k
    cdef int item = X.kernels.itemsize
    if s.fresh:
        e.guessed.K = s.K
        e.guessed.n = e.d + 1
        e.guessed.norms = e.full.norms
        X.kernels.pack_centroids(e.projected, e.zeros, &e.guessed)
        e.guessed.norms = norms
    for k in range(s.K):
        put(e.projected, k * (e.d + 1) + e.d, item, get(e.left, k, item))
    e.screened.norms = e.full.norms
    X.kernels.pack_centroids(e.projected, e.zeros, &e.screened)
    e.screened.norms = norms


# ---- one step --------------------------------------------------------------------------------

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


cdef void guess(Screen *e, Desk *desk, const void *tile, int64_t count, int32_t *labels) noexcept nogil:
    """The centroids that seem closest."""
    e.sweep.rows.kernels.assign(tile, 1, &e.guessed, desk.scores, desk.ids, desk.partial)
    store_labels(desk.ids, e.sweep.rows.kernels.itemsize, count, labels)


cdef void measure_own(Screen *e, const Step *s, Desk *desk, const void *rows, int64_t stride) noexcept nogil:
    """The first pairs: each point with its present centroid."""
    cdef int64_t p
    for p in range(desk.count):
        desk.point[p] = <int32_t>p
        desk.row[p] = desk.at[p]
        desk.k[p] = desk.label[p]
    e.sweep.rows.kernels.pairs(rows, stride, e.sweep.rows.n, s.centroids, desk.row, desk.k, desk.count, desk.squared)


cdef void set_bounds(Screen *e, Desk *desk) noexcept nogil:
    """What a score must not be above to stay in the race: from the squared distances to the present centroids."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef int64_t p
    cdef int32_t k
    cdef double square, norm, bound
    for p in range(X.kernels.tile):
        if p >= desk.count:
            put(desk.bounds, p, item, -INFINITY)
            continue
        k = desk.label[p]
        square = get(desk.norms, p, item)
        norm = sqrt(square)
        bound = get(desk.squared, p, item) * (1 + e.margins.full) + e.dense1[k] + e.dense2[k] * norm
        bound += 4 * e.margins.dense * e.far * norm - square + e.margins.store * square + e.margins.least
        put(desk.bounds, p, item, bound + e.margins.store * fabs(bound))


cdef int64_t list_pairs(Screen *e, Desk *desk, int64_t hits) noexcept nogil:
    """Survivors after the pairs of points and their present centroids; -1 where they are too many."""
    cdef int64_t at = desk.count, i, p
    cdef uint32_t points
    for i in range(hits):
        points = desk.hits[i].points
        if at + desk.count > e.pairs:
            return -1
        p = 0
        while points:
            while not points & 1:
                points >>= 1
                p += 1
            if desk.label[p] != desk.hits[i].k:
                desk.point[at] = <int32_t>p
                desk.row[at] = desk.at[p]
                desk.k[at] = desk.hits[i].k
                at += 1
            points >>= 1
            p += 1
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


cdef void decide(Screen *e, const Step *s, Part *part, Desk *desk, const void *rows, int64_t stride,
                 int64_t first, int64_t pairs) noexcept nogil:
    """Winners of a tile from its surviving pairs."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef Race races[64]
    cdef uint64_t undecided
    cdef int64_t p, count = desk.count
    X.kernels.pairs(rows, stride, X.n, s.centroids, desk.row + count, desk.k + count, pairs - count,
                    <char *>desk.squared + count * item)
    part.computed += pairs
    undecided = judge(e, desk, pairs, races)
    if undecided:
        settle_undecided(e, s, part, desk, rows, stride, first, pairs, undecided, races)
    for p in range(count):
        if not undecided >> p & 1:
            learn(e, desk, first + desk.at[p], p, &races[p])
            desk.winner[p] = races[p].winner


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


cdef inline double grain(const Screen *e, int64_t i) noexcept nogil:
    """The unit of what is known of row i: its numbers go up to four times |y|."""
    return sqrt(get(e.norms, i, e.sweep.rows.kernels.itemsize)) * 2.0 ** -14


cdef inline void keep(Screen *e, int64_t i, double high, double low) noexcept nogil:
    """Note how far row i is from its centroid at most, and from all others at least."""
    cdef double unit = grain(e, i), grains = high * (1 + e.margins.store) / unit
    if grains < 65535:
        e.high[i] = <uint16_t>(<int64_t>grains + 1)
        e.low[i] = <uint16_t>min(low * (1 - e.margins.store) / unit, 65535)
    else:
        e.low[i] = 0


cdef inline double square_of_least(const Screen *e, const Desk *desk, int64_t p) noexcept nogil:
    """At most the squared distance of point p to any centroid whose score was above its bound."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square = get(desk.norms, p, item), score = get(desk.least, p, item)
    if score == INFINITY:
        return score
    return score + square - e.margins.store * (fabs(score) + 2 * square)


cdef void learn(Screen *e, const Desk *desk, int64_t i, int64_t p, const Race *race) noexcept nogil:
    """How far row i, point p of the tile, is from its centroid at most, and from all others at least."""
    cdef double others = min(race.others, square_of_least(e, desk, p))
    keep(e, i, sqrt(race.high), sqrt(others) if others > 0 else 0)


cdef bint side_by_side(const Desk *desk) noexcept nogil:
    cdef int64_t p
    for p in range(desk.count):
        if desk.at[p] != desk.at[0] + p:
            return False
    return True


cdef const void *gather(const Screen *e, const Desk *desk, int64_t first) noexcept nogil:
    """The projections of a tile's points."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, item = X.kernels.itemsize, p, size = (e.d + 1) * item
    if (first + desk.at[0]) % tile == 0 and side_by_side(desk):
        return <char *>e.points + (first + desk.at[0]) * size
    for p in range(tile):
        # Those beyond the count are out of every race; any point will do.
        X.kernels.pick(e.points, first + desk.at[min(p, desk.count - 1)], e.d + 1, p, desk.gathered)
    return desk.gathered


cdef const void *rows_of(const Screen *e, const Desk *desk, const void *rows, int64_t *stride) noexcept nogil:
    """A tile's rows, one after the other."""
    cdef int64_t p, item = e.sweep.rows.kernels.itemsize, size = e.sweep.rows.n * item
    if side_by_side(desk):
        return <const char *>rows + desk.at[0] * stride[0] * item
    for p in range(desk.count):
        memcpy(<char *>desk.copied + p * size, <const char *>rows + desk.at[p] * stride[0] * item, size)
    stride[0] = e.sweep.rows.n
    return desk.copied


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
    X.kernels.pack(rows, stride, count, X.n, e.shift, desk.tile)
    X.kernels.assign(desk.tile, tiles_of(X, count), &e.full, desk.scores, desk.ids, desk.partial)
    part.changed += store_labels(desk.ids, X.kernels.itemsize, count, s.labels + first)
    part.computed += count * s.K
    memset(e.low + first, 0, count * sizeof(uint16_t))


# ---- what is known from the step before -------------------------------------------------------

cdef int farther(const void *a, const void *b) noexcept nogil:
    """The order of moves: the farthest first."""
    cdef double one = (<const Move *>a).far, other = (<const Move *>b).far
    return (one < other) - (one > other)


cdef void remember(Screen *e, const Step *s) noexcept nogil:
    """How far the centroids have moved, and which of them are active."""
    cdef int64_t K = s.K, n = e.sweep.rows.n, k, l
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square, move
    e.doubt1 = e.doubt2 = 0
    for k in range(K):
        e.doubt1 = max(e.doubt1, e.dense1[k])
        e.doubt2 = max(e.doubt2, e.dense2[k] + 2 * e.margins.dense * e.far)
    e.knows = not s.fresh and e.known == s.labels
    if e.knows:
        for k in range(K):
            square = 0
            for l in range(k * n, (k + 1) * n):
                move = get(s.centroids, l, item) - get(e.before, l, item)
                square += move * move
            e.moved[k] = e.moves[k].far = sqrt(square) * (1 + n * 1e-15)
            e.moves[k].k = <int32_t>k
        qsort(e.moves, K, sizeof(Move), farther)
        pack_active(e, choose_active(e, s))
    memcpy(e.before, s.centroids, K * n * item)
    e.known = s.labels


cdef double slack(const Screen *e, int64_t i, int32_t label, double calm, double *high, double *low) noexcept nogil:
    """How far row i is from another label, if centroids that moved farther than `calm` leave it be: positive
    where its label stays."""
    cdef double unit = grain(e, i), doubt = e.doubt1 + e.doubt2 * unit * 2.0 ** 14 * (1 + e.margins.store)
    high[0] = (e.high[i] * unit + e.moved[label]) * (1 + e.margins.store)
    low[0] = (e.low[i] * unit - calm) * (1 - e.margins.store)
    if not low[0] > high[0]:
        return -1
    return (low[0] - high[0]) * (low[0] + high[0]) - 2.001 * doubt - e.margins.least


cdef double price_of_active(const Screen *e, const Step *s, int64_t count) noexcept nogil:
    """What a step costs with so many active centroids, as a part of one with all: judged by a few points."""
    cdef int64_t m = e.sweep.rows.m, asked = min(m, ASKED), j, i, stay = 0
    cdef double high, low, calm = e.moves[count].far if count < s.K else 0
    for j in range(asked):
        i = j * m // asked
        stay += slack(e, i, s.labels[i], calm, &high, &low) > 0
    return 1 - <double>stay / asked * (1 - <double>count / s.K)


cdef int64_t choose_active(Screen *e, const Step *s) noexcept nogil:
    """The number of active centroids with which the step is cheapest."""
    cdef int64_t K = s.K, moving = 0, best = K, i
    cdef int64_t[6] tried
    cdef double least = 1, price
    while moving < K and e.moves[moving].far > 0:
        moving += 1
    tried[0], tried[1], tried[2], tried[3], tried[4], tried[5] = moving, 0, K // 16, K // 8, K // 4, K // 2
    for i in range(6):
        price = price_of_active(e, s, tried[i])
        if price < least:
            least = price
            best = tried[i]
    return best


cdef void pack_active(Screen *e, int64_t count) noexcept nogil:
    """The panel of those centroids that moved farthest, in rising order."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t size = (e.d + 1) * X.kernels.itemsize, i, K = e.screened.K
    cdef int item = X.kernels.itemsize
    cdef int32_t k
    e.knows = count < K
    e.calm = e.moves[count].far if count < K else 0
    e.active.K = 0
    e.active.n = e.d + 1
    if not e.knows or count == 0:
        return
    # The scratch of all projections is in the order of k, so the active ones can be moved to its front.
    for i in range(count):
        e.active_k[i] = e.moves[i].k
    qsort(e.active_k, count, sizeof(int32_t), rising)
    for i in range(count):
        k = e.active_k[i]
        memmove(<char *>e.projected + i * size, <char *>e.projected + k * size, size)
    e.active.K = count
    X.kernels.pack_centroids(e.projected, e.zeros, &e.active)
    for i in range(count):
        put(e.active.norms, i, item, get(e.screened.norms, e.active_k[i], item))


cdef int rising(const void *a, const void *b) noexcept nogil:
    return (<const int32_t *>a)[0] - (<const int32_t *>b)[0]


cdef int64_t sort_out(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t count,
                      int64_t *open_) noexcept nogil:
    """Part the rows of a chunk in those whose label may stay (returned: how many) and those that are open."""
    cdef int64_t i, waiting = 0
    cdef double high, low
    open_[0] = 0
    for i in range(count):
        if e.knows and slack(e, first + i, s.labels[first + i], e.calm, &high, &low) > 0:
            desk.waiting[waiting] = <int32_t>i
            waiting += 1
        else:
            desk.open[open_[0]] = <int32_t>i
            open_[0] += 1
    return waiting


cdef void watch_tile(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t *open_) noexcept nogil:
    """Screen the tile's points against the active centroids; those that one reaches are open."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef int64_t p, i, hits
    cdef uint32_t reached = 0, points
    cdef double high[64]
    cdef double low[64]
    cdef double others
    for p in range(desk.count):
        slack(e, first + desk.at[p], desk.label[p], e.calm, &high[p], &low[p])
        put(desk.squared, p, item, high[p] * high[p] * (1 + e.margins.store))
    if e.active.K > 0:
        set_bounds(e, desk)
        hits = X.kernels.screen(gather(e, desk, first), &e.active, desk.bounds, desk.hits, desk.least)
        for i in range(hits):
            points = desk.hits[i].points
            for p in range(desk.count):
                if points >> p & 1 and desk.label[p] != e.active_k[desk.hits[i].k]:
                    reached |= <uint32_t>1 << p
    for p in range(desk.count):
        if reached >> p & 1:
            desk.open[open_[0]] = desk.at[p]
            open_[0] += 1
            continue
        others = square_of_least(e, desk, p) if e.active.K > 0 else INFINITY
        others = sqrt(others) if others > 0 else 0
        if e.calm == 0 and e.moved[desk.label[p]] == 0 and others >= low[p]:
            continue  # every note costs a grain
        others = min(low[p], others)
        keep(e, first + desk.at[p], high[p], others)


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


cdef void forget(Screen *e) noexcept nogil:
    """Choose the number of directions again: by what the labels are by now."""
    release(e.points)
    e.points = NULL
    e.known = NULL
    e.engine.bytes -= e.points_bytes
    e.ready = False
    e.chosen_again = True


cdef int screen_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was not done."""
    cdef Screen *e = <Screen *>engine
    cdef const Rows *rows = e.sweep.rows
    cdef double computed = 0, waived = 0
    cdef int64_t i
    if not e.ready and prepare(e, s, p):
        return 1
    if s.K != e.sweep.K:
        sweep_close(&e.sweep)
        if sweep_open(&e.sweep, rows, s.K, e.n_desks, True):
            return 1
        e.known = NULL
    if s.score:
        prepare_step(e, s)
        remember(e, s)
    if sweep_step(&e.sweep, engine, score_block, s, p):
        e.known = NULL
        return 1
    s.most = max(s.most, e.most)
    for i in range(e.sweep.partials):
        computed += e.sweep.parts[i].computed
        waived += e.sweep.parts[i].waived
    s.computed = <int64_t>computed
    if s.score:
        e.waived = waived / tiles_of(rows, rows.m)
        if not s.fresh and step_price(e, s, computed) > (1 if e.knows else 1.8):
            if e.chosen_again:
                engine.gives_up = e.watchful
            else:
                forget(e)
    return 0
