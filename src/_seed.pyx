"""Starting centroids: random examples, or greedy k-means++.

k-means++: D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
2007; its greedy form draws several candidates a centre and keeps the one that lowers the
distortion most.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from ckmeans._points cimport Points, Rows, out_of_range, read_row, read_rows
from ckmeans._random cimport Stream, next_below, next_unit, stream_of
from ckmeans._runtime cimport Poll, Watch, allocate, poll, release, threads_for

import numpy as np

cdef int64_t CHUNK = 512               # rows whose sum is kept, and the unit shared out to threads
cdef int64_t PACKED_BYTES = 64 << 20   # packed points that are kept over all centres


# One thread's scratch.
cdef struct Desk:
    char *rows
    char *tiles      # one chunk, where the packed points are not kept
    char *closer     # (trials, CHUNK)

cdef struct Full:
    Seeding base
    int64_t chunks
    int64_t slots            # of the table of chosen values: a power of two over 2 K
    int64_t *table           # index + 1 of a chosen row, 0: free
    char *nearest            # (m,) squared distance to the nearest centre
    char *packed             # (m, n) all tiles; NULL: each chunk is packed again for each centre
    double *sums             # (trials, chunks) weighted sums of squared distances
    char *candidates         # (trials, n)
    char *no_shift           # (n,) zeros
    uint64_t *most           # (n_threads,)
    Desk *desks


cdef inline char *take(char *memory, size_t *at, size_t size) noexcept nogil:
    cdef char *start = NULL if memory == NULL else memory + at[0]
    at[0] += (size + 63) // 64 * 64
    return start


cdef size_t seeding_layout(Full *f, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = f.base.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Full) + 63) // 64 * 64
    cdef int64_t trials = f.base.trials, i
    cdef Desk desk
    f.table = <int64_t *>take(memory, &at, f.slots * sizeof(int64_t))
    if trials == 0:
        return at
    f.nearest = take(memory, &at, f.chunks * CHUNK * item)
    f.sums = <double *>take(memory, &at, trials * f.chunks * sizeof(double))
    f.packed = NULL
    if f.chunks * CHUNK * rows.n * item <= <size_t>PACKED_BYTES:
        f.packed = take(memory, &at, f.chunks * CHUNK * rows.n * item)
    f.candidates = take(memory, &at, trials * rows.n * item)
    f.no_shift = take(memory, &at, rows.n * item)
    f.most = <uint64_t *>take(memory, &at, f.base.n_threads * sizeof(uint64_t))
    f.desks = <Desk *>take(memory, &at, f.base.n_threads * sizeof(Desk))
    for i in range(f.base.n_threads):
        desk.rows = take(memory, &at, (CHUNK * rows.n + 8) * item)
        desk.tiles = take(memory, &at, CHUNK * rows.n * item if f.packed == NULL else 0)
        desk.closer = take(memory, &at, trials * CHUNK * item)
        if memory != NULL:
            f.desks[i] = desk
    return at


cdef Seeding *seeding_open(const Rows *rows, int64_t K, int64_t trials, int n_threads) noexcept nogil:
    """NULL where there is no memory."""
    cdef Full draft
    memset(&draft, 0, sizeof(draft))
    draft.base.rows = rows
    draft.base.K = K
    draft.base.trials = trials
    draft.chunks = (rows.m + CHUNK - 1) // CHUNK
    draft.base.n_threads = min(threads_for(n_threads, <double>rows.m * rows.n * (trials + 1)), <int>draft.chunks)
    draft.slots = 4
    while draft.slots < 2 * K:
        draft.slots *= 2
    cdef char *memory = <char *>allocate(seeding_layout(&draft, NULL))
    if memory == NULL:
        return NULL
    seeding_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Full))
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


cdef bint take_example(Full *f, int64_t row, int64_t k, char *centroids) noexcept nogil:
    """Make `row` centroid k if no centroid before it has its value."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, slot
    cdef char *values = centroids + k * size
    read_row(rows, row, values)
    without_negative_zero(values, rows.kernels.itemsize, rows.n)
    slot = <int64_t>(hash_of(<uint8_t *>values, size) & <uint64_t>(f.slots - 1))
    while f.table[slot] != 0:
        if memcmp(centroids + (f.table[slot] - 1) * size, values, size) == 0:
            return False
        slot = (slot + 1) & (f.slots - 1)
    f.table[slot] = k + 1
    return True


