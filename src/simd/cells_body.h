/* Boxes against candidate centroids, once for every instruction set and dtype (see kernels_body.h).
 *
 * A list of candidates is a row of blocks of LANES centroids, in rising order of index. A block
 * holds n rows of features (of the centroid minus the shift, times -2), a row of squared norms and
 * a row of indices. Lanes behind the last candidate have an infinite first feature.
 *
 * When a centroid j may be dropped. Write y for a centroid minus the shift, as rounded, [lo, hi]
 * for the box minus the shift, m for its middle, h for its half widths, T for the norm of its
 * farthest corner, u for the unit roundoff. The exact scores of j and of another candidate p, at
 * a point t of the box, differ by at least
 *     gap = |y_j - m|^2 - |y_p - m|^2 - 2 sum |y_j - y_p| h.
 * Rounding moves a score by at most (2 n + 2) u (2 |y|^2 + T^2): n fused or 2 n plain operations
 * on partial sums of at most |y|^2 + 2 |t| |y|, and the norm itself. It moves the gap as it is
 * computed here by at most (n + 8) u (3 |y_j|^2 + 3 |y_p|^2 + 6 T^2). So where
 *     gap > (8 n + 32) u (|y_j|^2 + |y_p|^2) + (12 n + 64) u T^2
 * the rounded score of j is above that of p for every point of the box, and j is no point's
 * label. Ties stay. Squares too small for the dtype are covered by a constant. The list holds
 * -2 y, so everything below is four times as large; a NaN keeps the candidate. */

#define FIELDS(n) (((n) + 2) * V(LANES))
#define UNIT (sizeof(REAL) == 4 ? (REAL)0x1p-24 : (REAL)0x1p-53)
#define SMALLEST (sizeof(REAL) == 4 ? (REAL)0x1p-110f : (REAL)0x1p-1000)

static ALWAYS_INLINE void F(copy_candidate)(const REAL *from, int lane, int64_t n, REAL *to, int to_lane)
{
    for (int64_t l = 0; l < n + 2; ++l) to[l * V(LANES) + to_lane] = from[l * V(LANES) + lane];
}

static void F(list_all)(const void *centroids_, const void *shift_, int64_t K, int64_t n, void *list_)
{
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *block = list_;
    for (int64_t k = 0; k < K; ++k) {
        const int lane = (int)(k % V(LANES));
        if (lane == 0) V(store)(block, V(set1)((REAL)INFINITY));
        for (int64_t l = 0; l < n; ++l) block[l * V(LANES) + lane] = -2 * (centroids[k * n + l] - shift[l]);
        block[n * V(LANES) + lane] = F(norm)(centroids + k * n, shift, n);
        ((BITS *)block)[(n + 1) * V(LANES) + lane] = (BITS)k;
        if (lane == V(LANES) - 1) block += FIELDS(n);
    }
}

struct F(box) { REAL middle[8], half[8], reach; }; /* middle: times -2; reach: T^2 */

static ALWAYS_INLINE struct F(box) F(shifted_box)(const REAL *edges, const REAL *shift, int64_t n)
{
    struct F(box) box;
    box.reach = 0;
    for (int64_t l = 0; l < n; ++l) {
        const REAL lo = edges[l] - shift[l], hi = edges[n + l] - shift[l], m = (REAL)0.5 * lo + (REAL)0.5 * hi;
        const REAL far = hi > -lo ? hi : -lo;
        box.middle[l] = -2 * m;
        box.half[l] = hi - m > m - lo ? hi - m : m - lo;
        box.reach += far * far;
    }
    return box;
}

/* Four times the squared distances of a block's centroids to the middle of the box. */
static ALWAYS_INLINE V(vec) F(to_middle)(const REAL *block, const struct F(box) *box, int64_t n)
{
    V(vec) sum = V(set1)(0);
    for (int64_t l = 0; l < n; ++l) {
        const V(vec) d = V(sub)(V(load)(block + l * V(LANES)), V(set1)(box->middle[l]));
        sum = V(fma)(d, d, sum);
    }
    return sum;
}

