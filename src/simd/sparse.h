/* Kernels for sparse rows and dense centroids: a part of each table of kernels.
 *
 * A nonzero of a row concerns one feature of every centroid, so the centroids lie in the SIMD lanes.
 * Layout of a panel here: K is rounded up to whole vectors of `lanes` centroids, and the vectors are
 * split into as few groups of at most 8 as hold them, of widths that differ by at most one, wider
 * ones first. In a group of w vectors that starts at vector v0, c[v0 * lanes * n + l * w * lanes + i]
 * is feature l of centroid v0 * lanes + i. The norms of missing centroids are infinite.
 *
 * A score is that of the dense kernels without a shift: features at which a row is zero would add
 * nothing to it. X is CSR in the computing dtype with sorted column indices (SOURCE_SORTED).
 */
#ifndef CKMEANS_SPARSE_H
#define CKMEANS_SPARSE_H
#include "source.h"

struct panel;

struct sparse_kernels {
    int lanes; /* centroids of a vector */

    /* Returns the number of groups for K centroids. */
    int64_t (*groups)(int64_t K);

    /* Packs one group.
     * IN centroids (K contiguous rows of n values), scale, norms (K squared norms; NULL: panel->norms
     * are left alone); OUT that group of panel: the centroids times scale, norms, ids. The arrays of
     * panel have room for K rounded up to whole vectors. */
    void (*pack)(const void *centroids, double scale, const double *norms, int64_t group, struct panel *panel);

    /* Labels rows first .. first + count - 1.
     * IN X, panel of scale -2; INOUT labels (count); SCRATCH scores (count values), ids (count).
     * Returns how many labels changed. */
    int64_t (*assign)(const struct source *X, int64_t first, int64_t count, const struct panel *panel, void *scores,
                      int32_t *ids, int32_t *labels);

    /* Computes the norms that min_distance_update needs.
     * INOUT panel of scale 1: OUT its norms. */
    void (*norms)(struct panel *panel);

    /* k-means++: updates the squared distances of rows first .. first + count - 1 to their nearest
     * centre, for each of panel->K trial centres apart.
     * IN X, panel of scale 1, current (count values; NULL: infinity); OUT
     * updated[trial * length + row - first]: the smaller of current and the squared distance. */
    void (*min_distance_update)(const struct source *X, int64_t first, int64_t count, const struct panel *panel,
                                const void *current, int64_t length, void *updated);

    /* Returns the squared distance of a row to a centroid.
     * IN X, centroid (n float64 values), its squared norm. */
    double (*squared_distance)(const struct source *X, int64_t row, const double *centroid, double norm);

    /* Adds rows of one cluster to its sum.
     * IN X, rows (count indices), weights of all rows (NULL: 1), centroid (n float64 values), its squared
     * norm; INOUT sums (n; NULL: not asked for); OUT squared[row]: their squared distances (NULL: not
     * asked for). Returns the weighted sum of the squared distances. */
    double (*accumulate)(const struct source *X, const int64_t *rows, int64_t count, const double *weights,
                         const double *centroid, double norm, double *sums, double *squared);

    /* Adds and removes rows.
     * IN X, moves (count): the index of a row to be added, or the complement (~) of that of a row to be
     * subtracted; INOUT sums (n). */
    void (*apply_moves)(const struct source *X, const int64_t *moves, int64_t count, double *sums);

    /* Returns the sum of the squares of all values of rows first .. first + count - 1. IN X. */
    double (*sum_of_squares)(const struct source *X, int64_t first, int64_t count);
};

#endif
