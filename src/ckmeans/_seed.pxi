"""Starting centroids: random examples, or greedy k-means++.

k-means++: D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
2007; its greedy form draws several candidates a centre and keeps the one that lowers the
distortion most.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._points cimport (
    PreparedPoints, Rows, ensure_loaded, fetch_row, fetch_rows, out_of_range, raise_out_of_range, read_row, read_rows,
)
from ckmeans._random cimport Stream, next_below, next_unit, stream_of
from ckmeans._runtime cimport (
    CallContext, Poll, allocate, is_stopped, panel, poll, release, request_threads, threads_for,
)

import numpy as np

cdef int64_t SEED_CHUNK = 512               # rows whose sum is kept, and the unit shared out to threads
cdef int64_t PACKED_BYTES = 64 << 20   # packed points that are kept over all centres


# One thread's scratch.
cdef struct SeedWorkspace:
    char *rows
    char *tiles      # one chunk, where the packed points are not kept
    char *closer     # (trials, SEED_CHUNK)

# Centres that rows are compared with together.
cdef struct Centres:
    const char *values       # (count, n)
    int64_t count
    panel panel              # the same for sparse rows

# What was drawn for a candidate: a chunk, and how far into its squared distances; then the row.
cdef struct Draw:
    int64_t chunk
    double left
    int64_t row              # -1: not yet found

cdef struct SeedingState:
    Seeding base
    int64_t chunks
    int64_t slots            # of the table of chosen values: a power of two over 2 K
    int64_t *table           # index + 1 of a chosen row, 0: free
    int64_t *drawn           # (K,) rows
    char *nearest            # (m,) squared distance to the nearest centre
    char *packed             # (m, n) all tiles; NULL: each chunk is packed again for each centre
    double *sums             # (trials, chunks) weighted sums of squared distances
    char *candidates         # (trials, n)
    Draw *draws              # (trials,)
    Centres newest
    Centres others
    char *no_shift           # (n,) zeros
    uint64_t *max_abs_bits         # (n_threads,)
    SeedWorkspace *workspaces


cdef void panel_layout(const Rows *rows, panel *centres, int64_t count, char *memory, size_t *at) noexcept nogil:
    cdef int64_t lanes = rows.kernels.sparse.lanes, places = (count + lanes - 1) // lanes * lanes
    cdef size_t item = rows.kernels.itemsize
    centres.c = take(memory, at, places * rows.n * item)
    centres.norms = take(memory, at, places * item)
    centres.ids = take(memory, at, places * item)


cdef size_t seeding_layout(SeedingState *f, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = f.base.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(SeedingState) + 63) // 64 * 64
    cdef int64_t trials = f.base.trials, i
    cdef bint sparse = rows.source.indptr != NULL
    cdef SeedWorkspace work
    f.table = <int64_t *>take(memory, &at, f.slots * sizeof(int64_t))
    f.drawn = <int64_t *>take(memory, &at, f.base.K * sizeof(int64_t))
    if trials == 0:
        return at
    f.nearest = <char *>take(memory, &at, f.chunks * SEED_CHUNK * item)
    f.sums = <double *>take(memory, &at, trials * f.chunks * sizeof(double))
    f.packed = NULL
    if not sparse and f.chunks * SEED_CHUNK * rows.n * item <= <size_t>PACKED_BYTES:
        f.packed = <char *>take(memory, &at, f.chunks * SEED_CHUNK * rows.n * item)
    f.candidates = <char *>take(memory, &at, trials * rows.n * item)
    f.draws = <Draw *>take(memory, &at, trials * sizeof(Draw))
    if sparse:
        panel_layout(rows, &f.newest.panel, 1, memory, &at)
        panel_layout(rows, &f.others.panel, trials, memory, &at)
    f.no_shift = <char *>take(memory, &at, rows.n * item)
    f.max_abs_bits = <uint64_t *>take(memory, &at, f.base.n_threads * sizeof(uint64_t))
    f.workspaces = <SeedWorkspace *>take(memory, &at, f.base.n_threads * sizeof(SeedWorkspace))
    for i in range(f.base.n_threads):
        work.rows = <char *>take(memory, &at, 0 if sparse else (SEED_CHUNK * rows.n + 8) * item)
        work.tiles = <char *>take(memory, &at, 0 if sparse or f.packed != NULL else SEED_CHUNK * rows.n * item)
        work.closer = <char *>take(memory, &at, trials * SEED_CHUNK * item)
        if memory != NULL:
            f.workspaces[i] = work
    return at


cdef Seeding *seeding_open(const Rows *rows, int64_t K, int64_t trials, int n_threads) noexcept nogil:
    """NULL where there is no memory."""
    cdef SeedingState draft
    memset(&draft, 0, sizeof(draft))
    draft.base.rows = rows
    draft.base.K = K
    draft.base.trials = trials
    draft.chunks = (rows.m + SEED_CHUNK - 1) // SEED_CHUNK
    draft.base.n_threads = min(threads_for(n_threads, rows.stored * (trials + 1)), <int>draft.chunks)
    draft.slots = 4
    while draft.slots < 2 * K:
        draft.slots *= 2
    cdef char *memory = <char *>allocate(seeding_layout(&draft, NULL))
    if memory == NULL:
        return NULL
    seeding_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(SeedingState))
    if trials > 0:
        memset(draft.no_shift, 0, rows.n * rows.kernels.itemsize)
    return <Seeding *>memory


cdef void seeding_close(Seeding *seeding) noexcept nogil:
    release(seeding)


# ---- random examples -------------------------------------------------------------------------

cdef int64_t draw_row(const Rows *rows, Stream *random) noexcept nogil:
    cdef int64_t low = 0, high = rows.m - 1, middle
    cdef double target
    if rows.weights == NULL:
        return next_below(random, rows.m)
    target = next_unit(random) * rows.total_weight
    while low < high:
        middle = (low + high) // 2
        if rows.cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


cdef uint64_t hash_of(const uint8_t *bytes, int64_t size) noexcept nogil:
    """FNV-1a over 64-bit words' worth of bytes (Fowler, Noll and Vo), finished by a mix."""
    cdef uint64_t h = <uint64_t>0xCBF29CE484222325
    cdef int64_t i
    for i in range(size):
        h = (h ^ bytes[i]) * <uint64_t>0x100000001B3
    return h ^ (h >> 29)


