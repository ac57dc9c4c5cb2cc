"""Greedy k-means++ with blocks of near rows, most of which a candidate cannot improve; few features.

A pass of _seed.pxi for each centroid reads all rows K times, although a candidate lowers the squared distances D to the
nearest centroid only of rows around itself. Here the rows are sorted so that near ones lie together (_seed_order.pxi)
and cut into blocks, each with a mean z, its radius r about z and its largest D. By the triangle inequality a candidate
at a distance of sqrt(D) + r from z or farther lowers no D of the block, which is then passed over. What is left are
exact distances, so draws and choices are those of greedy k-means++, with the sums in another order. Where candidates
turn out to be near most blocks (many features without clusters), _seed.pxi goes on from the centroids that were chosen.

Rounding: each squared distance is right to (n + 3) u, for the unit u of rounding, relative to itself, as the features
are subtracted first. With n <= 8 the bound on the squared distance to z is off by less than 40 u; BOUND_SLACK is more.

The blocks of a part are summed up in order, and so are the parts: the result does not depend on the number of threads.

Memory in bytes, for items of s bytes: n s m for the rows, 8 m for places and numbers of rows, 8 m for weights where
there are any, and s m for D; and what _seed.pxi takes.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, magnitude_of, max_abs_bits_of, out_of_range, read_row, read_rows
from ckmeans._random cimport Stream, next_unit
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads
from ckmeans._team cimport begin_step, end_part, end_step
from ckmeans._values cimport get, put

cdef int64_t BLOCK_CLUSTERS = 32       # of fewer sorting the rows does not pay
cdef double BLOCK_WORK = 1 << 23       # multiply-adds of all candidates from which it does
cdef int64_t BLOCKS_BYTES = 256 << 20  # of the sorted rows, at most
cdef double BOUND_SLACK = 64           # units of rounding
cdef int64_t FEATURE_CLUSTERS = 12     # nor of fewer for each feature
cdef int64_t PROBE_CENTROIDS = 8       # drawn centroids after which it is checked whether blocks pay:
cdef double MAX_HITS = 0.6             # pairs of a block and a candidate to compute, of all
cdef double PASS_WORK = 1e6            # multiply-adds of a pass from which threads pay
cdef enum:
    BLOCK = 64               # rows of a block: whole tiles
    PART_BLOCKS = 64         # blocks of a part, whose means are whole tiles too
    PART_ROWS = 4096         # BLOCK * PART_BLOCKS

# Scratch memory of a thread.
cdef struct BlockWorkspace:
    char *lowered            # (trials, PART_BLOCKS) squared distances to means, or the bounds where these are lower
    char *near               # (trials, n) the candidates that may improve a block,
    int64_t *trial           # (trials,) and which ones they are
    char *distances          # (trials, BLOCK)

# Places of rows go to a whole number of parts; those behind the last row have D = 0 and no weight.
cdef struct SeedBlocks:
    SeedingState *state
    int64_t n_parts
    uint64_t max_abs_bits
    double slack             # 1 + BOUND_SLACK units of rounding
    int32_t *row_at          # (n_parts * PART_ROWS,) the row in each place
    int32_t *place           # (m,) the place of each row
    char *tiles              # (n_parts * PART_ROWS, n) tiles of sorted rows
    double *weights          # of each place; NULL: 1
    char *means              # of blocks, in tiles
    double *radius           # of each block
    char *min_distances      # of each place: D
    char *bounds             # of each block: (sqrt(max D) + r)^2
    double *sums             # of each block: of weighted D
    double *prefix           # of each block and the end: the sum of those before it
    double *gains            # (n_parts, trials) how far each candidate lowers the sum of a part
    int64_t *hits            # of each part: pairs of a block and a candidate that were computed
    int64_t last_hits        # of all parts
    BlockWorkspace *workspaces
    char **scratch           # of each thread, for a chunk of rows


cdef bint blocks_pay(const Rows *rows, int64_t K, int64_t trials) noexcept nogil:
    return (trials > 0 and rows.window == NULL and rows.source.indptr == NULL and rows.n <= ORDER_FEATURES
            and K >= max(BLOCK_CLUSTERS, FEATURE_CLUSTERS * rows.n) and <double>K * trials * rows.stored >= BLOCK_WORK
            and rows.m * rows.n * rows.kernels.itemsize <= BLOCKS_BYTES)


cdef size_t blocks_layout(SeedBlocks *b, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t places = b.n_parts * PART_ROWS, n_blocks = b.n_parts * PART_BLOCKS, trials = b.state.base.trials, i
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(SeedBlocks) + 63) // 64 * 64
    cdef BlockWorkspace work
    b.row_at = <int32_t *>take(memory, &at, places * sizeof(int32_t))
    b.place = <int32_t *>take(memory, &at, rows.m * sizeof(int32_t))
    b.tiles = <char *>take(memory, &at, places * rows.n * item)
    b.weights = NULL
    if rows.weights != NULL:
        b.weights = <double *>take(memory, &at, places * sizeof(double))
    b.means = <char *>take(memory, &at, n_blocks * rows.n * item)
    b.radius = <double *>take(memory, &at, n_blocks * sizeof(double))
    b.min_distances = <char *>take(memory, &at, places * item)
    b.bounds = <char *>take(memory, &at, n_blocks * item)
    b.sums = <double *>take(memory, &at, n_blocks * sizeof(double))
    b.prefix = <double *>take(memory, &at, (n_blocks + 1) * sizeof(double))
    b.gains = <double *>take(memory, &at, b.n_parts * trials * sizeof(double))
    b.hits = <int64_t *>take(memory, &at, b.n_parts * sizeof(int64_t))
    b.workspaces = <BlockWorkspace *>take(memory, &at, b.state.base.n_threads * sizeof(BlockWorkspace))
    b.scratch = <char **>take(memory, &at, b.state.base.n_threads * sizeof(char *))
    for i in range(b.state.base.n_threads):
        work.lowered = <char *>take(memory, &at, trials * PART_BLOCKS * item)
        work.near = <char *>take(memory, &at, trials * rows.n * item)
        work.trial = <int64_t *>take(memory, &at, trials * sizeof(int64_t))
        work.distances = <char *>take(memory, &at, trials * BLOCK * item)
        if memory != NULL:
            b.workspaces[i] = work
            b.scratch[i] = b.state.workspaces[i].rows
    return at


# ---- the blocks --------------------------------------------------------------------------------

cdef inline int64_t place_of_value(const Rows *rows, int64_t place, int64_t l) noexcept nogil:
    """Return where a value lies in tiles."""
    cdef int64_t tile = rows.kernels.tile
    return (place // tile * rows.n + l) * tile + place % tile


cdef uint64_t sort_chunk(SeedBlocks *b, int64_t chunk, int64_t thread) noexcept nogil:
    """Copy a chunk of rows to their places; return the bits of the largest magnitude."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t first = chunk * SEED_CHUNK, count = min(SEED_CHUNK, rows.m - first), item = rows.kernels.itemsize
    cdef int64_t stride, i, l, at, tile = rows.kernels.tile
    cdef const char *values = <const char *>read_rows(rows, first, count, b.scratch[thread], &stride)
    cdef uint64_t max_abs_bits = 0
    if stride == rows.n:
        max_abs_bits = max_abs_bits_of(values, count * rows.n, <int>item)
    for i in range(count):
        if stride != rows.n:
            max_abs_bits = max(max_abs_bits, max_abs_bits_of(values + i * stride * item, rows.n, <int>item))
        at = place_of_value(rows, b.place[first + i], 0)
        for l in range(rows.n):
            put(b.tiles, at + l * tile, <int>item, get(values, i * stride + l, <int>item))
        b.row_at[b.place[first + i]] = <int32_t>(first + i)
        if rows.weights != NULL:
            b.weights[b.place[first + i]] = rows.weights[first + i]
    return max_abs_bits


