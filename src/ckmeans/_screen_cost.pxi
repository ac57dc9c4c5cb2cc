"""Cost model of the screening engine: when to screen, and on how many leading directions first.

Costs are in multiply-adds of the dense kernel, for one point. They decide how steps are made, and never the labels.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t

from ckmeans._codes cimport can_code, codes_open, load_stats, load_tile, rows_from, words_of
from ckmeans._engine cimport Problem, Step
from ckmeans._points cimport Rows, n_tiles
from ckmeans._runtime cimport (
    CODE_TILE, Poll, code_rows, count_bits, is_stopped, kernels_of_codes, poll, request_threads, threads_for,
)

# Machine costs in multiply-adds of the dense kernel in float32, as tools/calibrate.py measured them
# (tools/calibration.txt). A product of codes: code_kernels.cost.
cdef double WIDE_COST = 2               # of a multiply-add in float64
cdef double ROW_COST = 18               # of a feature of a row, for the dense kernel: reading, packing, sums
cdef double BOUND_COST = 12             # of a bound, beside the products of its codes
cdef double POINT_COST = 38             # of a point that is screened, for each of its features,
cdef double POINT_OVERHEAD = 1080       # and of the point
cdef double STABLE_COST = 1740          # of a point whose bounds show that its label stays
cdef double CODED_PAIR_COST = 3580      # of bounding a pair by itself, which is found in a list
cdef double LISTED_PAIR_COST = 163      # of taking a pair from the hits of a tile
cdef double PAIR_COST = 2.12            # of a feature of a distance by itself,
cdef double PAIR_OVERHEAD = 666         # and of the distance, which is added up across lanes
cdef double CODING_COST = 30            # of a feature that is coded
cdef double CODING_OVERHEAD = 1600      # and of the point,
cdef double CENTROID_COST = 183         # of a feature of a centroid, in each step
cdef double DIRECTIONS_COST = 50        # of a feature of a row of the sample, for each direction that is found

# Statistics of data, whatever the machine.
cdef double FEW_CHANGED = 0.05          # part of the labels that change in a step, from which down most bounds are kept
cdef double MAX_COST = 1.1              # dense steps that a step may take, as later ones take less
cdef double TYPICAL_PAIRS = 3           # pairs of an open point that bounds leave
cdef double MIN_GAIN = 0.1              # part of the dense steps that screening must be expected to save
cdef double MAX_SLACK_PAIRS = 3         # pairs of an open point up to which the next step looks at some more
cdef int64_t TRIAL_STEPS = 3            # after which what is carried from step to step must pay,
cdef double MAX_LOSS = 0.05             # or else the trial has cost this part of the fit
cdef double LATER_STEPS = 10            # of a fit, at most, over which coding or projecting the points is to pay

cdef enum:
    PROBE_TILES = 8          # tiles of points that tell how many pairs leading directions leave
    N_DIRECTIONS = 48        # leading directions
    MIN_LEADING_FEATURES = 4 * N_DIRECTIONS  # features from which those can be much cheaper

# What is known of the costs. Only this file writes it.
cdef struct CostModel:
    bint adaptive            # screen only where that pays
    bint possible            # products of the codes fit their integers
    bint leading_tried
    int64_t max_changed      # screen when at most so many labels changed in the step before
    int64_t changed_before   # labels that changed in the step before that; 0: not known
    int64_t steps            # that were screened since the first one
    bint no_slack            # many pairs were within reach without any
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


cdef inline double value_cost(const Rows *X) noexcept nogil:
    """Return the cost of reading a value, in those of float32."""
    return 1 if X.kernels.itemsize == 4 else WIDE_COST


cdef inline double dense_cost(const Rows *X, double K) noexcept nogil:
    """Return the cost of a point in a dense step."""
    return X.n * (K + ROW_COST) * value_cost(X)


cdef inline double pairs_cost(const Rows *X, double pairs) noexcept nogil:
    """Return the cost of so many distances, one by one."""
    return pairs * X.n * pair_cost(X.n) * value_cost(X)


cdef inline double screening_cost(const Rows *X, int64_t words, double K) noexcept nogil:
    """Return the cost of a point that is screened on so many words of codes, but for the pairs that this leaves."""
    return (K * (4 * words * kernels_of_codes().cost + BOUND_COST) + POINT_COST * X.n + POINT_OVERHEAD
            + CENTROID_COST * K * X.n / X.m)


cdef double open_cost(const Rows *X, double K, double pairs) noexcept nogil:
    """Return the cost of a point that is screened on all features, which leaves so many pairs."""
    return screening_cost(X, words_of(X.n), K) + pairs_cost(X, pairs)


cdef void cost_open(CostModel *cost, const Rows *X, bint adaptive) noexcept nogil:
    cost.adaptive = adaptive
    cost.possible = can_code(X)
    cost.max_changed = X.m


cdef inline bint has_codes(const Screen *e) noexcept nogil:
    return e.codes != NULL or e.shared_codes != NULL and e.shared_codes[0] != NULL


cdef inline double coding_cost(const Rows *X) noexcept nogil:
    return CODING_COST * X.n * value_cost(X) + CODING_OVERHEAD


cdef double later_steps(const CostModel *cost, const Step *s) noexcept nogil:
    """Estimate how many steps follow, as if the labels that change in each fell by the same factor until none does."""
    cdef double steps = min(<double>s.steps_left, LATER_STEPS)
    if not 0 < s.n_changed < cost.changed_before:
        return steps
    return min(steps, 1 + log(s.n_changed) / log(<double>cost.changed_before / s.n_changed))


cdef double saving(const Screen *e, const Step *s, const Probe *probe) noexcept nogil:
    """Return what screening from this step on is expected to save of a point's dense steps, beyond MIN_GAIN of them."""
    cdef const Rows *X = e.sweep.rows
    cdef double dense = dense_cost(X, s.K), steps = later_steps(&e.cost, s)
    cdef double screened = open_cost(X, s.K, probe.pairs)
    cdef double later = probe.open_share * screened + (1 - probe.open_share) * STABLE_COST
    cdef double coding = 0 if has_codes(e) else coding_cost(X)
    # At first neither what later steps leave open nor how many there are is known.
    cdef double trial = coding + TRIAL_STEPS * (screened - dense)
    if e.cost.changed_before == 0 and trial > MAX_LOSS * dense * (steps + 1):
        return -1
    return dense - screened + steps * (dense - later) - coding - MIN_GAIN * dense * (steps + 1)


