"""Empty clusters: dropped, or put on points."""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memmove

from ckmeans._engine cimport store_row_labels
from ckmeans._points cimport fetch_row
from ckmeans._random cimport next_below
from ckmeans._runtime cimport Poll, allocate, poll, release, wide_stride
from ckmeans._values cimport get, squared_norms

cdef int64_t POLL_ROWS = 512           # rows between two polls for signals
cdef int RANDOM_DRAWS = 64             # after which all rows are scanned: few are off their centroid
cdef double ROUNDING_WEIGHT = 1e-9     # part of a cluster's weight that is no more than rounding


cdef int64_t first_empty(const Fit *f) noexcept nogil:
    """The first cluster whose points weigh 0 and that is not frozen; -1: there is none."""
    cdef int64_t k
    for k in range(f.run.K):
        if lacks_points(f, k):
            return k
    return -1


cdef void drop_empty(Fit *f) noexcept nogil:
    """Remove the empty clusters; the others keep their order."""
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, k, kept = 0, i, K = f.run.K
    for k in range(K):
        f.empty.new_label[k] = -1
        if not lacks_points(f, k):
            memmove(f.run.centroids + kept * size, f.run.centroids + k * size, size)
            f.frozen.present[kept] = f.frozen.present[k]
            f.empty.new_label[k] = <int32_t>kept
            kept += 1
    f.run.K = kept
    for i in range(f.engine.n_labels):
        if f.run.labels[i] >= 0:  # an engine may keep marks among its labels
            f.run.labels[i] = max(f.empty.new_label[f.run.labels[i]], 0)
    f.epoch += 1
    f.step.labels_epoch = f.epoch
    f.step.previous = NULL


# ---- points for empty clusters ---------------------------------------------------------------

cdef double distance_to_assigned(const Fit *f, int64_t row, void *values, Poll *p) noexcept nogil:
    """The squared distance of a row to its centroid; `values` holds n + 8 values."""
    cdef double squared
    cdef int64_t k = f.empty.row_labels[row]
    if f.rows.source.indptr != NULL:
        return f.rows.kernels.sparse.squared_distance(
            &f.rows.source, row, f.step.wide + k * wide_stride(f.rows.n), f.empty.norms[k])
    fetch_row(f.rows, row, values, p)
    f.rows.kernels.distances(values, f.rows.n, 1, f.rows.n, f.empty.row_labels + row, f.previous, &squared)
    return squared


cdef bint is_reseed_candidate(const Fit *f, int64_t row, void *values, Poll *p) noexcept nogil:
    return ((f.rows.weights == NULL or f.rows.weights[row] > 0)
            and distance_to_assigned(f, row, values, p) > 0)


cdef int64_t random_row(Fit *f, void *values, Poll *p) noexcept nogil:
    """A random row that is not on its centroid; -1: there is none."""
    cdef int64_t row, i, _
    for _ in range(RANDOM_DRAWS):
        row = draw_row(f.rows, &f.random)
        if is_reseed_candidate(f, row, values, p):
            return row
    row = next_below(&f.random, f.rows.m)
    for i in range(f.rows.m):
        if is_reseed_candidate(f, row, values, p):
            return row
        if i % POLL_ROWS == 0 and poll(p):
            return -1
        row = row + 1 if row + 1 < f.rows.m else 0
    return -1


cdef void insert_farthest(EmptyWorkspace *e, int64_t row, double squared, int64_t *found,
                          int64_t wanted) noexcept nogil:
    """Insert a row into the farthest ones; of equally far ones the first come first."""
    cdef int64_t j = found[0]
    if j == wanted:
        if squared <= e.farthest_squared[j - 1]:
            return
        j -= 1
    else:
        found[0] += 1
    while j > 0 and e.farthest_squared[j - 1] < squared:
        e.farthest_squared[j] = e.farthest_squared[j - 1]
        e.farthest[j] = e.farthest[j - 1]
        j -= 1
    e.farthest_squared[j] = squared
    e.farthest[j] = row


cdef int64_t find_farthest(Fit *f, int64_t wanted, void *values, Poll *p) noexcept nogil:
    """Find the rows farthest from their centroids; returns how many there are."""
    cdef int64_t row, found = 0
    cdef double squared
    for row in range(f.rows.m):
        if row % POLL_ROWS == 0 and poll(p):
            break
        if f.rows.weights != NULL and f.rows.weights[row] == 0:
            continue
        squared = distance_to_assigned(f, row, values, p)
        if squared > 0:
            insert_farthest(&f.empty, row, squared, &found, wanted)
    return found


cdef void remove_from_sums(Fit *f, int64_t row, const char *values) noexcept nogil:
    """Take a row out of the mean of its cluster, unless only rounding would be left of it."""
    cdef int64_t n = f.rows.n, k = f.empty.row_labels[row], start = k * wide_stride(n), l
    cdef int item = f.rows.kernels.itemsize
    cdef double *total = &f.step.sums.weights[k]
    cdef double weight = 1 if f.rows.weights == NULL else f.rows.weights[row], value
    if total[0] - weight <= ROUNDING_WEIGHT * total[0]:
        return
    total[0] -= weight
    for l in range(n):
        value = get(values, l, item)
        f.step.sums.offsets[start + l] -= weight * (
            value if f.step.sums.uncentred else value - get(f.previous, k * n + l, item))


cdef int64_t find_candidates(Fit *f, void *values, Poll *p) noexcept nogil:
    """What the policy needs: the labels of the rows, and the farthest of them (returned: how many)."""
    cdef int64_t k, n_empty = 0, stride = wide_stride(f.rows.n)
    store_row_labels(f.engine, f.run.labels, f.rows.m, f.empty.row_labels)
    for k in range(f.run.K):
        if f.rows.source.indptr != NULL:
            squared_norms(f.step.wide + k * stride, stride, f.rows.n, 1, f.empty.norms + k)
        n_empty += lacks_points(f, k)
    return find_farthest(f, n_empty, values, p) if f.options.empty == FARTHEST else 0


cdef void refill_clusters(Fit *f, char *values, Poll *p) noexcept nogil:
    cdef int64_t size = f.rows.n * f.rows.kernels.itemsize, found = find_candidates(f, values, p), taken = 0, k, row
    # scikit-learn's way, as its rule of stopping is: the mean of the cluster that a point leaves is without it.
    cdef bint leaves_mean = f.options.empty == FARTHEST and f.options.shift_tol >= 0
    for k in range(f.run.K):
        if not lacks_points(f, k):
            continue
        if f.options.empty == REINIT:
            row = random_row(f, values, p)
        else:
            row = f.empty.farthest[taken] if taken < found else -1
            taken += 1
        if row < 0:
            continue
        fetch_row(f.rows, row, f.run.centroids + k * size, p)
        if leaves_mean:
            remove_from_sums(f, row, f.run.centroids + k * size)


cdef int refill_empty(Fit *f, Poll *p) noexcept nogil:
    """Put the empty clusters on points that lie off their centroids, before the means are taken. Nonzero: no memory."""
    cdef char *values = <char *>allocate(f.rows.n * f.rows.kernels.itemsize + 64)
    if f.empty.row_labels == NULL:
        f.empty.row_labels = <int32_t *>allocate(f.rows.m * sizeof(int32_t))
    if values == NULL or f.empty.row_labels == NULL:
        release(values)
        return 1
    refill_clusters(f, values, p)
    release(values)
    return 0
