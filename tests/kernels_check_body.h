/* The checks for one computing dtype. The includer defines REAL, BITS, FMA and F(name). */

struct F(data) {
    const struct kernels *k;
    int64_t m, n, K, stride, tiles; /* tiles: how many */
    REAL *rows, *centroids, *centroid_rows, *shift, *packed; /* centroid_rows: centroids that are padded like rows */
    double *weights;
    int32_t *labels;
};

static struct F(data) F(make)(const struct kernels *k, int64_t m, int64_t n, int64_t K)
{
    struct F(data) d = { .k = k, .m = m, .n = n, .K = K, .stride = at_end ? n : n + 3, .tiles = (m + k->tile - 1) / k->tile };
    d.rows = allocate(((m - 1) * d.stride + n + ROW_PADDING) * (int64_t)sizeof(REAL));
    d.centroids = allocate(K * n * (int64_t)sizeof(REAL));
    d.centroid_rows = allocate((K * n + ROW_PADDING) * (int64_t)sizeof(REAL));
    d.shift = allocate(n * (int64_t)sizeof(REAL));
    d.packed = allocate(d.tiles * k->tile * n * (int64_t)sizeof(REAL));
    d.weights = allocate(m * 8);
    d.labels = allocate(m * 4);
    for (int64_t i = 0; i < (m - 1) * d.stride + n; ++i) d.rows[i] = (REAL)random_value();
    for (int64_t l = 0; l < n; ++l) d.shift[l] = (REAL)random_value();
    for (int64_t i = 0; i < K * n; ++i)
        d.centroids[i] = d.centroid_rows[i] = (REAL)random_value();
    for (int64_t r = 0; r < m; ++r) d.weights[r] = fabs(random_value());
    for (int64_t r = 0; r < m; ++r) d.labels[r] = (int32_t)((at_end ? r * 7 : r / 9) % K); /* in no order; in runs */
    return d;
}

static void F(release)(struct F(data) *d)
{
    void *all[] = { d->rows, d->centroids, d->centroid_rows, d->shift, d->packed, d->weights, d->labels };
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) release(all[i]);
}

static void F(check_pack)(struct F(data) *d)
{
    const int tile = d->k->tile;
    REAL max_abs = 0;
    const uint64_t bits = d->k->pack(d->rows, d->stride, d->m, d->n, d->shift, d->packed);
    int good = 1;
    for (int64_t r = 0; r < d->tiles * tile; ++r) {
        for (int64_t l = 0; l < d->n; ++l) {
            const REAL x = r < d->m ? d->rows[r * d->stride + l] : 0;
            const REAL packed = d->packed[(r / tile * d->n + l) * tile + r % tile];
            max_abs = (REAL)fmax(max_abs, fabs(x));
            good &= packed == (r < d->m ? x - d->shift[l] : 0);
        }
    }
    BITS expected;
    memcpy(&expected, &max_abs, sizeof max_abs);
    expect(good && bits == expected, d->k, "pack", d->m, d->n, d->K);
}

/* Into another array, and in place. */
static void F(check_scale_rows)(struct F(data) *d)
{
    const int64_t n = d->n, m = d->m;
    REAL *scaled = allocate(m * n * (int64_t)sizeof(REAL)), *own = allocate(m * n * (int64_t)sizeof(REAL));
    double *factors = allocate(m * 8);
    int good = 1;
    for (int64_t r = 0; r < m; ++r) factors[r] = (REAL)(1 / (1.5 + (double)(r % 7)));
    for (int64_t i = 0; i < m * n; ++i) own[i] = d->rows[i / n * d->stride + i % n];
    d->k->scale_rows(d->rows, d->stride, m, n, factors, scaled);
    d->k->scale_rows(own, n, m, n, factors, own);
    for (int64_t i = 0; i < m * n; ++i) {
        const REAL expected = d->rows[i / n * d->stride + i % n] * (REAL)factors[i / n];
        good &= scaled[i] == expected && own[i] == expected;
    }
    expect(good, d->k, "scale_rows", m, n, d->K);
    release(scaled), release(own), release(factors);
}

/* One feature of a score, by its definition: fused except in the baseline. */
static REAL F(step)(const struct kernels *k, REAL a, REAL b, REAL c)
{
    if (strcmp(k->name, "baseline")) return FMA(a, b, c);
    const volatile REAL product = a * b;
    return product + c;
}

