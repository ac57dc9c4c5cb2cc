/* The arithmetic, once for every instruction set and dtype. The includer defines
 *   REAL, BITS     the computing dtype and the unsigned integer as wide
 *   V(name)        the vocabulary: f32_name or f64_name
 *   WIDE(name)     wide_load_f32 or wide_load_f64
 *   F(name)        the name of a function here
 * Everything is static but the table: nothing compiled for a newer instruction set may be
 * reached before the dispatch has chosen it. */

enum {
    F(TILE) = (int)V(LANES) * (int)V(TILE_VECS),
    F(LIST_BLOCK) = (int)V(LANES),
    F(L1) = 24 * 1024 / (int)sizeof(REAL), /* values that stay in the first cache */
    F(FEATURES) = F(L1) / F(TILE)          /* features of a tile that do */
};

/* ---- packing -------------------------------------------------------------------------- */

/* So many bytes from here on: rows read side by side, a quad at a time, look like no stream to the processor. */
static ALWAYS_INLINE void F(fetch)(const char *memory, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64) PREFETCH(memory + at);
}

/* One quad of features of one vector of points: rows of 128 bits in, features out. */
static ALWAYS_INLINE void F(pack_quad)(const REAL *rows, int64_t stride, int features, const REAL *shift,
                                       REAL *tile, V(vec) *most)
{
    V(vec) r[V(QUAD)];
    UNROLL
    for (int j = 0; j < V(QUAD); ++j) r[j] = V(load_quads)(rows + j * stride, V(QUAD) * stride);
    V(transpose_quads)(r);
    UNROLL
    for (int j = 0; j < V(QUAD); ++j) {
        if (j < features) {
            *most = V(max_magnitude)(*most, r[j]);
            V(store)(tile + j * F(TILE), V(sub)(r[j], V(set1)(shift[j])));
        }
    }
}

/* A whole tile, while the rows of the next one are fetched unless they are long. The last quad of a row overlaps
 * the one before it rather than leave the row. */
static ALWAYS_INLINE void F(pack_tile)(const REAL *rows, int64_t stride, int64_t n, const REAL *shift, REAL *tile,
                                       V(vec) *most)
{
    enum { QUADS = V(LANES) * V(QUAD) };
    const int64_t ahead = V(LANES) * n <= F(L1) ? QUADS * sizeof(REAL) : 0;
    for (int v = 0; v < V(TILE_VECS); ++v, rows += V(LANES) * stride, tile += V(LANES)) {
        const REAL *next = rows + F(TILE) * stride;
        int64_t l = 0;
        for (; l + V(QUAD) <= n; l += V(QUAD), next += QUADS) {
            F(fetch)((const char *)next, ahead);
            F(pack_quad)(rows + l, stride, V(QUAD), shift + l, tile + l * F(TILE), most);
        }
        if (l == n) continue;
        if (n >= V(QUAD)) {
            l = n - V(QUAD);
            F(pack_quad)(rows + l, stride, V(QUAD), shift + l, tile + l * F(TILE), most);
        } else {
            F(pack_quad)(rows, stride, (int)n, shift, tile, most);
        }
    }
}

/* The tile that holds fewer points than lanes. */
static void F(pack_tail)(const REAL *rows, int64_t stride, int64_t count, int64_t n, const REAL *shift, REAL *tile,
                         V(vec) *most)
{
    for (int64_t l = 0; l < n; ++l) {
        REAL column[F(TILE)] = { 0 };
        for (int64_t p = 0; p < F(TILE); ++p) {
            if (p < count) column[p] = rows[p * stride + l];
            tile[l * F(TILE) + p] = p < count ? column[p] - shift[l] : 0;
        }
        for (int v = 0; v < V(TILE_VECS); ++v) *most = V(max_magnitude)(*most, V(load)(column + v * V(LANES)));
    }
}

static ALWAYS_INLINE uint64_t F(magnitude_bits)(V(vec) most)
{
    BITS lanes[V(LANES)], bits = 0;
    V(store)((REAL *)lanes, most);
    for (int i = 0; i < V(LANES); ++i) bits = lanes[i] > bits ? lanes[i] : bits;
    return bits;
}

static uint64_t F(pack)(const void *rows_, int64_t stride, int64_t count, int64_t n, const void *shift, void *tiles)
{
    const REAL *rows = rows_;
    REAL *tile = tiles;
    V(vec) most = V(set1)(0);
    for (; count >= F(TILE); count -= F(TILE), rows += F(TILE) * stride, tile += F(TILE) * n)
        F(pack_tile)(rows, stride, n, shift, tile, &most);
    if (count > 0) F(pack_tail)(rows, stride, count, n, shift, tile, &most);
    return F(magnitude_bits)(most);
}

