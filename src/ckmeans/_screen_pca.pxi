"""Find the leading directions of a sample of the points by subspace iteration.

N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness", SIAM Review 53, 2011. The directions
need not be exact: what the projection on them leaves out is measured for each point.
"""
from cython.parallel cimport prange
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, magnitude_of, read_row
from ckmeans._random cimport Stream, next_unit, stream_of
from ckmeans._runtime cimport Poll, allocate, panel, poll, release, request_threads, threads_for
from ckmeans._values cimport get, put

# The sample has MIN_SAMPLE + ROWS_PER_DIRECTION * d rows; up to twice as many, where that is still at most one row in
# SAMPLE_STRIDE. Heuristics: better directions only save distances.
cdef int64_t MIN_SAMPLE = 512           # rows
cdef int64_t ROWS_PER_DIRECTION = 4     # rows
cdef int64_t SAMPLE_STRIDE = 16         # rows of X for a row of the sample
cdef int64_t MIN_DIRECTIONS = 32        # directions to find where a third of the features are fewer
cdef int N_ITERATIONS = 3               # of the subspace: two power iterations are enough (Halko et al., 4.5)

# Nearly orthonormal directions.
cdef struct Directions:
    int64_t d
    void *vectors            # (d, n) in the computing dtype; NULL: none yet
    double defect            # upper bound on the norm of Q Q' - I


ctypedef fused real:
    float
    double


cdef inline int64_t n_tiles(const Rows *rows, int64_t count) noexcept nogil:
    """Count the tiles that hold so many points."""
    return (count + rows.kernels.tile - 1) // rows.kernels.tile


# Scratch memory of the subspace iteration.
cdef struct SubspaceWorkspace:
    const Rows *X
    const void *origin
    int n_threads
    int64_t count            # rows of the sample
    int64_t d
    char *rows               # (count, n), minus the origin, scaled to at most 1
    char *by_row             # the same in tiles of points
    char *by_feature         # and in tiles of features
    char *products
    void *zeros              # no shift
    char *vectors            # (d, count or n) what the panel is packed from
    panel panel
    double *directions       # (d, n)


cdef size_t subspace_layout(SubspaceWorkspace *w, char *memory) noexcept nogil:
    """Lay out the arrays; with memory NULL only count the bytes."""
    cdef const Rows *X = w.X
    cdef size_t at = 0, item = X.kernels.itemsize
    cdef int64_t tile = X.kernels.tile, n = X.n, longer = max(w.count, n)
    cdef int64_t by_row = n_tiles(X, w.count) * tile, by_feature = n_tiles(X, n) * tile
    w.rows = <char *>take(memory, &at, (w.count * n + 8) * item)
    w.by_row = <char *>take(memory, &at, by_row * n * item)
    w.by_feature = <char *>take(memory, &at, by_feature * w.count * item)
    w.products = <char *>take(memory, &at, max(by_row, by_feature) * w.d * item)
    w.zeros = take(memory, &at, longer * item)
    w.vectors = <char *>take(memory, &at, longer * w.d * item)
    w.panel.c = take(memory, &at, longer * w.d * item)
    w.panel.norms = take(memory, &at, w.d * item)
    w.panel.ids = take(memory, &at, w.d * item)
    w.directions = <double *>take(memory, &at, w.d * n * sizeof(double))
    return at


cdef double scale_of(double max_abs, double largest) noexcept nogil:
    """Return the factor that makes values up to `max_abs` at most 1; 0: not all are finite, or all are tiny."""
    return 1 / max_abs if 1 / largest < max_abs <= largest else 0


cdef void centre(real *rows, const real *origin, int64_t count, int64_t n, double scale) noexcept nogil:
    """Subtract the origin and scale; with scale 0 set all to zero."""
    cdef real factor = <real>scale
    cdef int64_t i, l
    if scale == 0:
        memset(rows, 0, count * n * sizeof(real))
        return
    for i in range(count):
        for l in range(n):
            rows[i * n + l] = (rows[i * n + l] - origin[l]) * factor


