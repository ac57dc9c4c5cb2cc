/* The checks of the kernels for sparse rows: a part of kernels_check_body.h. */

/* Every third value or so of the rows, all of some rows and none of others; read from row `first` on. */
struct F(sparse) {
    struct F(data) *d;
    const struct sparse_kernels *k;
    struct source X;
    REAL *values;
    void *indices, *indptr;
    int64_t first, count, places; /* places: K rounded up to whole vectors */
    struct panel panel;
    double *norms, *factors;
};

static int F(is_stored)(int64_t r, int64_t l) { return r % 5 != 3 && (r % 7 == 1 || (r * 11 + l * 5) % 3 == 0); }

static void F(set_index)(void *indices, int int64_indices, int64_t at, int64_t value)
{
    if (int64_indices) ((int64_t *)indices)[at] = value;
    else ((int32_t *)indices)[at] = (int32_t)value;
}

static struct F(sparse) F(make_sparse)(struct F(data) *d, int int64_indices, int scaled)
{
    const int64_t m = d->m, n = d->n, item = sizeof(REAL), size = int64_indices ? 8 : 4;
    struct F(sparse) s = { .d = d, .k = d->k->sparse, .first = m / 4, .count = m - m / 4 };
    int64_t stored = 0;
    for (int64_t i = 0; i < m * n; ++i) stored += F(is_stored)(i / n, i % n);
    s.values = allocate(stored * item), s.indices = allocate(stored * size), s.indptr = allocate((m + 1) * size);
    stored = 0;
    for (int64_t r = 0; r < m; ++r) {
        F(set_index)(s.indptr, int64_indices, r, stored);
        for (int64_t l = 0; l < n; ++l) {
            if (!F(is_stored)(r, l)) continue;
            F(set_index)(s.indices, int64_indices, stored, l);
            s.values[stored++] = d->rows[r * d->stride + l];
        }
    }
    F(set_index)(s.indptr, int64_indices, m, stored);
    s.X = (struct source){ .data = (const char *)s.values, .m = m, .n = n, .dtype = sizeof(REAL) == 4 ? SOURCE_FLOAT32 : SOURCE_FLOAT64,
                           .indices = s.indices, .indptr = s.indptr, .int64_indices = int64_indices };
    s.places = (d->K + s.k->lanes - 1) / s.k->lanes * s.k->lanes;
    s.panel = (struct panel){ d->K, n, allocate(s.places * n * item), allocate(s.places * item), allocate(s.places * item) };
    if (scaled) s.X.factors = s.factors = allocate(m * 8);
    for (int64_t r = 0; scaled && r < m; ++r) s.factors[r] = (REAL)(1 / (1.5 + (double)(r % 7)));
    s.norms = allocate(d->K * 8);
    for (int64_t k = 0; k < d->K; ++k) {
        s.norms[k] = 0;
        for (int64_t l = 0; l < n; ++l) s.norms[k] += square_of(d->centroids[k * n + l]);
    }
    return s;
}

static void F(release_sparse)(struct F(sparse) *s)
{
    release(s->values), release(s->indices), release(s->indptr), release(s->norms), release(s->factors);
    release(s->panel.c), release(s->panel.norms), release(s->panel.ids);
}

static REAL F(value_of)(const struct F(sparse) *s, int64_t r, int64_t l)
{
    const REAL factor = s->factors ? (REAL)s->factors[r] : 1;
    return F(is_stored)(r, l) ? s->d->rows[r * s->d->stride + l] * factor : 0;
}

static double F(sparse_distance)(const struct F(sparse) *s, int64_t r, int64_t k)
{
    double squared = 0;
    for (int64_t l = 0; l < s->d->n; ++l) squared += square_of((double)F(value_of)(s, r, l) - s->d->centroids[k * s->d->n + l]);
    return squared;
}

