"""Cost model of the screening engine: number of directions, and when to enable it.

Costs are in dense steps: K n multiply-adds of the dense kernel for each point. They decide which steps screen, and
never the labels.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t

from ckmeans._engine cimport Block, Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport Poll, is_stopped, lowest_bit, poll

# Machine costs in multiply-adds of the dense kernel, as tools/calibrate.py measured them (tools/calibration.txt).
cdef double POINT_OVERHEAD = 515        # of a point that is screened: handling + pair_cost_per_n,
cdef double POINT_COST = 13.3           # and of each of its features: handling_per_n + pair_cost
cdef double MIN_POINT_COST = 2100       # of a point with few features: whole fits of 16; calibrated is from 64 on
cdef double COST_PER_SCORE = 4          # of a bound, beside its d features: the form of the fit
cdef double PAIR_COST = 2.33            # of a feature of a distance by itself, which is found in a list: pair_cost,
cdef double PAIR_OVERHEAD = 444         # and of the distance, which is added up across lanes: pair_cost_per_n
cdef double GATHER_FACTOR = 1.3         # of a bound where the points do not lie side by side: gathered
cdef int64_t MIN_ROWS = 4096            # rows from which finding directions takes less than a step

# Statistics of data, whatever the machine: parts of all pairs, or of all labels.
cdef double N_LATER_STEPS = 10          # steps over which the projection of the points is to pay
cdef double LATER_SURVIVORS = 0.19      # survivors of a later step for one of the first: later_survivors
cdef double MORE_DIRECTIONS_FROM = 0.3  # survivors from which more directions are found,
cdef double MORE_DIRECTIONS_UP_TO = 0.9  # and up to which
cdef double MAX_SURVIVORS = 0.5         # survivors that leave no bounds to carry: screening never pays
cdef double MAX_FIRST_COST = 0.7        # dense steps: a first step up to this screens, as it tells more for the next
cdef double MAX_FRESH_COST = 1.8        # dense steps: limit of a step without carried bounds, as later ones cost less
cdef double MIN_GAIN = 0.05             # dense steps that screening must save
cdef double FEW_CHANGED = 0.05          # labels that change in a step, from which down bounds may be worth carrying,
cdef double FEWER_CHANGED = 0.5         # or this part of those that changed when they were not
cdef double MAX_CLOSE = 0.3             # close distances (below) up to which points are clustered
cdef double CLOSE_FACTOR = 3            # squared distances up to so many times a point's second shortest are close

cdef int64_t FIRST_DIRECTIONS = 32      # directions that are found at first: a quarter of MAX_DIRECTIONS

cdef enum:
    PROBE_POINTS = 256       # points that a probe screens, and centroids of the test for clusters: a few tiles of each

# What is known of the costs. Only this file writes it.
cdef struct CostModel:
    bint adaptive            # screen only where that pays
    bint ready               # the points are projected
    bint first_exact         # a first step computes all pairs
    bint retried             # the directions were chosen with labels at hand, and are not chosen again
    double recheck_below     # probe again when at most so many labels change; < 0: never
    double fallback_share    # part of the tiles that the last step left to the dense kernel

# What was counted in a step.
cdef struct StepCounts:
    double n_distances
    double n_undecided       # rows that were screened against all centroids
    double n_fallback_tiles


cdef void cost_open(CostModel *cost, const Rows *X, bint adaptive) noexcept nogil:
    cost.adaptive = adaptive
    cost.first_exact = True
    cost.recheck_below = X.m


# ---- costs -----------------------------------------------------------------------------------

cdef inline double pair_cost(int64_t n) noexcept nogil:
    """Return the cost of all distances, one by one."""
    return PAIR_COST + PAIR_OVERHEAD / n


cdef inline double scores_cost(const Screen *e, double scored) noexcept nogil:
    """Return the cost of the bounds of that part of the pairs, and of handling all points."""
    cdef double n = e.sweep.rows.n
    return (scored * (e.projection.d + COST_PER_SCORE) / n
            + max(POINT_OVERHEAD + POINT_COST * n, MIN_POINT_COST) / (e.panels.screened.K * n))


cdef double step_cost(const Screen *e, const Step *s, const StepCounts *counts) noexcept nogil:
    """Return the cost of the step that was just made."""
    cdef double m = e.sweep.rows.m, fallback = counts.n_fallback_tiles * e.sweep.rows.kernels.tile
    cdef double active = <double>e.hamerly.active.K / s.K if e.hamerly.valid else 0
    cdef double one_by_one = max(counts.n_distances - counts.n_undecided - fallback * s.K, 0) / s.K
    cdef double undecided = counts.n_undecided / m
    return (scores_cost(e, undecided + (1 - undecided) * GATHER_FACTOR * active)
            + (pair_cost(e.sweep.rows.n) * one_by_one + fallback) / m)


# ---- a probe: some points screened without consequence ---------------------------------------

cdef struct Probe:
    int64_t n_points
    int64_t n_pairs          # of theirs that survive, beside those with their own centroids
    int64_t n_decided        # points with no such pair:
    int32_t[PROBE_POINTS] label   # their centroids,
    double[PROBE_POINTS] upper    # and bounds
    double[PROBE_POINTS] lower
    double survivors         # part of the pairs
    double scored            # part of the pairs that a step scores when bounds of all points are known


cdef void probe_hits(const Screen *e, const TileWorkspace *tile, int64_t n_hits, Probe *probe) noexcept nogil:
    """Count a tile's surviving pairs, and note the bounds of the points that have none."""
    cdef int64_t i, p, n_pairs = 0
    cdef uint32_t points, undecided = 0
    for i in range(n_hits):
        points = tile.hits[i].points
        while points:
            p = lowest_bit(points)
            points &= points - 1
            n_pairs += 1
            if tile.label[p] != tile.hits[i].k:
                undecided |= <uint32_t>1 << p
    for p in range(tile.count):
        if undecided >> p & 1:
            continue
        i = probe.n_decided
        probe.label[i] = tile.label[p]
        probe.upper[i] = positive_root(get(tile.assigned_squared, p, e.sweep.rows.kernels.itemsize))
        probe.lower[i] = positive_root(squared_above(e, tile, p))
        probe.n_decided += 1
    probe.n_points += tile.count
    probe.n_pairs += max(n_pairs - tile.count, 0)