cdef unsigned long long random_examples(Seeding *seeding, Stream *random, void *centroids_,
                                        Poll *p) noexcept nogil:
    """K examples of distinct values, where there are so many; else some value comes again."""
    cdef Full *f = <Full *>seeding
    cdef const Rows *rows = seeding.rows
    cdef char *centroids = <char *>centroids_
    cdef int64_t k = 0, draws = 16 * seeding.K + 64, row, i
    memset(f.table, 0, f.slots * sizeof(int64_t))
    while k < seeding.K and draws > 0:
        k += take_example(f, draw_row(rows, random), k, centroids)
        draws -= 1
    if k < seeding.K:
        # Few values are distinct: look at every row once, from a random one on.
        row = draw_row(rows, random)
        for i in range(rows.m):
            if k == seeding.K or (i % CHUNK == 0 and poll(p)):
                break
            if rows.weights == NULL or rows.weights[row] > 0:
                k += take_example(f, row, k, centroids)
            row = row + 1 if row + 1 < rows.m else 0
    while k < seeding.K:
        read_row(rows, draw_row(rows, random), centroids + k * rows.n * rows.kernels.itemsize)
        k += 1
    return 0


# ---- greedy k-means++ ------------------------------------------------------------------------

cdef char *tiles_of(Full *f, Desk *desk, uint64_t *most, int64_t chunk, int64_t count, bint first) noexcept nogil:
    """The packed points of a chunk."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t stride
    cdef const void *values
    cdef char *tiles = desk.tiles
    if f.packed != NULL:
        tiles = f.packed + chunk * CHUNK * rows.n * rows.kernels.itemsize
    if f.packed == NULL or first:
        values = read_rows(rows, chunk * CHUNK, count, desk.rows, &stride)
        most[0] = max(most[0], rows.kernels.pack(values, stride, count, rows.n, f.no_shift, tiles))
    return tiles


cdef char *take_to(Full *f, int64_t thread, int64_t chunk, const void *centre, bint first) noexcept nogil:
    """Take a chunk's points to `centre` where it is their nearest; gives the packed points."""
    cdef const Rows *rows = f.base.rows
    cdef int64_t count = min(CHUNK, rows.m - chunk * CHUNK), tile = rows.kernels.tile
    cdef char *nearest = f.nearest + chunk * CHUNK * rows.kernels.itemsize
    cdef char *packed = tiles_of(f, &f.desks[thread], &f.most[thread], chunk, count, first)
    rows.kernels.relax(packed, (count + tile - 1) // tile, rows.n, centre, 1, NULL if first else nearest, nearest)
    return packed


cdef void relax_chunk(Full *f, int64_t thread, int64_t chunk, const void *centre, const void *candidates,
                      int64_t trials, bint first) noexcept nogil:
    """Take a chunk's points to `centre`, and sum up what would be left with each of the candidates
    besides (without candidates: what is left)."""
    cdef const Rows *rows = f.base.rows
    cdef size_t item = rows.kernels.itemsize
    cdef int64_t count = min(CHUNK, rows.m - chunk * CHUNK), tile = rows.kernels.tile
    cdef int64_t tiles = (count + tile - 1) // tile, trial
    cdef const double *weights = NULL if rows.weights == NULL else rows.weights + chunk * CHUNK
    cdef char *nearest = f.nearest + chunk * CHUNK * item
    cdef char *closer = f.desks[thread].closer
    cdef char *packed = take_to(f, thread, chunk, centre, first)
    if trials == 0:
        f.sums[chunk] = rows.kernels.total(nearest, weights, count)
        return
    rows.kernels.relax(packed, tiles, rows.n, candidates, trials, nearest, closer)
    for trial in range(trials):
        f.sums[trial * f.chunks + chunk] = rows.kernels.total(closer + trial * tiles * tile * item, weights, count)


cdef void relax_all(Full *f, const void *centre, const void *candidates, int64_t trials, bint first,
                    Poll *p) noexcept nogil:
    cdef int64_t chunk
    if f.base.n_threads == 1:
        for chunk in range(f.chunks):
            if not poll(p):
                relax_chunk(f, 0, chunk, centre, candidates, trials, first)
    else:
        for chunk in prange(f.chunks, schedule="dynamic", chunksize=4, num_threads=f.base.n_threads):
            if not poll(p):
                relax_chunk(f, threadid(), chunk, centre, candidates, trials, first)


cdef double chunks_total(const double *sums, int64_t chunks) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    for i in range(chunks):
        total += sums[i]
    return total


cdef int64_t draw_far(Full *f, Stream *random, const double *sums, double total, const void *centre) noexcept nogil:
    """A row, drawn with its weighted squared distance to the nearest centre as its probability.
    `sums` already count with the newest centre; `nearest` does once its chunk is looked at."""
    cdef const Rows *rows = f.base.rows
    cdef double left = next_unit(random) * total, share
    cdef int64_t chunk = 0, row, last = -1
    while chunk < f.chunks - 1 and left >= sums[chunk]:
        left -= sums[chunk]
        chunk += 1
    take_to(f, 0, chunk, centre, False)
    for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows.m)):
        share = (<double>(<float *>f.nearest)[row] if rows.kernels.itemsize == 4
                 else (<double *>f.nearest)[row])
        if rows.weights != NULL:
            share *= rows.weights[row]
        if share > 0:
            last = row
            left -= share
            if left < 0:
                break
    return last if last >= 0 else draw_row(rows, random)