/* ---- the panel of centroids ----------------------------------------------------------- */

struct F(widths) { int64_t groups, wide_groups; int width; };

/* As few groups as hold K centroids: `wide_groups` of width + 1, the others of width. */
static struct F(widths) F(split)(int64_t K)
{
    struct F(widths) s;
    s.groups = (K + V(GROUP) - 1) / V(GROUP);
    s.width = (int)(K / s.groups);
    s.wide_groups = K % s.groups;
    return s;
}

static ALWAYS_INLINE REAL F(norm)(const REAL *centroid, const REAL *shift, int64_t n)
{
    double norm = 0;
    for (int64_t l = 0; l < n; ++l) {
        const REAL moved = centroid[l] - shift[l];
        norm += (double)moved * moved;
    }
    return (REAL)norm;
}

static void F(pack_centroids)(const void *centroids_, const void *shift_, struct panel *panel)
{
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *c = panel->c, *norms = panel->norms;
    BITS *ids = panel->ids;
    const int64_t n = panel->n;
    const struct F(widths) s = F(split)(panel->K);
    int64_t k0 = 0;
    for (int64_t i = 0; i < s.groups; ++i) {
        const int w = s.width + (i < s.wide_groups);
        for (int g = 0; g < w; ++g) {
            const int64_t k = k0 + g;
            for (int64_t l = 0; l < n; ++l) c[k0 * n + l * w + g] = -2 * (centroids[k * n + l] - shift[l]);
            norms[k] = F(norm)(centroids + k * n, shift, n);
            ids[k] = (BITS)k;
        }
        k0 += w;
    }
}

/* ---- assignment ----------------------------------------------------------------------- */

/* The scores of one tile and one group of W centroids over n features, in registers. They start at the norms, or at
 * `from` where earlier features have been at work. */
static ALWAYS_INLINE void F(score)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                   const REAL *from, V(vec) score[V(GROUP)][V(TILE_VECS)])
{
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v)
            score[g][v] = from ? V(load)(from + g * F(TILE) + v * V(LANES)) : V(set1)(norms[g]);
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

/* They end in the minima, or in `to` where later features follow. */
static ALWAYS_INLINE void F(group)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                   const REAL *ids, const REAL *from, REAL *to, REAL *best, REAL *best_id)
{
    V(vec) score[V(GROUP)][V(TILE_VECS)];
    F(score)(W, x, c, n, norms, from, score);
    if (to) {
        UNROLL
        for (int g = 0; g < W; ++g) {
            UNROLL
            for (int v = 0; v < V(TILE_VECS); ++v) V(store)(to + g * F(TILE) + v * V(LANES), score[g][v]);
        }
        return;
    }
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) {
        V(vec) b = V(load)(best + v * V(LANES)), i = V(load)(best_id + v * V(LANES));
        UNROLL
        for (int g = 0; g < W; ++g) V(fold)(score[g][v], V(set1)(ids[g]), &b, &i);
        V(store)(best + v * V(LANES), b);
        V(store)(best_id + v * V(LANES), i);
    }
}

struct F(run) {
    const REAL *tiles, *c, *norms, *ids; /* c, norms, ids: those of the run's first centroid */
    int64_t ntiles, n, groups;
    REAL *best, *best_id, *partial;
};

/* Some groups over one tile, as many features at a time as the first cache holds of it. */
static ALWAYS_INLINE void F(visit)(const int W, const struct F(run) *r, const REAL *tile, int64_t first, int64_t last,
                                   REAL *best, REAL *best_id)
{
    const int64_t n = r->n;
    for (int64_t l = 0; l < n; l += F(FEATURES)) {
        const int64_t count = n - l < F(FEATURES) ? n - l : F(FEATURES);
        for (int64_t g = first; g < last; ++g) {
            REAL *const kept = r->partial + g * W * F(TILE);
            F(group)(W, tile + l * F(TILE), r->c + g * W * n + l * W, count, r->norms + g * W, r->ids + g * W,
                     l > 0 ? kept : 0, l + count < n ? kept : 0, best, best_id);
        }
    }
}

/* Groups of one width over all tiles. As many groups as the first cache holds visit a tile
 * together; all of them where it cannot hold even the tile. */
