/* Seeding by k-means++: squared distances to the nearest centre (a part of kernels_body.h). */

enum { F(SEED_GROUP) = 4 }; /* centres against one tile at a time: their accumulators fit the registers */

/* One tile against W centres, by differences of features, so that a chosen point is at distance 0. */
static ALWAYS_INLINE void F(min_distance_group)(const int W, const REAL *x, int64_t n, const REAL *centres,
                                                const REAL *current, REAL *updated, int64_t updated_stride)
{
    V(vec) sum[F(SEED_GROUP)][V(TILE_VECS)];
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) sum[g][v] = V(set1)(0);
    }
    for (int64_t l = 0; l < n; ++l, x += F(TILE)) {
        UNROLL
        for (int g = 0; g < W; ++g) {
            const V(vec) cg = V(set1)(centres[g * n + l]);
            UNROLL
            for (int v = 0; v < V(TILE_VECS); ++v) {
                const V(vec) d = V(sub)(V(load)(x + v * V(LANES)), cg);
                sum[g][v] = V(fma)(d, d, sum[g][v]);
            }
        }
    }
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) {
            V(vec) least = current ? V(load)(current + v * V(LANES)) : V(set1)((REAL)INFINITY), id = least;
            V(argmin_update)(sum[g][v], id, &least, &id);
            V(store)(updated + g * updated_stride + v * V(LANES), least);
        }
    }
}

static void F(min_distance_update)(const void *tiles_, int64_t ntiles, int64_t n, const void *centres_,
                                   int64_t trials, const void *current_, void *updated_)
{
    enum { W = F(SEED_GROUP) };
    const REAL *tiles = tiles_, *centres = centres_, *current = current_;
    REAL *updated = updated_;
    const int64_t stride = ntiles * F(TILE);
    for (int64_t t = 0; t < ntiles; ++t, tiles += F(TILE) * n, updated += F(TILE)) {
        const REAL *own = current ? current + t * F(TILE) : 0;
        int64_t trial = 0;
        for (; trial + W <= trials; trial += W)
            F(min_distance_group)(W, tiles, n, centres + trial * n, own, updated + trial * stride, stride);
        for (; trial < trials; ++trial)
            F(min_distance_group)(1, tiles, n, centres + trial * n, own, updated + trial * stride, stride);
    }
}
