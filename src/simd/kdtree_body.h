/* Building the k-d tree: median partition, leaves, classification by cuts (a part of kernels_body.h). */

/* Quickselect: the k-th smallest (from 0) of `count` keys, which are reordered (C. A. R. Hoare,
 * "Algorithm 65: Find", Communications of the ACM 4 (7), 1961). */
static REAL F(quickselect)(REAL *keys, int64_t count, int64_t k)
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

static ALWAYS_INLINE void F(min_max)(const REAL *x, int64_t count, REAL *lowest, REAL *highest)
{
    V(vec) lo = V(set1)(x[0]), hi = lo;
    int64_t i = 0;
    for (; i + V(LANES) <= count; i += V(LANES)) {
        lo = V(min)(lo, V(load)(x + i));
        hi = V(max)(hi, V(load)(x + i));
    }
    *lowest = V(min_lane)(lo);
    *highest = V(max_lane)(hi);
    for (; i < count; ++i) {
        *lowest = x[i] < *lowest ? x[i] : *lowest;
        *highest = x[i] > *highest ? x[i] : *highest;
    }
}

/* The rank-th smallest (from 1) of x, whose range is [lowest, highest]: by a histogram, then by quickselect among
 * the values of the bin that holds it. SCRATCH keys (count + 1), bins (count). */
static REAL F(select_rank)(const REAL *x, int64_t count, int64_t rank, REAL lowest, REAL highest, REAL *keys,
                           int32_t *bins)
{
    enum { BINS = 256, FEW_BINS = 32, FEW_VALUES = 2048 }; /* few values: clearing 256 bins would cost too much */
    const int32_t last = count >= FEW_VALUES ? BINS - 1 : FEW_BINS - 1;
    int32_t tally[BINS] = { 0 };
    REAL scale = (REAL)last / (highest - lowest);
    if (!(scale < (REAL)1e30)) scale = 0; /* a subnormal range: one bin, no overflow */
    for (int64_t i = 0; i < count; ++i) bins[i] = (int32_t)((x[i] - lowest) * scale);
    for (int64_t i = 0; i < count; ++i) ++tally[bins[i] < last ? bins[i] : last];
    int64_t before = 0;
    int32_t bin = 0;
    while (before + tally[bin] < rank) before += tally[bin++];
    int64_t found = 0, i = 0;
#ifdef VEC_HAS_COMPRESS
    for (; i + V(LANES) <= count && bin < last; i += V(LANES))
        found += V(compress_store)(keys + found, V(load)(x + i), V(equal_ids)(bins + i, bin));
#endif
    for (; i < count; ++i) {
        keys[found] = x[i];
        found += (bins[i] < last ? bins[i] : last) == bin;
    }
    return F(quickselect)(keys, found, rank - before - 1);
}

/* Arguments of a partition along x, one of the columns: the n_left lowest points go left, v is the highest
 * value among them. left_ties: of the points whose value is v, the first so many go left; `count` if all do. */
struct F(partition) {
    const REAL *columns, *x;
    const int32_t *ids;
    int64_t stride, count, n, n_left, left_ties;
    REAL v, *to;
    int32_t *to_ids;
};

static ALWAYS_INLINE int64_t F(count_left_ties)(const REAL *x, int64_t count, int64_t n_left, REAL v)
{
    int32_t below = 0, not_above = 0;
    for (int64_t i = 0; i < count; ++i) below += x[i] < v;
    for (int64_t i = 0; i < count; ++i) not_above += x[i] <= v;
    return not_above == n_left ? count : n_left - below;
}

#ifdef VEC_HAS_COMPRESS
/* Moves those of LANES points from i on that are set in `chosen` to place `at` and the following ones. */
static ALWAYS_INLINE void F(move_points)(const struct F(partition) *p, int64_t i, unsigned chosen, int64_t at)
{
    for (int64_t l = 0; l < p->n; ++l)
        V(compress_store)(p->to + l * p->stride + at, V(load)(p->columns + l * p->stride + i), chosen);
    V(compress_store_ids)(p->to_ids + at, p->ids + i, chosen);
}

/* Partitions whole vectors of points. Returns how many points that were; INOUT at: grows by how many went left. */
static ALWAYS_INLINE int64_t F(partition_vectors)(struct F(partition) *p, int64_t *at)
{
    const unsigned all = (1u << (V(LANES) - 1)) * 2 - 1;
    int64_t i = 0;
    for (; i + V(LANES) <= p->count; i += V(LANES)) {
        const V(vec) x = V(load)(p->x + i), v = V(set1)(p->v);
        unsigned left = V(greater)(v, x), ties = V(not_greater)(x, v) & ~left;
        for (; ties && p->left_ties > 0; ties &= ties - 1, --p->left_ties) left |= ties & (0 - ties);
        F(move_points)(p, i, left, *at);
        F(move_points)(p, i, all & ~left, p->n_left + i - *at);
        *at += count_bits(left);
    }
    return i;
}
#endif

