"""Points and centroids on the leading directions, and the scores that bound their distances from below.

All points are projected once on the leading directions q_1 .. q_d of a sample. With y = x - o, z its
projection and R a bound on what the projection leaves out (the same for centroids), the product
z_x . z_k + R_x R_k of d + 1 features is at least y_x . y_k, by Cauchy and Schwarz. So a dense score over
d + 1 features bounds the distance of every pair from below.

Why the labels are those of the dense engine, bit for bit. u is the unit roundoff, g(i) = 1.1 i u bounds
i roundings (i u <= 0.05), |.| are norms, Q has the rows q as stored, and QQ' = I + D with |D| <= defect.

1. Projection. z differs from Qy by at most t |y|, t = g(68 + n / 64) sqrt(d (1 + defect)): the kernel's
   depth, and the rounding of x - o. So |z| <= L |y|, L = 1 + defect + t.
2. Residual. e = y - Q'z exactly. Then |e|^2 <= |y|^2 - |z|^2 + (2 L t + L^2 defect) |y|^2, and
   y_x . y_k <= z_x . z_k + |e_x| |e_k| + M |y_x| |y_k| with M = 2 L t + 3 L^2 defect.
3. The dense score. It is |x - c|^2 - |x - s|^2 up to E = g(n + 8) (|c - s|^2 + 2 |x - s| |c - s|), s the
   step's shift; with h = |s - o|, |c - s| <= |y_k| + h and |x - s| <= |y_x| + h.
4. The bound's own score. Its d + 1 multiply-adds err by at most g(d + 4) (|y_k|^2 + 4.5 |y_x| |y_k|).

Every margin with |y_x| |y_k| goes into R, since |e_x| |e_k| + b |y_x| b |y_k| <= R_x R_k where
R^2 = |e|^2 + b^2 |y|^2; margins with the centroid alone lower its norm, those with the point alone
raise its threshold. What is left after the distances in full (relative error g(n / LANES + 2 LANES + 8))
is judged with E again; points for which that leaves two or more are settled by the dense kernel itself.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t
from libc.string cimport memset

from ckmeans._directions cimport get, put, tiles_of
from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport Poll, allocate, poll, threads_for
from ckmeans._shift cimport find_shift
from ckmeans._sweep cimport store_labels


cdef void use_directions(Screen *e, int64_t d) noexcept nogil:
    """Project on the first d of the directions that were found."""
    e.d = e.directions.K = d
    e.screened.n = d + 1
    if d > 0:
        e.sweep.rows.kernels.pack_centroids(e.found.vectors, e.zeros, &e.directions)
    set_margins(e, e.found.defect)


cdef void set_margins(Screen *e, double defect) noexcept nogil:
    cdef const Rows *rows = e.sweep.rows
    cdef double unit = 1.1 * (2.0 ** -24 if rows.kernels.itemsize == 4 else 2.0 ** -53)
    cdef double n = rows.n, d = e.d
    cdef double lanes = 16 if rows.kernels.itemsize == 4 else 8
    cdef double t = unit * (68 + n / 64) * sqrt(d * (1 + defect)), L = 1 + defect + t
    cdef Margins *g = &e.margins
    g.dense = unit * (n + 8)
    g.bound = unit * (d + 4)
    # Fewer lanes add up more terms each, more lanes take longer to add up.
    g.full = unit * (n + 2 * lanes + 16)
    g.store = 16 * unit + (n + d + 32) * 2.0 ** -51
    g.residual = 2 * (2 * L * t + 3 * L * L * defect) + g.dense + 2.5 * g.bound + g.store
    g.least = 32 * (n + 16) * (1.5e-45 if rows.kernels.itemsize == 4 else 5e-324)


ctypedef fused real:
    float
    double


cdef void add_squares(const real *products, int64_t d, int64_t tile, double *sums) noexcept nogil:
    """Of each point's projections, in their order."""
    cdef int64_t i, j
    cdef double z
    memset(sums, 0, tile * sizeof(double))
    for j in range(d):
        for i in range(tile):
            z = products[j * tile + i]
            sums[i] += z * z


