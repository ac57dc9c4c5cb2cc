"""Starting centroids: random examples, or greedy k-means++.

Random examples are rows of distinct values (Forgy's initialisation). k-means++ draws each centroid with probabilities
proportional to the weighted squared distances of the rows to the nearest centroid so far (D^2 sampling); its greedy
form draws several candidates and keeps the one that leaves the lowest sum of squared distances (D. Arthur and
S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007).

The rows are cut into chunks whose size is fixed, and the sums of the chunks are added up in order, so the result does
not depend on the number of threads.

Memory in bytes, for items of s bytes: s m for the distances, up to 64 MiB for packed rows, 8 trials m / 512 for the
sums, and for each thread up to 512 s (2 n + trials).
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from ckmeans._arena cimport take
from ckmeans._points cimport (
    PreparedPoints, Rows, ensure_loaded, fetch_row, fetch_rows, check_range, out_of_range, read_row, read_rows,
)
from ckmeans._random cimport Stream, next_below, next_unit, stream_of
from ckmeans._runtime cimport (
    CallContext, Poll, allocate, is_stopped, panel, poll, release, request_threads, threads_for,
)
from ckmeans._team cimport Team, begin_step, end_part, end_step, team_of
from ckmeans._values cimport get

import numpy as np

cdef int64_t SEED_CHUNK = 512          # rows of a chunk, of which a sum is kept: little to search for a drawn row
cdef int64_t PACKED_BYTES = 64 << 20   # packed rows that are kept for all centroids; larger ones are packed again
cdef int64_t EXAMPLE_DRAWS = 16        # draws for each example, before all rows are scanned for distinct values
cdef int64_t MORE_DRAWS = 64           # draws beside these, for a small K


# Scratch memory of a thread.
cdef struct SeedWorkspace:
    char *rows               # one chunk, where it is not read in place
    char *tiles              # one chunk, where the packed rows are not kept
    char *trial_distances    # (trials, SEED_CHUNK)

# Centroids that rows are compared with in one pass.
cdef struct CentroidSet:
    const char *values       # (count, n)
    int64_t count
    panel panel              # the same for sparse rows

# A candidate that is being drawn.
cdef struct Draw:
    int64_t chunk
    double target            # where in the chunk's sum of weighted squared distances it lies
    int64_t row              # -1: not yet found

cdef struct SeedBlocks

cdef struct SeedingState:
    Seeding base
    Team team
    int64_t n_chunks
    int64_t n_slots          # of the hash table: a power of two, at least 2 K
    bint keep_packed
    bint in_blocks           # k-means++ by blocks of near rows: see _seed_blocks.pxi
    SeedBlocks *blocks       # made when they are first needed
    int64_t *table           # hash table of the centroids' values: index of a centroid + 1; 0: free
    int64_t *drawn           # (K,) rows
    char *min_distances      # (m,) squared distance to the nearest centroid so far
    char *packed             # (m, n) all tiles; NULL: each chunk is packed again for each centroid
    double *sums             # (trials, n_chunks) weighted sums of the squared distances with each candidate
    char *candidate_values   # (trials, n)
    Draw *draws              # (trials,)
    CentroidSet newest       # the centroid that was chosen last
    CentroidSet candidates   # for the next one
    char *no_shift           # (n,) zeros
    uint64_t *max_abs_bits   # (n_threads,) bits of the largest magnitude read
    SeedWorkspace *workspaces


cdef void panel_layout(const Rows *rows, panel *centroids, int64_t count, char *memory, size_t *at) noexcept nogil:
    cdef int64_t lanes = rows.kernels.sparse.lanes, padded_count = (count + lanes - 1) // lanes * lanes
    cdef size_t item = rows.kernels.itemsize
    centroids.c = take(memory, at, padded_count * rows.n * item)
    centroids.norms = take(memory, at, padded_count * item)
    centroids.ids = take(memory, at, padded_count * item)


cdef size_t seeding_layout(SeedingState *state, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = state.base.rows
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(SeedingState) + 63) // 64 * 64
    cdef int64_t trials = state.base.trials, i
    cdef bint sparse = rows.source.indptr != NULL
    cdef SeedWorkspace work
    state.table = <int64_t *>take(memory, &at, state.n_slots * sizeof(int64_t))
    state.drawn = <int64_t *>take(memory, &at, state.base.K * sizeof(int64_t))
    if trials == 0:
        return at
    state.min_distances = <char *>take(memory, &at, state.n_chunks * SEED_CHUNK * item)
    state.sums = <double *>take(memory, &at, trials * state.n_chunks * sizeof(double))
    state.packed = NULL
    if state.keep_packed and not sparse and state.n_chunks * SEED_CHUNK * rows.n * item <= <size_t>PACKED_BYTES:
        state.packed = <char *>take(memory, &at, state.n_chunks * SEED_CHUNK * rows.n * item)
    state.candidate_values = <char *>take(memory, &at, trials * rows.n * item)
    state.draws = <Draw *>take(memory, &at, trials * sizeof(Draw))
    if sparse:
        panel_layout(rows, &state.newest.panel, 1, memory, &at)
        panel_layout(rows, &state.candidates.panel, trials, memory, &at)
    state.no_shift = <char *>take(memory, &at, rows.n * item)
    state.max_abs_bits = <uint64_t *>take(memory, &at, state.base.n_threads * sizeof(uint64_t))
    state.workspaces = <SeedWorkspace *>take(memory, &at, state.base.n_threads * sizeof(SeedWorkspace))
    for i in range(state.base.n_threads):
        work.rows = <char *>take(memory, &at, 0 if sparse else (SEED_CHUNK * rows.n + 8) * item)
        work.tiles = <char *>take(memory, &at, 0 if sparse or state.packed != NULL else SEED_CHUNK * rows.n * item)
        work.trial_distances = <char *>take(memory, &at, trials * SEED_CHUNK * item)
        if memory != NULL:
            state.workspaces[i] = work
    return at


cdef Seeding *seeding_open(const Rows *rows, int64_t K, int64_t trials, int n_threads, bint keep_packed) noexcept nogil:
    """Allocate what seeding needs; NULL: no memory. `keep_packed`: pack the rows once, if they are not too many."""
    cdef SeedingState draft
    memset(&draft, 0, sizeof(draft))
    draft.base.rows = rows
    draft.base.K = K
    draft.base.trials = trials
    draft.keep_packed = keep_packed
    draft.n_chunks = (rows.m + SEED_CHUNK - 1) // SEED_CHUNK
    draft.base.n_threads = min(threads_for(n_threads, rows.stored * (trials + 1)), <int>draft.n_chunks)
    draft.team = team_of(draft.base.n_threads)
    draft.n_slots = 4
    while draft.n_slots < 2 * K:
        draft.n_slots *= 2
    cdef char *memory = <char *>allocate(seeding_layout(&draft, NULL))
    if memory == NULL:
        return NULL
    seeding_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(SeedingState))
    if trials > 0:
        memset(draft.no_shift, 0, rows.n * rows.kernels.itemsize)
    return <Seeding *>memory


cdef void seeding_close(Seeding *seeding) noexcept nogil:
    """`seeding`: NULL where there was no memory for it."""
    if seeding != NULL:
        release((<SeedingState *>seeding).blocks)
    release(seeding)


# ---- random examples -------------------------------------------------------------------------

cdef int64_t draw_row(const Rows *rows, Stream *random) noexcept nogil:
    """Draw a row, with its weight as its probability."""
    cdef int64_t first = 0, last = rows.m - 1, middle
    cdef double target
    if rows.weights == NULL:
        return next_below(random, rows.m)
    target = next_unit(random) * rows.total_weight
    while first < last:
        middle = (first + last) // 2
        if rows.cumulative[middle] > target:
            last = middle
        else:
            first = middle + 1
    return first


cdef uint64_t hash_of(const uint8_t *bytes, int64_t size) noexcept nogil:
    """Return the 64-bit FNV-1a hash of some bytes (Fowler, Noll and Vo); its high bits are mixed into the low ones."""
    cdef uint64_t h = <uint64_t>0xCBF29CE484222325
    cdef int64_t i
    for i in range(size):
        h = (h ^ bytes[i]) * <uint64_t>0x100000001B3
    return h ^ (h >> 29)


cdef void clear_negative_zeros(void *values, int itemsize, int64_t n) noexcept nogil:
    """Turn -0.0 into 0.0, so that equal values have equal bits."""
    cdef int64_t l
    for l in range(n):
        if itemsize == 4:
            (<float *>values)[l] += 0.0
        else:
            (<double *>values)[l] += 0.0


cdef bint add_example(SeedingState *state, const char *example, int64_t k, char *centroids) noexcept nogil:
    """Make an example centroid k; False where a centroid before it has the same values."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, slot
    cdef char *values = centroids + k * size
    memmove(values, example, size)
    clear_negative_zeros(values, rows.kernels.itemsize, rows.n)
    slot = <int64_t>(hash_of(<uint8_t *>values, size) & <uint64_t>(state.n_slots - 1))
    while state.table[slot] != 0:
        if memcmp(centroids + (state.table[slot] - 1) * size, values, size) == 0:
            return False
        slot = (slot + 1) & (state.n_slots - 1)
    state.table[slot] = k + 1
    return True


