"""Bounds of all pairs, as a step of screening finds them: for tests of the proof in _codes.pyx."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t

from ckmeans._arena cimport take
from ckmeans._codes cimport Bounds, CodedCentroids, code_panel_layout, load_tile, pack_selected, pair_bounds
from ckmeans._runtime cimport CODE_TILE, allocate, code_panel, code_rows, code_tile, hit, kernels_of_codes, release


cdef void bound_tile(code_tile *tile, const code_panel *one, int64_t count, double *lower, double *upper,
                     int64_t K) noexcept nogil:
    """Bound the scores of a tile's points and the centroid of a panel; OUT lower, upper: every K-th place."""
    cdef hit[16] hits
    cdef float[512] scores  # of each place in a tile for each hit
    cdef uint32_t listed = 0
    cdef int64_t p
    for p in range(count):
        tile.bound[p] = INFINITY
    kernels_of_codes().screen(tile, one, hits, scores)
    for p in range(count):
        upper[p * K] = tile.bound[p]
        tile.bound[p] = -INFINITY
    if kernels_of_codes().screen(tile, one, hits, scores) > 0:
        listed = hits[0].points
    for p in range(count):
        lower[p * K] = -INFINITY if listed >> p & 1 else tile.lowest_above[p]


cdef int bound_by_tiles(const code_rows *points, int64_t m, const CodedCentroids *c, double *lower,
                        double *upper) noexcept nogil:
    """Bound all scores by tiles, a centroid at a time; nonzero: no memory."""
    cdef int64_t K = c.panel.K, words = c.panel.words, first = 0, count, p
    cdef code_tile tile
    cdef code_panel one
    cdef int32_t[32] row
    cdef int32_t k
    cdef size_t at = 0
    code_panel_layout(&one, 1, words, NULL, &at)
    cdef char *memory = <char *>allocate(at + words * CODE_TILE * sizeof(int32_t))
    if memory == NULL:
        return 1
    tile.words = <int32_t *>(memory + at)
    at = 0
    code_panel_layout(&one, 1, words, memory, &at)
    for p in range(CODE_TILE):
        row[p] = <int32_t>p
    while first < m:
        count = min(<int64_t>CODE_TILE, m - first)
        load_tile(&tile, points, words, first, row, count)
        for k in range(<int32_t>K):
            pack_selected(c, &k, 1, &one)
            bound_tile(&tile, &one, count, lower + first * K + k, upper + first * K + k, K)
        first += count
    release(memory)
    return 0


cdef int bound_by_pairs(const code_rows *points, int64_t m, const CodedCentroids *c, double *lower,
                        double *upper) noexcept nogil:
    """Bound all scores pair by pair; nonzero: no memory."""
    cdef int64_t K = c.panel.K, i, k
    cdef Bounds bounds
    cdef int32_t *row = <int32_t *>allocate(3 * K * sizeof(int32_t))
    cdef int32_t *all_k = row + K
    cdef int32_t *product = row + 2 * K
    if row == NULL:
        return 1
    for i in range(m):
        for k in range(K):
            row[k], all_k[k] = <int32_t>i, <int32_t>k
        kernels_of_codes().products(points, &c.rows, c.sums, c.panel.words, row, all_k, K, product)
        for k in range(K):
            bounds = pair_bounds(points, i, &c.panel, k, product[k])
            lower[i * K + k], upper[i * K + k] = bounds.lower, bounds.upper
    release(row)
    return 0
