"""Some clusters and their items as a problem of their own, whose steps an engine makes as of any other.

A swap concerns the cluster that it splits, the one that it removes, and the clusters next to them: their items are
copied, unless they are most of all items, and assigned among their centroids. Items of other clusters keep theirs, so
the error found is at least that of assigning all items anew.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Engine, Problem
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport ROW_PADDING, Poll, allocate, is_stopped, poll, release, source, wide_stride
from ckmeans._values cimport get, widen

cdef extern from "simd/source.h" nogil:
    int SOURCE_FLOAT32
    int SOURCE_FLOAT64


cdef inline bint may_move(const Fit *f, int64_t k) noexcept nogil:
    """Whether a search may move centroid k, or its points elsewhere: asked wherever it would."""
    return not is_frozen(f, k)


cdef inline bint local_moves(const Fit *f, int64_t j) noexcept nogil:
    """The same of local centroid j."""
    return f.swaps.local.clusters[j] < 0 or may_move(f, f.swaps.local.clusters[j])


cdef inline double item_weight(const Rows *rows, int64_t i) noexcept nogil:
    return 1 if rows.weights == NULL else rows.weights[i]


cdef void rows_of_values(Rows *rows, char *values, double *weights, int64_t count) noexcept nogil:
    """Make them `count` contiguous rows of the computing dtype, with memory behind the last one."""
    cdef int item = rows.kernels.itemsize
    rows.source.data = values
    rows.source.m = rows.m = rows.in_place = count
    rows.source.column_stride = item
    rows.source.row_stride = rows.n * item
    rows.source.dtype = SOURCE_FLOAT32 if item == 4 else SOURCE_FLOAT64
    rows.source.swapped = 0
    rows.stride = rows.n
    rows.value_bytes = item
    rows.stored = <double>count * rows.n
    rows.weights = weights
    rows.cumulative = NULL


cdef void local_layout(LocalProblem *local, const Rows *rows, int64_t K, char *memory, size_t *at) noexcept nogil:
    cdef int64_t n = rows.n, stride = wide_stride(n)
    cdef size_t item = rows.kernels.itemsize
    local.chosen = <uint8_t *>take(memory, at, K)
    K += 1  # one centroid more than there are clusters
    local.clusters = <int32_t *>take(memory, at, K * sizeof(int32_t))
    local.centroids = <char *>take(memory, at, (K * n + ROW_PADDING) * item)
    local.previous = <char *>take(memory, at, (K * n + ROW_PADDING) * item)
    local.packed.panel.n = n
    local.packed.panel.c = take(memory, at, K * n * item)
    local.packed.panel.norms = take(memory, at, K * item)
    local.packed.panel.ids = take(memory, at, K * item)
    local.packed.shift = local.shift = take(memory, at, n * item)
    local.step.wide = <double *>take(memory, at, K * stride * sizeof(double))
    local.step.sums.offsets = <double *>take(memory, at, K * stride * sizeof(double))
    local.step.sums.weights = <double *>take(memory, at, K * sizeof(double))
    local.step.sums.counts = <int64_t *>take(memory, at, K * sizeof(int64_t))


cdef void close_local(LocalProblem *local) noexcept nogil:
    if local.engine != NULL:
        local.engine.close(local.engine)
        local.engine = NULL


cdef int make_room(LocalProblem *local, const Rows *rows, int64_t count, int64_t stored) noexcept nogil:
    """Make room for copies of so many items, with so many stored values. Nonzero: no memory."""
    cdef bint sparse = rows.source.indptr != NULL
    cdef size_t index = 8 if rows.source.int64_indices else 4
    if count > local.capacity:
        release(local.weights)
        release(local.indptr)
        local.capacity = count + count // 4
        local.weights = <double *>allocate(local.capacity * sizeof(double))
        local.indptr = allocate((local.capacity + 1) * index if sparse else 0)
        if local.weights == NULL or local.indptr == NULL:
            return 1
    if stored > local.stored_capacity:
        release(local.values)
        release(local.indices)
        local.stored_capacity = stored + stored // 4
        local.values = <char *>allocate(local.stored_capacity * rows.kernels.itemsize + 64)
        local.indices = allocate(local.stored_capacity * index if sparse else 0)
        if local.values == NULL or local.indices == NULL:
            return 1
    return 0


cdef inline int64_t index_at(const void *indices, int int64_indices, int64_t i) noexcept nogil:
    return (<const int64_t *>indices)[i] if int64_indices else (<const int32_t *>indices)[i]


cdef int64_t stored_of(const Rows *rows, const int64_t *which, int64_t count) noexcept nogil:
    """How many values these items have."""
    cdef int64_t i, total = 0
    if rows.source.indptr == NULL:
        return count * rows.n
    for i in range(count):
        total += (index_at(rows.source.indptr, rows.source.int64_indices, which[i] + 1)
                  - index_at(rows.source.indptr, rows.source.int64_indices, which[i]))
    return total


cdef int64_t copy_items(LocalProblem *local, const Rows *rows, const int64_t *which, int64_t count, int64_t at,
                        int64_t stored) noexcept nogil:
    """Copy items to place `at` on, whose values begin at value `stored`; return where the next ones begin."""
    cdef int64_t row_bytes = rows.n * rows.kernels.itemsize, i, stride
    cdef const void *values
    for i in range(count):
        if rows.weights != NULL:
            local.weights[at + i] = rows.weights[which[i]]
        if rows.source.indptr != NULL:
            stored = copy_sparse(local, &rows.source, rows.kernels.itemsize, which[i], at + i, stored)
        else:
            values = read_rows(rows, which[i], 1, local.values + (at + i) * row_bytes, &stride)
            if values != local.values + (at + i) * row_bytes:
                memcpy(local.values + (at + i) * row_bytes, values, row_bytes)
    return stored


cdef int64_t copy_sparse(LocalProblem *local, const source *X, int item, int64_t row, int64_t at,
                         int64_t stored) noexcept nogil:
    cdef size_t index = 8 if X.int64_indices else 4
    cdef int64_t begin = index_at(X.indptr, X.int64_indices, row)
    cdef int64_t count = index_at(X.indptr, X.int64_indices, row + 1) - begin
    memcpy(local.values + stored * item, X.data + begin * item, count * item)
    memcpy(<char *>local.indices + stored * index, <const char *>X.indices + begin * index, count * index)
    if X.int64_indices:
        (<int64_t *>local.indptr)[at], (<int64_t *>local.indptr)[at + 1] = stored, stored + count
    else:
        (<int32_t *>local.indptr)[at] = <int32_t>stored
        (<int32_t *>local.indptr)[at + 1] = <int32_t>(stored + count)
    return stored + count


cdef void rows_of_copies(LocalProblem *local, const Rows *rows, int64_t count, int64_t stored) noexcept nogil:
    """See the copies as rows."""
    cdef Rows *own = &local.rows
    cdef int64_t i
    own[0] = rows[0]
    if rows.source.indptr == NULL:
        rows_of_values(own, local.values, local.weights, count)
    else:
        own.source.data = local.values
        own.source.indptr, own.source.indices = local.indptr, local.indices
        own.source.m = own.m = count
        own.stored = <double>stored
        own.weights = local.weights
    own.total_weight = count
    own.cumulative = NULL
    if rows.weights == NULL:
        own.weights = NULL
        return
    own.total_weight = 0
    for i in range(count):
        own.total_weight += local.weights[i]


cdef int copy_clusters(SwapSearch *s, Poll *p) noexcept nogil:
    """Make the items of the local clusters rows of their own. Nonzero: no memory, or stopped."""
    cdef LocalProblem *local = &s.local
    cdef const Rows *rows = s.clusters.rows
    cdef const int64_t *first = s.clusters.first
    cdef int64_t count = 0, stored = 0, at = 0, place = 0, j, k
    for j in range(local.K):
        k = local.clusters[j]
        count += first[k + 1] - first[k]
        stored += stored_of(rows, s.clusters.members + first[k], first[k + 1] - first[k])
    if make_room(local, rows, count, stored):
        return 1
    for j in range(local.K):
        k = local.clusters[j]
        place = copy_items(local, rows, s.clusters.members + first[k], first[k + 1] - first[k], at, place)
        at += first[k + 1] - first[k]
        if poll(p):
            return 1
    rows_of_copies(local, rows, count, stored)
    return 0


# ---- steps -----------------------------------------------------------------------------------

cdef int open_local(Fit *f, Poll *p) noexcept nogil:
    """Open an engine for the local rows, with labels that mean nothing yet. Nonzero: no memory."""
    cdef SwapSearch *s = f.swaps
    cdef LocalProblem *local = &s.local
    close_local(local)
    local.problem = Problem(&local.rows, NULL, f.problem.n_threads, local.K, 1, 1, False, NULL)
    local.engine = s.factory.open(&local.problem, local.K)
    if local.engine == NULL:
        return 1
    if local.engine.n_labels > local.labels_capacity:
        release(local.labels)
        local.labels_capacity = local.engine.n_labels
        local.labels = <int32_t *>allocate(local.labels_capacity * sizeof(int32_t))
        if local.labels == NULL:
            local.labels_capacity = 0
            return 1
    memset(local.labels, 0, local.engine.n_labels * sizeof(int32_t))
    local.step.assign = local.step.sum = True
    local.step.squared = NULL
    local.step.labels_epoch = local.step.epoch = 0
    local.step.previous = NULL
    return 0


cdef int step_local(Fit *f, Poll *p) noexcept nogil:
    """Nonzero: no memory, or stopped."""
    cdef LocalProblem *local = &f.swaps.local
    cdef Step *step = &local.step
    if f.swaps.factory.wide:
        widen(local.centroids, local.K, f.rows.n, f.rows.kernels.itemsize, step.wide, wide_stride(f.rows.n))
    if local.rows.source.indptr == NULL:
        local.packed.panel.K = local.K
        f.rows.kernels.pack_centroids(local.centroids, local.shift, &local.packed.panel)
        step.packed = &local.packed
    step.K, step.centroids, step.labels = local.K, local.centroids, local.labels
    step.steps_left = 1
    step.full_sums = step.squared != NULL
    step.epoch += 1
    if local.engine.step(local.engine, step, p) or is_stopped(p):
        return 1
    step.labels_epoch = step.epoch
    step.previous = local.centroids
    f.stats.n_distances += step.n_distances
    f.stats.n_pairs += step.n_distances
    return 0


cdef void update_local(Fit *f) noexcept nogil:
    """Move the local centroids to their means; frozen ones stay."""
    cdef LocalProblem *local = &f.swaps.local
    cdef int64_t n = f.rows.n, size = n * f.rows.kernels.itemsize, j
    memcpy(local.previous, local.centroids, local.K * n * f.rows.kernels.itemsize)
    local.step.previous = local.previous
    move_to_means(&local.step.sums, local.K, n, f.rows.kernels.itemsize, local.previous, local.centroids)
    for j in range(local.K):
        if not local_moves(f, j):
            memcpy(local.centroids + j * size, local.previous + j * size, size)


cdef double fall_to_mean(const Fit *f, int64_t k, double more_weight) noexcept nogil:
    """By how much the error falls when local centroid k moves to the mean of its items, and of others of so much
    weight whose mean it is."""
    cdef const LocalProblem *local = &f.swaps.local
    cdef int item = local.rows.kernels.itemsize
    cdef double weight = local.step.sums.weights[k], norm = 0, v
    cdef int64_t n = f.rows.n, l
    if weight == 0 or not local_moves(f, k):
        return 0
    for l in range(n):
        v = mean_of(&local.step.sums, k, l, local.centroids, n, item) - get(local.centroids, k * n + l, item)
        norm += v * v
    return weight * norm * (weight / (weight + more_weight))
