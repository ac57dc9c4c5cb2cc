"""8-bit codes of points and centroids, which bound the distance of every pair from both sides.

About an origin o, y = x - o is scale * q up to a rest whose norm e is known, q being integers of 8 bits; likewise the
centroids. With a >= |scale q|, the product of two such vectors is

    y_x . y_c = scale_x scale_c (q_x . q_c) up to a_x e_c + e_x |y_c|,

by Cauchy and Schwarz, and the product of the integers is exact. So the score S = |y_c|^2 - 2 y_x . y_c, which differs
from |x - c|^2 by |y_x|^2 alone, is bounded from both sides.

Why the labels that follow are those of the dense engine, bit for bit. u is the unit roundoff of the computing dtype,
v = 2^-24 that of the bounds, which are computed in float32; |.| are norms.

1. The dense score (kernels.h) is |x - c|^2 - |x - s|^2 up to E = G (|c - s|^2 + 2 |x - s| |c - s|), G = 1.1 (n + 8) u,
   where s is the step's shift; in float64 the norm |c - s|^2 takes n roundings more, and G = 1.1 (2 n + 8) u. With
   h = |s - o|, |c - s| <= |y_c| + h and |x - s| <= |y_x| + h, so that
   E <= G (|y_c|^2 + 4 h |y_c| + 3 h^2) + 2 G |y_x| (|y_c| + h).
   A centroid c loses to c' for certain if S_c - E_c > S_c' + E_c': the bounds here are on S - E and S + E.
2. Norms are sums of squares of fl(x - o), right to 80 u (in float64 n / 64 more, which the roundings to float32 hide);
   e is the norm of fl(fl(x - o) - scale q), raised by 80 u of itself and by 2 u |y| (quantise_body.h).
3. The bound's own arithmetic: one conversion, two products and a sum err by at most 9 v a_x |q_c| + 2 v |y_c|^2, where
   both a_x <= A = max(|y_x|, a_x) and |scale q_c| <= B, likewise; the three terms of the loss by 5 v of themselves.

Every margin with |y_x| |y_c| goes into the third term of the loss, r_x r_c with r_x = sqrt(M) A and
r_c = sqrt(M) (B + h), M = G + 32 v: then 2 r_x r_c covers the last term of E and the roundings. Margins with the
centroid alone lower its norm, and `gap` leads from there to the raised norm. What is relative to the loss raises its
factors.

Underflow. A square that underflows is wrong by half the least magnitude of the dtype, 2^-150 or 2^-1075, so a norm of
n of them by sqrt(n) 2^-75 or sqrt(n) 2^-537.5: e and |y| are raised by that, and each factor of the loss by TINY, as
float32 may not hold it. Whatever else underflows (in the dense score, in |y|^2, in a product of two scales, times
integers of up to 2^30) comes to less than 2^-120 in all, which every margin contains; for float64, MAX_EXPONENT of the
factor keeps n 2^-1074 factor^2 far below.

Overflow. In float32 no score does (set_safe_range in _points.pyx). In float64 a vector may be too long for float32 in
units of 1 / factor. Beyond NORM_MAX the lower bound stays there, which is low enough, and the upper one is infinite; no
lower bound comes to LARGE then, as codes of vectors beyond 2^47 are zero. What remains is an infinite loss, or a NaN:
comparisons with either are made such that the pair is kept.
"""
from cython.parallel cimport prange, threadid
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, frexp, isfinite, ldexp, sqrt
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, read_row, read_rows
from ckmeans._runtime cimport (
    CODE_FEATURES_MAX, CODE_GROUP_MAX, CODE_MAX, CODE_TILE, Poll, allocate, code_stats, is_stopped,
    kernels_of_codes, poll, release, request_threads, threads_for,
)
from ckmeans._shift cimport median_of
from ckmeans._values cimport get, put

cdef enum:
    BLOCK = 64               # rows that are coded together
    ORIGIN_GROUPS = 33       # the origin is the median of the means of so many groups of rows, as outliers move few
    ORIGIN_ROWS = 8          # rows of a group
    MAX_THREADS = 1024       # threads: the limit of n_threads

