/* The kernels: one table of functions for each instruction set and computing dtype.
 *
 * Words and layouts. The kernels rely on these and check none of them.
 *   value   a number in the computing dtype: float32 (itemsize 4) or float64 (itemsize 8).
 *   rows    `count` points of n values each, `stride` values apart (stride >= n). Up to ROW_PADDING
 *           values after the end of the last row may be read; they are ignored.
 *   columns points stored feature by feature: columns[l * stride + i] is feature l of point i.
 *   shift   n values that are subtracted from points and centroids alike, so that an offset common to
 *           all points costs no digits.
 *   tiles   blocks of `tile` points, one point per SIMD lane: tiles[t][l][p] is feature l of point
 *           t * tile + p, minus the shift. Missing points of the last tile are zeros.
 *   panel   the centroids minus the shift, times -2, interleaved in groups of at most `max_group`:
 *           c[k0 * n + l * w + g] is feature l of centroid k0 + g in a group of w centroids that
 *           starts at k0. Widths differ by at most one, wider groups come first.
 *   wide    float64 rows padded with zeros to wide_stride(n) values.
 *   list    a candidate list: see cells_body.h.
 *
 * Buffers are marked IN, OUT or INOUT and do not overlap, unless a contract says otherwise.
 *
 * Definition of a label. The score of (point, centroid) starts at the centroid's squared norm and
 * takes one multiply-add per feature, in rising order of features (fused on every instruction set
 * but the baseline). The lowest score wins; among equal scores the lowest index wins.
 */
#ifndef CKMEANS_KERNELS_H
#define CKMEANS_KERNELS_H
#include <stdint.h>

#include "codes.h"
#include "sparse.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define ALWAYS_INLINE __forceinline
#define UNROLL
#define PREFETCH(p) ((void)(p))
#elif defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif
#ifndef PREFETCH
#define PREFETCH(p) __builtin_prefetch(p)
#endif

/* Index of the lowest set bit; `bits` is not 0. */
static ALWAYS_INLINE int lowest_bit(unsigned bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long index;
    _BitScanForward(&index, bits);
    return (int)index;
#else
    return __builtin_ctz(bits);
#endif
}

static ALWAYS_INLINE int count_bits(unsigned bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    int count = 0;
    for (; bits; bits &= bits - 1) ++count;
    return count;
#else
    return __builtin_popcount(bits);
#endif
}

enum {
    WIDE_LANES = 8,               /* doubles of a `wide`: one AVX-512 register */
    ROW_PADDING = WIDE_LANES - 1, /* a row's last values are loaded as a whole `wide` */
    MAX_TILE = 32,                /* points of a tile: hit.points has one bit for each */
    LEAF = 32,                    /* points of a leaf of the k-d tree; a multiple of every tile */
    MAX_TREE_FEATURES = 8         /* of a k-d tree: a point's offsets fit one `wide` */
};

/* Values in a row of `n` float64 numbers that is padded to whole `wide`s. */
static inline int64_t wide_stride(int64_t n) { return (n + WIDE_LANES - 1) / WIDE_LANES * WIDE_LANES; }

/* K centroids of n features, packed for `assign` and `project`. */
struct panel {
    int64_t K, n;
    void *c;     /* K * n values, interleaved as above */
    void *norms; /* K squared norms of the centroids minus the shift */
    void *ids;   /* K integers of the computing dtype's size: 0 .. K - 1 */
};

/* Float64 sums of w (x - c) over each cluster, c its centroid and w the weight, and the sum of
 * w |x - c|^2 over all points. Sums about the centroid lose no digits to an offset of the data. */
struct sums {
    double *offsets;               /* K rows of wide_stride(n) */
    double *weights;               /* K; without weights, `accumulate` leaves them alone */
    int64_t *counts;               /* K */
    double square[2 * WIDE_LANES]; /* two accumulators, to be added up lane by lane in order */
};

/* The points of a tile whose score for centroid k is within their bound. */
struct hit {
    int32_t k;
    uint32_t points; /* bit p: point p of the tile */
};

/* A leaf of the k-d tree: LEAF points in columns of stride LEAF. A leaf of fewer points repeats
 * the last one with multiplicity and weight 0. */
