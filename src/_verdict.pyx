"""Whether screening pays: what steps cost, on how many directions, and from when on."""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t

from ckmeans._bounds cimport TRIED_ACTIVE, active_to_try, measure_moves, square_of_least
from ckmeans._directions cimport (
    Directions, directions_all, directions_close, directions_find, get, put, tiles_of,
)
from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._projection cimport (
    MOST_DIRECTIONS, Desk, Screen, guess, measure_own, prepare_projections, project_points, project_tile,
    set_bounds, use_directions,
)
from ckmeans._runtime cimport Poll, lowest_bit, poll, release, wide_stride
from ckmeans._shift cimport find_shift

cdef int64_t FEW_DIRECTIONS = 32   # are looked for first
cdef double HANDLING = 2100        # multiply-adds of the dense kernel for as long as a point is handled
cdef double GATHERED = 1.25         # a pair of points that do not lie side by side costs more by this
cdef double STEPS = 10             # over which the projection of the points is to pay
cdef double LATER = 0.15           # survivors of later steps, for one of the first
cdef double OPEN = 0.3             # survivors from which on more directions are looked for,
cdef double HOPELESS = 0.9         # and no more
cdef double UNLEARNED = 0.5        # survivors that are too many for ever
cdef double CERTAIN = 0.7          # price of a first step up to which it is screened: the next one tells more
cdef double SETTLED = 0.05         # part of the labels that change, from which what is known of points may pay,
cdef double AGAIN = 0.5            # or of those that changed when it did not
cdef double LEAST_GAIN = 0.05      # for which it is worth while
cdef int64_t FEW_ROWS = 4096       # below which looking for directions takes as long as a step, so that they are only
cdef double NEAR = 0.3             # looked for where at most this part of some distances is about as short as the
cdef double ABOUT = 3              # second shortest of their point: squared, at most so many times that

cdef enum:
    TRIED = 256              # points with which the number of directions is chosen, and centroids that are asked


# ---- what a step costs, in dense ones --------------------------------------------------------

cdef inline double scores_price(const Screen *e, double scored) noexcept nogil:
    """What bounds for that part of the pairs cost, and the handling of all points."""
    return scored * (e.d + 4) / e.sweep.rows.n + HANDLING / (<double>e.screened.K * e.sweep.rows.n)


cdef double step_price(const Screen *e, const Step *s, double computed) noexcept nogil:
    """Of the step that was just made."""
    cdef double open_ = 0, waived = 0, m = e.sweep.rows.m, tile = e.sweep.rows.kernels.tile
    cdef double active = <double>e.active.K / s.K if e.knows else 0
    cdef int64_t i
    for i in range(e.sweep.partials):
        open_ += e.sweep.parts[i].open
        waived += e.sweep.parts[i].waived * tile
    computed = max(computed - open_ - waived * s.K, 0) / s.K
    open_ = open_ / m
    return (scores_price(e, open_ + (1 - open_) * GATHERED * active)
            + (pair_price(e.sweep.rows.n) * computed + waived) / m)


# ---- a look at a few points ------------------------------------------------------------------

cdef struct Look:
    int64_t count            # points that were looked at
    int64_t pairs            # of theirs that survive, after those with their own centroids
    int64_t settled          # points with none:
    int32_t[TRIED] label     # their centroids,
    double[TRIED] high       # at most the distance to those,
    double[TRIED] low        # at least the distance to all others
    double survivors         # share of the pairs
    double scored            # share of the pairs that are scored, when as much is known of all points


cdef void note_point(Screen *e, const Desk *desk, int64_t p, Look *look) noexcept nogil:
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i = look.settled
    look.label[i] = desk.label[p]
    look.high[i] = sqrt(get(desk.squared, p, item))
    look.low[i] = sqrt(max(square_of_least(e, desk, p), 0))
    look.settled += 1


