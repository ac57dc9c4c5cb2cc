/* Assignment straight from the rows, for few centroids (a part of kernels_body.h). Features lie in the
 * SIMD lanes: packing rows into tiles would take longer than so few products. These scores are added
 * up in another order than those that define a label, and relative to the score of one centroid, the
 * base. A row whose label rounding leaves in doubt is reported as undecided.
 *
 * Both start from the same floats: the norm N, the row's values y (minus the shift) and the centroid's p (minus the
 * shift, times -2). In a defining score, feature l (from 0) takes at most n - l + 1 roundings and the norm n; here
 * N - N_base, p - p_base and their sums, lanes included, take at most n / LANES + 14 each. So, by Cauchy and Schwarz,
 * with u the unit roundoff and |.| norms, the difference of two defining scores is that of the two here up to the
 * sum of their errors,
 *
 *     error = e + e_base,   e = 1.1 u ((n + n / LANES + 24) N + (|w p| + (n / LANES + 24) |p|) |y|),
 *
 * w_l = n - l + 2, where the factor 1.1 and the last roundings cover those of the test itself. A label is certain if
 * no other centroid's score minus its error is at or below the best one's score plus its error.
 *
 * Layout of `packed`: for each vector of features, the shift and p - p_base of every centroid but the base, a vector
 * each. Then K values each, the base's first: N - N_base, the errors at |y| = 0, their slopes over |y|, the indices.
 * If n is no multiple of LANES, the last vector ends with the row and holds zeros for the features that the vector
 * before it holds already: |y| is a little too large then. */

enum {
    F(ROWS_MAX_K) = 8,                                /* with more centroids, tiles are as fast */
    F(ACCUMULATORS) = (int)V(GROUP) * (int)V(TILE_VECS) /* that fit the registers, as in score_group */
};

static ALWAYS_INLINE int64_t F(row_vectors)(int64_t n) { return (n + V(LANES) - 1) / V(LANES); }

static int64_t F(assign_rows_size)(int64_t K, int64_t n)
{
    const int64_t size = K * F(row_vectors)(n) * V(LANES) + 4 * K;
    return V(LANES) > 1 && K > 1 && K <= F(ROWS_MAX_K) && n >= V(LANES) && size <= F(L1) ? size : 0;
}

static ALWAYS_INLINE REAL F(scaled)(const REAL *centroid, const REAL *shift, int64_t l)
{
    return -2 * (centroid[l] - shift[l]);
}

/* Upper bound on the rounding errors of a row's products with p, divided by u |y|: see above. */
static double F(error_slope)(const REAL *centroid, const REAL *shift, int64_t n)
{
    double squares = 0, weighted = 0;
    for (int64_t l = 0; l < n; ++l) {
        const double p = F(scaled)(centroid, shift, l), wp = (double)(n - l + 2) * p;
        squares += p * p;
        weighted += wp * wp;
    }
    return sqrt(weighted) + (n / V(LANES) + 24) * sqrt(squares);
}

/* Fills place i of `constants`, the end of `packed`, for centroid k. */
static void F(pack_constants)(int64_t i, int64_t k, REAL norm, double slope, REAL base_norm, double base_slope,
                              int64_t K, int64_t n, REAL *constants)
{
    const double unit = 1.1 * (sizeof(REAL) == 4 ? 0x1p-24 : 0x1p-53);
    const double tiny = sizeof(REAL) == 4 ? 0x1p-149 : 0x1p-1074; /* largest error of an operation that underflows */
    const double both = unit * (slope + base_slope), norms = unit * (n + n / V(LANES) + 24) * (norm + base_norm);
    const BITS id = (BITS)k;
    constants[i] = norm - base_norm;
    constants[K + i] = (REAL)(norms + (4 * n + 64) * tiny + 2 * both * sqrt(n * tiny));
    constants[2 * K + i] = (REAL)both;
    memcpy(constants + 3 * K + i, &id, sizeof id);
}

