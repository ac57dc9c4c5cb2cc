"""One pass over the rows, shared out over the threads, with sums that do not depend on their number.

The rows are cut into chunks whose size follows from n and K alone; chunk i adds to partial sum i mod P, in rising
order; the partial sums are added up in order. One partial sum belongs to one thread at a time.

Where partial sums would take much memory, each cluster is owned by one of P parts instead: after a window of chunks has
its labels, part i goes over the window and adds the rows of clusters i K / P up to (i + 1) K / P straight to the sums,
in rising order, whatever the length of the window. Which way it is follows from m, n, K and the dtype alone.

Where few rows change their cluster, it is enough to take those out of one sum and add them to another. Such carried
sums are about anchors, the centroids of the last step that added up every row: with v from a cluster's anchor r to
its centroid c, S = sum (x - r) and N points,

    sum (x - c) = S - N v          sum |x - c|^2 = sum |x - r|^2 - v (S + sum (x - c))

Both lose digits by cancellation where the terms are much larger than their sum; then all rows are added up.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, block_at, ensure_loaded, read_rows
from ckmeans._runtime cimport (
    ROW_PADDING, Poll, allocate, is_stopped, poll, release, request_threads, threads_for, wide_stride,
)
from ckmeans._team cimport begin_step, end_part, end_step, team_of

# ---- sizes: of n, K and the dtype alone ------------------------------------------------------

cdef int64_t CHUNK_WORK = 1 << 30     # multiply-adds between two polls for signals: about 10 ms
cdef int64_t WINDOW_WORK = 1 << 31    # multiply-adds between two barriers
cdef int64_t L2_BYTES = 192 * 1024    # of packed rows: they stay in a second-level cache of 256 KiB or more
cdef int64_t L1_BYTES = 8 * 1024      # of centroids, or packed rows: both stay in a first-level cache of 32 KiB
cdef int64_t MAX_PARTS = 64           # partial sums while they are small,
cdef int64_t MIN_PARTS = 16           # and where they are large: threads beyond these would have nothing to do
cdef int64_t SMALL_SUMS = 8 << 20     # bytes of all partial sums together that are always well spent,
cdef int64_t LARGE_SUMS = 128 << 20   # and that never are,
cdef double MAX_SUMS_SHARE = 0.125    # or from this part of the size of X on
cdef double MAX_MOVES = 0.35          # part of the rows up to which moves are added up: a move adds two rows
cdef int64_t FEW_CENTROIDS = 8        # with so few, that part is not reached by the second step either
cdef double MIN_SPEEDUP = 4           # waking a team for a short step costs about so many times a small region
cdef double MAX_CANCELLATION = 256    # how much larger than J its terms may be: 8 of float64's 53 bits


cdef int64_t chunk_rows(int64_t n, int64_t K) noexcept nogil:
    cdef int64_t rows = MAX_BLOCK
    while rows > 32 and rows * n > CHUNK_WORK // K:
        rows //= 2
    return rows


cdef int64_t partial_sum_size(int64_t n, int64_t K) noexcept nogil:
    return K * (wide_stride(n) + 2) * sizeof(double)


cdef int64_t partial_sum_count(int64_t n, int64_t K) noexcept nogil:
    """Enough partial sums for many threads while they are small, fewer where they are large."""
    cdef int64_t count = MAX_PARTS
    while count > MIN_PARTS and count * partial_sum_size(n, K) > SMALL_SUMS:
        count //= 2
    return count


cdef bint too_large(const Rows *rows, int64_t K, int64_t n_parts) noexcept nogil:
    """Whether so many partial sums take much memory, also beside X."""
    cdef int64_t limit = min(<int64_t>(rows.m * rows.n * rows.kernels.itemsize * MAX_SUMS_SHARE), LARGE_SUMS)
    return n_parts * partial_sum_size(rows.n, K) > max(limit, SMALL_SUMS)


cdef int64_t cached_rows(const Rows *rows) noexcept nogil:
    cdef int64_t tile = rows.kernels.tile
    return max(L2_BYTES // (tile * rows.n * rows.kernels.itemsize), 1) * tile


cdef int64_t block_rows(const Rows *rows, int64_t K, int64_t chunk, bint whole) noexcept nogil:
    """Rows that stay in the first-level cache where the centroids leave room there, else in the second-level one."""
    cdef int64_t tile = rows.kernels.tile, row = rows.n * rows.kernels.itemsize
    cdef int64_t piece = max(L1_BYTES // (tile * row), 1) * tile if K * row <= L1_BYTES else cached_rows(rows)
    return min(chunk if whole else piece, chunk, (rows.m + tile - 1) // tile * tile)


cdef size_t sweep_layout(Sweep *w, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef const Rows *rows = w.rows
    cdef size_t at = 0
    cdef int64_t n = rows.n, K = w.K, i, tile = rows.kernels.tile
    cdef int64_t block = (w.block + tile - 1) // tile * tile
    cdef PartialSum part
    cdef void *scratch
    cdef bint carries = w.carried.wanted
    memset(&part, 0, sizeof(PartialSum))
    w.parts = <PartialSum *>take(memory, &at, w.n_parts * sizeof(PartialSum))
    for i in range(w.n_parts):
        if not w.owned:
            part.sums.offsets = <double *>take(memory, &at, K * wide_stride(n) * sizeof(double))
            part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
            part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
            part.touched = <uint8_t *>take(memory, &at, K if carries else 0)
            part.removed = part.sums
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
    cdef int64_t K = w.K, i
    cdef int32_t *old_labels
    w.carried.anchors = take(memory, at, (K * w.rows.n + ROW_PADDING) * w.rows.kernels.itemsize)
    w.carried.offsets = <double *>take(memory, at, K * wide_stride(w.rows.n) * sizeof(double))
    w.carried.counts = <int64_t *>take(memory, at, K * sizeof(int64_t))
    w.carried.anchor_correction = <double *>take(memory, at, K * sizeof(double))
    w.carried.magnitude = <double *>take(memory, at, K * sizeof(double))
    w.old_labels = <int32_t **>take(memory, at, w.n_threads * sizeof(int32_t *))
    w.labels_before = <int32_t *>take(memory, at, w.rows.m * sizeof(int32_t) if w.owned else 0)
    for i in range(w.n_threads):
        old_labels = <int32_t *>take(memory, at, 0 if w.owned else block * sizeof(int32_t))
        if memory != NULL:
            w.old_labels[i] = old_labels


cdef int sweep_open(Sweep *w, const Rows *rows, int64_t K, int n_threads, bint carries, bint whole) noexcept nogil:
    memset(w, 0, sizeof(Sweep))
    w.rows = rows
    w.K = K
    # Weights that go in and out of a sum need not come back to zero. In float64 the last bits of a mean
    # depend on how its points were added up, and ties are to fall alike for all engines.
    w.carried.wanted = carries and rows.weights == NULL and rows.kernels.itemsize == 4
    w.chunk = chunk_rows(rows.n, K)
    w.block = block_rows(rows, K, w.chunk, whole)
    w.n_parts = min(partial_sum_count(rows.n, K), (rows.m + w.chunk - 1) // w.chunk)
    w.owned = too_large(rows, K, w.n_parts)
    if w.owned:
        w.n_parts = min(MAX_PARTS, (rows.m + w.chunk - 1) // w.chunk)
    w.n_threads = min(threads_for(n_threads, <double>rows.m * rows.n * K / MIN_SPEEDUP), <int>w.n_parts)
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


# ---- a block of rows -------------------------------------------------------------------------

cdef void remove_row(const Sweep *w, PartialSum *part, const void *row, int32_t old) noexcept nogil:
    """Take a row out of a cluster's sums."""
    cdef const Rows *X = w.rows
    cdef double minus_one = -1
    X.kernels.accumulate(row, X.n, 1, X.n, &old, &minus_one, w.carried.anchors, &part.removed)
    part.removed.counts[old] -= 2  # the kernel counted it in


