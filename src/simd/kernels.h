/* The kernels, as a table of functions: one table an instruction set and dtype.
 *
 * Layouts, assumed by everything below and checked nowhere:
 *   rows    `count` rows of n values in the computing dtype, `stride` values apart (at least n).
 *           Up to 7 values beyond the end of the last row may be read, and are ignored.
 *   tiles   `tile` points side by side in the SIMD lanes, features first: tiles[t][l][p] is
 *           feature l of point t * tile + p, minus the shift. Missing points are zeros.
 *   panel   the centroids minus the shift, times -2, in groups of at most `group`, interleaved:
 *           c[k0 * n + l * w + g] is feature l of centroid k0 + g, where the group starts at
 *           k0 and holds w centroids. Widths differ by at most one, the wider groups first.
 *   wide    float64 rows padded with zeros to `wide_stride(n)` values, a multiple of 8.
 *
 * A label has one definition: the score of (point, centroid) starts at the centroid's squared
 * norm and takes one fused multiply-add a feature, in rising order; the lowest score wins, and
 * among equal scores the lowest index.
 */
#ifndef CKMEANS_KERNELS_H
#define CKMEANS_KERNELS_H
#include <stdint.h>

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

static ALWAYS_INLINE int lowest_bit(unsigned bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long place;
    _BitScanForward(&place, bits);
    return (int)place;
#else
    return __builtin_ctz(bits);
#endif
}

static ALWAYS_INLINE int bits_in(unsigned bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    int count = 0;
    for (; bits; bits &= bits - 1) ++count;
    return count;
#else
    return __builtin_popcount(bits);
#endif
}

struct panel {
    int64_t K, n;
    void *c;      /* K * n values in the computing dtype */
    void *norms;  /* K squared norms */
    void *ids;    /* K integers as wide as the computing dtype */
};

/* Float64 sums of (x - c) over each centroid's points, c the centroid they are assigned to,
 * and of its square over all of them. Sums about the centroid lose no digits to an offset. */
struct sums {
    double *offsets;   /* K rows of wide_stride(n) */
    double *weights;   /* K */
    int64_t *counts;   /* K */
    double square[16]; /* two accumulators of 8 lanes */
};

/* The points of a tile (one bit each) that a screening could not tell from centroid k's. */
struct hit {
    int32_t k;
    uint32_t points;
};

/* A box of at most LEAF points in columns: feature l of point p is points[l * LEAF + p]. */
enum { LEAF = 32 };

struct leaf {
    const void *points;
    const double *numbers; /* how many original points each stands for; 0: none, a repetition of the last */
    const double *weights; /* of each; NULL: as many as the numbers */
    int plain;             /* all numbers are 1, and there are no weights */
    int32_t *labels;
};

struct kernels {
    const char *name; /* the instruction set */
    int itemsize;     /* of the computing dtype: 4 or 8 */
    int tile;         /* points in a tile */
    int group;        /* most centroids in a group */
    int features;     /* most features that `assign` takes in one go */