cdef void without_negative_zero(void *values, int itemsize, int64_t n) noexcept nogil:
    """Equal values get equal bits."""
    cdef int64_t l
    for l in range(n):
        if itemsize == 4:
            (<float *>values)[l] += 0.0
        else:
            (<double *>values)[l] += 0.0


cdef bint add_example(SeedingState *f, const char *example, int64_t k, char *centroids) noexcept nogil:
    """Make an example centroid k if no centroid before it has its value."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, slot
    cdef char *values = centroids + k * size
    memmove(values, example, size)
    without_negative_zero(values, rows.kernels.itemsize, rows.n)
    slot = <int64_t>(hash_of(<uint8_t *>values, size) & <uint64_t>(f.slots - 1))
    while f.table[slot] != 0:
        if memcmp(centroids + (f.table[slot] - 1) * size, values, size) == 0:
            return False
        slot = (slot + 1) & (f.slots - 1)
    f.table[slot] = k + 1
    return True


cdef int64_t draw_examples(SeedingState *f, Stream *random, char *centroids, Poll *p) noexcept nogil:
    """As many of K distinct values as a number of draws finds; returns how many. What is missing is
    drawn together, and read into the places of the centroids that are missing."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, K = f.base.K, draws = 16 * K + 64, k = 0, first, count, i
    while k < K and draws > 0 and not is_stopped(p):
        first = k
        count = min(K - k, draws)
        draws -= count
        for i in range(count):
            f.drawn[i] = draw_row(rows, random)
        fetch_rows(rows, f.drawn, count, centroids + first * size, p)
        for i in range(first, first + count):
            k += add_example(f, centroids + i * size, k, centroids)
    return k


