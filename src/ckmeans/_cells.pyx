"""The engine "cells": the filtering algorithm on a k-d tree, which assigns whole nodes; for few features.

A candidate list, the centroids that may be the closest one of some point of a node, is pruned on the way down the
tree. A node with one candidate left is assigned to it as a whole, and of its data only the stored sums are read. Only
leaves with several candidates are scored, against those, by the operations of the dense engine: labels are
bit-identical (the margin of `prune` covers the rounding). K. Alsabti, S. Ranka and V. Singh, "An efficient k-means
clustering algorithm", 1998; D. Pelleg and A. Moore, "Accelerating exact k-means algorithms with geometric reasoning",
KDD 1999; T. Kanungo et al., "An efficient k-means clustering algorithm: analysis and implementation", IEEE TPAMI 24,
2002.

Labels. Most nodes keep their label from step to step, so labels are kept per node and in the order of the leaves,
with lazy propagation: a node's mark is the label of all its points, or MIXED, and what lies below a node with a label
is out of date until the label is pushed down. Only `cells_store_labels` writes a label for each row.

The result does not depend on the number of threads: chunk i of the tree (a subtree) adds to partial sum i mod P, in
rising order, and the partial sums are added up in order.

Memory beside the tree, in bytes: 80 K for each partial sum (64, or fewer for large K), and for each thread and level
of the tree a list of (n + 2) K itemsize.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport (
    Engine, EngineFactory, PartialSum, Problem, Step, add_partial_sum, clear_cluster, entry_of,
)
from ckmeans._points cimport Rows
from ckmeans._runtime cimport (
    LEAF, MAX_TREE_FEATURES, Poll, allocate, is_stopped, leaf, poll, release, request_threads, threads_for,
)
from ckmeans._shift cimport find_shift
from ckmeans._team cimport Team, begin_step, end_part, end_step, team_of
from ckmeans._values cimport get

include "_kdtree.pxi"

cdef int MIXED = -1                    # mark of a node whose points may differ in their labels
cdef int64_t MIN_CHUNKS = 32           # subtrees that threads share, where there are so many: a few for each
cdef int64_t STRIDE = 8                # values from row to row of float64 rows: n is at most MAX_TREE_FEATURES
cdef int64_t MAX_PARTS = 64            # partial sums while K is small: enough for many threads
cdef int64_t MIN_PARTS = 8             # partial sums however large K is: enough for a few threads
cdef int64_t PART_BYTES = 1 << 20      # of all partial sums together: they stay in the second-level cache
cdef double ROW_WORK = 8               # multiply-adds a row of a step, on average: most rows are assigned with a node

cdef double[64] ONES                   # LEAF ones, then LEAF zeros: multiplicities of the slots of a leaf
cdef int n_ones
for n_ones in range(LEAF):
    ONES[n_ones] = 1


# ---- state of the engine ---------------------------------------------------------------------

# Scratch memory of a thread: a candidate list for each level of the tree.
cdef struct Workspace:
    char *lists
    int64_t *counts          # candidates of each list
    int64_t *parents         # on each level above the chunks, the node that the next level's list was pruned for

cdef struct Cells:
    Engine engine
    const Rows *rows
    Tree *tree
    int64_t K
    int n_threads
    Team team
    int64_t n_parts
    int64_t chunk_level      # the level of the tree whose nodes are the chunks
    int64_t n_levels         # of the whole tree
    size_t list_size         # bytes of a list
    char *shift
    int32_t *unique_labels   # label of each unique point; NULL: the points are not deduplicated
    PartialSum *parts
    Workspace *workspaces


cdef int64_t levels_from(const Tree *tree, int64_t i) noexcept nogil:
    """Return the number of levels of the subtree of node i."""
    cdef const Node *node = &tree.nodes[i]
    cdef int64_t child, deepest = 0
    for child in range(node.first, node.first + node.n_children):
        deepest = max(deepest, levels_from(tree, child))
    return deepest + 1


cdef size_t cells_layout(Cells *c, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef size_t at = (sizeof(Cells) + 63) // 64 * 64
    cdef int64_t K = c.K, i
    cdef PartialSum part
    cdef Workspace work
    memset(&part, 0, sizeof(PartialSum))
    c.shift = <char *>take(memory, &at, STRIDE * sizeof(double))
    c.unique_labels = NULL
    if c.tree.inverse != NULL:
        c.unique_labels = <int32_t *>take(memory, &at, c.tree.n_points * sizeof(int32_t))
    c.parts = <PartialSum *>take(memory, &at, c.n_parts * sizeof(PartialSum))
    c.workspaces = <Workspace *>take(memory, &at, c.n_threads * sizeof(Workspace))
    for i in range(c.n_parts):
        part.sums.offsets = <double *>take(memory, &at, K * STRIDE * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        if memory != NULL:
            c.parts[i] = part
    for i in range(c.n_threads):
        work.lists = <char *>take(memory, &at, (c.n_levels + 1) * c.list_size)
        work.counts = <int64_t *>take(memory, &at, (c.n_levels + 1) * sizeof(int64_t))
        work.parents = <int64_t *>take(memory, &at, (c.n_levels + 1) * sizeof(int64_t))
        if memory != NULL:
            c.workspaces[i] = work
    return at


cdef void set_sizes(Cells *c, int n_threads) noexcept nogil:
    """Choose the chunks, the partial sums and the threads, and find the sizes of the lists."""
    cdef const Tree *tree = c.tree
    cdef int64_t block = c.rows.kernels.list_block
    while c.chunk_level < tree.n_levels - 1 and tree.level_size[c.chunk_level] < MIN_CHUNKS:
        c.chunk_level += 1
    c.n_parts = MAX_PARTS
    while c.n_parts > MIN_PARTS and c.n_parts * c.K * (STRIDE + 2) * <int64_t>sizeof(double) > PART_BYTES:
        c.n_parts //= 2
    c.n_parts = min(c.n_parts, tree.level_size[c.chunk_level])
    c.n_threads = min(threads_for(n_threads, c.rows.m * ROW_WORK), <int>c.n_parts)
    c.team = team_of(c.n_threads)
    c.n_levels = levels_from(tree, 0)
    c.list_size = (c.K + block) // block * block * (c.rows.n + 2) * c.rows.kernels.itemsize
    c.list_size = (c.list_size + 63) // 64 * 64


cdef Engine *cells_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef Tree *tree = <Tree *>problem.index
    cdef Cells draft
    cdef char *memory
    memset(&draft, 0, sizeof(Cells))
    draft.engine.name = CELLS.name
    draft.engine.step = cells_step
    draft.engine.store_labels = cells_store_labels
    draft.engine.close = cells_close
    draft.engine.n_labels = tree.n_leaves * LEAF + tree.n_nodes
    draft.rows, draft.tree, draft.K = problem.rows, tree, K
    set_sizes(&draft, problem.n_threads)
    draft.engine.bytes = cells_layout(&draft, NULL)
    memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        return NULL
    cells_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Cells))
    return <Engine *>memory


cdef void cells_close(Engine *engine) noexcept nogil:
    release(engine)


# ---- labels ----------------------------------------------------------------------------------

# The engine's own labels: one of each slot, then the mark of each node.
cdef inline int32_t *node_marks(const Cells *c, int32_t *own) noexcept nogil:
    return own + c.tree.n_leaves * LEAF


cdef inline double slot_multiplicity(const Tree *tree, int64_t slot) noexcept nogil:
    return 1 if tree.multiplicities == NULL else tree.multiplicities[slot]


cdef int64_t count_others(const Cells *c, const int32_t *own, const int32_t *marks, int64_t i,
                          int32_t label) noexcept nogil:
    """Count the rows of node i that have another label."""
    cdef const Tree *tree = c.tree
    cdef const Node *node = &tree.nodes[i]
    cdef int64_t child, slot, first_slot, n_others = 0
    cdef double leaf_others = 0
    if marks[i] >= 0:
        return 0 if marks[i] == label else node.n_rows
    if node.n_children == 0:
        first_slot = node.first * LEAF
        for slot in range(first_slot, first_slot + tree.filled[node.first]):
            leaf_others += slot_multiplicity(tree, slot) if own[slot] != label else 0
        return <int64_t>leaf_others
    for child in range(node.first, node.first + node.n_children):
        n_others += count_others(c, own, marks, child, label)
    return n_others


cdef void push_down(const Cells *c, int32_t *own, int32_t *marks, int64_t i) noexcept nogil:
    """Give the label of node i to its children, or slots, and mark it MIXED."""
    cdef const Node *node = &c.tree.nodes[i]
    cdef int64_t child, p
    if marks[i] < 0:
        return
    if node.n_children == 0:
        for p in range(LEAF):
            own[node.first * LEAF + p] = marks[i]
    for child in range(node.first, node.first + node.n_children):
        marks[child] = marks[i]
    marks[i] = MIXED


cdef void push_all_down(const Cells *c, int32_t *own, int32_t *marks, int64_t i) noexcept nogil:
    """Give the slots below node i their labels."""
    cdef const Node *node = &c.tree.nodes[i]
    cdef int64_t child
    if node.n_rows == 0:
        return
    push_down(c, own, marks, i)
    for child in range(node.first, node.first + node.n_children):
        push_all_down(c, own, marks, child)


cdef void cells_store_labels(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    cdef Cells *c = <Cells *>engine
    cdef Tree *tree = c.tree
    cdef int64_t i, first = tree.level_first[c.chunk_level], last = first + tree.level_size[c.chunk_level]
    cdef int n_threads = c.n_threads
    for i in prange(first, last, schedule="dynamic", num_threads=request_threads(n_threads)):
        push_all_down(c, own, node_marks(c, own), i)
    if tree.inverse == NULL:
        for i in prange(c.rows.m, schedule="static", num_threads=request_threads(n_threads)):
            labels[i] = own[tree.slot_of[i]]
    else:
        for i in prange(tree.n_points, schedule="static", num_threads=request_threads(n_threads)):
            c.unique_labels[i] = own[tree.slot_of[i]]
        for i in prange(c.rows.m, schedule="static", num_threads=request_threads(n_threads)):
            labels[i] = c.unique_labels[tree.inverse[i]]


# ---- one step --------------------------------------------------------------------------------

cdef inline char *node_edges(const Tree *tree, int64_t i) noexcept nogil:
    return tree.edges + i * 3 * tree.n * tree.itemsize


cdef inline int32_t first_candidate(const Cells *c, const char *candidates) noexcept nogil:
    """Return the centroid that a list begins with."""
    cdef int64_t at = (c.tree.n + 1) * c.rows.kernels.list_block
    return (<const int32_t *>candidates)[at] if c.tree.itemsize == 4 else <int32_t>(<const int64_t *>candidates)[at]


cdef void assign_node(Cells *c, const Step *s, PartialSum *part, int64_t i, int32_t k) noexcept nogil:
    """Assign all points of node i to centroid k; its sums are shifted from its mean to the centroid."""
    cdef const Tree *tree = c.tree
    cdef int64_t n = tree.n, l
    cdef const double *node_sums = tree.sums + i * (n + 2)
    cdef double *offsets = part.sums.offsets + k * STRIDE
    cdef double weight = node_sums[n + 1], square = node_sums[n], v
    cdef const char *edges = node_edges(tree, i)
    cdef int32_t *marks = node_marks(c, s.labels)
    for l in range(n):
        v = get(edges, 2 * n + l, tree.itemsize) - s.wide[k * STRIDE + l]
        offsets[l] += node_sums[l] + weight * v
        square += (2 * node_sums[l] + weight * v) * v
    part.sums.square[0] += square
    part.sums.weights[k] += weight
    part.sums.counts[k] += tree.nodes[i].n_rows
    if s.labels_epoch == 0:
        part.n_changed += tree.nodes[i].n_rows
    elif marks[i] != k:
        part.n_changed += count_others(c, s.labels, marks, i, k)
    marks[i] = k


cdef void score_leaf(Cells *c, const Step *s, PartialSum *part, int64_t i, const char *candidates,
                     int64_t count) noexcept nogil:
    """Score the points of node i, a leaf, against its candidates."""
    cdef const Tree *tree = c.tree
    cdef int64_t number = tree.nodes[i].first, filled = tree.filled[number]
    cdef leaf points
    push_down(c, s.labels, node_marks(c, s.labels), i)
    points.points = tree.points + number * LEAF * tree.n * tree.itemsize
    points.unweighted = tree.weights == NULL and tree.multiplicities == NULL and filled == LEAF
    points.weights = NULL if tree.weights == tree.multiplicities else tree.weights + number * LEAF
    points.multiplicities = &ONES[LEAF - filled] if tree.multiplicities == NULL else tree.multiplicities + number * LEAF
    points.labels = s.labels + number * LEAF
    part.n_changed += c.rows.kernels.assign_leaf(&points, candidates, count, c.shift, tree.n, s.wide, &part.sums)
    part.n_distances += filled * count


cdef void visit_node(Cells *c, const Step *s, PartialSum *part, Workspace *work, int64_t i,
                     int64_t level) noexcept nogil:
    """Assign the points of node i, given its parent's candidates as the list of `level`."""
    cdef const Node *node = &c.tree.nodes[i]
    cdef const char *parent_candidates = work.lists + level * c.list_size
    cdef char *candidates = work.lists + (level + 1) * c.list_size
    cdef int64_t count, child
    if node.n_rows == 0:
        return
    part.n_distances += work.counts[level]
    count = c.rows.kernels.prune(parent_candidates, work.counts[level], node_edges(c.tree, i), c.shift, c.tree.n,
                                 candidates)
    if count == 1:
        assign_node(c, s, part, i, first_candidate(c, candidates))
        return
    if node.n_children == 0:
        score_leaf(c, s, part, i, candidates, count)
        return
    work.counts[level + 1] = count
    push_down(c, s.labels, node_marks(c, s.labels), i)
    for child in range(node.first, node.first + node.n_children):
        visit_node(c, s, part, work, child, level + 1)