cdef void probe_tile(const Screen *e, const Step *s, Workspace *work, int64_t first, Probe *probe) noexcept nogil:
    """Project and screen the tile of points that starts with row `first`."""
    cdef const Rows *X = e.sweep.rows
    cdef TileWorkspace *tile = &work.tile
    cdef int64_t p
    cdef double squares[MAX_TILE]
    cdef Block block
    block.first = first
    block.count = tile.count = min(<int64_t>X.kernels.tile, X.m - first)
    block.rows = read_rows(X, first, block.count, work.kernel.rows, &block.stride)
    project_tile(&e.projection, &block, work.kernel.packed, tile.products, squares)
    for p in range(block.count):
        tile.row[p] = <int32_t>p
        tile.label[p] = s.labels[first + p]
        put(tile.norms, p, X.kernels.itemsize, squares[p])
    probe_hits(e, tile, screen_tile(e, s, work, &block, tile.products), probe)


cdef double scored_share(const Hamerly *h, const Probe *probe, int64_t K, int64_t n_moving) noexcept nogil:
    """Estimate the part of the pairs that are scored if the centroids move as in the last update: the decided points
    whose label stays are scored for the active centroids alone."""
    cdef int64_t[N_ACTIVE_COUNTS] counts
    cdef int64_t i, j, n_stable
    cdef double shift, share = 1
    active_counts(K, n_moving, counts)
    for i in range(N_ACTIVE_COUNTS):
        shift = max_inactive_shift(h, counts[i], K)
        n_stable = 0
        for j in range(probe.n_decided):
            n_stable += probe.upper[j] + h.moved[probe.label[j]] < probe.lower[j] - shift
        share = min(share, 1 - <double>n_stable / probe.n_points * (1 - <double>counts[i] / K))
    return share


