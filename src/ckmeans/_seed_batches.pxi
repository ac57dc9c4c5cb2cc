"""Greedy k-means++ with batches of candidates, which share a pass over 8-bit codes of the rows.

A pass of _seed.pxi for each centroid reads all rows K times. Here many candidates are drawn together, by D^2 sampling,
and used one after the other, although the distances D fall with each centroid that is chosen: a candidate that was
drawn when its squared distance was d is accepted with the probability D / d of what is left of it (rejection sampling),
so that the accepted ones are drawn by the present D. One pass lists, for all candidates of a batch, the tiles of rows
that each may improve, with scores by the codes (_codes.pyx); a tile is left out only where a lower bound on the
distances is above D. From those lists follow, for each centroid, the sums that its candidates would leave, and the rows
whose D the best one lowers. D itself is always an exact distance.

So the draws are those of greedy k-means++. Its choice among the candidates of a centroid goes by distances of the
codes: the sums of two candidates are told apart to about a thousandth.

Memory in bytes: the codes, up to a quarter of X (at least 16 MiB) for the lists, s m for the distances.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._codes cimport (
    MAX_CODES_BYTES, CodedCentroids, Codes, can_code, code_centroids, codes_bytes, codes_close, codes_open,
    coded_layout, load_stats, load_tile, loss, score_below,
)
from ckmeans._points cimport PreparedPoints, Rows, check_range, out_of_range, read_listed_rows, read_row
from ckmeans._random cimport Stream, next_unit, stream_of
from ckmeans._runtime cimport (
    CODE_GROUP_MAX, CODE_TILE, CallContext, Poll, allocate, code_tile, fetch_add, hit, is_stopped, kernels_of_codes,
    load_counter, lowest_bit, poll, release, request_threads, threads_for,
)
from ckmeans._values cimport get, put

import numpy as np

cdef int64_t BATCH_FEATURES = 16        # fewer are scored by floats as fast
cdef int64_t BATCH_CLUSTERS = 32        # of fewer the codes are not worth their memory
cdef double BATCH_WORK = 1 << 26        # multiply-adds of all candidates from which batches pay
cdef int64_t LIST_BYTES = 16 << 20      # of the lists, at least,
cdef int64_t LIST_SHARE = 4             # or this part of X
cdef float NO_UPPER_BOUND = 3e38        # so that no candidate lowers the bound of another
cdef enum:
    MAX_BATCH = 256          # candidates
    CHUNK_TILES = 16         # tiles of a chunk: SEED_CHUNK / CODE_TILE

# Scratch memory of a thread.
cdef struct BatchWorkspace:
    code_tile tile
    hit *hits                # of a chunk's tiles,
    int32_t *tiles           # which tiles those are,
    float *scores            # and their scores
    char *rows               # a tile of rows that do not lie in place
    char *squared            # (tile,) squared distances

# The rows that one batch of candidates may improve. A record is a tile of rows and a candidate.
cdef struct BatchLists:
    int64_t capacity
    int64_t count            # of records; shared, an atomic
    int32_t *candidate       # (capacity,)
    int32_t *tile            # (capacity,)
    float *scores            # (capacity, CODE_TILE)
    int64_t *chunk_first     # (n_chunks,) where the records of each chunk begin,
    int32_t *chunk_count     # and how many they are
    int32_t *order           # records by candidate, in rising order of tiles,
    int64_t *first           # (MAX_BATCH + 1,) and where those of each candidate begin

cdef struct Batch:
    SeedingState *state
    const Codes *codes
    int64_t count            # candidates,
    int64_t next             # of which so many were used,
    int64_t next_used        # and so many of them were accepted
    int64_t n_accepted       # candidates of the centroid at hand
    int64_t *row             # (MAX_BATCH,) of each candidate
    double *drawn            # its squared distance when it was drawn
    char *values             # (MAX_BATCH, n)
    CodedCentroids coded
    BatchLists lists
    double *prefix           # (n_chunks + 1,) sums of chunks up to each
    int64_t *chosen          # (trials,) candidates of the centroid at hand
    uint8_t *touched         # (n_chunks,) whether a D of the chunk fell
    BatchWorkspace *workspaces


cdef bint batches_pay(const Rows *rows, int64_t K, int64_t trials) noexcept nogil:
    return (trials > 0 and can_code(rows) and rows.n >= BATCH_FEATURES and K >= BATCH_CLUSTERS
            and codes_bytes(rows) <= max(<int64_t>(rows.stored * rows.value_bytes) // 2, MAX_CODES_BYTES)
            and <double>K * trials * rows.stored >= BATCH_WORK
            and trials * n_code_tiles(rows) <= list_capacity(rows))


cdef inline int64_t n_code_tiles(const Rows *rows) noexcept nogil:
    return (rows.m + CODE_TILE - 1) // CODE_TILE


cdef int64_t list_capacity(const Rows *rows) noexcept nogil:
    """Return how many records the lists hold."""
    cdef int64_t x_bytes = <int64_t>rows.stored * rows.kernels.itemsize
    return max(LIST_BYTES, x_bytes // LIST_SHARE) // (CODE_TILE * sizeof(float) + 12)


cdef size_t batch_layout(Batch *b, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t item = rows.kernels.itemsize, places = CHUNK_TILES * MAX_BATCH + CODE_GROUP_MAX, i
    cdef size_t at = 0
    cdef BatchLists *lists = &b.lists
    cdef BatchWorkspace work
    b.row = <int64_t *>take(memory, &at, MAX_BATCH * sizeof(int64_t))
    b.drawn = <double *>take(memory, &at, MAX_BATCH * sizeof(double))
    b.values = <char *>take(memory, &at, MAX_BATCH * rows.n * item)
    coded_layout(&b.coded, MAX_BATCH, b.codes.words, memory, &at)
    lists.candidate = <int32_t *>take(memory, &at, lists.capacity * sizeof(int32_t))
    lists.tile = <int32_t *>take(memory, &at, lists.capacity * sizeof(int32_t))
    lists.scores = <float *>take(memory, &at, lists.capacity * CODE_TILE * sizeof(float))
    lists.order = <int32_t *>take(memory, &at, lists.capacity * sizeof(int32_t))
    lists.chunk_first = <int64_t *>take(memory, &at, b.state.n_chunks * sizeof(int64_t))
    lists.chunk_count = <int32_t *>take(memory, &at, b.state.n_chunks * sizeof(int32_t))
    lists.first = <int64_t *>take(memory, &at, (MAX_BATCH + 1) * sizeof(int64_t))
    b.prefix = <double *>take(memory, &at, (b.state.n_chunks + 1) * sizeof(double))
    b.chosen = <int64_t *>take(memory, &at, b.state.base.trials * sizeof(int64_t))
    b.touched = <uint8_t *>take(memory, &at, b.state.n_chunks)
    b.workspaces = <BatchWorkspace *>take(memory, &at, b.state.base.n_threads * sizeof(BatchWorkspace))
    for i in range(b.state.base.n_threads):
        work.tile.words = <int32_t *>take(memory, &at, b.codes.words * CODE_TILE * sizeof(int32_t))
        work.hits = <hit *>take(memory, &at, places * sizeof(hit))
        work.tiles = <int32_t *>take(memory, &at, places * sizeof(int32_t))
        work.scores = <float *>take(memory, &at, places * CODE_TILE * sizeof(float))
        work.rows = <char *>take(memory, &at, (CODE_TILE * rows.n + 8) * item)
        work.squared = <char *>take(memory, &at, CODE_TILE * item)
        if memory != NULL:
            b.workspaces[i] = work
    return at


# ---- drawing candidates ------------------------------------------------------------------------

cdef inline double min_distance_of(const SeedingState *state, int64_t row) noexcept nogil:
    return get(state.min_distances, row, state.base.rows.kernels.itemsize)


cdef int64_t chunk_at(const Batch *b, double target) noexcept nogil:
    """Return the chunk in which the running sum of D^2 exceeds `target`."""
    cdef int64_t first = 0, last = b.state.n_chunks - 1, middle
    while first < last:
        middle = (first + last) // 2
        if b.prefix[middle + 1] > target:
            last = middle
        else:
            first = middle + 1
    return first


cdef void draw_batch(Batch *b, Stream *random, int64_t count) noexcept nogil:
    """Draw candidates by D^2 sampling after those that were accepted for the centroid at hand, which are kept."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, c, chunk
    cdef double target
    b.prefix[0] = 0
    for chunk in range(state.n_chunks):
        b.prefix[chunk + 1] = b.prefix[chunk] + state.sums[chunk]
    for c in range(b.n_accepted, count):
        target = next_unit(random) * b.prefix[state.n_chunks]
        chunk = chunk_at(b, target)
        b.row[c] = row_at(state, chunk, target - b.prefix[chunk])
        b.drawn[c] = 0
        if b.row[c] >= 0:
            b.drawn[c] = min_distance_of(state, b.row[c])
            read_row(rows, b.row[c], b.values + c * size)
        else:
            memset(b.values + c * size, 0, size)
    b.count = count


