/* Packing: rows into tiles, centroids into panels (a part of kernels_body.h). */

/* Prefetches so many bytes. Rows are read side by side, a few features at a time, which hardware
 * prefetchers do not recognise as a stream. */
static ALWAYS_INLINE void F(prefetch)(const char *memory, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64) PREFETCH(memory + at);
}

/* Packs QUAD features (128 bits of a row) of LANES points; only the first `features` are stored. */
static ALWAYS_INLINE void F(pack_quad)(const REAL *rows, int64_t stride, int features, const REAL *shift,
                                       REAL *tile, V(vec) *max_abs)
{
    V(vec) r[V(QUAD)];
    UNROLL
    for (int j = 0; j < V(QUAD); ++j) r[j] = V(load_quads)(rows + j * stride, V(QUAD) * stride);
    V(transpose_quads)(r);
    UNROLL
    for (int j = 0; j < V(QUAD); ++j) {
        if (j < features) {
            *max_abs = V(max_abs)(*max_abs, r[j]);
            V(store)(tile + j * F(TILE), V(sub)(r[j], V(set1)(shift[j])));
        }
    }
}

/* Packs a whole tile and prefetches the rows of the next one, unless they are long. The last quad of
 * a row overlaps the one before, so as not to read beyond the row. */
static ALWAYS_INLINE void F(pack_tile)(const REAL *rows, int64_t stride, int64_t n, const REAL *shift, REAL *tile,
                                       V(vec) *max_abs)
{
    enum { QUADS = V(LANES) * V(QUAD) };
    const int64_t ahead = V(LANES) * n <= F(L1) ? QUADS * sizeof(REAL) : 0;
    for (int v = 0; v < V(TILE_VECS); ++v, rows += V(LANES) * stride, tile += V(LANES)) {
        const REAL *next = rows + F(TILE) * stride;
        int64_t l = 0;
        for (; l + V(QUAD) <= n; l += V(QUAD), next += QUADS) {
            F(prefetch)((const char *)next, ahead);
            F(pack_quad)(rows + l, stride, V(QUAD), shift + l, tile + l * F(TILE), max_abs);
        }
        if (l == n) continue;
        if (n >= V(QUAD)) {
            l = n - V(QUAD);
            F(pack_quad)(rows + l, stride, V(QUAD), shift + l, tile + l * F(TILE), max_abs);
        } else {
            F(pack_quad)(rows, stride, (int)n, shift, tile, max_abs);
        }
    }
}

static void F(scale_rows)(const void *rows_, int64_t stride, int64_t count, int64_t n, const double *factors,
                          void *scaled)
{
    const REAL *row = rows_;
    REAL *to = scaled;
    const V(vec) zero = V(set1)(0);
    for (int64_t r = 0; r < count; ++r, row += stride, to += n) {
        const REAL factor = (REAL)factors[r];
        const V(vec) factor_v = V(set1)(factor);
        int64_t l = 0;
        for (; l + V(LANES) <= n; l += V(LANES)) V(store)(to + l, V(fma)(V(load)(row + l), factor_v, zero));
        for (; l < n; ++l) to[l] = row[l] * factor;
    }
}

/* Packs the last tile if it is not full. */
static void F(pack_tail)(const REAL *rows, int64_t stride, int64_t count, int64_t n, const REAL *shift, REAL *tile,
                         V(vec) *max_abs)
{
    for (int64_t l = 0; l < n; ++l) {
        REAL column[F(TILE)] = { 0 };
        for (int64_t p = 0; p < F(TILE); ++p) {
            if (p < count) column[p] = rows[p * stride + l];
            tile[l * F(TILE) + p] = p < count ? column[p] - shift[l] : 0;
        }
        for (int v = 0; v < V(TILE_VECS); ++v) *max_abs = V(max_abs)(*max_abs, V(load)(column + v * V(LANES)));
    }
}

static ALWAYS_INLINE uint64_t F(max_abs_bits)(V(vec) max_abs)
{
    BITS lanes[V(LANES)], bits = 0;
    V(store)((REAL *)lanes, max_abs);
    for (int i = 0; i < V(LANES); ++i) bits = lanes[i] > bits ? lanes[i] : bits;
    return bits;
}

static uint64_t F(pack)(const void *rows_, int64_t stride, int64_t count, int64_t n, const void *shift, void *tiles)
{
    const REAL *rows = rows_;
    REAL *tile = tiles;
    V(vec) max_abs = V(set1)(0);
    for (; count >= F(TILE); count -= F(TILE), rows += F(TILE) * stride, tile += F(TILE) * n)
        F(pack_tile)(rows, stride, n, shift, tile, &max_abs);
    if (count > 0) F(pack_tail)(rows, stride, count, n, shift, tile, &max_abs);
    return F(max_abs_bits)(max_abs);
}

/* ---- panels ------------------------------------------------------------------------------- */

/* The groups of a panel: `wider` groups of width + 1 centroids, then the others of `width`. */
struct F(groups) { int64_t count, wider; int width; };

/* Splits K centroids into as few groups as hold them. */
static struct F(groups) F(split)(int64_t K)
{
    struct F(groups) s;
    s.count = (K + V(GROUP) - 1) / V(GROUP);
    s.width = (int)(K / s.count);
    s.wider = K % s.count;
    return s;
}

/* Squared norm of a centroid minus the shift. */
static ALWAYS_INLINE REAL F(squared_norm)(const REAL *centroid, const REAL *shift, int64_t n)
{
    double norm = 0;
    for (int64_t l = 0; l < n; ++l) {
        const REAL shifted = centroid[l] - shift[l];
        norm += (double)shifted * shifted;
    }
    return (REAL)norm;
}

static void F(pack_centroids)(const void *centroids_, const void *shift_, struct panel *panel)
{
    const REAL *centroids = centroids_, *shift = shift_;
    REAL *c = panel->c, *norms = panel->norms;
    BITS *ids = panel->ids;
    const int64_t n = panel->n;
    const struct F(groups) s = F(split)(panel->K);
    int64_t k0 = 0;
    for (int64_t i = 0; i < s.count; ++i) {
        const int w = s.width + (i < s.wider);
        for (int g = 0; g < w; ++g) {
            const int64_t k = k0 + g;
            for (int64_t l = 0; l < n; ++l) c[k0 * n + l * w + g] = -2 * (centroids[k * n + l] - shift[l]);
            norms[k] = F(squared_norm)(centroids + k * n, shift, n);
            ids[k] = (BITS)k;
        }
        k0 += w;
    }
}