cdef bint pays_once(const Problem *problem) noexcept nogil:
    """Tell whether a single assignment, which codes the points, is to be screened."""
    cdef const Rows *X = problem.rows
    cdef double cost = open_cost(X, problem.K, TYPICAL_PAIRS) + coding_cost(X)
    return can_code(X) and cost < (1 - MIN_GAIN) * dense_cost(X, problem.K)


cdef bint wants_codes(Screen *e, const Step *s) noexcept nogil:
    """Tell whether this step is to be screened."""
    cdef CostModel *cost = &e.cost
    cdef Probe best = Probe(1, 0)
    if not (cost.adaptive and cost.possible):
        return cost.possible
    if s.labels_epoch != 0 and (s.n_changed > cost.max_changed or not e.exact):
        return s.n_changed <= cost.max_changed
    if saving(e, s, &best) <= 0:
        return False
    best = probe_points(e, s)
    if saving(e, s, &best) > 0:
        return True
    if s.labels_epoch != 0:
        cost.max_changed = s.n_changed // 2  # when to look again
    return False


cdef int make_codes(Screen *e, Poll *p) noexcept nogil:
    """Code the points and make room for their bounds; nonzero: no memory, or interrupted."""
    if hamerly_open(&e.hamerly, e.sweep.rows):
        return 1
    if e.shared_codes != NULL:
        e.codes = e.shared_codes[0]
    if e.codes == NULL:
        e.codes = codes_open(e.sweep.rows, e.n_workspaces, p)
        if e.codes == NULL:
            return 1
        if e.shared_codes != NULL:
            e.shared_codes[0] = e.codes
        else:
            e.engine.bytes += e.codes.bytes
    e.engine.bytes += e.hamerly.bytes
    e.engine.name = SCREEN.name
    return 0


# ---- leading directions ------------------------------------------------------------------------

cdef int64_t count_survivors(Screen *e, const Step *s, int64_t first) noexcept nogil:
    """Count the pairs of the tile of points from row `first` on that the directions in use leave."""
    cdef Workspace *work = e.workspaces
    cdef TileWorkspace *tile = &work.tile
    cdef code_rows points = rows_from(&e.codes.points, first)
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
    for i in range(kernels_of_codes().screen(&tile.codes, &e.leading.centroids.panel, tile.hits, tile.scores)):
        count += count_bits(tile.hits[i].points)
    return count


