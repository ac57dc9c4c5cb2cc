"""The leading directions of a sample of the points, by subspace iteration.

N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness", SIAM Review 53, 2011. They need not
be exact: what the projection on them leaves out is measured, point by point.
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

cdef int64_t SAMPLE = 512    # rows from which the directions come, at least,
cdef int64_t MORE = 4        # and so many more for each direction; twice as many where there are
cdef int64_t MANY = 16       # times as many
cdef int64_t SURE = 32       # directions that are looked for however few features there are
cdef int ROUNDS = 3

cdef struct Directions:
    int64_t d
    void *vectors            # (d, n) in the computing dtype; NULL: none yet
    double defect            # at least the norm of what separates them from orthonormal ones


ctypedef fused real:
    float
    double


cdef inline int64_t tiles_of(const Rows *rows, int64_t count) noexcept nogil:
    return (count + rows.kernels.tile - 1) // rows.kernels.tile


# What finding them needs for a while.
cdef struct Draft:
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


cdef size_t draft_layout(Draft *f, char *memory) noexcept nogil:
    cdef const Rows *rows = f.X
    cdef size_t at = 0, item = rows.kernels.itemsize
    cdef int64_t tile = rows.kernels.tile, n = rows.n, longer = max(f.count, n)
    cdef int64_t by_row = tiles_of(rows, f.count) * tile, by_feature = tiles_of(rows, n) * tile
    f.rows = <char *>take(memory, &at, (f.count * n + 8) * item)
    f.by_row = <char *>take(memory, &at, by_row * n * item)
    f.by_feature = <char *>take(memory, &at, by_feature * f.count * item)
    f.products = <char *>take(memory, &at, max(by_row, by_feature) * f.d * item)
    f.zeros = take(memory, &at, longer * item)
    f.vectors = <char *>take(memory, &at, longer * f.d * item)
    f.panel.c = take(memory, &at, longer * f.d * item)
    f.panel.norms = take(memory, &at, f.d * item)
    f.panel.ids = take(memory, &at, f.d * item)
    f.directions = <double *>take(memory, &at, f.d * n * sizeof(double))
    return at


cdef double scale_of(double most, double largest) noexcept nogil:
    """With which values up to `most` have squares; 0 where they are not all finite."""
    return 1 / most if 1 / largest < most <= largest else 0


cdef void centre(real *rows, const real *origin, int64_t count, int64_t n, double scale) noexcept nogil:
    cdef real factor = <real>scale
    cdef int64_t i, l
    if scale == 0:
        memset(rows, 0, count * n * sizeof(real))
        return
    for i in range(count):
        for l in range(n):
            rows[i * n + l] = (rows[i * n + l] - origin[l]) * factor


cdef void read_sample(Draft *f, Poll *p) noexcept nogil:
    """Rows at even distances, minus the origin; all zero where one is not finite."""
    cdef const Rows *rows = f.X
    cdef int item = rows.kernels.itemsize
    cdef int64_t n = rows.n, i
    cdef double largest
    for i in range(f.count):
        if i % 64 == 0 and poll(p):
            return
        read_row(rows, i * rows.m // f.count, f.rows + i * n * item)
    largest = magnitude_of(rows.kernels.pack(f.rows, n, f.count, n, f.zeros, f.by_row), item)
    if item == 4:
        centre(<float *>f.rows, <const float *>f.origin, f.count, n, scale_of(largest, FLT_MAX))
    else:
        centre(<double *>f.rows, <const double *>f.origin, f.count, n, scale_of(largest, DBL_MAX))


cdef void tile_sample(Draft *f) noexcept nogil:
    """The sample in tiles of points, and in tiles of features."""
    cdef const Rows *rows = f.X
    cdef int64_t n = rows.n, tile = rows.kernels.tile, item = rows.kernels.itemsize, t, i, width
    cdef char *to = f.by_feature
    rows.kernels.pack(f.rows, n, f.count, n, f.zeros, f.by_row)
    memset(to, 0, tiles_of(rows, n) * tile * f.count * item)
    for t in range(tiles_of(rows, n)):
        width = min(tile, n - t * tile)
        for i in range(f.count):
            memcpy(to + (t * f.count + i) * tile * item, f.rows + (i * n + t * tile) * item, width * item)


cdef void multiply(Draft *f, const char *tiles, int64_t features, int64_t count, Poll *p) noexcept nogil:
    """f.vectors (d rows of `features`) times the sample in f.products."""
    cdef const Rows *rows = f.X
    cdef int64_t t, tile = rows.kernels.tile, item = rows.kernels.itemsize
    cdef int threads = threads_for(f.n_threads, <double>features * count * f.d)
    f.panel.K = f.d
    f.panel.n = features
    rows.kernels.pack_centroids(f.vectors, f.zeros, &f.panel)
    for t in prange(tiles_of(rows, count), schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            rows.kernels.project(tiles + t * features * tile * item, 1, &f.panel, f.d,
                                 f.products + t * f.d * tile * item)


cdef void iterate_subspace(Draft *f, Poll *p) noexcept nogil:
    """One round: the directions from f.vectors over the sample, made orthonormal."""
    cdef const Rows *rows = f.X
    cdef int64_t tile = rows.kernels.tile, n = rows.n, j, l
    cdef int item = rows.kernels.itemsize
    multiply(f, f.by_feature, f.count, n, p)
    for j in range(f.d):
        for l in range(n):
            f.directions[j * n + l] = get(f.products, (l // tile * f.d + j) * tile + l % tile, item)
    rows.kernels.orthonormalise(f.directions, f.d, n)


cdef void weigh_sample(Draft *f, Poll *p) noexcept nogil:
    """f.vectors becomes the sample's projections on the directions."""
    cdef const Rows *rows = f.X
    cdef int64_t tile = rows.kernels.tile, j, i
    cdef int item = rows.kernels.itemsize
    for i in range(f.d * rows.n):
        put(f.vectors, i, item, f.directions[i])
    multiply(f, f.by_row, rows.n, f.count, p)
    for j in range(f.d):
        for i in range(f.count):
            put(f.vectors, j * f.count + i, item,
                get(f.products, (i // tile * f.d + j) * tile + i % tile, item))


cdef void keep_directions(Draft *f) noexcept nogil:
    """Round the directions that are not zero to the computing dtype."""
    cdef const Rows *rows = f.X
    cdef int item = rows.kernels.itemsize
    cdef int64_t n = rows.n, j, l, kept = 0
    cdef double square
    for j in range(f.d):
        square = 0
        for l in range(n):
            square += f.directions[j * n + l] * f.directions[j * n + l]
        if not 0.5 < square < 2:
            continue
        for l in range(n):
            put(f.vectors, kept * n + l, item, f.directions[j * n + l])
            f.directions[kept * n + l] = get(f.vectors, kept * n + l, item)
        kept += 1
    f.d = kept


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
    """At least the norm of what separates these rows from orthonormal ones: that of their products from
    the identity, by its largest row, and of a symmetric matrix at most that."""
    cdef double most = 0, total
    cdef int64_t i, j
    for i in range(count):
        total = <double>count * n * 2.3e-16
        for j in range(count):
            total += fabs(dot(rows + i * n, rows + j * n, n) - (i == j))
        most = max(most, total)
    return most


cdef int64_t how_many(const Rows *rows, int64_t most) noexcept nogil:
    """All of few features, since their bounds then hold to rounding; else a third at most."""
    return min(rows.m, rows.n if rows.n <= most else min(most, max(SURE, rows.n // 3)))


cdef int hand_over(Directions *found, const void *vectors, int64_t d, int64_t n, size_t item) noexcept nogil:
    """Nonzero where there is no memory."""
    found.vectors = allocate(max(d, 1) * n * item)
    if found.vectors == NULL:
        return 1
    memcpy(found.vectors, vectors, d * n * item)
    found.d = d
    return 0


cdef int directions_find(Directions *found, const Rows *rows, const void *origin, int64_t most, int n_threads,
                         Poll *p) noexcept nogil:
    cdef Draft f
    cdef Stream random = stream_of(0, 0)
    cdef int64_t i
    cdef int failed
    memset(&f, 0, sizeof(Draft))
    f.X = rows
    f.origin = origin
    f.n_threads = n_threads
    f.d = how_many(rows, most)
    f.count = SAMPLE + MORE * f.d
    f.count = min(rows.m, max(f.count, min(2 * f.count, rows.m // MANY)))
    cdef char *memory = <char *>allocate(draft_layout(&f, NULL))
    if memory == NULL:
        return 1
    draft_layout(&f, memory)
    memset(f.zeros, 0, max(f.count, rows.n) * rows.kernels.itemsize)
    read_sample(&f, p)
    tile_sample(&f)
    for i in range(f.d * f.count):
        put(f.vectors, i, rows.kernels.itemsize, next_unit(&random) - 0.5)
    for i in range(ROUNDS):
        if i > 0:
            weigh_sample(&f, p)
        iterate_subspace(&f, p)
    keep_directions(&f)
    found.defect = defect_of(f.directions, f.d, rows.n)
    failed = hand_over(found, f.vectors, f.d, rows.n, rows.kernels.itemsize)
    release(memory)
    return failed


cdef int directions_all(Directions *found, const Rows *rows) noexcept nogil:
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