cdef void look_at_tile(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t count, Look *look) noexcept nogil:
    """Which pairs survive a step."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t stride, j, p, pairs = 0
    cdef double squares[64]
    cdef uint32_t points, others = 0
    cdef const void *rows = read_rows(X, first, count, desk.chosen, &stride)
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
            p = lowest_bit(points)
            points &= points - 1
            pairs += 1
            if desk.label[p] != desk.hits[j].k:
                others |= <uint32_t>1 << p
    for j in range(count):
        if not others >> j & 1:
            note_point(e, desk, j, look)
    look.count += count
    look.pairs += max(pairs - count, 0)


cdef double part_scored(const Screen *e, const Look *look, int64_t K, int64_t moving) noexcept nogil:
    """Of all pairs, if the centroids go on as they did in the last update: the points that stay where they are
    are scored for the active centroids alone."""
    cdef int64_t[TRIED_ACTIVE] tried
    cdef int64_t i, j, stay
    cdef double calm, least = 1
    active_to_try(K, moving, tried)
    for i in range(TRIED_ACTIVE):
        calm = e.moves[tried[i]].far if tried[i] < K else 0
        stay = 0
        for j in range(look.settled):
            stay += look.high[j] + e.moved[look.label[j]] < look.low[j] - calm
        least = min(least, 1 - <double>stay / look.count * (1 - <double>tried[i] / K))
    return least


cdef void look_at_step(Screen *e, const Step *s, int64_t moving, Look *look, Poll *p) noexcept nogil:
    """What a step costs with the directions in use, as a few points show it. `moving` < 0: no moves are known."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, tiles = tiles_of(X, X.m), some = min(tiles, TRIED // tile), i, first
    prepare_projections(e, s)
    look.count = look.pairs = look.settled = 0
    for i in range(some):
        if poll(p):
            return
        first = i * tiles // some * tile
        look_at_tile(e, s, e.desks, first, min(tile, X.m - first), look)
    look.survivors = look.pairs / (<double>look.count * s.K)
    look.scored = 1 if moving < 0 else part_scored(e, look, s.K, moving)


# ---- before the first step -------------------------------------------------------------------

# What was found for some number of directions.
cdef struct Choice:
    int64_t d
    double price             # of the steps to come
    double first             # of this one, with the projection of the points
    double survivors         # with all directions


cdef double price_of(const Screen *e, const Look *look, double later) noexcept nogil:
    return scores_price(e, look.scored) + pair_price(e.sweep.rows.n) * look.survivors * later


