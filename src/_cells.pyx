"""Whole boxes of points at once; few features.

Down the tree of boxes goes a list of the centroids that may still be some point's label. A box
with one candidate left belongs to it as a whole, and its stored sums are all that is read. Only
leaves that several centroids share are scored, against those, as the dense engine would score
them: labels are the same bit for bit (the margin of `prune` covers the rounding).

Labels. Most boxes keep their label from step to step, so labels are kept per box and in the order
of the leaves: a node's mark is the label of all its points, or MIXED, and what lies below a node
with a label is out of date. Only `finish` writes a label for each row.

The result does not depend on the number of threads: chunk i of the tree (a subtree) adds to
partial sum i mod P, in rising order, and the partial sums are added up in order.

Memory beside the boxes, in bytes: (partial sums of 64, or fewer for large K) * K * 80, and for
each thread and level of the tree one list of K * (n + 2) * itemsize.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._boxes cimport Boxes, Node
from ckmeans._engine cimport Engine, Prepared, Step, add_cluster, empty_cluster
from ckmeans._points cimport Rows
from ckmeans._runtime cimport LEAF, Poll, allocate, leaf, poll, processor, release, sums, threads_for
from ckmeans._shift cimport find_shift
from ckmeans._team cimport Team, note_step, team_for_step, team_of

cdef int MIXED = -1
cdef int64_t CHUNKS = 32               # subtrees shared out, at least, where there are so many
cdef int64_t STRIDE = 8                # of wide rows: n is at most 8
cdef int64_t PART_BYTES = 1 << 20      # of all partial sums together, roughly

cdef double[64] NUMBERS                # of a leaf whose points stand for themselves: ones, then zeros
cdef int slot_of_one
for slot_of_one in range(LEAF):
    NUMBERS[slot_of_one] = 1


# ---- what one fit holds ----------------------------------------------------------------------

cdef struct Part:
    sums sums
    int64_t changed
    int64_t computed
    int processor            # on which it was done

# One thread's scratch: the list that each level of the tree was handed.
cdef struct Desk:
    char *lists
    int64_t *counts
    int64_t *nodes           # whose list it is, of the levels above the chunks

cdef struct Cells:
    Engine engine
    const Rows *rows
    Boxes *boxes
    int64_t K
    int n_threads
    Team team
    int64_t partials
    int64_t chunk_level
    int64_t depth            # levels of lists
    size_t list_size
    char *shift
    int32_t *unit_labels     # where equal points were made one
    Part *parts
    Desk *desks


cdef int64_t depth_below(const Boxes *b, int64_t node) noexcept nogil:
    cdef int64_t i, deepest = 0
    for i in range(b.node[node].children):
        deepest = max(deepest, depth_below(b, b.node[node].child + i))
    return deepest + 1


cdef size_t cells_layout(Cells *c, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef size_t at = (sizeof(Cells) + 63) // 64 * 64
    cdef int64_t K = c.K, i
    cdef Part part
    cdef Desk desk
    c.shift = <char *>take(memory, &at, STRIDE * sizeof(double))
    c.unit_labels = <int32_t *>take(memory, &at, 0 if c.boxes.unit_of == NULL else c.boxes.items * sizeof(int32_t))
    c.parts = <Part *>take(memory, &at, c.partials * sizeof(Part))
    c.desks = <Desk *>take(memory, &at, c.n_threads * sizeof(Desk))
    for i in range(c.partials):
        part.sums.offsets = <double *>take(memory, &at, K * STRIDE * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        if memory != NULL:
            c.parts[i] = part
    for i in range(c.n_threads):
        desk.lists = <char *>take(memory, &at, (c.depth + 1) * c.list_size)
        desk.counts = <int64_t *>take(memory, &at, (c.depth + 1) * sizeof(int64_t))
        desk.nodes = <int64_t *>take(memory, &at, (c.depth + 1) * sizeof(int64_t))
        if memory != NULL:
            c.desks[i] = desk
    return at


cdef Engine *cells_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    cdef Cells draft
    cdef Boxes *b = <Boxes *>prepared
    cdef int64_t block = rows.kernels.list_block
    draft.engine.step = cells_step
    draft.engine.finish = cells_finish
    draft.engine.close = cells_close
    draft.engine.room = b.leaves * LEAF + b.nodes
    draft.engine.any_K = draft.engine.plain = False
    draft.engine.always_rough = True  # sums of boxes
    draft.rows, draft.boxes, draft.K = rows, b, K
    draft.chunk_level = 0
    while draft.chunk_level < b.levels - 1 and b.level_size[draft.chunk_level] < CHUNKS:
        draft.chunk_level += 1
    draft.partials = 64
    while draft.partials > 8 and draft.partials * K * 10 * <int64_t>sizeof(double) > PART_BYTES:
        draft.partials //= 2
    draft.partials = min(draft.partials, b.level_size[draft.chunk_level])
    draft.n_threads = min(threads_for(n_threads, <double>rows.m * 8), <int>draft.partials)
    draft.team = team_of(draft.n_threads)
    draft.depth = depth_below(b, 0)
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
cdef inline int32_t *marks_of(const Cells *c, int32_t *own) noexcept nogil:
    return own + c.boxes.leaves * LEAF


cdef inline double number_in(const Boxes *b, int64_t slot) noexcept nogil:
    return 1 if b.numbers == NULL else b.numbers[slot]


cdef int64_t others_in(const Cells *c, const int32_t *own, const int32_t *marks, int64_t node,
                       int32_t k) noexcept nogil:
    """Rows of a node whose label is not k."""
    cdef const Boxes *b = c.boxes
    cdef const Node *box = &b.node[node]
    cdef int64_t i, slot, others = 0
    cdef double number = 0
    if marks[node] >= 0:
        return 0 if marks[node] == k else box.number
    if box.children == 0:
        slot = box.child * LEAF
        for i in range(slot, slot + b.filled[box.child]):
            number += number_in(b, i) if own[i] != k else 0
        return <int64_t>number
    for i in range(box.children):
        others += others_in(c, own, marks, box.child + i, k)
    return others


cdef void hand_mark_down(const Cells *c, int32_t *own, int32_t *marks, int64_t node) noexcept nogil:
    """Make a node MIXED whose points had one label."""
    cdef const Boxes *b = c.boxes
    cdef const Node *box = &b.node[node]
    cdef int64_t i
    if marks[node] < 0:
        return
    if box.children == 0:
        for i in range(LEAF):
            own[box.child * LEAF + i] = marks[node]
    for i in range(box.children):
        marks[box.child + i] = marks[node]
    marks[node] = MIXED


cdef void finish_node(const Cells *c, int32_t *own, int32_t *marks, int64_t node) noexcept nogil:
    cdef int64_t i
    if c.boxes.node[node].number == 0:
        return
    hand_mark_down(c, own, marks, node)
    for i in range(c.boxes.node[node].children):
        finish_node(c, own, marks, c.boxes.node[node].child + i)


cdef void cells_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    cdef Cells *c = <Cells *>engine
    cdef Boxes *b = c.boxes
    cdef int64_t i, first = b.level_first[c.chunk_level], last = first + b.level_size[c.chunk_level]
    cdef int n_threads = c.n_threads
    for i in prange(first, last, schedule="dynamic", num_threads=n_threads):
        finish_node(c, own, marks_of(c, own), i)
    if b.unit_of == NULL:
        for i in prange(c.rows.m, schedule="static", num_threads=n_threads):
            labels[i] = own[b.slot_of[i]]
    else:
        for i in prange(b.items, schedule="static", num_threads=n_threads):
            c.unit_labels[i] = own[b.slot_of[i]]
        for i in prange(c.rows.m, schedule="static", num_threads=n_threads):
            labels[i] = c.unit_labels[b.unit_of[i]]


# ---- one step --------------------------------------------------------------------------------

cdef inline char *edges_of(const Boxes *b, int64_t node) noexcept nogil:
    return b.edges + node * 3 * b.n * b.itemsize


cdef inline int32_t first_id(const Cells *c, const char *kept) noexcept nogil:
    """The index of a list's first centroid."""
    cdef int64_t at = (c.boxes.n + 1) * c.rows.kernels.list_block
    return (<const int32_t *>kept)[at] if c.boxes.itemsize == 4 else <int32_t>(<const int64_t *>kept)[at]


