"""Whether screening pays: what steps cost, on how many directions, and when to give up."""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t

from ckmeans._directions cimport Directions, directions_close, directions_find, get, put, tiles_of
from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._projection cimport (
    MOST_DIRECTIONS, Desk, Screen, guess, measure_own, prepare_step, project_points, project_tile, set_bounds,
    use_directions,
)
from ckmeans._runtime cimport Poll, poll, release, wide_stride
from ckmeans._shift cimport find_shift

cdef int64_t FEW_DIRECTIONS = 16   # that show whether there are directions at all
cdef int64_t TRIED = 256           # points with which their number is chosen
cdef double LATER = 0.15           # survivors of later steps, for one of the first
cdef double HANDLING = 2000        # multiply-adds of the dense kernel for as long as a point is handled
cdef double STEPS = 10             # over which the projection of the points is to pay


# ---- what a step costs, in dense ones --------------------------------------------------------

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


# ---- before the first step -------------------------------------------------------------------

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


# ---- after each step -------------------------------------------------------------------------

cdef void forget(Screen *e) noexcept nogil:
    """Choose the number of directions again: by what the labels are by now."""
    release(e.points)
    e.points = NULL
    e.known = NULL
    e.engine.bytes -= e.points_bytes
    e.ready = False
    e.chosen_again = True


cdef void judge_step(Screen *e, const Step *s, double computed) noexcept nogil:
    """Look at the step that was made, whether to go on like this."""
    cdef double waived = 0
    cdef int64_t i
    for i in range(e.sweep.partials):
        waived += e.sweep.parts[i].waived
    e.waived = waived / tiles_of(e.sweep.rows, e.sweep.rows.m)
    if s.fresh or step_price(e, s, computed) <= (1 if e.knows else 1.8):
        return
    if e.chosen_again:
        e.engine.gives_up = e.watchful
    else:
        forget(e)
