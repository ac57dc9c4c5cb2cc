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

/* Extremes side by side, so that the loop runs in vectors. */
static void F(extent)(const REAL *x, int64_t count, REAL *low, REAL *high)
{
    REAL lo[16], hi[16];
    for (int j = 0; j < 16; ++j) lo[j] = hi[j] = x[0];
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (int j = 0; j < 16; ++j) lo[j] = x[i + j] < lo[j] ? x[i + j] : lo[j];
        for (int j = 0; j < 16; ++j) hi[j] = x[i + j] > hi[j] ? x[i + j] : hi[j];
    }
    for (; i < count; ++i) {
        lo[0] = x[i] < lo[0] ? x[i] : lo[0];
        hi[0] = x[i] > hi[0] ? x[i] : hi[0];
    }
    for (int j = 1; j < 16; ++j) {
        lo[0] = lo[j] < lo[0] ? lo[j] : lo[0];
        hi[0] = hi[j] > hi[0] ? hi[j] : hi[0];
    }
    *low = lo[0];
    *high = hi[0];
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
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i) {
        keys[found] = x[i];
        found += (bins[i] < last ? bins[i] : last) == bin;
    }
    return F(kth)(keys, found, left - before - 1);
}

/* Where each point goes: the `left` ones that are lowest, v the highest of them, from 0 on, others
 * behind. Nothing here branches on the data but for points that tie with v on both sides. */
static void F(places_of)(const REAL *x, int64_t count, int64_t left, REAL v, int32_t *places)
{
    int32_t below = 0, upto = 0, at = 0;
    for (int64_t i = 0; i < count; ++i) below += x[i] < v;
    for (int64_t i = 0; i < count; ++i) upto += x[i] <= v;
    for (int64_t i = 0; i < count; ++i) places[i] = x[i] <= v;
    if (upto > left) {
        int64_t equal = left - below;
        for (int64_t i = 0; i < count; ++i)
            if (x[i] == v) places[i] = equal-- > 0;
    }
    for (int64_t i = 0; i < count; ++i) {
        const int32_t goes_left = places[i], right = (int32_t)left + (int32_t)i - at;
        places[i] = right + ((at - right) & -goes_left);
        at += goes_left;
    }
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
    F(places_of)(x, count, left, v, places);
    for (int64_t l = 0; l < n; ++l)
        for (int64_t i = 0; i < count; ++i) to[l * stride + places[i]] = columns[l * stride + i];
    for (int64_t i = 0; i < count; ++i) to_ids[places[i]] = ids[i];
    *(REAL *)value = v;
    return widest;
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