cdef float LARGE = 3e38                  # no score is as large
cdef double FLOAT_ROUNDING = 2.0 ** -24
cdef double TINY = 2.0 ** -126           # more than what underflows in float32
cdef double NORM_MAX = 1e38             # of a lower bound on |y|^2
cdef int MAX_EXPONENT = 448              # of the factor


cdef Margins margins_of(int64_t n, int itemsize) noexcept nogil:
    cdef double unit = FLOAT_ROUNDING if itemsize == 4 else 2.0 ** -53
    cdef double score = 1.1 * ((n if itemsize == 4 else 2 * n) + 8) * unit
    cdef double least = 2.0 ** -74 if itemsize == 4 else 2.0 ** -536
    cdef double rounding = 2.0 ** -16 if itemsize == 4 else 2.0 ** -20
    return Margins(score, score + 32 * FLOAT_ROUNDING, rounding, least * sqrt(n))


cdef bint can_code(const Rows *rows) noexcept nogil:
    return rows.source.indptr == NULL and rows.window == NULL and rows.n <= CODE_FEATURES_MAX


# ---- memory ----------------------------------------------------------------------------------

cdef void rows_layout(code_rows *rows, int64_t count, int64_t words, char *memory, size_t *at) noexcept nogil:
    rows.stride = 4 * words
    rows.codes = <int8_t *>take(memory, at, count * rows.stride)
    rows.stats = <code_stats *>take(memory, at, count * sizeof(code_stats))
    rows.squares = <double *>take(memory, at, count * sizeof(double))


cdef void code_panel_layout(code_panel *panel, int64_t K, int64_t words, char *memory, size_t *at) noexcept nogil:
    cdef int64_t places = (K + CODE_GROUP_MAX - 1) // CODE_GROUP_MAX * CODE_GROUP_MAX
    panel.words = words
    panel.codes = <int32_t *>take(memory, at, places * words * sizeof(int32_t))
    panel.starts = <int32_t *>take(memory, at, places * sizeof(int32_t))
    panel.scales = <float *>take(memory, at, places * sizeof(float))
    panel.norms = <float *>take(memory, at, places * sizeof(float))
    panel.gaps = <float *>take(memory, at, places * sizeof(float))
    panel.lengths = <float *>take(memory, at, places * sizeof(float))
    panel.errors = <float *>take(memory, at, places * sizeof(float))
    panel.residuals = <float *>take(memory, at, places * sizeof(float))


cdef void coded_layout(CodedCentroids *c, int64_t K, int64_t words, char *memory, size_t *at) noexcept nogil:
    rows_layout(&c.rows, K, words, memory, at)
    c.sums = <int32_t *>take(memory, at, K * sizeof(int32_t))
    code_panel_layout(&c.panel, K, words, memory, at)


