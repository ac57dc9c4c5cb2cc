/* Cells of the k-d tree against candidate centroids: the pruning and the leaves of the filtering
 * algorithm (a part of kernels_body.h).
 *   K. Alsabti, S. Ranka, V. Singh, "An efficient k-means clustering algorithm", 1997.
 *   D. Pelleg, A. Moore, "Accelerating exact k-means algorithms with geometric reasoning", KDD 1999.
 *   T. Kanungo et al., "An efficient k-means clustering algorithm: analysis and implementation",
 *   IEEE TPAMI 24 (7), 2002.
 *
 * Layout of a list: blocks of LANES candidates, in rising order of index. A block holds n vectors of
 * features (of the centroid minus the shift, times -2), a vector of squared norms and one of indices.
 * Lanes after the last candidate have an infinite first feature.
 *
 * Condition for dropping a candidate j. Write y for a centroid minus the shift, as rounded, [lo, hi]
 * for the cell minus the shift, m for its middle, h for its half widths, T for the norm of its
 * farthest corner, u for the unit roundoff. The exact scores of j and of another candidate p, at
 * a point t of the cell, differ by at least
 *     gap = |y_j - m|^2 - |y_p - m|^2 - 2 sum |y_j - y_p| h.
 * Rounding changes a score by at most (2 n + 2) u (2 |y|^2 + T^2): n fused or 2 n plain operations
 * on partial sums of at most |y|^2 + 2 |t| |y|, and the norm itself. It changes the gap as computed
 * here by at most (n + 8) u (3 |y_j|^2 + 3 |y_p|^2 + 6 T^2). So if
 *     gap > (8 n + 32) u (|y_j|^2 + |y_p|^2) + (12 n + 64) u T^2
 * the rounded score of j is above that of p for every point of the cell, and j is no point's
 * label. Ties are kept. UNDERFLOW_MARGIN covers squares too small for the dtype. The list holds
 * -2 y, so everything below is four times as large; a NaN keeps the candidate. */

#define BLOCK_SIZE(n) (((n) + 2) * V(LANES))
#define UNIT_ROUNDOFF (sizeof(REAL) == 4 ? (REAL)0x1p-24 : (REAL)0x1p-53)
#define UNDERFLOW_MARGIN (sizeof(REAL) == 4 ? (REAL)0x1p-110f : (REAL)0x1p-1000)

static ALWAYS_INLINE void F(copy_candidate)(const REAL *from, int lane, int64_t n, REAL *to, int to_lane)
{
    for (int64_t l = 0; l < n + 2; ++l) to[l * V(LANES) + to_lane] = from[l * V(LANES) + lane];
}

static void F(init_candidates)(const void *centroids_, const void *shift_, int64_t K, int64_t n, void *list_)
{
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *block = list_;
    for (int64_t k = 0; k < K; ++k) {
        const int lane = (int)(k % V(LANES));
        if (lane == 0) V(store)(block, V(set1)((REAL)INFINITY));
        for (int64_t l = 0; l < n; ++l) block[l * V(LANES) + lane] = -2 * (centroids[k * n + l] - shift[l]);
        block[n * V(LANES) + lane] = F(squared_norm)(centroids + k * n, shift, n);
        ((BITS *)block)[(n + 1) * V(LANES) + lane] = (BITS)k;
        if (lane == V(LANES) - 1) block += BLOCK_SIZE(n);
    }
}

/* A cell minus the shift: its middle times -2, its half widths, T^2. */
struct F(cell) { REAL middle[MAX_TREE_FEATURES], half[MAX_TREE_FEATURES], corner; };

static ALWAYS_INLINE struct F(cell) F(shift_cell)(const REAL *edges, const REAL *shift, int64_t n)
{
    struct F(cell) cell;
    cell.corner = 0;
    for (int64_t l = 0; l < n; ++l) {
        const REAL lo = edges[l] - shift[l], hi = edges[n + l] - shift[l], m = (REAL)0.5 * lo + (REAL)0.5 * hi;
        const REAL farthest = hi > -lo ? hi : -lo;
        cell.middle[l] = -2 * m;
        cell.half[l] = hi - m > m - lo ? hi - m : m - lo;
        cell.corner += farthest * farthest;
    }
    return cell;
}

/* 4 x the squared distances of a block's candidates to the middle of the cell. */
static ALWAYS_INLINE V(vec) F(middle_distances)(const REAL *block, const struct F(cell) *cell, int64_t n)
{
    V(vec) sum = V(set1)(0);
    for (int64_t l = 0; l < n; ++l) {
        const V(vec) d = V(sub)(V(load)(block + l * V(LANES)), V(set1)(cell->middle[l]));
        sum = V(fma)(d, d, sum);
    }
    return sum;
}

