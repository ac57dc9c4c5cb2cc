"""One pass over the rows, shared out over the threads, with sums that do not depend on them.

How the result stays the same on any number of threads: the rows are cut into chunks whose size
follows from n and K alone; chunk i adds to partial sum i mod P, in rising order; the partial sums
are added up in order. One partial sum belongs to one thread at a time.

Where few rows change their cluster, it is enough to take those out of one sum and add them to another.
Such sums are about anchors, the centroids of the last step that added up every row: with v from a
cluster's anchor r to its centroid c, S = sum (x - r) and N points,

    sum (x - c) = S - N v          sum |x - c|^2 = sum |x - r|^2 - v (S + sum (x - c))

Both lose digits where the terms are much larger than what is left of them; then all rows are added up.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Step, add_cluster, empty_cluster
from ckmeans._points cimport Rows, block_at, hold, read_rows
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads, threads_for, wide_stride
from ckmeans._team cimport begin_step, end_part, end_step, team_of

# ---- sizes: of n, K and the dtype alone ------------------------------------------------------

cdef int64_t CHUNK_WORK = 1 << 30     # multiply-adds that may pass between two looks at signals
cdef int64_t WINDOW_WORK = 1 << 31    # multiply-adds between two meetings of the threads
cdef int64_t BLOCK_BYTES = 192 * 1024  # packed rows that stay in the second cache
cdef int64_t FEW_BYTES = 8 * 1024      # centroids, or packed rows, that leave room in the first one
cdef double FEW_MOVES = 0.35           # part of the rows up to which moves are added up: a move is two rows
cdef int64_t FEW_CENTROIDS = 8         # up to which that part is not reached by the second step either
cdef double SHORT_STEPS = 4            # a team that is woken for a step must save more than one that is awake
cdef double DIGITS = 256               # how much larger than J its terms may be


cdef int64_t chunk_rows(int64_t n, int64_t K) noexcept nogil:
    cdef int64_t rows = LARGEST_BLOCK
    while rows > 32 and rows * n > CHUNK_WORK // K:
        rows //= 2
    return rows


cdef int64_t partial_count(int64_t n, int64_t K) noexcept nogil:
    """Partial sums: enough for many threads while they are small, few when they are large."""
    cdef int64_t size = K * (wide_stride(n) + 2) * sizeof(double)
    cdef int64_t count = 64
    while count > 1 and count * size > ((8 << 20) if count > 16 else (128 << 20)):
        count //= 2
    return count


cdef int64_t piece_rows(const Rows *rows) noexcept nogil:
    cdef int64_t tile = rows.kernels.tile
    return max(BLOCK_BYTES // (tile * rows.n * rows.kernels.itemsize), 1) * tile


cdef int64_t block_rows(const Rows *rows, int64_t K, int64_t chunk, bint whole) noexcept nogil:
    """Rows for as long as they stay in a cache: in the first one, where the centroids leave room there."""
    cdef int64_t tile = rows.kernels.tile, row = rows.n * rows.kernels.itemsize
    cdef int64_t piece = max(FEW_BYTES // (tile * row), 1) * tile if K * row <= FEW_BYTES else piece_rows(rows)
    return min(chunk if whole else piece, chunk, (rows.m + tile - 1) // tile * tile)


cdef size_t sweep_layout(Sweep *w, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef const Rows *rows = w.rows
    cdef size_t at = 0
    cdef int64_t n = rows.n, K = w.K, i, tile = rows.kernels.tile
    cdef int64_t block = (w.block + tile - 1) // tile * tile
    cdef Part part
    cdef void *scratch
    cdef bint carries = w.carried.wanted
    memset(&part, 0, sizeof(Part))
    w.parts = <Part *>take(memory, &at, w.partials * sizeof(Part))
    for i in range(w.partials):
        part.sums.offsets = <double *>take(memory, &at, K * wide_stride(n) * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        part.touched = <uint8_t *>take(memory, &at, K if carries else 0)
        part.taken = part.sums
        if memory != NULL:
            w.parts[i] = part
    w.scratch = <void **>take(memory, &at, w.n_threads * sizeof(void *))
    for i in range(w.n_threads):
        scratch = take(memory, &at, (block * n + 8) * rows.kernels.itemsize)
        if memory != NULL:
            w.scratch[i] = scratch
    if carries:
        carried_layout(w, memory, &at, block)
    return at


cdef void carried_layout(Sweep *w, char *memory, size_t *at, int64_t block) noexcept nogil:
    cdef int64_t K = w.K, size = K * wide_stride(w.rows.n) * sizeof(double), i
    cdef void *before
    w.carried.anchors = <double *>take(memory, at, size)
    w.carried.offsets = <double *>take(memory, at, size)
    w.carried.counts = <int64_t *>take(memory, at, K * sizeof(int64_t))
    w.carried.apart = <double *>take(memory, at, K * sizeof(double))
    w.carried.heft = <double *>take(memory, at, K * sizeof(double))
    w.before = <int32_t **>take(memory, at, w.n_threads * sizeof(int32_t *))
    for i in range(w.n_threads):
        before = take(memory, at, block * sizeof(int32_t))
        if memory != NULL:
            w.before[i] = <int32_t *>before


cdef int sweep_open(Sweep *w, const Rows *rows, int64_t K, int n_threads, bint carries, bint whole) noexcept nogil:
    w.rows = rows
    w.K = K
    w.again = w.carried.by_moves = False
    # A sum of weights that go in and out need not come back to zero. In float64 the last bits of a mean
    # depend on how its points were added up, and ties are to fall alike for all engines.
    w.carried.wanted = carries and rows.weights == NULL and rows.kernels.itemsize == 4
    w.carried.labels = NULL
    w.chunk = chunk_rows(rows.n, K)
    w.block = block_rows(rows, K, w.chunk, whole)
    w.partials = min(partial_count(rows.n, K), (rows.m + w.chunk - 1) // w.chunk)
    w.n_threads = min(threads_for(n_threads, <double>rows.m * rows.n * K / SHORT_STEPS), <int>w.partials)
    w.team = team_of(w.n_threads)
    w.memory = allocate(sweep_layout(w, NULL))
    if w.memory == NULL:
        return 1
    sweep_layout(w, <char *>w.memory)
    return 0


cdef void sweep_close(Sweep *w) noexcept nogil:
    release(w.memory)
    w.memory = NULL


cdef int64_t sweep_bytes(const Sweep *w) noexcept nogil:
    cdef Sweep copy = w[0]
    return <int64_t>sweep_layout(&copy, NULL)


# ---- one step --------------------------------------------------------------------------------

cdef void move_row(const Sweep *w, Part *part, const void *row, int32_t k_from, const int32_t *k_to) noexcept nogil:
    """Take a row out of one cluster's sums and add it to another's."""
    cdef const Rows *X = w.rows
    cdef double out = -1
    X.kernels.accumulate(row, X.n, 1, X.n, &k_from, &out, w.carried.anchors, &part.taken)
    X.kernels.accumulate(row, X.n, 1, X.n, k_to, NULL, w.carried.anchors, &part.sums)
    part.sums.counts[k_from] -= 2  # the kernel counted it in
    part.touched[k_from] = part.touched[k_to[0]] = 1


cdef void move_rows(const Sweep *w, Part *part, const void *rows, int64_t stride, int64_t count,
                    const int32_t *before, const int32_t *labels) noexcept nogil:
    cdef int64_t i, size = stride * w.rows.kernels.itemsize
    for i in range(count):
        if before[i] != labels[i]:
            move_row(w, part, <const char *>rows + i * size, before[i], labels + i)


cdef void work_chunk(Sweep *w, void *engine, Scorer score, const Step *s, Poll *p, Part *part, int thread,
                     int64_t chunk) noexcept nogil:
    """Find the labels of a chunk and add its rows up while they are in the cache."""
    cdef const Rows *X = w.rows
    cdef int64_t first = chunk * w.chunk, end = min(first + w.chunk, X.m), count, stride
    cdef const void *rows
    cdef double *offsets = part.sums.offsets
    while first < end and not poll(p):
        count = block_at(X, first, min(w.block, end - first))
        rows = read_rows(X, first, count, w.scratch[thread], &stride)
        if w.carried.by_moves:
            memcpy(w.before[thread], s.labels + first, count * sizeof(int32_t))
        if s.score and not w.again:
            score(engine, s, part, thread, rows, stride, first, count)
        if w.carried.by_moves:
            move_rows(w, part, rows, stride, count, w.before[thread], s.labels + first)
        elif s.sum or s.measure:
            part.sums.offsets = offsets if s.sum else NULL
            X.kernels.accumulate(rows, stride, count, X.n, s.labels + first,
                                 NULL if X.weights == NULL else X.weights + first, s.wide, &part.sums)
            part.sums.offsets = offsets
        if s.squared != NULL:
            X.kernels.distances(rows, stride, count, X.n, s.labels + first, s.wide, s.squared + first)
        first += count


cdef void clear(const Sweep *w, Part *part, const Step *s) noexcept nogil:
    memset(part.sums.square, 0, sizeof(part.sums.square))
    memset(part.taken.square, 0, sizeof(part.taken.square))
    if not s.sum or (w.carried.by_moves and part.clean):
        return
    memset(part.sums.offsets, 0, s.K * wide_stride(w.rows.n) * sizeof(double))
    memset(part.sums.weights, 0, s.K * sizeof(double))
    memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    if w.carried.by_moves:
        memset(part.touched, 0, s.K)
    part.clean = w.carried.by_moves


cdef void work_part(Sweep *w, void *engine, Scorer score, const Step *s, Poll *p, int64_t i, int thread,
                    int64_t first, int64_t last) noexcept nogil:
    """Partial sum i over those of the chunks first .. last - 1 that belong to it, in order."""
    cdef Part *part = &w.parts[i]
    cdef int64_t chunk = first + (i - first % w.partials + w.partials) % w.partials
    if first == 0:
        if not w.again:
            part.changed = part.most = part.computed = part.waived = part.open = 0
        clear(w, part, s)
    while chunk < last:
        work_chunk(w, engine, score, s, p, part, thread, chunk)
        chunk += w.partials


cdef void reduce_cluster(Sweep *w, Step *s, int64_t k) noexcept nogil:
    cdef int64_t stride = wide_stride(w.rows.n), i
    empty_cluster(s, k, stride)
    for i in range(w.partials):
        add_cluster(s, k, stride, &w.parts[i].sums)
    if w.rows.weights == NULL:
        s.weights[k] = <double>s.counts[k]


cdef void carry_cluster(Sweep *w, Step *s, int64_t k) noexcept nogil:
    """Add the moves up in order, and leave none; the sums about the centroid."""
    cdef int64_t stride = wide_stride(w.rows.n), i, l
    cdef double *total = w.carried.offsets + k * stride
    cdef double *part
    cdef double apart = 0, heft = 0, v, offset, term
    for i in range(w.partials):
        if not w.parts[i].touched[k]:
            continue
        part = w.parts[i].sums.offsets + k * stride
        for l in range(stride):
            total[l] += part[l]
            part[l] = 0
        w.carried.counts[k] += w.parts[i].sums.counts[k]
        w.parts[i].sums.counts[k] = w.parts[i].touched[k] = 0
    for l in range(stride):
        v = s.wide[k * stride + l] - w.carried.anchors[k * stride + l]
        offset = total[l] - w.carried.counts[k] * v
        term = v * (total[l] + offset)
        apart -= term
        heft += fabs(term)
        s.offsets[k * stride + l] = offset
    w.carried.apart[k] = apart
    w.carried.heft[k] = heft
    s.counts[k] = w.carried.counts[k]
    s.weights[k] = <double>s.counts[k]


cdef void reduce_clusters(Sweep *w, Step *s, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t k
    for k in range(first, last):
        if w.carried.by_moves:
            carry_cluster(w, s, k)
        else:
            reduce_cluster(w, s, k)


cdef void reduce_parts(Sweep *w, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, lane, K = s.K
    cdef int threads = threads_for(w.n_threads, <double>K * wide_stride(w.rows.n) * w.partials), t
    s.changed = s.most = 0
    s.square = 0
    for i in range(w.partials):
        s.changed += w.parts[i].changed
        s.most = max(s.most, w.parts[i].most)
        for lane in range(16):
            s.square += w.parts[i].sums.square[lane]
    if not s.sum:
        return
    if threads == 1:
        reduce_clusters(w, s, 0, K)
        return
    for t in prange(threads, schedule="static", num_threads=request_threads(threads)):
        reduce_clusters(w, s, t * K // threads, (t + 1) * K // threads)


cdef void carry_on(Sweep *w, const Step *s) noexcept nogil:
    """The sums of this step are the first of those that are carried."""
    cdef int64_t size = s.K * wide_stride(w.rows.n) * sizeof(double)
    memcpy(w.carried.anchors, s.wide, size)
    memcpy(w.carried.offsets, s.offsets, size)
    memcpy(w.carried.counts, s.counts, s.K * sizeof(int64_t))
    w.carried.square = s.square
    w.carried.churn = 0
    w.carried.labels = s.labels


cdef bint carried_well(Sweep *w, Step *s) noexcept nogil:
    """The distortion about the centroids; False where too few digits of it are left."""
    cdef double heft = 0
    cdef int64_t i, k, lane
    w.carried.square += s.square
    for i in range(w.partials):
        for lane in range(16):
            w.carried.square += w.parts[i].taken.square[lane]
            w.carried.churn -= 2 * w.parts[i].taken.square[lane]
    s.square = w.carried.square
    for k in range(s.K):
        s.square += w.carried.apart[k]
        heft += w.carried.heft[k]
    return w.carried.churn + heft <= DIGITS * s.square


cdef int64_t window_chunks(const Sweep *w, int64_t K) noexcept nogil:
    """How many chunks lie between two meetings of the threads: this changes no bits."""
    cdef int64_t rounds = max(1, WINDOW_WORK // (w.partials * w.chunk) // (w.rows.n * K))
    if w.rows.feed == NULL:
        return rounds * w.partials
    return min(rounds * w.partials, max(w.rows.feed.room // w.chunk, w.n_threads))


cdef int sweep_rows(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil:
    """Nonzero where it was interrupted."""
    cdef int64_t chunks = (w.rows.m + w.chunk - 1) // w.chunk, first = 0, last, i
    cdef int64_t window = window_chunks(w, s.K), parts = 0
    cdef int threads = begin_step(&w.team)
    while first < chunks and not is_stopped(p):
        last = min(first + window, chunks)
        if hold(w.rows, first * w.chunk, (last - first) * w.chunk, p):
            break
        if threads == 1:
            for i in range(w.partials):
                work_part(w, engine, score, s, p, i, 0, first, last)
        else:
            for i in prange(w.partials, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
                work_part(w, engine, score, s, p, i, threadid(), first, last)
                end_part(&w.team, threadid())
            parts += w.partials
        first = last
    if is_stopped(p):
        w.carried.labels = NULL
        return 1
    end_step(&w.team, parts)
    reduce_parts(w, s)
    return 0


cdef int sweep_step(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil:
    cdef bint carried = (s.score and s.sum and not s.fresh and not s.exact and w.carried.labels == s.labels
                         and w.carried.moved <= FEW_MOVES * w.rows.m)
    cdef int stopped
    s.about_zero = False
    s.rough = w.carried.by_moves = carried
    if sweep_rows(w, engine, score, s, p):
        return 1
    w.carried.moved = s.changed if not s.fresh else w.rows.m if s.K > FEW_CENTROIDS else 0
    # Where nothing moved this may be the last step, so it is to have every digit.
    if carried and (not carried_well(w, s) or s.changed == 0):
        w.again = True
        s.rough = w.carried.by_moves = False
        stopped = sweep_rows(w, engine, score, s, p)
        w.again = False
        if stopped:
            return 1
    if w.carried.wanted and not s.rough and s.sum:
        carry_on(w, s)
    return 0
