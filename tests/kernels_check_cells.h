/* The checks of the k-d tree and of cells, for up to MAX_TREE_FEATURES features; a part of kernels_check_body.h. */

/* The label of row r, by its definition. */
static int32_t F(closest)(const struct F(data) *d, int64_t r)
{
    REAL least = (REAL)INFINITY;
    int32_t found = 0;
    for (int64_t c = 0; c < d->K; ++c) {
        double norm = 0;
        for (int64_t l = 0; l < d->n; ++l) norm += square_of(d->centroids[c * d->n + l] - d->shift[l]);
        REAL score = (REAL)norm;
        for (int64_t l = 0; l < d->n; ++l)
            score = F(step)(d->k, d->rows[r * d->stride + l] - d->shift[l],
                            -2 * (d->centroids[c * d->n + l] - d->shift[l]), score);
        if (score < least) least = score, found = (int32_t)c;
    }
    return found;
}

static REAL *F(columns_of)(const struct F(data) *d)
{
    REAL *columns = allocate((d->m * d->n + 16) * (int64_t)sizeof(REAL));
    for (int64_t i = 0; i < d->m * d->n; ++i) columns[i % d->n * d->m + i / d->n] = d->rows[i / d->n * d->stride + i % d->n];
    return columns;
}

static void F(check_median_partition)(const struct F(data) *d, const REAL *columns)
{
    const int64_t m = d->m, n = d->n, n_left = (m + 1) / 2;
    REAL *to = allocate((m * n + 16) * (int64_t)sizeof(REAL)), *keys = allocate((m + 17) * (int64_t)sizeof(REAL)), value;
    int32_t *ids = allocate((m + 17) * 4), *to_ids = allocate((m + 17) * 4), *places = allocate((m + 17) * 4), *seen = allocate(m * 4);
    for (int64_t i = 0; i < m; ++i) ids[i] = (int32_t)i, seen[i] = 0;
    const int64_t widest = d->k->median_partition(columns, ids, m, m, n, n_left, to, to_ids, &value, keys, places);
    int good = widest < n;
    for (int64_t i = 0; i < m; ++i) {
        good &= to_ids[i] >= 0 && to_ids[i] < m && !seen[to_ids[i]]++;
        for (int64_t l = 0; good && l < n; ++l) good &= to[l * m + i] == columns[l * m + to_ids[i]];
        if (widest >= 0) good &= i < n_left ? to[widest * m + i] <= value : to[widest * m + i] >= value;
    }
    expect(good, d->k, "median_partition", m, n, d->K);
    free(to), free(keys), free(ids), free(to_ids), free(places), free(seen);
}

/* The first points as a leaf: its bounding box, its candidates, its labels and sums. */
static void F(check_leaf)(const struct F(data) *d, const REAL *columns, const double *weights)
{
    const int64_t n = d->n, K = d->K, count = d->m < LEAF ? d->m : LEAF, block = d->k->list_block;
    const int64_t list_size = (K / block + 1) * (n + 2) * block * (int64_t)sizeof(REAL);
    REAL *points = allocate(LEAF * n * (int64_t)sizeof(REAL)), edges[24], *list = allocate(list_size), *kept = allocate(list_size);
    double multiplicities[LEAF] = { 0 }, w[LEAF] = { 0 }, box[10], total[10] = { 0 }, centroids[8 * 64] = { 0 };
    int32_t labels[LEAF], expected[LEAF];
    int good = 1;
    for (int64_t p = 0; p < count; ++p) multiplicities[p] = 1, w[p] = weights ? weights[p] : 1;
    d->k->fill_leaf(columns, d->m, count, n, weights ? w : 0, points, edges, box);
    for (int64_t p = 0; p < LEAF; ++p) {
        const int64_t r = p < count ? p : count - 1;
        expected[p] = F(closest)(d, r), labels[p] = -1;
        total[n + 1] += w[p];
        for (int64_t l = 0; l < n; ++l) {
            const double x = d->rows[r * d->stride + l], away = x - edges[2 * n + l];
            good &= points[l * LEAF + p] == x && edges[l] <= x && edges[n + l] >= x;
            total[l] += w[p] * away, total[n] += w[p] * away * away;
        }
    }
    for (int64_t l = 0; l < n + 2; ++l) good &= close_to(box[l], total[l]);
    expect(good, d->k, "fill_leaf", d->m, n, K);

    for (int64_t i = 0; i < K * n; ++i) centroids[i / n * 8 + i % n] = d->centroids[i];
    double offsets[8 * 64] = { 0 }, sum_weights[64] = { 0 }, wanted[8 * 64] = { 0 }, square = 0, found = 0;
    int64_t counts[64] = { 0 };
    struct sums sums = { offsets, sum_weights, counts, { 0 } };
    const struct leaf leaf = { points, multiplicities, weights ? w : 0, !weights && count == LEAF, labels };
    d->k->init_candidates(d->centroids, d->shift, K, n, list);
    const int64_t candidates = d->k->prune(list, K, edges, d->shift, n, kept);
    const int64_t changed = d->k->assign_leaf(&leaf, kept, candidates, d->shift, n, centroids, &sums);
    good = candidates >= 1 && candidates <= K && changed == count;
    for (int64_t p = 0; p < count; ++p) {
        good &= labels[p] == expected[p];
        for (int64_t l = 0; l < n; ++l) {
            const double away = d->rows[p * d->stride + l] - centroids[expected[p] * 8 + l];
            wanted[expected[p] * 8 + l] += w[p] * away, square += w[p] * away * away;
        }
        sum_weights[expected[p]] -= w[p], counts[expected[p]] -= 1;
    }
    for (int i = 0; i < 16; ++i) found += sums.square[i];
    for (int64_t i = 0; i < 8 * K; ++i) good &= close_to(offsets[i], wanted[i]);
    for (int64_t k = 0; k < K; ++k) good &= close_to(sum_weights[k], 0) && counts[k] == 0;
    expect(good && close_to(found, square), d->k, "assign_leaf", d->m, n, K);
    free(points), free(list), free(kept);
}

static void F(check_cells)(struct F(data) *d)
{
    REAL *columns = F(columns_of)(d);
    F(check_median_partition)(d, columns);
    F(check_leaf)(d, columns, 0);
    F(check_leaf)(d, columns, d->weights);
    free(columns);
}