cdef int64_t scan_examples(SeedingState *f, Stream *random, int64_t k, char *centroids, Poll *p) noexcept nogil:
    """Few values are distinct: look at every row once, from a random one on."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, row = draw_row(rows, random), i
    for i in range(rows.m):
        if k == f.base.K or (i % SEED_CHUNK == 0 and poll(p)):
            break
        if rows.weights == NULL or rows.weights[row] > 0:
            fetch_row(rows, row, centroids + k * size, p)
            k += add_example(f, centroids + k * size, k, centroids)
        row = row + 1 if row + 1 < rows.m else 0
    return k


cdef uint64_t random_examples(Seeding *seeding, Stream *random, void *centroids_,
                                        Poll *p) noexcept nogil:
    """K examples of distinct values, where there are so many; else some value comes again."""
    cdef SeedingState *f = <SeedingState *>seeding
    cdef const Rows *rows = seeding.rows
    cdef char *centroids = <char *>centroids_
    cdef int64_t k
    memset(f.table, 0, f.slots * sizeof(int64_t))
    k = draw_examples(f, random, centroids, p)
    if k < seeding.K and not is_stopped(p):
        k = scan_examples(f, random, k, centroids, p)
    while k < seeding.K and not is_stopped(p):
        fetch_row(rows, draw_row(rows, random), centroids + k * rows.n * rows.kernels.itemsize, p)
        k += 1
    return 0


# ---- greedy k-means++ ------------------------------------------------------------------------

cdef void set_centres(SeedingState *f, Centres *centres, const char *values, int64_t count) noexcept nogil:
    cdef const Rows *rows = f.base.rows
    cdef int64_t i
    centres.values = values
    centres.count = count
    if rows.source.indptr != NULL and count > 0:
        centres.panel.K, centres.panel.n = count, rows.n
        for i in range(rows.kernels.sparse.groups(count)):
            rows.kernels.sparse.pack(values, 1, NULL, i, &centres.panel)
        rows.kernels.sparse.norms(&centres.panel)


cdef char *pack_chunk(SeedingState *f, int64_t thread, int64_t chunk, int64_t count, bint first) noexcept nogil:
    """The packed points of a chunk; sparse ones stay as they are."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t stride
    cdef const void *values
    cdef char *tiles = f.workspaces[thread].tiles
    cdef uint64_t max_abs_bits = rows.max_abs_bits
    if f.packed != NULL:
        tiles = f.packed + chunk * SEED_CHUNK * rows.n * rows.kernels.itemsize
    if rows.source.indptr == NULL and (f.packed == NULL or first):
        values = read_rows(rows, chunk * SEED_CHUNK, count, f.workspaces[thread].rows, &stride)
        max_abs_bits = rows.kernels.pack(values, stride, count, rows.n, f.no_shift, tiles)
    f.max_abs_bits[thread] = max(f.max_abs_bits[thread], max_abs_bits)
    return tiles


cdef void min_distance_update(SeedingState *f, const char *tiles, int64_t chunk, const Centres *centres, const void *nearest,
                void *closer) noexcept nogil:
    """Squared distances of a chunk's points to the nearest of the centres so far (NULL: there are
    none) and each of these more."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK), tile = rows.kernels.tile
    cdef int64_t ntiles = (count + tile - 1) // tile
    if rows.source.indptr != NULL:
        rows.kernels.sparse.min_distance_update(&rows.source, chunk * SEED_CHUNK, count, &centres.panel, nearest, ntiles * tile, closer)
    else:
        rows.kernels.min_distance_update(tiles, ntiles, rows.n, centres.values, centres.count, nearest, closer)


cdef char *update_nearest(SeedingState *f, int64_t thread, int64_t chunk, bint first) noexcept nogil:
    """Take a chunk's points to the newest centre where it is their nearest; gives their tiles."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK)
    cdef char *nearest = f.nearest + chunk * SEED_CHUNK * rows.kernels.itemsize
    cdef char *tiles = pack_chunk(f, thread, chunk, count, first)
    min_distance_update(f, tiles, chunk, &f.newest, NULL if first else nearest, nearest)
    return tiles


