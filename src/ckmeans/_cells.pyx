"""The engine "cells": the filtering algorithm on a k-d tree, which assigns whole cells of points; few features.

A list of candidates, the centroids that may be the closest one of some point, goes down the tree. A node with one
candidate left belongs to it as a whole, and its stored sums are all that is read. Only leaves with several candidates
are scored, against those, by the operations of the dense engine: labels are bit-identical (the margin of `prune`
covers the rounding). (K. Alsabti, S. Ranka and V. Singh, "An efficient k-means clustering algorithm", 1998;
D. Pelleg and A. Moore, "Accelerating exact k-means algorithms with geometric reasoning", KDD 1999; T. Kanungo et al.,
"An efficient k-means clustering algorithm: analysis and implementation", IEEE TPAMI 24, 2002.)

Labels. Most nodes keep their label from step to step, so labels are kept per node and in the order of the leaves,
with lazy propagation: a node's mark is the label of all its points, or MIXED, and what lies below a node with a label
is out of date until it is pushed down. Only `cells_store_labels` writes a label for each row.

The result does not depend on the number of threads: chunk i of the tree (a subtree) adds to partial sum i mod P, in
rising order, and the partial sums are added up in order.

Memory beside the tree, in bytes: (partial sums of 64, or fewer for large K) * K * 80, and for each thread and level of
the tree one list of K * (n + 2) * itemsize.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Engine, EngineFactory, Problem, Step, add_partial_sum, clear_cluster, entry_of
from ckmeans._points cimport Rows
from ckmeans._runtime cimport LEAF, Poll, allocate, is_stopped, leaf, poll, release, request_threads, sums, threads_for
from ckmeans._shift cimport find_shift
from ckmeans._values cimport get

include "_kdtree.pxi"

cdef int64_t MAX_FEATURES = 8          # beyond, cells are seldom assigned as a whole; tile sizes in C assume it
cdef int MIXED = -1
cdef int64_t MIN_CHUNKS = 32           # subtrees to share out, where there are so many
cdef int64_t STRIDE = 8                # of float64 rows: n is at most MAX_FEATURES
cdef int64_t PART_BYTES = 1 << 20      # of all partial sums together: they stay in the second-level cache

cdef double[64] ONES                   # multiplicities of a leaf without any: ones, then zeros
cdef int slot_of_one
for slot_of_one in range(LEAF):
    ONES[slot_of_one] = 1


# ---- what one fit holds ----------------------------------------------------------------------

cdef struct CellsPart:
    sums sums
    int64_t n_changed
    int64_t n_distances

# One thread's scratch: the list that each level of the tree was parent_list.
cdef struct ListWorkspace:
    char *lists
    int64_t *counts
    int64_t *nodes           # whose list it is, of the levels above the chunks

cdef struct Cells:
    Engine engine
    const Rows *rows
    Tree *tree
    int64_t K
    int n_threads
    int64_t n_parts
    int64_t chunk_level
    int64_t depth            # levels of lists
    size_t list_size
    char *shift
    int32_t *unique_labels     # where equal points were made one
    CellsPart *parts
    ListWorkspace *workspaces


cdef int64_t levels_below(const Tree *b, int64_t node) noexcept nogil:
    cdef int64_t i, deepest = 0
    for i in range(b.node[node].children):
        deepest = max(deepest, levels_below(b, b.node[node].child + i))
    return deepest + 1


cdef size_t cells_layout(Cells *c, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef size_t at = (sizeof(Cells) + 63) // 64 * 64
    cdef int64_t K = c.K, i
    cdef CellsPart part
    cdef ListWorkspace work
    c.shift = <char *>take(memory, &at, STRIDE * sizeof(double))
    c.unique_labels = <int32_t *>take(memory, &at, 0 if c.tree.inverse == NULL else c.tree.items * sizeof(int32_t))
    c.parts = <CellsPart *>take(memory, &at, c.n_parts * sizeof(CellsPart))
    c.workspaces = <ListWorkspace *>take(memory, &at, c.n_threads * sizeof(ListWorkspace))
    for i in range(c.n_parts):
        part.sums.offsets = <double *>take(memory, &at, K * STRIDE * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        if memory != NULL:
            c.parts[i] = part
    for i in range(c.n_threads):
        work.lists = <char *>take(memory, &at, (c.depth + 1) * c.list_size)
        work.counts = <int64_t *>take(memory, &at, (c.depth + 1) * sizeof(int64_t))
        work.nodes = <int64_t *>take(memory, &at, (c.depth + 1) * sizeof(int64_t))
        if memory != NULL:
            c.workspaces[i] = work
    return at


cdef Engine *cells_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef const Rows *rows = problem.rows
    cdef Cells draft
    cdef Tree *b = <Tree *>problem.index
    cdef int64_t block = rows.kernels.list_block
    memset(&draft, 0, sizeof(Cells))
    draft.engine.name = CELLS.name
    draft.engine.step = cells_step
    draft.engine.store_labels = cells_store_labels
    draft.engine.close = cells_close
    draft.engine.n_labels = b.leaves * LEAF + b.nodes
    draft.rows, draft.tree, draft.K = rows, b, K
    while draft.chunk_level < b.levels - 1 and b.level_size[draft.chunk_level] < MIN_CHUNKS:
        draft.chunk_level += 1
    draft.n_parts = 64
    while draft.n_parts > 8 and draft.n_parts * K * 10 * <int64_t>sizeof(double) > PART_BYTES:
        draft.n_parts //= 2
    draft.n_parts = min(draft.n_parts, b.level_size[draft.chunk_level])
    draft.n_threads = min(threads_for(problem.n_threads, <double>rows.m * 8), <int>draft.n_parts)
    draft.depth = levels_below(b, 0)
    draft.list_size = (K + block) // block * block * (rows.n + 2) * rows.kernels.itemsize
    draft.list_size = (draft.list_size + 63) // 64 * 64
    draft.engine.bytes = cells_layout(&draft, NULL)
    cdef char *memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        return NULL
    cells_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Cells))
    return <Engine *>memory


cdef void cells_close(Engine *engine) noexcept nogil:
    release(engine)


# ---- labels ----------------------------------------------------------------------------------

# The engine's own labels: one of each slot, then one of each node.
cdef inline int32_t *node_marks(const Cells *c, int32_t *own) noexcept nogil:
    return own + c.tree.leaves * LEAF


cdef inline double slot_multiplicity(const Tree *b, int64_t slot) noexcept nogil:
    return 1 if b.multiplicities == NULL else b.multiplicities[slot]


cdef int64_t count_others(const Cells *c, const int32_t *own, const int32_t *marks, int64_t node,
                       int32_t k) noexcept nogil:
    """Rows of a node whose label is not k."""
    cdef const Tree *b = c.tree
    cdef const Node *top = &b.node[node]
    cdef int64_t i, slot, others = 0
    cdef double number = 0
    if marks[node] >= 0:
        return 0 if marks[node] == k else top.n_rows
    if top.children == 0:
        slot = top.child * LEAF
        for i in range(slot, slot + b.filled[top.child]):
            number += slot_multiplicity(b, i) if own[i] != k else 0
        return <int64_t>number
    for i in range(top.children):
        others += count_others(c, own, marks, top.child + i, k)
    return others


cdef void push_down(const Cells *c, int32_t *own, int32_t *marks, int64_t node) noexcept nogil:
    """Make a node MIXED whose points had one label."""
    cdef const Tree *b = c.tree
    cdef const Node *top = &b.node[node]
    cdef int64_t i
    if marks[node] < 0:
        return
    if top.children == 0:
        for i in range(LEAF):
            own[top.child * LEAF + i] = marks[node]
    for i in range(top.children):
        marks[top.child + i] = marks[node]
    marks[node] = MIXED


cdef void push_all_down(const Cells *c, int32_t *own, int32_t *marks, int64_t node) noexcept nogil:
    cdef int64_t i
    if c.tree.node[node].n_rows == 0:
        return
    push_down(c, own, marks, node)
    for i in range(c.tree.node[node].children):
        push_all_down(c, own, marks, c.tree.node[node].child + i)


cdef void cells_store_labels(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    cdef Cells *c = <Cells *>engine
    cdef Tree *b = c.tree
    cdef int64_t i, first = b.level_first[c.chunk_level], last = first + b.level_size[c.chunk_level]
    cdef int n_threads = c.n_threads
    for i in prange(first, last, schedule="dynamic", num_threads=request_threads(n_threads)):
        push_all_down(c, own, node_marks(c, own), i)
    if b.inverse == NULL:
        for i in prange(c.rows.m, schedule="static", num_threads=request_threads(n_threads)):
            labels[i] = own[b.slot_of[i]]
    else:
        for i in prange(b.items, schedule="static", num_threads=request_threads(n_threads)):
            c.unique_labels[i] = own[b.slot_of[i]]
        for i in prange(c.rows.m, schedule="static", num_threads=request_threads(n_threads)):
            labels[i] = c.unique_labels[b.inverse[i]]


# ---- one step --------------------------------------------------------------------------------

cdef inline char *node_edges(const Tree *b, int64_t node) noexcept nogil:
    return b.edges + node * 3 * b.n * b.itemsize


cdef inline int32_t first_candidate(const Cells *c, const char *kept) noexcept nogil:
    """The index of a list's first centroid."""
    cdef int64_t at = (c.tree.n + 1) * c.rows.kernels.list_block
    return (<const int32_t *>kept)[at] if c.tree.itemsize == 4 else <int32_t>(<const int64_t *>kept)[at]


