/* Screening: projections, candidates within a bound, distances of single pairs (a part of
 * kernels_body.h). _screen.pyx has the proofs that use the error bounds given here. */

enum { F(DEPTH) = 64 }; /* features added up before their sum is added to the product: bounds the rounding */

/* One tile against a group of W directions over `features` features; the products are overwritten
 * if `first`, else added to. */
static ALWAYS_INLINE void F(project_group)(const int W, const REAL *x, const REAL *q, int64_t features, int first,
                                           REAL *products)
{
    V(vec) sum[V(GROUP)][V(TILE_VECS)];
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) sum[g][v] = V(set1)(0);
    }
    for (int64_t l = 0; l < features; ++l, x += F(TILE), q += W) {
        UNROLL
        for (int g = 0; g < W; ++g) {
            const V(vec) qg = V(set1)(q[g]);
            UNROLL
            for (int v = 0; v < V(TILE_VECS); ++v) sum[g][v] = V(fma)(V(load)(x + v * V(LANES)), qg, sum[g][v]);
        }
    }
    const V(vec) scale = V(set1)((REAL)-0.5); /* the panel holds the directions times -2 */
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) {
            REAL *const out = products + g * F(TILE) + v * V(LANES);
            V(store)(out, V(fma)(sum[g][v], scale, first ? V(set1)(0) : V(load)(out)));
        }
    }
}

static void F(project_width)(int width, const REAL *x, const REAL *q, int64_t features, int first, REAL *products)
{
#define PROJECT(w) case w: F(project_group)(w, x, q, features, first, products); break;
    switch (width) { WIDTHS(PROJECT) }
#undef PROJECT
}

static void F(project)(const void *tiles, int64_t ntiles, const struct panel *panel, int64_t tile_features,
                       void *products)
{
    const int64_t n = panel->n;
    const struct F(groups) s = F(split)(panel->K);
    const REAL *x = tiles;
    REAL *out = products;
    for (int64_t t = 0; t < ntiles; ++t, x += n * F(TILE), out += tile_features * F(TILE)) {
        for (int64_t l = 0; l < n; l += F(DEPTH)) {
            const int64_t features = n - l < F(DEPTH) ? n - l : F(DEPTH);
            int64_t j = 0;
            for (int64_t i = 0; i < s.count; ++i) {
                const int w = s.width + (i < s.wider);
                const REAL *q = (const REAL *)panel->c + j * n + l * w;
                F(project_width)(w, x + l * F(TILE), q, features, l == 0, out + j * F(TILE));
                j += w;
            }
        }
    }
}

/* One tile against a group of W centroids; the scores are compared while they are in registers. Without
 * branches: each centroid is written as a hit, and overwritten if it is none. */
static ALWAYS_INLINE int64_t F(screen_group)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                             const REAL *bounds, int64_t k0, struct hit *hits, REAL *least_above)
{
    V(vec) score[V(GROUP)][V(TILE_VECS)], bound[V(TILE_VECS)], least[V(TILE_VECS)];
    int64_t count = 0;
    F(score_group)(W, x, c, n, norms, 0, score);
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) {
        bound[v] = V(load)(bounds + v * V(LANES));
        least[v] = V(load)(least_above + v * V(LANES));
    }
    UNROLL
    for (int g = 0; g < W; ++g) {
        uint32_t points = 0;
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) {
            points |= V(not_greater)(score[g][v], bound[v]) << (v * V(LANES));
            least[v] = V(min_if_greater)(score[g][v], bound[v], least[v]);
        }
        hits[count].k = (int32_t)(k0 + g);
        hits[count].points = points;
        count += points != 0;
    }
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) V(store)(least_above + v * V(LANES), least[v]);
    return count;
}

static ALWAYS_INLINE int64_t F(screen_groups)(const int W, int64_t groups, const REAL *x, const struct panel *panel,
                                              int64_t k0, const REAL *bounds, struct hit *hits, REAL *least_above)
{
    const int64_t n = panel->n;
    const REAL *c = (const REAL *)panel->c + k0 * n, *norms = (const REAL *)panel->norms + k0;
    int64_t count = 0;
    for (int64_t i = 0; i < groups; ++i, c += W * n, norms += W, k0 += W)
        count += F(screen_group)(W, x, c, n, norms, bounds, k0, hits + count, least_above);
    return count;
}

static int64_t F(screen_width)(int width, int64_t groups, const REAL *x, const struct panel *panel, int64_t k0,
                               const REAL *bounds, struct hit *hits, REAL *least_above)
{
#define SCREEN(w) case w: return F(screen_groups)(w, groups, x, panel, k0, bounds, hits, least_above);
    switch (width) { WIDTHS(SCREEN) }
#undef SCREEN
    return 0;
}

static int64_t F(screen)(const void *tile, const struct panel *panel, const void *bounds, struct hit *hits,
                         void *least_above)
{
    for (int p = 0; p < F(TILE); p += V(LANES)) V(store)((REAL *)least_above + p, V(set1)((REAL)INFINITY));
    const struct F(groups) s = F(split)(panel->K);
    const int64_t done = s.wider * (s.width + 1);
    const int64_t count = F(screen_width)(s.width + 1, s.wider, tile, panel, 0, bounds, hits, least_above);
    return count + F(screen_width)(s.width, s.count - s.wider, tile, panel, done, bounds, hits + count, least_above);
}

/* ---- single pairs ------------------------------------------------------------------------- */

static ALWAYS_INLINE V(vec) F(add_square)(const REAL *x, const REAL *c, V(vec) sum)
{
    const V(vec) d = V(sub)(V(load)(x), V(load)(c));
    return V(fma)(d, d, sum);
}

static void F(pair_distances)(const void *rows, int64_t stride, int64_t n, const void *centroids, const int32_t *row,
                              const int32_t *k, int64_t count, void *squared)
{
    enum { L = V(LANES) };
    for (int64_t i = 0; i < count; ++i) {
        const REAL *x = (const REAL *)rows + row[i] * stride, *c = (const REAL *)centroids + k[i] * n;
        V(vec) s0 = V(set1)(0), s1 = s0, s2 = s0, s3 = s0;
        int64_t l = 0;
        for (; l + 4 * L <= n; l += 4 * L) {
            s0 = F(add_square)(x + l, c + l, s0);
            s1 = F(add_square)(x + l + L, c + l + L, s1);
            s2 = F(add_square)(x + l + 2 * L, c + l + 2 * L, s2);
            s3 = F(add_square)(x + l + 3 * L, c + l + 3 * L, s3);
        }
        for (; l + L <= n; l += L) s0 = F(add_square)(x + l, c + l, s0);
        REAL sum = V(sum_lanes)(V(add)(V(add)(s0, s1), V(add)(s2, s3)));
        for (; l < n; ++l) sum += (x[l] - c[l]) * (x[l] - c[l]);
        ((REAL *)squared)[i] = sum;
    }
}
