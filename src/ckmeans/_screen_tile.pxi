"""Screen a tile of points: list the pairs that may be the closest, by bounds on their scores.

With leading directions in use, their codes leave some pairs, which the codes of all features bound one by one; without,
the codes of all features bound every pair of the tile.
"""
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._codes cimport Bounds, CodedCentroids, load_stats, load_tile, loss, pair_bounds, rows_from, words_of
from ckmeans._engine cimport Block, PartialSum, Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport (
    CODE_GROUP_MAX, CODE_TILE, code_panel, code_rows, code_tile, hit, kernels_of_codes, lowest_bit,
)

cdef float LARGE = 3e38               # a bound that no score reaches
cdef int64_t SLACK_PAIRS = 6            # pairs of a point up to which those beyond its bound are worth their distances

# The tile at hand: up to CODE_TILE rows of a block.
cdef struct TileWorkspace:
    int64_t count
    int32_t *row             # which rows of the block they are
    int32_t *label           # their present centroids
    code_tile codes
    hit *hits                # (K,) centroids that may win some of the points,
    float *scores            # and their scores
    float *lowest            # (tile,) lower bounds on the scores of the centroids that cannot win

# Pairs of a tile that are looked at one by one.
cdef struct PairList:
    int64_t capacity
    int64_t count
    int32_t *point           # a point of the tile,
    int32_t *row             # its row of the block,
    int32_t *k               # a centroid,
    int32_t *product         # the product of their codes,
    double *lower            # a lower bound on their score,
    void *squared            # and their squared distance


cdef void tile_layout(TileWorkspace *tile, const Rows *X, int64_t K, char *memory, size_t *at) noexcept nogil:
    cdef int64_t places = K + CODE_GROUP_MAX
    tile.row = <int32_t *>take(memory, at, CODE_TILE * sizeof(int32_t))
    tile.label = <int32_t *>take(memory, at, CODE_TILE * sizeof(int32_t))
    tile.codes.words = <int32_t *>take(memory, at, words_of(X.n) * CODE_TILE * sizeof(int32_t))
    tile.hits = <hit *>take(memory, at, places * sizeof(hit))
    tile.scores = <float *>take(memory, at, places * CODE_TILE * sizeof(float))
    tile.lowest = <float *>take(memory, at, CODE_TILE * sizeof(float))


# ---- scores and distances --------------------------------------------------------------------

cdef inline const CodedCentroids *cheapest_centroids(const Screen *e) noexcept nogil:
    """Return the centroids on which points are screened first."""
    return &e.leading.centroids if e.leading.in_use else &e.centroids.coded


cdef inline const code_rows *points_of_cheapest(const Screen *e) noexcept nogil:
    return &e.leading.points if e.leading.in_use else &e.codes.points


cdef inline double distance_above(const Screen *e, int64_t i, double score) noexcept nogil:
    """Bound from below the distance of point i that a score stands for."""
    cdef double square = e.codes.points.squares[i]
    if score == INFINITY:
        return score
    score /= e.codes.factor * e.codes.factor
    score += square - e.codes.margins.rounding * (fabs(score) + 2 * square)
    return sqrt(score) if score > 0 else 0


# ---- screening a tile --------------------------------------------------------------------------

cdef void fill_tile(const Screen *e, TileWorkspace *tile, const int32_t *rows, int64_t count, int64_t first,
                    const int32_t *labels) noexcept nogil:
    """Make a tile of at most so many rows of the block that starts with row `first`."""
    cdef int64_t p
    tile.count = min(count, <int64_t>CODE_TILE)
    for p in range(tile.count):
        tile.row[p] = rows[p]
        tile.label[p] = labels[first + rows[p]]


cdef void bound_by_labels(const Screen *e, Workspace *work, const code_rows *points) noexcept nogil:
    """Bound the lowest score of each point by that of its present centroid."""
    cdef TileWorkspace *tile = &work.tile
    cdef const CodedCentroids *c = &e.centroids.coded
    cdef int64_t p
    kernels_of_codes().products(points, &c.rows, c.sums, e.codes.words, tile.row, tile.label, tile.count,
                                work.pairs.product)
    for p in range(tile.count):
        tile.codes.bound[p] = round_up(
            pair_bounds(points, tile.row[p], &c.panel, tile.label[p], work.pairs.product[p]).upper)


cdef void estimate_labels(const Screen *e, Workspace *work) noexcept nogil:
    """Label a tile's points by the scores on leading directions alone, without the losses; its stats are lost."""
    cdef TileWorkspace *tile = &work.tile
    cdef int64_t i, p
    cdef uint32_t points
    memset(tile.codes.length, 0, sizeof(tile.codes.length))
    memset(tile.codes.error, 0, sizeof(tile.codes.error))
    memset(tile.codes.residual, 0, sizeof(tile.codes.residual))
    for p in range(tile.count):
        tile.codes.bound[p] = LARGE
    # Each hit was the lowest so far, so the last one of a point is the lowest of all.
    for i in range(kernels_of_codes().screen(&tile.codes, &e.leading.centroids.panel, tile.hits, tile.scores)):
        points = tile.hits[i].points
        while points:
            tile.label[lowest_bit(points)] = tile.hits[i].k
            points &= points - 1