cdef size_t codes_layout(Codes *codes, const Rows *rows, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef size_t at = (sizeof(Codes) + 63) // 64 * 64
    codes.words = words_of(rows.n)
    codes.origin = take(memory, &at, rows.n * rows.kernels.itemsize)
    rows_layout(&codes.points, rows.m, codes.words, memory, &at)
    return at


cdef int64_t codes_bytes(const Rows *rows) noexcept nogil:
    cdef Codes codes
    return <int64_t>codes_layout(&codes, rows, NULL)


# ---- the points ------------------------------------------------------------------------------

cdef bint find_origin(Codes *codes) noexcept nogil:
    """Set the origin, near the mean, and the factor, by a sample of the rows. False: no memory."""
    cdef const Rows *X = codes.rows
    cdef int64_t n = X.n, count = min(X.m, <int64_t>ORIGIN_GROUPS * ORIGIN_ROWS), i, l
    cdef int64_t groups = min(count, <int64_t>ORIGIN_GROUPS)
    cdef int item = X.kernels.itemsize, exponent
    cdef double means[ORIGIN_GROUPS]
    cdef double largest = 0, value
    cdef double *sums = <double *>allocate((groups + 1) * n * sizeof(double))
    cdef void *row = sums + groups * n
    if sums == NULL:
        return False
    memset(sums, 0, groups * n * sizeof(double))
    for i in range(count):
        read_row(X, i * X.m // count, row)
        for l in range(n):
            value = get(row, l, item)
            sums[i % groups * n + l] += value / ((count - i % groups + groups - 1) // groups)
    for l in range(n):
        for i in range(groups):
            means[i] = sums[i * n + l]
        value = median_of(means, groups)
        put(codes.origin, l, item, value if isfinite(value) else 0)
        for i in range(groups):
            if isfinite(sums[i * n + l]):
                largest = max(largest, fabs(sums[i * n + l] - value))
    release(sums)
    codes.factor = 1
    if item == 8 and 0 < largest <= DBL_MAX:
        frexp(largest, &exponent)
        codes.factor = ldexp(1.0, min(max(-exponent, -1000), MAX_EXPONENT))
    return True


cdef uint64_t code_block(const Codes *codes, int64_t first, int64_t count, void *scratch) noexcept nogil:
    cdef const Rows *X = codes.rows
    cdef code_rows to = rows_from(&codes.points, first)
    cdef int64_t stride
    cdef const void *rows = read_rows(X, first, count, scratch, &stride)
    return X.kernels.quantise(rows, stride, count, X.n, codes.origin, codes.factor, sqrt(codes.margins.product),
                              CODE_MAX, &to)


cdef int code_points(Codes *codes, int n_threads, Poll *p) noexcept nogil:
    """Nonzero: no memory, or interrupted."""
    cdef const Rows *X = codes.rows
    cdef int64_t blocks = (X.m + BLOCK - 1) // BLOCK, scratch = (BLOCK * X.n + 8) * X.kernels.itemsize, b
    cdef int threads = threads_for(n_threads, 8 * X.stored), i
    cdef uint64_t[MAX_THREADS] bits
    cdef char *memory = <char *>allocate(threads * scratch)
    if memory == NULL:
        return 1
    memset(bits, 0, sizeof(bits))
    for b in prange(blocks, schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            bits[threadid()] = max(bits[threadid()], code_block(
                codes, b * BLOCK, min(<int64_t>BLOCK, X.m - b * BLOCK), memory + threadid() * scratch))
    for i in range(threads):
        codes.max_abs_bits = max(codes.max_abs_bits, bits[i])
    release(memory)
    return is_stopped(p)


cdef Codes *codes_open(const Rows *rows, int n_threads, Poll *p) noexcept nogil:
    cdef Codes draft
    cdef Codes *codes
    memset(&draft, 0, sizeof(Codes))
    draft.rows = rows
    draft.margins = margins_of(rows.n, rows.kernels.itemsize)
    draft.bytes = codes_bytes(rows)
    codes = <Codes *>allocate(draft.bytes)
    if codes == NULL:
        return NULL
    codes_layout(&draft, rows, <char *>codes)
    codes[0] = draft
    if not find_origin(codes) or code_points(codes, n_threads, p):
        codes_close(codes)
        return NULL
    return codes


cdef void codes_close(Codes *codes) noexcept nogil:
    release(codes)


# ---- the centroids ---------------------------------------------------------------------------

cdef void set_panel(CodedCentroids *c, const Codes *codes, int64_t k, double offset) noexcept nogil:
    """Set the floats of centroid k: see the proof."""
    cdef code_panel *panel = &c.panel
    cdef const code_stats *stats = &c.rows.stats[k]
    cdef double unit = 2.0 ** -53 if codes.rows.kernels.itemsize == 8 else FLOAT_ROUNDING
    cdef double square = c.rows.squares[k] * codes.factor * codes.factor, h = offset * codes.factor
    cdef double norm = sqrt(square) * (1 + 80 * unit) + codes.margins.underflow * codes.factor, up = 1 + 2.0 ** -20
    cdef double margin = (codes.margins.score * (norm * norm + 4 * norm * h + 3 * h * h)
                          + (160 * unit + 8 * FLOAT_ROUNDING) * square + 2.0 ** -120)
    panel.scales[k] = -2 * stats.scale
    panel.norms[k] = <float>min(square - margin, NORM_MAX)
    panel.gaps[k] = <float>(2 * margin * up) if square - margin < NORM_MAX else INFINITY
    panel.lengths[k] = <float>(2 * norm * up + TINY)
    panel.errors[k] = <float>(2 * stats.error * up)
    panel.residuals[k] = <float>(2 * sqrt(codes.margins.product) * (max(norm, <double>stats.length) + h) * up + TINY)


cdef void complete_panel(code_panel *panel) noexcept nogil:
    """Fill up the floats of the last group."""
    cdef int64_t last = panel.K - 1, k
    for k in range(panel.K, (panel.K + CODE_GROUP_MAX - 1) // CODE_GROUP_MAX * CODE_GROUP_MAX):
        panel.scales[k], panel.norms[k], panel.gaps[k] = panel.scales[last], panel.norms[last], panel.gaps[last]
        panel.lengths[k], panel.errors[k] = panel.lengths[last], panel.errors[last]
        panel.residuals[k] = panel.residuals[last]


cdef void sum_codes(CodedCentroids *c, int64_t k, int64_t n) noexcept nogil:
    cdef int64_t l
    c.sums[k] = 0
    for l in range(n):
        c.sums[k] += c.rows.codes[k * c.rows.stride + l]


cdef void pack_coded(CodedCentroids *c, int64_t K) noexcept nogil:
    c.panel.K = K
    complete_panel(&c.panel)
    kernels_of_codes().pack_centroids(c.rows.codes, c.rows.stride, NULL, &c.panel)


cdef void code_some(CodedCentroids *c, const Codes *codes, const void *centroids, int64_t first, int64_t last,
                    double offset) noexcept nogil:
    cdef const Rows *X = codes.rows
    cdef code_rows to = rows_from(&c.rows, first)
    cdef int64_t n = X.n, k
    X.kernels.quantise(<const char *>centroids + first * n * X.kernels.itemsize, n, last - first, n, codes.origin,
                       codes.factor, 0, kernels_of_codes().centroid_max, &to)
    for k in range(first, last):
        sum_codes(c, k, n)
        set_panel(c, codes, k, offset)


cdef void code_centroids(CodedCentroids *c, const Codes *codes, const void *centroids, int64_t K, double offset,
                         int n_threads) noexcept nogil:
    cdef int threads = threads_for(n_threads, 8.0 * K * codes.rows.n), t
    if threads == 1:
        code_some(c, codes, centroids, 0, K, offset)
    else:
        for t in prange(threads, schedule="static", num_threads=request_threads(threads)):
            code_some(c, codes, centroids, t * K // threads, (t + 1) * K // threads, offset)
    pack_coded(c, K)


cdef void pack_selected(const CodedCentroids *c, const int32_t *k, int64_t count, code_panel *to) noexcept nogil:
    cdef const code_panel *all = &c.panel
    cdef int64_t i
    to.K, to.words = count, all.words
    for i in range(count):
        to.scales[i], to.norms[i], to.gaps[i] = all.scales[k[i]], all.norms[k[i]], all.gaps[k[i]]
        to.lengths[i], to.errors[i], to.residuals[i] = all.lengths[k[i]], all.errors[k[i]], all.residuals[k[i]]
    if count > 0:
        complete_panel(to)
        kernels_of_codes().pack_centroids(c.rows.codes, c.rows.stride, k, to)


# ---- a tile of points ------------------------------------------------------------------------

cdef void load_stats(code_tile *tile, const code_rows *points, int64_t first, const int32_t *row,
                     int64_t count) noexcept nogil:
    cdef const code_stats *stats
    cdef int64_t p
    memset(tile.slack, 0, sizeof(tile.slack))
    for p in range(CODE_TILE):
        stats = &points.stats[first + row[min(p, count - 1)]]
        tile.scale[p], tile.length[p], tile.error[p], tile.residual[p] = (
            stats.scale, stats.length, stats.error, stats.residual)
        if p >= count:
            tile.bound[p] = -LARGE


cdef void load_tile(code_tile *tile, const code_rows *points, int64_t words, int64_t first, const int32_t *row,
                    int64_t count) noexcept nogil:
    cdef int32_t[32] rows
    cdef int64_t p
    for p in range(CODE_TILE):
        rows[p] = row[min(p, count - 1)]
    kernels_of_codes().pack_points(points.codes + first * points.stride, points.stride, rows, words, tile.words)
    load_stats(tile, points, first, row, count)
