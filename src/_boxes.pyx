"""The points in a spatial order, and a tree of boxes over them, made once for any number of fits.

A sample of the points is halved again and again at the median of its widest feature (J. L.
Bentley, "Multidimensional binary search trees", 1975); the cuts sort all points into buckets.
Within a bucket the points themselves are halved until LEAF of them are left. So every split costs
one pass over what lies in the cache, and no outlier, scale or density spoils the boxes.

Nothing here depends on the number of threads: a bucket holds its points in their order.

Memory in bytes, for m points (distinct ones, where equal ones were collapsed) of n features of s
bytes: n s m for the points, 4 m for their slots, 8 m for weights where there are any, and about
m / 28 nodes of 24 + 3 n s + 8 (n + 2) each. While it is made: 4 m more,
and for each thread twice the largest bucket, which is small unless most points are equal.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Prepared, Units
from ckmeans._points cimport Rows, read_rows
from ckmeans._random cimport splitmix
from ckmeans._runtime cimport LEAF, Poll, Watch, allocate, poll, release, threads_for
from ckmeans._store cimport Store

import numpy as np

cdef int64_t BUCKET = 2048        # points that are halved within the cache
cdef int64_t SAMPLE = 32          # points of the sample that fall into a bucket
cdef int64_t BLOCK = 4096         # rows read together
cdef int64_t STRIPES = 64         # parts of the rows that are counted each by itself
cdef int64_t FAN_OUT = 8


# ---- what the making needs -------------------------------------------------------------------

# One thread's scratch. Columns and ids lie in two places, from which they are halved to and fro.
cdef struct Desk:
    char *rows
    char *columns[2]
    int32_t *ids[2]
    char *keys
    int32_t *places
    int64_t next_node
    int64_t bucket_leaf

cdef struct Making:
    Boxes *boxes
    const Rows *items
    const double *numbers        # of rows that each item stands for; NULL: 1
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
    Desk *desks


cdef int depth_for(int64_t items) noexcept nogil:
    cdef int depth = 0
    while items >> depth > BUCKET and depth < 16:
        depth += 1
    return depth


cdef size_t making_layout(Making *w, char *memory) noexcept nogil:
    cdef size_t at = 0
    cdef int64_t cuts = w.buckets - 1
    w.feature = <int32_t *>take(memory, &at, cuts * sizeof(int32_t))
    w.value = <char *>take(memory, &at, cuts * w.boxes.itemsize)
    w.tally = <int64_t *>take(memory, &at, STRIPES * w.buckets * sizeof(int64_t))
    w.filled = <int64_t *>take(memory, &at, w.buckets * sizeof(int64_t))
    w.first_leaf = <int64_t *>take(memory, &at, (w.buckets + 1) * sizeof(int64_t))
    w.first_node = <int64_t *>take(memory, &at, (w.buckets + 1) * sizeof(int64_t))
    w.desks = <Desk *>take(memory, &at, w.n_threads * sizeof(Desk))
    return at


cdef size_t desks_layout(Making *w, char *memory) noexcept nogil:
    """Every thread's scratch, for blocks of rows and for ranges of `room` points."""
    cdef size_t at = 0, item = w.boxes.itemsize
    cdef int64_t n = w.boxes.n, room = w.room
    cdef int i, side
    cdef Desk desk
    for i in range(w.n_threads):
        desk.rows = <char *>take(memory, &at, (BLOCK * n + 8) * item)
        for side in range(2):
            desk.columns[side] = <char *>take(memory, &at, room * n * item)
            desk.ids[side] = <int32_t *>take(memory, &at, room * sizeof(int32_t))
        desk.keys = <char *>take(memory, &at, (room + 1) * item)
        desk.places = <int32_t *>take(memory, &at, (room + 1) * sizeof(int32_t))
        if memory != NULL:
            w.desks[i] = desk
    return at


# ---- the cuts, from a sample -----------------------------------------------------------------

