/* Sparse rows (CSR) against dense centroids: see sparse.h for layouts and contracts (a part of
 * kernels_body.h). `int64_indices` is a constant in each copy of a loop over nonzeros. */

/* ---- the panel ------------------------------------------------------------------------ */

enum { F(SPARSE_MAX_GROUP) = 8 }; /* vectors: their scores and the loaded values fit 16 registers */

struct F(sparse_group) { int64_t vector; int width; }; /* its first vector, its number of vectors */

static int64_t F(sparse_vectors)(int64_t K) { return (K + V(LANES) - 1) / V(LANES); }

static int64_t F(sparse_groups)(int64_t K)
{
    return (F(sparse_vectors)(K) + F(SPARSE_MAX_GROUP) - 1) / F(SPARSE_MAX_GROUP);
}

static struct F(sparse_group) F(sparse_group_of)(int64_t K, int64_t i)
{
    const int64_t vectors = F(sparse_vectors)(K), groups = F(sparse_groups)(K), wider = vectors % groups;
    struct F(sparse_group) g;
    g.width = (int)(vectors / groups) + (i < wider);
    g.vector = i * (vectors / groups) + (i < wider ? i : wider);
    return g;
}

static void F(sparse_pack)(const void *centroids, double scale, const double *norms, int64_t i,
                           struct panel *panel)
{
    const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
    const int64_t n = panel->n, k0 = g.vector * V(LANES), places = (int64_t)g.width * V(LANES);
    const int64_t count = panel->K - k0 < places ? panel->K - k0 : places;
    const REAL *from = (const REAL *)centroids + k0 * n;
    REAL *c = (REAL *)panel->c + k0 * n;
    for (int64_t p = 0; p < places; ++p) {
        if (norms) ((REAL *)panel->norms)[k0 + p] = p < count ? (REAL)norms[k0 + p] : (REAL)INFINITY;
        ((BITS *)panel->ids)[k0 + p] = (BITS)(k0 + p);
    }
    for (int64_t l = 0; l < n; ++l, c += places) {
        for (int64_t p = 0; p < count; ++p) c[p] = (REAL)scale * from[p * n + l];
        for (int64_t p = count; p < places; ++p) c[p] = 0;
    }
}

/* ---- assignment ------------------------------------------------------------------------- */

/* The factor of a row's values. */
static ALWAYS_INLINE REAL F(sparse_factor)(const struct source *X, int64_t row)
{
    return X->factors ? (REAL)X->factors[row] : 1;
}

/* Value j, of a row with this factor where rows are scaled: rounded as when the row is read. */
static ALWAYS_INLINE REAL F(sparse_value)(const struct source *X, int64_t j, const int scaled, REAL factor)
{
    const REAL x = ((const REAL *)X->data)[j];
    return scaled ? x * factor : x;
}

/* Computes the scores of one row and one group of W vectors of centroids. The row's nonzeros are from .. to - 1,
 * those of all rows end at `end`. */
static ALWAYS_INLINE void F(sparse_score)(const int W, const int int64_indices, const int scaled, REAL factor,
                                          const struct source *X, int64_t from, int64_t to, int64_t end,
                                          const REAL *c, const REAL *norms, V(vec) score[F(SPARSE_MAX_GROUP)])
{
    enum { AHEAD = 24, LINE = 64 / (int)sizeof(REAL) }; /* nonzeros: usually in the next row */
    UNROLL
    for (int v = 0; v < W; ++v) score[v] = V(load)(norms + v * V(LANES));
    for (int64_t j = from; j < to; ++j) {
        const V(vec) x = V(set1)(F(sparse_value)(X, j, scaled, factor));
        const REAL *cl = c + index_at(X->indices, int64_indices, j) * (W * V(LANES));
        if (j + AHEAD < end) {
            const REAL *ahead = c + index_at(X->indices, int64_indices, j + AHEAD) * (W * V(LANES));
            UNROLL
            for (int p = 0; p < W * V(LANES); p += LINE) PREFETCH(ahead + p);
        }
        UNROLL
        for (int v = 0; v < W; ++v) score[v] = V(fma)(x, V(load)(cl + v * V(LANES)), score[v]);
    }
}

/* Updates the argmin by the lowest score of all lanes and, among equal ones, the lowest id. Branches only on
 * the result: comparisons of lanes are unpredictable. */