/* Finds the pivot p: the candidate nearest to the middle of the cell. OUT squared: 4 x its squared
 * distance. `first`: the middle_distances of the first block. */
static ALWAYS_INLINE const REAL *F(find_pivot)(const REAL *list, int64_t blocks, const struct F(cell) *cell,
                                               V(vec) first, int64_t n, REAL *squared)
{
    V(vec) best = V(set1)((REAL)INFINITY), best_block = V(set1)(0);
    V(argmin_update)(first, best_block, &best, &best_block); /* a NaN is never the minimum */
    for (int64_t b = 1; b < blocks; ++b) {
        const BITS id = (BITS)b;
        REAL as_real;
        memcpy(&as_real, &id, sizeof id);
        V(argmin_update)(F(middle_distances)(list + b * BLOCK_SIZE(n), cell, n), V(set1)(as_real), &best, &best_block);
    }
    *squared = V(min_lane)(best);
    const int lane = lowest_bit(V(not_greater)(best, V(set1)(*squared)));
    if (blocks == 1) return list + lane;
    BITS block[V(LANES)];
    V(store)((REAL *)block, best_block);
    return list + (int64_t)block[lane] * BLOCK_SIZE(n) + lane;
}

/* 4 x the gap of each candidate of a block to the pivot. `distances`: their middle_distances. */
static ALWAYS_INLINE V(vec) F(gap)(const REAL *block, const struct F(cell) *cell, const REAL *pivot,
                                   V(vec) distances, int64_t n)
{
    for (int64_t l = 0; l < n; ++l) {
        const V(vec) d = V(sub)(V(load)(block + l * V(LANES)), V(set1)(pivot[l * V(LANES)]));
        distances = V(fma)(V(max_abs)(V(set1)(0), d), V(set1)(-4 * cell->half[l]), distances);
    }
    return distances;
}

/* Appends the lanes of a block that are set in `keep` to a list of `count` candidates. Returns the new count. */
static ALWAYS_INLINE int64_t F(append)(const REAL *block, unsigned keep, int64_t n, REAL *list, int64_t count)
{
#ifdef VEC_HAS_COMPRESS
    const int lane = (int)(count % V(LANES)), added = count_bits(keep);
    if (lane + added <= V(LANES)) {
        REAL *to = list + count / V(LANES) * BLOCK_SIZE(n);
        if (lane == 0) V(store)(to, V(set1)((REAL)INFINITY));
        for (int64_t l = 0; l < n + 2; ++l)
            V(compress_store)(to + l * V(LANES) + lane, V(load)(block + l * V(LANES)), keep);
        return count + added;
    }
#endif
    for (; keep; keep &= keep - 1) {
        const int to_lane = (int)(count % V(LANES));
        REAL *to = list + count / V(LANES) * BLOCK_SIZE(n);
        if (to_lane == 0) V(store)(to, V(set1)((REAL)INFINITY));
        F(copy_candidate)(block, lowest_bit(keep), n, to, to_lane);
        ++count;
    }
    return count;
}

static ALWAYS_INLINE int64_t F(prune_n)(const REAL *list, int64_t count, const REAL *edges, const REAL *shift,
                                        int64_t n, REAL *kept)
{
    const struct F(cell) cell = F(shift_cell)(edges, shift, n);
    const int64_t blocks = (count + V(LANES) - 1) / V(LANES);
    const V(vec) first = F(middle_distances)(list, &cell, n);
    REAL squared;
    const REAL *pivot = F(find_pivot)(list, blocks, &cell, first, n, &squared);
    const REAL margin = 4 * (8 * (REAL)n + 32) * UNIT_ROUNDOFF, cell_margin = 4 * (12 * (REAL)n + 64) * UNIT_ROUNDOFF;
    const V(vec) bound =
        V(set1)(squared + margin * pivot[n * V(LANES)] + cell_margin * cell.corner + UNDERFLOW_MARGIN);
    const V(vec) minus_margin = V(set1)(-margin);
    int64_t n_kept = 0;
    for (int64_t b = 0; b < blocks; ++b) {
        const REAL *block = list + b * BLOCK_SIZE(n);
        V(vec) gap = F(gap)(block, &cell, pivot, b ? F(middle_distances)(block, &cell, n) : first, n);
        gap = V(fma)(V(load)(block + n * V(LANES)), minus_margin, gap);
        const int64_t left = count - b * V(LANES);
        const unsigned used = left < V(LANES) ? (1u << left) - 1 : (1u << (V(LANES) - 1)) * 2 - 1;
        n_kept = F(append)(block, used & ~V(greater)(gap, bound), n, kept, n_kept);
    }
    return n_kept;
}

