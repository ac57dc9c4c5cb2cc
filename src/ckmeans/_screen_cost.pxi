"""Cost model of the screening engine: when to screen, and on how many leading directions first.

Costs are in multiply-adds of the dense kernel, for one point. They decide how steps are made, and never the labels.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t

from ckmeans._engine cimport Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport CODE_TILE, Poll, count_bits, is_stopped, kernels_of_codes, poll

# Machine costs, as tools/calibrate.py measured them (tools/calibration.txt). A product of codes: code_kernels.cost.
cdef double BOUND_COST = 14             # of a bound, beside the products of its codes
cdef double POINT_COST = 14             # of a point that is screened, for each of its features,
cdef double POINT_OVERHEAD = 5000       # and of the point
cdef double CODED_PAIR_COST = 1500      # of bounding a pair by itself, which is found in a list
cdef double PAIR_COST = 2.33            # of a feature of a distance by itself,
cdef double PAIR_OVERHEAD = 444         # and of the distance, which is added up across lanes
cdef double CODING_COST = 25            # of a feature that is coded
cdef double DIRECTIONS_COST = 6         # of a feature of a row of the sample, for each direction that is found

# Statistics of data, whatever the machine.
cdef double FEW_CHANGED = 0.05          # part of the labels that change in a step, from which down most bounds are kept
cdef double OPEN_SHARE = 0.3            # part of the points that a later step screens against all centroids
cdef double LATER_STEPS = 10            # over which a projection of the points is to pay
cdef double MIN_GAIN = 0.05             # part of a dense step that screening must save

cdef enum:
    PROBE_TILES = 8          # tiles of points that tell how many pairs leading directions leave
    N_CHOICES = 4            # numbers of directions to choose from: 16, 32, 64, 96
    MIN_LEADING_FEATURES = 64  # features from which fewer directions can be much cheaper

# What is known of the costs. Only this file writes it.
cdef struct CostModel:
    bint adaptive            # screen only where that pays
    bint possible            # products of the codes fit their integers
    bint leading_tried
    int64_t max_changed      # screen when at most so many labels changed in the step before
    double fallback_share    # part of the tiles that the last step left to the dense kernel

# What was counted in a step.
cdef struct StepCounts:
    double n_distances
    double n_pairs           # that were looked at one by one
    double n_undecided       # rows that were screened against all centroids
    double n_fallback_tiles


cdef inline double pair_cost(int64_t n) noexcept nogil:
    """Return the cost of a distance by itself, for each feature."""
    return PAIR_COST + PAIR_OVERHEAD / n


cdef inline double screening_cost(int64_t n, int64_t words, double K, double pairs) noexcept nogil:
    """Return the cost of a point that is screened on so many words of codes, which leaves so many pairs."""
    return (K * (4 * words * kernels_of_codes().cost + BOUND_COST) + POINT_COST * n + POINT_OVERHEAD
            + pairs * CODED_PAIR_COST)


cdef void cost_open(CostModel *cost, const Rows *X, bint adaptive) noexcept nogil:
    cost.adaptive = adaptive
    cost.possible = can_code(X)
    cost.max_changed = X.m


cdef double expected_saving(const Screen *e, const Step *s) noexcept nogil:
    """Estimate what screening from this step on saves of a point's dense steps."""
    cdef int64_t n = e.sweep.rows.n
    cdef double dense = <double>s.K * n, screened = screening_cost(n, (n + 3) // 4, s.K, 1)
    cdef double later = min(<double>s.steps_left, LATER_STEPS) * (dense - OPEN_SHARE * screened)
    cdef double coding = CODING_COST * n if e.codes == NULL else 0
    if s.labels_epoch != 0 and s.n_changed <= FEW_CHANGED * e.sweep.rows.m:
        return dense - OPEN_SHARE * screened + later - coding
    return (1 - MIN_GAIN) * dense - screened + later - coding if screened < (1 - MIN_GAIN) * dense else -1


cdef bint wants_codes(const Screen *e, const Step *s) noexcept nogil:
    """Tell whether this step is to be screened."""
    cdef const CostModel *cost = &e.cost
    if not (cost.adaptive and cost.possible):
        return cost.possible
    if s.labels_epoch != 0 and s.n_changed > cost.max_changed:
        return False
    return expected_saving(e, s) > 0


cdef int make_codes(Screen *e, Poll *p) noexcept nogil:
    """Code the points and make room for their bounds; nonzero: no memory, or interrupted."""
    if hamerly_open(&e.hamerly, e.sweep.rows):
        return 1
    e.codes = codes_open(e.sweep.rows, e.n_workspaces, p)
    if e.codes == NULL:
        return 1
    e.engine.bytes += e.codes.bytes + e.hamerly.bytes
    e.engine.name = SCREEN.name
    return 0


# ---- leading directions ------------------------------------------------------------------------

cdef int64_t count_survivors(Screen *e, const Step *s, int64_t first) noexcept nogil:
    """Count the pairs of the tile of points from row `first` on that the directions in use leave."""
    cdef Workspace *work = e.workspaces
    cdef TileWorkspace *tile = &work.tile
    cdef code_rows points = block_codes(&e.codes.points, first)
    cdef int64_t step = e.sweep.rows.kernels.tile, done = 0, count = 0, i
    while done < CODE_TILE:
        project_points(&e.leading, e.codes, first + done, &work.projection)
        done += step
    for i in range(CODE_TILE):
        tile.row[i] = <int32_t>i
    fill_tile(e, tile, tile.row, CODE_TILE, first, s.labels)
    load_tile(&tile.codes, &e.leading.points, e.leading.words, first, tile.row, tile.count)
    if s.labels_epoch == 0:
        estimate_labels(e, work)
        load_stats(&tile.codes, &e.leading.points, first, tile.row, tile.count)
    bound_by_labels(e, work, &points)
    for i in range(kernels_of_codes().screen(&tile.codes, &e.leading.centroids.panel, tile.hits, tile.lowers)):
        count += count_bits(tile.hits[i].points)
    return count


cdef double survivors(Screen *e, const Step *s, int64_t d, Poll *p) noexcept nogil:
    """Return the mean number of pairs of a point that the first d directions leave; negative: no memory."""
    cdef int64_t tiles = e.sweep.rows.m // CODE_TILE, n = min(tiles, <int64_t>PROBE_TILES), i
    cdef double count = 0
    if leading_open(&e.leading, e.codes, e.K, d):
        return -1
    project_centroids(&e.leading, e.codes, s.centroids, &e.centroids.coded, e.centroids.offset,
                      &e.workspaces[0].projection)
    for i in range(n):
        if not poll(p):
            count += count_survivors(e, s, i * tiles // n * CODE_TILE)
    return count / (n * CODE_TILE)


cdef int choose_directions(Screen *e, const Step *s, double steps, Poll *p) noexcept nogil:
    """Use as many leading directions as make a step cheapest, if any; nonzero: no memory."""
    cdef int64_t n = e.sweep.rows.n, best_d = 0, d = 16, i
    cdef double best = screening_cost(n, e.codes.words, s.K, 0), left, cost
    for i in range(N_CHOICES):
        if d > e.leading.directions.d:
            break
        left = survivors(e, s, d, p)
        if left < 0 or is_stopped(p):
            return 1
        cost = screening_cost(n, e.leading.words, s.K, left) + n * (d + POINT_COST) / steps
        if cost < best:
            best, best_d = cost, d
        d = 2 * d if d < 64 else 96
    leading_release(&e.leading)
    if best_d == 0:
        return 0
    return use_directions(e, best_d, p)


cdef int use_directions(Screen *e, int64_t d, Poll *p) noexcept nogil:
    """Project all points on the first d directions; nonzero: no memory, or interrupted."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, t
    cdef int threads = threads_for(e.n_workspaces, <double>X.m * X.n * d)
    if leading_open(&e.leading, e.codes, e.K, d):
        return 1
    for t in prange(n_tiles(X, X.m), schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            project_points(&e.leading, e.codes, t * tile, &e.workspaces[threadid()].projection)
    e.engine.bytes += e.leading.bytes
    e.leading.in_use = True
    return is_stopped(p)


cdef int64_t FORCED_DIRECTIONS = -1     # directions to screen on, whatever they cost; -1: those that cost least


def set_directions(int64_t d):
    """Screen on so many leading directions from now on, 0: on none, -1: by their cost; returns what was set before.

    Labels do not change.
    """
    global FORCED_DIRECTIONS
    before = FORCED_DIRECTIONS
    FORCED_DIRECTIONS = min(d, <int64_t>MAX_DIRECTIONS)
    return before


cdef int force_directions(Screen *e, Poll *p) noexcept nogil:
    """Screen on FORCED_DIRECTIONS, or as many as there are; nonzero: no memory, or interrupted."""
    if FORCED_DIRECTIONS == 0:
        return 0
    if directions_find(&e.leading.directions, e.sweep.rows, e.codes.origin, FORCED_DIRECTIONS, e.n_workspaces, p):
        return 1
    return use_directions(e, min(FORCED_DIRECTIONS, e.leading.directions.d), p) if e.leading.directions.d > 0 else 0


cdef int plan_step(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Look for leading directions, once, where they may pay; nonzero: no memory, or interrupted."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t max_d = min(X.n // 4, <int64_t>96)
    # In which all points are open, counted as so many.
    cdef double steps = (s.labels_epoch == 0) + OPEN_SHARE * min(<double>s.steps_left, LATER_STEPS), gain, cost
    if FORCED_DIRECTIONS >= 0 and not e.cost.leading_tried:
        e.cost.leading_tried = True
        return force_directions(e, p)
    if e.cost.leading_tried or X.n < MIN_LEADING_FEATURES or X.m < PROBE_TILES * CODE_TILE:
        return 0
    gain = steps * s.K * (X.n - 16) * kernels_of_codes().cost * X.m
    cost = DIRECTIONS_COST * (MIN_SAMPLE + ROWS_PER_DIRECTION * max_d) * max_d * <double>X.n + 16.0 * X.n * X.m
    if gain < 2 * cost:
        return 0
    e.cost.leading_tried = True
    if directions_find(&e.leading.directions, X, e.codes.origin, max_d, e.n_workspaces, p):
        return 1
    return choose_directions(e, s, steps, p)


# ---- after a step ----------------------------------------------------------------------------

cdef double step_cost(const Screen *e, const Step *s, const StepCounts *counts) noexcept nogil:
    """Return the cost of the step that was just made."""
    cdef int64_t n = e.sweep.rows.n
    cdef double m = e.sweep.rows.m, fallback = counts.n_fallback_tiles * CODE_TILE
    cdef double active = e.hamerly.active.K if e.hamerly.valid else 0, open_ = counts.n_undecided / m
    cdef int64_t words = e.leading.words if e.leading.in_use else e.codes.words
    cdef double one_by_one = max(counts.n_distances - fallback * s.K, 0)
    return (screening_cost(n, words, open_ * s.K + (1 - open_) * active, 0)
            + (counts.n_pairs * CODED_PAIR_COST + one_by_one * n * pair_cost(n) + fallback * s.K * n) / m)


cdef void review_step(Screen *e, const Step *s, const StepCounts *counts) noexcept nogil:
    """Compute all pairs of the following steps where the one that was made cost more."""
    cdef CostModel *cost = &e.cost
    cdef const Rows *X = e.sweep.rows
    if e.exact:
        return
    cost.fallback_share = counts.n_fallback_tiles / ((X.m + CODE_TILE - 1) // CODE_TILE)
    if cost.adaptive and step_cost(e, s, counts) > s.K * X.n:
        cost.max_changed = min(s.n_changed // 2, <int64_t>(FEW_CHANGED * X.m))
