"""A k-d tree over the points, built once for any number of fits.

The widest feature of a sample of the points is split at its median, and each half again; the splits sort all points
into buckets. Within a bucket the points themselves are partitioned in the same way until at most LEAF of them are
left, so every partition works in the cache, whatever outliers, scales or densities there are. (J. L. Bentley,
"Multidimensional binary search trees used for associative searching", Communications of the ACM 18, 1975;
J. H. Friedman, J. L. Bentley and R. A. Finkel, "An algorithm for finding best matches in logarithmic expected time",
ACM TOMS 3, 1977, for the rule of splitting.)

The tree does not depend on the number of threads: a bucket holds its points in their order.

"Points" are the unique ones where equal ones were deduplicated, "rows" the caller's. Memory in bytes, for m points of
n features of s bytes: n s m for the points, 4 m for their slots, 8 m for weights where there are any, 8 m for
multiplicities that differ from these, and about m / 28 nodes of 24 + 3 n s + 8 (n + 2) each. While it is built: 4 m
more, and for each thread twice the largest bucket, which is small unless most points are equal.
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

cdef int64_t BUCKET_POINTS = 2048    # points of a bucket on average, at most: they stay in the second-level cache
cdef int MAX_SPLIT_DEPTH = 16        # levels of splits: the arrays of 65536 buckets stay small beside the points
cdef int64_t SAMPLE_PER_BUCKET = 32  # points of the sample for each bucket: its size varies by a sixth
cdef int64_t BUILD_BLOCK = 4096      # rows of a block, between two polls for signals
cdef int64_t STRIPES = 64            # parts of the rows, each with a histogram: mostly more than there are threads
cdef int64_t FAN_OUT = 8             # children of a node, from three partitions: fewer levels of candidate lists
cdef double BUILD_WORK = 20          # multiply-adds for each value of a point, to choose the number of threads


# ---- the tree --------------------------------------------------------------------------------

cdef struct Node:
    int32_t first            # its first child, which the others follow; of a leaf: the number of the leaf
    int32_t n_children       # 0: a leaf
    int64_t n_rows


# A leaf is a node of up to LEAF points, which take LEAF slots; slot s belongs to leaf s // LEAF.
cdef struct Tree:
    Index base
    int itemsize
    int64_t n
    int64_t n_points         # unique ones, where equal ones were deduplicated
    int64_t n_leaves
    int64_t n_nodes
    int64_t n_levels         # of the upper part, a complete tree whose lowest nodes are the buckets; node 0 is the root
    int64_t level_first[8]   # of each of the up to 7 levels: its first node,
    int64_t level_size[8]    # and its number of nodes
    Node *nodes
    char *points             # of each leaf: n columns of LEAF values
    char *edges              # of each node: n minima and n maxima of its bounding box, and a point near the mean
    double *sums             # of each node, about that point: n sums; squares; weight
    double *weights          # of each slot; NULL: 1
    double *multiplicities   # of each slot; NULL: 1
    int32_t *filled          # points of each leaf
    int32_t *slot_of         # of each point
    const int32_t *inverse   # the point of each row; NULL: row i is point i


# ---- state of the builder --------------------------------------------------------------------

# Scratch memory of a thread. Columns and ids have two buffers, its sides: a partition moves them from one to the other.
cdef struct BuildWorkspace:
    char *rows               # a block
    char *columns[2]         # n columns of points, `capacity` values apart
    int32_t *ids[2]          # of these points
    char *keys               # for the kernel that partitions
    int32_t *places
    int64_t next_node        # the first node of the bucket that is not in use
    int64_t bucket_leaf      # the first leaf of the bucket

cdef struct TreeBuilder:
    Tree *tree
    const Rows *points
    const double *multiplicities  # of each point; NULL: 1
    int n_threads
    int split_depth              # levels of splits
    int64_t n_buckets
    int64_t capacity             # points that a workspace holds: the sample, then the largest bucket
    int32_t *split_feature       # of each split; splits 2 j + 1 and 2 j + 2 are below split j
    char *split_value
    int64_t *histogram           # (STRIPES, n_buckets) points, then the next free slot
    int64_t *filled              # points of each bucket
    int64_t *first_leaf          # of each bucket, and the end
    int64_t *first_node          # below each bucket, and the end
    int32_t *point_in            # the point in each slot
    BuildWorkspace *workspaces


cdef int split_depth_for(int64_t n_points) noexcept nogil:
    """Return how many levels of splits make buckets of up to BUCKET_POINTS on average, or MAX_SPLIT_DEPTH."""
    cdef int depth = 0
    while n_points >> depth > BUCKET_POINTS and depth < MAX_SPLIT_DEPTH:
        depth += 1
    return depth


cdef size_t builder_layout(TreeBuilder *builder, char *memory) noexcept nogil:
    """Lay everything out but the scratch memory; with memory NULL only count the bytes."""
    cdef size_t at = 0
    cdef int64_t n_splits = builder.n_buckets - 1
    builder.split_feature = <int32_t *>take(memory, &at, n_splits * sizeof(int32_t))
    builder.split_value = <char *>take(memory, &at, n_splits * builder.tree.itemsize)
    builder.histogram = <int64_t *>take(memory, &at, STRIPES * builder.n_buckets * sizeof(int64_t))
    builder.filled = <int64_t *>take(memory, &at, builder.n_buckets * sizeof(int64_t))
    builder.first_leaf = <int64_t *>take(memory, &at, (builder.n_buckets + 1) * sizeof(int64_t))
    builder.first_node = <int64_t *>take(memory, &at, (builder.n_buckets + 1) * sizeof(int64_t))
    builder.workspaces = <BuildWorkspace *>take(memory, &at, builder.n_threads * sizeof(BuildWorkspace))
    return at


cdef size_t workspaces_layout(TreeBuilder *builder, char *memory) noexcept nogil:
    """Lay the scratch memory of all threads out; with memory NULL only count the bytes."""
    cdef size_t at = 0, item = builder.tree.itemsize
    cdef int64_t n = builder.tree.n, capacity = builder.capacity
    cdef int i, side
    cdef BuildWorkspace work
    for i in range(builder.n_threads):
        work.rows = <char *>take(memory, &at, (BUILD_BLOCK * n + 8) * item)
        for side in range(2):
            work.columns[side] = <char *>take(memory, &at, capacity * n * item)
            work.ids[side] = <int32_t *>take(memory, &at, capacity * sizeof(int32_t))
        work.keys = <char *>take(memory, &at, (capacity + 1) * item)
        work.places = <int32_t *>take(memory, &at, (capacity + 1) * sizeof(int32_t))
        if memory != NULL:
            builder.workspaces[i] = work
    return at


# ---- splits, from a sample -------------------------------------------------------------------

cdef inline void copy_value(char *to, int64_t i, const char *source, int64_t j, int itemsize) noexcept nogil:
    if itemsize == 4:
        (<float *>to)[i] = (<float *>source)[j]
    else:
        (<double *>to)[i] = (<double *>source)[j]


cdef void draw_sample(TreeBuilder *builder, BuildWorkspace *work, int64_t count) noexcept nogil:
    """Draw a point from each of `count` equal parts (stratified sampling), so that no order of the rows misleads."""
    cdef int64_t m = builder.points.m, n = builder.points.n, i, l, point, stride
    cdef uint64_t state = 0
    cdef const char *values
    for i in range(count):
        point = i * m // count
        point += <int64_t>(splitmix(&state) % <uint64_t>((i + 1) * m // count - point))
        values = <const char *>read_rows(builder.points, point, 1, work.rows, &stride)
        for l in range(n):
            copy_value(work.columns[0], l * builder.capacity + i, values, l, builder.tree.itemsize)


cdef double below_ties(const char *column, int64_t count, double value, int itemsize) noexcept nogil:
    """Return `value`, or the next lower one where nothing lies above it: else no point would be right of the split."""
    cdef double lower = -INFINITY, x
    cdef int64_t i
    for i in range(count):
        x = get(column, i, itemsize)
        if x > value:
            return value
        if x < value and x > lower:
            lower = x
    return lower


cdef void split_sample(TreeBuilder *builder, BuildWorkspace *work, int64_t j, int side, int64_t first,
                       int64_t count) noexcept nogil:
    """Find split j, and those below it, from the sample's points first .. first + count - 1."""
    cdef int itemsize = builder.tree.itemsize
    cdef size_t at = first * itemsize
    cdef int64_t left = count // 2, feature
    cdef double value
    if j >= builder.n_buckets - 1:
        return
    feature = builder.points.kernels.median_partition(
        work.columns[side] + at, work.ids[side] + first, builder.capacity, count, builder.points.n, left,
        work.columns[1 - side] + at, work.ids[1 - side] + first, builder.split_value + j * itemsize, work.keys,
        work.places)
    builder.split_feature[j] = max(<int32_t>feature, 0)
    value = INFINITY
    if feature >= 0:
        value = below_ties(work.columns[side] + at + feature * builder.capacity * itemsize, count,
                           get(builder.split_value, j, itemsize), itemsize)
    put(builder.split_value, j, itemsize, value)
    split_sample(builder, work, 2 * j + 1, 1 - side, first, left)
    split_sample(builder, work, 2 * j + 2, 1 - side, first + left, count - left)


