"""The search by swaps: one centroid at a time is moved elsewhere, and stays there if J falls (P. Fränti, "Efficiency
of random swap clustering", Journal of Big Data 5, 2018).

A swap is drawn: the new place with a probability proportional to its share of J (D^2 sampling, as in k-means++; for
swaps: S. Lattanzi and C. Sohler, "A better k-means++ algorithm via local search", ICML 2019), the centroid that goes
there by its utility (B. Fritzke, "The breathing k-means algorithm", 2020). It is judged after a few steps of Lloyd's
algorithm on the clusters next to the two alone, as nothing else changes much. A round of swaps that do not touch each
other is followed by Lloyd's algorithm on all points, and undone if that ends no lower. After enough failures in a row
the centroids settle, and single points are moved (_hartigan.pxi) until that does not lower J either.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._points cimport Rows, fetch_row
from ckmeans._random cimport Stream, next_unit
from ckmeans._runtime cimport Poll, is_stopped, wide_stride
from ckmeans._values cimport get

cdef int64_t FAILURES_PER_CLUSTER = 4  # swaps in vain, one after another, after which the search ends,
cdef int64_t MIN_FAILURES = 32         # and at least so many
cdef int64_t LOCAL_STEPS = 16          # steps after which a swap is judged, at most,
cdef int64_t REFINING_STEPS = 2        # and those that follow once it lowers J
cdef int64_t ROUND_CLUSTERS = 2        # a round tries a swap for each so many clusters, and ends if some lower J
cdef double MIN_RATIO = 0.8            # of a step's fall to that of the step before: what is assumed at least,
cdef double MAX_RATIO = 0.95           # and at most


cdef int64_t draw_index(Stream *random, const double *weights, int64_t count, double total) noexcept nogil:
    """Draw an index with probability proportional to its weight; -1: all are 0."""
    cdef double target = next_unit(random) * total, cumulative = 0
    cdef int64_t i, last = -1
    for i in range(count):
        if weights[i] > 0:
            last = i
            cumulative += weights[i]
            if cumulative > target:
                return i
    return last


# ---- a swap ----------------------------------------------------------------------------------

# From which cluster a point is to become a centroid, and which one is to go there.
cdef struct Swap:
    int64_t split
    int64_t item
    int64_t removed


cdef int64_t draw_split(Fit *f) noexcept nogil:
    """Draw a cluster by its error; -1: there is none."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t k
    cdef double total = 0
    for k in range(f.run.K):
        s.draw[k] = 0 if s.moved[k] else s.clusters.errors[k]
        total += s.draw[k]
    return draw_index(&f.random, s.draw, f.run.K, total)


cdef int64_t draw_item(Fit *f, int64_t k) noexcept nogil:
    """Draw an item of cluster k by its weighted squared distance."""
    cdef SwapSearch *s = f.swaps
    cdef double target = next_unit(&f.random) * s.clusters.errors[k], cumulative = 0
    cdef int64_t j, i, last = -1
    for j in range(s.clusters.first[k], s.clusters.first[k + 1]):
        i = s.clusters.members[j]
        if s.clusters.squared[i] > 0:
            last = i
            cumulative += item_weight(s.clusters.rows, i) * s.clusters.squared[i]
            if cumulative > target:
                return i
    return last


cdef int64_t draw_removed(Fit *f, int64_t split) noexcept nogil:
    """Draw a centroid to remove, the likelier the lower its utility; -1: there is none."""
    cdef SwapSearch *s = f.swaps
    cdef double total = 0, lowest = INFINITY
    cdef int64_t k
    for k in range(f.run.K):
        if k != split and not s.moved[k] and may_move(f, k):
            lowest = min(lowest, s.clusters.utilities[k])
    for k in range(f.run.K):
        s.draw[k] = 0
        if k != split and not s.moved[k] and may_move(f, k):
            s.draw[k] = 1 if s.clusters.utilities[k] <= lowest else (lowest / s.clusters.utilities[k]) ** 2
        total += s.draw[k]
    return draw_index(&f.random, s.draw, f.run.K, total)