static void F(assign_rows_pack)(const void *centroids_, const void *shift_, int64_t K, int64_t n, void *packed_)
{
    enum { L = V(LANES) };
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *packed = packed_, norm[F(ROWS_MAX_K)];
    double slope[F(ROWS_MAX_K)];
    int64_t base = 0;
    for (int64_t k = 0; k < K; ++k) {
        norm[k] = F(squared_norm)(centroids + k * n, shift, n);
        slope[k] = F(error_slope)(centroids + k * n, shift, n);
        if (norm[k] < norm[base]) base = k;
    }
    for (int64_t v = 0; v < F(row_vectors)(n); ++v) {
        const int64_t first = v * L + L <= n ? v * L : n - L;
        for (int64_t i = 0; i < L; ++i) packed[i] = shift[first + i];
        packed += L;
        for (int64_t k = 0; k < K; ++k) {
            const REAL *c = centroids + k * n, *b = centroids + base * n;
            if (k == base) continue;
            for (int64_t i = 0, l = first; i < L; ++i, ++l)
                packed[i] = l < v * L ? 0 : F(scaled)(c, shift, l) - F(scaled)(b, shift, l);
            packed += L;
        }
    }
    for (int64_t k = 0, i = 1; k < K; ++k)
        F(pack_constants)(k == base ? 0 : i++, k, norm[k], slope[k], norm[base], slope[base], K, n, packed);
}

/* R rows against W centroids. OUT sums: for each centroid but the base a vector of partial products per row, then a
 * vector of partial squares per row. Prefetches the following rows in order, 4 to 8 KiB ahead: read side by side,
 * rows are not recognised as a stream by hardware prefetchers. */
static ALWAYS_INLINE void F(row_products)(const int R, const int W, const REAL *const *row, int64_t n,
                                          const REAL *packed, REAL *sums, V(vec) *max_abs)
{
    enum { L = V(LANES) };
    const int64_t group = R * n * (int64_t)sizeof(REAL);
    const char *next = (const char *)row[0] + (group < 4096 ? 4096 : group < 8192 ? group : 8192);
    V(vec) sum[4][F(ROWS_MAX_K)], largest = *max_abs;
    UNROLL
    for (int r = 0; r < R; ++r) {
        UNROLL
        for (int k = 0; k < W; ++k) sum[r][k] = V(set1)(0);
    }
    for (int64_t l = 0; l < n; l += L, packed += W * L) {
        const int64_t at = l + L <= n ? l : n - L;
        const V(vec) shift = V(load)(packed);
        V(vec) y[4];
        UNROLL
        for (int r = 0; r < R; ++r, next += L * sizeof(REAL)) {
            PREFETCH(next);
            y[r] = V(load)(row[r] + at);
            largest = V(max_abs)(largest, y[r]);
            y[r] = V(sub)(y[r], shift);
            sum[r][W - 1] = V(fma)(y[r], y[r], sum[r][W - 1]);
        }
        UNROLL
        for (int k = 0; k < W - 1; ++k) {
            const V(vec) c = V(load)(packed + (k + 1) * L);
            UNROLL
            for (int r = 0; r < R; ++r) sum[r][k] = V(fma)(y[r], c, sum[r][k]);
        }
    }
    UNROLL
    for (int r = 0; r < R; ++r) {
        UNROLL
        for (int k = 0; k < W; ++k) V(store)(sums + (k * L + r) * L, sum[r][k]);
    }
    *max_abs = largest;
}

/* The sums of the lanes of LANES vectors, one in each lane of the result. */
static ALWAYS_INLINE V(vec) F(sum_lanes_each)(const REAL *vectors)
{
    V(vec) r[V(QUAD)], total;
    UNROLL
    for (int j = 0; j < V(QUAD); ++j) {
        r[j] = V(load_quads)(vectors + j * V(LANES), V(QUAD) * V(LANES));
        UNROLL
        for (int i = V(QUAD); i < V(LANES); i += V(QUAD))
            r[j] = V(add)(r[j], V(load_quads)(vectors + j * V(LANES) + i, V(QUAD) * V(LANES)));
    }
    V(transpose_quads)(r);
    total = r[0];
    UNROLL
    for (int j = 1; j < V(QUAD); ++j) total = V(add)(total, r[j]);
    return total;
}