cdef void assign_node(Cells *c, const Step *s, CellsPart *part, int64_t node, int32_t k) noexcept nogil:
    """Give a whole node_ to centroid k: its sums, moved from about its mean to about the centroid."""
    cdef const Tree *b = c.tree
    cdef int64_t n = b.n, l
    cdef const double *stored = b.sums + node * (n + 2)
    cdef double *offsets = part.sums.offsets + k * STRIDE
    cdef double weight = stored[n + 1], square = stored[n], away
    cdef const char *edges = node_edges(b, node)
    for l in range(n):
        away = get(edges, 2 * n + l, b.itemsize) - s.wide[k * STRIDE + l]
        offsets[l] += stored[l] + weight * away
        square += (2 * stored[l] + weight * away) * away
    part.sums.square[0] += square
    part.sums.weights[k] += weight
    part.sums.counts[k] += b.node[node].n_rows
    cdef int32_t *marks = node_marks(c, s.labels)
    if s.labels_epoch == 0:
        part.n_changed += b.node[node].n_rows
    elif marks[node] != k:
        part.n_changed += count_others(c, s.labels, marks, node, k)
    marks[node] = k


cdef void score_leaf(Cells *c, const Step *s, CellsPart *part, int64_t node, const char *kept,
                      int64_t count) noexcept nogil:
    """Score the points of a leaf against its candidates."""
    cdef const Tree *b = c.tree
    cdef int64_t number = b.node[node].child, filled = b.filled[number]
    cdef leaf points
    push_down(c, s.labels, node_marks(c, s.labels), node)
    points.points = b.points + number * LEAF * b.n * b.itemsize
    points.unweighted = b.weights == NULL and b.multiplicities == NULL and filled == LEAF
    points.weights = NULL if b.weights == b.multiplicities else b.weights + number * LEAF
    points.multiplicities = &ONES[LEAF - filled] if b.multiplicities == NULL else b.multiplicities + number * LEAF
    points.labels = s.labels + number * LEAF
    part.n_changed += c.rows.kernels.assign_leaf(&points, kept, count, c.shift, b.n, s.wide, &part.sums)
    part.n_distances += filled * count