/* The candidate closest to the middle of the box, 4 x its squared distance; nearest: those of the first block. */
static ALWAYS_INLINE const REAL *F(closest)(const REAL *list, int64_t blocks, const struct F(box) *box, V(vec) nearest,
                                            int64_t n, REAL *squared)
{
    V(vec) best = V(set1)((REAL)INFINITY), best_at = V(set1)(0);
    V(fold)(nearest, best_at, &best, &best_at); /* a NaN is no candidate */
    for (int64_t b = 1; b < blocks; ++b) {
        const BITS at = (BITS)b;
        REAL as_real;
        memcpy(&as_real, &at, sizeof at);
        V(fold)(F(to_middle)(list + b * FIELDS(n), box, n), V(set1)(as_real), &best, &best_at);
    }
    *squared = V(lowest)(best);
    const int lane = lowest_bit(V(not_above)(best, V(set1)(*squared)));
    if (blocks == 1) return list + lane;
    BITS at[V(LANES)];
    V(store)((REAL *)at, best_at);
    return list + (int64_t)at[lane] * FIELDS(n) + lane;
}

/* 4 x the gap of each candidate of a block to the pivot; away: to_middle of the block. */
static ALWAYS_INLINE V(vec) F(gap)(const REAL *block, const struct F(box) *box, const REAL *pivot, V(vec) away,
                                   int64_t n)
{
    for (int64_t l = 0; l < n; ++l) {
        const V(vec) d = V(sub)(V(load)(block + l * V(LANES)), V(set1)(pivot[l * V(LANES)]));
        away = V(fma)(V(max_magnitude)(V(set1)(0), d), V(set1)(-4 * box->half[l]), away);
    }
    return away;
}

/* Append the lanes in `keep` of a block to a list of `found` candidates; returns how many these are then. */
static ALWAYS_INLINE int64_t F(append)(const REAL *block, unsigned keep, int64_t n, REAL *kept, int64_t found)
{
#ifdef VEC_COMPRESSES
    const int lane = (int)(found % V(LANES)), count = bits_in(keep);
    if (lane + count <= V(LANES)) {
        REAL *to = kept + found / V(LANES) * FIELDS(n);
        if (lane == 0) V(store)(to, V(set1)((REAL)INFINITY));
        for (int64_t l = 0; l < n + 2; ++l)
            V(store_chosen)(to + l * V(LANES) + lane, V(load)(block + l * V(LANES)), keep);
        return found + count;
    }
#endif
    for (; keep; keep &= keep - 1) {
        const int to_lane = (int)(found % V(LANES));
        REAL *to = kept + found / V(LANES) * FIELDS(n);
        if (to_lane == 0) V(store)(to, V(set1)((REAL)INFINITY));
        F(copy_candidate)(block, lowest_bit(keep), n, to, to_lane);
        ++found;
    }
    return found;
}

/* IN list of `count` candidates, edges of a box (n low ones, n high ones), shift; OUT kept: the
 * candidates that may be the label of some point of the box. Returns how many they are. */
static ALWAYS_INLINE int64_t F(prune_n)(const REAL *list, int64_t count, const REAL *edges, const REAL *shift,
                                        int64_t n, REAL *kept)
{
    const struct F(box) box = F(shifted_box)(edges, shift, n);
    const int64_t blocks = (count + V(LANES) - 1) / V(LANES);
    const V(vec) first = F(to_middle)(list, &box, n);
    REAL squared;
    const REAL *pivot = F(closest)(list, blocks, &box, first, n, &squared);
    const REAL margin = 4 * (8 * (REAL)n + 32) * UNIT, far = 4 * (12 * (REAL)n + 64) * UNIT;
    const V(vec) bound =
        V(set1)(squared + margin * pivot[n * V(LANES)] + far * box.reach + SMALLEST);
    const V(vec) less = V(set1)(-margin);
    int64_t found = 0;
    for (int64_t b = 0; b < blocks; ++b) {
        const REAL *block = list + b * FIELDS(n);
        V(vec) gap = F(gap)(block, &box, pivot, b ? F(to_middle)(block, &box, n) : first, n);
        gap = V(fma)(V(load)(block + n * V(LANES)), less, gap);
        const int64_t left = count - b * V(LANES);
        const unsigned here = left < V(LANES) ? (1u << left) - 1 : (1u << (V(LANES) - 1)) * 2 - 1;
        found = F(append)(block, here & ~V(more)(gap, bound), n, kept, found);
    }
    return found;
}