cdef void move_rows(const Sweep *w, PartialSum *part, const Block *block, const int32_t *old_labels,
                    const int32_t *labels) noexcept nogil:
    cdef const Rows *X = w.rows
    cdef const char *row = <const char *>block.rows
    cdef int64_t i
    for i in range(block.count):
        if old_labels[i] != labels[i]:
            remove_row(w, part, row, old_labels[i])
            X.kernels.accumulate(row, X.n, 1, X.n, labels + i, NULL, w.carried.anchors, &part.sums)
            part.touched[old_labels[i]] = part.touched[labels[i]] = 1
        row += block.stride * X.kernels.itemsize


cdef void add_rows(const Sweep *w, PartialSum *part, const Block *block, const Step *s) noexcept nogil:
    """Add every row to the sums, or its square alone."""
    cdef const Rows *X = w.rows
    cdef double *offsets = part.sums.offsets
    part.sums.offsets = offsets if s.sum else NULL
    X.kernels.accumulate(block.rows, block.stride, block.count, X.n, s.labels + block.first,
                         NULL if X.weights == NULL else X.weights + block.first, s.centroids, &part.sums)
    part.sums.offsets = offsets


cdef void work_block(Sweep *w, void *engine, Scorer score, const Step *s, PartialSum *part, int thread,
                     const Block *block) noexcept nogil:
    """Find the labels of a block and add its rows up while they are in the cache."""
    cdef const Rows *X = w.rows
    cdef int32_t *labels = s.labels + block.first
    cdef int32_t *old_labels
    if w.by_moves:
        old_labels = w.labels_before + block.first if w.owned else w.old_labels[thread]
        memcpy(old_labels, labels, block.count * sizeof(int32_t))
    if s.assign and not w.sums_only:
        score(engine, s, part, thread, block)
    if w.owned:
        pass  # the sums follow
    elif w.by_moves:
        move_rows(w, part, block, w.old_labels[thread], labels)
    elif s.sum or s.measure:
        add_rows(w, part, block, s)
    if s.squared != NULL:
        X.kernels.distances(block.rows, block.stride, block.count, X.n, labels, s.centroids, s.squared + block.first)