cdef void probe_step(Screen *e, const Step *s, int64_t n_moving, Probe *probe, Poll *p) noexcept nogil:
    """Screen a few points on the directions in use. `n_moving`: centroids that have moved; < 0: not known."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, tiles = n_tiles(X, X.m), count = min(tiles, PROBE_POINTS // tile), i
    panels_start(&e.panels, X, s)
    pack_screened(&e.panels, e, s)
    probe.n_points = probe.n_pairs = probe.n_decided = 0
    probe.survivors = probe.scored = 1
    for i in range(count):
        if poll(p):
            return
        probe_tile(e, s, e.workspaces, i * tiles // count * tile, probe)
    probe.survivors = probe.n_pairs / (<double>probe.n_points * s.K)
    probe.scored = 1 if n_moving < 0 else scored_share(&e.hamerly, probe, s.K, n_moving)


# ---- before a step: whether to screen, and on how many directions ----------------------------

# The best number of directions.
cdef struct Choice:
    int64_t d
    double cost              # of a later step, with its part of the projection
    double first_cost        # of this step, with the projection of the points
    double survivors         # with as many directions as were tried last


cdef double probed_cost(const Screen *e, const Probe *probe, double later) noexcept nogil:
    """Estimate the cost of a step with `later` times the survivors of the probe."""
    return scores_cost(e, probe.scored) + pair_cost(e.sweep.rows.n) * probe.survivors * later


cdef void choose_directions(Screen *e, const Step *s, int64_t d, Choice *best, Poll *p) noexcept nogil:
    """Use as many directions as make steps cheapest, from d on: by 8 more up to 32, then by a third."""
    cdef int64_t max_ = e.projection.directions.d
    cdef int64_t n_moving = -1 if s.previous == NULL else measure_moves(&e.hamerly, e.sweep.rows, s, s.previous)
    cdef double n = e.sweep.rows.n, projection, cost
    cdef Probe probe
    d = min(max_, d)
    while not is_stopped(p):
        use_directions(&e.projection, d)
        if d / n > best.cost:
            break
        probe_step(e, s, n_moving, &probe, p)
        projection = <double>d / s.K
        cost = (probed_cost(e, &probe, LATER_SURVIVORS if s.labels_epoch == 0 else 1)
                + projection / N_LATER_STEPS)
        best.survivors = probe.survivors
        if cost < best.cost:
            best.d, best.cost, best.first_cost = d, cost, probed_cost(e, &probe, 1) + projection
        if d == max_:
            break
        d = min(max_, d + 8 if d < 32 else d * 4 // 3)
    use_directions(&e.projection, min(best.d, max_))


cdef int try_identity(Screen *e, const Step *s, Choice *best, Poll *p) noexcept nogil:
    """Try the features themselves as directions, which leave nothing out; nonzero: no memory."""
    cdef Directions other
    if directions_identity(&other, e.sweep.rows):
        return 1
    swap_directions(&e.projection, &other)
    choose_directions(e, s, e.sweep.rows.n, best, p)
    if best.d != e.sweep.rows.n:
        swap_directions(&e.projection, &other)
        use_directions(&e.projection, best.d)
    directions_close(&other)
    return 0


cdef int add_directions(Screen *e, const Step *s, Choice *best, Poll *p) noexcept nogil:
    """Try more directions where the first ones decide neither way; nonzero: no memory."""
    cdef int64_t n = e.sweep.rows.n, d = e.projection.directions.d
    if d != FIRST_DIRECTIONS or d == n or best.survivors < MORE_DIRECTIONS_FROM and best.d < d:
        return 0
    if n <= MAX_DIRECTIONS:
        return try_identity(e, s, best, p)
    if e.cost.adaptive and best.survivors > MORE_DIRECTIONS_UP_TO:
        return 0
    if find_directions(&e.projection, MAX_DIRECTIONS, e.n_workspaces, p):
        return 1
    choose_directions(e, s, d * 4 // 3, best, p)
    return 0


cdef int64_t count_close(const Screen *e, const void *squared, int64_t p, int64_t K) noexcept nogil:
    """Of point p's distances, count those about as short as the second: the first is 0 where the point is a start."""
    cdef int64_t tile = e.sweep.rows.kernels.tile, k, n_close = 0
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double first = INFINITY, second = INFINITY, square
    for k in range(K):
        square = get(squared, k * tile + p, item)
        second = min(second, max(square, first))
        first = min(first, square)
    for k in range(K):
        n_close += get(squared, k * tile + p, item) <= CLOSE_FACTOR * second
    return n_close