cdef bint draw_swap(Fit *f, Swap *swap) noexcept nogil:
    """False: there is none to draw."""
    swap.split = draw_split(f)
    if swap.split < 0:
        return False
    swap.item = draw_item(f, swap.split)
    swap.removed = draw_removed(f, swap.split)
    return swap.item >= 0 and swap.removed >= 0


# ---- judged ----------------------------------------------------------------------------------

cdef void choose_with_near(SwapSearch *s, int64_t k) noexcept nogil:
    """Choose cluster k, and those next to it that no other swap of this round has moved."""
    cdef int64_t j, near
    s.local.chosen[k] = 1
    for j in range(min(NEAR, s.clusters.n_near)):
        near = s.clusters.near[k * s.clusters.n_near + j]
        if near >= 0 and not s.moved[near]:
            s.local.chosen[near] = 1


cdef int take_chosen(Fit *f, double *error, Poll *p) noexcept nogil:
    """Make the chosen clusters, whose error is then known, the local problem. Nonzero: no memory, or stopped."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, K = f.run.K, k, count = 0
    for k in range(K):
        count += s.clusters.first[k + 1] - s.clusters.first[k] if local.chosen[k] else 0
    local.K = 0
    error[0] = 0
    for k in range(K):
        # Where they have most of the items, all clusters are taken, and nothing is copied.
        if local.chosen[k] or (2 * count > s.clusters.rows.m and s.n_kept == 0):
            memcpy(local.centroids + local.K * size, s.centroids + k * size, size)
            local.clusters[local.K] = <int32_t>k
            local.K += 1
            error[0] += s.clusters.errors[k]
    if local.K == K:
        local.rows = s.clusters.rows[0]
        return 0
    return copy_clusters(s, p)


cdef int begin_insertion(Fit *f, const Swap *swap, double *error, Poll *p) noexcept nogil:
    """Set up the local problem with one centroid more. Nonzero: no memory, or stopped."""
    cdef LocalProblem *local = &f.swaps.local
    memset(local.chosen, 0, f.run.K)
    choose_with_near(f.swaps, swap.split)
    if take_chosen(f, error, p):
        return 1
    fetch_row(f.swaps.clusters.rows, swap.item, local.centroids + local.K * f.rows.n * f.rows.kernels.itemsize, p)
    local.clusters[local.K] = -1
    local.K += 1
    return open_local(f, p)


cdef int begin_swap(Fit *f, const Swap *swap, double *error, Poll *p) noexcept nogil:
    """Set up the local problem after a swap. Nonzero: no memory, or stopped."""
    cdef LocalProblem *local = &f.swaps.local
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, j
    memset(local.chosen, 0, f.run.K)
    choose_with_near(f.swaps, swap.split)
    choose_with_near(f.swaps, swap.removed)
    if take_chosen(f, error, p):
        return 1
    for j in range(local.K):
        if local.clusters[j] == swap.removed:
            fetch_row(f.swaps.clusters.rows, swap.item, local.centroids + j * size, p)
    return open_local(f, p)


cdef bint has_empty_cluster(const Fit *f) noexcept nogil:
    cdef const LocalProblem *local = &f.swaps.local
    cdef int64_t k
    for k in range(local.K):
        if local.step.sums.weights[k] == 0 and local_moves(f, k):
            return True
    return False


cdef double fall_to_means(const Fit *f) noexcept nogil:
    """By how much the error falls when the centroids move to the means of their items: exactly, before they do."""
    cdef int64_t k
    cdef double total = 0
    for k in range(f.swaps.local.K):
        total += fall_to_mean(f, k, 0)
    return total


cdef double forecast(double error, double fall, double fall_before) noexcept nogil:
    """Where the error will end, if each step lowers it by the same part of what the step before did."""
    cdef double ratio = MIN_RATIO
    if fall_before > 0:
        ratio = min(max(fall / fall_before, MIN_RATIO), MAX_RATIO)
    return error - fall * ratio / (1 - ratio)


cdef int judge(Fit *f, double limit, int64_t refining_steps, bint *better, Poll *p) noexcept nogil:
    """Make steps on the local problem while they may lower its error below a limit, and a few more once they have.
    Nonzero: no memory, or stopped."""
    cdef LocalProblem *local = &f.swaps.local
    cdef double error, fall = 0, fall_before = 0
    cdef int64_t refining = 0
    for _ in range(LOCAL_STEPS):
        if step_local(f, p):
            return 1
        error = local.step.sums.square
        better[0] = error < limit and not has_empty_cluster(f)
        refining += better[0]
        if has_empty_cluster(f) or refining > refining_steps:
            return 0
        fall_before = fall
        fall = fall_to_means(f)
        if not better[0] and forecast(error - fall, fall, fall_before) >= limit:
            return 0
        update_local(f)
    return 0


cdef bint are_near(const SwapSearch *s, int64_t a, int64_t b) noexcept nogil:
    cdef int64_t j
    for j in range(min(NEAR, s.clusters.n_near)):
        if s.clusters.near[a * s.clusters.n_near + j] == b or s.clusters.near[b * s.clusters.n_near + j] == a:
            return True
    return False


cdef int64_t least_useful_apart(Fit *f, int64_t split) noexcept nogil:
    """The centroid of least utility that is not near a cluster; -1: there is none."""
    cdef SwapSearch *s = f.swaps
    cdef const double *utilities = s.clusters.utilities
    cdef int64_t k, least = -1
    for k in range(f.run.K):
        if (k != split and not s.moved[k] and may_move(f, k) and (least < 0 or utilities[k] < utilities[least])
                and not are_near(s, split, k)):
            least = k
    return least


cdef int try_swap(Fit *f, Swap *swap, bint *better, Poll *p) noexcept nogil:
    """Judge a swap. Of two clusters apart what removing one costs is known, so the other is split first: if that gains
    less than the least useful centroid costs, then any swap fails. Nonzero: no memory, or stopped."""
    cdef double error
    better[0] = False
    if not are_near(f.swaps, swap.split, swap.removed):
        swap.removed = least_useful_apart(f, swap.split)
        if begin_insertion(f, swap, &error, p):
            return 1
        if error > f.swaps.clusters.utilities[swap.removed]:
            if judge(f, error - f.swaps.clusters.utilities[swap.removed], 0, better, p):
                return 1
        close_local(&f.swaps.local)
        if not better[0]:
            return 0
    if begin_swap(f, swap, &error, p) or judge(f, error * (1 - MIN_GAIN), REFINING_STEPS, better, p):
        return 1
    close_local(&f.swaps.local)
    return 0


cdef void keep_swap(Fit *f) noexcept nogil:
    """Take the local centroids over."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, j, k
    for j in range(local.K):
        k = local.clusters[j]
        s.moved[k] = 1
        if may_move(f, k):
            memcpy(s.centroids + k * size, local.centroids + j * size, size)
    s.n_kept += 1