cdef void settle_whole(Cells *c, const Step *s, Part *part, int64_t node, int32_t k) noexcept nogil:
    """Give a whole box to centroid k: its sums, moved from about its mean to about the centroid."""
    cdef const Boxes *b = c.boxes
    cdef int64_t n = b.n, l
    cdef const double *stored = b.sums + node * (n + 2)
    cdef double *offsets = part.sums.offsets + k * STRIDE
    cdef double weight = stored[n + 1], square = stored[n], away
    cdef const char *edges = edges_of(b, node)
    for l in range(n):
        if b.itemsize == 4:
            away = <double>(<const float *>edges)[2 * n + l] - s.wide[k * STRIDE + l]
        else:
            away = (<const double *>edges)[2 * n + l] - s.wide[k * STRIDE + l]
        offsets[l] += stored[l] + weight * away
        square += (2 * stored[l] + weight * away) * away
    part.sums.square[0] += square
    part.sums.weights[k] += weight
    part.sums.counts[k] += b.node[node].number
    cdef int32_t *marks = marks_of(c, s.labels)
    if s.fresh:
        part.changed += b.node[node].number
    elif marks[node] != k:
        part.changed += others_in(c, s.labels, marks, node, k)
    marks[node] = k


cdef void settle_leaf(Cells *c, const Step *s, Part *part, int64_t node, const char *kept,
                      int64_t count) noexcept nogil:
    """Score the points of a leaf against its candidates."""
    cdef const Boxes *b = c.boxes
    cdef int64_t number = b.node[node].child, filled = b.filled[number]
    cdef leaf points
    hand_mark_down(c, s.labels, marks_of(c, s.labels), node)
    points.points = b.points + number * LEAF * b.n * b.itemsize
    points.unweighted = b.weights == NULL and b.numbers == NULL and filled == LEAF
    points.weights = NULL if b.weights == b.numbers else b.weights + number * LEAF
    points.multiplicities = &NUMBERS[LEAF - filled] if b.numbers == NULL else b.numbers + number * LEAF
    points.labels = s.labels + number * LEAF
    part.changed += c.rows.kernels.assign_leaf(&points, kept, count, c.shift, b.n, s.wide, &part.sums)
    part.computed += filled * count