cdef bint is_clustered(const Screen *e, const Step *s) noexcept nogil:
    """Tell whether a tile's points are close to few of some centroids: else hardly any directions separate them."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *work = &e.workspaces[0].kernel
    cdef int64_t count = min(X.m, <int64_t>X.kernels.tile), K = min(s.K, PROBE_POINTS), n_close = 0, stride, p
    cdef const void *rows = read_rows(X, 0, count, work.rows, &stride)
    X.kernels.pack(rows, stride, count, X.n, e.projection.zeros, work.packed)
    X.kernels.min_distance_update(work.packed, 1, X.n, s.centroids, K, NULL, work.partial)
    for p in range(count):
        n_close += count_close(e, work.partial, p, K)
    return n_close <= MAX_CLOSE * count * K


cdef bint may_probe(const CostModel *cost, const Step *s) noexcept nogil:
    """Tell whether to find out again if screening pays."""
    return not cost.adaptive or cost.recheck_below >= 0 and (s.labels_epoch == 0 or s.n_changed <= cost.recheck_below)


cdef void defer(CostModel *cost, const Rows *X, const Step *s) noexcept nogil:
    """Compute all pairs until few enough labels change."""
    cost.recheck_below = min(FEWER_CHANGED * s.n_changed, FEW_CHANGED * X.m)


cdef int add_points(Screen *e, Poll *p) noexcept nogil:
    """Project the points and make room for their bounds; nonzero: no memory, or interrupted."""
    if hamerly_open(&e.hamerly, e.sweep.rows):
        return 1
    if project_points(&e.projection, e.workspaces, e.n_workspaces, p):
        return 1
    e.engine.bytes += e.projection.bytes + e.hamerly.bytes
    e.engine.name = SCREEN.name
    return 0


cdef void drop_points(Screen *e) noexcept nogil:
    """Release what add_points has made."""
    e.engine.bytes -= e.projection.bytes + e.hamerly.bytes
    projection_drop(&e.projection)
    hamerly_close(&e.hamerly)


cdef int enable_screening(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Find directions and project the points on them, unless computing all pairs of this step is cheaper.

    Nonzero: no memory, or interrupted.
    """
    cdef CostModel *cost = &e.cost
    cdef const Rows *X = e.sweep.rows
    cdef bint first = s.labels_epoch == 0
    cdef Choice best = Choice(0, INFINITY, INFINITY, 1)
    if e.projection.directions.vectors == NULL:
        if cost.adaptive and X.m < MIN_ROWS and not is_clustered(e, s):
            cost.recheck_below = -1
            return 0
        set_origin(&e.projection, s)
        if find_directions(&e.projection, FIRST_DIRECTIONS, e.n_workspaces, p):
            return 1
    choose_directions(e, s, X.n if FIRST_DIRECTIONS < e.projection.directions.d == X.n else 8, &best, p)
    if first:
        cost.recheck_below = X.m
        cost.first_exact = best.first_cost > MAX_FIRST_COST
        if cost.first_exact or is_stopped(p):
            return is_stopped(p)
    elif is_stopped(p) or add_directions(e, s, &best, p) or is_stopped(p):
        return 1
    elif cost.adaptive and best.cost > 1 - MIN_GAIN:
        defer(cost, X, s)
        if X.n > MAX_DIRECTIONS and best.survivors > MAX_SURVIVORS:
            cost.recheck_below = -1
        return 0
    cost.retried = cost.retried or not first
    cost.ready = not add_points(e, p)
    return not cost.ready


# ---- after a step ----------------------------------------------------------------------------

cdef void disable_screening(Screen *e) noexcept nogil:
    """Release what screening keeps of the points: it does not pay."""
    drop_points(e)
    e.cost.ready = False


cdef void review_step(Screen *e, const Step *s, const StepCounts *counts) noexcept nogil:
    """Stop screening where the step that was made cost too much."""
    cdef CostModel *cost = &e.cost
    cdef const Rows *X = e.sweep.rows
    if e.exact:
        return
    cost.fallback_share = counts.n_fallback_tiles / n_tiles(X, X.m)
    if s.labels_epoch == 0 or step_cost(e, s, counts) <= (1 + MIN_GAIN if e.hamerly.valid else MAX_FRESH_COST):
        return
    if not cost.retried:
        disable_screening(e)
        cost.recheck_below = X.m
        cost.retried = True
    elif cost.adaptive:
        disable_screening(e)
        defer(cost, X, s)