cdef void read_sample(SubspaceWorkspace *w, Poll *p) noexcept nogil:
    """Read evenly spaced rows, minus the origin; all zero where one is not finite."""
    cdef const Rows *X = w.X
    cdef int item = X.kernels.itemsize
    cdef int64_t n = X.n, i
    cdef double max_abs
    for i in range(w.count):
        if i % 64 == 0 and poll(p):
            return
        read_row(X, i * X.m // w.count, w.rows + i * n * item)
    max_abs = magnitude_of(X.kernels.pack(w.rows, n, w.count, n, w.zeros, w.by_row), item)
    if item == 4:
        centre(<float *>w.rows, <const float *>w.origin, w.count, n, scale_of(max_abs, FLT_MAX))
    else:
        centre(<double *>w.rows, <const double *>w.origin, w.count, n, scale_of(max_abs, DBL_MAX))


cdef void pack_sample(SubspaceWorkspace *w) noexcept nogil:
    """Pack the sample into tiles of points, and into tiles of features."""
    cdef const Rows *X = w.X
    cdef int64_t n = X.n, tile = X.kernels.tile, item = X.kernels.itemsize, t, i, width
    cdef char *to = w.by_feature
    X.kernels.pack(w.rows, n, w.count, n, w.zeros, w.by_row)
    memset(to, 0, n_tiles(X, n) * tile * w.count * item)
    for t in range(n_tiles(X, n)):
        width = min(tile, n - t * tile)
        for i in range(w.count):
            memcpy(to + (t * w.count + i) * tile * item, w.rows + (i * n + t * tile) * item, width * item)


cdef void multiply(SubspaceWorkspace *w, const char *tiles, int64_t features, int64_t count, Poll *p) noexcept nogil:
    """Multiply w.vectors, d rows of `features` values, by the packed sample into w.products."""
    cdef const Rows *X = w.X
    cdef int64_t t, tile = X.kernels.tile, item = X.kernels.itemsize
    cdef int threads = threads_for(w.n_threads, <double>features * count * w.d)
    w.panel.K = w.d
    w.panel.n = features
    X.kernels.pack_centroids(w.vectors, w.zeros, &w.panel)
    for t in prange(n_tiles(X, count), schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            X.kernels.project(tiles + t * features * tile * item, 1, &w.panel, w.d,
                              w.products + t * w.d * tile * item)


cdef void iterate_subspace(SubspaceWorkspace *w, Poll *p) noexcept nogil:
    """Make orthonormal directions from w.vectors, their coordinates over the sample."""
    cdef const Rows *X = w.X
    cdef int64_t tile = X.kernels.tile, n = X.n, j, l
    cdef int item = X.kernels.itemsize
    multiply(w, w.by_feature, w.count, n, p)
    for j in range(w.d):
        for l in range(n):
            w.directions[j * n + l] = get(w.products, (l // tile * w.d + j) * tile + l % tile, item)
    X.kernels.orthonormalise(w.directions, w.d, n)


cdef void project_sample(SubspaceWorkspace *w, Poll *p) noexcept nogil:
    """Set w.vectors to the sample's projections on the directions."""
    cdef const Rows *X = w.X
    cdef int64_t tile = X.kernels.tile, j, i
    cdef int item = X.kernels.itemsize
    for i in range(w.d * X.n):
        put(w.vectors, i, item, w.directions[i])
    multiply(w, w.by_row, X.n, w.count, p)
    for j in range(w.d):
        for i in range(w.count):
            put(w.vectors, j * w.count + i, item, get(w.products, (i // tile * w.d + j) * tile + i % tile, item))


cdef void round_directions(SubspaceWorkspace *w) noexcept nogil:
    """Drop the directions that are zero, and round the others to the computing dtype."""
    cdef int item = w.X.kernels.itemsize
    cdef int64_t n = w.X.n, j, l, kept = 0
    cdef double square
    for j in range(w.d):
        square = 0
        for l in range(n):
            square += w.directions[j * n + l] * w.directions[j * n + l]
        if not 0.5 < square < 2:
            continue
        for l in range(n):
            put(w.vectors, kept * n + l, item, w.directions[j * n + l])
            w.directions[kept * n + l] = get(w.vectors, kept * n + l, item)
        kept += 1
    w.d = kept


cdef double dot(const double *a, const double *b, int64_t n) noexcept nogil:
    cdef double[4] sums
    cdef int64_t l, i
    sums[0] = sums[1] = sums[2] = sums[3] = 0
    for l in range(0, n - 3, 4):
        for i in range(4):
            sums[i] += a[l + i] * b[l + i]
    for l in range(n // 4 * 4, n):
        sums[0] += a[l] * b[l]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


cdef double defect_of(const double *rows, int64_t count, int64_t n) noexcept nogil:
    """Bound the norm of Q Q' - I by its largest sum of absolute values in a row, as it is symmetric."""
    cdef double defect = 0, total
    cdef int64_t i, j
    for i in range(count):
        total = <double>count * n * 2.3e-16
        for j in range(count):
            total += fabs(dot(rows + i * n, rows + j * n, n) - (i == j))
        defect = max(defect, total)
    return defect


cdef int64_t n_directions(const Rows *rows, int64_t max_) noexcept nogil:
    """Choose how many directions to find: all of few features, as their bounds then hold to rounding; else a third."""
    return min(rows.m, rows.n if rows.n <= max_ else min(max_, max(MIN_DIRECTIONS, rows.n // 3)))


cdef int copy_directions(Directions *found, const SubspaceWorkspace *w) noexcept nogil:
    """Copy the directions out of the workspace; nonzero: no memory."""
    cdef size_t size = w.X.n * w.X.kernels.itemsize
    found.vectors = allocate(max(w.d, 1) * size)
    if found.vectors == NULL:
        return 1
    memcpy(found.vectors, w.vectors, w.d * size)
    found.d = w.d
    found.defect = defect_of(w.directions, w.d, w.X.n)
    return 0


cdef int directions_find(Directions *found, const Rows *rows, const void *origin, int64_t max_, int n_threads,
                         Poll *p) noexcept nogil:
    """Find at most `max_` leading directions of the rows about the origin; nonzero: no memory."""
    cdef SubspaceWorkspace w
    cdef Stream random = stream_of(0, 0)
    cdef int64_t i
    cdef int failed
    memset(&w, 0, sizeof(SubspaceWorkspace))
    w.X = rows
    w.origin = origin
    w.n_threads = n_threads
    w.d = n_directions(rows, max_)
    w.count = MIN_SAMPLE + ROWS_PER_DIRECTION * w.d
    w.count = min(rows.m, max(w.count, min(2 * w.count, rows.m // SAMPLE_STRIDE)))
    cdef char *memory = <char *>allocate(subspace_layout(&w, NULL))
    if memory == NULL:
        return 1
    subspace_layout(&w, memory)
    memset(w.zeros, 0, max(w.count, rows.n) * rows.kernels.itemsize)
    read_sample(&w, p)
    pack_sample(&w)
    for i in range(w.d * w.count):
        put(w.vectors, i, rows.kernels.itemsize, next_unit(&random) - 0.5)
    for i in range(N_ITERATIONS):
        if i > 0:
            project_sample(&w, p)
        iterate_subspace(&w, p)
    round_directions(&w)
    failed = copy_directions(found, &w)
    release(memory)
    return failed


cdef int directions_identity(Directions *found, const Rows *rows) noexcept nogil:
    """Take the features themselves as directions; nonzero: no memory."""
    cdef int64_t n = rows.n, l
    cdef int item = rows.kernels.itemsize
    found.vectors = allocate(n * n * item)
    if found.vectors == NULL:
        return 1
    memset(found.vectors, 0, n * n * item)
    for l in range(n):
        put(found.vectors, l * n + l, item, 1)
    found.d = n
    found.defect = 0
    return 0


cdef void directions_close(Directions *found) noexcept nogil:
    release(found.vectors)
    found.vectors = NULL