cdef inline void copy_value(char *to, int64_t i, const char *source, int64_t j, int itemsize) noexcept nogil:
    if itemsize == 4:
        (<float *>to)[i] = (<float *>source)[j]
    else:
        (<double *>to)[i] = (<double *>source)[j]


cdef inline double value_at(const char *values, int64_t i, int itemsize) noexcept nogil:
    return <double>(<const float *>values)[i] if itemsize == 4 else (<const double *>values)[i]


cdef void draw_sample(Making *w, Desk *desk, int64_t count) noexcept nogil:
    """One item out of each of `count` equal parts, so that no order of the rows misleads."""
    cdef int64_t m = w.items.m, n = w.items.n, i, l, low, stride
    cdef uint64_t state = 0
    cdef const char *row
    for i in range(count):
        low = i * m // count
        low += <int64_t>(splitmix(&state) % <uint64_t>((i + 1) * m // count - low))
        row = <const char *>read_rows(w.items, low, 1, desk.rows, &stride)
        for l in range(n):
            copy_value(desk.columns[0], l * w.room + i, row, l, w.boxes.itemsize)


cdef double below_ties(const char *column, int64_t count, double value, int itemsize) noexcept nogil:
    """`value`, or the next lower one where nothing lies above it: else it would cut nothing off."""
    cdef double lower = -INFINITY, x
    cdef int64_t i
    for i in range(count):
        x = value_at(column, i, itemsize)
        if x > value:
            return value
        if x < value and x > lower:
            lower = x
    return lower


cdef void cut(Making *w, Desk *desk, int64_t j, int side, int64_t first, int64_t count) noexcept nogil:
    """Cut j of the heap, and those below it, by the sample's points first .. first + count - 1."""
    cdef int itemsize = w.boxes.itemsize
    cdef size_t at = first * itemsize
    cdef int64_t left = count // 2, feature
    cdef double value
    if j >= w.buckets - 1:
        return
    feature = w.items.kernels.median_partition(
        desk.columns[side] + at, desk.ids[side] + first, w.room, count, w.items.n, left,
        desk.columns[1 - side] + at, desk.ids[1 - side] + first, w.value + j * itemsize, desk.keys, desk.places)
    w.feature[j] = max(<int32_t>feature, 0)
    value = INFINITY
    if feature >= 0:
        value = below_ties(desk.columns[side] + at + feature * w.room * itemsize, count,
                           value_at(w.value, j, itemsize), itemsize)
    if itemsize == 4:
        (<float *>w.value)[j] = <float>value
    else:
        (<double *>w.value)[j] = value
    cut(w, desk, 2 * j + 1, 1 - side, first, left)
    cut(w, desk, 2 * j + 2, 1 - side, first + left, count - left)


# ---- into buckets ----------------------------------------------------------------------------

cdef inline int64_t stripe_start(const Making *w, int64_t stripe) noexcept nogil:
    return stripe * w.items.m // STRIPES


cdef void count_stripe(Making *w, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """The bucket of each item (into slot_of), and how many of the stripe fall into each bucket."""
    cdef int64_t first = stripe_start(w, stripe), end = stripe_start(w, stripe + 1), count, stride, i
    cdef int64_t *tally = w.tally + stripe * w.buckets
    cdef int32_t *bucket
    cdef const void *rows
    memset(tally, 0, w.buckets * sizeof(int64_t))
    while first < end and not poll(p):
        count = min(BLOCK, end - first)
        bucket = w.boxes.slot_of + first
        rows = read_rows(w.items, first, count, w.desks[thread].rows, &stride)
        w.items.kernels.classify(rows, stride, count, w.depth, w.feature, w.value, bucket)
        for i in range(count):
            tally[bucket[i]] += 1
        first += count


cdef int64_t parts_of(int64_t leaves) noexcept nogil:
    """How many children a box of so many leaves has: FAN_OUT on the lower levels first."""
    cdef int64_t each = 1
    while each * FAN_OUT < leaves:
        each *= FAN_OUT
    return (leaves + each - 1) // each


cdef int64_t nodes_below(int64_t leaves) noexcept nogil:
    cdef int64_t parts = parts_of(leaves)
    return 0 if leaves <= 1 else parts + nodes_in(leaves, parts)


cdef int64_t nodes_in(int64_t leaves, int64_t parts) noexcept nogil:
    """Nodes below `parts` children that share so many leaves."""
    cdef int64_t left = (parts + 1) // 2, left_leaves = (leaves * left + parts - 1) // parts
    if parts == 1:
        return nodes_below(leaves)
    return nodes_in(left_leaves, left) + nodes_in(leaves - left_leaves, parts - left)


cdef void lay_out_buckets(Making *w) noexcept nogil:
    """Where each bucket's leaves, nodes and slots begin, stripe by stripe in the order of rows."""
    cdef int64_t bucket, stripe, count, at, leaves
    w.first_leaf[0] = 0
    w.first_node[0] = w.boxes.level_first[w.boxes.levels - 1] + w.buckets
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
    w.boxes.leaves = w.first_leaf[w.buckets]
    w.boxes.nodes = w.first_node[w.buckets]


cdef void scatter_stripe(Making *w, int64_t stripe, int64_t thread, Poll *p) noexcept nogil:
    """The stripe's items, as rows, into the slots of their buckets."""
    cdef int64_t first = stripe_start(w, stripe), end = stripe_start(w, stripe + 1), count, stride, i, l, slot
    cdef int64_t *next_slot = w.tally + stripe * w.buckets
    cdef int64_t n = w.items.n
    cdef int itemsize = w.boxes.itemsize
    cdef const char *rows
    while first < end and not poll(p):
        count = min(BLOCK, end - first)
        rows = <const char *>read_rows(w.items, first, count, w.desks[thread].rows, &stride)
        for i in range(count):
            slot = next_slot[w.boxes.slot_of[first + i]]
            next_slot[w.boxes.slot_of[first + i]] += 1
            w.order[slot] = <int32_t>(first + i)
            for l in range(n):
                copy_value(w.boxes.points, slot * n + l, rows, i * stride + l, itemsize)
        first += count


# ---- a bucket's boxes ------------------------------------------------------------------------

cdef inline double number_of(const Making *w, int64_t item) noexcept nogil:
    return 1 if w.numbers == NULL else w.numbers[item]


cdef inline double weight_of(const Making *w, int64_t item) noexcept nogil:
    return 1 if w.items.weights == NULL else w.items.weights[item]


cdef void put_into_leaf(Making *w, Desk *desk, int64_t node, int64_t leaf, int side, int64_t first,
                        int64_t count) noexcept nogil:
    """The points, their weights and slots, and their box; slots beyond them repeat the last point at weight 0."""
    cdef Boxes *b = w.boxes
    cdef int64_t n = b.n, slot = leaf * LEAF, p
    cdef const int32_t *ids = desk.ids[side] + first
    cdef double number = 0
    for p in range(count):
        b.slot_of[ids[p]] = <int32_t>(slot + p)
        number += number_of(w, ids[p])
    for p in range(LEAF if b.weights != NULL else 0):
        b.weights[slot + p] = weight_of(w, ids[p]) if p < count else 0
    for p in range(LEAF if b.numbers != NULL and b.numbers != b.weights else 0):
        b.numbers[slot + p] = number_of(w, ids[p]) if p < count else 0
    w.items.kernels.fill_leaf(
        desk.columns[side] + first * b.itemsize, w.room, count, n, NULL if b.weights == NULL else b.weights + slot,
        b.points + slot * n * b.itemsize, b.edges + node * 3 * n * b.itemsize, b.sums + node * (n + 2))
    b.filled[leaf] = <int32_t>count
    b.node[node].child = <int32_t>leaf
    b.node[node].children = 0
    b.node[node].number = <int64_t>number


cdef inline void store_edges(char *edges, int itemsize, int64_t n, int64_t l, double low, double high,
                             double mean) noexcept nogil:
    if itemsize == 4:
        (<float *>edges)[l] = <float>low
        (<float *>edges)[n + l] = <float>high
        (<float *>edges)[2 * n + l] = <float>mean
    else:
        (<double *>edges)[l] = low
        (<double *>edges)[n + l] = high
        (<double *>edges)[2 * n + l] = mean


cdef void join(Boxes *b, int64_t node) noexcept nogil:
    """The box of a node, from those of its children that hold points."""
    cdef int64_t n = b.n, l, i, first = b.node[node].child, last = first + b.node[node].children
    cdef int itemsize = b.itemsize
    cdef size_t size = 3 * n * itemsize
    cdef char *edges = b.edges + node * size
    cdef double *sums = b.sums + node * (n + 2)
    cdef double low, high, total, mean, away
    memset(sums, 0, (n + 2) * sizeof(double))
    b.node[node].number = 0
    for i in range(first, last):
        b.node[node].number += b.node[i].number
        sums[n] += b.sums[i * (n + 2) + n]
        sums[n + 1] += b.sums[i * (n + 2) + n + 1]
    for l in range(n):
        low, high, total = INFINITY, -INFINITY, 0
        for i in range(first, last):
            if b.node[i].number > 0:
                low = min(low, value_at(b.edges + i * size, l, itemsize))
                high = max(high, value_at(b.edges + i * size, n + l, itemsize))
                total += b.sums[i * (n + 2) + n + 1] * value_at(b.edges + i * size, 2 * n + l, itemsize)
        store_edges(edges, itemsize, n, l, low, high, total / sums[n + 1] if sums[n + 1] > 0 else low)
        mean = value_at(edges, 2 * n + l, itemsize)
        for i in range(first, last):
            if b.node[i].number > 0:
                away = value_at(b.edges + i * size, 2 * n + l, itemsize) - mean
                sums[n] += (2 * b.sums[i * (n + 2) + l] + b.sums[i * (n + 2) + n + 1] * away) * away
                sums[l] += b.sums[i * (n + 2) + l] + b.sums[i * (n + 2) + n + 1] * away


cdef void build_node(Making *w, Desk *desk, int64_t node, int side, int64_t first, int64_t count) noexcept nogil:
    """A node over the bucket's points first .. first + count - 1, and everything below it."""
    cdef int64_t leaves = (count + LEAF - 1) // LEAF, parts = parts_of(leaves)
    if leaves <= 1:
        put_into_leaf(w, desk, node, desk.bucket_leaf + first // LEAF, side, first, count)
        return
    w.boxes.node[node].child = <int32_t>desk.next_node
    w.boxes.node[node].children = <int32_t>parts
    desk.next_node += parts
    build_children(w, desk, w.boxes.node[node].child, parts, side, first, count)
    join(w.boxes, node)


cdef void build_children(Making *w, Desk *desk, int64_t child, int64_t parts, int side, int64_t first,
                         int64_t count) noexcept nogil:
    """`parts` neighbouring nodes from `child` on; all leaves but the last are full."""
    cdef int64_t leaves = (count + LEAF - 1) // LEAF, left_parts = (parts + 1) // 2, left
    cdef size_t at = first * w.boxes.itemsize
    cdef double value
    if parts == 1:
        build_node(w, desk, child, side, first, count)
        return
    left = (leaves * left_parts + parts - 1) // parts * LEAF
    w.items.kernels.median_partition(
        desk.columns[side] + at, desk.ids[side] + first, w.room, count, w.boxes.n, left,
        desk.columns[1 - side] + at, desk.ids[1 - side] + first, &value, desk.keys, desk.places)
    build_children(w, desk, child, left_parts, 1 - side, first, left)
    build_children(w, desk, child + left_parts, parts - left_parts, 1 - side, first + left, count - left)


cdef void build_bucket(Making *w, int64_t bucket, int64_t thread) noexcept nogil:
    cdef Desk *desk = &w.desks[thread]
    cdef Boxes *b = w.boxes
    cdef int64_t n = b.n, count = w.filled[bucket], slot = w.first_leaf[bucket] * LEAF, i, l
    cdef int64_t node = b.level_first[b.levels - 1] + bucket
    if count == 0:
        memset(&b.node[node], 0, sizeof(Node))
        memset(b.sums + node * (n + 2), 0, (n + 2) * sizeof(double))
        return
    memcpy(desk.ids[0], w.order + slot, count * sizeof(int32_t))
    for i in range(count):
        for l in range(n):
            copy_value(desk.columns[0], l * w.room + i, b.points, (slot + i) * n + l, b.itemsize)
    desk.next_node = w.first_node[bucket]
    desk.bucket_leaf = w.first_leaf[bucket]
    build_node(w, desk, node, 0, 0, count)


# ---- all of it -------------------------------------------------------------------------------

cdef void lay_out_levels(Boxes *b, int depth) noexcept nogil:
    """The upper part: the root, then FAN_OUT times as many nodes on each level, the buckets last."""
    cdef int64_t at = 0, size = 1, level
    b.levels = 1 + (depth + 2) // 3
    for level in range(b.levels):
        b.level_first[level] = at
        b.level_size[level] = size
        at += size
        size = <int64_t>1 << (depth - 3 * (b.levels - 2 - level))


cdef void join_levels(Boxes *b) noexcept nogil:
    cdef int64_t level = b.levels - 2, i, children
    while level >= 0:
        children = b.level_size[level + 1] // b.level_size[level]
        for i in range(b.level_size[level]):
            b.node[b.level_first[level] + i].child = <int32_t>(b.level_first[level + 1] + i * children)
            b.node[b.level_first[level] + i].children = <int32_t>children
            join(b, b.level_first[level] + i)
        level -= 1


cdef bint allocate_boxes(Making *w) noexcept nogil:
    """The memory of the boxes, once their number is known."""
    cdef Boxes *b = w.boxes
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
    if w.numbers != NULL:
        b.numbers = b.weights
        if w.numbers != w.items.weights:
            b.numbers = <double *>allocate(slots * sizeof(double))
            b.base.bytes += slots * sizeof(double)
    return (b.node != NULL and b.points != NULL and b.edges != NULL and b.sums != NULL and b.filled != NULL
            and (w.items.weights == NULL or b.weights != NULL) and (w.numbers == NULL or b.numbers != NULL))


cdef bint find_cuts(Making *w) noexcept nogil:
    cdef int64_t count = min(SAMPLE * w.buckets, w.items.m)
    cdef char *memory
    w.room = count
    memory = <char *>allocate(desks_layout(w, NULL))
    if memory == NULL:
        return False
    desks_layout(w, memory)
    draw_sample(w, &w.desks[0], count)
    cut(w, &w.desks[0], 0, 0, 0, count)
    release(memory)
    return True


cdef bint fill_buckets(Making *w, Poll *p) noexcept nogil:
    """Everything from the cuts on; False: no memory, or interrupted."""
    cdef int64_t stripe, bucket
    cdef char *memory
    w.room = 1
    memory = <char *>allocate(desks_layout(w, NULL))
    if memory == NULL:
        return False
    desks_layout(w, memory)
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=w.n_threads):
        count_stripe(w, stripe, threadid(), p)
    lay_out_buckets(w)
    w.order = <int32_t *>allocate(w.boxes.leaves * LEAF * sizeof(int32_t))
    if p.stopped or not allocate_boxes(w) or w.order == NULL:
        release(memory)
        return False
    for stripe in prange(STRIPES, schedule="dynamic", chunksize=1, num_threads=w.n_threads):
        scatter_stripe(w, stripe, threadid(), p)
    release(memory)
    memory = <char *>allocate(desks_layout(w, NULL))
    if memory == NULL:
        return False
    desks_layout(w, memory)
    for bucket in prange(w.buckets, schedule="dynamic", chunksize=1, num_threads=w.n_threads):
        if not poll(p):
            build_bucket(w, bucket, threadid())
    release(memory)
    return not p.stopped


cdef bint make(Boxes *b, const Rows *items, const double *numbers, int n_threads, Poll *p) noexcept nogil:
    """False: no memory, or interrupted."""
    cdef Making w
    cdef char *memory
    cdef bint made
    memset(&w, 0, sizeof(w))
    w.boxes, w.items, w.numbers = b, items, numbers
    w.depth = depth_for(items.m)
    w.buckets = <int64_t>1 << w.depth
    w.n_threads = threads_for(n_threads, 20.0 * items.m * items.n)
    b.items = items.m
    b.slot_of = <int32_t *>allocate(items.m * sizeof(int32_t))
    memory = <char *>allocate(making_layout(&w, NULL))
    lay_out_levels(b, w.depth)
    made = b.slot_of != NULL and memory != NULL
    if made:
        making_layout(&w, memory)
        made = (w.buckets == 1 or find_cuts(&w)) and fill_buckets(&w, p)
    if made:
        join_levels(b)
    release(w.order)
    release(memory)
    return made


cdef void boxes_discard(Prepared *prepared) noexcept nogil:
    cdef Boxes *b = <Boxes *>prepared
    if b.numbers != b.weights:
        release(b.numbers)
    release(b.weights)
    release(b.node)
    release(b.points)
    release(b.edges)
    release(b.sums)
    release(b.filled)
    release(b.slot_of)
    release(b)


cdef Prepared *boxes_prepare(const Units *units, int n_threads, Poll *p) noexcept nogil:
    cdef Boxes *b = <Boxes *>allocate(sizeof(Boxes))
    if b == NULL:
        return NULL
    memset(b, 0, sizeof(Boxes))
    b.base.discard = boxes_discard
    b.n, b.itemsize = units.rows.n, units.rows.kernels.itemsize
    b.unit_of = units.unit_of
    if make(b, &units.rows, units.numbers, n_threads, p):
        return &b.base
    boxes_discard(&b.base)
    return NULL


# ---- boxes as points -------------------------------------------------------------------------

cdef int64_t gather(const Boxes *b, int64_t node, int64_t most, int64_t at, double *means,
                    double *weights) noexcept nogil:
    """The largest boxes below a node that hold up to `most` rows, or leaves, as numbers from `at` on;
    with means NULL they are only counted. Those that weigh nothing are left out."""
    cdef const Node *box = &b.node[node]
    cdef int64_t i, l, n = b.n
    cdef const double *sums = b.sums + node * (n + 2)
    if box.number == 0 or sums[n + 1] == 0:
        return at
    if box.children > 0 and box.number > most:
        for i in range(box.children):
            at = gather(b, box.child + i, most, at, means, weights)
        return at
    if means != NULL:
        weights[at] = sums[n + 1]
        for l in range(n):
            means[at * n + l] = value_at(b.edges, (3 * node + 2) * n + l, b.itemsize) + sums[l] / sums[n + 1]
    return at + 1


def box_means(Store points, int64_t most, int n_threads):
    """(means, weights) of boxes of up to `most` rows, or of leaves where those hold more."""
    cdef Watch watch = Watch()
    cdef Boxes *b = <Boxes *>points.prepared(boxes_prepare, n_threads, watch)
    cdef int64_t count = gather(b, 0, most, 0, NULL, NULL)
    means_array, weights_array = np.empty((count, b.n)), np.empty(count)
    cdef double[:, ::1] means = means_array
    cdef double[::1] weights = weights_array
    gather(b, 0, most, 0, &means[0, 0], &weights[0])
    return means_array, weights_array
