/* 8-bit codes: products of bytes that bound the distances of points and centroids.
 *
 * A vector y of n values is about scale * q with q its codes, n integers of at most 127 in magnitude. With a = |scale q|
 * and e = |y - scale q| (upper bounds on them), for a point x and a centroid c
 *
 *     y_x . y_c <= scale_x scale_c (q_x . q_c) + a_x e_c + e_x |y_c| + r_x r_c
 *
 * by Cauchy and Schwarz, where r_x r_c bounds whatever else the product may lose: rounding, and what a projection leaves
 * out. The product q_x . q_c is exact. It comes to at least the left side with minus for the three terms.
 *
 *   word   four codes of consecutive features: 32 bits. Rows of codes are whole words; missing features are zeros.
 *   tile   CODE_TILE points, one per SIMD lane: words[l][p] holds features 4 l to 4 l + 3 of point p.
 *   panel  centroids, interleaved in groups of `group`: words[k0 / group][l][g] is word l of centroid k0 + g. The last
 *          group is filled up with the last centroid.
 */
#ifndef CKMEANS_CODES_H
#define CKMEANS_CODES_H
#include <stdint.h>

enum {
    CODE_TILE = 32, /* points of a tile: hit.points has one bit for each */
    CODE_MAX = 127,
    CODE_GROUP_MAX = 8,         /* centroids of a group, on any instruction set */
    CODE_FEATURES_MAX = 1 << 16 /* of which products fit 32 bits */
};

/* Of one vector, as above: scale, a, e, r. */
struct code_stats {
    float scale, length, error, residual;
};

/* Codes of many vectors. */
struct code_rows {
    int8_t *codes; /* rows of `stride` bytes, a multiple of 4 */
    int64_t stride;
    struct code_stats *stats;
    double *squares; /* |y|^2 */
};

struct code_tile {
    int32_t *words;
    float scale[CODE_TILE], length[CODE_TILE], error[CODE_TILE], residual[CODE_TILE];
    float bound[CODE_TILE];        /* upper bound on the lowest score; most negative: no point */
    float slack[CODE_TILE];        /* what a lower bound may lie above that, to be listed */
    float lowest_above[CODE_TILE]; /* lowest lower bound that was not listed, or infinity */
};

/* Centroids of one step; floats times 2 where they are factors of a product. */
struct code_panel {
    int64_t K, words;
    int32_t *codes;   /* K rounded up to whole groups, times `words` */
    int32_t *starts;  /* where the sums of products start */
    float *scales;    /* minus 2 scale */
    float *norms;     /* lower bounds on |y|^2 */
    float *gaps;      /* to upper bounds on it */
    float *lengths;   /* 2 |y| */
    float *errors;    /* 2 e */
    float *residuals; /* 2 r */
};

struct hit;

struct code_kernels {
    const char *name; /* of the instructions */
    int group;
    int centroid_max; /* largest magnitude that codes of centroids may have */
    double cost;      /* of a product, in multiply-adds of the dense kernel in float32: tools/calibrate.py */

    /* IN codes, row (CODE_TILE numbers of rows of codes); OUT tile->words. */
    void (*pack_points)(const int8_t *codes, int64_t stride, const int32_t *row, int64_t words, int32_t *tile);

    /* IN codes, k (panel->K numbers of rows of them; NULL: 0, 1, 2 ...); OUT panel->codes, panel->starts. The floats are
     * the caller's, for all places up to a whole group: those of the last centroid again. */
    void (*pack_centroids)(const int8_t *codes, int64_t stride, const int32_t *k, struct code_panel *panel);

    /* Lists the centroids whose score |y_c|^2 - 2 y_x . y_c may be the lowest for some point, or nearly so.
     * IN tile, panel; INOUT tile->bound: lowered to the upper bounds of scores; OUT tile->lowest_above, hits (room for K rounded up to whole groups) in rising
     * order, scores (CODE_TILE for each hit): in the middle between their bounds. Returns the number of hits. */
    int64_t (*screen)(struct code_tile *tile, const struct code_panel *panel, struct hit *hits, float *scores);

    /* IN points, centroids (rows of codes), sums (of each centroid's codes), row, k (count each): pairs of a point and a
     * centroid; OUT products (count): q_x . q_c. */
    void (*products)(const struct code_rows *points, const struct code_rows *centroids, const int32_t *sums,
                     int64_t words, const int32_t *row, const int32_t *k, int64_t count, int32_t *products);
};

#endif
