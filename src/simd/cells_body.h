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

/* The candidate closest to the middle of the box: its block, its lane, 4 x its squared distance. */
static ALWAYS_INLINE const REAL *F(closest)(const REAL *list, int64_t blocks, const struct F(box) *box, int64_t n,
                                            int *lane, REAL *squared)
{
    V(vec) best = V(set1)((REAL)INFINITY), best_at = V(set1)(0);
    for (int64_t b = 0; b < blocks; ++b) {
        const BITS at = (BITS)b;
        REAL as_real;
        memcpy(&as_real, &at, sizeof at);
        V(fold)(F(to_middle)(list + b * FIELDS(n), box, n), V(set1)(as_real), &best, &best_at);
    }
    REAL lanes[V(LANES)];
    BITS at[V(LANES)];
    V(store)(lanes, best);
    V(store)((REAL *)at, best_at);
    int least = 0;
    for (int i = 1; i < V(LANES); ++i) least = lanes[i] < lanes[least] ? i : least;
    *lane = least;
    *squared = lanes[least];
    return list + (int64_t)at[least] * FIELDS(n);
}

/* IN list of `count` candidates, edges of a box (n low ones, n high ones), shift; OUT kept: the
 * candidates that may be the label of some point of the box. Returns how many they are. */
static ALWAYS_INLINE int64_t F(prune_n)(const REAL *list, int64_t count, const REAL *edges, const REAL *shift,
                                        int64_t n, REAL *kept)
{
    const struct F(box) box = F(shifted_box)(edges, shift, n);
    const int64_t blocks = (count + V(LANES) - 1) / V(LANES);
    int lane;
    REAL squared;
    const REAL *pivot = F(closest)(list, blocks, &box, n, &lane, &squared) + lane;
    const REAL margin = 4 * (8 * (REAL)n + 32) * UNIT, far = 4 * (12 * (REAL)n + 64) * UNIT;
    const V(vec) bound =
        V(set1)(squared + margin * pivot[n * V(LANES)] + far * box.reach + SMALLEST);
    const V(vec) less = V(set1)(-margin);
    int64_t found = 0;
    for (int64_t b = 0; b < blocks; ++b, list += FIELDS(n)) {
        V(vec) gap = F(to_middle)(list, &box, n);
        for (int64_t l = 0; l < n; ++l) {
            const V(vec) d = V(sub)(V(load)(list + l * V(LANES)), V(set1)(pivot[l * V(LANES)]));
            gap = V(fma)(V(max_magnitude)(V(set1)(0), d), V(set1)(-4 * box.half[l]), gap);
        }
        gap = V(fma)(V(load)(list + n * V(LANES)), less, gap);
        const int64_t left = count - b * V(LANES);
        const unsigned here = left < V(LANES) ? (1u << left) - 1 : (1u << (V(LANES) - 1)) * 2 - 1;
        for (unsigned keep = here & ~V(more)(gap, bound); keep; keep &= keep - 1) {
            const int to_lane = (int)(found % V(LANES));
            REAL *to = kept + found / V(LANES) * FIELDS(n);
            if (to_lane == 0) V(store)(to, V(set1)((REAL)INFINITY));
            F(copy_candidate)(list, lowest_bit(keep), n, to, to_lane);
            ++found;
        }
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

/* `values` where the label is k, else 0; returns their sum. Labels as doubles keep the loop in vectors. */
static ALWAYS_INLINE double F(members)(const double *labels, double k, const double *values, double *kept)
{
    wide total = wide_zero();
    for (int p = 0; p < LEAF; ++p) {
        const double value = values[p];
        kept[p] = labels[p] == k ? value : 0.0;
    }
    for (int q = 0; q < LEAF; q += 8) total = wide_add(total, wide_load_f64(kept + q));
    return F(lanes_total)(total);
}

/* Add points to a cluster's sums; those of weight 0 are not its members. */
static ALWAYS_INLINE void F(add_members)(const REAL *points, const double *weights, int64_t n, const double *centroid,
                                         double *offsets, wide *square)
{
    for (int64_t l = 0; l < n; ++l) {
        const wide c = wide_set1(centroid[l]);
        wide sum = wide_zero();
        for (int q = 0; q < LEAF; q += 8) {
            const wide d = wide_sub(WIDE(load)(points + l * LEAF + q), c);
            const wide wd = wide_mul(wide_load_f64(weights + q), d);
            sum = wide_add(sum, wd);
            *square = wide_fma(wd, d, *square);
        }
        offsets[l] += F(lanes_total)(sum);
    }
}

/* Replace a leaf's labels; returns how many original points changed theirs. */
static ALWAYS_INLINE int64_t F(relabel)(const struct leaf *leaf, const int32_t *found)
{
    int64_t changed = 0;
    for (int p = 0; p < LEAF; ++p) {
        const int differs = p < leaf->count && found[p] != leaf->labels[p];
        changed += leaf->numbers ? differs * (int64_t)leaf->numbers[p] : differs;
    }
    memcpy(leaf->labels, found, LEAF * sizeof(int32_t));
    return changed;
}

static ALWAYS_INLINE int64_t F(settle_n)(const struct leaf *leaf, const REAL *list, int64_t count, const REAL *shift,
                                         int64_t n, const double *centroids, struct sums *sums)
{
    BITS ids[LEAF];
    int32_t found[LEAF];
    double labels[LEAF], weights[LEAF], numbers[LEAF];
    F(score_leaf)(leaf->points, list, count, shift, n, ids);
    for (int p = 0; p < LEAF; ++p) found[p] = (int32_t)ids[p];
    for (int p = 0; p < LEAF; ++p) labels[p] = p < leaf->count ? found[p] : -1;
    wide square = wide_load_f64(sums->square);
    for (int64_t i = 0; i < count; ++i) {
        const REAL *id = list + i / V(LANES) * FIELDS(n) + (n + 1) * V(LANES) + i % V(LANES);
        const int64_t k = (int64_t)*(const BITS *)id;
        const double number = F(members)(labels, (double)k, leaf->numbers ? leaf->numbers : leaf->ones, numbers);
        if (number == 0) continue;
        double weight = number;
        if (leaf->weights) weight = F(members)(labels, (double)k, leaf->weights, weights);
        F(add_members)(leaf->points, leaf->weights ? weights : numbers, n, centroids + k * 8, sums->offsets + k * 8,
                       &square);
        sums->weights[k] += weight;
        sums->counts[k] += (int64_t)number;
    }
    wide_store(sums->square, square);
    return F(relabel)(leaf, found);
}

/* IN leaf, its candidates, shift, centroids (wide); INOUT the leaf's labels, sums. Returns how
 * many original points changed their label. */
static int64_t F(settle)(const struct leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                         const double *centroids, struct sums *sums)
{
    switch (n) {
    case 2: return F(settle_n)(leaf, list, count, shift, 2, centroids, sums);
    case 3: return F(settle_n)(leaf, list, count, shift, 3, centroids, sums);
    default: return F(settle_n)(leaf, list, count, shift, n, centroids, sums);
    }
}

#undef FIELDS
#undef UNIT
#undef SMALLEST
