"""A k-d tree over the points, built once for any number of fits (J. L. Bentley, "Multidimensional binary search trees
used for associative searching", 1975).

A sample of the points is partitioned again and again at the median of its widest feature; the cuts sort all points
into buckets. Within a bucket the points themselves are partitioned until LEAF of them are left. So every split costs
one pass over what lies in the cache, whatever outliers, scales or densities there are.

Nothing here depends on the number of threads: a bucket holds its points in their order.

Memory in bytes, for m points (distinct ones, where equal ones were deduplicated) of n features of s bytes: n s m for
the points, 4 m for their slots, 8 m for weights where there are any, and about m / 28 nodes of
24 + 3 n s + 8 (n + 2) each. While it is built: 4 m more, and for each thread twice the largest bucket, which is small
unless most points are equal.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._points cimport Index, PreparedPoints, Rows, UniquePoints, read_rows
from ckmeans._random cimport splitmix
from ckmeans._runtime cimport LEAF, CallContext, Poll, allocate, is_stopped, poll, release, request_threads, threads_for
from ckmeans._values cimport get, put

import numpy as np

cdef int64_t BUCKET_POINTS = 2048    # points that are partitioned within the second-level cache
cdef int64_t SAMPLE_PER_BUCKET = 32  # points of the sample for each bucket: its size varies by a sixth
cdef int64_t BUILD_BLOCK = 4096      # rows read together
cdef int64_t STRIPES = 64            # parts of the rows, counted separately: more than there are threads, mostly
cdef int64_t FAN_OUT = 8             # children of a node: three partitions, so three levels of lists are one


# ---- the tree --------------------------------------------------------------------------------

cdef struct Node:
    int32_t child            # its first child (they are neighbours), or the number of the leaf
    int32_t children         # 0: a leaf
    int64_t n_rows


# A leaf is a node of up to LEAF points, which take LEAF slots; slot s belongs to leaf s // LEAF.
cdef struct Tree:
    Index base
    int itemsize
    int64_t n
    int64_t leaves
    int64_t nodes
    int64_t levels           # of the upper part, which is a complete tree; node 0 is the root
    int64_t level_first[16]
    int64_t level_size[16]
    Node *node
    char *points             # of each leaf: n columns of LEAF values
    char *edges              # of each node: n low edges, n high ones, and a point near the mean
    double *sums             # of each node, about that point: n sums; squares; weight
    double *weights          # of each slot; NULL: 1
    double *multiplicities   # of each slot; NULL: 1
    int32_t *filled          # points of each leaf
    int64_t items            # distinct points, where equal ones were deduplicated, else m
    int32_t *slot_of         # of each item
    const int32_t *inverse   # the item of each row; NULL: row i is item i


# ---- state of the builder --------------------------------------------------------------------

# Scratch memory of a thread. Columns and ids have two buffers, and a partition moves them from one to the other.
cdef struct BuildWorkspace:
    char *rows
    char *columns[2]
    int32_t *ids[2]
    char *keys
    int32_t *places
    int64_t next_node
    int64_t bucket_leaf

cdef struct TreeBuilder:
    Tree *tree
    const Rows *items
    const double *multiplicities  # of each item; NULL: 1
    int n_threads
    int depth
    int64_t buckets
    int64_t room                 # points of the largest bucket
    int32_t *feature             # of each cut, as a heap
    char *value
    int64_t *tally               # (STRIPES, buckets) next free slot
    int64_t *filled              # points of each bucket
    int64_t *first_leaf          # of each bucket, and the end
    int64_t *first_node
    int32_t *order               # the item in each slot
    BuildWorkspace *workspaces


cdef int cut_depth(int64_t items) noexcept nogil:
    cdef int depth = 0
    while items >> depth > BUCKET_POINTS and depth < 16:
        depth += 1
    return depth


cdef size_t builder_layout(TreeBuilder *w, char *memory) noexcept nogil:
    cdef size_t at = 0
    cdef int64_t cuts = w.buckets - 1
    w.feature = <int32_t *>take(memory, &at, cuts * sizeof(int32_t))
    w.value = <char *>take(memory, &at, cuts * w.tree.itemsize)
    w.tally = <int64_t *>take(memory, &at, STRIPES * w.buckets * sizeof(int64_t))
    w.filled = <int64_t *>take(memory, &at, w.buckets * sizeof(int64_t))
    w.first_leaf = <int64_t *>take(memory, &at, (w.buckets + 1) * sizeof(int64_t))
    w.first_node = <int64_t *>take(memory, &at, (w.buckets + 1) * sizeof(int64_t))
    w.workspaces = <BuildWorkspace *>take(memory, &at, w.n_threads * sizeof(BuildWorkspace))
    return at


cdef size_t workspaces_layout(TreeBuilder *w, char *memory) noexcept nogil:
    """Every thread's scratch, for blocks of rows and for ranges of `room` points."""
    cdef size_t at = 0, item = w.tree.itemsize
    cdef int64_t n = w.tree.n, room = w.room
    cdef int i, side
    cdef BuildWorkspace work
    for i in range(w.n_threads):
        work.rows = <char *>take(memory, &at, (BUILD_BLOCK * n + 8) * item)
        for side in range(2):
            work.columns[side] = <char *>take(memory, &at, room * n * item)
            work.ids[side] = <int32_t *>take(memory, &at, room * sizeof(int32_t))
        work.keys = <char *>take(memory, &at, (room + 1) * item)
        work.places = <int32_t *>take(memory, &at, (room + 1) * sizeof(int32_t))
        if memory != NULL:
            w.workspaces[i] = work
    return at