static ALWAYS_INLINE void F(sparse_argmin_update)(const int W, const V(vec) score[F(SPARSE_MAX_GROUP)],
                                                  const REAL *ids, REAL *best, int32_t *best_id)
{
    V(vec) least = score[0], id = V(load)(ids);
    REAL lane[V(LANES)];
    BITS lane_id[V(LANES)];
    UNROLL
    for (int v = 1; v < W; ++v) V(argmin_update)(score[v], V(load)(ids + v * V(LANES)), &least, &id);
    V(store)(lane, least);
    V(store)((REAL *)lane_id, id);
    UNROLL
    for (int half = V(LANES) / 2; half > 0; half /= 2) {
        UNROLL
        for (int i = 0; i < half; ++i) {
            const int less = lane[i + half] < lane[i];
            const int same = (lane[i + half] == lane[i]) & (lane_id[i + half] < lane_id[i]);
            lane[i] = less ? lane[i + half] : lane[i];
            lane_id[i] = less | same ? lane_id[i + half] : lane_id[i];
        }
    }
    if (lane[0] < *best) {
        *best = lane[0];
        *best_id = (int32_t)lane_id[0];
    }
}

/* Arguments of an assignment to one group. */
struct F(sparse_assign_args) {
    const struct source *X;
    int64_t first, count;
    const REAL *c, *norms, *ids; /* of the group's first centroid */
    REAL *best;
    int32_t *best_id;
};

static ALWAYS_INLINE void F(sparse_assign_group)(const int W, const int int64_indices, const int scaled,
                                                 const struct F(sparse_assign_args) *a)
{
    const int64_t end = index_at(a->X->indptr, int64_indices, a->first + a->count);
    for (int64_t i = 0; i < a->count; ++i) {
        V(vec) score[F(SPARSE_MAX_GROUP)];
        const int64_t from = index_at(a->X->indptr, int64_indices, a->first + i);
        const int64_t to = index_at(a->X->indptr, int64_indices, a->first + i + 1);
        const REAL factor = scaled ? (REAL)a->X->factors[a->first + i] : 1;
        F(sparse_score)(W, int64_indices, scaled, factor, a->X, from, to, end, a->c, a->norms, score);
        F(sparse_argmin_update)(W, score, a->ids, a->best + i, a->best_id + i);
    }
}

/* The widths are constants, so that the scores become registers. */
static ALWAYS_INLINE void F(sparse_assign_width)(int width, const int int64_indices, const int scaled,
                                                 const struct F(sparse_assign_args) *a)
{
    switch (width) {
    case 1: F(sparse_assign_group)(1, int64_indices, scaled, a); break;
    case 2: F(sparse_assign_group)(2, int64_indices, scaled, a); break;
    case 3: F(sparse_assign_group)(3, int64_indices, scaled, a); break;
    case 4: F(sparse_assign_group)(4, int64_indices, scaled, a); break;
    case 5: F(sparse_assign_group)(5, int64_indices, scaled, a); break;
    case 6: F(sparse_assign_group)(6, int64_indices, scaled, a); break;
    case 7: F(sparse_assign_group)(7, int64_indices, scaled, a); break;
    case 8: F(sparse_assign_group)(8, int64_indices, scaled, a); break;
    }
}

/* Out of line, so that rows as they are keep their registers. */
static void F(sparse_assign_scaled)(int width, int int64_indices, const struct F(sparse_assign_args) *a)
{
    if (int64_indices)
        F(sparse_assign_width)(width, 1, 1, a);
    else
        F(sparse_assign_width)(width, 0, 1, a);
}

static int64_t F(sparse_assign)(const struct source *X, int64_t first, int64_t count, const struct panel *panel,
                                void *scores, int32_t *ids, int32_t *labels)
{
    struct F(sparse_assign_args) a = { X, first, count, 0, 0, 0, scores, ids };
    int64_t changed = 0;
    for (int64_t i = 0; i < count; ++i) {
        a.best[i] = (REAL)INFINITY;
        ids[i] = 0;
    }
    for (int64_t i = 0; i < F(sparse_groups)(panel->K); ++i) {
        const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
        a.c = (const REAL *)panel->c + g.vector * V(LANES) * panel->n;
        a.norms = (const REAL *)panel->norms + g.vector * V(LANES);
        a.ids = (const REAL *)panel->ids + g.vector * V(LANES);
        if (X->factors)
            F(sparse_assign_scaled)(g.width, X->int64_indices, &a);
        else if (X->int64_indices)
            F(sparse_assign_width)(g.width, 1, 0, &a);
        else
            F(sparse_assign_width)(g.width, 0, 0, &a);
    }
    for (int64_t i = 0; i < count; ++i) {
        changed += ids[i] != labels[i];
        labels[i] = ids[i];
    }
    return changed;
}

