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
    REAL *columns = allocate(d->m * d->n * (int64_t)sizeof(REAL));
    for (int64_t i = 0; i < d->m * d->n; ++i) columns[i % d->n * d->m + i / d->n] = d->rows[i / d->n * d->stride + i % d->n];
    return columns;
}

static void F(check_median_partition)(const struct F(data) *d, const REAL *columns)
{
    const int64_t m = d->m, n = d->n, n_left = (m + 1) / 2;
    REAL *to = allocate(m * n * (int64_t)sizeof(REAL)), *keys = allocate((m + 1) * (int64_t)sizeof(REAL)), value;
    int32_t *ids = allocate(m * 4), *to_ids = allocate(m * 4), *places = allocate((m + 1) * 4), *seen = allocate(m * 4);
    for (int64_t i = 0; i < m; ++i) ids[i] = (int32_t)i, seen[i] = 0;
    const int64_t widest = d->k->median_partition(columns, ids, m, m, n, n_left, to, to_ids, &value, keys, places);
    int good = widest < n;
    for (int64_t i = 0; i < m; ++i) {
        good &= to_ids[i] >= 0 && to_ids[i] < m && !seen[to_ids[i]]++;
        for (int64_t l = 0; good && l < n; ++l) good &= to[l * m + i] == columns[l * m + to_ids[i]];
        if (widest >= 0) good &= i < n_left ? to[widest * m + i] <= value : to[widest * m + i] >= value;
    }
    expect(good, d->k, "median_partition", m, n, d->K);
    release(to), release(keys), release(ids), release(to_ids), release(places), release(seen);
}

/* The middle of a cell of one point, and of the box of the leaf's points: a candidate is dropped if the gap of
 * cells_body.h is above a wide margin, and kept if it is below 0. OUT kept. Returns how many are. */
static int64_t F(check_prune)(const struct F(data) *d, const REAL *list, const REAL *edges, REAL *kept)
{
    const int64_t n = d->n, K = d->K, lanes = d->k->list_block;
    const int64_t count = d->k->prune(list, K, edges, d->shift, n, kept);
    double nearest = INFINITY;
    int64_t pivot = 0, place = 0;
    int good = count >= 1 && count <= K;
    for (int64_t k = 0; k < K; ++k) {
        double squared = 0;
        for (int64_t l = 0; l < n; ++l) squared += square_of(d->centroids[k * n + l] - ((double)edges[l] + edges[n + l]) / 2);
        if (squared < nearest) nearest = squared, pivot = k;
    }
    for (int64_t k = 0; good && k < K; ++k) {
        double gap = -nearest;
        for (int64_t l = 0; l < n; ++l) {
            gap += square_of(d->centroids[k * n + l] - ((double)edges[l] + edges[n + l]) / 2);
            gap -= fabs((double)d->centroids[k * n + l] - d->centroids[pivot * n + l]) * ((double)edges[n + l] - edges[l]);
        }
        const REAL *const from = list + k / lanes * (n + 2) * lanes + k % lanes;
        const REAL *const to = kept + place / lanes * (n + 2) * lanes + place % lanes;
        int is_kept = place < count;
        for (int64_t l = 0; is_kept && l < n + 2; ++l) is_kept = !memcmp(from + l * lanes, to + l * lanes, sizeof(REAL));
        good &= gap < 0 ? is_kept : gap > 1e-2 ? !is_kept : 1;
        place += is_kept;
    }
    expect(good && place == count, d->k, "prune", d->m, n, K);
    return count;
}

