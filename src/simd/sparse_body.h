/* The kernels of sparse.h: a part of kernels_body.h, whose macros it uses. */

/* ---- the panel ------------------------------------------------------------------------ */

enum { F(SPARSE_GROUP) = 8 };

struct F(sparse_group) { int64_t vector; int width; };

static int64_t F(sparse_vectors)(int64_t K) { return (K + V(LANES) - 1) / V(LANES); }

static int64_t F(sparse_groups)(int64_t K)
{
    return (F(sparse_vectors)(K) + F(SPARSE_GROUP) - 1) / F(SPARSE_GROUP);
}

static struct F(sparse_group) F(sparse_group_of)(int64_t K, int64_t i)
{
    const int64_t vectors = F(sparse_vectors)(K), groups = F(sparse_groups)(K), wider = vectors % groups;
    struct F(sparse_group) g;
    g.width = (int)(vectors / groups) + (i < wider);
    g.vector = i * (vectors / groups) + (i < wider ? i : wider);
    return g;
}

static void F(sparse_pack)(const void *centroids, double scale, const double *wide_norms, int64_t i,
                           struct panel *panel)
{
    const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
    const int64_t n = panel->n, k0 = g.vector * V(LANES), places = (int64_t)g.width * V(LANES);
    const int64_t count = panel->K - k0 < places ? panel->K - k0 : places;
    const REAL *from = (const REAL *)centroids + k0 * n;
    REAL *c = (REAL *)panel->c + k0 * n;
    for (int64_t p = 0; p < places; ++p) {
        if (wide_norms) ((REAL *)panel->norms)[k0 + p] = p < count ? (REAL)wide_norms[k0 + p] : (REAL)INFINITY;
        ((BITS *)panel->ids)[k0 + p] = (BITS)(k0 + p);
    }
    for (int64_t l = 0; l < n; ++l, c += places) {
        for (int64_t p = 0; p < count; ++p) c[p] = (REAL)scale * from[p * n + l];
        for (int64_t p = count; p < places; ++p) c[p] = 0;
    }
}

/* ---- assignment ------------------------------------------------------------------------- */

/* One row against one group of W vectors of centroids; the nonzeros are those from..to - 1. */
static ALWAYS_INLINE void F(sparse_score)(const int W, const int wide_indices, const struct source *X, int64_t from,
                                          int64_t to, int64_t end, const REAL *c, const REAL *norms,
                                          V(vec) score[F(SPARSE_GROUP)])
{
    enum { AHEAD = 24, LINE = 64 / (int)sizeof(REAL) }; /* nonzeros: in the next row, as a rule */
    const REAL *values = (const REAL *)X->data;
    UNROLL
    for (int v = 0; v < W; ++v) score[v] = V(load)(norms + v * V(LANES));
    for (int64_t j = from; j < to; ++j) {
        const V(vec) x = V(set1)(values[j]);
        const REAL *cl = c + index_at(X->indices, wide_indices, j) * (W * V(LANES));
        if (j + AHEAD < end) {
            const REAL *ahead = c + index_at(X->indices, wide_indices, j + AHEAD) * (W * V(LANES));
            UNROLL
            for (int p = 0; p < W * V(LANES); p += LINE) PREFETCH(ahead + p);
        }
        UNROLL
        for (int v = 0; v < W; ++v) score[v] = V(fma)(x, V(load)(cl + v * V(LANES)), score[v]);
    }
}

/* The lowest score of all lanes and, among equal ones, the lowest id, if it beats the best. No
 * branches but the last: nobody could predict them. */