cdef inline float round_up(double value) noexcept nogil:
    return <float>(value + fabs(value) * 2.0 ** -23)


cdef inline bint is_within(TileWorkspace *tile, int64_t p, double lower) noexcept nogil:
    """Tell whether a lower bound on a score of point p is within its bound; else it is noted."""
    if lower > <double>tile.codes.bound[p] + tile.codes.slack[p]:
        tile.lowest[p] = min(tile.lowest[p], <float>(lower - fabs(lower) * 2.0 ** -23))
        return False
    return True


cdef bint list_hits(Workspace *work, const code_panel *panel, int64_t n_hits, PartialSum *part) noexcept nogil:
    """List the pairs of the hits that are within the final bounds; False: they are too many."""
    cdef TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef int64_t i, p
    cdef uint32_t points, all_points = <uint32_t>((<uint64_t>1 << tile.count) - 1)
    pairs.count = 0
    for i in range(n_hits):
        points = tile.hits[i].points & all_points  # a NaN makes a hit of places without a point
        if pairs.count + tile.count > work.pairs.capacity:
            return False
        while points:
            p = lowest_bit(points)
            points &= points - 1
            part.n_pairs += 1
            pairs.point[pairs.count] = <int32_t>p
            pairs.row[pairs.count] = tile.row[p]
            pairs.k[pairs.count] = tile.hits[i].k
            # Else the next pair takes this place.
            pairs.count += is_within(
                tile, p, tile.scores[i * CODE_TILE + p] - loss(&tile.codes, p, panel, tile.hits[i].k))
    return True


cdef void bound_pairs(const Screen *e, Workspace *work, const code_rows *points) noexcept nogil:
    """Bound the scores of the pairs by the codes of all features, and keep those within the bounds that this gives."""
    cdef TileWorkspace *tile = &work.tile
    cdef PairList *pairs = &work.pairs
    cdef const CodedCentroids *c = &e.centroids.coded
    cdef int64_t i, p, count = 0
    cdef Bounds bounds
    kernels_of_codes().products(points, &c.rows, c.sums, e.codes.words, pairs.row, pairs.k, pairs.count,
                                pairs.product)
    for i in range(pairs.count):
        p = pairs.point[i]
        bounds = pair_bounds(points, pairs.row[i], &c.panel, pairs.k[i], pairs.product[i])
        pairs.lower[i] = bounds.lower
        tile.codes.bound[p] = min(tile.codes.bound[p], round_up(bounds.upper))
    for i in range(pairs.count):
        pairs.point[count], pairs.row[count], pairs.k[count] = pairs.point[i], pairs.row[i], pairs.k[i]
        count += is_within(tile, pairs.point[count], pairs.lower[i])
    pairs.count = count


cdef void allow_slack(const Screen *e, const Step *s, TileWorkspace *tile, const code_rows *points) noexcept nogil:
    """List pairs beyond the bounds, too, by twice what codes lose of a score: their distances give bounds to carry."""
    cdef int64_t p
    if s.labels_epoch != 0 and s.steps_left > 0 and not e.cost.no_slack:
        for p in range(tile.count):
            tile.codes.slack[p] = <float>(2 * (points.stats[tile.row[p]].length * e.centroids.mean_error
                                               + points.stats[tile.row[p]].error * e.centroids.mean_length))


cdef bint screen_tile(const Screen *e, const Step *s, PartialSum *part, Workspace *work,
                      const Block *block) noexcept nogil:
    """List a tile's pairs that may be the closest, in rising order of centroids; False: they are too many."""
    cdef TileWorkspace *tile = &work.tile
    cdef code_rows points = rows_from(&e.codes.points, block.first)
    cdef const CodedCentroids *c = cheapest_centroids(e)
    cdef bint leading = e.leading.in_use
    cdef bint listed
    cdef int64_t p, n_hits
    load_tile(&tile.codes, points_of_cheapest(e), c.panel.words, block.first, tile.row, tile.count)
    if s.labels_epoch == 0 and leading:
        estimate_labels(e, work)
        load_stats(&tile.codes, &e.leading.points, block.first, tile.row, tile.count)
    if s.labels_epoch != 0 or leading:
        bound_by_labels(e, work, &points)
    else:
        for p in range(tile.count):
            tile.codes.bound[p] = LARGE
    allow_slack(e, s, tile, &points)
    n_hits = kernels_of_codes().screen(&tile.codes, &c.panel, tile.hits, tile.scores)
    memcpy(tile.lowest, tile.codes.lowest_above, CODE_TILE * sizeof(float))
    listed = list_hits(work, &c.panel, n_hits, part)
    if tile.codes.slack[0] > 0 and (not listed or work.pairs.count > SLACK_PAIRS * tile.count):
        memset(tile.codes.slack, 0, sizeof(tile.codes.slack))
        listed = list_hits(work, &c.panel, n_hits, part)
    if not listed:
        return False
    if leading:
        bound_pairs(e, work, &points)
    return True
