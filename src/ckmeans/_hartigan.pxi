"""Single-point moves after Lloyd's algorithm: the minima that they leave are some of Lloyd's (J. A. Hartigan,
"Clustering algorithms", 1975; M. Telgarsky and A. Vattani, "Hartigan's method: k-means clustering without Voronoi",
AISTATS 2010).

Moving a point x of weight w from cluster a to b changes the weighted sum of squares about the means by

    w W_b / (W_b + w) |x - mean_b|^2 - w W_a / (W_a - w) |x - mean_a|^2

where W are the weights of the clusters. The means are kept in float64 and follow each move.
"""
from libc.stdint cimport int64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll
from ckmeans._values cimport get

cdef double MIN_MOVE_GAIN = 1e-9       # of a point's share: rounding of its distances is less


cdef double squared_to_mean(const SwapSearch *s, int64_t i, int64_t k) noexcept nogil:
    """The squared distance of local row i to mean k."""
    cdef const Rows *rows = &s.local.rows
    cdef int64_t n = rows.n, j
    cdef int item = rows.kernels.itemsize
    cdef const double *mean = s.means + k * n
    cdef double total = 0, v
    if rows.source.indptr == NULL:
        for j in range(n):
            v = get(rows.source.data, i * n + j, item) - mean[j]
            total += v * v
        return total
    for j in range(index_at(rows.source.indptr, rows.source.int64_indices, i),
                   index_at(rows.source.indptr, rows.source.int64_indices, i + 1)):
        v = get(rows.source.data, j, item)
        total += v * (v - 2 * mean[index_at(rows.source.indices, rows.source.int64_indices, j)])
    return max(total + s.norms[k], 0)


cdef void shift_mean(SwapSearch *s, int64_t i, int64_t k, double factor) noexcept nogil:
    """Move mean k by `factor` times the way to local row i."""
    cdef const Rows *rows = &s.local.rows
    cdef int64_t n = rows.n, j
    cdef int item = rows.kernels.itemsize
    cdef double *mean = s.means + k * n
    if rows.source.indptr == NULL:
        for j in range(n):
            mean[j] += factor * (get(rows.source.data, i * n + j, item) - mean[j])
        return
    for j in range(n):
        mean[j] -= factor * mean[j]
    for j in range(index_at(rows.source.indptr, rows.source.int64_indices, i),
                   index_at(rows.source.indptr, rows.source.int64_indices, i + 1)):
        mean[index_at(rows.source.indices, rows.source.int64_indices, j)] += factor * get(rows.source.data, j, item)
    s.norms[k] = squared_norm(mean, n)


cdef double squared_norm(const double *values, int64_t n) noexcept nogil:
    cdef double total = 0
    cdef int64_t l
    for l in range(n):
        total += values[l] * values[l]
    return total


cdef bint move_point(SwapSearch *s, int64_t i, int64_t a, int64_t b) noexcept nogil:
    """Move local row i from cluster a to b, if that lowers the sum of squares."""
    cdef double weight = item_weight(&s.local.rows, i), without = s.clusters.weights[a] - weight, gain, cost
    if weight == 0 or without <= ROUNDING_WEIGHT * s.clusters.weights[a]:
        return False
    gain = s.clusters.weights[a] / without * squared_to_mean(s, i, a)
    cost = s.clusters.weights[b] / (s.clusters.weights[b] + weight) * squared_to_mean(s, i, b)
    if gain - cost <= MIN_MOVE_GAIN * gain:
        return False
    shift_mean(s, i, a, -weight / without)
    shift_mean(s, i, b, weight / (s.clusters.weights[b] + weight))
    s.clusters.weights[a] -= weight
    s.clusters.weights[b] += weight
    return True


cdef int list_others(Fit *f, int64_t k, int64_t at, int64_t count, Poll *p) noexcept nogil:
    """Find the nearest other centroid of some points of cluster k, as local rows. Nonzero: no memory, or stopped."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t stored = stored_of(s.clusters.rows, s.clusters.members + at, count)
    if make_room(local, s.clusters.rows, count, stored):
        return 1
    copy_items(local, s.clusters.rows, s.clusters.members + at, count, 0, 0)
    rows_of_copies(local, s.clusters.rows, count, stored)
    take_near(f, k, MOVE_NEAR)
    if open_local(f, p):
        return 1
    local.step.sum = False
    local.step.squared = s.other_squared
    return step_local(f, p)


cdef int move_from_cluster(Fit *f, int64_t k, int64_t *n_moves, Poll *p) noexcept nogil:
    """Try to move the points of cluster k that another centroid is nearly as close to."""
    cdef SwapSearch *s = f.swaps
    cdef ClusteredItems *c = &s.clusters
    cdef int64_t at = c.first[k], count, i, other
    cdef double weight, gain, cost
    while at < c.first[k + 1]:
        count = min(MOVE_BLOCK, c.first[k + 1] - at)
        if list_others(f, k, at, count, p):
            return 1
        for i in range(count):
            other = s.local.clusters[s.local.labels[i]]
            weight = item_weight(c.rows, c.members[at + i])
            # The test in move_point with the distances to the centroids, and without divisions.
            gain = c.squared[c.members[at + i]] * c.weights[k] * (c.weights[other] + weight)
            cost = s.other_squared[i] * c.weights[other] * (c.weights[k] - weight)
            if cost < gain and may_move(f, other):
                n_moves[0] += move_point(s, i, k, other)
        at += count
    return 0


cdef int move_points(Fit *f, int64_t *n_moves, Poll *p) noexcept nogil:
    """One pass over the points; leave the new means in swaps.centroids. Nonzero: no memory, or stopped."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t n = f.rows.n, k, l
    n_moves[0] = 0
    if sort_items(f, s.points, p) or find_neighbours(f, p):
        return 1
    for k in range(f.run.K):
        for l in range(n):
            s.means[k * n + l] = get(f.run.centroids, k * n + l, f.rows.kernels.itemsize)
            if f.step.sums.weights[k] > 0:
                s.means[k * n + l] = mean_of(&f.step.sums, k, l, f.run.centroids, n, f.rows.kernels.itemsize)
        s.norms[k] = squared_norm(s.means + k * n, n)
    for k in range(f.run.K):
        if may_move(f, k) and move_from_cluster(f, k, n_moves, p):
            return 1
    for k in range(f.run.K):
        for l in range(n if may_move(f, k) else 0):
            put(s.centroids, k * n + l, f.rows.kernels.itemsize, s.means[k * n + l])
    return 0
