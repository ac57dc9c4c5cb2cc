"""Carry bounds of each point's distances from step to step.

G. Hamerly, "Making k-means even faster", SDM 2010: of each point an upper bound on the distance to its centroid is
kept, which rises by how far that one moves, and a lower bound on the distance to every other one. Here only the
centroids that moved far are active: every point is screened against them. The others lower a point's lower bound by
the largest of their moves. Where lower^2 - upper^2 is still above 2 E (see _codes.pyx), and no active
centroid's bound reaches the upper bound, the label stays and the point's features are not even read.
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._codes cimport CodedCentroids, code_panel_layout, load_tile, pack_selected, score_below, words_of
from ckmeans._engine cimport MAX_BLOCK, Block, Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport CODE_TILE, allocate, code_panel, code_rows, kernels_of_codes, lowest_bit, release
from ckmeans._values cimport get

cdef enum:
    N_ACTIVE_COUNTS = 6      # numbers of active centroids that are compared: none, all that move, K / 16 .. K / 2
    MAX_QUANTA = 65535       # of a bound: what uint16_t holds

cdef double QUANTUM = 2.0 ** -14        # unit of the bounds, in |y|: MAX_QUANTA are four times |y|
cdef int64_t BOUND_SAMPLE = 1024        # points whose bounds tell how many centroids are best active

# How far a centroid has moved.
cdef struct Move:
    double distance
    int32_t k

cdef struct DistanceBounds:
    double upper
    double lower

# The bounds of all points, and the moves of the centroids. Only this file writes it.
cdef struct Hamerly:
    int64_t bytes            # of the block that the next two lie in
    uint16_t *upper          # (m,) quanta, rounded up; means nothing where `lower` is 0
    uint16_t *lower          # (m,) quanta, rounded down; 0: no bounds are known
    int64_t epoch            # number of the step whose labels they belong to; 0: none
    bint valid               # they can be used in this step
    Move *moves              # (K,) how far they have moved since, the farthest first
    double *moved            # (K,) the same by centroid
    double max_inactive_shift  # the farthest move of a centroid that is not active
    ScoreError max_error     # of every centroid
    code_panel active        # of the leading directions, or of all features
    int32_t *active_k        # its centroids, rising

# The rows of a block.
cdef struct RowClasses:
    int64_t n_stable
    int32_t *stable          # rows whose label stays unless an active centroid is close
    int64_t n_open
    int32_t *open            # rows to be screened against all centroids


cdef void hamerly_layout(Hamerly *h, const Rows *X, int64_t K, char *memory, size_t *at) noexcept nogil:
    h.moves = <Move *>take(memory, at, K * sizeof(Move))
    h.moved = <double *>take(memory, at, K * sizeof(double))
    code_panel_layout(&h.active, K, words_of(X.n), memory, at)
    h.active_k = <int32_t *>take(memory, at, K * sizeof(int32_t))


cdef void classes_layout(RowClasses *classes, char *memory, size_t *at) noexcept nogil:
    classes.stable = <int32_t *>take(memory, at, MAX_BLOCK * sizeof(int32_t))
    classes.open = <int32_t *>take(memory, at, MAX_BLOCK * sizeof(int32_t))


cdef int hamerly_open(Hamerly *h, const Rows *X) noexcept nogil:
    """Make room for bounds of all points; nonzero: no memory."""
    h.upper = <uint16_t *>allocate(2 * X.m * sizeof(uint16_t))
    if h.upper == NULL:
        return 1
    h.bytes = 2 * X.m * sizeof(uint16_t)
    h.lower = h.upper + X.m
    return 0


cdef void hamerly_reset(Hamerly *h) noexcept nogil:
    """Forget the bounds of all points."""
    h.epoch = 0


cdef void hamerly_close(Hamerly *h) noexcept nogil:
    release(h.upper)
    h.upper = NULL
    h.bytes = 0
    hamerly_reset(h)


# ---- one point's bounds ----------------------------------------------------------------------

cdef inline double norm_of(const Screen *e, int64_t i) noexcept nogil:
    """Return |y| of row i."""
    return sqrt(e.codes.points.squares[i])


cdef inline void forget_bounds(Hamerly *h, int64_t first, int64_t count) noexcept nogil:
    memset(h.lower + first, 0, count * sizeof(uint16_t))


cdef inline void store_bounds(Hamerly *h, const Screen *e, int64_t i, double upper, double lower) noexcept nogil:
    """Round the bounds of row i outwards and store them; forget them where the upper one is too large."""
    cdef double quantum = norm_of(e, i) * QUANTUM, quanta = upper * (1 + e.codes.margins.rounding) / quantum
    if quanta < MAX_QUANTA:
        h.upper[i] = <uint16_t>(<int64_t>quanta + 1)
        h.lower[i] = <uint16_t>min(lower * (1 - e.codes.margins.rounding) / quantum, MAX_QUANTA)
    else:
        h.lower[i] = 0


cdef inline double move_bounds(const Screen *e, int64_t i, int32_t label, double max_shift,
                               DistanceBounds *to) noexcept nogil:
    """Move the bounds of row i with the centroids, the others by at most `max_shift`; positive: its label stays."""
    cdef const Hamerly *h = &e.hamerly
    cdef double rounding = e.codes.margins.rounding, norm = norm_of(e, i), quantum = norm * QUANTUM
    cdef double error = h.max_error.constant + h.max_error.slope * norm * (1 + rounding)
    to.upper = (h.upper[i] * quantum + h.moved[label]) * (1 + rounding)
    to.lower = (h.lower[i] * quantum - max_shift) * (1 - rounding)
    if not to.lower > to.upper:
        return -1
    return (to.lower - to.upper) * (to.lower + to.upper) - 2.001 * error - e.underflow


# ---- the active centroids --------------------------------------------------------------------

cdef int by_distance(const void *a, const void *b) noexcept nogil:
    """Order moves, the farthest first."""
    cdef double one = (<const Move *>a).distance, other = (<const Move *>b).distance
    return (one < other) - (one > other)


cdef int by_number(const void *a, const void *b) noexcept nogil:
    return (<const int32_t *>a)[0] - (<const int32_t *>b)[0]


cdef int64_t measure_moves(Hamerly *h, const Rows *X, const Step *s) noexcept nogil:
    """Measure how far the centroids have moved since the last step; returns how many have."""
    cdef int64_t K = s.K, n = X.n, n_moving = 0, k, l
    cdef int item = X.kernels.itemsize
    cdef double square, difference, underflow
    for k in range(K):
        square = underflow = 0
        for l in range(k * n, (k + 1) * n):
            difference = get(s.centroids, l, item) - get(s.previous, l, item)
            square += difference * difference
            if difference != 0:
                underflow = n * 2.0 ** -537
        h.moved[k] = h.moves[k].distance = sqrt(square) * (1 + n * 1e-15) + underflow
        h.moves[k].k = <int32_t>k
        n_moving += underflow > 0
    qsort(h.moves, K, sizeof(Move), by_distance)
    return n_moving


cdef void active_counts(int64_t K, int64_t n_moving, int64_t *counts) noexcept nogil:
    """List the numbers of active centroids to compare."""
    counts[0], counts[1], counts[2] = n_moving, 0, K // 16
    counts[3], counts[4], counts[5] = K // 8, K // 4, K // 2


cdef inline double max_inactive_shift(const Hamerly *h, int64_t n_active, int64_t K) noexcept nogil:
    """Return the farthest move of a centroid that is not active, if so many are."""
    return h.moves[n_active].distance if n_active < K else 0


cdef double active_cost(const Screen *e, const Step *s, int64_t n_active) noexcept nogil:
    """Estimate the part of the pairs that are scored with so many active centroids, on a few points."""
    cdef int64_t m = e.sweep.rows.m, count = min(m, BOUND_SAMPLE), j, i, n_stable = 0
    cdef double shift = max_inactive_shift(&e.hamerly, n_active, s.K)
    cdef DistanceBounds bounds
    for j in range(count):
        i = j * m // count
        n_stable += move_bounds(e, i, s.labels[i], shift, &bounds) > 0
    return 1 - <double>n_stable / count * (1 - <double>n_active / s.K)


cdef int64_t choose_active(const Screen *e, const Step *s, int64_t n_moving) noexcept nogil:
    """Find the number of active centroids with which fewest pairs are scored."""
    cdef int64_t best = s.K, i
    cdef int64_t[N_ACTIVE_COUNTS] counts
    cdef double best_cost = 1, cost
    active_counts(s.K, n_moving, counts)
    for i in range(N_ACTIVE_COUNTS):
        cost = active_cost(e, s, counts[i])
        if cost < best_cost:
            best_cost = cost
            best = counts[i]
    return best


cdef void set_active(Hamerly *h, int64_t n_active, int64_t K) noexcept nogil:
    """Make the centroids that moved farthest active; with all of them the bounds are of no use."""
    cdef int64_t i
    h.valid = n_active < K
    h.max_inactive_shift = max_inactive_shift(h, n_active, K)
    h.active.K = n_active if h.valid else 0
    for i in range(h.active.K):
        h.active_k[i] = h.moves[i].k
    qsort(h.active_k, h.active.K, sizeof(int32_t), by_number)


cdef void update_bounds(Screen *e, const Step *s) noexcept nogil:
    """Begin a step: find out whether bounds are known, and choose and pack the active centroids."""
    cdef Hamerly *h = &e.hamerly
    cdef const Rows *X = e.sweep.rows
    cdef int64_t k
    h.max_error.constant = h.max_error.slope = 0
    for k in range(s.K):
        h.max_error.constant = max(h.max_error.constant, e.centroids.errors[k].constant)
        h.max_error.slope = max(h.max_error.slope, e.centroids.errors[k].slope)
    h.valid = s.labels_epoch != 0 and h.epoch == s.labels_epoch and s.previous != NULL
    if h.valid:
        set_active(h, choose_active(e, s, measure_moves(h, X, s)), s.K)
        pack_selected(cheapest_centroids(e), h.active_k, h.active.K, &h.active)
    h.epoch = s.epoch


# ---- a block of rows -------------------------------------------------------------------------

cdef void classify_rows(const Screen *e, const Step *s, RowClasses *classes, const Block *block) noexcept nogil:
    """Part the rows of a block in those whose label may stay and those that are open."""
    cdef int64_t i
    cdef DistanceBounds bounds
    cdef double shift = e.hamerly.max_inactive_shift
    classes.n_stable = classes.n_open = 0
    for i in range(block.count):
        if e.hamerly.valid and move_bounds(e, block.first + i, s.labels[block.first + i], shift, &bounds) > 0:
            classes.stable[classes.n_stable] = <int32_t>i
            classes.n_stable += 1
        else:
            classes.open[classes.n_open] = <int32_t>i
            classes.n_open += 1


cdef uint32_t reached_points(const Screen *e, TileWorkspace *tile, int64_t first,
                             const DistanceBounds *bounds) noexcept nogil:
    """Screen a tile against the active centroids; returns one bit for each point that another one may win."""
    cdef const code_panel *active = &e.hamerly.active
    cdef int64_t i, p
    cdef uint32_t reached = 0, points
    cdef double error
    load_tile(&tile.codes, points_of_cheapest(e), active.words, first, tile.row, tile.count)
    for p in range(tile.count):
        error = e.hamerly.max_error.constant + e.hamerly.max_error.slope * norm_of(e, first + tile.row[p])
        tile.codes.bound[p] = score_below(e.codes, first + tile.row[p], bounds[p].upper * bounds[p].upper + error)
    for i in range(kernels_of_codes().screen(&tile.codes, active, tile.hits, tile.scores)):
        points = tile.hits[i].points
        while points:
            p = lowest_bit(points)
            points &= points - 1
            if tile.label[p] != e.hamerly.active_k[tile.hits[i].k]:
                reached |= <uint32_t>1 << p
    return reached


cdef void check_active(Screen *e, Workspace *work, int64_t first) noexcept nogil:
    """Compare a tile of stable rows with the active centroids: store their bounds, or make them open."""
    cdef Hamerly *h = &e.hamerly
    cdef TileWorkspace *tile = &work.tile
    cdef int64_t p
    cdef uint32_t reached = 0
    cdef DistanceBounds bounds[32]
    cdef double lower
    for p in range(tile.count):
        move_bounds(e, first + tile.row[p], tile.label[p], h.max_inactive_shift, &bounds[p])
    if h.active.K > 0:
        reached = reached_points(e, tile, first, bounds)
    for p in range(tile.count):
        if reached >> p & 1:
            work.classes.open[work.classes.n_open] = tile.row[p]
            work.classes.n_open += 1
            continue
        lower = INFINITY
        if h.active.K > 0:
            lower = distance_above(e, first + tile.row[p], tile.codes.lowest_above[p])
        if h.max_inactive_shift == 0 and h.moved[tile.label[p]] == 0 and lower >= bounds[p].lower:
            continue  # nothing has changed, and each rounding costs up to a quantum
        store_bounds(h, e, first + tile.row[p], bounds[p].upper, min(bounds[p].lower, lower))
