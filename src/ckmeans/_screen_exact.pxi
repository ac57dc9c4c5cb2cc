"""Decide between the pairs that bounds leave: by distances in full, and the dense kernel where these do not tell."""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from ckmeans._engine cimport Block, PartialSum, Step, update_labels
from ckmeans._points cimport Rows, n_tiles
from ckmeans._runtime cimport CODE_TILE, panel
from ckmeans._values cimport get, put

cdef enum:
    SUBSET = 32              # centroids that are packed together for exact scoring: a few groups of the kernel

# Scratch memory of the kernels that pack and assign.
cdef struct KernelWorkspace:
    void *rows               # (tile, n) rows that do not lie in place
    void *packed             # a piece of the block, all features
    void *scores
    void *ids
    void *partial
    void *best               # (tile,) lowest scores
    void *centroids          # (SUBSET, n)
    panel subset             # those, packed


# ---- fallback: exact scoring -----------------------------------------------------------------

cdef bint is_consecutive(const TileWorkspace *tile) noexcept nogil:
    cdef int64_t p
    for p in range(tile.count):
        if tile.row[p] != tile.row[0] + p:
            return False
    return True


cdef Block tile_rows(const Screen *e, Workspace *work, const Block *block) noexcept nogil:
    """Return a tile's rows as a block of their own, in place or copied."""
    cdef const TileWorkspace *tile = &work.tile
    cdef int64_t p, n = e.sweep.rows.n, item = e.sweep.rows.kernels.itemsize, size = block.stride * item
    if is_consecutive(tile):
        return Block(<const char *>block.rows + tile.row[0] * size, block.stride, 0, tile.count)
    for p in range(tile.count):
        memcpy(<char *>work.kernel.rows + p * n * item, <const char *>block.rows + tile.row[p] * size, n * item)
    return Block(work.kernel.rows, n, 0, tile.count)


cdef void assign_subset(const Screen *e, const Step *s, Workspace *work, const int32_t *k,
                        int64_t count) noexcept nogil:
    """Let the dense kernel compare at most SUBSET centroids with the packed tile's winners so far."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *kernel = &work.kernel
    cdef int64_t size = X.n * X.kernels.itemsize, i, p
    cdef int item = X.kernels.itemsize
    cdef int32_t id
    for i in range(count):
        memcpy(<char *>kernel.centroids + i * size, <const char *>s.centroids + k[i] * size, size)
    kernel.subset.K = count
    X.kernels.pack_centroids(kernel.centroids, e.centroids.shift, &kernel.subset)
    X.kernels.assign(kernel.packed, n_tiles(X, work.tile.count), &kernel.subset, kernel.scores, kernel.ids,
                     kernel.partial)
    for p in range(work.tile.count):
        if get(kernel.scores, p, item) < get(kernel.best, p, item):
            id = <int32_t>((<uint32_t *>kernel.ids)[p] if item == 4 else (<uint64_t *>kernel.ids)[p])
            put(kernel.best, p, item, get(kernel.scores, p, item))
            work.winner[p] = k[id]


cdef void assign_exactly(Screen *e, const Step *s, PartialSum *part, Workspace *work, const Block *block,
                         const int32_t *k, int64_t n_candidates) noexcept nogil:
    """Find a tile's winners among some centroids (rising) by the dense kernel, which gives no bounds."""
    cdef const Rows *X = e.sweep.rows
    cdef KernelWorkspace *kernel = &work.kernel
    cdef const TileWorkspace *tile = &work.tile
    cdef int64_t p, done = 0
    cdef Block rows = tile_rows(e, work, block)
    X.kernels.pack(rows.rows, rows.stride, rows.count, X.n, e.centroids.shift, kernel.packed)
    part.n_distances += tile.count * n_candidates
    for p in range(tile.count):
        forget_bounds(&e.hamerly, block.first + tile.row[p], 1)
    if n_candidates == s.K and e.centroids.full_packed:
        X.kernels.assign(kernel.packed, n_tiles(X, tile.count), &e.centroids.full, kernel.scores, kernel.ids,
                         kernel.partial)
        update_labels(kernel.ids, X.kernels.itemsize, tile.count, work.winner)
        return
    for p in range(tile.count):
        put(kernel.best, p, X.kernels.itemsize, INFINITY)
        work.winner[p] = 0
    while done < n_candidates:
        assign_subset(e, s, work, k + done, min(<int64_t>SUBSET, n_candidates - done))
        done += SUBSET