/* Compares with the indices that `assign` found: they differ only in undecided rows, which are rare. */
static void F(check_assign_rows)(struct F(data) *d, const BITS *expected)
{
    const int64_t values = d->k->assign_rows_size(d->K, d->n), item = sizeof(REAL), points = d->tiles * d->k->tile;
    const int64_t lanes = d->k->list_block, size = d->K * ((d->n + lanes - 1) / lanes * lanes + 4);
    const int fits = lanes > 1 && d->K >= 2 && d->K <= 8 && d->n >= lanes && size * item <= 24 * 1024;
    expect(values == (fits ? size : 0), d->k, "assign_rows_size", d->m, d->n, d->K);
    if (!fits) return;
    REAL *packed = allocate(values * item);
    BITS *ids = allocate(points * item);
    int32_t *undecided = allocate((d->m + 1) * 4);
    uint64_t max_abs = 0;
    d->k->assign_rows_pack(d->centroids, d->shift, d->K, d->n, packed);
    const int64_t n_undecided =
        d->k->assign_rows(d->rows, d->stride, d->m, d->K, d->n, packed, ids, undecided, &max_abs);
    for (int64_t i = 0; i < n_undecided; ++i) ids[undecided[i]] = expected[undecided[i]];
    int good = n_undecided <= d->m / 8 && max_abs == d->k->pack(d->rows, d->stride, d->m, d->n, d->shift, d->packed);
    for (int64_t r = 0; r < d->m; ++r) good &= ids[r] == expected[r];
    expect(good, d->k, "assign_rows", d->m, d->n, d->K);
    release(packed), release(ids), release(undecided);
}

static void F(check_assign)(struct F(data) *d)
{
    const int64_t n = d->n, K = d->K, item = sizeof(REAL), points = d->tiles * d->k->tile;
    struct panel panel = { K, n, allocate(K * n * item), allocate(K * item), allocate(K * item) };
    REAL *scores = allocate(points * item), *partial = allocate(K * d->k->tile * item);
    BITS *ids = allocate(points * item);
    d->k->pack_centroids(d->centroids, d->shift, &panel);
    d->k->assign(d->packed, d->tiles, &panel, scores, ids, partial);
    int good = 1;
    for (int64_t r = 0; r < d->m; ++r) {
        REAL least = (REAL)INFINITY;
        int64_t closest = 0;
        for (int64_t c = 0; c < K; ++c) {
            double norm = 0;
            for (int64_t l = 0; l < n; ++l) norm += square_of(d->centroids[c * n + l] - d->shift[l]);
            REAL score = (REAL)norm;
            for (int64_t l = 0; l < n; ++l)
                score = F(step)(d->k, d->rows[r * d->stride + l] - d->shift[l],
                                -2 * (d->centroids[c * n + l] - d->shift[l]), score);
            if (score < least) least = score, closest = c;
        }
        good &= scores[r] == least && ids[r] == (BITS)closest;
    }
    expect(good, d->k, "assign", d->m, n, K);
    F(check_assign_rows)(d, ids);
    release(panel.c), release(panel.norms), release(panel.ids), release(scores), release(ids), release(partial);
}

static void F(check_sums)(struct F(data) *d, const double *weights, int only_square)
{
    const int64_t n = d->n, K = d->K, wide = wide_stride(n);
    struct sums sums = { only_square ? 0 : allocate(K * wide * 8), allocate(K * 8), allocate(K * 8), { 0 } };
    double *expected = allocate(K * n * 8), *total = allocate(K * 8), square = 0, found = 0;
    int64_t *counts = allocate(K * 8);
    int good = 1;
    if (sums.offsets) memset(sums.offsets, 0, (size_t)(K * wide * 8));
    memset(expected, 0, (size_t)(K * n * 8)), memset(total, 0, (size_t)(K * 8)), memset(counts, 0, (size_t)(K * 8));
    memset(sums.weights, 0, (size_t)(K * 8)), memset(sums.counts, 0, (size_t)(K * 8));
    d->k->accumulate(d->rows, d->stride, d->m, n, d->labels, weights, d->centroid_rows, &sums);
    for (int64_t r = 0; r < d->m; ++r) {
        const double w = weights ? weights[r] : 1;
        for (int64_t l = 0; l < n; ++l) {
            const double offset = (double)d->rows[r * d->stride + l] - d->centroids[d->labels[r] * n + l];
            expected[d->labels[r] * n + l] += w * offset;
            square += w * offset * offset;
        }
        if (!only_square) counts[d->labels[r]] += 1, total[d->labels[r]] += weights ? w : 0;
    }
    for (int i = 0; i < 16; ++i) found += sums.square[i];
    for (int64_t i = 0; sums.offsets && i < K * n; ++i)
        good &= close_to(sums.offsets[i / n * wide + i % n], expected[i]);
    for (int64_t c = 0; c < K; ++c) good &= sums.counts[c] == counts[c] && close_to(sums.weights[c], total[c]);
    expect(good && close_to(found, square), d->k, "accumulate", d->m, n, K);
    release(sums.offsets), release(sums.weights), release(sums.counts);
    release(expected), release(total), release(counts);
}