static ALWAYS_INLINE void F(run_of)(const int W, const struct F(run) *r)
{
    const int64_t n = r->n;
    int64_t together = n > F(FEATURES) ? r->groups : F(L1) / (W * n);
    if (together < 1) together = 1;
    for (int64_t first = 0; first < r->groups; first += together) {
        const int64_t last = first + together < r->groups ? first + together : r->groups;
        for (int64_t t = 0; t < r->ntiles; ++t)
            F(visit)(W, r, r->tiles + t * n * F(TILE), first, last, r->best + t * F(TILE), r->best_id + t * F(TILE));
    }
}

/* The widths are constants so that the accumulators become registers. */
static void F(run_groups)(int width, const struct F(run) *r)
{
#define RUN(w) case w: F(run_of)(w, r); break;
    switch (width) { WIDTHS(RUN) }
#undef RUN
}

static void F(assign)(const void *tiles, int64_t ntiles, const struct panel *panel, void *scores, void *ids,
                      void *partial)
{
    const struct F(widths) s = F(split)(panel->K);
    const int64_t n = panel->n;
    const int64_t done = s.wide_groups * (s.width + 1);
    const REAL *c = panel->c, *norms = panel->norms, *id = panel->ids;
    const struct F(run) wider = { tiles, c, norms, id, ntiles, n, s.wide_groups, scores, ids, partial };
    const struct F(run) others = { tiles, c + done * n, norms + done, id + done, ntiles, n, s.groups - s.wide_groups,
                                   scores, ids, partial };
    for (int64_t p = 0; p < ntiles * F(TILE); p += V(LANES)) {
        V(store)(wider.best + p, V(set1)((REAL)INFINITY));
        V(store)(wider.best_id + p, V(set1)(0));
    }
    F(run_groups)(s.width + 1, &wider);
    F(run_groups)(s.width, &others);
}

/* ---- sums about the centroids ----------------------------------------------------------*/

/* One vector of a row: add w (x - c) to the centroid's sums (NULL: do not), return w (x - c)^2 + square. */
static ALWAYS_INLINE wide F(add_offsets)(wide x, const double *c, double *offsets, const double *weight, wide square)
{
    const wide d = wide_sub(x, wide_load_f64(c));
    const wide wd = weight ? wide_mul(wide_set1(*weight), d) : d;
    if (offsets) wide_store(offsets, wide_add(wide_load_f64(offsets), wd));
    return wide_fma(wd, d, square);
}

static ALWAYS_INLINE void F(accumulate_rows)(const int add, const REAL *row, int64_t stride, int64_t count, int64_t n,
                                             const int32_t *labels, const double *weights,
                                             const double *centroids, struct sums *sums)
{
    const int64_t padded = wide_stride(n), whole = n / 8 * 8;
    const wide_mask rest = wide_first((int)(n - whole));
    double *const offsets = sums->offsets;
    int64_t *const counts = sums->counts;
    wide even = wide_load_f64(sums->square), odd = wide_load_f64(sums->square + 8);
    for (int64_t r = 0; r < count; ++r, row += stride) {
        const int64_t k = labels[r];
        const double *c = centroids + k * padded;
        double *o = add ? offsets + k * padded : 0;
        for (int64_t l = 0; l < padded; l += 8) {
            const wide x = l < whole ? WIDE(load)(row + l) : WIDE(load_first)(row + l, rest);
            const wide used = F(add_offsets)(x, c + l, add ? o + l : 0, weights ? weights + r : 0, even);
            even = odd;
            odd = used;
        }
        if (add) counts[k] += 1;
        if (add && weights) sums->weights[k] += weights[r];
    }
    wide_store(sums->square, even);
    wide_store(sums->square + 8, odd);
}

/* Rows of one vector that lie in an order, so that most have the label of the one before: the sums stay in
 * registers meanwhile, where else each row would wait until the last one's were written. The same bits. */
static ALWAYS_INLINE void F(accumulate_runs)(const REAL *row, int64_t stride, int64_t count, int64_t n,
                                             const int32_t *labels, const double *weights,
                                             const double *centroids, struct sums *sums)
{
    const wide_mask used = wide_first((int)n);
    wide even = wide_load_f64(sums->square), odd = wide_load_f64(sums->square + 8);
    for (int64_t r = 0, begin; (begin = r) < count;) {
        const int64_t k = labels[r];
        const wide c = wide_load_f64(centroids + k * 8);
        wide total = wide_load_f64(sums->offsets + k * 8);
        double weight = weights ? sums->weights[k] : 0;
        do {
            const wide d = wide_sub(WIDE(load_first)(row + r * stride, used), c);
            const wide wd = weights ? wide_mul(wide_set1(weights[r]), d) : d;
            const wide last = odd;
            total = wide_add(total, wd);
            odd = wide_fma(wd, d, even);
            even = last;
            if (weights) weight += weights[r];
        } while (++r < count && labels[r] == k);
        wide_store(sums->offsets + k * 8, total);
        sums->counts[k] += r - begin;
        if (weights) sums->weights[k] = weight;
    }
    wide_store(sums->square, even);
    wide_store(sums->square + 8, odd);
}