# ---- interval elimination among the pairs that are left ----------------------------------------

# What is known of a point's scores, as squared distances: bounds on that of the centroid with the lowest upper bound,
# and a lower bound on those of all others.
cdef struct Interval:
    double norm              # |y|
    int32_t winner
    double lower
    double upper
    double others


cdef inline double interval_error(const Screen *e, int32_t k, double square, double norm) noexcept nogil:
    """Bound how far a computed squared distance is from what the dense score stands for."""
    cdef const ScoreError *error = &e.centroids.errors[k]
    return square * e.distance_error + error.constant + error.slope * norm


cdef inline void update_interval(const Screen *e, Interval *point, int32_t k, double square) noexcept nogil:
    """Take centroid k into account."""
    cdef double error = interval_error(e, k, square, point.norm)
    cdef double lower = square - error, upper = square + error
    if upper < point.upper:
        point.others = min(point.others, point.lower)
        point.winner, point.lower, point.upper = k, lower, upper
    else:
        point.others = min(point.others, lower)


cdef bint add_candidate(int32_t *candidates, int64_t *count, int32_t k) noexcept nogil:
    """Add a centroid to a rising list of at most SUBSET, each once; False: it is full."""
    cdef int64_t j = count[0]
    while j > 0 and candidates[j - 1] > k:
        j -= 1
    if j > 0 and candidates[j - 1] == k:
        return True
    if count[0] == SUBSET:
        return False
    memmove(candidates + j + 1, candidates + j, (count[0] - j) * sizeof(int32_t))
    candidates[j] = k
    count[0] += 1
    return True


cdef int64_t list_candidates(const Screen *e, const Workspace *work, uint32_t points, const Interval *intervals,
                             int32_t *candidates) noexcept nogil:
    """List the centroids that may win one of these points, rising; returns how many, -1: all or too many."""
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p, count = 0
    cdef double square
    for p in range(work.tile.count):
        if intervals[p].upper == INFINITY:  # no pair: its scores leave float32
            return -1
    for i in range(pairs.count):
        p = pairs.point[i]
        square = get(pairs.squared, i, item)
        square -= interval_error(e, pairs.k[i], square, intervals[p].norm)
        if (points >> p & 1 and not square > intervals[p].upper
                and not add_candidate(candidates, &count, pairs.k[i])):
            return -1
    return count


cdef uint32_t decide_intervals(const Screen *e, Workspace *work, int64_t first, Interval *intervals) noexcept nogil:
    """Find the winners by their distances; returns the points for which those do not decide, one bit each."""
    cdef const PairList *pairs = &work.pairs
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t i, p
    cdef uint32_t undecided = 0
    for p in range(work.tile.count):
        intervals[p].norm = norm_of(e, first + work.tile.row[p]) * (1 + e.codes.margins.rounding)
        intervals[p].upper = intervals[p].others = intervals[p].lower = INFINITY
        intervals[p].winner = 0
    for i in range(pairs.count):
        update_interval(e, &intervals[pairs.point[i]], pairs.k[i], get(pairs.squared, i, item))
    for p in range(work.tile.count):
        work.winner[p] = intervals[p].winner
        if not intervals[p].others > intervals[p].upper:
            undecided |= <uint32_t>1 << p
    return undecided


cdef void assign_by_intervals(Screen *e, const Step *s, PartialSum *part, Workspace *work,
                              const Block *block) noexcept nogil:
    """Find a tile's winners among the pairs that are left."""
    cdef const Rows *X = e.sweep.rows
    cdef const TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef Interval intervals[32]
    cdef int32_t candidates[SUBSET]
    cdef int64_t p, row, count
    cdef uint32_t undecided
    X.kernels.pair_distances(block.rows, block.stride, X.n, s.centroids, pairs.row, pairs.k, pairs.count, pairs.squared)
    part.n_distances += pairs.count
    undecided = decide_intervals(e, work, block.first, intervals)
    if undecided:
        count = list_candidates(e, work, undecided, intervals, candidates)
        if count < 0:
            assign_exactly(e, s, part, work, block, e.all_k, s.K)
        else:
            assign_exactly(e, s, part, work, block, candidates, count)
    for p in range(tile.count):
        if not undecided >> p & 1:
            row = block.first + tile.row[p]
            work.winner[p] = intervals[p].winner
            store_bounds(&e.hamerly, e, row, sqrt(intervals[p].upper),
                         min(sqrt(max(intervals[p].others, 0)), distance_above(e, row, tile.lowest[p])))
