"""One pass over the rows, shared out over the threads, with sums that do not depend on them.

How the result stays the same on any number of threads: the rows are cut into chunks whose size
follows from n and K alone; chunk i adds to partial sum i mod P, in rising order; the partial sums
are added up in order. One partial sum belongs to one thread at a time.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Step
from ckmeans._points cimport Rows, block_at, hold, read_rows
from ckmeans._runtime cimport Poll, allocate, poll, release, threads_for, wide_stride

# ---- sizes: of n, K and the dtype alone ------------------------------------------------------

cdef int64_t CHUNK_ROWS = 512
cdef int64_t CHUNK_WORK = 1 << 30     # multiply-adds that may pass between two looks at signals
cdef int64_t WINDOW_WORK = 1 << 31    # multiply-adds between two meetings of the threads
cdef int64_t BLOCK_BYTES = 192 * 1024  # packed rows that stay in the second cache


cdef int64_t chunk_rows(int64_t n, int64_t K) noexcept nogil:
    cdef int64_t rows = CHUNK_ROWS
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


cdef int64_t block_rows(const Rows *rows, int64_t chunk) noexcept nogil:
    cdef int64_t tile = rows.kernels.tile
    cdef int64_t tiles = BLOCK_BYTES // (tile * rows.n * rows.kernels.itemsize)
    return min(max(tiles, 1) * tile, chunk, (rows.m + tile - 1) // tile * tile)


cdef size_t sweep_layout(Sweep *w, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef const Rows *rows = w.rows
    cdef size_t at = 0
    cdef int64_t n = rows.n, K = w.K, i, tile = rows.kernels.tile
    cdef int64_t block = (w.block + tile - 1) // tile * tile
    cdef Part part
    cdef void *scratch
    w.parts = <Part *>take(memory, &at, w.partials * sizeof(Part))
    for i in range(w.partials):
        part.sums.offsets = <double *>take(memory, &at, K * wide_stride(n) * sizeof(double))
        part.sums.weights = <double *>take(memory, &at, K * sizeof(double))
        part.sums.counts = <int64_t *>take(memory, &at, K * sizeof(int64_t))
        if memory != NULL:
            w.parts[i] = part
    w.scratch = <void **>take(memory, &at, w.n_threads * sizeof(void *))
    for i in range(w.n_threads):
        scratch = take(memory, &at, (block * n + 8) * rows.kernels.itemsize)
        if memory != NULL:
            w.scratch[i] = scratch
    return at


cdef int sweep_open(Sweep *w, const Rows *rows, int64_t K, int n_threads) noexcept nogil:
    w.rows = rows
    w.K = K
    w.chunk = chunk_rows(rows.n, K)
    w.block = block_rows(rows, w.chunk)
    w.partials = min(partial_count(rows.n, K), (rows.m + w.chunk - 1) // w.chunk)
    w.n_threads = min(threads_for(n_threads, <double>rows.m * rows.n * K), <int>w.partials)
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
        if s.score:
            score(engine, s, part, thread, rows, stride, first, count)
        if s.sum or s.measure:
            part.sums.offsets = offsets if s.sum else NULL
            X.kernels.accumulate(rows, stride, count, X.n, s.labels + first,
                                 NULL if X.weights == NULL else X.weights + first, s.wide, &part.sums)
            part.sums.offsets = offsets
        if s.squared != NULL:
            X.kernels.distances(rows, stride, count, X.n, s.labels + first, s.wide, s.squared + first)
        first += count


cdef void work_part(Sweep *w, void *engine, Scorer score, const Step *s, Poll *p, int64_t i, int thread,
                    int64_t first, int64_t last) noexcept nogil:
    """Partial sum i over those of the chunks first .. last - 1 that belong to it, in order."""
    cdef Part *part = &w.parts[i]
    cdef int64_t chunk = first + (i - first % w.partials + w.partials) % w.partials
    if first == 0:
        part.changed = part.most = part.computed = part.waived = 0
        memset(part.sums.square, 0, sizeof(part.sums.square))
        if s.sum:
            memset(part.sums.offsets, 0, s.K * wide_stride(w.rows.n) * sizeof(double))
            memset(part.sums.weights, 0, s.K * sizeof(double))
            memset(part.sums.counts, 0, s.K * sizeof(int64_t))
    while chunk < last:
        work_chunk(w, engine, score, s, p, part, thread, chunk)
        chunk += w.partials


cdef void reduce_cluster(Sweep *w, Step *s, int64_t k) noexcept nogil:
    cdef int64_t stride = wide_stride(w.rows.n), i, l
    cdef double *total = s.offsets + k * stride
    cdef const double *part
    memset(total, 0, stride * sizeof(double))
    s.weights[k] = 0
    s.counts[k] = 0
    for i in range(w.partials):
        part = w.parts[i].sums.offsets + k * stride
        for l in range(stride):
            total[l] += part[l]
        s.weights[k] += w.parts[i].sums.weights[k]
        s.counts[k] += w.parts[i].sums.counts[k]
    if w.rows.weights == NULL:
        s.weights[k] = <double>s.counts[k]


cdef void reduce_parts(Sweep *w, Step *s) noexcept nogil:
    """Add the partial sums up in order."""
    cdef int64_t i, k, lane
    s.changed = s.most = 0
    s.square = 0
    for i in range(w.partials):
        s.changed += w.parts[i].changed
        s.most = max(s.most, w.parts[i].most)
        for lane in range(16):
            s.square += w.parts[i].sums.square[lane]
    if not s.sum:
        return
    if threads_for(w.n_threads, <double>s.K * wide_stride(w.rows.n) * w.partials) == 1:
        for k in range(s.K):
            reduce_cluster(w, s, k)
    else:
        for k in prange(s.K, schedule="static", num_threads=w.n_threads):
            reduce_cluster(w, s, k)


cdef int64_t window_chunks(const Sweep *w, int64_t K) noexcept nogil:
    """How many chunks lie between two meetings of the threads: this changes no bits."""
    cdef int64_t rounds = max(1, WINDOW_WORK // (w.partials * w.chunk) // (w.rows.n * K))
    if w.rows.feed == NULL:
        return rounds * w.partials
    return min(rounds * w.partials, max(w.rows.feed.room // w.chunk, w.n_threads))


cdef int sweep_step(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil:
    cdef int64_t chunks = (w.rows.m + w.chunk - 1) // w.chunk, first = 0, last, i
    cdef int64_t window = window_chunks(w, s.K)
    s.about_zero = False
    while first < chunks and not p.stopped:
        last = min(first + window, chunks)
        if hold(w.rows, first * w.chunk, (last - first) * w.chunk, p):
            break
        if w.n_threads == 1:
            for i in range(w.partials):
                work_part(w, engine, score, s, p, i, 0, first, last)
        else:
            for i in prange(w.partials, schedule="dynamic", chunksize=1, num_threads=w.n_threads):
                work_part(w, engine, score, s, p, i, threadid(), first, last)
        first = last
    if p.stopped:
        return 1
    reduce_parts(w, s)
    return 0