# ---- points into buckets, a counting sort ----------------------------------------------------

cdef inline int64_t stripe_start(const TreeBuilder *builder, int64_t stripe) noexcept nogil:
    return stripe * builder.points.m // STRIPES


cdef void count_stripe(TreeBuilder *builder, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """Find the bucket of each point of a stripe (kept in slot_of), and the stripe's histogram of buckets."""
    cdef int64_t first = stripe_start(builder, stripe), end = stripe_start(builder, stripe + 1), count, stride, i
    cdef int64_t *histogram = builder.histogram + stripe * builder.n_buckets
    cdef int32_t *bucket
    cdef const void *rows
    memset(histogram, 0, builder.n_buckets * sizeof(int64_t))
    while first < end and not poll(p):
        count = min(BUILD_BLOCK, end - first)
        bucket = builder.tree.slot_of + first
        rows = read_rows(builder.points, first, count, builder.workspaces[thread].rows, &stride)
        builder.points.kernels.classify(rows, stride, count, builder.split_depth, builder.split_feature,
                                        builder.split_value, bucket)
        for i in range(count):
            histogram[bucket[i]] += 1
        first += count


cdef int64_t child_count(int64_t n_leaves) noexcept nogil:
    """Return the number of children of a node of so many leaves: FAN_OUT on the lower levels first."""
    cdef int64_t each = 1
    while each * FAN_OUT < n_leaves:
        each *= FAN_OUT
    return (n_leaves + each - 1) // each


cdef int64_t nodes_below(int64_t n_leaves) noexcept nogil:
    """Return the number of nodes below a node of so many leaves."""
    cdef int64_t n_children = child_count(n_leaves)
    return 0 if n_leaves <= 1 else n_children + nodes_below_children(n_leaves, n_children)


cdef int64_t nodes_below_children(int64_t n_leaves, int64_t n_children) noexcept nogil:
    """Return the number of nodes below so many children that share so many leaves."""
    cdef int64_t left = (n_children + 1) // 2, left_leaves = (n_leaves * left + n_children - 1) // n_children
    if n_children == 1:
        return nodes_below(n_leaves)
    return nodes_below_children(left_leaves, left) + nodes_below_children(n_leaves - left_leaves, n_children - left)


cdef void lay_out_buckets(TreeBuilder *builder) noexcept nogil:
    """Find where each bucket's leaves and nodes begin, and the slots of each stripe in it, in the order of points."""
    cdef int64_t *next_slot
    cdef int64_t bucket, stripe, count, slot, n_leaves
    builder.first_leaf[0] = 0
    builder.first_node[0] = builder.tree.level_first[builder.tree.n_levels - 1] + builder.n_buckets
    builder.capacity = 1
    for bucket in range(builder.n_buckets):
        slot = builder.first_leaf[bucket] * LEAF
        for stripe in range(STRIPES):
            next_slot = builder.histogram + stripe * builder.n_buckets + bucket
            count = next_slot[0]
            next_slot[0] = slot
            slot += count
        count = builder.filled[bucket] = slot - builder.first_leaf[bucket] * LEAF
        n_leaves = (count + LEAF - 1) // LEAF
        builder.first_leaf[bucket + 1] = builder.first_leaf[bucket] + n_leaves
        builder.first_node[bucket + 1] = builder.first_node[bucket] + nodes_below(n_leaves)
        builder.capacity = max(builder.capacity, count)
    builder.tree.n_leaves = builder.first_leaf[builder.n_buckets]
    builder.tree.n_nodes = builder.first_node[builder.n_buckets]


cdef void scatter_stripe(TreeBuilder *builder, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """Copy the points of a stripe, as rows, into slots of their buckets."""
    cdef int64_t first = stripe_start(builder, stripe), end = stripe_start(builder, stripe + 1)
    cdef int64_t count, stride, slot, i, l
    cdef int64_t *next_slot = builder.histogram + stripe * builder.n_buckets
    cdef int64_t n = builder.points.n
    cdef int itemsize = builder.tree.itemsize
    cdef const char *rows
    while first < end and not poll(p):
        count = min(BUILD_BLOCK, end - first)
        rows = <const char *>read_rows(builder.points, first, count, builder.workspaces[thread].rows, &stride)
        for i in range(count):
            slot = next_slot[builder.tree.slot_of[first + i]]
            next_slot[builder.tree.slot_of[first + i]] += 1
            builder.point_in[slot] = <int32_t>(first + i)
            for l in range(n):
                copy_value(builder.tree.points, slot * n + l, rows, i * stride + l, itemsize)
        first += count


# ---- a bucket's subtree ----------------------------------------------------------------------

cdef inline double multiplicity_of(const TreeBuilder *builder, int64_t point) noexcept nogil:
    return 1 if builder.multiplicities == NULL else builder.multiplicities[point]


cdef inline double weight_of(const TreeBuilder *builder, int64_t point) noexcept nogil:
    return 1 if builder.points.weights == NULL else builder.points.weights[point]


cdef void build_leaf(TreeBuilder *builder, BuildWorkspace *work, int64_t i, int side, int64_t first,
                     int64_t count) noexcept nogil:
    """Make node i a leaf of the points first .. first + count - 1 of the bucket; slots beyond them repeat the last
    point at weight 0."""
    cdef Tree *tree = builder.tree
    cdef int64_t n = tree.n, number = work.bucket_leaf + first // LEAF, slot = number * LEAF, p
    cdef const int32_t *ids = work.ids[side] + first
    cdef double n_rows = 0
    for p in range(count):
        tree.slot_of[ids[p]] = <int32_t>(slot + p)
        n_rows += multiplicity_of(builder, ids[p])
    for p in range(LEAF if tree.weights != NULL else 0):
        tree.weights[slot + p] = weight_of(builder, ids[p]) if p < count else 0
    for p in range(LEAF if tree.multiplicities != NULL and tree.multiplicities != tree.weights else 0):
        tree.multiplicities[slot + p] = multiplicity_of(builder, ids[p]) if p < count else 0
    builder.points.kernels.fill_leaf(
        work.columns[side] + first * tree.itemsize, builder.capacity, count, n,
        NULL if tree.weights == NULL else tree.weights + slot, tree.points + slot * n * tree.itemsize,
        tree.edges + i * 3 * n * tree.itemsize, tree.sums + i * (n + 2))
    tree.filled[number] = <int32_t>count
    tree.nodes[i].first = <int32_t>number
    tree.nodes[i].n_children = 0
    tree.nodes[i].n_rows = <int64_t>n_rows


cdef void merge_feature(Tree *tree, int64_t i, int64_t l) noexcept nogil:
    """Find feature l of node i's bounding box, mean and sums from those of its children that have points."""
    cdef int64_t n = tree.n, child, first = tree.nodes[i].first, last = first + tree.nodes[i].n_children
    cdef int itemsize = tree.itemsize
    cdef size_t size = 3 * n * itemsize
    cdef char *edges = tree.edges + i * size
    cdef const char *child_edges
    cdef double *sums = tree.sums + i * (n + 2)
    cdef const double *child_sums
    cdef double minimum = INFINITY, maximum = -INFINITY, total = 0, v
    for child in range(first, last):
        if tree.nodes[child].n_rows > 0:
            child_edges = tree.edges + child * size
            minimum = min(minimum, get(child_edges, l, itemsize))
            maximum = max(maximum, get(child_edges, n + l, itemsize))
            total += tree.sums[child * (n + 2) + n + 1] * get(child_edges, 2 * n + l, itemsize)
    put(edges, l, itemsize, minimum)
    put(edges, n + l, itemsize, maximum)
    put(edges, 2 * n + l, itemsize, total / sums[n + 1] if sums[n + 1] > 0 else minimum)
    for child in range(first, last):
        if tree.nodes[child].n_rows > 0:
            child_sums = tree.sums + child * (n + 2)
            v = get(tree.edges + child * size, 2 * n + l, itemsize) - get(edges, 2 * n + l, itemsize)
            sums[n] += (2 * child_sums[l] + child_sums[n + 1] * v) * v
            sums[l] += child_sums[l] + child_sums[n + 1] * v


cdef void merge_children(Tree *tree, int64_t i) noexcept nogil:
    """Find the rows, the weight, the bounding box, the mean and the sums of node i from its children's."""
    cdef int64_t n = tree.n, child, l
    cdef double *sums = tree.sums + i * (n + 2)
    memset(sums, 0, (n + 2) * sizeof(double))
    tree.nodes[i].n_rows = 0
    for child in range(tree.nodes[i].first, tree.nodes[i].first + tree.nodes[i].n_children):
        tree.nodes[i].n_rows += tree.nodes[child].n_rows
        sums[n] += tree.sums[child * (n + 2) + n]
        sums[n + 1] += tree.sums[child * (n + 2) + n + 1]
    for l in range(n):
        merge_feature(tree, i, l)


cdef void build_node(TreeBuilder *builder, BuildWorkspace *work, int64_t i, int side, int64_t first,
                     int64_t count) noexcept nogil:
    """Build node i of the bucket's points first .. first + count - 1, and all nodes below it."""
    cdef int64_t n_leaves = (count + LEAF - 1) // LEAF, n_children = child_count(n_leaves)
    if n_leaves <= 1:
        build_leaf(builder, work, i, side, first, count)
        return
    builder.tree.nodes[i].first = <int32_t>work.next_node
    builder.tree.nodes[i].n_children = <int32_t>n_children
    work.next_node += n_children
    build_children(builder, work, builder.tree.nodes[i].first, n_children, side, first, count)
    merge_children(builder.tree, i)


cdef void build_children(TreeBuilder *builder, BuildWorkspace *work, int64_t i, int64_t n_children, int side,
                         int64_t first, int64_t count) noexcept nogil:
    """Build nodes i .. i + n_children - 1 of the bucket's points first .. first + count - 1; all their leaves but the
    last are full."""
    cdef int64_t n_leaves = (count + LEAF - 1) // LEAF, left_children = (n_children + 1) // 2, left
    cdef size_t at = first * builder.tree.itemsize
    cdef double value
    if n_children == 1:
        build_node(builder, work, i, side, first, count)
        return
    left = (n_leaves * left_children + n_children - 1) // n_children * LEAF
    builder.points.kernels.median_partition(
        work.columns[side] + at, work.ids[side] + first, builder.capacity, count, builder.tree.n, left,
        work.columns[1 - side] + at, work.ids[1 - side] + first, &value, work.keys, work.places)
    build_children(builder, work, i, left_children, 1 - side, first, left)
    build_children(builder, work, i + left_children, n_children - left_children, 1 - side, first + left, count - left)


cdef void build_bucket(TreeBuilder *builder, int64_t bucket, int64_t thread) noexcept nogil:
    cdef BuildWorkspace *work = &builder.workspaces[thread]
    cdef Tree *tree = builder.tree
    cdef int64_t n = tree.n, count = builder.filled[bucket], slot = builder.first_leaf[bucket] * LEAF, p, l
    cdef int64_t i = tree.level_first[tree.n_levels - 1] + bucket
    if count == 0:
        memset(&tree.nodes[i], 0, sizeof(Node))
        memset(tree.sums + i * (n + 2), 0, (n + 2) * sizeof(double))
        return
    memcpy(work.ids[0], builder.point_in + slot, count * sizeof(int32_t))
    for p in range(count):
        for l in range(n):
            copy_value(work.columns[0], l * builder.capacity + p, tree.points, (slot + p) * n + l, tree.itemsize)
    work.next_node = builder.first_node[bucket]
    work.bucket_leaf = builder.first_leaf[bucket]
    build_node(builder, work, i, 0, 0, count)


# ---- the whole tree --------------------------------------------------------------------------

cdef void lay_out_levels(Tree *tree, int depth) noexcept nogil:
    """Lay the upper part out: the root, then up to FAN_OUT times as many nodes on each level, the buckets last."""
    cdef int64_t at = 0, size = 1, level
    tree.n_levels = 1 + (depth + 2) // 3
    for level in range(tree.n_levels):
        tree.level_first[level] = at
        tree.level_size[level] = size
        at += size
        size = <int64_t>1 << (depth - 3 * (tree.n_levels - 2 - level))


cdef void merge_levels(Tree *tree) noexcept nogil:
    """Fill in the nodes above the buckets, from the lowest level up."""
    cdef int64_t level = tree.n_levels - 2, i, j, n_children
    while level >= 0:
        n_children = tree.level_size[level + 1] // tree.level_size[level]
        for j in range(tree.level_size[level]):
            i = tree.level_first[level] + j
            tree.nodes[i].first = <int32_t>(tree.level_first[level + 1] + j * n_children)
            tree.nodes[i].n_children = <int32_t>n_children
            merge_children(tree, i)
        level -= 1


cdef bint allocate_tree(TreeBuilder *builder) noexcept nogil:
    """Allocate the arrays of the tree, once the number of its nodes is known; False: no memory."""
    cdef Tree *tree = builder.tree
    cdef bint weighted = builder.points.weights != NULL, multiple = builder.multiplicities != NULL
    cdef int64_t slots = tree.n_leaves * LEAF
    cdef size_t item = tree.itemsize, node_size = sizeof(Node) + 3 * tree.n * item + (tree.n + 2) * sizeof(double)
    tree.nodes = <Node *>allocate(tree.n_nodes * sizeof(Node))
    tree.points = <char *>allocate(slots * tree.n * item)
    tree.edges = <char *>allocate(tree.n_nodes * 3 * tree.n * item)
    tree.sums = <double *>allocate(tree.n_nodes * (tree.n + 2) * sizeof(double))
    tree.filled = <int32_t *>allocate(tree.n_leaves * sizeof(int32_t))
    tree.base.bytes = (slots * tree.n * item + tree.n_nodes * node_size + tree.n_leaves * sizeof(int32_t)
                       + tree.n_points * sizeof(int32_t))
    if weighted:
        tree.weights = <double *>allocate(slots * sizeof(double))
        tree.base.bytes += slots * sizeof(double)
    if multiple:
        tree.multiplicities = tree.weights
        if builder.multiplicities != builder.points.weights:
            tree.multiplicities = <double *>allocate(slots * sizeof(double))
            tree.base.bytes += slots * sizeof(double)
    return (tree.nodes != NULL and tree.points != NULL and tree.edges != NULL and tree.sums != NULL
            and tree.filled != NULL and (not weighted or tree.weights != NULL)
            and (not multiple or tree.multiplicities != NULL))


cdef bint find_splits(TreeBuilder *builder) noexcept nogil:
    """Find all splits from a sample; False: no memory."""
    cdef int64_t count = min(SAMPLE_PER_BUCKET * builder.n_buckets, builder.points.m)
    cdef char *memory
    builder.capacity = count
    memory = <char *>allocate(workspaces_layout(builder, NULL))
    if memory == NULL:
        return False
    workspaces_layout(builder, memory)
    draw_sample(builder, &builder.workspaces[0], count)
    split_sample(builder, &builder.workspaces[0], 0, 0, 0, count)
    release(memory)
    return True


cdef bint fill_buckets(TreeBuilder *builder, Poll *p) noexcept nogil:
    """Sort the points into buckets and build the subtree of each; False: no memory, or interrupted."""
    cdef int64_t stripe, bucket
    cdef char *memory
    builder.capacity = 1
    memory = <char *>allocate(workspaces_layout(builder, NULL))
    if memory == NULL:
        return False
    workspaces_layout(builder, memory)
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=request_threads(builder.n_threads)):
        count_stripe(builder, stripe, threadid(), p)
    lay_out_buckets(builder)
    builder.point_in = <int32_t *>allocate(builder.tree.n_leaves * LEAF * sizeof(int32_t))
    if is_stopped(p) or not allocate_tree(builder) or builder.point_in == NULL:
        release(memory)
        return False
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=request_threads(builder.n_threads)):
        scatter_stripe(builder, stripe, threadid(), p)
    release(memory)
    memory = <char *>allocate(workspaces_layout(builder, NULL))
    if memory == NULL:
        return False
    workspaces_layout(builder, memory)
    for bucket in prange(builder.n_buckets, schedule="dynamic", chunksize=1,
                         num_threads=request_threads(builder.n_threads)):
        if not poll(p):
            build_bucket(builder, bucket, threadid())
    release(memory)
    return not is_stopped(p)