static ALWAYS_INLINE void F(sparse_fold)(const int W, const V(vec) score[F(SPARSE_GROUP)], const REAL *ids, REAL *best,
                                         int32_t *best_id)
{
    V(vec) least = score[0], id = V(load)(ids);
    REAL lane[V(LANES)];
    BITS lane_id[V(LANES)];
    UNROLL
    for (int v = 1; v < W; ++v) V(fold)(score[v], V(load)(ids + v * V(LANES)), &least, &id);
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

struct F(sparse_run) {
    const struct source *X;
    int64_t first, count;
    const REAL *c, *norms, *ids; /* of the group's first centroid */
    REAL *best;
    int32_t *best_id;
};

static ALWAYS_INLINE void F(sparse_run_of)(const int W, const int wide_indices, const struct F(sparse_run) *r)
{
    const int64_t end = index_at(r->X->indptr, wide_indices, r->first + r->count);
    for (int64_t i = 0; i < r->count; ++i) {
        V(vec) score[F(SPARSE_GROUP)];
        const int64_t from = index_at(r->X->indptr, wide_indices, r->first + i);
        const int64_t to = index_at(r->X->indptr, wide_indices, r->first + i + 1);
        F(sparse_score)(W, wide_indices, r->X, from, to, end, r->c, r->norms, score);
        F(sparse_fold)(W, score, r->ids, r->best + i, r->best_id + i);
    }
}

/* The widths are constants so that the scores become registers. */
static ALWAYS_INLINE void F(sparse_run)(int width, const int wide_indices, const struct F(sparse_run) *r)
{
    switch (width) {
    case 1: F(sparse_run_of)(1, wide_indices, r); break;
    case 2: F(sparse_run_of)(2, wide_indices, r); break;
    case 3: F(sparse_run_of)(3, wide_indices, r); break;
    case 4: F(sparse_run_of)(4, wide_indices, r); break;
    case 5: F(sparse_run_of)(5, wide_indices, r); break;
    case 6: F(sparse_run_of)(6, wide_indices, r); break;
    case 7: F(sparse_run_of)(7, wide_indices, r); break;
    case 8: F(sparse_run_of)(8, wide_indices, r); break;
    }
}

static int64_t F(sparse_assign)(const struct source *X, int64_t first, int64_t count, const struct panel *panel,
                                void *scores, int32_t *ids, int32_t *labels)
{
    struct F(sparse_run) r = { X, first, count, 0, 0, 0, scores, ids };
    int64_t changed = 0;
    for (int64_t i = 0; i < count; ++i) {
        r.best[i] = (REAL)INFINITY;
        ids[i] = 0;
    }
    for (int64_t i = 0; i < F(sparse_groups)(panel->K); ++i) {
        const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
        r.c = (const REAL *)panel->c + g.vector * V(LANES) * panel->n;
        r.norms = (const REAL *)panel->norms + g.vector * V(LANES);
        r.ids = (const REAL *)panel->ids + g.vector * V(LANES);
        if (X->wide_indices)
            F(sparse_run)(g.width, 1, &r);
        else
            F(sparse_run)(g.width, 0, &r);
    }
    for (int64_t i = 0; i < count; ++i) {
        changed += ids[i] != labels[i];
        labels[i] = ids[i];
    }
    return changed;
}

/* ---- seeding ---------------------------------------------------------------------------- */

/* Norms summed as `relax` sums the squares at a row's nonzeros: where the others are zero, as for
 * a row that became a centre, both are equal to the last bit. */
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

/* One row against one vector of centres: (x - c)^2 at its nonzeros, and what of ||c||^2 lies
 * elsewhere. */
static ALWAYS_INLINE void F(sparse_distances)(const struct source *X, int64_t row, const REAL *c, int64_t step,
                                              const REAL *norms, REAL squared[V(LANES)])
{
    const int64_t to = index_at(X->indptr, X->wide_indices, row + 1);
    V(vec) near = V(set1)(0), own = V(set1)(0);
    REAL own_lane[V(LANES)];
    for (int64_t j = index_at(X->indptr, X->wide_indices, row); j < to; ++j) {
        const V(vec) cl = V(load)(c + index_at(X->indices, X->wide_indices, j) * step);
        const V(vec) d = V(sub)(V(set1)(((const REAL *)X->data)[j]), cl);
        near = V(fma)(d, d, near);
        own = V(fma)(cl, cl, own);
    }
    V(store)(squared, near);
    V(store)(own_lane, own);
    for (int i = 0; i < V(LANES); ++i) {
        const REAL rest = norms[i] - own_lane[i];
        squared[i] += rest > 0 ? rest : 0;
    }
}

static void F(sparse_relax)(const struct source *X, int64_t first, int64_t count, const struct panel *panel,
                            const void *nearest_, int64_t length, void *closer_)
{
    const REAL *nearest = nearest_;
    REAL *closer = closer_;
    for (int64_t k = 0, i = 0; i < F(sparse_groups)(panel->K); ++i) {
        const struct F(sparse_group) g = F(sparse_group_of)(panel->K, i);
        for (int v = 0; v < g.width; ++v, k += V(LANES)) {
            const int64_t trials = panel->K - k < V(LANES) ? panel->K - k : V(LANES);
            const REAL *c = (const REAL *)panel->c + g.vector * V(LANES) * panel->n + v * V(LANES);
            for (int64_t r = 0; r < count; ++r) {
                REAL squared[V(LANES)];
                const REAL least = nearest ? nearest[r] : (REAL)INFINITY;
                F(sparse_distances)(X, first + r, c, g.width * V(LANES), (const REAL *)panel->norms + k, squared);
                for (int64_t t = 0; t < trials; ++t)
                    closer[(k + t) * length + r] = squared[t] < least ? squared[t] : least;
            }
        }
    }
}

/* ---- sums --------------------------------------------------------------------------------- */

/* The squared distance of a row to a centroid, and w times the row added to the sums (NULL: not).
 * By differences where the row has nonzeros: no digits are lost on a row near its centroid. */
static ALWAYS_INLINE double F(sparse_row)(const struct source *X, int64_t row, const int wide_indices,
                                          const double *centroid, double norm, double w, double *sums)
{
    const REAL *values = (const REAL *)X->data;
    const int64_t to = index_at(X->indptr, wide_indices, row + 1);
    double near = 0, own = 0;
    for (int64_t j = index_at(X->indptr, wide_indices, row); j < to; ++j) {
        const int64_t l = index_at(X->indices, wide_indices, j);
        const double x = values[j], c = centroid[l], d = x - c;
        near += d * d;
        own += c * c;
        if (sums) sums[l] += w * x;
    }
    return near + (norm > own ? norm - own : 0);
}

static double F(sparse_squared)(const struct source *X, int64_t row, const double *centroid, double norm)
{
    return F(sparse_row)(X, row, X->wide_indices, centroid, norm, 0, 0);
}

static ALWAYS_INLINE double F(sparse_add_rows)(const struct source *X, const int wide_indices, const int64_t *rows,
                                               int64_t count, const double *weights, const double *centroid,
                                               double norm, double *sums, double *squared)
{
    enum { AHEAD = 8 }; /* rows: they lie anywhere */
    double square = 0;
    for (int64_t i = 0; i < count; ++i) {
        const double w = weights ? weights[rows[i]] : 1;
        if (i + AHEAD < count) {
            const int64_t ahead = index_at(X->indptr, wide_indices, rows[i + AHEAD]);
            PREFETCH((const REAL *)X->data + ahead);
            PREFETCH((const char *)X->indices + ahead * (wide_indices ? 8 : 4));
        }
        const double d = F(sparse_row)(X, rows[i], wide_indices, centroid, norm, w, sums);
        square += w * d;
        if (squared) squared[rows[i]] = d;
    }
    return square;
}

static double F(sparse_accumulate)(const struct source *X, const int64_t *rows, int64_t count, const double *weights,
                                   const double *centroid, double norm, double *sums, double *squared)
{
    if (X->wide_indices)
        return F(sparse_add_rows)(X, 1, rows, count, weights, centroid, norm, sums, squared);
    return F(sparse_add_rows)(X, 0, rows, count, weights, centroid, norm, sums, squared);
}

static void F(sparse_move)(const struct source *X, const int64_t *moves, int64_t count, double *sums)
{
    const REAL *values = (const REAL *)X->data;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = moves[i] < 0 ? ~moves[i] : moves[i];
        const double sign = moves[i] < 0 ? -1 : 1;
        const int64_t to = index_at(X->indptr, X->wide_indices, row + 1);
        for (int64_t j = index_at(X->indptr, X->wide_indices, row); j < to; ++j)
            sums[index_at(X->indices, X->wide_indices, j)] += sign * values[j];
    }
}

static double F(sparse_squares)(const struct source *X, int64_t first, int64_t count)
{
    const int64_t from = index_at(X->indptr, X->wide_indices, first);
    const REAL *x = (const REAL *)X->data + from, *end = (const REAL *)X->data;
    double sum[4] = { 0 }; /* side by side, as an addition takes its time */
    end += index_at(X->indptr, X->wide_indices, first + count);
    for (; x + 4 <= end; x += 4)
        for (int i = 0; i < 4; ++i) sum[i] += (double)x[i] * x[i];
    for (; x < end; ++x) sum[0] += (double)*x * *x;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static const struct sparse_kernels F(sparse_kernels) = {
    V(LANES), F(sparse_groups), F(sparse_pack), F(sparse_assign), F(sparse_norms), F(sparse_relax), F(sparse_squared),
    F(sparse_accumulate), F(sparse_move), F(sparse_squares)
};