/* Labels LANES rows from their sums. OUT ids. Returns one bit for each row that is undecided. */
static ALWAYS_INLINE uint32_t F(decide_labels)(const int W, const REAL *sums, const REAL *constants, REAL *ids)
{
    enum { L = V(LANES) };
    REAL length[L];
    V(vec) lower[F(ROWS_MAX_K)], upper = V(set1)((REAL)INFINITY), id = V(set1)(0);
    uint32_t once = 0, twice = 0;
    V(store)(length, F(sum_lanes_each)(sums + (W - 1) * L * L));
    for (int i = 0; i < L; ++i) length[i] = sizeof(REAL) == 4 ? (REAL)sqrtf((float)length[i]) : (REAL)sqrt(length[i]);
    UNROLL
    for (int k = 0; k < W; ++k) {
        V(vec) score = V(set1)(constants[k]);
        if (k > 0) score = V(add)(F(sum_lanes_each)(sums + (k - 1) * L * L), score);
        const V(vec) error = V(fma)(V(load)(length), V(set1)(constants[2 * W + k]), V(set1)(constants[W + k]));
        lower[k] = V(sub)(score, error);
        V(argmin_update)(V(add)(score, error), V(set1)(constants[3 * W + k]), &upper, &id);
    }
    UNROLL
    for (int k = 0; k < W; ++k) {
        const uint32_t possible = V(not_greater)(lower[k], upper);
        twice |= once & possible;
        once |= possible;
    }
    V(store)(ids, id);
    return twice;
}

/* All rows against W centroids, LANES rows at a time; after the last row, that one is repeated. */
static ALWAYS_INLINE int64_t F(assign_rows_k)(const int W, const REAL *rows, int64_t stride, int64_t count, int64_t n,
                                              const REAL *packed, REAL *ids, int32_t *undecided, V(vec) *max_abs)
{
    enum { L = V(LANES) };
    const int together = W <= F(ACCUMULATORS) / 4 && L >= 4 ? 4 : W <= F(ACCUMULATORS) / 2 && L >= 2 ? 2 : 1;
    const REAL *const constants = packed + W * F(row_vectors)(n) * L;
    REAL buffer[F(ROWS_MAX_K) * L * L + 64 / sizeof(REAL)];
    REAL *const sums = buffer + (64 - (uintptr_t)buffer % 64) / sizeof(REAL); /* aligned to cache lines */
    int64_t n_undecided = 0;
    for (int64_t first = 0; first < count; first += L) {
        for (int g = 0; g < L; g += together) {
            const REAL *row[4];
            UNROLL
            for (int r = 0; r < together; ++r) {
                const int64_t i = first + g + r;
                row[r] = rows + (i < count ? i : count - 1) * stride;
            }
            F(row_products)(together, W, row, n, packed, sums + g * L, max_abs);
        }
        uint32_t bits = F(decide_labels)(W, sums, constants, ids + first);
        for (; bits; bits &= bits - 1) {
            undecided[n_undecided] = (int32_t)first + lowest_bit(bits);
            n_undecided += undecided[n_undecided] < count;
        }
    }
    return n_undecided;
}

static int64_t F(assign_rows)(const void *rows, int64_t stride, int64_t count, int64_t K, int64_t n,
                              const void *packed, void *ids, int32_t *undecided, uint64_t *max_abs_bits)
{
    V(vec) max_abs = V(set1)(0);
    int64_t n_undecided = 0;
#define ROWS(w) \
    case w: n_undecided = F(assign_rows_k)(w, rows, stride, count, n, packed, ids, undecided, &max_abs); break;
    switch (K) { ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) }
#undef ROWS
    const uint64_t bits = F(max_abs_bits)(max_abs);
    *max_abs_bits = bits > *max_abs_bits ? bits : *max_abs_bits;
    return n_undecided;
}