cdef void visit(Cells *c, const Step *s, Part *part, Desk *desk, int64_t node, int64_t level) noexcept nogil:
    """Settle a node, given its parent's candidates on `level`."""
    cdef const Node *box = &c.boxes.node[node]
    cdef char *handed = desk.lists + level * c.list_size
    cdef char *kept = handed + c.list_size
    cdef int64_t count, i
    if box.number == 0:
        return
    part.computed += desk.counts[level]
    count = c.rows.kernels.prune(handed, desk.counts[level], edges_of(c.boxes, node), c.shift, c.boxes.n, kept)
    if count == 1:
        settle_whole(c, s, part, node, first_id(c, kept))
        return
    if box.children == 0:
        settle_leaf(c, s, part, node, kept, count)
        return
    desk.counts[level + 1] = count
    hand_mark_down(c, s.labels, marks_of(c, s.labels), node)
    for i in range(box.children):
        visit(c, s, part, desk, box.child + i, level + 1)


cdef void visit_chunk(Cells *c, const Step *s, Part *part, Desk *desk, int64_t chunk) noexcept nogil:
    """Prune down to the parent of a chunk, as far as this thread has not just done so."""
    cdef const Boxes *b = c.boxes
    cdef int64_t level, node
    for level in range(c.chunk_level):
        node = b.level_first[level] + chunk * b.level_size[level] // b.level_size[c.chunk_level]
        if b.node[node].number == 0:
            return
        if desk.nodes[level] != node:
            desk.nodes[level] = node
            desk.counts[level + 1] = c.rows.kernels.prune(
                desk.lists + level * c.list_size, desk.counts[level], edges_of(b, node), c.shift, b.n,
                desk.lists + (level + 1) * c.list_size)
            memset(desk.nodes + level + 1, -1, (c.chunk_level - level) * sizeof(int64_t))
    visit(c, s, part, desk, b.level_first[c.chunk_level] + chunk, c.chunk_level)


cdef void work_part(Cells *c, const Step *s, Poll *p, int64_t i, int64_t thread) noexcept nogil:
    """Partial sum i over the chunks that belong to it, in order."""
    cdef Part *part = &c.parts[i]
    cdef int64_t chunk = i
    part.changed = part.computed = 0
    part.processor = processor()
    memset(part.sums.square, 0, sizeof(part.sums.square))
    memset(part.sums.offsets, 0, s.K * STRIDE * sizeof(double))
    memset(part.sums.weights, 0, s.K * sizeof(double))
    memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    while chunk < c.boxes.level_size[c.chunk_level] and not poll(p):
        visit_chunk(c, s, part, &c.desks[thread], chunk)
        chunk += c.partials


cdef void reduce_parts(Cells *c, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, k, lane
    s.changed = s.computed = 0
    s.rough = True
    s.most = 0  # the boxes were made of values in range
    s.square = 0
    for i in range(c.partials):
        s.changed += c.parts[i].changed
        s.computed += c.parts[i].computed
        for lane in range(16):
            s.square += c.parts[i].sums.square[lane]
    for k in range(s.K):
        empty_cluster(s, k, STRIDE)
        for i in range(c.partials):
            add_cluster(s, k, STRIDE, &c.parts[i].sums)


cdef void hand_out(Cells *c, const Step *s, Desk *desk) noexcept nogil:
    """All centroids, for the root."""
    c.rows.kernels.init_candidates(s.centroids, c.shift, s.K, c.boxes.n, desk.lists)
    desk.counts[0] = s.K
    memset(desk.nodes, -1, c.depth * sizeof(int64_t))


cdef int cells_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract (labels and sums are found; distances are not given); nonzero where it
    was interrupted."""
    cdef Cells *c = <Cells *>engine
    cdef int64_t i
    cdef int threads = team_for_step(&c.team)
    cdef bint shared = False
    find_shift(c.boxes.itemsize, s.K, c.boxes.n, s.wide, c.shift)
    for i in range(threads):
        hand_out(c, s, &c.desks[i])
    if threads == 1:
        for i in range(c.partials):
            work_part(c, s, p, i, 0)
    else:
        for i in prange(c.partials, schedule="dynamic", chunksize=1, num_threads=threads):
            work_part(c, s, p, i, threadid())
        for i in range(c.partials):
            shared = shared or c.parts[i].processor != processor()
        note_step(&c.team, shared)
    if p.stopped:
        return 1
    reduce_parts(c, s)
    return 0