cdef int64_t best_trial(Full *f, int64_t trials) noexcept nogil:
    cdef int64_t trial, best = 0
    cdef double total, least = INFINITY
    for trial in range(trials):
        total = chunks_total(f.sums + trial * f.chunks, f.chunks)
        if total < least:
            least = total
            best = trial
    return best


cdef uint64_t most_read(const Full *f) noexcept nogil:
    cdef uint64_t most = 0
    cdef int i
    for i in range(f.base.n_threads):
        most = max(most, f.most[i])
    return most


cdef unsigned long long plus_plus(Seeding *seeding, Stream *random, void *centroids_, Poll *p) noexcept nogil:
    """One pass over the points a centre: it takes the points to the centre chosen last and sums up
    what each candidate for the next one would leave; the best one's sums serve the next draw."""
    cdef Full *f = <Full *>seeding
    cdef const Rows *rows = seeding.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, k, trial, best = 0
    cdef char *centroids = <char *>centroids_
    cdef char *newest = centroids
    cdef double total
    memset(f.most, 0, seeding.n_threads * sizeof(uint64_t))
    read_row(rows, draw_row(rows, random), centroids)
    relax_all(f, centroids, NULL, 0, True, p)
    if out_of_range(rows, most_read(f)):
        return most_read(f)
    for k in range(1, seeding.K):
        if p.stopped:
            break
        newest = centroids + (k - 1) * size
        total = chunks_total(f.sums + best * f.chunks, f.chunks)
        for trial in range(seeding.trials):
            read_row(rows, draw_far(f, random, f.sums + best * f.chunks, total, newest),
                     f.candidates + trial * size)
        relax_all(f, newest, f.candidates, seeding.trials, False, p)
        best = best_trial(f, seeding.trials)
        memcpy(centroids + k * size, f.candidates + best * size, size)
    return most_read(f)


# ---- for init_centroids --------------------------------------------------------------------------

def init(Points points, int64_t K, int64_t trials, uint64_t seed, int n_threads):
    """(centroids in the computing dtype, bits of the largest magnitude read); trials 0: random."""
    cdef Rows *rows = &points.rows
    cdef Stream random = stream_of(seed, 0)
    cdef Watch watch = Watch()
    cdef uint64_t most = 0
    cdef Seeding *seeding
    centroids = np.empty((K, rows.n), np.float32 if rows.kernels.itemsize == 4 else np.float64)
    cdef uint8_t[::1] bytes_ = centroids.reshape(-1).view(np.uint8)
    with nogil:
        seeding = seeding_open(rows, K, trials, n_threads)
        if seeding != NULL:
            if trials == 0:
                most = random_examples(seeding, &random, &bytes_[0], &watch.poll)
            else:
                most = plus_plus(seeding, &random, &bytes_[0], &watch.poll)
            seeding_close(seeding)
    if seeding == NULL:
        raise MemoryError
    watch.check()
    return centroids, most