/* Partitions the points from i on, `at` points having gone left. Branches on the data only if ties go to both
 * sides. SCRATCH places (count): where each point goes. */
static ALWAYS_INLINE void F(partition_rest)(struct F(partition) *p, int64_t i, int64_t at, int32_t *places)
{
    for (int64_t j = i; j < p->count; ++j) places[j] = p->x[j] <= p->v;
    if (p->left_ties < p->count)
        for (int64_t j = i; j < p->count; ++j)
            if (p->x[j] == p->v) places[j] = p->left_ties-- > 0;
    for (int64_t j = i; j < p->count; ++j) {
        const int32_t goes_left = places[j], right = (int32_t)(p->n_left + j - at);
        places[j] = right + (((int32_t)at - right) & -goes_left);
        at += goes_left;
    }
    for (int64_t l = 0; l < p->n; ++l)
        for (int64_t j = i; j < p->count; ++j) p->to[l * p->stride + places[j]] = p->columns[l * p->stride + j];
    for (int64_t j = i; j < p->count; ++j) p->to_ids[places[j]] = p->ids[j];
}

static int64_t F(median_partition)(const void *columns_, const int32_t *ids, int64_t stride, int64_t count, int64_t n,
                                   int64_t n_left, void *to_, int32_t *to_ids, void *value, void *keys,
                                   int32_t *places)
{
    const REAL *columns = columns_;
    REAL *to = to_, lowest = 0, highest = 0;
    int64_t widest = -1;
    for (int64_t l = 0; l < n; ++l) {
        REAL lo, hi;
        F(min_max)(columns + l * stride, count, &lo, &hi);
        if (hi - lo > highest - lowest) {
            lowest = lo;
            highest = hi;
            widest = l;
        }
    }
    if (widest < 0) {
        for (int64_t l = 0; l < n; ++l) memcpy(to + l * stride, columns + l * stride, (size_t)count * sizeof(REAL));
        memcpy(to_ids, ids, (size_t)count * sizeof(int32_t));
        return -1;
    }
    const REAL *x = columns + widest * stride, v = F(select_rank)(x, count, n_left, lowest, highest, keys, places);
    struct F(partition) p = { columns, x, ids, stride, count, n, n_left, F(count_left_ties)(x, count, n_left, v), v, to,
                              to_ids };
    int64_t done = 0, at = 0;
#ifdef VEC_HAS_COMPRESS
    done = F(partition_vectors)(&p, &at);
#endif
    F(partition_rest)(&p, done, at, places);
    *(REAL *)value = v;
    return widest;
}

static void F(fill_leaf)(const void *columns_, int64_t stride, int64_t count, int64_t n, const double *weights,
                         void *points_, void *edges_, double *sums)
{
    const REAL *column = columns_;
    REAL *x = points_, *edges = edges_;
    double w[LEAF];
    for (int p = 0; p < LEAF; ++p) w[p] = weights ? weights[p] : 1;
    for (int64_t p = count; p < LEAF; ++p) w[p] = 0;
    wide weight = wide_zero(), square = wide_zero();
    for (int q = 0; q < LEAF; q += WIDE_LANES) weight = wide_add(weight, wide_load_f64(w + q));
    sums[n + 1] = sum_lanes(weight);
    for (int64_t l = 0; l < n; ++l, column += stride, x += LEAF) {
        memcpy(x, column, (size_t)count * sizeof(REAL));
        for (int64_t p = count; p < LEAF; ++p) x[p] = column[count - 1];
        F(min_max)(x, LEAF, edges + l, edges + n + l);
        wide total = wide_zero();
        for (int q = 0; q < LEAF; q += WIDE_LANES)
            total = wide_fma(wide_load_f64(w + q), WIDE(load)(x + q), total);
        edges[2 * n + l] = sums[n + 1] > 0 ? (REAL)(sum_lanes(total) / sums[n + 1]) : edges[l];
        const wide mean = wide_set1(edges[2 * n + l]);
        total = wide_zero();
        for (int q = 0; q < LEAF; q += WIDE_LANES) {
            const wide offset = wide_sub(WIDE(load)(x + q), mean), wd = wide_mul(wide_load_f64(w + q), offset);
            total = wide_add(total, wd);
            square = wide_fma(wd, offset, square);
        }
        sums[l] = sum_lanes(total);
    }
    sums[n] = sum_lanes(square);
}

static void F(classify)(const void *rows_, int64_t stride, int64_t count, int depth, const int32_t *feature,
                        const void *value_, int32_t *bucket)
{
    enum { TOGETHER = 8 }; /* rows that go down at the same time, which hides the latency of the loads */
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
