"""Bound the distances of points and centroids from below by their projections on leading directions.

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
is compared with E again; points for which that leaves two or more are scored by the dense kernel itself.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove, memset

from ckmeans._arena cimport take
from ckmeans._cost_model cimport MAX_DIRECTIONS
from ckmeans._engine cimport Block, Step, update_labels
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport (
    Poll, allocate, hit, is_stopped, panel, poll, release, request_threads, threads_for, wide_stride,
)
from ckmeans._shift cimport find_shift
from ckmeans._values cimport get, put

cdef enum:
    MAX_TILE = 32            # points of a tile: each is one bit of hit.points, and of every other mask of points
    MAX_THREADS = 1024       # threads: the limit of n_threads

cdef struct Workspace        # of a thread: see _screen.pyx
cdef struct Screen           # the engine: see there

# Factors of the margins; see the proof.
cdef struct Margins:
    double residual          # of |y|^2 in R^2
    double score             # g(n + 8): of a dense score
    double bound             # g(d + 4): of a bound's score
    double exact             # relative, of a distance in full
    double rounding          # relative, of what is computed in double and stored in the computing dtype
    double underflow         # absolute

# Upper bound on E, as a function of the point: constant + slope |y|.
cdef struct ScoreError:
    double constant
    double slope

# The points on their leading directions, about an origin. Only this file writes it.
cdef struct Projection:
    const Rows *rows
    Directions directions    # as many as were found
    int64_t d                # how many of them are in use
    panel panel              # those, of n features
    Margins margins
    void *origin             # (n,) o of the proof
    double *origin_wide      # the same in float64
    void *zeros              # no shift
    int32_t *zero_labels     # the kernel `distances` measures from `origin_wide` with these
    int64_t bytes            # of the block that the next two lie in
    void *points             # tiles of d + 1 features: z and R; NULL: the points are not projected
    void *norms              # (m,) |y|^2
    uint64_t max_abs_bits    # bits of the largest magnitude of a coordinate of the points

# The centroids of one step, packed. Only this file writes it.
cdef struct StepPanels:
    void *shift              # (n,) s of the proof
    double shift_offset      # h
    void *projected          # (K, d + 1) scratch: what the panels of d + 1 features are packed from
    void *residual_norms     # (K,) R
    ScoreError *errors       # (K,)
    void *scratch_norms      # (K,) norms that the kernel computes, and nobody reads
    panel screened           # z and R; norms lowered by the margins
    panel estimates          # the same with R = 0: no bounds, but the best estimates
    panel full               # all features,
    bint full_packed         # where they are packed in this step

# Scratch memory of the kernels that pack and assign.
cdef struct KernelWorkspace:
    void *rows               # (tile, n) rows that do not lie in place
    void *packed             # a piece of the block, all features
    void *scores
    void *ids
    void *partial

# The tile at hand: up to `tile` rows of a block.
cdef struct TileWorkspace:
    int64_t count
    int32_t *row             # which rows of the block they are
    int32_t *label           # their present centroids
    void *norms              # |y|^2
    void *assigned_squared   # squared distances to the present centroids, or upper bounds on them
    void *thresholds         # a centroid whose score is above this is farther than the present one
    hit *hits                # (K,) which centroids' scores are not above the thresholds of which points
    void *lowest_above       # lowest score of each point that is above its threshold
    void *gathered           # projections of rows that are not consecutive
    void *products           # projections of a tile that are not kept


cdef void panel_layout(panel *to, int64_t K, int64_t n, size_t item, char *memory, size_t *at) noexcept nogil:
    to.c = take(memory, at, K * n * item)
    to.norms = take(memory, at, K * item)
    to.ids = take(memory, at, K * item)


cdef void projection_layout(Projection *P, char *memory, size_t *at) noexcept nogil:
    cdef int64_t n = P.rows.n
    cdef size_t item = P.rows.kernels.itemsize
    P.origin = take(memory, at, n * item)
    P.origin_wide = <double *>take(memory, at, wide_stride(n) * sizeof(double))
    P.zeros = take(memory, at, max(n, MAX_DIRECTIONS + 1) * item)
    P.zero_labels = <int32_t *>take(memory, at, MAX_TILE * sizeof(int32_t))
    panel_layout(&P.panel, MAX_DIRECTIONS + 1, n, item, memory, at)


cdef void panels_layout(StepPanels *c, const Rows *X, int64_t K, char *memory, size_t *at) noexcept nogil:
    cdef size_t item = X.kernels.itemsize
    c.shift = take(memory, at, X.n * item)
    c.projected = take(memory, at, K * (MAX_DIRECTIONS + 1) * item)
    c.residual_norms = take(memory, at, K * item)
    c.errors = <ScoreError *>take(memory, at, K * sizeof(ScoreError))
    c.scratch_norms = take(memory, at, K * item)
    panel_layout(&c.screened, K, MAX_DIRECTIONS + 1, item, memory, at)
    panel_layout(&c.full, K, X.n, item, memory, at)
    c.estimates.c = take(memory, at, K * (MAX_DIRECTIONS + 1) * item)
    c.estimates.norms = c.screened.norms
    c.estimates.ids = take(memory, at, K * item)
    c.full.n = X.n


cdef void kernel_layout(KernelWorkspace *work, const Screen *e, char *memory, size_t *at) noexcept nogil:
    cdef const Rows *X = e.sweep.rows
    cdef size_t item = X.kernels.itemsize
    work.rows = take(memory, at, (X.kernels.tile * X.n + 8) * item)
    work.packed = take(memory, at, (e.piece * X.n + 8) * item)
    work.scores = take(memory, at, e.piece * item)
    work.ids = take(memory, at, e.piece * item)
    work.partial = take(memory, at, e.K * X.kernels.tile * item)


cdef void tile_layout(TileWorkspace *tile, const Rows *X, int64_t K, char *memory, size_t *at) noexcept nogil:
    cdef size_t item = X.kernels.itemsize
    cdef int64_t count = X.kernels.tile
    tile.row = <int32_t *>take(memory, at, count * sizeof(int32_t))
    tile.label = <int32_t *>take(memory, at, count * sizeof(int32_t))
    tile.norms = take(memory, at, count * item)
    tile.assigned_squared = take(memory, at, count * item)
    tile.thresholds = take(memory, at, count * item)
    tile.hits = <hit *>take(memory, at, (K + 1) * sizeof(hit))
    tile.lowest_above = take(memory, at, count * item)
    tile.gathered = take(memory, at, count * (MAX_DIRECTIONS + 1) * item)
    tile.products = take(memory, at, count * (MAX_DIRECTIONS + 1) * item)


cdef inline double positive_root(double square) noexcept nogil:
    """Return the square root; 0 of what is not positive."""
    return sqrt(square) if square > 0 else 0


# ---- the points ------------------------------------------------------------------------------

cdef void projection_open(Projection *P) noexcept nogil:
    """Clear the arrays that stay zero."""
    memset(P.zeros, 0, max(P.rows.n, MAX_DIRECTIONS + 1) * P.rows.kernels.itemsize)
    memset(P.zero_labels, 0, MAX_TILE * sizeof(int32_t))


cdef void projection_drop(Projection *P) noexcept nogil:
    """Release the projected points."""
    release(P.points)
    P.points = NULL
    P.bytes = 0


cdef void projection_close(Projection *P) noexcept nogil:
    directions_close(&P.directions)
    projection_drop(P)


cdef void set_origin(Projection *P, const Step *s) noexcept nogil:
    """Take the shift of a step as the origin."""
    cdef const Rows *X = P.rows
    cdef int64_t l
    find_shift(X.kernels.itemsize, s.K, X.n, s.wide, P.origin)
    for l in range(wide_stride(X.n)):
        P.origin_wide[l] = get(P.origin, l, X.kernels.itemsize) if l < X.n else 0


cdef int find_directions(Projection *P, int64_t max_, int n_threads, Poll *p) noexcept nogil:
    """Find at most `max_` directions instead of those there are; nonzero: no memory."""
    directions_close(&P.directions)
    return directions_find(&P.directions, P.rows, P.origin, max_, n_threads, p)


cdef void swap_directions(Projection *P, Directions *other) noexcept nogil:
    """Exchange the directions with others, none of them in use."""
    cdef Directions mine = P.directions
    P.directions = other[0]
    other[0] = mine


cdef void use_directions(Projection *P, int64_t d) noexcept nogil:
    """Project on the first d of the directions that were found."""
    P.d = P.panel.K = d
    P.panel.n = P.rows.n
    if d > 0:
        P.rows.kernels.pack_centroids(P.directions.vectors, P.zeros, &P.panel)
    set_margins(P)


cdef void set_margins(Projection *P) noexcept nogil:
    cdef const Rows *X = P.rows
    cdef double unit = 1.1 * (2.0 ** -24 if X.kernels.itemsize == 4 else 2.0 ** -53)
    cdef double n = X.n, d = P.d, defect = P.directions.defect
    cdef double lanes = 16 if X.kernels.itemsize == 4 else 8
    cdef double t = unit * (68 + n / 64) * sqrt(d * (1 + defect)), L = 1 + defect + t
    cdef Margins *g = &P.margins
    g.score = unit * (n + 8)
    g.bound = unit * (d + 4)
    # Fewer lanes add up more terms each, more lanes take longer to add up.
    g.exact = unit * (n + 2 * lanes + 16)
    g.rounding = 16 * unit + (n + d + 32) * 2.0 ** -51
    g.residual = 2 * (2 * L * t + 3 * L * L * defect) + g.score + 2.5 * g.bound + g.rounding
    g.underflow = 32 * (n + 16) * (1.5e-45 if X.kernels.itemsize == 4 else 5e-324)


cdef void add_squares(const real *products, int64_t d, int64_t tile, double *sums) noexcept nogil:
    """Sum the squares of each point's projections, in their order."""
    cdef int64_t i, j
    cdef double z
    memset(sums, 0, tile * sizeof(double))
    for j in range(d):
        for i in range(tile):
            z = products[j * tile + i]
            sums[i] += z * z


