/* Few centroids: labels straight from the rows, with features in the SIMD lanes. Packing rows into tiles would take
 * longer than the few products. These scores add up in another order than those that define a label, and stand for
 * how much higher they are than that of one centroid, the base; a row whose best centroid they leave in doubt is
 * handed back.
 *
 * Both start from the same floats: the norm N, the row's values y (minus the shift) and the centroid's p (minus the
 * shift, times -2). In a defining score, feature l (from 0) takes at most n - l + 1 roundings and the norm n; here
 * N - N_base, p - p_base and their sums, lanes included, take at most n / LANES + 14 each. So, by Cauchy and Schwarz,
 * with u the unit roundoff and |.| norms, the difference of two defining scores is that of the two here up to the
 * sum of their reaches,
 *
 *     reach = e + e_base,   e = 1.1 u ((n + n / LANES + 24) N + (|w p| + (n / LANES + 24) |p|) |y|),
 *
 * w_l = n - l + 2, where a tenth and the last roundings cover those of the test itself. A label is certain if no other
 * centroid's score minus its reach is at or below the best one's score plus its reach.
 *
 *   few     for each vector of features the shift and p - p_base of every centroid but the base, a vector each; then
 *           K values each, the base's first: N - N_base, the reaches at |y| = 0, their slopes over |y|, the indices.
 *           Where n is no multiple of the lanes, the last vector ends with the row and holds zeros for what the one
 *           before it holds already: |y| is a little too large there. */

enum {
    F(FEW_MOST) = 8,                                     /* centroids: with more, tiles are as fast */
    F(FEW_SUMS) = (int)V(GROUP) * (int)V(TILE_VECS)      /* accumulators that the registers hold */
};

static ALWAYS_INLINE int64_t F(few_vectors)(int64_t n) { return (n + V(LANES) - 1) / V(LANES); }

static int64_t F(few_room)(int64_t K, int64_t n)
{
    const int64_t room = K * F(few_vectors)(n) * V(LANES) + 4 * K;
    return V(LANES) > 1 && K > 1 && K <= F(FEW_MOST) && n >= V(LANES) && room <= F(L1) ? room : 0;
}

static ALWAYS_INLINE REAL F(few_p)(const REAL *centroid, const REAL *shift, int64_t l)
{
    return -2 * (centroid[l] - shift[l]);
}

/* At least what rounding does to the products of a row with p, over |y|: see above. */
static double F(few_slope)(const REAL *centroid, const REAL *shift, int64_t n)
{
    double squares = 0, weighted = 0;
    for (int64_t l = 0; l < n; ++l) {
        const double p = F(few_p)(centroid, shift, l), defining = (double)(n - l + 2) * p;
        squares += p * p;
        weighted += defining * defining;
    }
    return sqrt(weighted) + (n / V(LANES) + 24) * sqrt(squares);
}

/* What follows the vectors, of centroid k in place i. */
static void F(few_last)(int64_t i, int64_t k, REAL norm, double slope, REAL base_norm, double base_slope, int64_t K,
                        int64_t n, REAL *last)
{
    const double unit = 1.1 * (sizeof(REAL) == 4 ? 0x1p-24 : 0x1p-53);
    const double tiny = sizeof(REAL) == 4 ? 0x1p-149 : 0x1p-1074; /* what an operation that underflows loses */
    const double both = unit * (slope + base_slope), norms = unit * (n + n / V(LANES) + 24) * (norm + base_norm);
    const BITS id = (BITS)k;
    last[i] = norm - base_norm;
    last[K + i] = (REAL)(norms + (4 * n + 64) * tiny + 2 * both * sqrt(n * tiny));
    last[2 * K + i] = (REAL)both;
    memcpy(last + 3 * K + i, &id, sizeof id);
}

static void F(few_pack)(const void *centroids_, const void *shift_, int64_t K, int64_t n, void *few_)
{
    enum { L = V(LANES) };
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *few = few_, norm[F(FEW_MOST)];
    double slope[F(FEW_MOST)];
    int64_t base = 0;
    for (int64_t k = 0; k < K; ++k) {
        norm[k] = F(norm)(centroids + k * n, shift, n);
        slope[k] = F(few_slope)(centroids + k * n, shift, n);
        if (norm[k] < norm[base]) base = k;
    }
    for (int64_t v = 0; v < F(few_vectors)(n); ++v) {
        const int64_t first = v * L + L <= n ? v * L : n - L;
        for (int64_t i = 0; i < L; ++i) few[i] = shift[first + i];
        few += L;
        for (int64_t k = 0; k < K; ++k) {
            const REAL *c = centroids + k * n, *b = centroids + base * n;
            if (k == base) continue;
            for (int64_t i = 0, l = first; i < L; ++i, ++l)
                few[i] = l < v * L ? 0 : F(few_p)(c, shift, l) - F(few_p)(b, shift, l);
            few += L;
        }
    }
    for (int64_t k = 0, i = 1; k < K; ++k)
        F(few_last)(k == base ? 0 : i++, k, norm[k], slope[k], norm[base], slope[base], K, n, few);
}

/* R rows: for each of the W centroids but the base its products in a vector of sums, then the squares. The rows that
 * come next are fetched in their order: side by side, they look like no stream to the processor. */
