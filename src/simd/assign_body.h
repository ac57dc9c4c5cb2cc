/* Assignment: the scores of tiles against a panel and their argmin (a part of kernels_body.h).
 * Register tiling as in a GEMM micro-kernel: a group of W centroids by a tile of TILE_VECS vectors
 * of points. W is a constant in each copy, so that the accumulators become registers. */

/* Computes the scores of one tile and one group over n features. They start at the norms, or at
 * `start` if earlier features have been added up there. */
static ALWAYS_INLINE void F(score_group)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                         const REAL *start, V(vec) score[V(GROUP)][V(TILE_VECS)])
{
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v)
            score[g][v] = start ? V(load)(start + g * F(TILE) + v * V(LANES)) : V(set1)(norms[g]);
    }
    for (int64_t l = 0; l < n; ++l, x += F(TILE), c += W) {
        V(vec) xv[V(TILE_VECS)];
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) xv[v] = V(load)(x + v * V(LANES));
        UNROLL
        for (int g = 0; g < W; ++g) {
            const V(vec) cg = V(set1)(c[g]);
            UNROLL
            for (int v = 0; v < V(TILE_VECS); ++v) score[g][v] = V(fma)(xv[v], cg, score[g][v]);
        }
    }
}

/* Scores one tile and one group, then updates the argmin, or stores the scores to `partial` if more
 * features follow. */
static ALWAYS_INLINE void F(assign_group)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                          const REAL *ids, const REAL *start, REAL *partial, REAL *best,
                                          REAL *best_id)
{
    V(vec) score[V(GROUP)][V(TILE_VECS)];
    F(score_group)(W, x, c, n, norms, start, score);
    if (partial) {
        UNROLL
        for (int g = 0; g < W; ++g) {
            UNROLL
            for (int v = 0; v < V(TILE_VECS); ++v) V(store)(partial + g * F(TILE) + v * V(LANES), score[g][v]);
        }
        return;
    }
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) {
        V(vec) b = V(load)(best + v * V(LANES)), i = V(load)(best_id + v * V(LANES));
        UNROLL
        for (int g = 0; g < W; ++g) V(argmin_update)(score[g][v], V(set1)(ids[g]), &b, &i);
        V(store)(best + v * V(LANES), b);
        V(store)(best_id + v * V(LANES), i);
    }
}

/* Arguments of an assignment to the groups of one width. */
struct F(assign_args) {
    const REAL *tiles, *c, *norms, *ids; /* c, norms, ids: from the first of these groups on */
    int64_t ntiles, n, groups;
    REAL *best, *best_id, *partial;
};

/* One tile against the groups first .. last - 1, in blocks of as many features as L1 holds of it. */
static ALWAYS_INLINE void F(assign_tile)(const int W, const struct F(assign_args) *a, const REAL *tile, int64_t first,
                                         int64_t last, REAL *best, REAL *best_id)
{
    const int64_t n = a->n;
    for (int64_t l = 0; l < n; l += F(MAX_FEATURES)) {
        const int64_t count = n - l < F(MAX_FEATURES) ? n - l : F(MAX_FEATURES);
        for (int64_t g = first; g < last; ++g) {
            REAL *const partial = a->partial + g * W * F(TILE);
            F(assign_group)(W, tile + l * F(TILE), a->c + g * W * n + l * W, count, a->norms + g * W, a->ids + g * W,
                            l > 0 ? partial : 0, l + count < n ? partial : 0, best, best_id);
        }
    }
}

/* All tiles against the groups of width W, in blocks of as many groups as L1 holds; if it cannot hold
 * a tile either, all groups are one block. */
static ALWAYS_INLINE void F(assign_groups)(const int W, const struct F(assign_args) *a)
{
    const int64_t n = a->n;
    int64_t block = n > F(MAX_FEATURES) ? a->groups : F(L1) / (W * n);
    if (block < 1) block = 1;
    for (int64_t first = 0; first < a->groups; first += block) {
        const int64_t last = first + block < a->groups ? first + block : a->groups;
        for (int64_t t = 0; t < a->ntiles; ++t)
            F(assign_tile)(W, a, a->tiles + t * n * F(TILE), first, last, a->best + t * F(TILE),
                           a->best_id + t * F(TILE));
    }
}

static void F(assign_width)(int width, const struct F(assign_args) *a)
{
#define ASSIGN(w) case w: F(assign_groups)(w, a); break;
    switch (width) { WIDTHS(ASSIGN) }
#undef ASSIGN
}

static void F(assign)(const void *tiles, int64_t ntiles, const struct panel *panel, void *scores, void *ids,
                      void *partial)
{
    const struct F(groups) s = F(split)(panel->K);
    const int64_t n = panel->n;
    const int64_t done = s.wider * (s.width + 1);
    const REAL *c = panel->c, *norms = panel->norms, *id = panel->ids;
    const struct F(assign_args) wider = { tiles, c, norms, id, ntiles, n, s.wider, scores, ids, partial };
    const struct F(assign_args) others = { tiles, c + done * n, norms + done, id + done, ntiles, n,
                                           s.count - s.wider, scores, ids, partial };
    for (int64_t p = 0; p < ntiles * F(TILE); p += V(LANES)) {
        V(store)(wider.best + p, V(set1)((REAL)INFINITY));
        V(store)(wider.best_id + p, V(set1)(0));
    }
    F(assign_width)(s.width + 1, &wider);
    F(assign_width)(s.width, &others);
}
