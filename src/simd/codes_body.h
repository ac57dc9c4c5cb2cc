/* Bounds by 8-bit codes, once for every instruction set. The includer has included its vocabulary of floats, and defines
 * that of integers, vectors of f32_LANES words of four codes:
 *   i32_VECS, i32_GROUP     accumulators: i32_GROUP centroids by i32_VECS vectors of points
 *   i32_OFFSET              what is added to the codes of points: 128 where products take unsigned bytes, else 0
 *   i32_CENTROID_MAX        largest magnitude of the codes of centroids with which no sum overflows
 *   i32_load, i32_load_first(words, count), i32_set1, i32_sum_lanes, i32_to_f32
 *   i32_offset_codes(x)     the codes of points with the offset added
 *   i32_dot(sum, x, c)      adds the products of the codes in each word; x has the offset added
 * and CODES_NAME, the name of the instructions, CODES_COST (see codes.h) and CODES(name), the name of a function here. Contracts are in codes.h. */
#include <math.h>
#include <string.h>

enum {
    CODES(SPAN) = (int)f32_LANES * (int)i32_VECS, /* points at a time */
    CODES(GROUP) = i32_GROUP
};
typedef char CODES(tile_fits)[(int)CODE_TILE % (int)CODES(SPAN) == 0 && (int)i32_GROUP <= (int)CODE_GROUP_MAX ? 1 : -1];

enum { CODES(COLUMNS) = 64 }; /* words of a row that are transposed together, by way of a copy */

/* The words of a copy of COLUMNS words of all points, `here` of which there are, into a tile. */
static ALWAYS_INLINE void CODES(transpose)(const float *rows, int64_t here, float *tile)
{
    int64_t l = 0;
#ifndef CODES_SCALAR
    for (; l + 4 <= here; l += 4) {
        for (int p = 0; p < CODE_TILE; p += f32_LANES) {
            f32_vec r[4];
            UNROLL
            for (int j = 0; j < 4; ++j)
                r[j] = f32_load_quads(rows + (p + j) * CODES(COLUMNS) + l, 4 * CODES(COLUMNS));
            f32_transpose_quads(r);
            UNROLL
            for (int j = 0; j < 4; ++j) f32_store(tile + (l + j) * CODE_TILE + p, r[j]);
        }
    }
#endif
    for (; l < here; ++l) {
        for (int p = 0; p < CODE_TILE; ++p)
            memcpy(tile + l * CODE_TILE + p, rows + p * CODES(COLUMNS) + l, sizeof(float)); /* bits, not a number */
    }
}

static void CODES(pack_points)(const int8_t *codes, int64_t stride, const int32_t *row, int64_t words, int32_t *tile)
{
    int32_t copy[CODE_TILE * CODES(COLUMNS)];
    for (int64_t l = 0; l < words; l += CODES(COLUMNS)) {
        const int64_t here = words - l < CODES(COLUMNS) ? words - l : CODES(COLUMNS);
        for (int p = 0; p < CODE_TILE; ++p) {
            int32_t *const to = copy + p * CODES(COLUMNS);
            memcpy(to, codes + row[p] * stride + 4 * l, (size_t)here * sizeof(int32_t));
            for (int64_t i = 0; i < here; ++i) to[i] ^= i32_OFFSET ? (int32_t)0x80808080u : 0;
        }
        CODES(transpose)((const float *)copy, here, (float *)(tile + l * CODE_TILE));
    }
}

static void CODES(pack_centroids)(const int8_t *codes, int64_t stride, const int32_t *k, struct code_panel *panel)
{
    enum { G = i32_GROUP };
    int32_t *to = panel->codes;
    for (int64_t k0 = 0; k0 < panel->K; k0 += G, to += G * panel->words) {
        for (int g = 0; g < G; ++g) {
            /* The last group is filled up with the last centroid; its hits are not listed. */
            const int64_t i = k0 + g < panel->K ? k0 + g : panel->K - 1;
            const int8_t *const from = codes + (k ? k[i] : i) * stride;
            int32_t sum = 0;
            for (int64_t l = 0; l < panel->words; ++l) memcpy(to + l * G + g, from + 4 * l, 4);
            for (int64_t l = 0; l < 4 * panel->words; ++l) sum += from[l];
            panel->starts[k0 + g] = -i32_OFFSET * sum;
        }
    }
}

/* The products of GROUP centroids and SPAN points of a tile. The accumulators are a copy of their own: gcc keeps those
 * in registers. */
static ALWAYS_INLINE void CODES(multiply)(const int32_t *x, const int32_t *c, int64_t words, const int32_t *starts,
                                          i32_vec products[i32_GROUP][i32_VECS])
{
    i32_vec sum[i32_GROUP][i32_VECS];
    UNROLL
    for (int g = 0; g < i32_GROUP; ++g) {
        UNROLL
        for (int v = 0; v < i32_VECS; ++v) sum[g][v] = i32_set1(starts[g]);
    }
    for (int64_t l = 0; l < words; ++l, x += CODE_TILE, c += i32_GROUP) {
        i32_vec xv[i32_VECS];
        UNROLL
        for (int v = 0; v < i32_VECS; ++v) xv[v] = i32_load(x + v * f32_LANES);
        UNROLL
        for (int g = 0; g < i32_GROUP; ++g) {
            const i32_vec cg = i32_set1(c[g]);
            UNROLL
            for (int v = 0; v < i32_VECS; ++v) sum[g][v] = i32_dot(sum[g][v], xv[v], cg);
        }
    }
    UNROLL
    for (int g = 0; g < i32_GROUP; ++g) {
        UNROLL
        for (int v = 0; v < i32_VECS; ++v) products[g][v] = sum[g][v];
    }
}