cdef void visit(Cells *c, const Step *s, CellsPart *part, ListWorkspace *work, int64_t node, int64_t level) noexcept nogil:
    """Settle a node, given its parent's candidates on `level`."""
    cdef const Node *top = &c.tree.node[node]
    cdef char *parent_list = work.lists + level * c.list_size
    cdef char *kept = parent_list + c.list_size
    cdef int64_t count, i
    if top.n_rows == 0:
        return
    part.n_distances += work.counts[level]
    count = c.rows.kernels.prune(parent_list, work.counts[level], node_edges(c.tree, node), c.shift, c.tree.n, kept)
    if count == 1:
        assign_node(c, s, part, node, first_candidate(c, kept))
        return
    if top.children == 0:
        score_leaf(c, s, part, node, kept, count)
        return
    work.counts[level + 1] = count
    push_down(c, s.labels, node_marks(c, s.labels), node)
    for i in range(top.children):
        visit(c, s, part, work, top.child + i, level + 1)


cdef void visit_chunk(Cells *c, const Step *s, CellsPart *part, ListWorkspace *work, int64_t chunk) noexcept nogil:
    """Prune down to the parent of a chunk, as far as this thread has not just done so."""
    cdef const Tree *b = c.tree
    cdef int64_t level, node
    for level in range(c.chunk_level):
        node = b.level_first[level] + chunk * b.level_size[level] // b.level_size[c.chunk_level]
        if b.node[node].n_rows == 0:
            return
        if work.nodes[level] != node:
            work.nodes[level] = node
            work.counts[level + 1] = c.rows.kernels.prune(
                work.lists + level * c.list_size, work.counts[level], node_edges(b, node), c.shift, b.n,
                work.lists + (level + 1) * c.list_size)
            memset(work.nodes + level + 1, -1, (c.chunk_level - level) * sizeof(int64_t))
    visit(c, s, part, work, b.level_first[c.chunk_level] + chunk, c.chunk_level)


cdef void work_part(Cells *c, const Step *s, Poll *p, int64_t i, int64_t thread) noexcept nogil:
    """Partial sum i over the chunks that belong to it, in order."""
    cdef CellsPart *part = &c.parts[i]
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
    s.max_abs_bits = 0  # the tree were made of values in range
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


cdef void init_candidates(Cells *c, const Step *s, ListWorkspace *work) noexcept nogil:
    """All centroids, for the root."""
    c.rows.kernels.init_candidates(s.centroids, c.shift, s.K, c.tree.n, work.lists)
    work.counts[0] = s.K
    memset(work.nodes, -1, c.depth * sizeof(int64_t))


cdef int cells_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Find labels and sums; distances are not given."""
    cdef Cells *c = <Cells *>engine
    cdef int64_t i
    cdef int threads = c.n_threads
    find_shift(c.tree.itemsize, s.K, c.tree.n, s.wide, c.shift)
    for i in range(threads):
        init_candidates(c, s, &c.workspaces[i])
    if threads == 1:
        for i in range(c.n_parts):
            work_part(c, s, p, i, 0)
    else:
        for i in prange(c.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
            work_part(c, s, p, i, threadid())
    if is_stopped(p):
        return 1
    reduce_parts(c, s)
    return 0


cdef EngineFactory CELLS
memset(&CELLS, 0, sizeof(CELLS))
CELLS.name = b"cells"
CELLS.max_features, CELLS.max_points = MAX_FEATURES, 1 << 30  # slots are 32-bit integers
CELLS.build_index = build_tree
CELLS.open = cells_open
ENGINE = entry_of(&CELLS)
