/* Screening: projections, distances of single pairs (a part of kernels_body.h). _screen_leading.pxi has the proof that
 * uses the error bounds given here. */

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