# ---- one pass --------------------------------------------------------------------------------

# What a pass of a step is made of.
cdef struct Pass:
    Sweep *sweep
    void *engine
    Scorer score
    Step *step
    Poll *poll


cdef void work_chunk(const Pass *a, PartialSum *part, int thread, int64_t chunk) noexcept nogil:
    cdef Sweep *w = a.sweep
    cdef int64_t first = chunk * w.chunk, end = min(first + w.chunk, w.rows.m)
    cdef Block block
    while first < end and not poll(a.poll):
        block.first = first
        block.count = block_at(w.rows, first, min(w.block, end - first))
        block.rows = read_rows(w.rows, first, block.count, w.scratch[thread], &block.stride)
        work_block(w, a.engine, a.score, a.step, part, thread, &block)
        first += block.count


cdef void clear_part(const Sweep *w, PartialSum *part, const Step *s) noexcept nogil:
    memset(part.sums.square, 0, sizeof(part.sums.square))
    memset(part.removed.square, 0, sizeof(part.removed.square))
    if not w.sums_only:
        part.n_changed = part.max_abs_bits = part.n_distances = part.n_pairs = 0
        part.n_fallback_tiles = part.n_undecided = 0
    if not s.sum or w.owned or (w.by_moves and part.clean):
        return
    memset(part.sums.offsets, 0, s.K * wide_stride(w.rows.n) * sizeof(double))
    memset(part.sums.weights, 0, s.K * sizeof(double))
    memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    if w.by_moves:
        memset(part.touched, 0, s.K)
    part.clean = w.by_moves