cdef bint directions_pay(Screen *e, const Step *s, double steps, Poll *p) noexcept nogil:
    """Tell whether points are cheaper to screen on the directions first, by the pairs that these leave of a few."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tiles = X.m // CODE_TILE, n = min(tiles, <int64_t>PROBE_TILES), i
    cdef double count = 0
    for i in range(n):
        if not poll(p):
            count += count_survivors(e, s, i * tiles // n * CODE_TILE)
    return (screening_cost(X, e.leading.words, s.K) + count / (n * CODE_TILE) * CODED_PAIR_COST
            + X.n * (e.leading.d + POINT_COST) * value_cost(X) / steps) < screening_cost(X, e.codes.words, s.K)


cdef int project_all(Screen *e, Poll *p) noexcept nogil:
    """Project all points on the directions; nonzero: interrupted."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, t
    cdef int threads = threads_for(e.n_workspaces, <double>X.m * X.n * e.leading.d)
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


cdef int plan_step(Screen *e, const Step *s, Poll *p) noexcept nogil:
    """Look for leading directions, once, where they may pay; nonzero: no memory, or interrupted."""
    cdef const Rows *X = e.sweep.rows
    cdef bint forced = FORCED_DIRECTIONS >= 0
    cdef int64_t d = FORCED_DIRECTIONS if forced else N_DIRECTIONS
    # In which all points are open, counted as so many.
    cdef double steps = (s.labels_epoch == 0) + OPEN_SHARE * min(<double>s.steps_left, LATER_STEPS), gain, cost
    if e.cost.leading_tried or d == 0:
        return 0
    if not forced:
        if X.n < MIN_LEADING_FEATURES or X.m < PROBE_TILES * CODE_TILE:
            return 0
        gain = steps * s.K * (X.n - d) * kernels_of_codes().cost * X.m
        cost = X.n * (DIRECTIONS_COST * SAMPLE_ROWS * d + (d + POINT_COST) * X.m)
        if gain < 2 * cost:
            return 0
    e.cost.leading_tried = True
    if leading_open(&e.leading, e.codes, e.K, min(d, X.n), e.n_workspaces, p):
        return 1
    if e.leading.d > 0:
        project_centroids(e, s)
        if forced or directions_pay(e, s, steps, p):
            return project_all(e, p)
    leading_close(&e.leading)
    return is_stopped(p)


# ---- after a step ----------------------------------------------------------------------------

cdef double step_cost(const Screen *e, const Step *s, const StepCounts *counts) noexcept nogil:
    """Return the cost of the step that was just made."""
    cdef const Rows *X = e.sweep.rows
    cdef double m = X.m, fallback = counts.n_fallback_tiles * CODE_TILE
    cdef double active = e.hamerly.active.K if e.hamerly.valid else 0, open_ = counts.n_undecided / m
    cdef int64_t words = e.leading.words if e.leading.in_use else e.codes.words
    cdef double coded_pairs = counts.n_pairs * (CODED_PAIR_COST if e.leading.in_use else LISTED_PAIR_COST)
    cdef double one_by_one = max(counts.n_distances - fallback * s.K, 0)
    return (open_ * screening_cost(X, words, s.K)
            + (1 - open_) * (STABLE_COST + active * (4 * words * kernels_of_codes().cost + BOUND_COST))
            + (coded_pairs + pairs_cost(X, one_by_one) + fallback * dense_cost(X, s.K)) / m)


cdef void review_step(Screen *e, const Step *s, int64_t changed, const StepCounts *counts) noexcept nogil:
    """Compute all pairs of the following steps where the one that was made cost more."""
    cdef CostModel *cost = &e.cost
    cdef const Rows *X = e.sweep.rows
    cost.changed_before = changed if s.labels_epoch != 0 else 0
    if e.exact:
        return
    cost.fallback_share = counts.n_fallback_tiles / ((X.m + CODE_TILE - 1) // CODE_TILE)
    cost.no_slack = counts.n_distances > MAX_SLACK_PAIRS * counts.n_undecided
    # What is carried from a first step shows only in the one after the next.
    cost.steps = 1 if s.labels_epoch == 0 else cost.steps + 1
    if cost.adaptive and cost.steps >= TRIAL_STEPS and step_cost(e, s, counts) > MAX_COST * dense_cost(X, s.K):
        cost.max_changed = min(s.n_changed // 2, <int64_t>(FEW_CHANGED * X.m))