/* ---- seeding ---------------------------------------------------------------------------- */

/* Norms are summed in the order in which min_distance_update sums the squares at a row's nonzeros. If a centre is
 * zero elsewhere, as a chosen row is, both sums are bit-identical and its distance to itself is 0. */
static void F(sparse_norms)(struct panel *panel)
{
    for (int64_t i = 0; i < F(sparse_groups)(panel->K); ++i) {
        const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
        for (int v = 0; v < g.width; ++v) {
            const REAL *c = (const REAL *)panel->c + g.vector * V(LANES) * panel->n + v * V(LANES);
            V(vec) norm = V(set1)(0);
            for (int64_t l = 0; l < panel->n; ++l, c += g.width * V(LANES)) {
                const V(vec) cv = V(load)(c);
                norm = V(fma)(cv, cv, norm);
            }
            V(store)((REAL *)panel->norms + (g.vector + v) * V(LANES), norm);
        }
    }
}

/* One row against one vector of centres: |x - c|^2 over the row's nonzeros plus |c|^2 over the other features. */
static ALWAYS_INLINE void F(sparse_distances)(const struct source *X, int64_t row, const REAL *c, int64_t step,
                                              const REAL *norms, REAL squared[V(LANES)])
{
    const int64_t to = index_at(X->indptr, X->int64_indices, row + 1);
    const REAL factor = F(sparse_factor)(X, row);
    V(vec) at_nonzeros = V(set1)(0), own = V(set1)(0);
    REAL own_lane[V(LANES)];
    for (int64_t j = index_at(X->indptr, X->int64_indices, row); j < to; ++j) {
        const V(vec) cl = V(load)(c + index_at(X->indices, X->int64_indices, j) * step);
        const V(vec) d = V(sub)(V(set1)(F(sparse_value)(X, j, X->factors != 0, factor)), cl);
        at_nonzeros = V(fma)(d, d, at_nonzeros);
        own = V(fma)(cl, cl, own);
    }
    V(store)(squared, at_nonzeros);
    V(store)(own_lane, own);
    for (int i = 0; i < V(LANES); ++i) {
        const REAL rest = norms[i] - own_lane[i];
        squared[i] += rest > 0 ? rest : 0;
    }
}

static void F(sparse_min_distance_update)(const struct source *X, int64_t first, int64_t count,
                                          const struct panel *panel, const void *current_, int64_t length,
                                          void *updated_)
{
    const REAL *current = current_;
    REAL *updated = updated_;
    for (int64_t k = 0, i = 0; i < F(sparse_groups)(panel->K); ++i) {
        const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
        for (int v = 0; v < g.width; ++v, k += V(LANES)) {
            const int64_t trials = panel->K - k < V(LANES) ? panel->K - k : V(LANES);
            const REAL *c = (const REAL *)panel->c + g.vector * V(LANES) * panel->n + v * V(LANES);
            for (int64_t r = 0; r < count; ++r) {
                REAL squared[V(LANES)];
                const REAL least = current ? current[r] : (REAL)INFINITY;
                F(sparse_distances)(X, first + r, c, g.width * V(LANES), (const REAL *)panel->norms + k, squared);
                for (int64_t t = 0; t < trials; ++t)
                    updated[(k + t) * length + r] = squared[t] < least ? squared[t] : least;
            }
        }
    }
}

/* ---- sums --------------------------------------------------------------------------------- */

/* Returns the squared distance of a row to a centroid, and adds w times the row to the sums (NULL: not). By
 * differences at the row's nonzeros, so that no digits cancel if the row is near its centroid. */
