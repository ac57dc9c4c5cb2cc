/* The kernels of one instruction set for one computing dtype. The includer defines
 *   REAL, BITS     the computing dtype and the unsigned integer of its size
 *   V(name)        the vector vocabulary: f32_name or f64_name
 *   WIDE(name)     its conversions to `wide`: wide_name_f32 or wide_name_f64
 *   F(name)        the name of a function here
 * Layouts and contracts are in kernels.h. Everything is static but the table's accessor: no code
 * that was compiled for an instruction set may be reachable before the dispatch has chosen it. */

enum {
    F(TILE) = (int)V(LANES) * (int)V(TILE_VECS),
    F(L1) = 24 * 1024 / (int)sizeof(REAL),  /* values that stay in an L1 cache of 32 KiB beside the accumulators */
    F(MAX_FEATURES) = F(L1) / F(TILE)       /* features of a tile that do */
};
typedef char F(tile_fits)[(int)F(TILE) <= (int)MAX_TILE && LEAF % F(TILE) == 0 ? 1 : -1];

#include "pack_body.h"
#include "assign_body.h"
#include "assign_rows_body.h"
#include "sums_body.h"
#include "seed_body.h"
#include "screen_body.h"
#include "quantise_body.h"
#include "cells_body.h"
#include "kdtree_body.h"
#include "sparse_body.h"

static const struct kernels F(kernels) = {
    .name = VEC_NAME,
    .compiler = COMPILER,
    .itemsize = sizeof(REAL),
    .tile = F(TILE),
    .max_group = V(GROUP),
    .max_features = F(MAX_FEATURES),
    .list_block = V(LANES),
    .pack = F(pack),
    .scale_rows = F(scale_rows),
    .pack_centroids = F(pack_centroids),
    .assign = F(assign),
    .assign_rows_size = F(assign_rows_size),
    .assign_rows_pack = F(assign_rows_pack),
    .assign_rows = F(assign_rows),
    .accumulate = F(accumulate),
    .distances = F(distances),
    .weighted_sum = F(weighted_sum),
    .min_distance_update = F(min_distance_update),
    .project = F(project),
    .pair_distances = F(pair_distances),
    .quantise = F(quantise),
    .orthonormalise = orthonormalise,
    .init_candidates = F(init_candidates),
    .prune = F(prune),
    .assign_leaf = F(assign_leaf),
    .median_partition = F(median_partition),
    .fill_leaf = F(fill_leaf),
    .classify = F(classify),
    .sparse = &F(sparse_kernels),
};
