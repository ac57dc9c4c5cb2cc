"""What swaps are judged on: items, sorted by their clusters, and what is known of each cluster.

Items are the points, the distinct ones where equal points were merged; or, where the engine has a k-d tree of many
points of few features, the weighted means of its nodes. The error of a partition of means differs from that of the
points by the squares within the nodes, which no swap changes, and by the points on borders that are not assigned one
by one. So swaps are judged on means, and kept only if J of all points falls.

Memory beside the items, in bytes: 20 for each, and for each cluster 3 n s + 8 n + 100, for values of s bytes.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport EngineFactory, store_row_labels
from ckmeans._points cimport Rows
from ckmeans._runtime cimport LEAF, Poll, allocate, poll, release
from ckmeans._shift cimport find_shift
from ckmeans._values cimport get, put

cdef int64_t ITEMS_PER_CLUSTER = 16    # nodes at least, in place of the points: enough to tell a cluster's extent
cdef int64_t SUMMARY_FEATURES = 3      # up to which nodes are small against clusters
cdef int64_t MOVE_BLOCK = 2048         # points whose nearest other centroid is found together
cdef int64_t NEAR = 6                  # clusters next to one that a swap moves: a cell of a plane has about as many
cdef int64_t MOVE_NEAR = 32            # clusters to which a point may move: on many features more are as near


cdef size_t swaps_layout(SwapSearch *s, int64_t K, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef int64_t n = s.points.n, m = s.points.m
    cdef size_t item = s.points.kernels.itemsize, at = (sizeof(SwapSearch) + 63) // 64 * 64
    s.clusters.labels = <int32_t *>take(memory, &at, m * sizeof(int32_t))
    s.clusters.members = <int64_t *>take(memory, &at, m * sizeof(int64_t))
    s.clusters.squared = <double *>take(memory, &at, m * sizeof(double))
    s.clusters.first = <int64_t *>take(memory, &at, (K + 1) * sizeof(int64_t))
    s.clusters.weights = <double *>take(memory, &at, K * sizeof(double))
    s.clusters.errors = <double *>take(memory, &at, K * sizeof(double))
    s.clusters.utilities = <double *>take(memory, &at, K * sizeof(double))
    s.clusters.near = <int32_t *>take(memory, &at, K * s.clusters.n_near * sizeof(int32_t))
    s.centroids = <char *>take(memory, &at, K * n * item)
    s.kept = <char *>take(memory, &at, K * n * item)
    s.moved = <uint8_t *>take(memory, &at, K)
    s.means = <double *>take(memory, &at, K * n * sizeof(double))
    s.norms = <double *>take(memory, &at, K * sizeof(double))
    s.other_squared = <double *>take(memory, &at, MOVE_BLOCK * sizeof(double))
    s.draw = <double *>take(memory, &at, K * sizeof(double))
    s.pair_row = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    s.pair_k = <int32_t *>take(memory, &at, K * sizeof(int32_t))
    s.between = <char *>take(memory, &at, K * item)
    local_layout(&s.local, s.points, K, memory, &at)
    return at


cdef SwapSearch *swaps_open(const Fit *f) noexcept nogil:
    """NULL: no memory."""
    cdef SwapSearch draft
    cdef char *memory
    memset(&draft, 0, sizeof(draft))
    draft.factory, draft.points = f.options.swap_factory, f.seeding.rows
    draft.clusters.n_near = min(MOVE_NEAR, f.options.K - 1)
    memory = <char *>allocate(swaps_layout(&draft, f.options.K, NULL))
    if memory == NULL:
        return NULL
    swaps_layout(&draft, f.options.K, memory)
    draft.items = draft.points[0]
    if summarise(&draft, f):
        release(memory)
        return NULL
    memcpy(memory, &draft, sizeof(SwapSearch))
    return <SwapSearch *>memory


cdef int summarise(SwapSearch *s, const Fit *f) noexcept nogil:
    """Take nodes of the engine's index as items, where there are so many points. Nonzero: no memory."""
    cdef int64_t n = s.points.n, m = s.points.m, count, i
    cdef int64_t most = f.rows.m // (f.options.K * ITEMS_PER_CLUSTER)
    cdef int item = s.points.kernels.itemsize
    cdef double *means
    cdef double *weights
    cdef char *values
    if n > SUMMARY_FEATURES or f.problem.index == NULL or f.factory.summarise == NULL or most < LEAF:
        return 0
    count = f.factory.summarise(f.problem.index, most, NULL, NULL)
    if count >= m // 2:
        return 0
    s.summary = <char *>allocate(count * (n + 1) * sizeof(double) + 64)
    means = <double *>allocate(count * n * sizeof(double))
    if s.summary == NULL or means == NULL:
        release(s.summary)
        release(means)
        return 1
    weights = <double *>s.summary
    values = s.summary + count * sizeof(double)
    f.factory.summarise(f.problem.index, most, means, weights)
    s.items.total_weight = 0
    for i in range(count):
        s.items.total_weight += weights[i]
    for i in range(count * n):
        put(values, i, item, means[i])
    release(means)
    rows_of_values(&s.items, values, weights, count)
    return 0