cdef void visit_chunk(Cells *c, const Step *s, PartialSum *part, Workspace *work, int64_t chunk) noexcept nogil:
    """Assign the points of a chunk. The lists of its ancestors that this thread has pruned last are used again."""
    cdef const Tree *tree = c.tree
    cdef int64_t level, i
    for level in range(c.chunk_level):
        i = tree.level_first[level] + chunk * tree.level_size[level] // tree.level_size[c.chunk_level]
        if tree.nodes[i].n_rows == 0:
            return
        if work.parents[level] != i:
            work.parents[level] = i
            work.counts[level + 1] = c.rows.kernels.prune(
                work.lists + level * c.list_size, work.counts[level], node_edges(tree, i), c.shift, tree.n,
                work.lists + (level + 1) * c.list_size)
            memset(work.parents + level + 1, -1, (c.chunk_level - level) * sizeof(int64_t))
    visit_node(c, s, part, work, tree.level_first[c.chunk_level] + chunk, c.chunk_level)


cdef void work_part(Cells *c, const Step *s, Poll *p, int64_t i, int64_t thread) noexcept nogil:
    """Add up partial sum i over the chunks that belong to it, in order."""
    cdef PartialSum *part = &c.parts[i]
    cdef int64_t chunk = i
    part.n_changed = part.n_distances = 0
    memset(part.sums.square, 0, sizeof(part.sums.square))
    memset(part.sums.offsets, 0, s.K * STRIDE * sizeof(double))
    memset(part.sums.weights, 0, s.K * sizeof(double))
    memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    while chunk < c.tree.level_size[c.chunk_level] and not poll(p):
        visit_chunk(c, s, part, &c.workspaces[thread], chunk)
        chunk += c.n_parts