/* Packs all groups, and compares with the layout of sparse.h. */
static void F(check_sparse_pack)(struct F(sparse) *s, double scale, const double *norms)
{
    const int64_t n = s->d->n, K = s->d->K, lanes = s->k->lanes, vectors = s->places / lanes, groups = s->k->groups(K);
    int good = groups == (vectors + 7) / 8;
    int64_t vector = 0;
    for (int64_t g = 0; g < (vectors + 7) / 8; ++g) s->k->pack(s->d->centroids, scale, norms, g, &s->panel);
    for (int64_t g = 0; g < groups; ++g) {
        const int64_t places = (vectors / groups + (g < vectors % groups)) * lanes, k0 = vector * lanes;
        for (int64_t i = 0; i < places; ++i) {
            const int64_t k = k0 + i;
            for (int64_t l = 0; l < n; ++l)
                good &= ((const REAL *)s->panel.c)[k0 * n + l * places + i] == (k < K ? (REAL)scale * s->d->centroids[k * n + l] : 0);
            good &= ((const BITS *)s->panel.ids)[k] == (BITS)k;
            const REAL norm = ((const REAL *)s->panel.norms)[k];
            good &= norms ? norm == (k < K ? (REAL)norms[k] : (REAL)INFINITY) : isnan(norm);
        }
        vector += places / lanes;
    }
    expect(good && vector == vectors, s->d->k, "sparse.pack", s->d->m, n, K);
}

static void F(check_sparse_assign)(struct F(sparse) *s)
{
    const int64_t n = s->d->n, K = s->d->K;
    REAL *scores = allocate(s->count * (int64_t)sizeof(REAL));
    int32_t *ids = allocate(s->count * 4), *labels = allocate(s->count * 4);
    for (int64_t i = 0; i < s->count; ++i) labels[i] = (int32_t)(i % K);
    const int64_t changed = s->k->assign(&s->X, s->first, s->count, &s->panel, scores, ids, labels);
    int64_t expected = 0;
    int good = 1;
    for (int64_t i = 0; i < s->count; ++i) {
        REAL least = (REAL)INFINITY;
        int64_t closest = 0;
        for (int64_t k = 0; k < K; ++k) {
            REAL score = (REAL)s->norms[k];
            for (int64_t l = 0; l < n; ++l)
                if (F(is_stored)(s->first + i, l))
                    score = F(step)(s->d->k, F(value_of)(s, s->first + i, l), -2 * s->d->centroids[k * n + l], score);
            if (score < least) least = score, closest = k;
        }
        good &= labels[i] == closest, expected += closest != i % K;
    }
    expect(good && changed == expected, s->d->k, "sparse.assign", s->d->m, n, K);
    release(scores), release(ids), release(labels);
}

/* Of a panel of scale 1. */
static void F(check_sparse_norms)(struct F(sparse) *s)
{
    int good = 1;
    s->k->norms(&s->panel);
    for (int64_t k = 0; k < s->d->K; ++k) {
        REAL norm = 0;
        for (int64_t l = 0; l < s->d->n; ++l)
            norm = F(step)(s->d->k, s->d->centroids[k * s->d->n + l], s->d->centroids[k * s->d->n + l], norm);
        good &= ((const REAL *)s->panel.norms)[k] == norm;
    }
    expect(good, s->d->k, "sparse.norms", s->d->m, s->d->n, s->d->K);
}

static REAL F(sparse_squared)(const struct F(sparse) *s, int64_t r, int64_t k)
{
    REAL squared = 0, own = 0;
    for (int64_t l = 0; l < s->d->n; ++l) {
        const REAL c = s->d->centroids[k * s->d->n + l], away = F(value_of)(s, r, l) - c;
        if (!F(is_stored)(r, l)) continue;
        squared = F(step)(s->d->k, away, away, squared), own = F(step)(s->d->k, c, c, own);
    }
    const REAL rest = ((const REAL *)s->panel.norms)[k] - own;
    return squared + (rest > 0 ? rest : 0);
}

static void F(check_sparse_min_distance)(struct F(sparse) *s, const REAL *current)
{
    const int64_t length = s->count + 3;
    REAL *updated = allocate(s->d->K * length * (int64_t)sizeof(REAL));
    int good = 1;
    s->k->min_distance_update(&s->X, s->first, s->count, &s->panel, current, length, updated);
    for (int64_t k = 0; k < s->d->K; ++k) {
        for (int64_t i = 0; i < length; ++i) {
            const REAL found = updated[k * length + i];
            const REAL squared = i < s->count ? F(sparse_squared)(s, s->first + i, k) : 0;
            good &= i < s->count ? found == (current && current[i] < squared ? current[i] : squared) : isnan(found);
        }
    }
    expect(good, s->d->k, "sparse.min_distance_update", s->d->m, s->d->n, s->d->K);
    release(updated);
}

