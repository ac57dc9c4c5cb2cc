/* Sums over clusters and distances to centroids, in float64 (a part of kernels_body.h). Each value is
 * converted to float64 when it is loaded, before anything is subtracted or added. */

/* One `wide` of a row: adds w (x - c) to the cluster's offsets (NULL: not), returns square + w (x - c)^2. */
static ALWAYS_INLINE wide F(add_offsets)(wide x, wide c, double *offsets, const double *weight, wide square)
{
    const wide d = wide_sub(x, c);
    const wide wd = weight ? wide_mul(wide_set1(*weight), d) : d;
    if (offsets) wide_store(offsets, wide_add(wide_load_f64(offsets), wd));
    return wide_fma(wd, d, square);
}

static ALWAYS_INLINE void F(accumulate_rows)(const int add, const REAL *row, int64_t stride, int64_t count, int64_t n,
                                             const int32_t *labels, const double *weights,
                                             const REAL *centroids, struct sums *sums)
{
    const int64_t padded = wide_stride(n), whole = n / WIDE_LANES * WIDE_LANES;
    const wide_prefix rest = wide_first((int)(n - whole));
    double *const offsets = sums->offsets;
    int64_t *const counts = sums->counts;
    wide even = wide_load_f64(sums->square), odd = wide_load_f64(sums->square + WIDE_LANES);
    for (int64_t r = 0; r < count; ++r, row += stride) {
        const int64_t k = labels[r];
        const REAL *c = centroids + k * n;
        double *o = add ? offsets + k * padded : 0;
        for (int64_t l = 0; l < padded; l += WIDE_LANES) {
            const wide x = l < whole ? WIDE(load)(row + l) : WIDE(load_first)(row + l, rest);
            const wide at = l < whole ? WIDE(load)(c + l) : WIDE(load_first)(c + l, rest);
            const wide used = F(add_offsets)(x, at, add ? o + l : 0, weights ? weights + r : 0, even);
            even = odd;
            odd = used;
        }
        if (add) counts[k] += 1;
        if (add && weights) sums->weights[k] += weights[r];
    }
    wide_store(sums->square, even);
    wide_store(sums->square + WIDE_LANES, odd);
}

/* The same sums, bit for bit, for rows of one `wide` of which most have the label of the row before:
 * the sums stay in registers over a run of equal labels, where otherwise each row would wait for the
 * store of the one before. */
static ALWAYS_INLINE void F(accumulate_runs)(const REAL *row, int64_t stride, int64_t count, int64_t n,
                                             const int32_t *labels, const double *weights,
                                             const REAL *centroids, struct sums *sums)
{
    const wide_prefix used = wide_first((int)n);
    wide even = wide_load_f64(sums->square), odd = wide_load_f64(sums->square + WIDE_LANES);
    for (int64_t r = 0, begin; (begin = r) < count;) {
        const int64_t k = labels[r];
        const wide c = WIDE(load_first)(centroids + k * n, used);
        wide total = wide_load_f64(sums->offsets + k * WIDE_LANES);
        double weight = weights ? sums->weights[k] : 0;
        do {
            const wide d = wide_sub(WIDE(load_first)(row + r * stride, used), c);
            const wide wd = weights ? wide_mul(wide_set1(weights[r]), d) : d;
            const wide last = odd;
            total = wide_add(total, wd);
            odd = wide_fma(wd, d, even);
            even = last;
            if (weights) weight += weights[r];
        } while (++r < count && labels[r] == k);
        wide_store(sums->offsets + k * WIDE_LANES, total);
        sums->counts[k] += r - begin;
        if (weights) sums->weights[k] = weight;
    }
    wide_store(sums->square, even);
    wide_store(sums->square + WIDE_LANES, odd);
}

/* Whether more than two thirds of the rows have the label of the row before: shorter runs do not pay. */
static int F(in_runs)(const int32_t *labels, int64_t count)
{
    int64_t same = 0;
    for (int64_t r = 1; r < count; ++r) same += labels[r] == labels[r - 1];
    return same * 3 > count * 2;
}

static void F(accumulate)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                          const double *weights, const void *centroids, struct sums *sums)
{
    const int add = sums->offsets != 0;
    if (add && n < WIDE_LANES && F(in_runs)(labels, count)) {
        if (weights)
            F(accumulate_runs)(rows, stride, count, n, labels, weights, centroids, sums);
        else
            F(accumulate_runs)(rows, stride, count, n, labels, 0, centroids, sums);
    } else if (weights && add)
        F(accumulate_rows)(1, rows, stride, count, n, labels, weights, centroids, sums);
    else if (weights)
        F(accumulate_rows)(0, rows, stride, count, n, labels, weights, centroids, sums);
    else if (add)
        F(accumulate_rows)(1, rows, stride, count, n, labels, 0, centroids, sums);
    else
        F(accumulate_rows)(0, rows, stride, count, n, labels, 0, centroids, sums);
}

static void F(distances)(const void *rows_, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                         const void *centroids_, double *squared)
{
    const REAL *row = rows_, *centroids = centroids_;
    const int64_t padded = wide_stride(n), whole = n / WIDE_LANES * WIDE_LANES;
    const wide_prefix rest = wide_first((int)(n - whole));
    for (int64_t r = 0; r < count; ++r, row += stride) {
        const REAL *c = centroids + labels[r] * n;
        wide sum = wide_zero();
        for (int64_t l = 0; l < padded; l += WIDE_LANES) {
            const wide x = l < whole ? WIDE(load)(row + l) : WIDE(load_first)(row + l, rest);
            const wide d = wide_sub(x, l < whole ? WIDE(load)(c + l) : WIDE(load_first)(c + l, rest));
            sum = wide_fma(d, d, sum);
        }
        squared[r] = sum_lanes(sum);
    }
}

static double F(weighted_sum)(const void *values_, const double *weights, int64_t count)
{
    const REAL *values = values_;
    wide sum = wide_zero();
    int64_t i = 0;
    for (; i + WIDE_LANES <= count; i += WIDE_LANES) {
        const wide w = weights ? wide_load_f64(weights + i) : wide_set1(1.0);
        sum = wide_fma(WIDE(load)(values + i), w, sum);
    }
    double total = sum_lanes(sum);
    for (; i < count; ++i) total += values[i] * (weights ? weights[i] : 1.0);
    return total;
}