static int F(in_runs)(const int32_t *labels, int64_t count)
{
    int64_t same = 0;
    for (int64_t r = 1; r < count; ++r) same += labels[r] == labels[r - 1];
    return same * 3 > count * 2;
}

static void F(accumulate)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                          const double *weights, const double *centroids, struct sums *sums)
{
    const int add = sums->offsets != 0;
    if (add && n < 8 && F(in_runs)(labels, count)) {
        if (weights)
            F(accumulate_runs)(rows, stride, count, n, labels, weights, centroids, sums);
        else
            F(accumulate_runs)(rows, stride, count, n, labels, 0, centroids, sums);
    } else if (weights && add)
        F(accumulate_rows)(1, rows, stride, count, n, labels, weights, centroids, sums);
    else if (weights)
        F(accumulate_rows)(0, rows, stride, count, n, labels, weights, centroids, sums);
    else if (add)
        F(accumulate_rows)(1, rows, stride, count, n, labels, 0, centroids, sums);
    else
        F(accumulate_rows)(0, rows, stride, count, n, labels, 0, centroids, sums);
}

/* In one order on every instruction set. */
static ALWAYS_INLINE double F(lanes_total)(wide sum)
{
    double lane[8];
    wide_store(lane, sum);
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void F(distances)(const void *rows_, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                         const double *centroids, double *squared)
{
    const REAL *row = rows_;
    const int64_t padded = wide_stride(n), whole = n / 8 * 8;
    const wide_mask rest = wide_first((int)(n - whole));
    for (int64_t r = 0; r < count; ++r, row += stride) {
        const double *c = centroids + labels[r] * padded;
        wide sum = wide_zero();
        for (int64_t l = 0; l < padded; l += 8) {
            const wide x = l < whole ? WIDE(load)(row + l) : WIDE(load_first)(row + l, rest);
            const wide d = wide_sub(x, wide_load_f64(c + l));
            sum = wide_fma(d, d, sum);
        }
        squared[r] = F(lanes_total)(sum);
    }
}

/* ---- seeding --------------------------------------------------------------------------- */

/* One tile against W centres, by differences: a chosen point is at distance 0. */
static ALWAYS_INLINE void F(relax_group)(const int W, const REAL *x, int64_t n, const REAL *centres,
                                         const REAL *nearest, REAL *closer, int64_t closer_stride)
{
    V(vec) sum[4][V(TILE_VECS)];
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
            V(vec) least = nearest ? V(load)(nearest + v * V(LANES)) : V(set1)((REAL)INFINITY), id = least;
            V(fold)(sum[g][v], id, &least, &id);
            V(store)(closer + g * closer_stride + v * V(LANES), least);
        }
    }
}

static void F(relax)(const void *tiles_, int64_t ntiles, int64_t n, const void *centres_, int64_t trials,
                     const void *nearest_, void *closer_)
{
    const REAL *tiles = tiles_, *centres = centres_, *nearest = nearest_;
    REAL *closer = closer_;
    const int64_t stride = ntiles * F(TILE);
    for (int64_t t = 0; t < ntiles; ++t, tiles += F(TILE) * n, closer += F(TILE)) {
        const REAL *near = nearest ? nearest + t * F(TILE) : 0;
        int64_t trial = 0;
        for (; trial + 4 <= trials; trial += 4)
            F(relax_group)(4, tiles, n, centres + trial * n, near, closer + trial * stride, stride);
        for (; trial < trials; ++trial)
            F(relax_group)(1, tiles, n, centres + trial * n, near, closer + trial * stride, stride);
    }
}

static double F(total)(const void *values_, const double *weights, int64_t count)
{
    const REAL *values = values_;
    wide sum = wide_zero();
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const wide w = weights ? wide_load_f64(weights + i) : wide_set1(1.0);
        sum = wide_fma(WIDE(load)(values + i), w, sum);
    }
    double total = F(lanes_total)(sum);
    for (; i < count; ++i) total += values[i] * (weights ? weights[i] : 1.0);
    return total;
}