# ---- rounds ----------------------------------------------------------------------------------

cdef int64_t failures_allowed(const Fit *f) noexcept nogil:
    return max(MIN_FAILURES, FAILURES_PER_CLUSTER * f.run.K)


cdef int try_swaps(Fit *f, Poll *p) noexcept nogil:
    """One round: swaps are tried until some lower the error, or too many did not. Nonzero: failed."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t tried = 0, failed = s.n_failed
    cdef Swap swap
    cdef bint better
    if sort_items(f, &s.items, p) or find_neighbours(f, p) or find_utilities(f, p):
        return 1
    memset(s.moved, 0, f.run.K)
    memcpy(s.centroids, f.run.centroids, f.run.K * f.rows.n * f.rows.kernels.itemsize)
    s.n_kept = 0
    while failed < failures_allowed(f) and s.n_tried < f.options.max_swaps:
        if s.n_kept > 0 and tried * ROUND_CLUSTERS >= f.run.K or not draw_swap(f, &swap):
            break
        tried += 1
        s.n_tried += 1
        if try_swap(f, &swap, &better, p):
            return 1
        failed = 0 if better else failed + 1
        if better:
            keep_swap(f)
        s.n_failed += not better
    return 0


cdef int go_to(Fit *f, const char *centroids, int64_t K, Poll *p) noexcept nogil:
    """Assign to other centroids."""
    keep_previous(f)
    if K != f.run.K:
        f.step.previous = NULL
        f.step.labels_epoch = 0
    memcpy(f.run.centroids, centroids, K * f.rows.n * f.rows.kernels.itemsize)
    f.run.K = K
    return assign(f, f.run.n_iter + 1, p)


cdef int try_centroids(Fit *f, bint *fell, Poll *p) noexcept nogil:
    """Lloyd's algorithm from the search's centroids; back to those before unless J falls below what it was."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t K = f.run.K, steps = 0
    cdef double before = f.run.distortion, J = INFINITY, fall = 0, fall_before = 0
    cdef int status
    memcpy(s.kept, f.run.centroids, K * f.rows.n * f.rows.kernels.itemsize)
    begin_lloyd(f, f.options.max_iter, f.options.tol, f.options.should_stop)
    status = go_to(f, s.centroids, K, p)
    while status == RUNNING:
        fall_before = fall
        fall = J - f.run.distortion if steps > 0 else 0
        J = f.run.distortion
        steps += 1
        fell[0] = J < before and first_empty(f) < 0
        if (fell[0] or first_empty(f) >= 0 or steps > LOCAL_STEPS
                or steps > 1 and forecast(J, fall, fall_before) >= before):
            break
        if update(f, p):
            return NO_MEMORY
        status = assign(f, f.run.n_iter + 1, p)
    if status != RUNNING:
        return status
    if not fell[0]:
        return go_to(f, s.kept, K, p)
    f.run.n_iter += 1
    begin_lloyd(f, f.options.max_iter, f.options.tol, f.options.should_stop)
    status = record_and_check(f, before, p)
    return run_lloyd(f, p) if status == RUNNING else status


