"""Bounds of each point's distances, carried from step to step.

What is known of a point goes from step to step (G. Hamerly, "Making k-means even faster", SDM 2010):
`high`, at least the distance to its centroid, which rises by how far that one moves, and `low`, at most the
distance to any other. Centroids that moved far are active: every point is screened against them. The others
take from `low` only the largest of their moves. Where low^2 - high^2 is still above 2 E, and no active
centroid's bound reaches `high`, the label stays and the point's features are not even read.
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memmove

from ckmeans._points cimport Rows
from ckmeans._runtime cimport lowest_bit

cdef enum:
    TRIED_ACTIVE = 6

cdef int64_t ASKED = 1024          # points that are asked how many centroids to call active


cdef inline double grain(const Screen *e, int64_t i) noexcept nogil:
    """The unit of what is known of row i: its numbers go up to four times |y|."""
    return sqrt(get(e.norms, i, e.sweep.rows.kernels.itemsize)) * 2.0 ** -14


cdef inline void keep(Screen *e, int64_t i, double high, double low) noexcept nogil:
    """Note how far row i is from its centroid at most, and from all others at least."""
    cdef double unit = grain(e, i), grains = high * (1 + e.margins.store) / unit
    if grains < 65535:
        e.high[i] = <uint16_t>(<int64_t>grains + 1)
        e.low[i] = <uint16_t>min(low * (1 - e.margins.store) / unit, 65535)
    else:
        e.low[i] = 0


cdef inline double square_of_least(const Screen *e, const Workspace *work, int64_t p) noexcept nogil:
    """At most the squared distance of point p to any centroid whose score was above its bound."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square = get(work.norms, p, item), score = get(work.least, p, item)
    if score == INFINITY:
        return score
    return score + square - e.margins.store * (fabs(score) + 2 * square)


cdef inline void learn(Screen *e, const Workspace *work, int64_t i, int64_t p, double high, double others) noexcept nogil:
    """How far row i, point p of the tile, is from its centroid at most, and from all others at least: squared."""
    others = min(others, square_of_least(e, work, p))
    keep(e, i, sqrt(high), sqrt(others) if others > 0 else 0)


cdef int farther(const void *a, const void *b) noexcept nogil:
    """The order of moves: the farthest first."""
    cdef double one = (<const Move *>a).far, other = (<const Move *>b).far
    return (one < other) - (one > other)


cdef int64_t measure_moves(Screen *e, const Step *s, const void *before) noexcept nogil:
    cdef int64_t K = s.K, n = e.sweep.rows.n, moving = 0, k, l
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square, move
    for k in range(K):
        square = 0
        for l in range(k * n, (k + 1) * n):
            move = get(s.centroids, l, item) - get(before, l, item)
            square += move * move
        e.moved[k] = e.moves[k].far = sqrt(square) * (1 + n * 1e-15)
        e.moves[k].k = <int32_t>k
        moving += square > 0
    qsort(e.moves, K, sizeof(Move), farther)
    return moving


cdef void active_to_try(int64_t K, int64_t moving, int64_t *numbers) noexcept nogil:
    numbers[0], numbers[1], numbers[2] = moving, 0, K // 16
    numbers[3], numbers[4], numbers[5] = K // 8, K // 4, K // 2


cdef void remember(Screen *e, const Step *s) noexcept nogil:
    """Note the centroids, and from what is known of the last ones which are active."""
    cdef int64_t k
    e.doubt1 = e.doubt2 = 0
    for k in range(s.K):
        e.doubt1 = max(e.doubt1, e.dense1[k])
        e.doubt2 = max(e.doubt2, e.dense2[k] + 2 * e.margins.dense * e.far)
    e.bounds_valid = not s.labels_epoch == 0 and e.bounds_epoch == s.labels_epoch
    if e.bounds_valid:
        pack_active(e, choose_active(e, s, measure_moves(e, s, e.before)))
    memcpy(e.before, s.centroids, s.K * e.sweep.rows.n * e.sweep.rows.kernels.itemsize)
    e.bounds_epoch = s.epoch


cdef inline double slack(const Screen *e, int64_t i, int32_t label, double calm, double *high,
                         double *low) noexcept nogil:
    """How far row i is from another label, if centroids that moved farther than `calm` leave it be: positive
    where its label stays."""
    cdef double unit = grain(e, i), doubt = e.doubt1 + e.doubt2 * unit * 2.0 ** 14 * (1 + e.margins.store)
    high[0] = (e.high[i] * unit + e.moved[label]) * (1 + e.margins.store)
    low[0] = (e.low[i] * unit - calm) * (1 - e.margins.store)
    if not low[0] > high[0]:
        return -1
    return (low[0] - high[0]) * (low[0] + high[0]) - 2.001 * doubt - e.margins.least