/* ---- screening: see _screen.pyx for what it proves -------------------------------------- */

enum { F(DEPTH) = 64 }; /* features that are summed up on their own: rounding grows with the depth */

/* One tile against W directions over some of the features: added to the products, if any. */
static ALWAYS_INLINE void F(project_group)(const int W, const REAL *x, const REAL *q, int64_t features, int fresh,
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
    const V(vec) half = V(set1)((REAL)-0.5); /* the panel holds the directions times -2 */
    UNROLL
    for (int g = 0; g < W; ++g) {
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) {
            REAL *const out = products + g * F(TILE) + v * V(LANES);
            V(store)(out, V(fma)(sum[g][v], half, fresh ? V(set1)(0) : V(load)(out)));
        }
    }
}

static void F(project_width)(int width, const REAL *x, const REAL *q, int64_t features, int fresh, REAL *products)
{
#define PROJECT(w) case w: F(project_group)(w, x, q, features, fresh, products); break;
    switch (width) { WIDTHS(PROJECT) }
#undef PROJECT
}

static void F(project)(const void *tiles, int64_t ntiles, const struct panel *panel, int64_t room, void *products)
{
    const int64_t n = panel->n;
    const struct F(widths) s = F(split)(panel->K);
    const REAL *x = tiles;
    REAL *out = products;
    for (int64_t t = 0; t < ntiles; ++t, x += n * F(TILE), out += room * F(TILE)) {
        for (int64_t l = 0; l < n; l += F(DEPTH)) {
            const int64_t features = n - l < F(DEPTH) ? n - l : F(DEPTH);
            int64_t j = 0;
            for (int64_t i = 0; i < s.groups; ++i) {
                const int w = s.width + (i < s.wide_groups);
                const REAL *q = (const REAL *)panel->c + j * n + l * w;
                F(project_width)(w, x + l * F(TILE), q, features, l == 0, out + j * F(TILE));
                j += w;
            }
        }
    }
}

/* One tile against a group of W centroids: the scores are compared while they are in registers. */
static ALWAYS_INLINE int64_t F(screen_group)(const int W, const REAL *x, const REAL *c, int64_t n, const REAL *norms,
                                             const REAL *bounds, int64_t k0, struct hit *hits, REAL *least)
{
    V(vec) score[V(GROUP)][V(TILE_VECS)], bound[V(TILE_VECS)], above[V(TILE_VECS)];
    int64_t count = 0;
    F(score)(W, x, c, n, norms, 0, score);
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) {
        bound[v] = V(load)(bounds + v * V(LANES));
        above[v] = V(load)(least + v * V(LANES));
    }
    UNROLL
    for (int g = 0; g < W; ++g) {
        uint32_t points = 0;
        UNROLL
        for (int v = 0; v < V(TILE_VECS); ++v) {
            points |= V(not_above)(score[g][v], bound[v]) << (v * V(LANES));
            above[v] = V(least_above)(score[g][v], bound[v], above[v]);
        }
        hits[count].k = (int32_t)(k0 + g);
        hits[count].points = points;
        count += points != 0;
    }
    UNROLL
    for (int v = 0; v < V(TILE_VECS); ++v) V(store)(least + v * V(LANES), above[v]);
    return count;
}

static ALWAYS_INLINE int64_t F(screen_of)(const int W, int64_t groups, const REAL *x, const struct panel *panel,
                                          int64_t k0, const REAL *bounds, struct hit *hits, REAL *least)
{
    const int64_t n = panel->n;
    const REAL *c = (const REAL *)panel->c + k0 * n, *norms = (const REAL *)panel->norms + k0;
    int64_t count = 0;
    for (int64_t i = 0; i < groups; ++i, c += W * n, norms += W, k0 += W)
        count += F(screen_group)(W, x, c, n, norms, bounds, k0, hits + count, least);
    return count;
}

static int64_t F(screen_width)(int width, int64_t groups, const REAL *x, const struct panel *panel, int64_t k0,
                               const REAL *bounds, struct hit *hits, REAL *least)
{
#define SCREEN(w) case w: return F(screen_of)(w, groups, x, panel, k0, bounds, hits, least);
    switch (width) { WIDTHS(SCREEN) }
#undef SCREEN
    return 0;
}