static void F(check_distances)(struct F(data) *d)
{
    double *squared = allocate(d->m * 8);
    d->k->distances(d->rows, d->stride, d->m, d->n, d->labels, d->centroid_rows, squared);
    int good = 1;
    for (int64_t r = 0; r < d->m; ++r) {
        double expected = 0;
        for (int64_t l = 0; l < d->n; ++l)
            expected += square_of((double)d->rows[r * d->stride + l] - d->centroids[d->labels[r] * d->n + l]);
        good &= close_to(squared[r], expected);
    }
    expect(good, d->k, "distances", d->m, d->n, d->K);
    release(squared);
}

static void F(check_min_distance)(struct F(data) *d, const REAL *current)
{
    const int64_t n = d->n, points = d->tiles * d->k->tile;
    REAL *updated = allocate(d->K * points * (int64_t)sizeof(REAL));
    d->k->min_distance_update(d->packed, d->tiles, n, d->centroids, d->K, current, updated);
    int good = 1;
    for (int64_t trial = 0; trial < d->K; ++trial) {
        for (int64_t p = 0; p < points; ++p) {
            REAL sum = 0;
            for (int64_t l = 0; l < n; ++l) {
                const REAL x = d->packed[(p / d->k->tile * n + l) * d->k->tile + p % d->k->tile];
                sum = F(step)(d->k, x - d->centroids[trial * n + l], x - d->centroids[trial * n + l], sum);
            }
            good &= updated[trial * points + p] == (current && current[p] < sum ? current[p] : sum);
        }
    }
    expect(good, d->k, "min_distance_update", d->m, n, d->K);
    release(updated);
}

static void F(check_weighted_sum)(struct F(data) *d, const double *weights)
{
    double expected = 0;
    for (int64_t r = 0; r < d->m; ++r) expected += d->rows[r] * (weights ? weights[r] : 1);
    expect(close_to(d->k->weighted_sum(d->rows, weights, d->m), expected), d->k, "weighted_sum", d->m, d->n, d->K);
}

#include "kernels_check_cells.h"
#include "kernels_check_quantise.h"
#include "kernels_check_screen.h"
#include "kernels_check_sparse.h"

static void F(check)(const struct kernels *k, int64_t m, int64_t n, int64_t K)
{
    struct F(data) d = F(make)(k, m, n, K);
    F(check_pack)(&d);
    F(check_scale_rows)(&d);
    F(check_assign)(&d);
    F(check_sums)(&d, 0, 0);
    F(check_sums)(&d, d.weights, 0);
    F(check_sums)(&d, 0, 1);
    F(check_sums)(&d, d.weights, 1);
    F(check_distances)(&d);
    F(check_min_distance)(&d, 0);
    F(check_min_distance)(&d, d.packed); /* any values will do */
    F(check_weighted_sum)(&d, 0);
    F(check_weighted_sum)(&d, d.weights);
    F(check_quantise)(&d, 127, 1);
    F(check_quantise)(&d, 63, sizeof(REAL) == 8 ? 0x1p300 : 1);
    F(check_project)(&d);
    F(check_pair_distances)(&d);
    F(check_orthonormalise)(&d);
    F(check_classify)(&d);
    if (n <= MAX_TREE_FEATURES) F(check_cells)(&d);
    F(check_sparse)(&d, at_end, 0);
    F(check_sparse)(&d, !at_end, 1);
    F(release)(&d);
}