cdef void work_part(const Pass *a, int64_t i, int thread, int64_t first, int64_t last) noexcept nogil:
    """Partial sum i over those of the chunks first .. last - 1 that belong to it, in order."""
    cdef Sweep *w = a.sweep
    cdef PartialSum *part = &w.parts[i]
    cdef int64_t chunk = first + (i - first % w.n_parts + w.n_parts) % w.n_parts
    if first == 0:
        clear_part(w, part, a.step)
    if w.owned and a.step.squared == NULL and (w.sums_only or not a.step.assign):
        return  # the sums follow
    while chunk < last:
        work_chunk(a, part, thread, chunk)
        chunk += w.n_parts


# ---- clusters that are owned -------------------------------------------------------------------

cdef void open_part(const Sweep *w, PartialSum *part, Step *s, int64_t first, int64_t last) noexcept nogil:
    """Let a part add to the sums themselves, and clear those of its clusters, first .. last - 1."""
    cdef int64_t k
    part.sums.offsets = w.carried.offsets if w.by_moves else s.sums.offsets if s.sum else NULL
    part.sums.weights = s.sums.weights
    part.sums.counts = w.carried.counts if w.by_moves else s.sums.counts
    part.removed.offsets, part.removed.weights, part.removed.counts = (
        part.sums.offsets, part.sums.weights, part.sums.counts)
    for k in range(first, last if s.sum and not w.by_moves else first):
        clear_cluster(&s.sums, k, wide_stride(w.rows.n))


cdef int64_t list_owned(const int32_t *labels, int64_t count, uint32_t first, uint32_t span,
                        int32_t *found) noexcept nogil:
    """List the rows of a block with labels first .. first + span - 1; returns how many."""
    cdef int64_t i, n_found = 0
    for i in range(count):
        found[n_found] = <int32_t>i
        n_found += <uint32_t>labels[i] - first < span
    return n_found


cdef int64_t list_moved(const int32_t *labels, const int32_t *before, int64_t count, uint32_t first, uint32_t span,
                        int32_t *found) noexcept nogil:
    """List those that came from one of these labels, or went to one."""
    cdef int64_t i, n_found = 0
    for i in range(count):
        found[n_found] = <int32_t>i
        n_found += (labels[i] != before[i]
                    and (<uint32_t>labels[i] - first < span or <uint32_t>before[i] - first < span))
    return n_found


cdef void own_block(const Pass *a, PartialSum *part, int thread, int64_t first, int64_t count, uint32_t first_k,
                    uint32_t span) noexcept nogil:
    """Add the rows of a block up whose clusters are the part's."""
    cdef const Sweep *w = a.sweep
    cdef const Rows *X = w.rows
    cdef const int32_t *labels = a.step.labels + first
    cdef const int32_t *before = w.labels_before + first if w.by_moves else NULL
    cdef const void *centroids = w.carried.anchors if w.by_moves else a.step.centroids
    cdef const void *row
    cdef int32_t[MAX_BLOCK] found
    cdef int64_t n_found, stride, i, j
    if w.by_moves:
        n_found = list_moved(labels, before, count, first_k, span, found)
    else:
        n_found = list_owned(labels, count, first_k, span, found)
    for j in range(n_found):
        i = found[j]
        row = read_rows(X, first + i, 1, w.scratch[thread], &stride)
        if w.by_moves and <uint32_t>before[i] - first_k < span:
            remove_row(w, part, row, before[i])
        if <uint32_t>labels[i] - first_k < span:
            X.kernels.accumulate(row, X.n, 1, X.n, labels + i, NULL if X.weights == NULL else X.weights + first + i,
                                 centroids, &part.sums)