cdef int64_t draw_examples(SeedingState *state, Stream *random, char *centroids, Poll *p) noexcept nogil:
    """Draw examples of distinct values, up to K of them, in a limited number of draws; return how many were found.
    All that are missing are drawn together, in few passes over points in chunks, and read into their places."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, K = state.base.K, k = 0, first, count, i
    cdef int64_t n_draws = EXAMPLE_DRAWS * K + MORE_DRAWS
    while k < K and n_draws > 0 and not is_stopped(p):
        first = k
        count = min(K - k, n_draws)
        n_draws -= count
        for i in range(first, first + count):
            state.drawn[i] = draw_row(rows, random)
        fetch_rows(rows, state.drawn + first, count, centroids + first * size, p)
        for i in range(first, first + count):
            state.drawn[k] = state.drawn[i]
            k += add_example(state, centroids + i * size, k, centroids)
    return k


cdef int64_t scan_examples(SeedingState *state, Stream *random, int64_t k, char *centroids, Poll *p) noexcept nogil:
    """Go on from k examples where few values are distinct: try every row once, from a random one on."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, row = draw_row(rows, random), i
    for i in range(rows.m):
        if k == state.base.K or (i % SEED_CHUNK == 0 and poll(p)):
            break
        if rows.weights == NULL or rows.weights[row] > 0:
            state.drawn[k] = row
            fetch_row(rows, row, centroids + k * size, p)
            k += add_example(state, centroids + k * size, k, centroids)
        row = row + 1 if row + 1 < rows.m else 0
    return k