/* The bounds of a group's scores for SPAN points from `at` on. OUT scores, points (one bit for each within its bound). */
static ALWAYS_INLINE void CODES(bound_group)(struct code_tile *tile, const struct code_panel *panel, int64_t k0, int at,
                                             i32_vec sum[i32_GROUP][i32_VECS], float *scores, uint32_t *points)
{
    UNROLL
    for (int v = 0; v < i32_VECS; ++v) {
        const int p = at + v * f32_LANES;
        const f32_vec scale = f32_load(tile->scale + p), length = f32_load(tile->length + p);
        const f32_vec error = f32_load(tile->error + p), residual = f32_load(tile->residual + p);
        const f32_vec slack = f32_load(tile->slack + p);
        f32_vec bound = f32_load(tile->bound + p), lowest = f32_load(tile->lowest_above + p);
        UNROLL
        for (int g = 0; g < i32_GROUP; ++g) {
            const int64_t k = k0 + g;
            const f32_vec factor = f32_fma(scale, f32_set1(panel->scales[k]), f32_set1(0));
            const f32_vec score = f32_fma(i32_to_f32(sum[g][v]), factor, f32_set1(panel->norms[k]));
            f32_vec lost = f32_fma(length, f32_set1(panel->errors[k]), f32_set1(0));
            lost = f32_fma(error, f32_set1(panel->lengths[k]), lost);
            lost = f32_fma(residual, f32_set1(panel->residuals[k]), lost);
            const f32_vec low = f32_sub(score, lost), limit = f32_add(bound, slack);
            f32_store(scores + g * CODE_TILE + p, score);
            points[g] |= f32_not_greater(low, limit) << p;
            lowest = f32_min_if_greater(low, limit, lowest);
            bound = f32_min(f32_add(f32_add(score, lost), f32_set1(panel->gaps[k])), bound);
        }
        f32_store(tile->bound + p, bound);
        f32_store(tile->lowest_above + p, lowest);
    }
}

static int64_t CODES(screen)(struct code_tile *tile, const struct code_panel *panel, struct hit *hits, float *scores)
{
    enum { G = i32_GROUP };
    int64_t count = 0;
    for (int p = 0; p < CODE_TILE; ++p) tile->lowest_above[p] = INFINITY;
    for (int64_t k0 = 0; k0 < panel->K; k0 += G) {
        float group[G * CODE_TILE];
        uint32_t points[G] = { 0 };
        for (int at = 0; at < CODE_TILE; at += CODES(SPAN)) {
            i32_vec sum[i32_GROUP][i32_VECS];
            CODES(multiply)(tile->words + at, panel->codes + k0 * panel->words, panel->words, panel->starts + k0, sum);
            CODES(bound_group)(tile, panel, k0, at, sum, group, points);
        }
        for (int g = 0; g < G; ++g) {
            if (!points[g] || k0 + g >= panel->K) continue;
            hits[count].k = (int32_t)(k0 + g);
            hits[count].points = points[g];
            memcpy(scores + count++ * CODE_TILE, group + g * CODE_TILE, CODE_TILE * sizeof(float));
        }
    }
    return count;
}

static void CODES(products)(const struct code_rows *points, const struct code_rows *centroids, const int32_t *sums,
                            int64_t words, const int32_t *row, const int32_t *k, int64_t count, int32_t *products)
{
    enum { L = f32_LANES };
    for (int64_t i = 0; i < count; ++i) {
        const int8_t *x = points->codes + row[i] * points->stride, *c = centroids->codes + k[i] * centroids->stride;
        i32_vec even = i32_set1(0), odd = even;
        int64_t l = 0;
        for (; l + 2 * L <= words; l += 2 * L, x += 8 * L, c += 8 * L) {
            even = i32_dot(even, i32_offset_codes(i32_load((const int32_t *)x)), i32_load((const int32_t *)c));
            odd = i32_dot(odd, i32_offset_codes(i32_load((const int32_t *)(x + 4 * L))),
                          i32_load((const int32_t *)(c + 4 * L)));
        }
        for (; l < words; l += L, x += 4 * L, c += 4 * L) {
            const int here = words - l < L ? (int)(words - l) : L;
            odd = i32_dot(odd, i32_offset_codes(i32_load_first((const int32_t *)x, here)),
                          i32_load_first((const int32_t *)c, here));
        }
        products[i] = i32_sum_lanes(even) + i32_sum_lanes(odd) - i32_OFFSET * sums[k[i]];
    }
}

static const struct code_kernels CODES(kernels) = {
    .name = CODES_NAME,
    .group = i32_GROUP,
    .centroid_max = i32_CENTROID_MAX,
    .cost = CODES_COST,
    .pack_points = CODES(pack_points),
    .pack_centroids = CODES(pack_centroids),
    .screen = CODES(screen),
    .products = CODES(products),
};