cdef bint build(Tree *tree, const UniquePoints *unique, int n_threads, Poll *p) noexcept nogil:
    """Fill in the tree; False: no memory, or interrupted."""
    cdef const Rows *points = &unique.rows
    cdef TreeBuilder builder
    cdef char *memory
    cdef bint built
    memset(&builder, 0, sizeof(TreeBuilder))
    builder.tree, builder.points, builder.multiplicities = tree, points, unique.multiplicities
    builder.split_depth = split_depth_for(points.m)
    builder.n_buckets = <int64_t>1 << builder.split_depth
    builder.n_threads = threads_for(n_threads, BUILD_WORK * points.m * points.n)
    tree.n, tree.itemsize, tree.n_points = points.n, points.kernels.itemsize, points.m
    tree.inverse = unique.inverse
    tree.slot_of = <int32_t *>allocate(points.m * sizeof(int32_t))
    memory = <char *>allocate(builder_layout(&builder, NULL))
    lay_out_levels(tree, builder.split_depth)
    built = tree.slot_of != NULL and memory != NULL
    if built:
        builder_layout(&builder, memory)
        built = (builder.n_buckets == 1 or find_splits(&builder)) and fill_buckets(&builder, p)
    if built:
        merge_levels(tree)
    release(builder.point_in)
    release(memory)
    return built