cdef void update_chunk(SeedingState *f, int64_t thread, int64_t chunk, bint first) noexcept nogil:
    """Take a chunk's points to the newest centre, and sum up what would be left with each of the
    others besides (without others: what is left)."""
    cdef const Rows *rows = f.base.rows
    cdef size_t item = rows.kernels.itemsize
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK), tile = rows.kernels.tile
    cdef int64_t length = (count + tile - 1) // tile * tile, trial
    cdef const double *weights = NULL if rows.weights == NULL else rows.weights + chunk * SEED_CHUNK
    cdef char *nearest = f.nearest + chunk * SEED_CHUNK * item
    cdef char *closer = f.workspaces[thread].closer
    cdef char *tiles = update_nearest(f, thread, chunk, first)
    if f.others.count == 0:
        f.sums[chunk] = rows.kernels.weighted_sum(nearest, weights, count)
        return
    min_distance_update(f, tiles, chunk, &f.others, nearest, closer)
    for trial in range(f.others.count):
        f.sums[trial * f.chunks + chunk] = rows.kernels.weighted_sum(closer + trial * length * item, weights, count)


cdef void update_all(SeedingState *f, bint first, Poll *p) noexcept nogil:
    """One pass over the points; over those of a feed in windows."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t window = f.chunks, start = 0, end, chunk
    if rows.window != NULL:
        window = max(rows.window.capacity // SEED_CHUNK, f.base.n_threads)
    while start < f.chunks:
        end = min(start + window, f.chunks)
        if (first or f.packed == NULL) and ensure_loaded(rows, start * SEED_CHUNK, (end - start) * SEED_CHUNK, p):
            return
        if f.base.n_threads == 1:
            for chunk in range(start, end):
                if not poll(p):
                    update_chunk(f, 0, chunk, first)
        else:
            for chunk in prange(start, end, schedule="dynamic", chunksize=4, num_threads=request_threads(f.base.n_threads)):
                if not poll(p):
                    update_chunk(f, threadid(), chunk, first)
        start = end


cdef double chunks_total(const double *sums, int64_t chunks) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    for i in range(chunks):
        total += sums[i]
    return total


cdef void draw_chunks(SeedingState *f, Stream *random, const double *sums) noexcept nogil:
    """Draw where in the sum of all weighted squared distances each candidate lies, and its chunk."""
    cdef double total = chunks_total(sums, f.chunks), left
    cdef int64_t trial, chunk
    for trial in range(f.base.trials):
        left = next_unit(random) * total
        chunk = 0
        while chunk < f.chunks - 1 and left >= sums[chunk]:
            left -= sums[chunk]
            chunk += 1
        f.draws[trial].chunk, f.draws[trial].left, f.draws[trial].row = chunk, left, -1


cdef int64_t row_at(const SeedingState *f, int64_t chunk, double left) noexcept nogil:
    """The row at a place in a chunk's sum; -1 where all are on a centre."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t row, last = -1
    cdef double share
    for row in range(chunk * SEED_CHUNK, min((chunk + 1) * SEED_CHUNK, rows.m)):
        share = (<double>(<float *>f.nearest)[row] if rows.kernels.itemsize == 4
                 else (<double *>f.nearest)[row])
        if rows.weights != NULL:
            share *= rows.weights[row]
        if share > 0:
            last = row
            left -= share
            if left < 0:
                break
    return last