static int64_t F(prune)(const void *list, int64_t count, const void *edges, const void *shift, int64_t n, void *kept)
{
    switch (n) {
    case 2: return F(prune_n)(list, count, edges, shift, 2, kept);
    case 3: return F(prune_n)(list, count, edges, shift, 3, kept);
    default: return F(prune_n)(list, count, edges, shift, n, kept);
    }
}

/* ---- a leaf on a border ----------------------------------------------------------------- */

/* The lowest score of each point against the list, as the dense kernel computes it. */
static ALWAYS_INLINE void F(score_leaf)(const REAL *points, const REAL *list, int64_t count, const REAL *shift,
                                        int64_t n, BITS *ids)
{
    for (int first = 0; first < LEAF; first += F(TILE)) {
        V(vec) x[8][V(TILE_VECS)], best[V(TILE_VECS)], best_id[V(TILE_VECS)];
        for (int v = 0; v < V(TILE_VECS); ++v) {
            for (int64_t l = 0; l < n; ++l)
                x[l][v] = V(sub)(V(load)(points + l * LEAF + first + v * V(LANES)), V(set1)(shift[l]));
            best[v] = V(set1)((REAL)INFINITY);
            best_id[v] = V(set1)(0);
        }
        for (int64_t i = 0; i < count; ++i) {
            const REAL *c = list + i / V(LANES) * FIELDS(n) + i % V(LANES);
            V(vec) score[V(TILE_VECS)];
            for (int v = 0; v < V(TILE_VECS); ++v) score[v] = V(set1)(c[n * V(LANES)]);
            for (int64_t l = 0; l < n; ++l) {
                const V(vec) cl = V(set1)(c[l * V(LANES)]);
                for (int v = 0; v < V(TILE_VECS); ++v) score[v] = V(fma)(x[l][v], cl, score[v]);
            }
            const V(vec) id = V(set1)(c[(n + 1) * V(LANES)]);
            for (int v = 0; v < V(TILE_VECS); ++v) V(fold)(score[v], id, &best[v], &best_id[v]);
        }
        for (int v = 0; v < V(TILE_VECS); ++v) V(store)((REAL *)ids + first + v * V(LANES), best_id[v]);
    }
}

enum { F(EIGHTS) = LEAF / 8 };

static ALWAYS_INLINE int64_t F(id_of)(const REAL *list, int64_t i, int64_t n)
{
    return (int64_t) * (const BITS *)(list + i / V(LANES) * FIELDS(n) + (n + 1) * V(LANES) + i % V(LANES));
}

/* x - c of each point, c its centroid, which is one of the candidates. */
static ALWAYS_INLINE void F(differ)(const REAL *points, const wide own[F(EIGHTS)], const REAL *list, int64_t count,
                                    int64_t n, const double *centroids, wide d[8][F(EIGHTS)])
{
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(EIGHTS); ++q) d[l][q] = wide_zero();
    }
    for (int64_t i = 0; i < count; ++i) {
        const int64_t k = F(id_of)(list, i, n);
        UNROLL
        for (int q = 0; q < F(EIGHTS); ++q) {
            const wide_choice where = wide_equal(own[q], wide_set1((double)k));
            UNROLL
            for (int64_t l = 0; l < n; ++l) d[l][q] = wide_choose(d[l][q], wide_set1(centroids[k * 8 + l]), where);
        }
    }
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(EIGHTS); ++q) d[l][q] = wide_sub(WIDE(load)(points + l * LEAF + 8 * q), d[l][q]);
    }
}

/* IN x - c; OUT w (x - c); INOUT square: grows by w (x - c)^2. */
static ALWAYS_INLINE void F(square_up)(const double *w, int64_t n, wide d[8][F(EIGHTS)], double *square)
{
    wide sum[2] = { wide_load_f64(square), wide_load_f64(square + 8) };
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(EIGHTS); ++q) {
            const wide away = d[l][q];
            if (w) d[l][q] = wide_mul(wide_load_f64(w + 8 * q), away);
            sum[q % 2] = wide_fma(d[l][q], away, sum[q % 2]);
        }
    }
    wide_store(square, sum[0]);
    wide_store(square + 8, sum[1]);
}

/* Add a leaf's points to the sums of its candidates; w: their weights (NULL: 1), numbers: NULL where those are the
 * weights. Nothing here branches on the labels: a candidate without a point gets zeros, which takes less time than
 * a wrong guess. */