/* With copies for the most frequent n, whose loops over features unroll. */
static int64_t F(prune)(const void *list, int64_t count, const void *edges, const void *shift, int64_t n, void *kept)
{
    switch (n) {
    case 2: return F(prune_n)(list, count, edges, shift, 2, kept);
    case 3: return F(prune_n)(list, count, edges, shift, 3, kept);
    default: return F(prune_n)(list, count, edges, shift, n, kept);
    }
}

/* ---- leaves ------------------------------------------------------------------------------- */

/* Labels the points of a leaf, with the same operations as `assign`. OUT ids (LEAF). */
static ALWAYS_INLINE void F(score_leaf)(const REAL *points, const REAL *list, int64_t count, const REAL *shift,
                                        int64_t n, BITS *ids)
{
    for (int first = 0; first < LEAF; first += F(TILE)) {
        V(vec) x[MAX_TREE_FEATURES][V(TILE_VECS)], best[V(TILE_VECS)], best_id[V(TILE_VECS)];
        for (int v = 0; v < V(TILE_VECS); ++v) {
            for (int64_t l = 0; l < n; ++l)
                x[l][v] = V(sub)(V(load)(points + l * LEAF + first + v * V(LANES)), V(set1)(shift[l]));
            best[v] = V(set1)((REAL)INFINITY);
            best_id[v] = V(set1)(0);
        }
        for (int64_t i = 0; i < count; ++i) {
            const REAL *c = list + i / V(LANES) * BLOCK_SIZE(n) + i % V(LANES);
            V(vec) score[V(TILE_VECS)];
            for (int v = 0; v < V(TILE_VECS); ++v) score[v] = V(set1)(c[n * V(LANES)]);
            for (int64_t l = 0; l < n; ++l) {
                const V(vec) cl = V(set1)(c[l * V(LANES)]);
                for (int v = 0; v < V(TILE_VECS); ++v) score[v] = V(fma)(x[l][v], cl, score[v]);
            }
            const V(vec) id = V(set1)(c[(n + 1) * V(LANES)]);
            for (int v = 0; v < V(TILE_VECS); ++v) V(argmin_update)(score[v], id, &best[v], &best_id[v]);
        }
        for (int v = 0; v < V(TILE_VECS); ++v) V(store)((REAL *)ids + first + v * V(LANES), best_id[v]);
    }
}

enum { F(LEAF_WIDES) = LEAF / WIDE_LANES };

static ALWAYS_INLINE int64_t F(candidate_id)(const REAL *list, int64_t i, int64_t n)
{
    return (int64_t) * (const BITS *)(list + i / V(LANES) * BLOCK_SIZE(n) + (n + 1) * V(LANES) + i % V(LANES));
}

/* OUT d: x - c of each point, c its centroid, which is one of the candidates. */
static ALWAYS_INLINE void F(leaf_offsets)(const REAL *points, const wide labels[F(LEAF_WIDES)], const REAL *list,
                                          int64_t count, int64_t n, const double *centroids,
                                          wide d[MAX_TREE_FEATURES][F(LEAF_WIDES)])
{
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(LEAF_WIDES); ++q) d[l][q] = wide_zero();
    }
    for (int64_t i = 0; i < count; ++i) {
        const int64_t k = F(candidate_id)(list, i, n);
        UNROLL
        for (int q = 0; q < F(LEAF_WIDES); ++q) {
            const wide_mask own = wide_equal(labels[q], wide_set1((double)k));
            UNROLL
            for (int64_t l = 0; l < n; ++l)
                d[l][q] = wide_select(d[l][q], wide_set1(centroids[k * WIDE_LANES + l]), own);
        }
    }
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(LEAF_WIDES); ++q)
            d[l][q] = wide_sub(WIDE(load)(points + l * LEAF + WIDE_LANES * q), d[l][q]);
    }
}

/* INOUT d: x - c in, w (x - c) out; square: the sum of w (x - c)^2 is added. */
static ALWAYS_INLINE void F(weigh_offsets)(const double *w, int64_t n, wide d[MAX_TREE_FEATURES][F(LEAF_WIDES)],
                                           double *square)
{
    wide sum[2] = { wide_load_f64(square), wide_load_f64(square + WIDE_LANES) };
    UNROLL
    for (int64_t l = 0; l < n; ++l) {
        UNROLL
        for (int q = 0; q < F(LEAF_WIDES); ++q) {
            const wide offset = d[l][q];
            if (w) d[l][q] = wide_mul(wide_load_f64(w + WIDE_LANES * q), offset);
            sum[q % 2] = wide_fma(d[l][q], offset, sum[q % 2]);
        }
    }
    wide_store(square, sum[0]);
    wide_store(square + WIDE_LANES, sum[1]);
}

/* Adds a leaf's points to the sums of its candidates. w: their weights (NULL: 1); multiplicities: NULL
 * if equal to the weights. Nothing branches on the labels: a candidate without a point gets zeros,
 * which costs less than a mispredicted branch. */