/* The layout of a list, as cells_body.h has it. */
static void F(check_candidates)(const struct F(data) *d, REAL *list)
{
    const int64_t n = d->n, lanes = d->k->list_block;
    int good = 1;
    d->k->init_candidates(d->centroids, d->shift, d->K, n, list);
    for (int64_t k = 0; k < (d->K + lanes - 1) / lanes * lanes; ++k) {
        const REAL *const place = list + k / lanes * (n + 2) * lanes + k % lanes;
        double norm = 0;
        BITS id;
        memcpy(&id, place + (n + 1) * lanes, sizeof id);
        if (k >= d->K) good &= isinf(place[0]);
        for (int64_t l = 0; k < d->K && l < n; ++l) {
            const REAL c = d->centroids[k * n + l] - d->shift[l];
            good &= place[l * lanes] == -2 * c, norm += square_of(c);
        }
        if (k < d->K) good &= place[n * lanes] == (REAL)norm && id == (BITS)k;
    }
    expect(good, d->k, "init_candidates", d->m, n, d->K);
}

/* A leaf of the first points, and what it should come to. weights: those of the points, or NULL for weights that are
 * equal to the multiplicities, which are 1 if `equal`. */
struct F(leaf_case) {
    int64_t count;
    REAL *points, *edges, *list, *kept;
    double *multiplicities, *w, *box, *total, *centroids;
    int32_t *labels;
};

static struct F(leaf_case) F(make_leaf)(const struct F(data) *d, const double *weights, int equal)
{
    const int64_t n = d->n, block = d->k->list_block, item = sizeof(REAL);
    const int64_t list_size = (d->K / block + 1) * (n + 2) * block * item;
    struct F(leaf_case) c = { .count = d->m < LEAF ? d->m : LEAF, .points = allocate(LEAF * n * item) };
    c.edges = allocate(3 * n * item), c.list = allocate(list_size), c.kept = allocate(list_size);
    c.multiplicities = allocate(LEAF * 8), c.w = allocate(LEAF * 8), c.labels = allocate(LEAF * 4);
    c.box = allocate((n + 2) * 8), c.total = allocate((n + 2) * 8), c.centroids = allocate(d->K * WIDE_LANES * 8);
    memset(c.total, 0, (size_t)(n + 2) * 8), memset(c.centroids, 0, (size_t)d->K * WIDE_LANES * 8);
    for (int64_t i = 0; i < d->K * n; ++i) c.centroids[i / n * WIDE_LANES + i % n] = d->centroids[i];
    for (int64_t p = 0; p < LEAF; ++p) {
        c.labels[p] = -1;
        c.multiplicities[p] = p >= c.count ? 0 : equal ? 1 : (double)(1 + p % 3);
        c.w[p] = p >= c.count ? 0 : weights ? weights[p] : c.multiplicities[p];
    }
    return c;
}

static void F(release_leaf)(struct F(leaf_case) *c)
{
    release(c->points), release(c->edges), release(c->list), release(c->kept), release(c->multiplicities), release(c->w);
    release(c->box), release(c->total), release(c->centroids), release(c->labels);
}

static void F(check_fill_leaf)(const struct F(data) *d, const REAL *columns, int unweighted, struct F(leaf_case) *c)
{
    const int64_t n = d->n;
    int good = 1;
    d->k->fill_leaf(columns, d->m, c->count, n, unweighted ? 0 : c->w, c->points, c->edges, c->box);
    for (int64_t p = 0; p < LEAF; ++p) {
        const int64_t r = p < c->count ? p : c->count - 1;
        c->total[n + 1] += c->w[p];
        for (int64_t l = 0; l < n; ++l) {
            const double x = d->rows[r * d->stride + l], away = x - c->edges[2 * n + l];
            good &= c->points[l * LEAF + p] == x && c->edges[l] <= x && c->edges[n + l] >= x;
            c->total[l] += c->w[p] * away, c->total[n] += c->w[p] * away * away;
        }
    }
    for (int64_t l = 0; l < n + 2; ++l) good &= close_to(c->box[l], c->total[l]);
    expect(good, d->k, "fill_leaf", d->m, n, d->K);
}