static int64_t F(screen)(const void *tile, const struct panel *panel, const void *bounds, struct hit *hits,
                         void *least)
{
    for (int p = 0; p < F(TILE); p += V(LANES)) V(store)((REAL *)least + p, V(set1)((REAL)INFINITY));
    const struct F(widths) s = F(split)(panel->K);
    const int64_t done = s.wide_groups * (s.width + 1);
    const int64_t count = F(screen_width)(s.width + 1, s.wide_groups, tile, panel, 0, bounds, hits, least);
    return count + F(screen_width)(s.width, s.groups - s.wide_groups, tile, panel, done, bounds, hits + count, least);
}

static void F(pick)(const void *tiles, int64_t point, int64_t n, int64_t p, void *tile)
{
    const REAL *from = (const REAL *)tiles + point / F(TILE) * F(TILE) * n + point % F(TILE);
    REAL *to = (REAL *)tile + p;
    for (int64_t l = 0; l < n; ++l) to[l * F(TILE)] = from[l * F(TILE)];
}

static ALWAYS_INLINE V(vec) F(square)(const REAL *x, const REAL *c, V(vec) sum)
{
    const V(vec) d = V(sub)(V(load)(x), V(load)(c));
    return V(fma)(d, d, sum);
}

static void F(pairs)(const void *rows, int64_t stride, int64_t n, const void *centroids, const int32_t *row,
                     const int32_t *k, int64_t count, void *squared)
{
    enum { L = V(LANES) };
    for (int64_t i = 0; i < count; ++i) {
        const REAL *x = (const REAL *)rows + row[i] * stride, *c = (const REAL *)centroids + k[i] * n;
        V(vec) a = V(set1)(0), b = a, d = a, e = a;
        int64_t l = 0;
        for (; l + 4 * L <= n; l += 4 * L) {
            a = F(square)(x + l, c + l, a);
            b = F(square)(x + l + L, c + l + L, b);
            d = F(square)(x + l + 2 * L, c + l + 2 * L, d);
            e = F(square)(x + l + 3 * L, c + l + 3 * L, e);
        }
        for (; l + L <= n; l += L) a = F(square)(x + l, c + l, a);
        REAL sum = V(sum)(V(add)(V(add)(a, b), V(add)(d, e)));
        for (; l < n; ++l) sum += (x[l] - c[l]) * (x[l] - c[l]);
        ((REAL *)squared)[i] = sum;
    }
}

static double F(dot)(const double *a, const double *b, int64_t n)
{
    wide sum = wide_zero();
    int64_t l = 0;
    for (; l + 8 <= n; l += 8) sum = wide_fma(wide_load_f64(a + l), wide_load_f64(b + l), sum);
    double total = F(lanes_total)(sum);
    for (; l < n; ++l) total += a[l] * b[l];
    return total;
}

/* row += factor * other */
static void F(add_multiple)(double *row, double factor, const double *other, int64_t n)
{
    const wide f = wide_set1(factor);
    int64_t l = 0;
    for (; l + 8 <= n; l += 8) wide_store(row + l, wide_fma(f, wide_load_f64(other + l), wide_load_f64(row + l)));
    for (; l < n; ++l) row[l] += factor * other[l];
}

static void F(orthonormalise)(double *rows, int64_t count, int64_t n)
{
    for (int64_t j = 0; j < count; ++j) {
        double *const row = rows + j * n;
        const double before = sqrt(F(dot)(row, row, n));
        for (int pass = 0; pass < 2; ++pass) /* the second removes what rounding left of the first */
            for (int64_t i = 0; i < j; ++i) F(add_multiple)(row, -F(dot)(rows + i * n, row, n), rows + i * n, n);
        const double after = sqrt(F(dot)(row, row, n));
        const double scale = after > 1e-10 * before ? 1 / after : 0;
        for (int64_t l = 0; l < n; ++l) row[l] = scale > 0 ? row[l] * scale : 0;
    }
}

#include "cells_body.h"
#include "few_body.h"
#include "order_body.h"
#include "sparse_body.h"

static const struct kernels F(kernels) = {
    VEC_NAME, sizeof(REAL), F(TILE), V(GROUP), F(FEATURES), F(pack), F(pack_centroids), F(assign), F(accumulate),
    F(distances), F(relax), F(total), F(LIST_BLOCK), F(list_all), F(prune), F(settle), F(halve), F(fill_leaf), F(classify),
    F(project), F(screen), F(pick), F(pairs), F(orthonormalise), F(few_room), F(few_pack), F(few_assign),
    &F(sparse_kernels)
};
