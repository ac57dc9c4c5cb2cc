/* Halving a set of points, once for every dtype (see kernels_body.h). Points lie in columns here:
 * columns[l * stride + i] is feature l of point i. */

/* The k-th smallest of `count` keys, which are reordered (C. A. R. Hoare, "Find", 1961). */
static REAL F(kth)(REAL *keys, int64_t count, int64_t k)
{
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const REAL a = keys[low], b = keys[low + (high - low) / 2], c = keys[high];
        const REAL pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        int64_t i = low, j = high;
        while (i <= j) {
            while (keys[i] < pivot) ++i;
            while (pivot < keys[j]) --j;
            if (i > j) break;
            const REAL swapped = keys[i];
            keys[i++] = keys[j];
            keys[j--] = swapped;
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return keys[k];
}

static ALWAYS_INLINE void F(extent)(const REAL *x, int64_t count, REAL *low, REAL *high)
{
    V(vec) lo = V(set1)(x[0]), hi = lo;
    int64_t i = 0;
    for (; i + V(LANES) <= count; i += V(LANES)) {
        lo = V(min)(lo, V(load)(x + i));
        hi = V(max)(hi, V(load)(x + i));
    }
    *low = V(lowest)(lo);
    *high = V(highest)(hi);
    for (; i < count; ++i) {
        *low = x[i] < *low ? x[i] : *low;
        *high = x[i] > *high ? x[i] : *high;
    }
}

/* The left-th smallest of x. Only the keys of the bin that holds it are looked at closely. */
static REAL F(quantile)(const REAL *x, int64_t count, int64_t left, REAL low, REAL high, REAL *keys, int32_t *bins)
{
    enum { BINS = 256 };
    const int32_t last = count >= 2048 ? BINS - 1 : 31;
    int32_t tally[BINS] = { 0 };
    REAL scale = (REAL)last / (high - low);
    if (!(scale < (REAL)1e30)) scale = 0;
    for (int64_t i = 0; i < count; ++i) bins[i] = (int32_t)((x[i] - low) * scale);
    for (int64_t i = 0; i < count; ++i) ++tally[bins[i] < last ? bins[i] : last];
    int64_t before = 0;
    int32_t bin = 0;
    while (before + tally[bin] < left) before += tally[bin++];
    int64_t found = 0, i = 0;
#ifdef VEC_COMPRESSES
    for (; i + V(LANES) <= count && bin < last; i += V(LANES))
        found += V(store_chosen)(keys + found, V(load)(x + i), V(equal_ids)(bins + i, bin));
#endif
    for (; i < count; ++i) {
        keys[found] = x[i];
        found += (bins[i] < last ? bins[i] : last) == bin;
    }
    return F(kth)(keys, found, left - before - 1);
}

/* Columns and ids, to be parted into those of the `left` points that are lowest along x, v the highest of them,
 * and the others; `equal`: how many of the first points that tie with v go left, or as many as all points where all of them do. */
struct F(parting) {
    const REAL *columns, *x;
    const int32_t *ids;
    int64_t stride, count, n, left, equal;
    REAL v, *to;
    int32_t *to_ids;
};

static ALWAYS_INLINE int64_t F(ties_to_the_left)(const REAL *x, int64_t count, int64_t left, REAL v)
{
    int32_t below = 0, upto = 0;
    for (int64_t i = 0; i < count; ++i) below += x[i] < v;
    for (int64_t i = 0; i < count; ++i) upto += x[i] <= v;
    return upto == left ? count : left - below;
}

#ifdef VEC_COMPRESSES
/* Those of the points from i on, one a bit of `goes`, to place `at` and those behind. */
static ALWAYS_INLINE void F(move_together)(const struct F(parting) *p, int64_t i, unsigned goes, int64_t at)
{
    for (int64_t l = 0; l < p->n; ++l)
        V(store_chosen)(p->to + l * p->stride + at, V(load)(p->columns + l * p->stride + i), goes);
    V(store_chosen_ids)(p->to_ids + at, p->ids + i, goes);
}

/* As many points as lanes at a time; returns how many are parted so, and how many of them went left. */
static ALWAYS_INLINE int64_t F(part_vectors)(struct F(parting) *p, int64_t *at)
{
    const unsigned all = (1u << (V(LANES) - 1)) * 2 - 1;
    int64_t i = 0;
    for (; i + V(LANES) <= p->count; i += V(LANES)) {
        const V(vec) x = V(load)(p->x + i), v = V(set1)(p->v);
        unsigned goes = V(more)(v, x), ties = V(not_above)(x, v) & ~goes;
        for (; ties && p->equal > 0; ties &= ties - 1, --p->equal) goes |= ties & (0 - ties);
        F(move_together)(p, i, goes, *at);
        F(move_together)(p, i, all & ~goes, p->left + i - *at);
        *at += bits_in(goes);
    }
    return i;
}
#endif

/* The points from i on. Nothing here branches on the data but for ties on both sides. `places`: where each goes. */
static ALWAYS_INLINE void F(part_rest)(struct F(parting) *p, int64_t i, int64_t at, int32_t *places)
{
    for (int64_t j = i; j < p->count; ++j) places[j] = p->x[j] <= p->v;
    if (p->equal < p->count)
        for (int64_t j = i; j < p->count; ++j)
            if (p->x[j] == p->v) places[j] = p->equal-- > 0;
    for (int64_t j = i; j < p->count; ++j) {
        const int32_t goes_left = places[j], right = (int32_t)(p->left + j - at);
        places[j] = right + (((int32_t)at - right) & -goes_left);
        at += goes_left;
    }
    for (int64_t l = 0; l < p->n; ++l)
        for (int64_t j = i; j < p->count; ++j) p->to[l * p->stride + places[j]] = p->columns[l * p->stride + j];
    for (int64_t j = i; j < p->count; ++j) p->to_ids[places[j]] = p->ids[j];
}

/* IN columns, ids; OUT the same points in columns `to`, the `left` ones that are lowest along the
 * widest feature first; value: the highest of these there. Returns the feature, -1 where all
 * points are equal. `keys` and `places` are scratch for `count` + 1 values. */
static int64_t F(halve)(const void *columns_, const int32_t *ids, int64_t stride, int64_t count, int64_t n,
                        int64_t left, void *to_, int32_t *to_ids, void *value, void *keys, int32_t *places)
{
    const REAL *columns = columns_;
    REAL *to = to_, low = 0, high = 0;
    int64_t widest = -1;
    for (int64_t l = 0; l < n; ++l) {
        REAL lo, hi;
        F(extent)(columns + l * stride, count, &lo, &hi);
        if (hi - lo > high - low) {
            low = lo;
            high = hi;
            widest = l;
        }
    }
    if (widest < 0) {
        for (int64_t l = 0; l < n; ++l) memcpy(to + l * stride, columns + l * stride, (size_t)count * sizeof(REAL));
        memcpy(to_ids, ids, (size_t)count * sizeof(int32_t));
        return -1;
    }
    const REAL *x = columns + widest * stride, v = F(quantile)(x, count, left, low, high, keys, places);
    struct F(parting) p = { columns, x, ids, stride, count, n, left, F(ties_to_the_left)(x, count, left, v), v, to, to_ids };
    int64_t done = 0, at = 0;
#ifdef VEC_COMPRESSES
    done = F(part_vectors)(&p, &at);
#endif
    F(part_rest)(&p, done, at, places);
    *(REAL *)value = v;
    return widest;
}

/* IN `count` points in columns, weights (NULL: 1) of LEAF points; OUT points: a leaf of them, the last one repeated;
 * edges of its box (low ones, high ones, a point near the mean); sums of the points minus that, of their squares and
 * of the weights. */
static void F(fill_leaf)(const void *columns_, int64_t stride, int64_t count, int64_t n, const double *weights,
                         void *points_, void *edges_, double *sums)
{
    const REAL *column = columns_;
    REAL *x = points_, *edges = edges_;
    double w[LEAF];
    for (int p = 0; p < LEAF; ++p) w[p] = weights ? weights[p] : 1;
    for (int64_t p = count; p < LEAF; ++p) w[p] = 0;
    wide weight = wide_zero(), square = wide_zero();
    for (int q = 0; q < LEAF; q += 8) weight = wide_add(weight, wide_load_f64(w + q));
    sums[n + 1] = F(lanes_total)(weight);
    for (int64_t l = 0; l < n; ++l, column += stride, x += LEAF) {
        memcpy(x, column, (size_t)count * sizeof(REAL));
        for (int64_t p = count; p < LEAF; ++p) x[p] = column[count - 1];
        F(extent)(x, LEAF, edges + l, edges + n + l);
        wide total = wide_zero();
        for (int q = 0; q < LEAF; q += 8)
            total = wide_fma(wide_load_f64(w + q), WIDE(load)(x + q), total);
        edges[2 * n + l] = sums[n + 1] > 0 ? (REAL)(F(lanes_total)(total) / sums[n + 1]) : edges[l];
        const wide mean = wide_set1(edges[2 * n + l]);
        total = wide_zero();
        for (int q = 0; q < LEAF; q += 8) {
            const wide away = wide_sub(WIDE(load)(x + q), mean), wd = wide_mul(wide_load_f64(w + q), away);
            total = wide_add(total, wd);
            square = wide_fma(wd, away, square);
        }
        sums[l] = F(lanes_total)(total);
    }
    sums[n] = F(lanes_total)(square);
}

/* IN rows; a complete binary tree of `depth` levels: at node j, rows whose feature[j] is above
 * value[j] go right, to 2 j + 2, others to 2 j + 1. OUT each row's leaf, counted from the left. */
static void F(classify)(const void *rows_, int64_t stride, int64_t count, int depth, const int32_t *feature,
                        const void *value_, int32_t *bucket)
{
    enum { TOGETHER = 8 }; /* rows on their way down at a time, to hide how long each step takes */
    const REAL *rows = rows_, *value = value_;
    for (int64_t i = 0; i < count; i += TOGETHER) {
        const int64_t some = count - i < TOGETHER ? count - i : TOGETHER;
        const REAL *x[TOGETHER];
        int32_t j[TOGETHER] = { 0 };
        for (int r = 0; r < TOGETHER; ++r) x[r] = rows + (i + (r < some ? r : 0)) * stride;
        for (int level = 0; level < depth; ++level) {
            UNROLL
            for (int r = 0; r < TOGETHER; ++r) j[r] = 2 * j[r] + 1 + (x[r][feature[j[r]]] > value[j[r]]);
        }
        for (int r = 0; r < some; ++r) bucket[i + r] = j[r] - ((1 << depth) - 1);
    }
}