struct leaf {
    const void *points;
    const double *multiplicities; /* LEAF: how many rows of X each point stands for */
    const double *weights;        /* LEAF: their summed weights; NULL: equal to the multiplicities */
    int unweighted;               /* 1: all multiplicities are 1, and weights is NULL */
    int32_t *labels;              /* LEAF */
};

struct kernels {
    const char *name; /* of the instruction set */
    const char *compiler;
    int itemsize;     /* of the computing dtype in bytes: 4 or 8 */
    int tile;         /* points of a tile, at most MAX_TILE */
    int max_group;    /* centroids of a group in a panel */
    int max_features; /* that `assign` scores in one pass; beyond, it needs `partial` */
    int list_block;   /* candidates of a block in a list */

    /* ---- pack_body.h ---- */

    /* Packs rows into tiles.
     * IN rows, shift; OUT tiles. Returns the bits of the largest |value| of the rows (max_abs_bits):
     * at least the bits of infinity if any value is infinite or NaN. */
    uint64_t (*pack)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift, void *tiles);

    /* Multiplies rows by their factors, which are values.
     * IN rows, factors (count); OUT scaled (count contiguous rows), which may be the rows themselves. */
    void (*scale_rows)(const void *rows, int64_t stride, int64_t count, int64_t n, const double *factors, void *scaled);

    /* Packs centroids into a panel.
     * IN centroids (K contiguous rows), shift, panel->K, panel->n; OUT the arrays of panel, which
     * the caller has allocated. */
    void (*pack_centroids)(const void *centroids, const void *shift, struct panel *panel);

    /* ---- assign_body.h ---- */

    /* Finds each point's label.
     * IN tiles, panel; OUT scores, ids (ntiles * tile each): the lowest score and its centroid's
     * index, an integer of the computing dtype's size. SCRATCH partial: K * tile values if
     * n > max_features, else unused. */
    void (*assign)(const void *tiles, int64_t ntiles, const struct panel *panel, void *scores, void *ids,
                   void *partial);

    /* ---- assign_rows_body.h: few centroids, straight from the rows ---- */

    /* Returns how many values `packed` takes, or 0 if these K and n are not supported. */
    int64_t (*assign_rows_size)(int64_t K, int64_t n);

    /* IN centroids (K contiguous rows), shift; OUT packed. */
    void (*assign_rows_pack)(const void *centroids, const void *shift, int64_t K, int64_t n, void *packed);

    /* Finds the labels that rounding leaves in no doubt.
     * IN rows, packed; OUT ids (count rounded up to whole tiles): as `assign` finds them, except for
     * the rows listed in undecided (room for count + 1); INOUT max_abs_bits: raised to that of the
     * rows. Returns how many rows are undecided. */
    int64_t (*assign_rows)(const void *rows, int64_t stride, int64_t count, int64_t K, int64_t n, const void *packed,
                           void *ids, int32_t *undecided, uint64_t *max_abs_bits);

    /* ---- sums_body.h ---- */

    /* Adds rows to the sums of their clusters.
     * IN rows, labels, weights (count; NULL: 1), centroids (rows); INOUT sums: only `square` if sums->offsets
     * is NULL. */
    void (*accumulate)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                       const double *weights, const void *centroids, struct sums *sums);

    /* IN rows, labels, centroids (rows); OUT squared (count): squared distance of each row to its centroid. */
    void (*distances)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                      const void *centroids, double *squared);

    /* IN values (count), weights (count; NULL: 1). Returns the weighted sum of the values. */
    double (*weighted_sum)(const void *values, const double *weights, int64_t count);

    /* ---- seed_body.h ---- */

    /* k-means++: updates each point's squared distance to its nearest centre, for each of several
     * trial centres apart.
     * IN tiles, centres (`trials` contiguous rows, minus the tiles' shift), current (ntiles * tile
     * squared distances; NULL: infinity); OUT updated (trials rows of ntiles * tile): the smaller of
     * current and the squared distance to the trial. */
    void (*min_distance_update)(const void *tiles, int64_t ntiles, int64_t n, const void *centres, int64_t trials,
                                const void *current, void *updated);

    /* ---- screen_body.h ---- */

    /* Projects points on directions.
     * IN tiles of n features, panel of directions (packed like centroids, without a shift); OUT
     * products: tiles of panel->K features, one tile every tile_features features. Each product is
     * the result of at most 66 + n / 64 consecutive roundings. */
    void (*project)(const void *tiles, int64_t ntiles, const struct panel *panel, int64_t tile_features,
                    void *products);

    /* IN rows, centroids (K contiguous rows), row, k (count each): pairs of a row and a centroid; OUT
     * squared (count): their squared distances, with a relative error of at most
     * n / LANES + 2 LANES + 8 roundings (LANES: values of a vector, at most 16). */
    void (*pair_distances)(const void *rows, int64_t stride, int64_t n, const void *centroids, const int32_t *row,
                           const int32_t *k, int64_t count, void *squared);

    /* ---- quantise_body.h ---- */

    /* Quantises rows to 8 bits.
     * IN rows, shift; code_max: the largest magnitude of a code; factor: the power of two by which float32 numbers about y are scaled, 1 for float32; margin: r
     * for each unit of |y|. OUT to (count rows): codes of y, the row minus the shift; |y|^2 (not scaled) with a relative
     * error of at most 80 roundings. Returns the bits of the largest |value| of the rows. */
    uint64_t (*quantise)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift, double factor,
                         double margin, int code_max, const struct code_rows *to);

    /* ---- wide_body.h ---- */

    /* Gram-Schmidt orthonormalisation, each row against those before it.
     * INOUT rows (count contiguous rows of n float64 values); a row that depends linearly on those
     * before it becomes zero. */
    void (*orthonormalise)(double *rows, int64_t count, int64_t n);

    /* ---- cells_body.h: cells of the k-d tree against candidates; n <= MAX_TREE_FEATURES ----
     * A list of up to K candidates takes K / list_block + 1 blocks of (n + 2) * list_block values. */

    /* IN centroids (K contiguous rows), shift; OUT list: all centroids. */
    void (*init_candidates)(const void *centroids, const void *shift, int64_t K, int64_t n, void *list);

    /* Drops the candidates that are no point's label anywhere in a cell.
     * IN list of `count` candidates, edges (n lower ones, then n upper ones), shift; OUT kept: a list.
     * Returns how many candidates are kept, at least 1. */
    int64_t (*prune)(const void *list, int64_t count, const void *edges, const void *shift, int64_t n, void *kept);

    /* Labels the points of a leaf and adds them to the sums.
     * IN list of the leaf's candidates, shift, centroids (wide); INOUT leaf->labels, sums. Returns how
     * many rows of X (points times multiplicity) changed their label. */
    int64_t (*assign_leaf)(const struct leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                           const double *centroids, struct sums *sums);

    /* ---- kdtree_body.h: building the k-d tree ---- */

    /* Splits points in two along the feature with the widest range.
     * IN columns, ids (count); OUT to (columns of the same stride), to_ids (count): the same points,
     * first the n_left that are lowest along that feature; value: the highest of these there. SCRATCH
     * keys, places: count + 1 values and integers. Returns the feature, or -1 if all points are equal
     * (value is not written then). */
    int64_t (*median_partition)(const void *columns, const int32_t *ids, int64_t stride, int64_t count, int64_t n,
                                int64_t n_left, void *to, int32_t *to_ids, void *value, void *keys, int32_t *places);

    /* Fills a leaf and computes its bounding box and sums.
     * IN columns of `count` points (1 to LEAF), weights (LEAF; NULL: 1); OUT points (a leaf's columns);
     * edges: n lower edges, n upper edges, the mean m rounded to values; sums (n + 2): n sums of
     * w (x - m), the sum of w |x - m|^2, the sum of w. */
    void (*fill_leaf)(const void *columns, int64_t stride, int64_t count, int64_t n, const double *weights,
                      void *points, void *edges, double *sums);

    /* Sends rows down a complete binary tree of `depth` levels whose node j has the children 2 j + 1
     * and 2 j + 2; rows whose feature[j] is above value[j] go right.
     * IN rows, feature, value (2^depth - 1 each); OUT bucket (count): the index of each row's leaf,
     * from the left. */
    void (*classify)(const void *rows, int64_t stride, int64_t count, int depth, const int32_t *feature,
                     const void *value, int32_t *bucket);

    const struct sparse_kernels *sparse;
};

#endif