cdef uint64_t project_tile(Screen *e, Desk *desk, const void *rows, int64_t stride, int64_t count, void *products,
                           double *squares) noexcept nogil:
    """Projections and R of one tile's points (a tile of d + 1 features), and their |y|^2."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, i
    cdef int item = X.kernels.itemsize
    cdef double left
    cdef double inside[64]
    cdef uint64_t most = X.kernels.pack(rows, stride, count, X.n, e.origin, desk.tile)
    if e.d > 0:
        X.kernels.project(desk.tile, 1, &e.directions, e.d + 1, products)
    X.kernels.distances(rows, stride, count, X.n, e.zero_labels, e.origin_wide, squares)
    if item == 4:
        add_squares(<const float *>products, e.d, tile, inside)
    else:
        add_squares(<const double *>products, e.d, tile, inside)
    for i in range(tile):
        left = 0
        if i < count:
            left = max(squares[i] - inside[i], 0) + e.margins.residual * squares[i]
            left = sqrt(left) * (1 + e.margins.store)
        put(products, e.d * tile + i, item, left)
    return most


# ---- the points ------------------------------------------------------------------------------

cdef void project_some(Screen *e, Desk *desk, int64_t first, int64_t count, uint64_t *most) noexcept nogil:
    """The tile of points that starts with row `first`."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t stride, i, item = X.kernels.itemsize
    cdef double squares[64]
    cdef const void *rows = read_rows(X, first, count, desk.chosen, &stride)
    cdef void *products = <char *>e.points + first * (e.d + 1) * item
    most[0] = max(most[0], project_tile(e, desk, rows, stride, count, products, squares))
    for i in range(count):
        put(e.norms, first + i, <int>item, squares[i])


cdef int project_points(Screen *e, Poll *p) noexcept nogil:
    """Nonzero where there is no memory."""
    cdef const Rows *rows = e.sweep.rows
    cdef int64_t tile = rows.kernels.tile, t, tiles = tiles_of(rows, rows.m), item = rows.kernels.itemsize
    cdef int64_t size = tiles * tile * ((e.d + 2) * item + 2 * sizeof(uint16_t)) + 128
    cdef int threads = threads_for(e.n_desks, <double>rows.m * rows.n * (e.d + 1)), i
    cdef uint64_t most[1024]
    e.points = allocate(size)
    if e.points == NULL:
        return 1
    e.points_bytes = size
    e.engine.bytes += size
    e.norms = <char *>e.points + tiles * tile * (e.d + 1) * item
    e.high = <uint16_t *>(<char *>e.norms + tiles * tile * item)
    e.low = e.high + tiles * tile
    memset(most, 0, sizeof(most))
    for t in prange(tiles, schedule="static", num_threads=threads):
        if not poll(p):
            project_some(e, &e.desks[threadid()], t * tile, min(tile, rows.m - t * tile), &most[threadid()])
    for i in range(threads):
        e.most = max(e.most, most[i])
    return 0


# ---- the centroids ---------------------------------------------------------------------------