static ALWAYS_INLINE void F(few_rows)(const int R, const int W, const REAL *const *row, int64_t n, const REAL *few,
                                      REAL *parts, V(vec) *most)
{
    enum { L = V(LANES) };
    const int64_t group = R * n * (int64_t)sizeof(REAL);
    const char *next = (const char *)row[0] + (group < 4096 ? 4096 : group < 8192 ? group : 8192);
    V(vec) sum[4][F(FEW_MOST)], top = *most;
    UNROLL
    for (int r = 0; r < R; ++r) {
        UNROLL
        for (int k = 0; k < W; ++k) sum[r][k] = V(set1)(0);
    }
    for (int64_t l = 0; l < n; l += L, few += W * L) {
        const int64_t at = l + L <= n ? l : n - L;
        const V(vec) shift = V(load)(few);
        V(vec) y[4];
        UNROLL
        for (int r = 0; r < R; ++r, next += L * sizeof(REAL)) {
            PREFETCH(next);
            y[r] = V(load)(row[r] + at);
            top = V(max_magnitude)(top, y[r]);
            y[r] = V(sub)(y[r], shift);
            sum[r][W - 1] = V(fma)(y[r], y[r], sum[r][W - 1]);
        }
        UNROLL
        for (int k = 0; k < W - 1; ++k) {
            const V(vec) c = V(load)(few + (k + 1) * L);
            UNROLL
            for (int r = 0; r < R; ++r) sum[r][k] = V(fma)(y[r], c, sum[r][k]);
        }
    }
    UNROLL
    for (int r = 0; r < R; ++r) {
        UNROLL
        for (int k = 0; k < W; ++k) V(store)(parts + (k * L + r) * L, sum[r][k]);
    }
    *most = top;
}

/* What each of as many vectors as there are lanes adds up to. */
static ALWAYS_INLINE V(vec) F(few_totals)(const REAL *vectors)
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

/* The labels of as many rows as there are lanes; one bit for each that is in doubt. `last`: what `few` ends with. */
static ALWAYS_INLINE uint32_t F(few_labels)(const int W, const REAL *parts, const REAL *last, REAL *ids)
{
    enum { L = V(LANES) };
    REAL length[L];
    V(vec) low[F(FEW_MOST)], best = V(set1)((REAL)INFINITY), id = V(set1)(0);
    uint32_t once = 0, twice = 0;
    V(store)(length, F(few_totals)(parts + (W - 1) * L * L));
    for (int i = 0; i < L; ++i) length[i] = sizeof(REAL) == 4 ? (REAL)sqrtf((float)length[i]) : (REAL)sqrt(length[i]);
    UNROLL
    for (int k = 0; k < W; ++k) {
        V(vec) score = V(set1)(last[k]);
        if (k > 0) score = V(add)(F(few_totals)(parts + (k - 1) * L * L), score);
        const V(vec) reach = V(fma)(V(load)(length), V(set1)(last[2 * W + k]), V(set1)(last[W + k]));
        low[k] = V(sub)(score, reach);
        V(fold)(V(add)(score, reach), V(set1)(last[3 * W + k]), &best, &id);
    }
    UNROLL
    for (int k = 0; k < W; ++k) {
        const uint32_t within = V(not_above)(low[k], best);
        twice |= once & within;
        once |= within;
    }
    V(store)(ids, id);
    return twice;
}

/* As many rows at a time as there are lanes; past the last row it is that one again. */
static ALWAYS_INLINE int64_t F(few_of)(const int W, const REAL *rows, int64_t stride, int64_t count, int64_t n,
                                       const REAL *few, REAL *ids, int32_t *doubtful, V(vec) *most)
{
    enum { L = V(LANES) };
    const int together = W <= F(FEW_SUMS) / 4 && L >= 4 ? 4 : W <= F(FEW_SUMS) / 2 && L >= 2 ? 2 : 1;
    const REAL *const last = few + W * F(few_vectors)(n) * L;
    REAL room[F(FEW_MOST) * L * L + 64 / sizeof(REAL)];
    REAL *const parts = room + (64 - (uintptr_t)room % 64) / sizeof(REAL);
    int64_t doubts = 0;
    for (int64_t first = 0; first < count; first += L) {
        for (int g = 0; g < L; g += together) {
            const REAL *row[4];
            UNROLL
            for (int r = 0; r < together; ++r) {
                const int64_t i = first + g + r;
                row[r] = rows + (i < count ? i : count - 1) * stride;
            }
            F(few_rows)(together, W, row, n, few, parts + g * L, most);
        }
        uint32_t doubt = F(few_labels)(W, parts, last, ids + first);
        for (; doubt; doubt &= doubt - 1) {
            doubtful[doubts] = (int32_t)first + lowest_bit(doubt);
            doubts += doubtful[doubts] < count;
        }
    }
    return doubts;
}

static int64_t F(few_assign)(const void *rows, int64_t stride, int64_t count, int64_t K, int64_t n, const void *few,
                             void *ids, int32_t *doubtful, uint64_t *most)
{
    V(vec) top = V(set1)(0);
    int64_t doubts = 0;
#define FEW(w) case w: doubts = F(few_of)(w, rows, stride, count, n, few, ids, doubtful, &top); break;
    switch (K) { FEW(2) FEW(3) FEW(4) FEW(5) FEW(6) FEW(7) FEW(8) }
#undef FEW
    const uint64_t bits = F(magnitude_bits)(top);
    *most = bits > *most ? bits : *most;
    return doubts;
}