    /* IN rows, shift; OUT tiles. Returns the largest |value| as bits: at or over every NaN and
     * infinity lies the bit pattern of infinity. */
    uint64_t (*pack)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift, void *tiles);

    /* IN centroids (K rows of n values), shift; OUT panel (its arrays are the caller's). */
    void (*pack_centroids)(const void *centroids, const void *shift, struct panel *panel);

    /* IN tiles, panel; OUT the lowest score of each point and its centroid's index (an integer
     * as wide as the computing dtype). `partial`: room for K * tile values where n > features. */
    void (*assign)(const void *tiles, int64_t ntiles, const struct panel *panel, void *scores, void *ids,
                   void *partial);

    /* IN rows, labels, weights (NULL: 1), centroids (wide); INOUT sums: where their offsets are NULL,
     * the squares alone. */
    void (*accumulate)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                       const double *weights, const double *centroids, struct sums *sums);

    /* IN rows, labels, centroids (wide); OUT the squared distance of each row to its centroid. */
    void (*distances)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                      const double *centroids, double *squared);

    /* IN tiles, `trials` centres (rows of n values, minus the tiles' shift), nearest (NULL:
     * infinity); OUT closer[trial][ntiles * tile]: the smaller of nearest and the squared
     * distance to the trial. */
    void (*relax)(const void *tiles, int64_t ntiles, int64_t n, const void *centres, int64_t trials,
                  const void *nearest, void *closer);

    /* IN `count` values in the computing dtype, weights (NULL: 1). Returns their weighted sum. */
    double (*total)(const void *values, const double *weights, int64_t count);

    /* Boxes against candidates: cells_body.h. A list takes K / list_block + 1 blocks of
     * (n + 2) * list_block values; n is at most 8. */
    int list_block;

    /* IN centroids (K rows of n values), shift; OUT the list of them all. */
    void (*list_all)(const void *centroids, const void *shift, int64_t K, int64_t n, void *list);

    /* IN a list of `count` candidates, edges of a box (n low ones, n high ones), shift; OUT kept:
     * those of them that may be the label of a point of the box. Returns how many they are. */
    int64_t (*prune)(const void *list, int64_t count, const void *edges, const void *shift, int64_t n, void *kept);

    /* IN the candidates of a leaf, shift, centroids (wide); INOUT the leaf's labels, sums. Returns
     * how many original points changed their label. */
    int64_t (*settle)(const struct leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                      const double *centroids, struct sums *sums);

    /* Ordering: order_body.h. */
    int64_t (*halve)(const void *columns, const int32_t *ids, int64_t stride, int64_t count, int64_t n, int64_t left,
                     void *to, int32_t *to_ids, void *value, void *keys, int32_t *places);
    void (*fill_leaf)(const void *columns, int64_t stride, int64_t count, int64_t n, const double *weights,
                      void *points, void *edges, double *sums);
    void (*classify)(const void *rows, int64_t stride, int64_t count, int depth, const int32_t *feature,
                     const void *value, int32_t *bucket);

    /* IN tiles, panel of directions (packed as centroids are, with no shift), both of n features;
     * OUT tiles of panel->K features, `room` features apart: the products of points and directions.
     * Rounding: at most 66 + n / 64 operations deep. */
    void (*project)(const void *tiles, int64_t ntiles, const struct panel *panel, int64_t room, void *products);

    /* IN one tile, panel, a bound for each point; OUT those of the K centroids whose score is not
     * above some point's bound, rising, and each point's lowest score above its bound (infinity: none).
     * Returns how many hits there are. */
    int64_t (*screen)(const void *tile, const struct panel *panel, const void *bounds, struct hit *hits,
                      void *least);

    /* IN tiles of n features, a point's number; OUT that point as point p of a tile. */
    void (*pick)(const void *tiles, int64_t point, int64_t n, int64_t p, void *tile);

    /* IN rows, centroids (K rows of n values), `count` pairs of a row and a centroid; OUT their squared
     * distances, with a relative error of at most n / LANES + 2 LANES + 8 roundings. */
    void (*pairs)(const void *rows, int64_t stride, int64_t n, const void *centroids, const int32_t *row,
                  const int32_t *k, int64_t count, void *squared);

    /* INOUT `count` rows of n values (float64): made orthonormal, each within those up to it; a row
     * that depends on those before it becomes zero. */
    void (*orthonormalise)(double *rows, int64_t count, int64_t n);

    /* Few centroids, straight from the rows: few_body.h. How many values `few` takes; 0: they are not
     * few, or the features are. */
    int64_t (*few_room)(int64_t K, int64_t n);

    /* IN centroids (K rows of n values), shift; OUT few. */
    void (*few_pack)(const void *centroids, const void *shift, int64_t K, int64_t n, void *few);

    /* IN rows, few; OUT the index of each row's centroid as `assign` has it (room for `count` rounded up
     * to a tile), except for the rows whose numbers are in doubtful (room for one more than `count`);
     * INOUT most, as `pack` has it. Returns how many rows are in doubt. */
    int64_t (*few_assign)(const void *rows, int64_t stride, int64_t count, int64_t K, int64_t n, const void *few,
                          void *ids, int32_t *doubtful, uint64_t *most);

    const struct sparse_kernels *sparse;
};

static inline int64_t wide_stride(int64_t n) { return (n + 7) / 8 * 8; }

#endif