cdef void project_centroids(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t count) noexcept nogil:
    """A tile of centroids: their projections, norms and margins."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t n = X.n, tile = X.kernels.tile, features = e.d + 1, i, j, k
    cdef int item = X.kernels.itemsize
    cdef double squares[64]
    cdef double square, norm, dense, low
    project_tile(e, desk, <char *>s.centroids + first * n * item, n, count, desk.products, squares)
    for i in range(count):
        k = first + i
        for j in range(e.d):
            put(e.projected, k * features + j, item, get(desk.products, j * tile + i, item))
        put(e.projected, k * features + e.d, item, 0)
        put(e.left, k, item, get(desk.products, e.d * tile + i, item))
        square = squares[i]
        norm = sqrt(square)
        dense = e.margins.dense * (square + e.far * (4 * norm + 3 * e.far)) + e.margins.least
        e.dense1[k] = dense
        e.dense2[k] = 2 * e.margins.dense * norm
        low = square - dense - (1.1 * e.margins.bound + e.margins.store) * square
        put(e.screened.norms, k, item, low - e.margins.store * fabs(low))


cdef void prepare_projections(Screen *e, const Step *s) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    cdef int64_t n = X.n, tile = X.kernels.tile, t, l, tiles = tiles_of(X, s.K)
    cdef int item = X.kernels.itemsize
    cdef int threads = threads_for(e.n_desks, <double>s.K * n * (e.d + 1))
    cdef double apart, far = 0
    e.screened.K = s.K
    find_shift(item, s.K, n, s.wide, e.shift)
    for l in range(n):
        apart = get(e.shift, l, item) - e.origin_wide[l]
        far += apart * apart
    e.far = sqrt(far) * (1 + n * 1e-15)
    for t in prange(tiles, schedule="static", num_threads=threads):
        project_centroids(e, s, &e.desks[threadid()], t * tile, min(tile, s.K - t * tile))
    pack_screened(e, s)


# This overwrites what packs the projections: it comes after them.
cdef void prepare_in_full(Screen *e, const Step *s) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    e.full.K = s.K
    find_shift(X.kernels.itemsize, s.K, X.n, s.wide, e.shift)
    X.kernels.pack_centroids(s.centroids, e.shift, &e.full)


cdef void pack_screened(Screen *e, const Step *s) noexcept nogil:
    """Packing writes norms of its own: those with the margins take their place."""
    cdef const Rows *X = e.sweep.rows
    cdef void *norms = e.screened.norms
    cdef int64_t k
    cdef int item = X.kernels.itemsize
    if s.fresh:
        e.guessed.K = s.K
        e.guessed.n = e.d + 1
        e.guessed.norms = e.full.norms
        X.kernels.pack_centroids(e.projected, e.zeros, &e.guessed)
        e.guessed.norms = norms
    for k in range(s.K):
        put(e.projected, k * (e.d + 1) + e.d, item, get(e.left, k, item))
    e.screened.norms = e.full.norms
    X.kernels.pack_centroids(e.projected, e.zeros, &e.screened)
    e.screened.norms = norms


# ---- a tile and its bounds -------------------------------------------------------------------

cdef bint side_by_side(const Desk *desk) noexcept nogil:
    cdef int64_t p
    for p in range(desk.count):
        if desk.at[p] != desk.at[0] + p:
            return False
    return True


cdef const void *gather(const Screen *e, const Desk *desk, int64_t first) noexcept nogil:
    """The projections of a tile's points."""
    cdef const Rows *X = e.sweep.rows
    cdef int64_t tile = X.kernels.tile, item = X.kernels.itemsize, p, size = (e.d + 1) * item
    if (first + desk.at[0]) % tile == 0 and side_by_side(desk):
        return <char *>e.points + (first + desk.at[0]) * size
    for p in range(tile):
        # Those beyond the count are out of every race; any point will do.
        X.kernels.gather_point(e.points, first + desk.at[min(p, desk.count - 1)], e.d + 1, p, desk.gathered)
    return desk.gathered


cdef void guess(Screen *e, Desk *desk, const void *tile, int64_t count, int32_t *labels) noexcept nogil:
    """The centroids that seem closest."""
    e.sweep.rows.kernels.assign(tile, 1, &e.guessed, desk.scores, desk.ids, desk.partial)
    store_labels(desk.ids, e.sweep.rows.kernels.itemsize, count, labels)


cdef void measure_own(Screen *e, const Step *s, Desk *desk, const void *rows, int64_t stride) noexcept nogil:
    """The first pairs: each point with its present centroid."""
    cdef int64_t p
    for p in range(desk.count):
        desk.point[p] = <int32_t>p
        desk.row[p] = desk.at[p]
        desk.k[p] = desk.label[p]
    e.sweep.rows.kernels.pair_distances(
        rows, stride, e.sweep.rows.n, s.centroids, desk.row, desk.k, desk.count, desk.squared)


cdef void set_bounds(Screen *e, Desk *desk) noexcept nogil:
    """What a score must not be above to stay in the race: from the squared distances to the present centroids."""
    cdef const Rows *X = e.sweep.rows
    cdef int item = X.kernels.itemsize
    cdef int64_t p
    cdef int32_t k
    cdef double square, norm, bound
    for p in range(X.kernels.tile):
        if p >= desk.count:
            put(desk.bounds, p, item, -INFINITY)
            continue
        k = desk.label[p]
        square = get(desk.norms, p, item)
        norm = sqrt(square)
        bound = get(desk.squared, p, item) * (1 + e.margins.full) + e.dense1[k] + e.dense2[k] * norm
        bound += 4 * e.margins.dense * e.far * norm - square + e.margins.store * square + e.margins.least
        put(desk.bounds, p, item, bound + e.margins.store * fabs(bound))
