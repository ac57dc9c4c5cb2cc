"""8-bit codes of points and centroids: see _codes.pyx."""
from libc.math cimport fabs
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, code_panel, code_rows, code_tile

cdef enum:
    MAX_CODES_BYTES = 256 << 20  # of codes that nobody asked for, or half of X if that is more

cdef struct Margins:
    double score             # G of the proof: of a dense score
    double product           # M: of a product; the square root of it is the margin of one vector
    double rounding          # relative, of squared norms and of what is computed from them
    double underflow         # what a norm may lack because squares underflow, in units of the points

# The points, about an origin. Numbers in float32 are in units of 1 / factor.
cdef struct Codes:
    const Rows *rows
    void *origin             # (n,) in the computing dtype
    double factor            # a power of two
    Margins margins
    int64_t words            # of a row: four codes each
    code_rows points
    uint64_t max_abs_bits    # bits of the largest magnitude of a coordinate of the points
    int64_t bytes

# Some centroids.
cdef struct CodedCentroids:
    code_rows rows
    int32_t *sums            # (K,) of their codes
    code_panel panel

# Bounds on a score.
cdef struct Bounds:
    double lower
    double upper


# Words of a row of codes.
cdef inline int64_t words_of(int64_t n) noexcept nogil:
    return (n + 3) // 4


cdef inline code_rows rows_from(const code_rows *rows, int64_t first) noexcept nogil:
    """Return the rows from number `first` on."""
    cdef code_rows rest = rows[0]
    rest.codes += first * rest.stride
    rest.stats += first
    rest.squares += first
    return rest


# Whether products of so many features fit their integers.
cdef bint can_code(const Rows *rows) noexcept nogil
# Code all points; NULL: no memory, or interrupted.
cdef Codes *codes_open(const Rows *rows, int n_threads, Poll *p) noexcept nogil
cdef void codes_close(Codes *codes) noexcept nogil
cdef int64_t codes_bytes(const Rows *rows) noexcept nogil
cdef Margins margins_of(int64_t n, int itemsize) noexcept nogil

cdef void rows_layout(code_rows *rows, int64_t count, int64_t words, char *memory, size_t *at) noexcept nogil
cdef void code_panel_layout(code_panel *panel, int64_t K, int64_t words, char *memory, size_t *at) noexcept nogil
cdef void coded_layout(CodedCentroids *c, int64_t K, int64_t words, char *memory, size_t *at) noexcept nogil

# Code K centroids (rows in the computing dtype) and pack them; `offset`: |s - o| of the proof.
cdef void code_centroids(CodedCentroids *c, const Codes *codes, const void *centroids, int64_t K, double offset,
                         int n_threads) noexcept nogil
# Pack some of the coded centroids, in rising order, into another panel.
cdef void pack_selected(const CodedCentroids *c, const int32_t *k, int64_t count, code_panel *to) noexcept nogil
# Add up the codes of a centroid; then, with the floats of all that were coded set, pack these.
cdef void sum_codes(CodedCentroids *c, int64_t k, int64_t n) noexcept nogil
cdef void pack_coded(CodedCentroids *c, int64_t K) noexcept nogil

# Load up to a tile of points, rows row[0] .. row[count - 1] of `points` from row `first` on. Without slack; the bounds
# are left to the caller, but for places without a point.
cdef void load_tile(code_tile *tile, const code_rows *points, int64_t words, int64_t first, const int32_t *row,
                    int64_t count) noexcept nogil
# The same but for their codes, which are there.
cdef void load_stats(code_tile *tile, const code_rows *points, int64_t first, const int32_t *row,
                     int64_t count) noexcept nogil

# Bounds on the score of point i and centroid k by the product of their codes.
cdef inline Bounds pair_bounds(const code_rows *points, int64_t i, const code_panel *panel, int64_t k,
                               int32_t product) noexcept nogil:
    cdef double score = panel.norms[k] + <double>points.stats[i].scale * panel.scales[k] * product
    cdef double lost = (<double>points.stats[i].length * panel.errors[k]
                        + <double>points.stats[i].error * panel.lengths[k]
                        + <double>points.stats[i].residual * panel.residuals[k])
    return Bounds(score - lost, score + lost + panel.gaps[k])


cdef inline double loss(const code_tile *tile, int64_t p, const code_panel *panel, int64_t k) noexcept nogil:
    """How far the score of point p of a tile and centroid k may lie from that of their codes."""
    return (<double>tile.length[p] * panel.errors[k] + <double>tile.error[p] * panel.lengths[k]
            + <double>tile.residual[p] * panel.residuals[k])


cdef inline float score_below(const Codes *codes, int64_t i, double squared_distance) noexcept nogil:
    """Bound from above the score that stands for a squared distance of point i."""
    cdef double square = codes.points.squares[i], rounding = codes.margins.rounding
    cdef double score = squared_distance - square + rounding * (squared_distance + 2 * square)
    return <float>((score + rounding * fabs(score)) * codes.factor * codes.factor)