# ---- the cuts, from a sample -----------------------------------------------------------------

cdef inline void copy_value(char *to, int64_t i, const char *source, int64_t j, int itemsize) noexcept nogil:
    if itemsize == 4:
        (<float *>to)[i] = (<float *>source)[j]
    else:
        (<double *>to)[i] = (<double *>source)[j]


cdef void draw_sample(TreeBuilder *w, BuildWorkspace *work, int64_t count) noexcept nogil:
    """One item out of each of `count` equal parts, so that no order of the rows misleads."""
    cdef int64_t m = w.items.m, n = w.items.n, i, l, low, stride
    cdef uint64_t state = 0
    cdef const char *row
    for i in range(count):
        low = i * m // count
        low += <int64_t>(splitmix(&state) % <uint64_t>((i + 1) * m // count - low))
        row = <const char *>read_rows(w.items, low, 1, work.rows, &stride)
        for l in range(n):
            copy_value(work.columns[0], l * w.room + i, row, l, w.tree.itemsize)


cdef double below_ties(const char *column, int64_t count, double value, int itemsize) noexcept nogil:
    """`value`, or the next lower one where nothing lies above it: else it would cut nothing off."""
    cdef double lower = -INFINITY, x
    cdef int64_t i
    for i in range(count):
        x = get(column, i, itemsize)
        if x > value:
            return value
        if x < value and x > lower:
            lower = x
    return lower


cdef void cut(TreeBuilder *w, BuildWorkspace *work, int64_t j, int side, int64_t first, int64_t count) noexcept nogil:
    """Cut j of the heap, and those below it, by the sample's points first .. first + count - 1."""
    cdef int itemsize = w.tree.itemsize
    cdef size_t at = first * itemsize
    cdef int64_t left = count // 2, feature
    cdef double value
    if j >= w.buckets - 1:
        return
    feature = w.items.kernels.median_partition(
        work.columns[side] + at, work.ids[side] + first, w.room, count, w.items.n, left,
        work.columns[1 - side] + at, work.ids[1 - side] + first, w.value + j * itemsize, work.keys, work.places)
    w.feature[j] = max(<int32_t>feature, 0)
    value = INFINITY
    if feature >= 0:
        value = below_ties(work.columns[side] + at + feature * w.room * itemsize, count,
                           get(w.value, j, itemsize), itemsize)
    put(w.value, j, itemsize, value)
    cut(w, work, 2 * j + 1, 1 - side, first, left)
    cut(w, work, 2 * j + 2, 1 - side, first + left, count - left)


# ---- into buckets ----------------------------------------------------------------------------

cdef inline int64_t stripe_start(const TreeBuilder *w, int64_t stripe) noexcept nogil:
    return stripe * w.items.m // STRIPES


cdef void count_stripe(TreeBuilder *w, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """The bucket of each item (into slot_of), and how many of the stripe fall into each bucket."""
    cdef int64_t first = stripe_start(w, stripe), end = stripe_start(w, stripe + 1), count, stride, i
    cdef int64_t *tally = w.tally + stripe * w.buckets
    cdef int32_t *bucket
    cdef const void *rows
    memset(tally, 0, w.buckets * sizeof(int64_t))
    while first < end and not poll(p):
        count = min(BUILD_BLOCK, end - first)
        bucket = w.tree.slot_of + first
        rows = read_rows(w.items, first, count, w.workspaces[thread].rows, &stride)
        w.items.kernels.classify(rows, stride, count, w.depth, w.feature, w.value, bucket)
        for i in range(count):
            tally[bucket[i]] += 1
        first += count


cdef int64_t children_of(int64_t leaves) noexcept nogil:
    """How many children a node of so many leaves has: FAN_OUT on the lower levels first."""
    cdef int64_t each = 1
    while each * FAN_OUT < leaves:
        each *= FAN_OUT
    return (leaves + each - 1) // each


cdef int64_t nodes_below(int64_t leaves) noexcept nogil:
    cdef int64_t parts = children_of(leaves)
    return 0 if leaves <= 1 else parts + nodes_in(leaves, parts)


cdef int64_t nodes_in(int64_t leaves, int64_t parts) noexcept nogil:
    """Nodes below `parts` children that share so many leaves."""
    cdef int64_t left = (parts + 1) // 2, left_leaves = (leaves * left + parts - 1) // parts
    if parts == 1:
        return nodes_below(leaves)
    return nodes_in(left_leaves, left) + nodes_in(leaves - left_leaves, parts - left)


cdef void lay_out_buckets(TreeBuilder *w) noexcept nogil:
    """Where each bucket's leaves, nodes and slots begin, stripe by stripe in the order of rows."""
    cdef int64_t bucket, stripe, count, at, leaves
    w.first_leaf[0] = 0
    w.first_node[0] = w.tree.level_first[w.tree.levels - 1] + w.buckets
    w.room = 1
    for bucket in range(w.buckets):
        at = w.first_leaf[bucket] * LEAF
        for stripe in range(STRIPES):
            count = w.tally[stripe * w.buckets + bucket]
            w.tally[stripe * w.buckets + bucket] = at
            at += count
        count = w.filled[bucket] = at - w.first_leaf[bucket] * LEAF
        leaves = (count + LEAF - 1) // LEAF
        w.first_leaf[bucket + 1] = w.first_leaf[bucket] + leaves
        w.first_node[bucket + 1] = w.first_node[bucket] + nodes_below(leaves)
        w.room = max(w.room, count)
    w.tree.leaves = w.first_leaf[w.buckets]
    w.tree.nodes = w.first_node[w.buckets]


cdef void scatter_stripe(TreeBuilder *w, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """The stripe's items, as rows, into the slots of their buckets."""
    cdef int64_t first = stripe_start(w, stripe), end = stripe_start(w, stripe + 1), count, stride, i, l, slot
    cdef int64_t *next_slot = w.tally + stripe * w.buckets
    cdef int64_t n = w.items.n
    cdef int itemsize = w.tree.itemsize
    cdef const char *rows
    while first < end and not poll(p):
        count = min(BUILD_BLOCK, end - first)
        rows = <const char *>read_rows(w.items, first, count, w.workspaces[thread].rows, &stride)
        for i in range(count):
            slot = next_slot[w.tree.slot_of[first + i]]
            next_slot[w.tree.slot_of[first + i]] += 1
            w.order[slot] = <int32_t>(first + i)
            for l in range(n):
                copy_value(w.tree.points, slot * n + l, rows, i * stride + l, itemsize)
        first += count


# ---- a bucket's subtree ----------------------------------------------------------------------

cdef inline double multiplicity_of(const TreeBuilder *w, int64_t item) noexcept nogil:
    return 1 if w.multiplicities == NULL else w.multiplicities[item]


cdef inline double weight_of(const TreeBuilder *w, int64_t item) noexcept nogil:
    return 1 if w.items.weights == NULL else w.items.weights[item]


cdef void fill_leaf(TreeBuilder *w, BuildWorkspace *work, int64_t node, int64_t leaf, int side, int64_t first,
                        int64_t count) noexcept nogil:
    """The points, their weights and slots, and their node; slots beyond them repeat the last point at weight 0."""
    cdef Tree *b = w.tree
    cdef int64_t n = b.n, slot = leaf * LEAF, p
    cdef const int32_t *ids = work.ids[side] + first
    cdef double number = 0
    for p in range(count):
        b.slot_of[ids[p]] = <int32_t>(slot + p)
        number += multiplicity_of(w, ids[p])
    for p in range(LEAF if b.weights != NULL else 0):
        b.weights[slot + p] = weight_of(w, ids[p]) if p < count else 0
    for p in range(LEAF if b.multiplicities != NULL and b.multiplicities != b.weights else 0):
        b.multiplicities[slot + p] = multiplicity_of(w, ids[p]) if p < count else 0
    w.items.kernels.fill_leaf(
        work.columns[side] + first * b.itemsize, w.room, count, n, NULL if b.weights == NULL else b.weights + slot,
        b.points + slot * n * b.itemsize, b.edges + node * 3 * n * b.itemsize, b.sums + node * (n + 2))
    b.filled[leaf] = <int32_t>count
    b.node[node].child = <int32_t>leaf
    b.node[node].children = 0
    b.node[node].n_rows = <int64_t>number


cdef inline void store_edges(char *edges, int itemsize, int64_t n, int64_t l, double low, double high,
                             double mean) noexcept nogil:
    put(edges, l, itemsize, low)
    put(edges, n + l, itemsize, high)
    put(edges, 2 * n + l, itemsize, mean)


cdef void merge_children(Tree *b, int64_t node) noexcept nogil:
    """The node of a node, from those of its children that ensure_loaded points."""
    cdef int64_t n = b.n, l, i, first = b.node[node].child, last = first + b.node[node].children
    cdef int itemsize = b.itemsize
    cdef size_t size = 3 * n * itemsize
    cdef char *edges = b.edges + node * size
    cdef double *sums = b.sums + node * (n + 2)
    cdef double low, high, total, mean, away
    memset(sums, 0, (n + 2) * sizeof(double))
    b.node[node].n_rows = 0
    for i in range(first, last):
        b.node[node].n_rows += b.node[i].n_rows
        sums[n] += b.sums[i * (n + 2) + n]
        sums[n + 1] += b.sums[i * (n + 2) + n + 1]
    for l in range(n):
        low, high, total = INFINITY, -INFINITY, 0
        for i in range(first, last):
            if b.node[i].n_rows > 0:
                low = min(low, get(b.edges + i * size, l, itemsize))
                high = max(high, get(b.edges + i * size, n + l, itemsize))
                total += b.sums[i * (n + 2) + n + 1] * get(b.edges + i * size, 2 * n + l, itemsize)
        store_edges(edges, itemsize, n, l, low, high, total / sums[n + 1] if sums[n + 1] > 0 else low)
        mean = get(edges, 2 * n + l, itemsize)
        for i in range(first, last):
            if b.node[i].n_rows > 0:
                away = get(b.edges + i * size, 2 * n + l, itemsize) - mean
                sums[n] += (2 * b.sums[i * (n + 2) + l] + b.sums[i * (n + 2) + n + 1] * away) * away
                sums[l] += b.sums[i * (n + 2) + l] + b.sums[i * (n + 2) + n + 1] * away


cdef void build_node(TreeBuilder *w, BuildWorkspace *work, int64_t node, int side, int64_t first, int64_t count) noexcept nogil:
    """A node over the bucket's points first .. first + count - 1, and everything below it."""
    cdef int64_t leaves = (count + LEAF - 1) // LEAF, parts = children_of(leaves)
    if leaves <= 1:
        fill_leaf(w, work, node, work.bucket_leaf + first // LEAF, side, first, count)
        return
    w.tree.node[node].child = <int32_t>work.next_node
    w.tree.node[node].children = <int32_t>parts
    work.next_node += parts
    build_children(w, work, w.tree.node[node].child, parts, side, first, count)
    merge_children(w.tree, node)


cdef void build_children(TreeBuilder *w, BuildWorkspace *work, int64_t child, int64_t parts, int side, int64_t first,
                         int64_t count) noexcept nogil:
    """`parts` neighbouring nodes from `child` on; all leaves but the last are full."""
    cdef int64_t leaves = (count + LEAF - 1) // LEAF, left_parts = (parts + 1) // 2, left
    cdef size_t at = first * w.tree.itemsize
    cdef double value
    if parts == 1:
        build_node(w, work, child, side, first, count)
        return
    left = (leaves * left_parts + parts - 1) // parts * LEAF
    w.items.kernels.median_partition(
        work.columns[side] + at, work.ids[side] + first, w.room, count, w.tree.n, left,
        work.columns[1 - side] + at, work.ids[1 - side] + first, &value, work.keys, work.places)
    build_children(w, work, child, left_parts, 1 - side, first, left)
    build_children(w, work, child + left_parts, parts - left_parts, 1 - side, first + left, count - left)


cdef void build_bucket(TreeBuilder *w, int64_t bucket, int64_t thread) noexcept nogil:
    cdef BuildWorkspace *work = &w.workspaces[thread]
    cdef Tree *b = w.tree
    cdef int64_t n = b.n, count = w.filled[bucket], slot = w.first_leaf[bucket] * LEAF, i, l
    cdef int64_t node = b.level_first[b.levels - 1] + bucket
    if count == 0:
        memset(&b.node[node], 0, sizeof(Node))
        memset(b.sums + node * (n + 2), 0, (n + 2) * sizeof(double))
        return
    memcpy(work.ids[0], w.order + slot, count * sizeof(int32_t))
    for i in range(count):
        for l in range(n):
            copy_value(work.columns[0], l * w.room + i, b.points, (slot + i) * n + l, b.itemsize)
    work.next_node = w.first_node[bucket]
    work.bucket_leaf = w.first_leaf[bucket]
    build_node(w, work, node, 0, 0, count)


# ---- the driver ------------------------------------------------------------------------------

cdef void lay_out_levels(Tree *b, int depth) noexcept nogil:
    """The upper part: the root, then FAN_OUT times as many nodes on each level, the buckets last."""
    cdef int64_t at = 0, size = 1, level
    b.levels = 1 + (depth + 2) // 3
    for level in range(b.levels):
        b.level_first[level] = at
        b.level_size[level] = size
        at += size
        size = <int64_t>1 << (depth - 3 * (b.levels - 2 - level))


cdef void merge_levels(Tree *b) noexcept nogil:
    cdef int64_t level = b.levels - 2, i, children
    while level >= 0:
        children = b.level_size[level + 1] // b.level_size[level]
        for i in range(b.level_size[level]):
            b.node[b.level_first[level] + i].child = <int32_t>(b.level_first[level + 1] + i * children)
            b.node[b.level_first[level] + i].children = <int32_t>children
            merge_children(b, b.level_first[level] + i)
        level -= 1


cdef bint allocate_tree(TreeBuilder *w) noexcept nogil:
    """Allocate the arrays of the tree, once the number of its nodes is known."""
    cdef Tree *b = w.tree
    cdef int64_t slots = b.leaves * LEAF
    cdef size_t item = b.itemsize
    b.node = <Node *>allocate(b.nodes * sizeof(Node))
    b.points = <char *>allocate(slots * b.n * item)
    b.edges = <char *>allocate(b.nodes * 3 * b.n * item)
    b.sums = <double *>allocate(b.nodes * (b.n + 2) * sizeof(double))
    b.filled = <int32_t *>allocate(b.leaves * sizeof(int32_t))
    b.base.bytes = (slots * b.n * item + b.nodes * (sizeof(Node) + 3 * b.n * item + (b.n + 2) * sizeof(double))
                    + b.leaves * sizeof(int32_t) + b.items * sizeof(int32_t))
    if w.items.weights != NULL:
        b.weights = <double *>allocate(slots * sizeof(double))
        b.base.bytes += slots * sizeof(double)
    if w.multiplicities != NULL:
        b.multiplicities = b.weights
        if w.multiplicities != w.items.weights:
            b.multiplicities = <double *>allocate(slots * sizeof(double))
            b.base.bytes += slots * sizeof(double)
    return (b.node != NULL and b.points != NULL and b.edges != NULL and b.sums != NULL and b.filled != NULL
            and (w.items.weights == NULL or b.weights != NULL) and (w.multiplicities == NULL or b.multiplicities != NULL))


cdef bint find_cuts(TreeBuilder *w) noexcept nogil:
    cdef int64_t count = min(SAMPLE_PER_BUCKET * w.buckets, w.items.m)
    cdef char *memory
    w.room = count
    memory = <char *>allocate(workspaces_layout(w, NULL))
    if memory == NULL:
        return False
    workspaces_layout(w, memory)
    draw_sample(w, &w.workspaces[0], count)
    cut(w, &w.workspaces[0], 0, 0, 0, count)
    release(memory)
    return True


cdef bint fill_buckets(TreeBuilder *w, Poll *p) noexcept nogil:
    """Everything from the cuts on; False: no memory, or interrupted."""
    cdef int64_t stripe, bucket
    cdef char *memory
    w.room = 1
    memory = <char *>allocate(workspaces_layout(w, NULL))
    if memory == NULL:
        return False
    workspaces_layout(w, memory)
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=request_threads(w.n_threads)):
        count_stripe(w, stripe, threadid(), p)
    lay_out_buckets(w)
    w.order = <int32_t *>allocate(w.tree.leaves * LEAF * sizeof(int32_t))
    if is_stopped(p) or not allocate_tree(w) or w.order == NULL:
        release(memory)
        return False
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=request_threads(w.n_threads)):
        scatter_stripe(w, stripe, threadid(), p)
    release(memory)
    memory = <char *>allocate(workspaces_layout(w, NULL))
    if memory == NULL:
        return False
    workspaces_layout(w, memory)
    for bucket in prange(w.buckets, schedule="dynamic", chunksize=1, num_threads=request_threads(w.n_threads)):
        if not poll(p):
            build_bucket(w, bucket, threadid())
    release(memory)
    return not is_stopped(p)


cdef bint build(Tree *b, const Rows *items, const double *multiplicities, int n_threads, Poll *p) noexcept nogil:
    """False: no memory, or interrupted."""
    cdef TreeBuilder w
    cdef char *memory
    cdef bint built
    memset(&w, 0, sizeof(w))
    w.tree, w.items, w.multiplicities = b, items, multiplicities
    w.depth = cut_depth(items.m)
    w.buckets = <int64_t>1 << w.depth
    w.n_threads = threads_for(n_threads, 20.0 * items.m * items.n)
    b.items = items.m
    b.slot_of = <int32_t *>allocate(items.m * sizeof(int32_t))
    memory = <char *>allocate(builder_layout(&w, NULL))
    lay_out_levels(b, w.depth)
    built = b.slot_of != NULL and memory != NULL
    if built:
        builder_layout(&w, memory)
        built = (w.buckets == 1 or find_cuts(&w)) and fill_buckets(&w, p)
    if built:
        merge_levels(b)
    release(w.order)
    release(memory)
    return built


cdef void free_tree(Index *prepared) noexcept nogil:
    cdef Tree *b = <Tree *>prepared
    if b.multiplicities != b.weights:
        release(b.multiplicities)
    release(b.weights)
    release(b.node)
    release(b.points)
    release(b.edges)
    release(b.sums)
    release(b.filled)
    release(b.slot_of)
    release(b)


cdef Index *build_tree(const UniquePoints *unique, int n_threads, Poll *p) noexcept nogil:
    cdef Tree *b = <Tree *>allocate(sizeof(Tree))
    if b == NULL:
        return NULL
    memset(b, 0, sizeof(Tree))
    b.base.free = free_tree
    b.n, b.itemsize = unique.rows.n, unique.rows.kernels.itemsize
    b.inverse = unique.inverse
    if build(b, &unique.rows, unique.multiplicities, n_threads, p):
        return &b.base
    free_tree(&b.base)
    return NULL


# ---- nodes as points -------------------------------------------------------------------------

cdef int64_t collect_means(const Tree *b, int64_t node, int64_t max_rows, int64_t at, double *means,
                           double *weights) noexcept nogil:
    """Write the largest nodes below a node that have up to `max_rows` rows, or leaves, from place `at` on; with means
    NULL only count them. Nodes without weight are left out."""
    cdef const Node *top = &b.node[node]
    cdef int64_t i, l, n = b.n
    cdef const double *sums = b.sums + node * (n + 2)
    if top.n_rows == 0 or sums[n + 1] == 0:
        return at
    if top.children > 0 and top.n_rows > max_rows:
        for i in range(top.children):
            at = collect_means(b, top.child + i, max_rows, at, means, weights)
        return at
    if means != NULL:
        weights[at] = sums[n + 1]
        for l in range(n):
            means[at * n + l] = get(b.edges, (3 * node + 2) * n + l, b.itemsize) + sums[l] / sums[n + 1]
    return at + 1


def node_means(PreparedPoints points, int64_t max_rows, int n_threads):
    """(means, weights) of nodes of up to `max_rows` rows, or of leaves where those have more."""
    cdef CallContext call = CallContext()
    cdef Tree *b = <Tree *>points.index(build_tree, n_threads, call)
    cdef int64_t count = collect_means(b, 0, max_rows, 0, NULL, NULL)
    means_array, weights_array = np.empty((count, b.n)), np.empty(count)
    cdef double[:, ::1] means = means_array
    cdef double[::1] weights = weights_array
    collect_means(b, 0, max_rows, 0, &means[0, 0], &weights[0])
    return means_array, weights_array