# ---- items by clusters -----------------------------------------------------------------------

cdef int sort_items(Fit *f, const Rows *rows, Poll *p) noexcept nogil:
    """Find the clusters of the items, or of the points, for the present centroids. Nonzero: no memory, or stopped."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t k, i
    s.clusters.rows = rows
    local.rows, local.K = rows[0], f.run.K
    memcpy(local.centroids, f.run.centroids, f.run.K * f.rows.n * f.rows.kernels.itemsize)
    find_shift(f.rows.kernels.itemsize, f.run.K, f.rows.n, f.run.centroids, local.shift)
    if open_local(f, p):
        return 1
    local.step.assign = rows != f.rows
    if rows == f.rows:
        store_row_labels(f.engine, f.run.labels, f.rows.m, local.labels)
    local.step.squared = s.clusters.squared
    if step_local(f, p):
        return 1
    memcpy(s.clusters.labels, local.labels, rows.m * sizeof(int32_t))
    close_local(local)
    memset(s.clusters.first, 0, (f.run.K + 1) * sizeof(int64_t))
    for i in range(rows.m):
        s.clusters.first[s.clusters.labels[i] + 1] += 1
    for k in range(f.run.K):
        s.clusters.first[k + 1] += s.clusters.first[k]
    for i in range(rows.m):
        s.clusters.members[s.clusters.first[s.clusters.labels[i]]] = i
        s.clusters.first[s.clusters.labels[i]] += 1
    for k in range(f.run.K, 0, -1):
        s.clusters.first[k] = s.clusters.first[k - 1]
    s.clusters.first[0] = 0
    measure_clusters(f)
    return 0


cdef void measure_clusters(Fit *f) noexcept nogil:
    """Add up each cluster's weight and error."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t k, j, i
    cdef double weight
    for k in range(f.run.K):
        s.clusters.weights[k] = s.clusters.errors[k] = 0
        for j in range(s.clusters.first[k], s.clusters.first[k + 1]):
            i = s.clusters.members[j]
            weight = item_weight(s.clusters.rows, i)
            s.clusters.weights[k] += weight
            s.clusters.errors[k] += weight * s.clusters.squared[i]


cdef int find_neighbours(Fit *f, Poll *p) noexcept nogil:
    """List the nearest other centroids of each. Nonzero: stopped."""
    cdef SwapSearch *s = f.swaps
    cdef int64_t K = f.run.K, k, j
    for k in range(K):
        for j in range(K):
            s.pair_row[j] = <int32_t>k
            s.pair_k[j] = <int32_t>j
        f.rows.kernels.pair_distances(f.run.centroids, f.rows.n, f.rows.n, f.run.centroids, s.pair_row, s.pair_k, K,
                                      s.between)
        find_nearest(s, K, k, f.rows.kernels.itemsize)
        if poll(p):
            return 1
    return 0


cdef void find_nearest(SwapSearch *s, int64_t K, int64_t k, int item) noexcept nogil:
    """List the nearest other centroids of centroid k, from its distances to all; -1 where there are no more."""
    cdef int32_t *near = s.clusters.near + k * s.clusters.n_near
    cdef int64_t j, at, count = 0
    for at in range(s.clusters.n_near):
        near[at] = -1
    for j in range(K):
        if j == k:
            continue
        at = count
        while at > 0 and get(s.between, near[at - 1], item) > get(s.between, j, item):
            if at < s.clusters.n_near:
                near[at] = near[at - 1]
            at -= 1
        if at < s.clusters.n_near:
            near[at] = <int32_t>j
            count = min(count + 1, s.clusters.n_near)


cdef void take_near(Fit *f, int64_t k, int64_t most) noexcept nogil:
    """Make the centroids near centroid k those of the local problem."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, j
    local.K = 0
    for j in range(min(most, s.clusters.n_near)):
        if s.clusters.near[k * s.clusters.n_near + j] >= 0:
            local.clusters[local.K] = s.clusters.near[k * s.clusters.n_near + j]
            memcpy(local.centroids + local.K * size, f.run.centroids + local.clusters[local.K] * size, size)
            local.K += 1


cdef int find_utilities(Fit *f, Poll *p) noexcept nogil:
    """Find what the error rises by without each centroid, once its items are those of centroids near it, and these at
    their means. Nonzero: no memory, or stopped."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    cdef int64_t k, j
    for k in range(f.run.K):
        s.clusters.utilities[k] = 0
        if s.clusters.first[k] == s.clusters.first[k + 1]:
            continue
        local.clusters[0], local.K = <int32_t>k, 1
        if copy_clusters(s, p):
            return 1
        take_near(f, k, NEAR)
        if open_local(f, p) or step_local(f, p):
            return 1
        close_local(local)
        s.clusters.utilities[k] = local.step.sums.square - s.clusters.errors[k]
        for j in range(local.K):
            s.clusters.utilities[k] -= fall_to_mean(f, j, s.clusters.weights[local.clusters[j]])
    return 0