cdef uint64_t project_tile(const Projection *P, const Block *block, void *packed, void *products,
                           double *squares) noexcept nogil:
    """Project at most a tile of rows: OUT z and R in `products`, a tile of d + 1 features, and |y|^2 in `squares`.

    Returns the bits of the largest magnitude of a coordinate of the rows; `packed` is scratch for a tile.
    """
    cdef const Rows *X = P.rows
    cdef int64_t tile = X.kernels.tile, i
    cdef int item = X.kernels.itemsize
    cdef double residual
    cdef double projected_squares[MAX_TILE]
    cdef uint64_t max_abs_bits = X.kernels.pack(block.rows, block.stride, block.count, X.n, P.origin, packed)
    if P.d > 0:
        X.kernels.project(packed, 1, &P.panel, P.d + 1, products)
    X.kernels.distances(block.rows, block.stride, block.count, X.n, P.zero_labels, P.origin_wide, squares)
    if item == 4:
        add_squares(<const float *>products, P.d, tile, projected_squares)
    else:
        add_squares(<const double *>products, P.d, tile, projected_squares)
    for i in range(tile):
        residual = 0
        if i < block.count:
            residual = max(squares[i] - projected_squares[i], 0) + P.margins.residual * squares[i]
            residual = sqrt(residual) * (1 + P.margins.rounding)
        put(products, P.d * tile + i, item, residual)
    return max_abs_bits