cdef uint64_t random_examples(Seeding *seeding, Stream *random, void *centroids_, Poll *p) noexcept nogil:
    """Draw K examples, of distinct values while there are such; return 0, as magnitudes are left to the first step."""
    cdef SeedingState *state = <SeedingState *>seeding
    cdef const Rows *rows = seeding.rows
    cdef char *centroids = <char *>centroids_
    cdef int64_t k
    memset(state.table, 0, state.n_slots * sizeof(int64_t))
    k = draw_examples(state, random, centroids, p)
    if k < seeding.K and not is_stopped(p):
        k = scan_examples(state, random, k, centroids, p)
    while k < seeding.K and not is_stopped(p):
        state.drawn[k] = draw_row(rows, random)
        fetch_row(rows, state.drawn[k], centroids + k * rows.n * rows.kernels.itemsize, p)
        k += 1
    return 0


# ---- greedy k-means++ ------------------------------------------------------------------------

cdef void set_centroids(SeedingState *state, CentroidSet *centroids, const char *values, int64_t count) noexcept nogil:
    cdef const Rows *rows = state.base.rows
    cdef int64_t i
    centroids.values = values
    centroids.count = count
    if rows.source.indptr != NULL and count > 0:
        centroids.panel.K, centroids.panel.n = count, rows.n
        for i in range(rows.kernels.sparse.groups(count)):
            rows.kernels.sparse.pack(values, 1, NULL, i, &centroids.panel)
        rows.kernels.sparse.norms(&centroids.panel)


cdef char *pack_chunk(SeedingState *state, int64_t thread, int64_t chunk, int64_t count, bint first) noexcept nogil:
    """Pack the rows of a chunk, where that is not kept from before; sparse rows stay as they are."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t stride
    cdef const void *values
    cdef char *tiles = state.workspaces[thread].tiles
    cdef uint64_t max_abs_bits = rows.max_abs_bits
    if state.packed != NULL:
        tiles = state.packed + chunk * SEED_CHUNK * rows.n * rows.kernels.itemsize
    if rows.source.indptr == NULL and (state.packed == NULL or first):
        values = read_rows(rows, chunk * SEED_CHUNK, count, state.workspaces[thread].rows, &stride)
        max_abs_bits = rows.kernels.pack(values, stride, count, rows.n, state.no_shift, tiles)
    state.max_abs_bits[thread] = max(state.max_abs_bits[thread], max_abs_bits)
    return tiles


cdef void min_distance_update(SeedingState *state, const char *tiles, int64_t chunk, const CentroidSet *centroids,
                              const void *min_distances, void *updated) noexcept nogil:
    """Find the minimum of a chunk's squared distances so far (NULL: infinity) and those to each of some centroids."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK), tile = rows.kernels.tile
    cdef int64_t n_tiles = (count + tile - 1) // tile
    if rows.source.indptr != NULL:
        rows.kernels.sparse.min_distance_update(
            &rows.source, chunk * SEED_CHUNK, count, &centroids.panel, min_distances, n_tiles * tile, updated)
    else:
        rows.kernels.min_distance_update(
            tiles, n_tiles, rows.n, centroids.values, centroids.count, min_distances, updated)