static void F(check_assign_leaf)(const struct F(data) *d, const double *weights, int equal, struct F(leaf_case) *c)
{
    const int64_t n = d->n, K = d->K;
    struct sums sums = { allocate(K * WIDE_LANES * 8), allocate(K * 8), allocate(K * 8), { 0 } };
    double *wanted = allocate(K * WIDE_LANES * 8), square = 0, found = 0;
    memset(sums.offsets, 0, (size_t)K * WIDE_LANES * 8), memset(wanted, 0, (size_t)K * WIDE_LANES * 8);
    memset(sums.weights, 0, (size_t)K * 8), memset(sums.counts, 0, (size_t)K * 8);
    const struct leaf leaf = { c->points, c->multiplicities, weights ? c->w : 0, equal && !weights && c->count == LEAF, c->labels };
    const int64_t candidates = F(check_prune)(d, c->list, c->edges, c->kept);
    const int64_t changed = d->k->assign_leaf(&leaf, c->kept, candidates, d->shift, n, c->centroids, &sums);
    int64_t rows = 0;
    int good = 1;
    for (int64_t p = 0; p < c->count; ++p) {
        const int32_t label = F(closest)(d, p);
        good &= c->labels[p] == label, rows += (int64_t)c->multiplicities[p];
        for (int64_t l = 0; l < n; ++l) {
            const double away = d->rows[p * d->stride + l] - c->centroids[label * WIDE_LANES + l];
            wanted[label * WIDE_LANES + l] += c->w[p] * away, square += c->w[p] * away * away;
        }
        sums.weights[label] -= c->w[p], sums.counts[label] -= (int64_t)c->multiplicities[p];
    }
    for (int i = 0; i < 16; ++i) found += sums.square[i];
    for (int64_t i = 0; i < WIDE_LANES * K; ++i) good &= close_to(sums.offsets[i], wanted[i]);
    for (int64_t k = 0; k < K; ++k) good &= close_to(sums.weights[k], 0) && sums.counts[k] == 0;
    expect(good && changed == rows && close_to(found, square), d->k, "assign_leaf", d->m, n, K);
    release(sums.offsets), release(sums.weights), release(sums.counts), release(wanted);
}

/* The first points as a leaf: its bounding box, its candidates, its labels and sums. */
static void F(check_leaf)(const struct F(data) *d, const REAL *columns, const double *weights, int equal)
{
    struct F(leaf_case) c = F(make_leaf)(d, weights, equal);
    F(check_fill_leaf)(d, columns, equal && !weights, &c);
    F(check_candidates)(d, c.list);
    F(check_assign_leaf)(d, weights, equal, &c);
    F(release_leaf)(&c);
}

/* A tree of a few levels whose cuts are among the values. */
static void F(check_classify)(const struct F(data) *d)
{
    const int depth = (int)(d->K % 7), nodes = (1 << depth) - 1;
    int32_t *feature = allocate(nodes * 4), *bucket = allocate(d->m * 4);
    REAL *value = allocate(nodes * (int64_t)sizeof(REAL));
    int good = 1;
    for (int j = 0; j < nodes; ++j) feature[j] = (int32_t)(j * 5 % d->n), value[j] = (REAL)random_value() / 2;
    d->k->classify(d->rows, d->stride, d->m, depth, feature, value, bucket);
    for (int64_t r = 0; r < d->m; ++r) {
        int j = 0;
        while (j < nodes) j = 2 * j + 1 + (d->rows[r * d->stride + feature[j]] > value[j]);
        good &= bucket[r] == j - nodes;
    }
    expect(good, d->k, "classify", d->m, d->n, d->K);
    release(feature), release(bucket), release(value);
}

static void F(check_cells)(struct F(data) *d)
{
    REAL *columns = F(columns_of)(d);
    F(check_median_partition)(d, columns);
    F(check_leaf)(d, columns, 0, 1);
    F(check_leaf)(d, columns, 0, 0);
    F(check_leaf)(d, columns, d->weights, 0);
    release(columns);
}
