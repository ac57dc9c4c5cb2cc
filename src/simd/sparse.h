/* Kernels for sparse rows and dense centroids: a part of each table of kernels.
 *
 * A nonzero of a row touches one feature of every centroid, so the centroids lie in the SIMD
 * lanes, feature by feature. Layout of a panel here: K is rounded up to whole vectors, the vectors
 * are cut into groups of at most 8, each as good as equal, the wider ones first; in a group of w
 * vectors that starts at vector v0, c[v0 * LANES * n + l * w * LANES + i] is feature l of centroid
 * v0 * LANES + i. The norms of the missing centroids are infinite.
 *
 * The score is that of the dense kernels without a shift: the features that a row lacks would add
 * nothing to it. The rows of `source` are sparse, in the computing dtype, their columns rising.
 */
#ifndef CKMEANS_SPARSE_H
#define CKMEANS_SPARSE_H
#include "source.h"

struct panel;

struct sparse_kernels {
    int lanes;

    int64_t (*groups)(int64_t K);

    /* IN centroids (K rows of n values), scale, their squared norms (NULL: not now); OUT one group
     * of the panel: the centroids times scale, norms, ids. */
    void (*pack)(const void *centroids, double scale, const double *norms, int64_t group, struct panel *panel);

    /* IN rows first .. first + count - 1, panel of scale -2; INOUT labels; scores and ids are
     * scratch of `count` values each. Returns how many labels changed. */
    int64_t (*assign)(const struct source *X, int64_t first, int64_t count, const struct panel *panel, void *scores,
                      int32_t *ids, int32_t *labels);

    /* INOUT panel of scale 1: its norms as `relax` wants them. */
    void (*norms)(struct panel *panel);

    /* IN as above, panel of scale 1 with K trials, nearest (NULL: infinity); OUT
     * closer[trial * length + row - first]: the smaller of nearest and the squared distance. */
    void (*relax)(const struct source *X, int64_t first, int64_t count, const struct panel *panel,
                  const void *nearest, int64_t length, void *closer);

    /* The squared distance of a row to a centroid in float64, given its squared norm. */
    double (*squared)(const struct source *X, int64_t row, const double *centroid, double norm);

    /* IN the numbers of `count` rows, weights (NULL: 1), their centroid and its squared norm;
     * INOUT the weighted sum of the rows; OUT squared distances by row (NULL: not asked for).
     * Returns the weighted sum of the squared distances. */
    double (*accumulate)(const struct source *X, const int64_t *rows, int64_t count, const double *weights,
                         const double *centroid, double norm, double *sums, double *squared);

    /* IN `count` moves: the numbers of rows to be added, or ~ those of rows to be taken away; INOUT their sum. */
    void (*move)(const struct source *X, const int64_t *moves, int64_t count, double *sums);

    /* The sum of the squares of all values of rows first .. first + count - 1. */
    double (*squares)(const struct source *X, int64_t first, int64_t count);
};

#endif