cdef void choose_directions(Screen *e, const Step *s, int64_t d, Choice *best, Poll *p) noexcept nogil:
    """As many as make steps cheapest, from d on. Later steps leave about a sixth of a fresh one's survivors."""
    cdef int64_t most = e.found.d, moving = -1 if s.before == NULL else measure_moves(e, s, s.before)
    cdef double n = e.sweep.rows.n, projecting, price
    cdef Look look
    d = min(most, d)
    while not p.stopped:
        use_directions(e, d)
        if d / n > best.price:
            break
        look_at_step(e, s, moving, &look, p)
        projecting = <double>d / s.K
        price = price_of(e, &look, LATER if s.fresh else 1) + projecting / STEPS
        best.survivors = look.survivors
        if price < best.price:
            best.d, best.price, best.first = d, price, price_of(e, &look, 1) + projecting
        if d == most:
            break
        d = min(most, d + 8 if d < 32 else d * 4 // 3)
    use_directions(e, min(best.d, most))


cdef int try_all(Screen *e, const Step *s, Choice *best, Poll *p) noexcept nogil:
    """The features themselves as directions: nothing is left out, and nothing to be looked for."""
    cdef Directions found = e.found
    if directions_all(&e.found, e.sweep.rows):
        e.found = found
        return 1
    choose_directions(e, s, e.found.d, best, p)
    if best.d == e.found.d:
        directions_close(&found)
    else:
        directions_close(&e.found)
        e.found = found
        use_directions(e, best.d)
    return 0


cdef int find_more(Screen *e, const Step *s, Choice *best, Poll *p) noexcept nogil:
    """Further directions where the first ones leave the matter open. Nonzero where there is no memory."""
    cdef const Rows *rows = e.sweep.rows
    cdef int64_t d = e.found.d
    if d != FEW_DIRECTIONS or d == rows.n or best.survivors < OPEN and best.d < d:
        return 0
    if rows.n <= MOST_DIRECTIONS:
        return try_all(e, s, best, p)
    if e.watchful and best.survivors > HOPELESS:
        return 0
    directions_close(&e.found)
    if directions_find(&e.found, rows, e.origin, MOST_DIRECTIONS, e.n_desks, p):
        return 1
    choose_directions(e, s, d * 4 // 3, best, p)
    return 0


cdef int64_t count_near(const Screen *e, const void *squared, int64_t p, int64_t K) noexcept nogil:
    """Of point p's distances: how many are about as short as the second one. The first is 0 where it is a start."""
    cdef int64_t tile = e.sweep.rows.kernels.tile, k, near = 0
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double first = INFINITY, second = INFINITY, square
    for k in range(K):
        square = get(squared, k * tile + p, item)
        second = min(second, max(square, first))
        first = min(first, square)
    for k in range(K):
        near += get(squared, k * tile + p, item) <= ABOUT * second
    return near


cdef bint stands_out(const Screen *e, const Step *s) noexcept nogil:
    """Whether a tile's points are far from most of some centroids, as seen from those close by: else hardly any
    directions tell them apart."""
    cdef const Rows *X = e.sweep.rows
    cdef Desk *desk = e.desks
    cdef int64_t count = min(X.m, <int64_t>X.kernels.tile), some = min(s.K, TRIED), near = 0, stride, p
    cdef const void *rows = read_rows(X, 0, count, desk.chosen, &stride)
    X.kernels.pack(rows, stride, count, X.n, e.zeros, desk.tile)
    X.kernels.min_distance_update(desk.tile, 1, X.n, s.centroids, some, NULL, desk.partial)
    for p in range(count):
        near += count_near(e, desk.partial, p, some)
    return near <= NEAR * count * some


cdef int find_first(Screen *e, const Step *s, Poll *p) noexcept nogil:
    cdef const Rows *rows = e.sweep.rows
    cdef int64_t l
    find_shift(rows.kernels.itemsize, s.K, rows.n, s.wide, e.origin)
    for l in range(wide_stride(rows.n)):
        e.origin_wide[l] = get(e.origin, l, rows.kernels.itemsize) if l < rows.n else 0
    return directions_find(&e.found, rows, e.origin, FEW_DIRECTIONS, e.n_desks, p)


cdef bint may_look(const Screen *e, const Step *s) noexcept nogil:
    return not e.watchful or e.patience >= 0 and (s.fresh or s.changed <= e.patience)


cdef void wait(Screen *e, const Step *s, bint hopeless) noexcept nogil:
    """Compute every pair until few enough labels change. Where most pairs survive, little is learned of distances that
    may be carried on."""
    e.patience = -1 if hopeless else min(AGAIN * s.changed, SETTLED * e.sweep.rows.m)


cdef int prepare(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Find directions and project the points on them, unless this step is better made in full; nonzero where there is
    no memory, or it was interrupted."""
    cdef Choice best
    cdef int64_t n = e.sweep.rows.n
    best.d, best.price, best.first, best.survivors = 0, INFINITY, INFINITY, 1
    if e.found.vectors == NULL:
        if e.watchful and e.sweep.rows.m < FEW_ROWS and not stands_out(e, s):
            wait(e, s, True)
            return 0
        if find_first(e, s, p):
            return 1
    choose_directions(e, s, n if FEW_DIRECTIONS < e.found.d == n else 8, &best, p)
    if s.fresh:
        e.patience = e.sweep.rows.m
        e.first_in_full = best.first > CERTAIN
        if e.first_in_full or p.stopped:
            return p.stopped
    elif p.stopped or find_more(e, s, &best, p) or p.stopped:
        return 1
    elif e.watchful and best.price > 1 - LEAST_GAIN:
        wait(e, s, n > MOST_DIRECTIONS and best.survivors > UNLEARNED)
        return 0
    e.chosen_again = e.chosen_again or not s.fresh
    e.ready = not project_points(e, p) and not p.stopped
    e.engine.plain = e.engine.plain and not e.ready
    return not e.ready


# ---- after each step -------------------------------------------------------------------------

cdef void forget(Screen *e) noexcept nogil:
    """The projections do not pay."""
    release(e.points)
    e.points = NULL
    e.known = NULL
    e.engine.bytes -= e.points_bytes
    e.ready = False


cdef void judge_step(Screen *e, const Step *s, double computed) noexcept nogil:
    """Look at the step that was made, whether to go on like this."""
    cdef double waived = 0
    cdef int64_t i
    if e.in_full:
        return
    for i in range(e.sweep.partials):
        waived += e.sweep.parts[i].waived
    e.waived = waived / tiles_of(e.sweep.rows, e.sweep.rows.m)
    if s.fresh or step_price(e, s, computed) <= (1 + LEAST_GAIN if e.knows else 1.8):
        return
    if not e.chosen_again:
        forget(e)
        e.patience = e.sweep.rows.m
        e.chosen_again = True
    elif e.watchful:
        forget(e)
        wait(e, s, False)