cdef uint64_t project_rows(Projection *P, KernelWorkspace *work, int64_t first) noexcept nogil:
    """Project and keep the tile of points that starts with row `first`; returns bits as project_tile does."""
    cdef const Rows *X = P.rows
    cdef int64_t i
    cdef int item = X.kernels.itemsize
    cdef double squares[MAX_TILE]
    cdef void *products = <char *>P.points + first * (P.d + 1) * item
    cdef uint64_t max_abs_bits
    cdef Block block
    block.first = first
    block.count = min(<int64_t>X.kernels.tile, X.m - first)
    block.rows = read_rows(X, first, block.count, work.rows, &block.stride)
    max_abs_bits = project_tile(P, &block, work.packed, products, squares)
    for i in range(block.count):
        put(P.norms, first + i, item, squares[i])
    return max_abs_bits


cdef int project_points(Projection *P, Workspace *workspaces, int n_threads, Poll *p) noexcept nogil:
    """Project all points on the directions in use; nonzero: no memory, or interrupted."""
    cdef const Rows *X = P.rows
    cdef int64_t tile = X.kernels.tile, tiles = n_tiles(X, X.m), t
    cdef int threads = threads_for(n_threads, <double>X.m * X.n * (P.d + 1)), i
    cdef uint64_t bits[MAX_THREADS]
    P.bytes = tiles * tile * (P.d + 2) * X.kernels.itemsize + 128
    P.points = allocate(P.bytes)
    if P.points == NULL:
        P.bytes = 0
        return 1
    P.norms = <char *>P.points + tiles * tile * (P.d + 1) * X.kernels.itemsize
    memset(bits, 0, sizeof(bits))
    for t in prange(tiles, schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            bits[threadid()] = max(bits[threadid()], project_rows(P, &workspaces[threadid()].kernel, t * tile))
    for i in range(threads):
        P.max_abs_bits = max(P.max_abs_bits, bits[i])
    return is_stopped(p)


# ---- the centroids ---------------------------------------------------------------------------

cdef void panels_start(StepPanels *c, const Rows *X, const Step *s) noexcept nogil:
    """Begin a step: no panel of it is packed yet."""
    find_shift(X.kernels.itemsize, s.K, X.n, s.wide, c.shift)
    c.full_packed = False


cdef void pack_full(StepPanels *c, const Rows *X, const Step *s) noexcept nogil:
    """Pack all features of the centroids."""
    c.full.K = s.K
    X.kernels.pack_centroids(s.centroids, c.shift, &c.full)
    c.full_packed = True


cdef void project_centroids(StepPanels *c, const Screen *e, const Step *s, Workspace *work,
                            int64_t first) noexcept nogil:
    """Project the tile of centroids that starts with number `first`, and set their norms and margins."""
    cdef const Projection *P = &e.projection
    cdef const Rows *X = P.rows
    cdef int64_t n = X.n, tile = X.kernels.tile, features = P.d + 1, i, j, k
    cdef int item = X.kernels.itemsize
    cdef double squares[MAX_TILE]
    cdef double square, norm, error, low
    cdef void *products = work.tile.products
    cdef Block block = Block(<const char *>s.centroids + first * n * item, n, first, min(tile, s.K - first))
    project_tile(P, &block, work.kernel.packed, products, squares)
    for i in range(block.count):
        k = first + i
        for j in range(P.d):
            put(c.projected, k * features + j, item, get(products, j * tile + i, item))
        put(c.projected, k * features + P.d, item, 0)
        put(c.residual_norms, k, item, get(products, P.d * tile + i, item))
        square = squares[i]
        norm = sqrt(square)
        error = P.margins.score * (square + c.shift_offset * (4 * norm + 3 * c.shift_offset)) + P.margins.underflow
        c.errors[k].constant = error
        c.errors[k].slope = 2 * P.margins.score * norm
        low = square - error - (1.1 * P.margins.bound + P.margins.rounding) * square
        put(c.screened.norms, k, item, low - P.margins.rounding * fabs(low))


cdef void pack_projected(const StepPanels *c, const Projection *P, panel *to) noexcept nogil:
    """Pack the first to.K rows of c.projected, but leave to.norms, which hold the margins."""
    cdef panel packed = to[0]
    packed.norms = c.scratch_norms
    P.rows.kernels.pack_centroids(c.projected, P.zeros, &packed)


cdef void pack_screened(StepPanels *c, const Screen *e, const Step *s) noexcept nogil:
    """Project the centroids and pack their projections; after panels_start."""
    cdef const Projection *P = &e.projection
    cdef const Rows *X = P.rows
    cdef int64_t tile = X.kernels.tile, t, l, k
    cdef int item = X.kernels.itemsize
    cdef int threads = threads_for(e.n_workspaces, <double>s.K * X.n * (P.d + 1))
    cdef double offset, square = 0
    for l in range(X.n):
        offset = get(c.shift, l, item) - P.origin_wide[l]
        square += offset * offset
    c.shift_offset = sqrt(square) * (1 + X.n * 1e-15)
    for t in prange(n_tiles(X, s.K), schedule="static", num_threads=request_threads(threads)):
        project_centroids(c, e, s, &e.workspaces[threadid()], t * tile)
    c.screened.K = c.estimates.K = s.K
    c.screened.n = c.estimates.n = P.d + 1
    if s.labels_epoch == 0:
        pack_projected(c, P, &c.estimates)
    for k in range(s.K):
        put(c.projected, k * (P.d + 1) + P.d, item, get(c.residual_norms, k, item))
    pack_projected(c, P, &c.screened)


cdef void pack_selected(StepPanels *c, const Projection *P, const int32_t *k, int64_t count, panel *to) noexcept nogil:
    """Pack some centroids of `screened` (rising) into another panel; once in a step, as c.projected is changed."""
    cdef int64_t size = (P.d + 1) * P.rows.kernels.itemsize, i
    cdef int item = P.rows.kernels.itemsize
    # Rows rise, so they can be moved to the front in place.
    for i in range(count):
        memmove(<char *>c.projected + i * size, <char *>c.projected + k[i] * size, size)
        put(to.norms, i, item, get(c.screened.norms, k[i], item))
    to.K = count
    to.n = P.d + 1
    pack_projected(c, P, to)


# ---- a tile and its thresholds ---------------------------------------------------------------

cdef bint is_consecutive(const TileWorkspace *tile) noexcept nogil:
    cdef int64_t p
    for p in range(tile.count):
        if tile.row[p] != tile.row[0] + p:
            return False
    return True


cdef const void *tile_projections(const Projection *P, const TileWorkspace *tile, int64_t first) noexcept nogil:
    """Return the projections of a tile's points, in place or gathered; the block starts with row `first`."""
    cdef const Rows *X = P.rows
    cdef int64_t p, size = (P.d + 1) * X.kernels.itemsize
    if (first + tile.row[0]) % X.kernels.tile == 0 and is_consecutive(tile):
        return <const char *>P.points + (first + tile.row[0]) * size
    for p in range(X.kernels.tile):
        # Thresholds beyond the count are -infinity; any point will do.
        X.kernels.gather_point(P.points, first + tile.row[min(p, tile.count - 1)], P.d + 1, p, tile.gathered)
    return tile.gathered


cdef void set_thresholds(TileWorkspace *tile, const Screen *e) noexcept nogil:
    """Set each point's threshold from the squared distance to its present centroid."""
    cdef const Margins *g = &e.projection.margins
    cdef const StepPanels *c = &e.panels
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef int64_t p
    cdef int32_t k
    cdef double square, norm, threshold
    for p in range(e.sweep.rows.kernels.tile):
        if p >= tile.count:
            put(tile.thresholds, p, item, -INFINITY)
            continue
        k = tile.label[p]
        square = get(tile.norms, p, item)
        norm = sqrt(square)
        threshold = get(tile.assigned_squared, p, item) * (1 + g.exact)
        threshold = threshold + c.errors[k].constant + c.errors[k].slope * norm
        threshold += 4 * g.score * c.shift_offset * norm - square + g.rounding * square + g.underflow
        put(tile.thresholds, p, item, threshold + g.rounding * fabs(threshold))


cdef inline double squared_above(const Screen *e, const TileWorkspace *tile, int64_t p) noexcept nogil:
    """Bound from below the squared distance of point p to every centroid whose score is above its threshold."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square = get(tile.norms, p, item), score = get(tile.lowest_above, p, item)
    if score == INFINITY:
        return score
    return score + square - e.projection.margins.rounding * (fabs(score) + 2 * square)


cdef int64_t screen_tile(const Screen *e, const Step *s, Workspace *work, const Block *block,
                         const void *projections) noexcept nogil:
    """Screen a tile against all centroids: returns the number of hits, the present centroids among them.

    Without labels from the step before, the present centroids are first set to those that seem closest.
    """
    cdef const Rows *X = e.sweep.rows
    cdef TileWorkspace *tile = &work.tile
    cdef KernelWorkspace *kernel = &work.kernel
    if s.labels_epoch == 0:
        X.kernels.assign(projections, 1, &e.panels.estimates, kernel.scores, kernel.ids, kernel.partial)
        update_labels(kernel.ids, X.kernels.itemsize, tile.count, tile.label)
    X.kernels.pair_distances(block.rows, block.stride, X.n, s.centroids, tile.row, tile.label, tile.count,
                             tile.assigned_squared)
    set_thresholds(tile, e)
    return X.kernels.screen(projections, &e.panels.screened, tile.thresholds, tile.hits, tile.lowest_above)