cdef double price_of_active(const Screen *e, const Step *s, int64_t count) noexcept nogil:
    """What a step costs with so many active centroids, as a part of one with all: judged by a few points."""
    cdef int64_t m = e.sweep.rows.m, asked = min(m, ASKED), j, i, stay = 0
    cdef double high, low, calm = e.moves[count].far if count < s.K else 0
    for j in range(asked):
        i = j * m // asked
        stay += slack(e, i, s.labels[i], calm, &high, &low) > 0
    return 1 - <double>stay / asked * (1 - <double>count / s.K)


cdef int64_t choose_active(Screen *e, const Step *s, int64_t moving) noexcept nogil:
    """The number of active centroids with which the step is cheapest."""
    cdef int64_t best = s.K, i
    cdef int64_t[TRIED_ACTIVE] tried
    cdef double least = 1, price
    active_to_try(s.K, moving, tried)
    for i in range(TRIED_ACTIVE):
        price = price_of_active(e, s, tried[i])
        if price < least:
            least = price
            best = tried[i]
    return best


cdef int rising(const void *a, const void *b) noexcept nogil:
    return (<const int32_t *>a)[0] - (<const int32_t *>b)[0]


cdef void pack_active(Screen *e, int64_t count) noexcept nogil:
    """The panel of those centroids that moved farthest, in rising order."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t size = (e.d + 1) * X.kernels.itemsize, i, K = e.screened.K
    cdef int item = X.kernels.itemsize
    cdef int32_t k
    e.bounds_valid = count < K
    e.calm = e.moves[count].far if count < K else 0
    e.active.K = 0
    e.active.n = e.d + 1
    if not e.bounds_valid or count == 0:
        return
    # The scratch of all projections is in the order of k, so the active ones can be moved to its front.
    for i in range(count):
        e.active_k[i] = e.moves[i].k
    qsort(e.active_k, count, sizeof(int32_t), rising)
    for i in range(count):
        k = e.active_k[i]
        memmove(<char *>e.projected + i * size, <char *>e.projected + k * size, size)
    e.active.K = count
    X.kernels.pack_centroids(e.projected, e.zeros, &e.active)
    for i in range(count):
        put(e.active.norms, i, item, get(e.screened.norms, e.active_k[i], item))


cdef int64_t sort_out(Screen *e, const Step *s, Workspace *work, int64_t first, int64_t count,
                      int64_t *open_) noexcept nogil:
    """Part the rows of a chunk in those whose label may stay (returned: how many) and those that are open."""
    cdef int64_t i, waiting = 0
    cdef double high, low
    open_[0] = 0
    for i in range(count):
        if e.bounds_valid and slack(e, first + i, s.labels[first + i], e.calm, &high, &low) > 0:
            work.waiting[waiting] = <int32_t>i
            waiting += 1
        else:
            work.open[open_[0]] = <int32_t>i
            open_[0] += 1
    return waiting


cdef void watch_tile(Screen *e, const Step *s, Workspace *work, int64_t first, int64_t *open_) noexcept nogil:
    """Screen the tile's points against the active centroids; those that one reaches are open."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef int64_t p, i, hits
    cdef uint32_t reached = 0, points
    cdef double high[64]
    cdef double low[64]
    cdef double others
    for p in range(work.count):
        slack(e, first + work.at[p], work.label[p], e.calm, &high[p], &low[p])
        put(work.squared, p, item, high[p] * high[p] * (1 + e.margins.store))
    if e.active.K > 0:
        set_bounds(e, work)
        hits = X.kernels.screen(gather(e, work, first), &e.active, work.bounds, work.hits, work.least)
        for i in range(hits):
            points = work.hits[i].points
            while points:
                p = lowest_bit(points)
                points &= points - 1
                if work.label[p] != e.active_k[work.hits[i].k]:
                    reached |= <uint32_t>1 << p
    for p in range(work.count):
        if reached >> p & 1:
            work.open[open_[0]] = work.at[p]
            open_[0] += 1
            continue
        others = square_of_least(e, work, p) if e.active.K > 0 else INFINITY
        others = sqrt(others) if others > 0 else 0
        if e.calm == 0 and e.moved[work.label[p]] == 0 and others >= low[p]:
            continue  # every note costs a grain
        others = min(low[p], others)
        keep(e, first + work.at[p], high[p], others)