cdef void keep_accepted(Batch *b) noexcept nogil:
    """Move the candidates that were accepted for the centroid at hand to the front."""
    cdef int64_t size = b.state.base.rows.n * b.state.base.rows.kernels.itemsize, i, c
    for i in range(b.n_accepted):
        c = b.chosen[i]
        b.row[i], b.drawn[i] = b.row[c], b.drawn[c]
        memmove(b.values + i * size, b.values + c * size, size)
        b.chosen[i] = i


# ---- a pass over the rows ----------------------------------------------------------------------

cdef inline double scaled_square(const Codes *codes, int64_t row) noexcept nogil:
    return codes.points.squares[row] * codes.factor * codes.factor


cdef void list_tile(const Batch *b, BatchWorkspace *work, int64_t tile, int64_t *count) noexcept nogil:
    """Append the records of a tile to the workspace's."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t first = tile * CODE_TILE, n_rows = min(<int64_t>CODE_TILE, rows.m - first), p, n_hits, i
    cdef int32_t[32] row
    for p in range(CODE_TILE):
        row[p] = <int32_t>p
    load_tile(&work.tile, &b.codes.points, b.codes.words, first, row, n_rows)
    for p in range(n_rows):
        work.tile.bound[p] = score_below(b.codes, first + p, min_distance_of(b.state, first + p))
    n_hits = kernels_of_codes().screen(&work.tile, &b.coded.panel, work.hits + count[0],
                                       work.scores + count[0] * CODE_TILE)
    for i in range(n_hits):
        work.tiles[count[0] + i] = <int32_t>tile
    count[0] += n_hits


cdef void list_chunk(Batch *b, int64_t chunk, int64_t thread) noexcept nogil:
    cdef BatchWorkspace *work = &b.workspaces[thread]
    cdef BatchLists *lists = &b.lists
    cdef int64_t tiles = n_code_tiles(b.state.base.rows), tile, count = 0, at, i
    for tile in range(chunk * CHUNK_TILES, min((chunk + 1) * CHUNK_TILES, tiles)):
        list_tile(b, work, tile, &count)
    at = fetch_add(&lists.count, count)
    lists.chunk_first[chunk], lists.chunk_count[chunk] = at, <int32_t>count
    if at + count > lists.capacity:
        return
    for i in range(count):
        lists.candidate[at + i], lists.tile[at + i] = work.hits[i].k, work.tiles[i]
    memcpy(lists.scores + at * CODE_TILE, work.scores, count * CODE_TILE * sizeof(float))


cdef void sort_records(BatchLists *lists, int64_t n_chunks, int64_t n_candidates) noexcept nogil:
    """Order the records by candidate; those of one in rising order of tiles, whoever found them."""
    cdef int64_t[MAX_BATCH + 1] at
    cdef int64_t chunk, i, c
    memset(lists.first, 0, (MAX_BATCH + 1) * sizeof(int64_t))
    for i in range(lists.count):
        lists.first[lists.candidate[i] + 1] += 1
    for c in range(n_candidates):
        lists.first[c + 1] += lists.first[c]
    memcpy(at, lists.first, sizeof(at))
    for chunk in range(n_chunks):
        for i in range(lists.chunk_first[chunk], lists.chunk_first[chunk] + lists.chunk_count[chunk]):
            c = lists.candidate[i]
            lists.order[at[c]] = <int32_t>i
            at[c] += 1


cdef bint list_records(Batch *b, Poll *p) noexcept nogil:
    """Find the rows that each candidate may improve, in one pass; False: the lists are too short, or interrupted."""
    cdef int threads = threads_for(b.state.base.n_threads, <double>b.count * b.state.base.rows.stored)
    cdef int64_t chunk, k
    code_centroids(&b.coded, b.codes, b.values, b.count, 0, b.state.base.n_threads)
    for k in range((b.count + CODE_GROUP_MAX - 1) // CODE_GROUP_MAX * CODE_GROUP_MAX):
        b.coded.panel.gaps[k] = NO_UPPER_BOUND
    b.lists.count = 0
    for chunk in prange(b.state.n_chunks, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
        if not poll(p):
            list_chunk(b, chunk, threadid())
    if is_stopped(p) or b.lists.count > b.lists.capacity:
        return False
    sort_records(&b.lists, b.state.n_chunks, b.count)
    return True


# ---- choosing a centroid -----------------------------------------------------------------------

cdef double tile_gain(const Batch *b, int64_t listed) noexcept nogil:
    """Return how far a candidate lowers the sum of squared distances of a tile, by their scores."""
    cdef const Rows *rows = b.state.base.rows
    cdef const float *scores = b.lists.scores + listed * CODE_TILE
    cdef int64_t first = b.lists.tile[listed] * <int64_t>CODE_TILE, n_rows = min(<int64_t>CODE_TILE, rows.m - first), p
    cdef double square = b.codes.factor * b.codes.factor, gain = 0, fall
    for p in range(n_rows):
        fall = (min_distance_of(b.state, first + p) - b.codes.points.squares[first + p]) * square - scores[p]
        if fall > 0:
            gain += fall if rows.weights == NULL else fall * rows.weights[first + p]
    return gain


cdef double gain_of(const Batch *b, int64_t candidate) noexcept nogil:
    cdef int64_t i
    cdef double gain = 0
    for i in range(b.lists.first[candidate], b.lists.first[candidate + 1]):
        gain += tile_gain(b, b.lists.order[i])
    return gain


cdef int64_t best_accepted(const Batch *b, Poll *p) noexcept nogil:
    """Return the accepted candidate that leaves the lowest sum of squared distances."""
    cdef int64_t best = 0, i, records = 0
    cdef double gains[64]
    cdef int threads
    for i in range(b.n_accepted):
        records += b.lists.first[b.chosen[i] + 1] - b.lists.first[b.chosen[i]]
    threads = threads_for(min(b.state.base.n_threads, <int>b.n_accepted), 8.0 * records * CODE_TILE)
    if threads == 1:
        for i in range(b.n_accepted):
            gains[i] = gain_of(b, b.chosen[i])
    else:
        for i in prange(b.n_accepted, schedule="dynamic", chunksize=1, num_threads=request_threads(threads)):
            gains[i] = gain_of(b, b.chosen[i])
    for i in range(1, b.n_accepted):
        if gains[i] > gains[best]:
            best = i
    return b.chosen[best]


cdef void improve_tile(Batch *b, int64_t listed, const char *values, BatchWorkspace *work) noexcept nogil:
    """Lower the D of a tile's rows to their distances from a new centroid."""
    cdef const Rows *rows = b.state.base.rows
    cdef int64_t first = b.lists.tile[listed] * <int64_t>CODE_TILE, n_rows = min(<int64_t>CODE_TILE, rows.m - first)
    cdef int64_t stride, p, count = 0, candidate = b.lists.candidate[listed]
    cdef int32_t[32] row
    cdef int32_t[32] k
    cdef int item = rows.kernels.itemsize
    cdef double lower
    cdef const void *values_of_rows
    memset(k, 0, sizeof(k))
    for p in range(CODE_TILE):
        row[p] = <int32_t>p
    load_stats(&work.tile, &b.codes.points, first, row, n_rows)
    for p in range(n_rows):
        lower = b.lists.scores[listed * CODE_TILE + p] - loss(&work.tile, p, &b.coded.panel, candidate)
        row[count] = <int32_t>p
        count += not lower > score_below(b.codes, first + p, min_distance_of(b.state, first + p))
    if count == 0:
        return
    values_of_rows = read_listed_rows(rows, first, n_rows, row, count, work.rows, &stride)
    rows.kernels.pair_distances(values_of_rows, stride, rows.n, values, row, k, count, work.squared)
    for p in range(count):
        if get(work.squared, p, item) < min_distance_of(b.state, first + row[p]):
            put(b.state.min_distances, first + row[p], item, get(work.squared, p, item))
    b.touched[first // SEED_CHUNK] = 1


cdef void improve_rows(Batch *b, int64_t candidate, Poll *p) noexcept nogil:
    """Lower D to the distances from a new centroid, and the sums of the chunks with it."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef int64_t item = rows.kernels.itemsize, first = b.lists.first[candidate], last = b.lists.first[candidate + 1]
    cdef int64_t chunk, i, start
    cdef const char *values = b.values + candidate * rows.n * item
    cdef int threads = threads_for(state.base.n_threads, <double>(last - first) * CODE_TILE * rows.n)
    memset(b.touched, 0, state.n_chunks)
    if threads == 1:
        for i in range(first, last):
            improve_tile(b, b.lists.order[i], values, b.workspaces)
    else:
        for i in prange(first, last, schedule="static", num_threads=request_threads(threads)):
            improve_tile(b, b.lists.order[i], values, &b.workspaces[threadid()])
    for chunk in range(state.n_chunks):
        if b.touched[chunk]:
            start = chunk * SEED_CHUNK
            state.sums[chunk] = rows.kernels.weighted_sum(
                state.min_distances + start * item, NULL if rows.weights == NULL else rows.weights + start,
                min(SEED_CHUNK, rows.m - start))


# ---- the start ---------------------------------------------------------------------------------

cdef int64_t next_batch_size(const Batch *b, int64_t n_left) noexcept nogil:
    """As many candidates as the lists are likely to hold, but few more than were of use the last time."""
    cdef int64_t trials = b.state.base.trials, size
    cdef int64_t records = n_code_tiles(b.state.base.rows)
    if b.count > 0:
        records = min(records, b.lists.count * 3 // (2 * b.count) + 1)
    size = min(b.lists.capacity // records, n_left * trials)
    size = min(size, 4 * trials if b.count == 0 else 2 * b.next_used + trials)
    return max(min(size, <int64_t>MAX_BATCH), min(trials, <int64_t>MAX_BATCH))


cdef bint accept_candidates(Batch *b, Stream *random, int64_t n_left, Poll *p) noexcept nogil:
    """Accept as many candidates as a centroid has trials; False: no row is left to draw, or interrupted."""
    cdef SeedingState *state = b.state
    cdef int64_t size, c
    b.n_accepted = 0
    while b.n_accepted < state.base.trials:
        if b.next == b.count:
            if not sum_of_chunks(state.sums, state.n_chunks) > 0:
                return False
            keep_accepted(b)
            size = next_batch_size(b, n_left)
            draw_batch(b, random, max(size, b.n_accepted + 1))
            b.next, b.next_used = b.n_accepted, 0
            while not list_records(b, p):
                if is_stopped(p):
                    return False
                b.count = max(b.count // 2, b.n_accepted + 1)
        c = b.next
        b.next += 1
        if b.row[c] >= 0 and next_unit(random) * b.drawn[c] < min_distance_of(state, b.row[c]):
            b.chosen[b.n_accepted] = c
            b.n_accepted += 1
            b.next_used += 1
    return True


cdef void choose_in_batches(Batch *b, Stream *random, int64_t k, char *centroids, Poll *p) noexcept nogil:
    """Choose the centroids from number k on."""
    cdef SeedingState *state = b.state
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, best
    while k < state.base.K and accept_candidates(b, random, state.base.K - k, p):
        best = best_accepted(b, p)
        state.drawn[k] = b.row[best]
        memcpy(centroids + k * size, b.values + best * size, size)
        improve_rows(b, best, p)
        k += 1
    while k < state.base.K and not is_stopped(p):  # all rows are chosen, or equal to one that is
        state.drawn[k] = draw_row(rows, random)
        read_row(rows, state.drawn[k], centroids + k * size)
        k += 1


cdef int plus_plus_in_batches(Seeding *seeding, Stream *random, int64_t n_given, void *centroids,
                              uint64_t *max_abs_bits, Poll *p) noexcept nogil:
    """Draw K centroids as plus_plus does; nonzero: no memory, or interrupted."""
    cdef SeedingState *state = <SeedingState *>seeding
    cdef const Rows *rows = seeding.rows
    cdef Batch b
    cdef char *memory
    memset(&b, 0, sizeof(Batch))
    max_abs_bits[0] = measure_given(state, random, n_given, <char *>centroids, p)
    if out_of_range(rows, max_abs_bits[0]) or is_stopped(p):
        return is_stopped(p)
    if seeding.codes[0] == NULL:
        seeding.codes[0] = codes_open(rows, seeding.n_threads, p)
        if seeding.codes[0] == NULL:
            return 1
    b.state, b.codes = state, seeding.codes[0]
    b.lists.capacity = list_capacity(rows)
    memory = <char *>allocate(batch_layout(&b, NULL))
    if memory == NULL:
        return 1
    batch_layout(&b, memory)
    choose_in_batches(&b, random, max(n_given, <int64_t>1), <char *>centroids, p)
    release(memory)
    return is_stopped(p)


cdef Seeding *open_seeding(const Rows *rows, int64_t K, int64_t trials, int n_threads, Codes **codes) noexcept nogil:
    """Allocate what seeding needs; NULL: no memory. `codes`: where the codes of the rows are, or will be."""
    cdef bint batches = batches_pay(rows, K, trials)
    cdef Seeding *seeding = seeding_open(rows, K, trials, n_threads, not batches)
    if seeding != NULL:
        seeding.codes = codes if batches else NULL
        (<SeedingState *>seeding).in_blocks = blocks_pay(rows, K, trials)
    return seeding


cdef bint keeps_seeds(const Seeding *seeding) noexcept nogil:
    """Whether drawing a start leaves something of the rows for the next one."""
    return seeding.codes != NULL or (<const SeedingState *>seeding).in_blocks


cdef int draw_start(Seeding *seeding, Stream *random, int64_t n_given, void *centroids, uint64_t *max_abs_bits,
                    Poll *p) noexcept nogil:
    """Draw a start, after the first `n_given` centroids, which are there; nonzero: no memory, or interrupted."""
    if seeding.trials == 0:
        max_abs_bits[0] = random_examples(seeding, random, centroids, p)
    elif (<SeedingState *>seeding).in_blocks:
        return plus_plus_in_blocks(seeding, random, n_given, centroids, max_abs_bits, p)
    elif seeding.codes == NULL:
        max_abs_bits[0] = plus_plus(seeding, random, n_given, centroids, p)
    else:
        return plus_plus_in_batches(seeding, random, n_given, centroids, max_abs_bits, p)
    return 0


# ---- for init_centroids ----------------------------------------------------------------------

cdef object original_rows(PreparedPoints points, const int64_t[::1] drawn):
    """Return the first row of X, of those with a weight, that is equal to each row that was drawn."""
    cdef const int32_t *inverse = points.unique.inverse
    cdef const double *weights = points.rows.weights
    cdef int64_t i
    if not points.unique.deduplicated:
        return np.array(drawn)
    firsts = np.full(points.unique.rows.m, -1, np.int64)
    cdef int64_t[::1] first = firsts
    for i in range(points.rows.m - 1, -1, -1):
        if weights == NULL or weights[i] > 0:
            first[inverse[i]] = i
    return firsts[np.asarray(drawn)]


def init(PreparedPoints points, given, int64_t K, int64_t trials, uint64_t seed, int n_threads, bint want_rows):
    """Return starting centroids in the computing dtype, and if `want_rows` the row of X that each is, or -1; trials 0:
    random examples. `given`: the first centroids, (< K, n), which k-means++ completes."""
    cdef CallContext call = CallContext()
    points.bring_to_unit_length(n_threads, call)
    cdef const Rows *rows = points.seeding_points(trials, want_rows, n_threads, call)
    cdef Stream random = stream_of(seed, 0)
    cdef uint64_t max_abs_bits = 0
    cdef int64_t n_given = len(given)
    cdef Seeding *seeding
    cdef Codes *codes = NULL
    cdef int failed = 0
    centroids = np.empty((K, rows.n), computing_dtype(rows))
    centroids[:n_given] = given
    drawn = np.empty(K, np.int64)
    cdef uint8_t[::1] centroid_bytes = centroids.reshape(-1).view(np.uint8)
    cdef int64_t[::1] drawn_rows = drawn
    with nogil:
        seeding = open_seeding(rows, K, trials, n_threads, &codes)
        if seeding != NULL:
            failed = draw_start(seeding, &random, n_given, &centroid_bytes[0], &max_abs_bits, &call.poll)
            memcpy(&drawn_rows[0], (<SeedingState *>seeding).drawn, K * sizeof(int64_t))
            seeding_close(seeding)
            codes_close(codes)
    call.check()
    if seeding == NULL or failed:
        raise MemoryError
    check_range(rows, max_abs_bits)
    if want_rows and trials > 0:
        drawn[n_given:] = original_rows(points, drawn_rows[n_given:])
    drawn[:n_given] = -1
    return centroids, drawn if want_rows else None