cdef int settle(Fit *f, Poll *p) noexcept nogil:
    """Lloyd's algorithm until nothing changes."""
    begin_lloyd(f, MAX_COUNT, 0, stop_by_distortion)
    return run_lloyd(f, p)


cdef int run_rounds(Fit *f, Poll *p) noexcept nogil:
    cdef SwapSearch *s = f.swaps
    cdef int status = RUNNING
    cdef bint fell
    while f.run.K > 1 and s.n_failed < failures_allowed(f) and s.n_tried < f.options.max_swaps:
        if try_swaps(f, p):
            return INTERRUPTED if is_stopped(p) else NO_MEMORY
        if s.n_kept == 0:
            break
        fell = False
        status = try_centroids(f, &fell, p)
        if status >= CALLBACK and status != RUNNING:
            return status
        s.n_failed = 0 if fell else s.n_failed + 1
    return RUNNING


cdef int move_until_stable(Fit *f, Poll *p) noexcept nogil:
    """Moves of single points, each pass followed by Lloyd's algorithm, while J falls."""
    cdef int status = RUNNING
    cdef int64_t n_moves
    cdef bint fell = f.run.K > 1
    while fell:
        if move_points(f, &n_moves, p):
            return INTERRUPTED if is_stopped(p) else NO_MEMORY
        close_local(&f.swaps.local)
        if n_moves == 0:
            break
        fell = False
        status = try_centroids(f, &fell, p)
        if fell and status < CALLBACK:
            status = settle(f, p)
        if status >= CALLBACK and status != RUNNING:
            return status
    return RUNNING


cdef int search_swaps(Fit *f, Poll *p) noexcept nogil:
    """Go on from where Lloyd's algorithm has stopped; return why the search ended."""
    cdef int status
    if first_empty(f) >= 0 or f.run.distortion == 0:
        return STABLE
    if f.swaps == NULL:
        f.swaps = swaps_open(f)
        if f.swaps == NULL:
            return NO_MEMORY
    f.swaps.n_tried = f.swaps.n_failed = 0
    status = run_rounds(f, p)
    if status == RUNNING and f.options.settle:
        status = settle(f, p)
    if status < CALLBACK and first_empty(f) < 0:
        status = move_until_stable(f, p)
    if status >= CALLBACK and status != RUNNING:
        return status
    return MAX_SWAPS if f.swaps.n_tried >= f.options.max_swaps else STABLE