cdef char *add_newest(SeedingState *state, int64_t thread, int64_t chunk, bint first) noexcept nogil:
    """Update a chunk's minimum distances with the newest centroid; return the chunk's tiles."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK)
    cdef char *min_distances = state.min_distances + chunk * SEED_CHUNK * rows.kernels.itemsize
    cdef char *tiles = pack_chunk(state, thread, chunk, count, first)
    min_distance_update(state, tiles, chunk, &state.newest, NULL if first else min_distances, min_distances)
    return tiles


cdef void update_chunk(SeedingState *state, int64_t thread, int64_t chunk, bint first) noexcept nogil:
    """Update a chunk's minimum distances with the newest centroid; sum up those that each candidate would leave, or,
    without candidates, the minimum distances themselves."""
    cdef const Rows *rows = state.base.rows
    cdef size_t item = rows.kernels.itemsize
    cdef int64_t count = min(SEED_CHUNK, rows.m - chunk * SEED_CHUNK), tile = rows.kernels.tile
    cdef int64_t length = (count + tile - 1) // tile * tile, trial
    cdef const double *weights = NULL if rows.weights == NULL else rows.weights + chunk * SEED_CHUNK
    cdef char *min_distances = state.min_distances + chunk * SEED_CHUNK * item
    cdef char *trial_distances = state.workspaces[thread].trial_distances
    cdef char *tiles = add_newest(state, thread, chunk, first)
    if state.candidates.count == 0:
        state.sums[chunk] = rows.kernels.weighted_sum(min_distances, weights, count)
        return
    min_distance_update(state, tiles, chunk, &state.candidates, min_distances, trial_distances)
    for trial in range(state.candidates.count):
        state.sums[trial * state.n_chunks + chunk] = rows.kernels.weighted_sum(trial_distances, weights, count)
        trial_distances += length * item


cdef void update_chunks(SeedingState *state, bint first, Poll *p) noexcept nogil:
    """Update all chunks, in one pass over the rows."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t window = state.n_chunks, start = 0, end, chunk
    cdef int threads = begin_step(&state.team)
    if rows.window != NULL:
        window = max(rows.window.capacity // SEED_CHUNK, state.base.n_threads)
    while start < state.n_chunks:
        end = min(start + window, state.n_chunks)
        if (first or state.packed == NULL) and ensure_loaded(rows, start * SEED_CHUNK, (end - start) * SEED_CHUNK, p):
            return
        if threads == 1:
            for chunk in range(start, end):
                if not poll(p):
                    update_chunk(state, 0, chunk, first)
        else:
            for chunk in prange(start, end, schedule="dynamic", chunksize=4, num_threads=request_threads(threads)):
                if not poll(p):
                    update_chunk(state, threadid(), chunk, first)
                end_part(&state.team, threadid())
        start = end
    end_step(&state.team, state.n_chunks)


cdef double sum_of_chunks(const double *sums, int64_t n_chunks) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    for i in range(n_chunks):
        total += sums[i]
    return total


cdef void draw_chunks(SeedingState *state, Stream *random, const double *sums) noexcept nogil:
    """Draw where in the sum of all weighted squared distances each candidate lies, and find its chunk."""
    cdef double total = sum_of_chunks(sums, state.n_chunks), target
    cdef int64_t trial, chunk
    for trial in range(state.base.trials):
        target = next_unit(random) * total
        chunk = 0
        while chunk < state.n_chunks - 1 and target >= sums[chunk]:
            target -= sums[chunk]
            chunk += 1
        state.draws[trial].chunk, state.draws[trial].target, state.draws[trial].row = chunk, target, -1


cdef int64_t row_at(const SeedingState *state, int64_t chunk, double target) noexcept nogil:
    """Return the row of a chunk where the running sum exceeds `target`; -1 where all distances are 0."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t row, last = -1
    cdef double term
    for row in range(chunk * SEED_CHUNK, min((chunk + 1) * SEED_CHUNK, rows.m)):
        term = get(state.min_distances, row, rows.kernels.itemsize)
        if rows.weights != NULL:
            term *= rows.weights[row]
        if term > 0:
            last = row
            target -= term
            if target < 0:
                break
    return last


cdef void draw_candidates(SeedingState *state, Stream *random, const double *sums, Poll *p) noexcept nogil:
    """Draw rows by D^2 sampling. `sums` already include the newest centroid, the minimum distances of a chunk only once
    the chunk is visited. Chunks are visited in rising order, so that chunked points are passed over once."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, trial, next_chunk, visited = -1
    cdef Draw *draw
    draw_chunks(state, random, sums)
    while not is_stopped(p):
        next_chunk = state.n_chunks
        for trial in range(state.base.trials):
            if visited < state.draws[trial].chunk < next_chunk:
                next_chunk = state.draws[trial].chunk
        if next_chunk == state.n_chunks or ensure_loaded(rows, next_chunk * SEED_CHUNK, SEED_CHUNK, p):
            break
        add_newest(state, 0, next_chunk, False)
        for trial in range(state.base.trials):
            draw = &state.draws[trial]
            if draw.chunk == next_chunk:
                draw.row = row_at(state, next_chunk, draw.target)
                if draw.row >= 0:
                    read_row(rows, draw.row, state.candidate_values + trial * size)
        visited = next_chunk
    for trial in range(state.base.trials):
        if state.draws[trial].row < 0 and not is_stopped(p):
            state.draws[trial].row = draw_row(rows, random)
            fetch_row(rows, state.draws[trial].row, state.candidate_values + trial * size, p)


cdef int64_t best_candidate(const SeedingState *state) noexcept nogil:
    """Return the candidate that leaves the lowest sum of squared distances, the potential."""
    cdef int64_t trial, best = 0
    cdef double potential, lowest = INFINITY
    for trial in range(state.base.trials):
        potential = sum_of_chunks(state.sums + trial * state.n_chunks, state.n_chunks)
        if potential < lowest:
            lowest = potential
            best = trial
    return best


cdef uint64_t max_abs_bits_read(const SeedingState *state) noexcept nogil:
    cdef uint64_t max_abs_bits = 0
    cdef int i
    for i in range(state.base.n_threads):
        max_abs_bits = max(max_abs_bits, state.max_abs_bits[i])
    return max_abs_bits


cdef uint64_t measure_given(SeedingState *state, Stream *random, int64_t n_given, char *centroids,
                            Poll *p) noexcept nogil:
    """Find the distances to the first centroids, or to one that is drawn where none is given; return the bits of the
    largest magnitude."""
    cdef const Rows *rows = state.base.rows
    cdef int64_t k
    memset(state.max_abs_bits, 0, state.base.n_threads * sizeof(uint64_t))
    if n_given == 0:
        state.drawn[0] = draw_row(rows, random)
        fetch_row(rows, state.drawn[0], centroids, p)
    set_centroids(state, &state.candidates, NULL, 0)
    for k in range(max(n_given, 1)):
        set_centroids(state, &state.newest, centroids + k * rows.n * rows.kernels.itemsize, 1)
        update_chunks(state, k == 0, p)
    return max_abs_bits_read(state)


cdef uint64_t plus_plus(Seeding *seeding, Stream *random, int64_t n_given, void *centroids_, Poll *p) noexcept nogil:
    """Draw K centroids by greedy k-means++, after the first `n_given` ones, which are there; return the bits of the
    largest magnitude. One pass over the rows for each centroid updates the minimum distances with the newest one and
    finds the sums that each candidate for the next one would leave; the best candidate's sums serve the next draw."""
    cdef SeedingState *state = <SeedingState *>seeding
    cdef const Rows *rows = seeding.rows
    cdef int64_t size = rows.n * rows.kernels.itemsize, k, best = 0
    cdef char *centroids = <char *>centroids_
    cdef uint64_t max_abs_bits = measure_given(state, random, n_given, centroids, p)
    if out_of_range(rows, max_abs_bits):
        return max_abs_bits
    for k in range(max(n_given, 1), seeding.K):
        if is_stopped(p):
            break
        set_centroids(state, &state.newest, centroids + (k - 1) * size, 1)
        draw_candidates(state, random, state.sums + best * state.n_chunks, p)
        set_centroids(state, &state.candidates, state.candidate_values, seeding.trials)
        update_chunks(state, False, p)
        best = best_candidate(state)
        state.drawn[k] = state.draws[best].row
        memcpy(centroids + k * size, state.candidate_values + best * size, size)
    return max_abs_bits_read(state)