cdef void measure_block(SeedBlocks *b, int64_t block, BlockWorkspace *work) noexcept nogil:
    """Find the mean of a block and its radius about it."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t n = rows.n, tile = rows.kernels.tile, count = min(<int64_t>BLOCK, rows.m - block * BLOCK), l, t
    cdef int item = rows.kernels.itemsize
    cdef const char *tiles = b.tiles + block * BLOCK * n * item
    cdef double total
    for l in range(n):
        total = 0
        for t in range(BLOCK // tile):
            total += rows.kernels.weighted_sum(tiles + (t * n + l) * tile * item, NULL, tile)
        put(work.near, l, item, total / max(count, 1))
        put(b.means, place_of_value(rows, block, l), item, total / max(count, 1))
    b.radius[block] = 0
    if count > 0:
        rows.kernels.min_distance_update(tiles, BLOCK // tile, n, work.near, 1, NULL, work.distances)
        b.radius[block] = sqrt(magnitude_of(max_abs_bits_of(work.distances, count, item), item))


cdef void measure_part(SeedBlocks *b, int64_t part, int64_t thread) noexcept nogil:
    cdef int64_t block
    for block in range(part * PART_BLOCKS, (part + 1) * PART_BLOCKS):
        measure_block(b, block, &b.workspaces[thread])


cdef void forget_distances(SeedBlocks *b, Poll *p) noexcept nogil:
    """Set D to infinity, before any centroid is chosen."""
    cdef int64_t part, i, m = b.state.base.rows.m
    cdef int item = b.state.base.rows.kernels.itemsize
    for part in range(b.n_parts):
        if poll(p):
            return
        for i in range(part * PART_ROWS, (part + 1) * PART_ROWS):
            put(b.min_distances, i, item, INFINITY if i < m else 0.0)
        for i in range(part * PART_BLOCKS, (part + 1) * PART_BLOCKS):
            put(b.bounds, i, item, INFINITY if i * BLOCK < m else 0.0)
            b.sums[i] = 0


cdef bint sort_rows(SeedBlocks *b, Poll *p) noexcept nogil:
    """Sort the rows into blocks and measure these; False: no memory, or interrupted."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef int64_t places = b.n_parts * PART_ROWS, item = rows.kernels.itemsize, i
    cdef int threads = state.base.n_threads
    if not order_rows(rows, SEED_CHUNK, b.scratch, threads, b.place, p):
        return False
    memset(state.max_abs_bits, 0, threads * sizeof(uint64_t))
    memset(b.tiles + rows.m // BLOCK * BLOCK * rows.n * item, 0, (places - rows.m // BLOCK * BLOCK) * rows.n * item)
    if b.weights != NULL:
        memset(b.weights + rows.m, 0, (places - rows.m) * sizeof(double))
    for i in prange(state.n_chunks, schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            state.max_abs_bits[threadid()] = max(state.max_abs_bits[threadid()], sort_chunk(b, i, threadid()))
    b.max_abs_bits = max_abs_bits_read(state)
    for i in prange(b.n_parts, schedule="static", num_threads=request_threads(threads)):
        if not poll(p):
            measure_part(b, i, threadid())
    return not is_stopped(p)


cdef SeedBlocks *blocks_open(SeedingState *state, Poll *p) noexcept nogil:
    """NULL: no memory, or interrupted."""
    cdef SeedBlocks draft
    cdef char *memory
    memset(&draft, 0, sizeof(SeedBlocks))
    draft.state = state
    draft.n_parts = (state.base.rows.m + PART_ROWS - 1) // PART_ROWS
    draft.slack = 1 + BOUND_SLACK * (2.0 ** -24 if state.base.rows.kernels.itemsize == 4 else 2.0 ** -53)
    memory = <char *>allocate(blocks_layout(&draft, NULL))
    if memory == NULL:
        return NULL
    blocks_layout(&draft, memory)
    if not sort_rows(&draft, p):
        release(memory)
        return NULL
    memcpy(memory, &draft, sizeof(SeedBlocks))
    return <SeedBlocks *>memory


# ---- passes over the blocks --------------------------------------------------------------------

cdef void find_near(SeedBlocks *b, int64_t part, const char *values, int64_t count,
                    BlockWorkspace *work) noexcept nogil:
    """Compare some centroids with the bounds of a part's blocks."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t first = part * PART_BLOCKS, item = rows.kernels.itemsize
    rows.kernels.min_distance_update(b.means + first * rows.n * item, PART_BLOCKS // rows.kernels.tile, rows.n, values,
                                     count, b.bounds + first * item, work.lowered)


cdef inline bint is_near(const SeedBlocks *b, const BlockWorkspace *work, int64_t part, int64_t i,
                         int64_t trial) noexcept nogil:
    """Whether a centroid may improve block i of a part."""
    cdef int item = b.state.base.rows.kernels.itemsize
    return get(work.lowered, trial * PART_BLOCKS + i, item) < get(b.bounds, part * PART_BLOCKS + i, item)


cdef void mark_near(const SeedBlocks *b, const BlockWorkspace *work, int64_t part, int64_t count,
                    int32_t *marks) noexcept nogil:
    """Mark the blocks of a part that any of the first centroids may improve."""
    cdef const float *lowered = <const float *>work.lowered
    cdef const float *bounds = <const float *>b.bounds + part * PART_BLOCKS
    cdef const double *lowered_wide = <const double *>work.lowered
    cdef const double *bounds_wide = <const double *>b.bounds + part * PART_BLOCKS
    cdef int64_t trial, i
    cdef int32_t[PART_BLOCKS] near
    memset(near, 0, sizeof(near))
    for trial in range(count):
        if b.state.base.rows.kernels.itemsize == 4:
            for i in range(PART_BLOCKS):
                near[i] |= lowered[trial * PART_BLOCKS + i] < bounds[i]
        else:
            for i in range(PART_BLOCKS):
                near[i] |= lowered_wide[trial * PART_BLOCKS + i] < bounds_wide[i]
    memcpy(marks, near, sizeof(near))


cdef void compare_with_block(SeedBlocks *b, int64_t block, const char *values, int64_t count,
                             char *updated) noexcept nogil:
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t item = rows.kernels.itemsize
    rows.kernels.min_distance_update(b.tiles + block * BLOCK * rows.n * item, BLOCK // rows.kernels.tile, rows.n,
                                     values, count, b.min_distances + block * BLOCK * item, updated)


cdef inline double sum_of_block(const SeedBlocks *b, int64_t block, const char *distances) noexcept nogil:
    return b.state.base.rows.kernels.weighted_sum(
        distances, NULL if b.weights == NULL else b.weights + block * BLOCK, BLOCK)


cdef void improve_part(SeedBlocks *b, int64_t part, const char *values, int64_t thread) noexcept nogil:
    """Lower D of a part to the distances from a new centroid."""
    cdef BlockWorkspace *work = &b.workspaces[thread]
    cdef int item = b.state.base.rows.kernels.itemsize
    cdef int64_t i, block
    cdef char *min_distances
    cdef double farthest
    cdef int32_t[PART_BLOCKS] near
    find_near(b, part, values, 1, work)
    mark_near(b, work, part, 1, near)
    for i in range(PART_BLOCKS):
        if not near[i]:
            continue
        block = part * PART_BLOCKS + i
        min_distances = b.min_distances + block * BLOCK * item
        compare_with_block(b, block, values, 1, min_distances)
        b.sums[block] = sum_of_block(b, block, min_distances)
        farthest = sqrt(magnitude_of(max_abs_bits_of(min_distances, BLOCK, item), item)) + b.radius[block]
        put(b.bounds, block, item, farthest * farthest * b.slack)


cdef void try_part(SeedBlocks *b, int64_t part, int64_t thread) noexcept nogil:
    """Sum up how far each candidate lowers the sum of D of a part."""
    cdef BlockWorkspace *work = &b.workspaces[thread]
    cdef SeedingState *state = b.state
    cdef int64_t trials = state.base.trials, item = state.base.rows.kernels.itemsize
    cdef int64_t size = state.base.rows.n * item, i, j, block, trial, count
    cdef double *gains = b.gains + part * trials
    cdef int32_t[PART_BLOCKS] near
    memset(gains, 0, trials * sizeof(double))
    b.hits[part] = 0
    find_near(b, part, state.candidate_values, trials, work)
    mark_near(b, work, part, trials, near)
    for i in range(PART_BLOCKS):
        if not near[i]:
            continue
        block = part * PART_BLOCKS + i
        count = 0
        for trial in range(trials):
            if is_near(b, work, part, i, trial):
                memcpy(work.near + count * size, state.candidate_values + trial * size, size)
                work.trial[count] = trial
                count += 1
        b.hits[part] += count
        compare_with_block(b, block, work.near, count, work.distances)
        for j in range(count):
            gains[work.trial[j]] += b.sums[block] - sum_of_block(b, block, work.distances + j * BLOCK * item)


cdef void visit_parts(SeedBlocks *b, const char *newest, double work, Poll *p) noexcept nogil:
    """Improve all parts by a new centroid, or try the candidates where that is NULL. `work`: multiply-adds."""
    cdef int threads = 1
    cdef int64_t part
    if work >= PASS_WORK:
        threads = min(begin_step(&b.state.team), <int>b.n_parts)
    if threads == 1:
        for part in range(b.n_parts):
            if not poll(p):
                visit_part(b, part, newest, 0)
        return
    for part in prange(b.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
        if not poll(p):
            visit_part(b, part, newest, threadid())
        end_part(&b.state.team, threadid())
    end_step(&b.state.team, b.n_parts)


cdef void visit_part(SeedBlocks *b, int64_t part, const char *newest, int64_t thread) noexcept nogil:
    if newest != NULL:
        improve_part(b, part, newest, thread)
    else:
        try_part(b, part, thread)


# ---- the start ---------------------------------------------------------------------------------

cdef double work_of(const SeedBlocks *b, int64_t count) noexcept nogil:
    """Return about how many multiply-adds a pass with so many centroids takes, from what the last one took."""
    cdef const Rows *rows = b.state.base.rows
    return (<double>b.last_hits * count / b.state.base.trials * BLOCK * (rows.n + 2)
            + <double>b.n_parts * PART_BLOCKS * count * rows.n)


cdef double sum_up_blocks(SeedBlocks *b) noexcept nogil:
    """Sum D up to each block; return the sum of all."""
    cdef int64_t n_blocks = b.n_parts * PART_BLOCKS, block
    b.prefix[0] = 0
    for block in range(n_blocks):
        b.prefix[block + 1] = b.prefix[block] + b.sums[block]
    return b.prefix[n_blocks]


cdef int64_t draw_place(const SeedBlocks *b, double target) noexcept nogil:
    """Return the place where the running sum of D exceeds `target`; -1 where its block's D are 0."""
    cdef int64_t first = 0, last = b.n_parts * PART_BLOCKS - 1, middle, place, found = -1
    cdef double term
    while first < last:
        middle = (first + last) // 2
        if b.prefix[middle + 1] > target:
            last = middle
        else:
            first = middle + 1
    target -= b.prefix[first]
    for place in range(first * BLOCK, (first + 1) * BLOCK):
        term = get(b.min_distances, place, b.state.base.rows.kernels.itemsize)
        if b.weights != NULL:
            term *= b.weights[place]
        if term > 0:
            found = place
            target -= term
            if target < 0:
                break
    return found


cdef void draw_candidates_in_blocks(SeedBlocks *b, Stream *random) noexcept nogil:
    """Draw the candidates for the next centroid by D^2 sampling; any row where all are chosen."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef double total = sum_up_blocks(b)
    cdef int64_t trial, place, l, i
    for trial in range(state.base.trials):
        place = draw_place(b, next_unit(random) * total)
        if place < 0:
            place = b.place[draw_row(rows, random)]
        state.draws[trial].row = b.row_at[place]
        for l in range(rows.n):
            put(state.candidate_values, trial * rows.n + l, rows.kernels.itemsize,
                get(b.tiles, place_of_value(rows, place, l), rows.kernels.itemsize))


cdef int64_t best_in_blocks(SeedBlocks *b) noexcept nogil:
    """Return the candidate that lowers the sum of D the most."""
    cdef int64_t trials = b.state.base.trials, trial, part, best = 0
    cdef double gain, highest = -INFINITY
    b.last_hits = 0
    for part in range(b.n_parts):
        b.last_hits += b.hits[part]
    for trial in range(trials):
        gain = 0
        for part in range(b.n_parts):
            gain += b.gains[part * trials + trial]
        if gain > highest:
            highest = gain
            best = trial
    return best


cdef bint too_many_hits(const SeedBlocks *b) noexcept nogil:
    """Whether candidates are near so many blocks that passing over the others saves less than telling them costs."""
    return b.last_hits > MAX_HITS * b.state.base.trials * ((b.state.base.rows.m + BLOCK - 1) // BLOCK)


cdef int64_t choose_in_blocks(SeedBlocks *b, Stream *random, int64_t n_given, char *centroids,
                              Poll *p) noexcept nogil:
    """Choose the centroids; return how many were, fewer than K where blocks do not pay."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, k, best
    forget_distances(b, p)
    b.last_hits = b.n_parts * PART_BLOCKS * state.base.trials
    if n_given == 0:
        state.drawn[0] = draw_row(rows, random)
        read_row(rows, state.drawn[0], centroids)
    for k in range(max(n_given, 1)):
        visit_parts(b, centroids + k * size, work_of(b, 1), p)
    for k in range(max(n_given, 1), state.base.K):
        if is_stopped(p):
            return state.base.K
        draw_candidates_in_blocks(b, random)
        visit_parts(b, NULL, work_of(b, state.base.trials), p)
        best = best_in_blocks(b)
        state.drawn[k] = state.draws[best].row
        memcpy(centroids + k * size, state.candidate_values + best * size, size)
        if k == n_given + PROBE_CENTROIDS and too_many_hits(b):
            return k + 1
        visit_parts(b, centroids + k * size, work_of(b, 1), p)
    return state.base.K


cdef int plus_plus_in_blocks(Seeding *seeding, Stream *random, int64_t n_given, void *centroids,
                             uint64_t *max_abs_bits, Poll *p) noexcept nogil:
    """Draw K centroids as plus_plus does; nonzero: no memory, or interrupted."""
    cdef SeedingState *state = <SeedingState *>seeding
    cdef int64_t n_chosen
    if state.blocks == NULL:
        state.blocks = blocks_open(state, p)
        if state.blocks == NULL:
            return 1
    max_abs_bits[0] = state.blocks.max_abs_bits
    if out_of_range(seeding.rows, max_abs_bits[0]):
        return 0
    n_chosen = choose_in_blocks(state.blocks, random, n_given, <char *>centroids, p)
    if n_chosen < seeding.K:
        plus_plus(seeding, random, n_chosen, centroids, p)
    return is_stopped(p)
