"""Codes of the points' projections on leading directions: a cheaper bound, which leaves more pairs.

All points are projected once on the leading directions q_1 .. q_d of a sample. With y = x - o, z its projection and R a
bound on what the projection leaves out (the same for centroids), z_x . z_k + R_x R_k is at least y_x . y_k, by Cauchy
and Schwarz, and with a minus at most. The products z_x . z_k are bounded by 8-bit codes of the projections, as those of
all features are (_codes.pyx).

Why that holds with rounding. u is the unit roundoff, g(i) = 1.1 i u bounds i roundings (i u <= 0.05), |.| are norms, Q
has the rows q as stored, and QQ' = I + D with |D| <= defect.

1. Projection. z differs from Qy by at most t |y|, t = g(68 + n / 64) sqrt(d (1 + defect)): the kernel's depth, and the
   rounding of x - o. So |z| <= L |y|, L = 1 + defect + t.
2. Residual. e = y - Q'z exactly. Then |e|^2 <= |y|^2 - |z|^2 + (2 L t + L^2 defect) |y|^2, and
   y_x . y_k <= z_x . z_k + |e_x| |e_k| + N |y_x| |y_k| with N = 2 L t + 3 L^2 defect.

Margins with |y_x| |y_k|, those of _codes.pyx (M) too, go into R, since |e_x| |e_k| + b |y_x| b |y_k| <= R_x R_k where
R^2 = |e|^2 + b^2 |y|^2.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._codes cimport (
    CodedCentroids, Codes, coded_layout, pack_coded, rows_from, rows_layout, sum_codes, words_of,
)
from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, n_tiles, read_rows
from ckmeans._runtime cimport (
    CODE_MAX, CODE_TILE, Poll, allocate, code_rows, is_stopped, kernels_of_codes, panel, poll, release,
    request_threads, threads_for,
)
from ckmeans._values cimport get, put

cdef enum:
    MAX_DIRECTIONS = 128     # limits the memory that projections take

# The points on their leading directions. Only this file writes it.
cdef struct Leading:
    bint in_use
    Directions directions
    int64_t d                # how many were found
    int64_t words
    panel panel              # those, of n features
    void *no_shift           # zeros
    double residual          # factor of |y|^2 in R^2
    code_rows points
    CodedCentroids centroids
    int64_t bytes
    void *memory


cdef size_t leading_layout(Leading *lead, const Rows *X, int64_t K, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t item = X.kernels.itemsize, at = 0
    lead.panel.c = take(memory, &at, lead.d * X.n * item)
    lead.panel.norms = take(memory, &at, lead.d * item)
    lead.panel.ids = take(memory, &at, lead.d * item)
    lead.no_shift = take(memory, &at, max(X.n, lead.d) * item)
    rows_layout(&lead.points, X.m, lead.words, memory, &at)
    coded_layout(&lead.centroids, K, lead.words, memory, &at)
    return at


cdef void leading_close(Leading *lead) noexcept nogil:
    directions_close(&lead.directions)
    release(lead.memory)
    lead.memory = NULL
    lead.bytes = 0


cdef int leading_open(Leading *lead, const Codes *codes, int64_t K, int64_t d, int n_threads, Poll *p) noexcept nogil:
    """Find at most d directions, and prepare for projections on them; nonzero: no memory."""
    cdef const Rows *X = codes.rows
    cdef double unit = 1.1 * (2.0 ** -24 if X.kernels.itemsize == 4 else 2.0 ** -53), defect, t, L
    if directions_find(&lead.directions, X, codes.origin, d, n_threads, p):
        return 1
    lead.d = d = lead.directions.d
    if d == 0:
        return 0
    defect = lead.directions.defect
    t = unit * (68 + X.n / 64.0) * sqrt(d * (1 + defect))
    L = 1 + defect + t
    lead.words = words_of(d)
    lead.bytes = <int64_t>leading_layout(lead, X, K, NULL)
    lead.memory = allocate(lead.bytes)
    if lead.memory == NULL:
        lead.bytes = 0
        return 1
    leading_layout(lead, X, K, <char *>lead.memory)
    memset(lead.no_shift, 0, max(X.n, d) * X.kernels.itemsize)
    lead.panel.K, lead.panel.n = d, X.n
    X.kernels.pack_centroids(lead.directions.vectors, lead.no_shift, &lead.panel)
    lead.residual = 2 * (2 * L * t + 3 * L * L * defect) + codes.margins.product + 512 * unit
    return 0


# ---- points ----------------------------------------------------------------------------------

# Scratch memory for the projection of a tile.
cdef struct ProjectionWorkspace:
    void *rows               # (tile, n) rows that do not lie in place
    void *packed             # (tile, n) packed
    void *products           # (d, tile)
    void *projected          # (tile, d)


cdef void projection_layout(ProjectionWorkspace *work, const Rows *X, char *memory, size_t *at) noexcept nogil:
    cdef size_t item = X.kernels.itemsize, tile = X.kernels.tile
    work.rows = take(memory, at, (tile * X.n + 8) * item)
    work.packed = take(memory, at, tile * X.n * item)
    work.products = take(memory, at, tile * MAX_DIRECTIONS * item)
    work.projected = take(memory, at, tile * MAX_DIRECTIONS * item)


cdef void project_rows(const Leading *lead, const Codes *codes, const void *rows, int64_t stride, int64_t count,
                       int code_max, ProjectionWorkspace *work, const code_rows *to) noexcept nogil:
    """Project at most a tile of rows, and code the projections: OUT codes, stats but r, |z|^2."""
    cdef const Rows *X = codes.rows
    cdef int64_t tile = X.kernels.tile, i, j
    cdef int item = X.kernels.itemsize
    X.kernels.pack(rows, stride, count, X.n, codes.origin, work.packed)
    X.kernels.project(work.packed, 1, &lead.panel, lead.d, work.products)
    for i in range(count):
        for j in range(lead.d):
            put(work.projected, i * lead.d + j, item, get(work.products, j * tile + i, item))
    X.kernels.quantise(work.projected, lead.d, count, lead.d, lead.no_shift, codes.factor, 0, code_max, to)


cdef inline double residual_of(const Leading *lead, const Codes *codes, double square, double projected) noexcept nogil:
    """Return R^2, scaled, by |y|^2 and |z|^2."""
    cdef double underflow = codes.margins.underflow * codes.margins.underflow
    square = max(square - projected, 0) + lead.residual * square + underflow
    return square * codes.factor * codes.factor + 2.0 ** -250  # R is to be more than what underflows in float32


cdef void project_points(Leading *lead, const Codes *codes, int64_t first, ProjectionWorkspace *work) noexcept nogil:
    """Project and code the tile of points that starts with row `first`."""
    cdef const Rows *X = codes.rows
    cdef int64_t count = min(<int64_t>X.kernels.tile, X.m - first), stride, i
    cdef const void *rows = read_rows(X, first, count, work.rows, &stride)
    cdef code_rows to = rows_from(&lead.points, first)
    project_rows(lead, codes, rows, stride, count, CODE_MAX, work, &to)
    for i in range(count):
        to.stats[i].residual = <float>(sqrt(residual_of(lead, codes, codes.points.squares[first + i], to.squares[i]))
                                       * (1 + 2.0 ** -20))


# ---- centroids -------------------------------------------------------------------------------

cdef void set_leading_panel(Leading *lead, const Codes *codes, const CodedCentroids *full, int64_t k,
                            double offset) noexcept nogil:
    """Set the floats of centroid k, of which `full` has those of all features."""
    cdef CodedCentroids *c = &lead.centroids
    cdef double up = 1 + 2.0 ** -17, norm = full.panel.lengths[k] / 2 + offset * codes.factor
    cdef double length = (sqrt(c.rows.squares[k]) + codes.margins.underflow) * codes.factor
    cdef double square = residual_of(lead, codes, full.rows.squares[k], c.rows.squares[k])
    square += codes.margins.product * (norm + offset * codes.factor) * (norm + offset * codes.factor)
    c.panel.scales[k] = -2 * c.rows.stats[k].scale
    c.panel.norms[k], c.panel.gaps[k] = full.panel.norms[k], full.panel.gaps[k]
    c.panel.lengths[k] = <float>(2 * length * up + 2.0 ** -126)
    c.panel.errors[k] = <float>(2 * c.rows.stats[k].error * up)
    c.panel.residuals[k] = <float>(2 * sqrt(square) * up)


cdef void project_some(Screen *e, const void *centroids, int64_t first, int64_t count,
                       ProjectionWorkspace *work) noexcept nogil:
    """Project and code at most a tile of centroids, from number `first` on."""
    cdef const Rows *X = e.codes.rows
    cdef Leading *lead = &e.leading
    cdef code_rows to = rows_from(&lead.centroids.rows, first)
    cdef int64_t k
    project_rows(lead, e.codes, <const char *>centroids + first * X.n * X.kernels.itemsize, X.n, count,
                 kernels_of_codes().centroid_max, work, &to)
    for k in range(first, first + count):
        sum_codes(&lead.centroids, k, lead.d)
        set_leading_panel(lead, e.codes, &e.centroids.coded, k, e.centroids.offset)


cdef void project_centroids(Screen *e, const Step *s) noexcept nogil:
    """Project, code and pack the centroids of a step, of which the codes of all features are there."""
    cdef const Rows *X = e.codes.rows
    cdef int64_t tile = X.kernels.tile, t
    cdef int threads = threads_for(e.n_workspaces, <double>s.K * X.n * e.leading.d)
    for t in prange(n_tiles(X, s.K), schedule="static", num_threads=request_threads(threads)):
        project_some(e, s.centroids, t * tile, min(tile, s.K - t * tile), &e.workspaces[threadid()].projection)
    pack_coded(&e.leading.centroids, s.K)