static ALWAYS_INLINE void F(accumulate_leaf)(const REAL *points, const double *labels, const double *w,
                                             const double *multiplicities, const REAL *list, int64_t count,
                                             int64_t n, const double *centroids, struct sums *sums)
{
    const int64_t fields = multiplicities ? n + 2 : n + 1;
    wide own_labels[F(LEAF_WIDES)], d[MAX_TREE_FEATURES][F(LEAF_WIDES)];
    UNROLL
    for (int q = 0; q < F(LEAF_WIDES); ++q) own_labels[q] = wide_load_f64(labels + WIDE_LANES * q);
    F(leaf_offsets)(points, own_labels, list, count, n, centroids, d);
    F(weigh_offsets)(w, n, d, sums->square);
    for (int64_t i = 0; i < count; ++i) {
        enum { FIELDS = (MAX_TREE_FEATURES + 2 + 3) / 4 * 4 }; /* wide_sum_lanes4 takes four at a time */
        const int64_t k = F(candidate_id)(list, i, n);
        wide sum[FIELDS]; /* of each feature, the weights, the multiplicities */
        double total[FIELDS];
        UNROLL
        for (int64_t l = 0; l < (fields + 3) / 4 * 4; ++l) sum[l] = wide_zero();
        UNROLL
        for (int q = 0; q < F(LEAF_WIDES); ++q) {
            const wide_mask own = wide_equal(own_labels[q], wide_set1((double)k));
            UNROLL
            for (int64_t l = 0; l < n; ++l) sum[l] = wide_add_masked(sum[l], d[l][q], own);
            sum[n] = wide_add_masked(sum[n], w ? wide_load_f64(w + WIDE_LANES * q) : wide_set1(1), own);
            if (multiplicities)
                sum[n + 1] = wide_add_masked(sum[n + 1], wide_load_f64(multiplicities + WIDE_LANES * q), own);
        }
        UNROLL
        for (int64_t l = 0; l < fields; l += 4) wide_sum_lanes4(sum + l, total + l);
        UNROLL
        for (int64_t l = 0; l < n; ++l) sums->offsets[k * WIDE_LANES + l] += total[l];
        sums->weights[k] += total[n];
        sums->counts[k] += (int64_t)total[fields - 1];
    }
}

/* Replaces a leaf's labels. Returns how many rows of X changed theirs. */
static ALWAYS_INLINE int64_t F(update_labels)(const struct leaf *leaf, const int32_t *labels)
{
    double changed = 0;
    int32_t differ = 0;
    if (leaf->unweighted)
        for (int p = 0; p < LEAF; ++p) differ += labels[p] != leaf->labels[p];
    else
        for (int p = 0; p < LEAF; ++p) changed += labels[p] != leaf->labels[p] ? leaf->multiplicities[p] : 0;
    memcpy(leaf->labels, labels, LEAF * sizeof(int32_t));
    return differ + (int64_t)changed;
}

static ALWAYS_INLINE int64_t F(assign_leaf_n)(const struct leaf *leaf, const double *w, const double *multiplicities,
                                              const REAL *list, int64_t count, const REAL *shift, int64_t n,
                                              const double *centroids, struct sums *sums)
{
    BITS ids[LEAF];
    int32_t labels[LEAF];
    double wide_labels[LEAF];
    F(score_leaf)(leaf->points, list, count, shift, n, ids);
    for (int p = 0; p < LEAF; ++p) labels[p] = (int32_t)ids[p];
    for (int p = 0; p < LEAF; ++p) wide_labels[p] = labels[p];
    F(accumulate_leaf)(leaf->points, wide_labels, w, multiplicities, list, count, n, centroids, sums);
    return F(update_labels)(leaf, labels);
}

static int64_t F(assign_leaf)(const struct leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                              const double *centroids, struct sums *sums)
{
    const double *w = leaf->weights ? leaf->weights : leaf->multiplicities;
    const double *multiplicities = leaf->weights ? leaf->multiplicities : NULL;
#ifndef VEC_LOW_UNROLL
    if (leaf->unweighted && n == 2) return F(assign_leaf_n)(leaf, NULL, NULL, list, count, shift, 2, centroids, sums);
    if (leaf->unweighted && n == 3) return F(assign_leaf_n)(leaf, NULL, NULL, list, count, shift, 3, centroids, sums);
    if (!multiplicities && n == 2) return F(assign_leaf_n)(leaf, w, NULL, list, count, shift, 2, centroids, sums);
    if (!multiplicities && n == 3) return F(assign_leaf_n)(leaf, w, NULL, list, count, shift, 3, centroids, sums);
#endif
    return F(assign_leaf_n)(leaf, w, multiplicities, list, count, shift, n, centroids, sums);
}

#undef BLOCK_SIZE
#undef UNIT_ROUNDOFF
#undef UNDERFLOW_MARGIN