static void F(check_sparse_accumulate)(struct F(sparse) *s, const double *weights, int asked)
{
    const int64_t n = s->d->n, count = s->count, k = s->d->K - 1;
    double *centroid = allocate(n * 8), *sums = allocate(n * 8), *squared = allocate(s->d->m * 8);
    int64_t *rows = allocate(count * 8);
    double total = 0, *expected = calloc((size_t)n, 8);
    int good = 1;
    for (int64_t l = 0; l < n; ++l) centroid[l] = s->d->centroids[k * n + l], sums[l] = 0;
    for (int64_t i = 0; i < count; ++i) rows[i] = s->d->m - 1 - i;
    const double found = s->k->accumulate(&s->X, rows, count, weights, centroid, s->norms[k], asked ? sums : 0, asked ? squared : 0);
    for (int64_t i = 0; i < count; ++i) {
        const double w = weights ? weights[rows[i]] : 1, distance = F(sparse_distance)(s, rows[i], k);
        total += w * distance;
        for (int64_t l = 0; l < n; ++l) expected[l] += w * F(value_of)(s, rows[i], l);
        good &= close_to(s->k->squared_distance(&s->X, rows[i], centroid, s->norms[k]), distance);
        good &= asked ? close_to(squared[rows[i]], distance) : isnan(squared[rows[i]]);
    }
    for (int64_t l = 0; l < n; ++l) good &= close_to(sums[l], asked ? expected[l] : 0);
    expect(good && close_to(found, total), s->d->k, "sparse.accumulate", s->d->m, n, s->d->K);
    release(centroid), release(sums), release(squared), release(rows), free(expected);
}

static void F(check_sparse_sums)(struct F(sparse) *s)
{
    const int64_t n = s->d->n, count = s->count;
    double *sums = allocate(n * 8), *expected = calloc((size_t)n, 8), squares = 0;
    int64_t *moves = allocate(count * 8);
    int good = 1;
    for (int64_t l = 0; l < n; ++l) sums[l] = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t r = s->first + i;
        moves[i] = i % 3 ? r : ~r;
        for (int64_t l = 0; l < n; ++l) {
            expected[l] += (i % 3 ? 1 : -1) * (double)F(value_of)(s, r, l);
            squares += square_of(F(value_of)(s, r, l));
        }
    }
    s->k->apply_moves(&s->X, moves, count, sums);
    for (int64_t l = 0; l < n; ++l) good &= close_to(sums[l], expected[l]);
    expect(good, s->d->k, "sparse.apply_moves", s->d->m, n, s->d->K);
    good = close_to(s->k->sum_of_squares(&s->X, s->first, count), squares);
    expect(good, s->d->k, "sparse.sum_of_squares", s->d->m, n, s->d->K);
    release(sums), release(moves), free(expected);
}

static void F(check_sparse)(struct F(data) *d, int int64_indices, int scaled)
{
    struct F(sparse) s = F(make_sparse)(d, int64_indices, scaled);
    REAL *current = allocate(s.count * (int64_t)sizeof(REAL));
    for (int64_t i = 0; i < s.count; ++i) current[i] = (REAL)(fabs(random_value()) * (double)d->n);
    F(check_sparse_pack)(&s, 1, 0);
    F(check_sparse_norms)(&s);
    F(check_sparse_min_distance)(&s, 0);
    F(check_sparse_min_distance)(&s, current);
    F(check_sparse_pack)(&s, -2, s.norms);
    F(check_sparse_assign)(&s);
    F(check_sparse_accumulate)(&s, 0, 1);
    F(check_sparse_accumulate)(&s, d->weights, 1);
    F(check_sparse_accumulate)(&s, d->weights, 0);
    F(check_sparse_sums)(&s);
    release(current);
    F(release_sparse)(&s);
}