cdef void free_tree(Index *index) noexcept nogil:
    cdef Tree *tree = <Tree *>index
    if tree.multiplicities != tree.weights:
        release(tree.multiplicities)
    release(tree.weights)
    release(tree.nodes)
    release(tree.points)
    release(tree.edges)
    release(tree.sums)
    release(tree.filled)
    release(tree.slot_of)
    release(tree)


cdef Index *build_tree(const UniquePoints *unique, int n_threads, Poll *p) noexcept nogil:
    cdef Tree *tree = <Tree *>allocate(sizeof(Tree))
    if tree == NULL:
        return NULL
    memset(tree, 0, sizeof(Tree))
    tree.base.free = free_tree
    if build(tree, unique, n_threads, p):
        return &tree.base
    free_tree(&tree.base)
    return NULL


# ---- nodes as weighted points ----------------------------------------------------------------

cdef int64_t collect_means(const Tree *tree, int64_t i, int64_t max_rows, int64_t at, double *means,
                           double *weights) noexcept nogil:
    """Store the largest nodes at or below node i that have up to `max_rows` rows, or are leaves, from place `at` on;
    with means NULL only count them. Return the place behind them. Nodes without weight are left out."""
    cdef const Node *node = &tree.nodes[i]
    cdef int64_t child, l, n = tree.n
    cdef const double *sums = tree.sums + i * (n + 2)
    if node.n_rows == 0 or sums[n + 1] == 0:
        return at
    if node.n_children > 0 and node.n_rows > max_rows:
        for child in range(node.first, node.first + node.n_children):
            at = collect_means(tree, child, max_rows, at, means, weights)
        return at
    if means != NULL:
        weights[at] = sums[n + 1]
        for l in range(n):
            means[at * n + l] = get(tree.edges, (3 * i + 2) * n + l, tree.itemsize) + sums[l] / sums[n + 1]
    return at + 1


cdef int64_t summarise_tree(const Index *index, int64_t max_rows, double *means, double *weights) noexcept nogil:
    return collect_means(<const Tree *>index, 0, max_rows, 0, means, weights)


def node_means(PreparedPoints points, int64_t max_rows, int n_threads):
    """Return (means, weights) of nodes of up to `max_rows` rows, or of leaves where those have more."""
    cdef CallContext call = CallContext()
    cdef Tree *tree = <Tree *>points.index(build_tree, n_threads, call)
    cdef int64_t count = collect_means(tree, 0, max_rows, 0, NULL, NULL)
    means_array, weights_array = np.empty((count, tree.n)), np.empty(count)
    cdef double[:, ::1] means = means_array
    cdef double[::1] weights = weights_array
    collect_means(tree, 0, max_rows, 0, &means[0, 0], &weights[0])
    return means_array, weights_array