cdef void draw_candidates(SeedingState *f, Stream *random, const double *sums, Poll *p) noexcept nogil:
    """Rows, each drawn with its weighted squared distance to the nearest centre as its probability.
    `sums` already count with the newest centre; `nearest` does once a chunk is looked at. The
    chunks are visited in rising order, so that a window is gone through once."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, trial, following, visited = -1
    cdef Draw *draw
    draw_chunks(f, random, sums)
    while not is_stopped(p):
        following = f.chunks
        for trial in range(f.base.trials):
            if visited < f.draws[trial].chunk < following:
                following = f.draws[trial].chunk
        if following == f.chunks or ensure_loaded(rows, following * SEED_CHUNK, SEED_CHUNK, p):
            break
        update_nearest(f, 0, following, False)
        for trial in range(f.base.trials):
            draw = &f.draws[trial]
            if draw.chunk == following:
                draw.row = row_at(f, following, draw.left)
                if draw.row >= 0:
                    read_row(rows, draw.row, f.candidates + trial * size)
        visited = following
    for trial in range(f.base.trials):
        if f.draws[trial].row < 0 and not is_stopped(p):
            fetch_row(rows, draw_row(rows, random), f.candidates + trial * size, p)


cdef int64_t best_trial(SeedingState *f, int64_t trials) noexcept nogil:
    cdef int64_t trial, best = 0
    cdef double total, least = INFINITY
    for trial in range(trials):
        total = chunks_total(f.sums + trial * f.chunks, f.chunks)
        if total < least:
            least = total
            best = trial
    return best


cdef uint64_t largest_read(const SeedingState *f) noexcept nogil:
    cdef uint64_t max_abs_bits = 0
    cdef int i
    for i in range(f.base.n_threads):
        max_abs_bits = max(max_abs_bits, f.max_abs_bits[i])
    return max_abs_bits


cdef uint64_t plus_plus(Seeding *seeding, Stream *random, void *centroids_, Poll *p) noexcept nogil:
    """One pass over the points a centre: it takes the points to the centre chosen last and sums up
    what each candidate for the next one would leave; the best one's sums serve the next draw."""
    cdef SeedingState *f = <SeedingState *>seeding
    cdef const Rows *rows = seeding.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, k, best = 0
    cdef char *centroids = <char *>centroids_
    memset(f.max_abs_bits, 0, seeding.n_threads * sizeof(uint64_t))
    fetch_row(rows, draw_row(rows, random), centroids, p)
    set_centres(f, &f.newest, centroids, 1)
    set_centres(f, &f.others, NULL, 0)
    update_all(f, True, p)
    if out_of_range(rows, largest_read(f)):
        return largest_read(f)
    for k in range(1, seeding.K):
        if is_stopped(p):
            break
        set_centres(f, &f.newest, centroids + (k - 1) * size, 1)
        draw_candidates(f, random, f.sums + best * f.chunks, p)
        set_centres(f, &f.others, f.candidates, seeding.trials)
        update_all(f, False, p)
        best = best_trial(f, seeding.trials)
        memcpy(centroids + k * size, f.candidates + best * size, size)
    return largest_read(f)


# ---- for init_centroids ----------------------------------------------------------------------

def init(PreparedPoints points, int64_t K, int64_t trials, uint64_t seed, int n_threads):
    """Starting centroids in the computing dtype; trials 0: random examples."""
    cdef CallContext call = CallContext()
    cdef const Rows *rows = points.seeding_points(trials, False, n_threads, call)
    cdef Stream random = stream_of(seed, 0)
    cdef uint64_t max_abs_bits = 0
    cdef Seeding *seeding
    centroids = np.empty((K, rows.n), np.float32 if rows.kernels.itemsize == 4 else np.float64)
    cdef uint8_t[::1] bytes_ = centroids.reshape(-1).view(np.uint8)
    with nogil:
        seeding = seeding_open(rows, K, trials, n_threads)
        if seeding != NULL:
            if trials == 0:
                max_abs_bits = random_examples(seeding, &random, &bytes_[0], &call.poll)
            else:
                max_abs_bits = plus_plus(seeding, &random, &bytes_[0], &call.poll)
            seeding_close(seeding)
    if seeding == NULL:
        raise MemoryError
    call.check()
    if out_of_range(rows, max_abs_bits):
        raise_out_of_range(rows, max_abs_bits)
    return centroids
