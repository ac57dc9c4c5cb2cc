"""What screening would leave, estimated from the distances of a few points to the centroids."""
from libc.math cimport INFINITY, exp, fabs, log, sqrt
from libc.stdint cimport int32_t, int64_t

from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport CODE_MAX
from ckmeans._values cimport get

cdef double OPEN_SHARE = 0.3            # part of the points that a step after the first one leaves open, mostly

cdef enum:
    PROBE_STRIDE = 128       # points for one that is looked at, which then takes a small part of a step
    MIN_PROBED = 8
    MAX_PROBED = 64
    PROBED_CENTROIDS = 64    # whose lengths and errors are averaged

# What screening is expected to leave.
cdef struct Probe:
    double pairs             # pairs of an open point that are within reach of the closest,
    double open_share        # and the part of the points whose bounds will not show that their label stays


cdef double coding_error(const Screen *e, const void *values, double *length) noexcept nogil:
    """Estimate the norm of what the codes of a vector leave out, as of uniform roundings; OUT length: its norm."""
    cdef int64_t n = e.sweep.rows.n, l
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double largest = 0, square = 0, value
    for l in range(n):
        value = get(values, l, item) - get(e.centroids.shift, l, item)
        square += value * value
        largest = max(largest, fabs(value))
    length[0] = sqrt(square)
    return largest / CODE_MAX * sqrt(n / 12.0)


cdef void probe_centroids(Screen *e, const Step *s, double *length, double *error) noexcept nogil:
    """Average the lengths of some centroids, and what their codes leave out, by geometric means."""
    cdef int64_t count = min(s.K, <int64_t>PROBED_CENTROIDS), size = e.sweep.rows.n * e.sweep.rows.kernels.itemsize, i
    cdef double one
    length[0] = error[0] = 0
    for i in range(count):
        error[0] += log(coding_error(e, <const char *>s.centroids + i * s.K // count * size, &one)) / count
        length[0] += log(one) / count
    length[0], error[0] = exp(length[0]), exp(error[0])


cdef void probe_row(Screen *e, const Step *s, const void *row, double loss, Probe *probe) noexcept nogil:
    """Add what the distances of a row tell; of a score codes leave `loss` open."""
    cdef const Rows *X = e.sweep.rows
    cdef const Hamerly *h = &e.hamerly
    cdef PairList *pairs = &e.workspaces[0].pairs
    cdef int64_t count = min(s.K, pairs.capacity), own = 0, k
    cdef double closest = INFINITY, second = INFINITY, square
    for k in range(count):
        pairs.row[k], pairs.k[k] = 0, <int32_t>k
    X.kernels.pair_distances(row, X.n, X.n, s.centroids, pairs.row, pairs.k, count, pairs.squared)
    for k in range(count):
        square = get(pairs.squared, k, X.kernels.itemsize)
        if square < closest:
            closest, second, own = square, closest, k
        elif square < second:
            second = square
    for k in range(count):
        probe.pairs += get(pairs.squared, k, X.kernels.itemsize) <= closest + 2 * loss
    probe.open_share += sqrt(max(second - loss, 0)) - sqrt(closest) <= h.moved[own] + h.moves[s.K // 8].distance


cdef Probe probe_points(Screen *e, const Step *s) noexcept nogil:
    """Estimate what screening leaves in this step, and in later ones if no centroid has moved yet."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t count = min(max(X.m // PROBE_STRIDE, MIN_PROBED), MAX_PROBED), i, stride
    cdef double length, error, row_length, row_error
    cdef Probe probe = Probe(0, 0)
    cdef const void *row
    cdef bint moved = s.labels_epoch != 0 and s.previous != NULL
    if moved:
        measure_moves(&e.hamerly, X, s)
    probe_centroids(e, s, &length, &error)
    for i in range(count):
        row = read_rows(X, i * X.m // count, 1, e.workspaces[0].kernel.rows, &stride)
        row_error = coding_error(e, row, &row_length)
        probe_row(e, s, row, 2 * (row_length * error + row_error * length), &probe)
    return Probe(probe.pairs / count, probe.open_share / count if moved else OPEN_SHARE)