static ALWAYS_INLINE double F(sparse_add_row)(const struct source *X, int64_t row, const int int64_indices,
                                          const double *centroid, double norm, double w, double *sums)
{
    const REAL factor = F(sparse_factor)(X, row);
    const int64_t to = index_at(X->indptr, int64_indices, row + 1);
    double at_nonzeros = 0, own = 0;
    for (int64_t j = index_at(X->indptr, int64_indices, row); j < to; ++j) {
        const int64_t l = index_at(X->indices, int64_indices, j);
        const double x = F(sparse_value)(X, j, X->factors != 0, factor), c = centroid[l], d = x - c;
        at_nonzeros += d * d;
        own += c * c;
        if (sums) sums[l] += w * x;
    }
    return at_nonzeros + (norm > own ? norm - own : 0);
}

static double F(sparse_squared_distance)(const struct source *X, int64_t row, const double *centroid, double norm)
{
    return F(sparse_add_row)(X, row, X->int64_indices, centroid, norm, 0, 0);
}

static ALWAYS_INLINE double F(sparse_add_rows)(const struct source *X, const int int64_indices, const int64_t *rows,
                                               int64_t count, const double *weights, const double *centroid,
                                               double norm, double *sums, double *squared)
{
    enum { AHEAD = 8 }; /* rows, which are in no order */
    double square = 0;
    for (int64_t i = 0; i < count; ++i) {
        const double w = weights ? weights[rows[i]] : 1;
        if (i + AHEAD < count) {
            const int64_t ahead = index_at(X->indptr, int64_indices, rows[i + AHEAD]);
            PREFETCH((const REAL *)X->data + ahead);
            PREFETCH((const char *)X->indices + ahead * (int64_indices ? 8 : 4));
        }
        const double d = F(sparse_add_row)(X, rows[i], int64_indices, centroid, norm, w, sums);
        square += w * d;
        if (squared) squared[rows[i]] = d;
    }
    return square;
}

static double F(sparse_accumulate)(const struct source *X, const int64_t *rows, int64_t count, const double *weights,
                                   const double *centroid, double norm, double *sums, double *squared)
{
    if (X->int64_indices)
        return F(sparse_add_rows)(X, 1, rows, count, weights, centroid, norm, sums, squared);
    return F(sparse_add_rows)(X, 0, rows, count, weights, centroid, norm, sums, squared);
}

static void F(sparse_apply_moves)(const struct source *X, const int64_t *moves, int64_t count, double *sums)
{
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = moves[i] < 0 ? ~moves[i] : moves[i];
        const double sign = moves[i] < 0 ? -1 : 1;
        const REAL factor = F(sparse_factor)(X, row);
        const int64_t to = index_at(X->indptr, X->int64_indices, row + 1);
        for (int64_t j = index_at(X->indptr, X->int64_indices, row); j < to; ++j)
            sums[index_at(X->indices, X->int64_indices, j)] +=
                sign * F(sparse_value)(X, j, X->factors != 0, factor);
    }
}

static double F(sparse_sum_of_scaled_squares)(const struct source *X, int64_t first, int64_t count)
{
    double sum = 0;
    for (int64_t row = first; row < first + count; ++row) {
        const int64_t to = index_at(X->indptr, X->int64_indices, row + 1);
        for (int64_t j = index_at(X->indptr, X->int64_indices, row); j < to; ++j) {
            const double x = F(sparse_value)(X, j, 1, F(sparse_factor)(X, row));
            sum += x * x;
        }
    }
    return sum;
}

static double F(sparse_sum_of_squares)(const struct source *X, int64_t first, int64_t count)
{
    if (X->factors) return F(sparse_sum_of_scaled_squares)(X, first, count);
    const int64_t from = index_at(X->indptr, X->int64_indices, first);
    const REAL *x = (const REAL *)X->data + from, *end = (const REAL *)X->data;
    double sum[4] = { 0 }; /* four chains, to hide the latency of additions */
    end += index_at(X->indptr, X->int64_indices, first + count);
    for (; x + 4 <= end; x += 4)
        for (int i = 0; i < 4; ++i) sum[i] += (double)x[i] * x[i];
    for (; x < end; ++x) sum[0] += (double)*x * *x;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static const struct sparse_kernels F(sparse_kernels) = {
    .lanes = V(LANES),
    .groups = F(sparse_groups),
    .pack = F(sparse_pack),
    .assign = F(sparse_assign),
    .norms = F(sparse_norms),
    .min_distance_update = F(sparse_min_distance_update),
    .squared_distance = F(sparse_squared_distance),
    .accumulate = F(sparse_accumulate),
    .apply_moves = F(sparse_apply_moves),
    .sum_of_squares = F(sparse_sum_of_squares),
};