cdef void own_part(const Pass *a, int64_t i, int thread, int64_t first, int64_t last) noexcept nogil:
    """Add up the rows first .. last - 1 of the clusters that part i owns."""
    cdef Sweep *w = a.sweep
    cdef PartialSum *part = &w.parts[i]
    cdef int64_t K = a.step.K, first_k = i * K // w.n_parts, last_k = (i + 1) * K // w.n_parts, count
    if first == 0:
        open_part(w, part, a.step, first_k, last_k)
    while first < last and not poll(a.poll):
        count = min(<int64_t>MAX_BLOCK, last - first)
        own_block(a, part, thread, first, count, <uint32_t>first_k, <uint32_t>(last_k - first_k))
        first += count


cdef int64_t window_chunks(const Sweep *w, int64_t K) noexcept nogil:
    """How many chunks lie between two barriers; no result depends on it."""
    cdef int64_t rounds = max(1, WINDOW_WORK // (w.n_parts * w.chunk) // (w.rows.n * K))
    if w.rows.window == NULL:
        return rounds * w.n_parts
    return min(rounds * w.n_parts, max(w.rows.window.capacity // w.chunk, w.n_threads))


cdef int sweep_rows(const Pass *a) noexcept nogil:
    """Go over all rows once; nonzero: it was interrupted."""
    cdef Sweep *w = a.sweep
    cdef int64_t n_chunks = (w.rows.m + w.chunk - 1) // w.chunk, first = 0, last, i
    cdef int64_t window = window_chunks(w, a.step.K), parts = 0
    cdef int threads = begin_step(&w.team)
    while first < n_chunks and not is_stopped(a.poll):
        last = min(first + window, n_chunks)
        if ensure_loaded(w.rows, first * w.chunk, (last - first) * w.chunk, a.poll):
            break
        if threads == 1:
            for i in range(w.n_parts):
                work_part(a, i, 0, first, last)
        else:
            for i in prange(w.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
                work_part(a, i, threadid(), first, last)
                end_part(&w.team, threadid())
            parts += w.n_parts
        if w.owned and (a.step.sum or a.step.measure):
            for i in prange(w.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
                own_part(a, i, threadid(), first * w.chunk, min(last * w.chunk, w.rows.m))
                end_part(&w.team, threadid())
            parts += w.n_parts
        first = last
    if is_stopped(a.poll):
        w.carried.epoch = 0
        return 1
    end_step(&w.team, parts)
    reduce_parts(w, a.step)
    return 0


# ---- from partial sums to sums ---------------------------------------------------------------

cdef void reduce_cluster(Sweep *w, ClusterSums *s, int64_t k) noexcept nogil:
    cdef int64_t stride = wide_stride(w.rows.n), i
    if not w.owned:
        clear_cluster(s, k, stride)
        for i in range(w.n_parts):
            add_partial_sum(s, k, stride, &w.parts[i].sums)
    if w.rows.weights == NULL:
        s.weights[k] = <double>s.counts[k]


cdef void add_moves(Sweep *w, int64_t k) noexcept nogil:
    """Add the moves of a cluster up in order, and clear them."""
    cdef int64_t stride = wide_stride(w.rows.n), i, l
    cdef double *total = w.carried.offsets + k * stride
    cdef double *part
    for i in range(w.n_parts):
        if not w.parts[i].touched[k]:
            continue
        part = w.parts[i].sums.offsets + k * stride
        for l in range(stride):
            total[l] += part[l]
            part[l] = 0
        w.carried.counts[k] += w.parts[i].sums.counts[k]
        w.parts[i].sums.counts[k] = w.parts[i].touched[k] = 0


cdef void shift_cluster(Sweep *w, Step *s, int64_t k) noexcept nogil:
    """Shift a cluster's sums from the anchor to the centroid."""
    cdef int64_t n = w.rows.n, stride = wide_stride(n), l
    cdef const double *total = w.carried.offsets + k * stride
    cdef const float *centroid = <const float *>s.centroids + k * n
    cdef const float *anchor = <const float *>w.carried.anchors + k * n
    cdef double correction = 0, magnitude = 0, v, offset, term
    for l in range(n, stride):
        s.sums.offsets[k * stride + l] = 0
    for l in range(n):
        v = <double>centroid[l] - anchor[l]
        offset = total[l] - w.carried.counts[k] * v
        term = v * (total[l] + offset)
        correction -= term
        magnitude += fabs(term)
        s.sums.offsets[k * stride + l] = offset
    w.carried.anchor_correction[k] = correction
    w.carried.magnitude[k] = magnitude
    s.sums.counts[k] = w.carried.counts[k]
    s.sums.weights[k] = <double>s.sums.counts[k]


cdef void reduce_clusters(Sweep *w, Step *s, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t k
    for k in range(first, last):
        if w.by_moves:
            if not w.owned:
                add_moves(w, k)
            shift_cluster(w, s, k)
        else:
            reduce_cluster(w, &s.sums, k)


cdef void reduce_parts(Sweep *w, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, lane, K = s.K
    cdef int threads = threads_for(w.n_threads, <double>K * wide_stride(w.rows.n) * w.n_parts), t
    s.n_changed = s.max_abs_bits = 0
    s.sums.square = 0
    for i in range(w.n_parts):
        s.n_changed += w.parts[i].n_changed
        s.max_abs_bits = max(s.max_abs_bits, w.parts[i].max_abs_bits)
        for lane in range(16):
            s.sums.square += w.parts[i].sums.square[lane]
    if not s.sum:
        return
    if threads == 1:
        reduce_clusters(w, s, 0, K)
        return
    for t in prange(threads, schedule="static", num_threads=request_threads(threads)):
        reduce_clusters(w, s, t * K // threads, (t + 1) * K // threads)


# ---- carried sums ----------------------------------------------------------------------------

cdef void start_carrying(Sweep *w, const Step *s) noexcept nogil:
    """Take this step's sums as the first of those that are carried; its centroids are the anchors."""
    memcpy(w.carried.anchors, s.centroids, s.K * w.rows.n * sizeof(float))
    memcpy(w.carried.offsets, s.sums.offsets, s.K * wide_stride(w.rows.n) * sizeof(double))
    memcpy(w.carried.counts, s.sums.counts, s.K * sizeof(int64_t))
    w.carried.square = s.sums.square
    w.carried.cancellation = 0


cdef bint carried_precisely(Sweep *w, Step *s) noexcept nogil:
    """Fill in the distortion about the centroids; False where too few digits of it are left."""
    cdef double magnitude = 0
    cdef int64_t i, k, lane
    w.carried.square += s.sums.square
    for i in range(w.n_parts):
        for lane in range(16):
            w.carried.square += w.parts[i].removed.square[lane]
            w.carried.cancellation -= 2 * w.parts[i].removed.square[lane]
    s.sums.square = w.carried.square
    for k in range(s.K):
        s.sums.square += w.carried.anchor_correction[k]
        magnitude += w.carried.magnitude[k]
    return w.carried.cancellation + magnitude <= MAX_CANCELLATION * s.sums.square


cdef int sweep_step(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil:
    cdef Pass a = Pass(w, engine, score, s, p)
    cdef bint first = s.labels_epoch == 0
    cdef int interrupted
    w.by_moves = (s.assign and s.sum and not s.full_sums and not first and w.carried.epoch == s.labels_epoch
                  and w.carried.n_moved <= MAX_MOVES * w.rows.m)
    s.sums.uncentred = False
    s.sums.incremental = w.by_moves
    if sweep_rows(&a):
        return 1
    w.carried.n_moved = s.n_changed if not first else w.rows.m if s.K > FEW_CENTROIDS else 0
    # Where nothing moved this may be the last step, so it is to have every digit.
    if w.by_moves and (not carried_precisely(w, s) or s.n_changed == 0):
        w.sums_only = True
        s.sums.incremental = w.by_moves = False
        interrupted = sweep_rows(&a)
        w.sums_only = False
        if interrupted:
            return 1
    if w.carried.wanted and s.sum:
        if not s.sums.incremental:
            start_carrying(w, s)
        w.carried.epoch = s.epoch
    return 0