static ALWAYS_INLINE void F(share_out)(const REAL *points, const double *labels, const double *w,
                                       const double *numbers, const REAL *list, int64_t count, int64_t n,
                                       const double *centroids, struct sums *sums)
{
    const int64_t fields = numbers ? n + 2 : n + 1;
    wide own[F(EIGHTS)], d[8][F(EIGHTS)];
    UNROLL
    for (int q = 0; q < F(EIGHTS); ++q) own[q] = wide_load_f64(labels + 8 * q);
    F(differ)(points, own, list, count, n, centroids, d);
    F(square_up)(w, n, d, sums->square);
    for (int64_t i = 0; i < count; ++i) {
        const int64_t k = F(id_of)(list, i, n);
        wide sum[12]; /* of each feature, the weights, the numbers */
        double total[12];
        UNROLL
        for (int64_t l = 0; l < (fields + 3) / 4 * 4; ++l) sum[l] = wide_zero();
        UNROLL
        for (int q = 0; q < F(EIGHTS); ++q) {
            const wide_choice where = wide_equal(own[q], wide_set1((double)k));
            UNROLL
            for (int64_t l = 0; l < n; ++l) sum[l] = wide_add_where(sum[l], d[l][q], where);
            sum[n] = wide_add_where(sum[n], w ? wide_load_f64(w + 8 * q) : wide_set1(1), where);
            if (numbers) sum[n + 1] = wide_add_where(sum[n + 1], wide_load_f64(numbers + 8 * q), where);
        }
        UNROLL
        for (int64_t l = 0; l < fields; l += 4) wide_four_totals(sum + l, total + l);
        UNROLL
        for (int64_t l = 0; l < n; ++l) sums->offsets[k * 8 + l] += total[l];
        sums->weights[k] += total[n];
        sums->counts[k] += (int64_t)total[fields - 1];
    }
}

/* Replace a leaf's labels; returns how many original points changed theirs. */
static ALWAYS_INLINE int64_t F(relabel)(const struct leaf *leaf, const int32_t *found)
{
    double changed = 0;
    int32_t differ = 0;
    if (leaf->plain)
        for (int p = 0; p < LEAF; ++p) differ += found[p] != leaf->labels[p];
    else
        for (int p = 0; p < LEAF; ++p) changed += found[p] != leaf->labels[p] ? leaf->numbers[p] : 0;
    memcpy(leaf->labels, found, LEAF * sizeof(int32_t));
    return differ + (int64_t)changed;
}

static ALWAYS_INLINE int64_t F(settle_n)(const struct leaf *leaf, const double *w, const double *numbers,
                                         const REAL *list, int64_t count, const REAL *shift, int64_t n,
                                         const double *centroids, struct sums *sums)
{
    BITS ids[LEAF];
    int32_t found[LEAF];
    double labels[LEAF];
    F(score_leaf)(leaf->points, list, count, shift, n, ids);
    for (int p = 0; p < LEAF; ++p) found[p] = (int32_t)ids[p];
    for (int p = 0; p < LEAF; ++p) labels[p] = found[p];
    F(share_out)(leaf->points, labels, w, numbers, list, count, n, centroids, sums);
    return F(relabel)(leaf, found);
}

/* IN leaf, its candidates, shift, centroids (wide); INOUT the leaf's labels, sums. Returns how
 * many original points changed their label. */
static int64_t F(settle)(const struct leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                         const double *centroids, struct sums *sums)
{
    const double *w = leaf->weights ? leaf->weights : leaf->numbers, *numbers = leaf->weights ? leaf->numbers : NULL;
#ifndef VEC_COMPACT
    if (leaf->plain && n == 2) return F(settle_n)(leaf, NULL, NULL, list, count, shift, 2, centroids, sums);
    if (leaf->plain && n == 3) return F(settle_n)(leaf, NULL, NULL, list, count, shift, 3, centroids, sums);
    if (!numbers && n == 2) return F(settle_n)(leaf, w, NULL, list, count, shift, 2, centroids, sums);
    if (!numbers && n == 3) return F(settle_n)(leaf, w, NULL, list, count, shift, 3, centroids, sums);
#endif
    return F(settle_n)(leaf, w, numbers, list, count, shift, n, centroids, sums);
}

#undef FIELDS
#undef UNIT
#undef SMALLEST