cdef void reduce_parts(Cells *c, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, k, lane
    s.n_changed = s.n_distances = 0
    s.sums.incremental = True
    s.max_abs_bits = 0  # the tree was built of values in range
    s.sums.square = 0
    for i in range(c.n_parts):
        s.n_changed += c.parts[i].n_changed
        s.n_distances += c.parts[i].n_distances
        for lane in range(16):
            s.sums.square += c.parts[i].sums.square[lane]
    for k in range(s.K):
        clear_cluster(&s.sums, k, STRIDE)
        for i in range(c.n_parts):
            add_partial_sum(&s.sums, k, STRIDE, &c.parts[i].sums)


cdef void init_candidates(Cells *c, const Step *s, Workspace *work) noexcept nogil:
    """List all centroids, as the candidates of the root."""
    c.rows.kernels.init_candidates(s.centroids, c.shift, s.K, c.tree.n, work.lists)
    work.counts[0] = s.K
    memset(work.parents, -1, c.n_levels * sizeof(int64_t))


cdef int cells_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Find labels and sums; the engine gives no distances."""
    cdef Cells *c = <Cells *>engine
    cdef int64_t i
    cdef int threads = begin_step(&c.team)
    find_shift(c.tree.itemsize, s.K, c.tree.n, s.centroids, c.shift)
    for i in range(threads):
        init_candidates(c, s, &c.workspaces[i])
    if threads == 1:
        for i in range(c.n_parts):
            work_part(c, s, p, i, 0)
    else:
        for i in prange(c.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
            work_part(c, s, p, i, threadid())
            end_part(&c.team, threadid())
        end_step(&c.team, c.n_parts)
    if is_stopped(p):
        return 1
    reduce_parts(c, s)
    return 0


cdef EngineFactory CELLS
memset(&CELLS, 0, sizeof(CELLS))
CELLS.name = b"cells"
CELLS.max_features, CELLS.max_points = MAX_TREE_FEATURES, 1 << 30  # slots, more than points, are 32-bit integers
CELLS.wide = True
CELLS.build_index = build_tree
CELLS.summarise = summarise_tree
CELLS.open = cells_open
ENGINE = entry_of(&CELLS)
