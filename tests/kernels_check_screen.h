/* The checks of projections, pairs and Gram-Schmidt: a part of kernels_check_body.h. */

/* The centroids as directions. Bounds of rounding errors are those of kernels.h. */
static void F(check_project)(struct F(data) *d)
{
    const int64_t n = d->n, K = d->K, item = sizeof(REAL), tile = d->k->tile, features = K + 2;
    struct panel panel = { K, n, allocate(K * n * item), allocate(K * item), allocate(K * item) };
    REAL *none = allocate(n * item), *products = allocate(d->tiles * tile * features * item);
    const double unit = sizeof(REAL) == 4 ? 0x1p-24 : 0x1p-53, roundings = (double)(66 + n / 64);
    int good = 1;
    memset(none, 0, (size_t)(n * item));
    d->k->pack_centroids(d->centroids, none, &panel);
    d->k->project(d->packed, d->tiles, &panel, features, products);
    for (int64_t p = 0; p < d->tiles * tile; ++p) {
        const REAL *x = d->packed + p / tile * n * tile + p % tile;
        const REAL *found = products + p / tile * features * tile + p % tile;
        for (int64_t k = 0; k < features; ++k) {
            long double product = 0, magnitude = 0;
            for (int64_t l = 0; k < K && l < n; ++l) {
                const long double term = (long double)x[l * tile] * d->centroids[k * n + l];
                product += term, magnitude += fabsl(term);
            }
            good &= k < K ? fabsl(found[k * tile] - product) <= roundings * unit * magnitude * 1.001L
                          : isnan(found[k * tile]);
        }
    }
    expect(good, d->k, "project", d->m, n, K);
    release(panel.c), release(panel.norms), release(panel.ids), release(none), release(products);
}

static void F(check_pair_distances)(struct F(data) *d)
{
    const int64_t n = d->n, count = d->m + d->K, lanes = d->k->list_block;
    const double unit = sizeof(REAL) == 4 ? 0x1p-24 : 0x1p-53, roundings = (double)(n / lanes + 2 * lanes + 8);
    int32_t *row = allocate(count * 4), *k = allocate(count * 4);
    REAL *squared = allocate(count * (int64_t)sizeof(REAL));
    int good = 1;
    for (int64_t i = 0; i < count; ++i)
        row[i] = (int32_t)((i * 5 + d->m - 1) % d->m), k[i] = (int32_t)((i * 3 + d->K - 1) % d->K);
    d->k->pair_distances(d->rows, d->stride, n, d->centroids, row, k, count, squared);
    for (int64_t i = 0; i < count; ++i) {
        long double expected = 0;
        for (int64_t l = 0; l < n; ++l) {
            const long double away = (long double)d->rows[row[i] * d->stride + l] - d->centroids[k[i] * n + l];
            expected += away * away;
        }
        good &= fabsl(squared[i] - expected) <= roundings * unit * expected * 1.001L;
    }
    expect(good, d->k, "pair_distances", d->m, n, d->K);
    release(row), release(k), release(squared);
}

/* The first rows in double, of which the third is the sum of the two before it, against Gram-Schmidt in long double. */
static void F(check_orthonormalise)(struct F(data) *d)
{
    const int64_t n = d->n, count = d->K < n + 2 ? d->K : n + 2;
    double *rows = allocate(count * n * 8);
    long double *expected = malloc((size_t)(count * n) * sizeof *expected);
    int good = 1;
    for (int64_t i = 0; i < count * n; ++i)
        rows[i] = i / n == 2 ? rows[i - n] + rows[i - 2 * n] : (double)d->centroids[i];
    for (int64_t i = 0; i < count * n; ++i) expected[i] = rows[i];
    for (int64_t j = 0; j < count; ++j) {
        long double before = 0, after = 0, *const row = expected + j * n;
        for (int64_t l = 0; l < n; ++l) before += row[l] * row[l];
        for (int64_t i = 0; i < 2 * j; ++i) {
            const long double *const other = expected + i % j * n;
            long double product = 0;
            for (int64_t l = 0; l < n; ++l) product += other[l] * row[l];
            for (int64_t l = 0; l < n; ++l) row[l] -= product * other[l];
        }
        for (int64_t l = 0; l < n; ++l) after += row[l] * row[l];
        for (int64_t l = 0; l < n; ++l) row[l] = after > 1e-20L * before ? row[l] / sqrtl(after) : 0;
    }
    d->k->orthonormalise(rows, count, n);
    for (int64_t i = 0; i < count * n; ++i) good &= fabsl(rows[i] - expected[i]) <= 1e-8L;
    expect(good, d->k, "orthonormalise", d->m, n, d->K);
    release(rows), free(expected);
}
