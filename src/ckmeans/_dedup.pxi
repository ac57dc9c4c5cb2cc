"""Deduplication: equal points, such as pixels of one colour, as one unique point with a multiplicity.

Only points of up to three features that are bytes (in any dtype computed in float32) are deduplicated. The bytes of a
point are its code. One pass sets the bit of each code that occurs in a bitmap of all possible ones; the rank of a
code's bit among the set ones is the index of its unique point (G. Jacobson, "Space-efficient static trees and
graphs", FOCS 1989). A second pass counts.

Memory in bytes, for n features: 4 a row where the inverse is kept, and 16 + 4 n a unique point (24 + 4 n with
weights); while it is built, for three features, 1 MiB, 2 MiB a thread and 4 to 32 a unique point (12 to 96 with
weights).
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads, threads_for

cdef int64_t DEDUP_BLOCK = 4096       # rows of a block: their codes stay in the first-level cache
cdef int64_t MAX_PARTS = 8            # partial counts: each takes 4 bytes a unique point, 12 with weights
cdef int64_t MIN_ROWS = 1 << 18       # with fewer rows, to sort them all costs less than to pass over the bitmap
cdef int64_t MIN_MULTIPLICITY = 4     # mean multiplicity from which deduplication pays for its two passes

# Scratch memory of a thread, and what it found in the first pass.
cdef struct DedupWorkspace:
    char *rows               # a block
    int32_t *codes           # of the block's points
    uint64_t *seen           # bitmap: a bit a code
    bint only_bytes          # all values so far are bytes
    uint64_t max_abs_bits    # bits of the largest magnitude

cdef struct Deduplication:
    Rows rows                # as they came, not at unit length
    int n_threads
    bint direct              # the values lie in memory as bytes
    int64_t n_words          # of a bitmap; 0: points are not deduplicated
    int64_t n_unique
    int64_t n_parts
    uint64_t *seen           # the bitmap of all threads
    int32_t *rank            # (n_words,) set bits before each word
    int32_t *inverse         # (m,) the unique point of each row; NULL: not asked for
    int32_t *multiplicities  # (n_parts, n_unique)
    double *weights          # (n_parts, n_unique); NULL: 1
    DedupWorkspace *workspaces


# ---- which codes occur -----------------------------------------------------------------------

cdef void codes_of_bytes(const uint8_t *row, int64_t stride, int64_t count, int64_t n, int32_t *codes) noexcept nogil:
    """Find the code of each point: its bytes as one number."""
    cdef int64_t i, l
    cdef int32_t code
    if n == 3:
        for i in range(count):
            codes[i] = <int32_t>row[0] << 16 | <int32_t>row[1] << 8 | row[2]
            row += stride
        return
    for i in range(count):
        code = 0
        for l in range(n):
            code = code * 256 + row[l]
        codes[i] = code
        row += stride


cdef bint codes_of_values(const float *row, int64_t stride, int64_t count, int64_t n, int32_t *codes) noexcept nogil:
    """Find the codes of points whose values may be bytes; False where one is not."""
    cdef int64_t i, l
    cdef int32_t code, byte
    for i in range(count):
        code = 0
        for l in range(n):
            if not (row[l] >= 0 and row[l] <= 255):
                return False
            byte = <int32_t>row[l]
            if <float>byte != row[l]:
                return False
            code = code * 256 + byte
        codes[i] = code
        row += stride
    return True


cdef uint64_t max_abs_bits_of_rows(const Deduplication *c, const char *rows, int64_t stride,
                                   int64_t count) noexcept nogil:
    cdef int64_t n = c.rows.n, i
    cdef int itemsize = c.rows.kernels.itemsize
    cdef uint64_t max_abs_bits = 0
    if stride == n:
        return max_abs_bits_of(rows, count * n, itemsize)
    for i in range(count):
        max_abs_bits = max(max_abs_bits, max_abs_bits_of(rows + i * stride * itemsize, n, itemsize))
    return max_abs_bits


cdef bint read_codes(const Deduplication *c, DedupWorkspace *work, int64_t first, int64_t count) noexcept nogil:
    """Find the codes of some rows; False where not all values are bytes. Find the largest magnitude too, except of
    values that lie in memory as bytes: all bytes are in range."""
    cdef int64_t n = c.rows.n, row_stride = c.rows.source.row_stride, stride
    cdef const char *rows
    if c.direct:
        codes_of_bytes(<const uint8_t *>c.rows.source.data + first * row_stride, row_stride, count, n, work.codes)
        return True
    rows = <const char *>read_rows(&c.rows, first, count, work.rows, &stride)
    work.max_abs_bits = max(work.max_abs_bits, max_abs_bits_of_rows(c, rows, stride, count))
    return work.only_bytes and codes_of_values(<const float *>rows, stride, count, n, work.codes)


cdef void scan_block(Deduplication *c, DedupWorkspace *work, int64_t block) noexcept nogil:
    cdef int64_t first = block * DEDUP_BLOCK, count = min(DEDUP_BLOCK, c.rows.m - first), i
    cdef uint64_t *seen = work.seen
    cdef const int32_t *codes = work.codes
    work.only_bytes = read_codes(c, work, first, count)
    if work.only_bytes:
        for i in range(count):
            seen[codes[i] >> 6] |= <uint64_t>1 << (codes[i] & 63)


cdef bint all_are_bytes(const Deduplication *c) noexcept nogil:
    cdef int i
    for i in range(c.n_threads):
        if not c.workspaces[i].only_bytes:
            return False
    return True


cdef int64_t window_rows(const Rows *rows) noexcept nogil:
    """How many rows are loaded together, in whole blocks."""
    return rows.m if rows.window == NULL else max(rows.window.capacity // DEDUP_BLOCK, 1) * DEDUP_BLOCK


cdef uint64_t max_abs_bits_of_threads(const Deduplication *c) noexcept nogil:
    """Return the bits of the largest magnitude; 0 of points in chunks, not all of which may have been read."""
    cdef uint64_t max_abs_bits = 0
    cdef int i
    if c.rows.window == NULL:
        for i in range(c.n_threads):
            max_abs_bits = max(max_abs_bits, c.workspaces[i].max_abs_bits)
    return max_abs_bits


cdef bint scan_rows(Deduplication *c, Poll *p) noexcept nogil:
    """Find the codes that occur, and the largest magnitude; False where not all values are bytes. Then chunks are read
    no further, but rows in memory are, for the magnitude."""
    cdef int64_t first = 0, window = window_rows(&c.rows), count, block, word
    cdef int i
    for i in range(c.n_threads):
        c.workspaces[i].max_abs_bits = 0
        c.workspaces[i].only_bytes = c.n_words > 0
        memset(c.workspaces[i].seen, 0, c.n_words * sizeof(uint64_t))
    while first < c.rows.m and (c.rows.window == NULL or all_are_bytes(c)):
        count = min(window, c.rows.m - first)
        if ensure_loaded(&c.rows, first, count, p):
            break
        for block in prange(first // DEDUP_BLOCK, (first + count + DEDUP_BLOCK - 1) // DEDUP_BLOCK, schedule="static",
                            num_threads=request_threads(c.n_threads)):
            if not poll(p):
                scan_block(c, &c.workspaces[threadid()], block)
        first += count
    for i in range(1, c.n_threads):
        for word in range(c.n_words):
            c.seen[word] |= c.workspaces[i].seen[word]
    return all_are_bytes(c)


# ---- unique points ---------------------------------------------------------------------------

cdef inline int64_t bits_set(uint64_t x) noexcept nogil:
    x = x - ((x >> 1) & <uint64_t>0x5555555555555555)
    x = (x & <uint64_t>0x3333333333333333) + ((x >> 2) & <uint64_t>0x3333333333333333)
    x = (x + (x >> 4)) & <uint64_t>0x0f0f0f0f0f0f0f0f
    return <int64_t>((x * <uint64_t>0x0101010101010101) >> 56)


cdef void rank_codes(Deduplication *c) noexcept nogil:
    """Number the codes that occur, in rising order."""
    cdef int64_t word
    c.n_unique = 0
    for word in range(c.n_words):
        c.rank[word] = <int32_t>c.n_unique
        c.n_unique += bits_set(c.seen[word])


cdef inline int64_t unique_of_code(const Deduplication *c, int64_t code) noexcept nogil:
    cdef uint64_t lower = (<uint64_t>1 << (code & 63)) - 1
    return c.rank[code >> 6] + bits_set(c.seen[code >> 6] & lower)


cdef void count_part(Deduplication *c, int64_t part, int64_t thread, int64_t first, int64_t end,
                     Poll *p) noexcept nogil:
    """Count the unique points of those rows first .. end - 1 that belong to a part, and add up their weights."""
    cdef int64_t count, i, u
    cdef int32_t *multiplicities = c.multiplicities + part * c.n_unique
    cdef const int32_t *codes = c.workspaces[thread].codes
    first = max(first, part * c.rows.m // c.n_parts)
    end = min(end, (part + 1) * c.rows.m // c.n_parts)
    while first < end and not poll(p):
        count = min(DEDUP_BLOCK, end - first)
        read_codes(c, &c.workspaces[thread], first, count)
        for i in range(count):
            u = unique_of_code(c, codes[i])
            multiplicities[u] += 1
            if c.inverse != NULL:
                c.inverse[first + i] = <int32_t>u
            if c.weights != NULL:
                c.weights[part * c.n_unique + u] += c.rows.weights[first + i]
        first += count


cdef void count_rows(Deduplication *c, Poll *p) noexcept nogil:
    cdef int64_t first = 0, end, window = window_rows(&c.rows), part
    while first < c.rows.m:
        end = min(first + window, c.rows.m)
        if ensure_loaded(&c.rows, first, end - first, p):
            return
        for part in prange(c.n_parts, schedule="dynamic", chunksize=1, num_threads=request_threads(c.n_threads)):
            count_part(c, part, threadid(), first, end, p)
        first = end


cdef void fill_values(const Deduplication *c, float *values) noexcept nogil:
    """Store the values of the unique points, in the order of their codes."""
    cdef int64_t word, bit, n = c.rows.n, u = 0, l, code
    for word in range(c.n_words):
        if c.seen[word] == 0:
            continue
        for bit in range(64):
            if (c.seen[word] >> bit) & 1:
                code = word * 64 + bit
                for l in range(n):
                    values[u * n + n - 1 - l] = <float>((code >> (8 * l)) & 255)
                u += 1


cdef void fill_sums(const Deduplication *c, double *multiplicities, double *weights, double *cumulative) noexcept nogil:
    """Add the parts up in order; without weights, `weights` are the multiplicities."""
    cdef int64_t u, part
    cdef double total = 0
    for u in range(c.n_unique):
        multiplicities[u] = 0
        for part in range(c.n_parts):
            multiplicities[u] += c.multiplicities[part * c.n_unique + u]
        if c.weights != NULL:
            weights[u] = 0
            for part in range(c.n_parts):
                weights[u] += c.weights[part * c.n_unique + u]
        total += weights[u]
        cumulative[u] = total


cdef size_t unique_layout(const Deduplication *c, UniquePoints *unique, char *memory) noexcept nogil:
    """Lay the unique points out in memory; with memory NULL only count the bytes."""
    cdef size_t at = 0
    unique.memory = memory
    unique.multiplicities = <double *>take(memory, &at, c.n_unique * sizeof(double))
    unique.rows.weights = unique.multiplicities
    if c.rows.weights != NULL:
        unique.rows.weights = <double *>take(memory, &at, c.n_unique * sizeof(double))
    unique.rows.cumulative = <double *>take(memory, &at, c.n_unique * sizeof(double))
    unique.rows.source.data = <char *>take(memory, &at, (c.n_unique * c.rows.n + 8) * sizeof(float))
    unique.rows.source.n = unique.rows.n
    unique.rows.source.m = unique.rows.m = unique.rows.in_place = c.n_unique
    unique.rows.stride = c.rows.n
    unique.rows.source.row_stride = c.rows.n * sizeof(float)
    unique.rows.source.column_stride = sizeof(float)
    unique.rows.source.dtype, unique.rows.source.swapped = SOURCE_FLOAT32, 0
    unique.rows.stored = <double>c.n_unique * c.rows.n
    unique.rows.window = NULL
    unique.rows.source.factors = NULL
    if unique.rows.unit:
        unique.rows.source.factors = <double *>take(memory, &at, c.n_unique * sizeof(double))
    return at


cdef bint make_unique(Deduplication *c, UniquePoints *unique, bint want_inverse, Poll *p) noexcept nogil:
    """False: no memory, or interrupted."""
    cdef bint weighted = c.rows.weights != NULL
    cdef UniquePoints draft = unique[0]
    c.n_parts = max(1, min(MAX_PARTS, c.rows.m // (MIN_MULTIPLICITY * c.n_unique)))
    if want_inverse:
        c.inverse = unique.inverse = <int32_t *>allocate(c.rows.m * sizeof(int32_t))
    c.multiplicities = <int32_t *>allocate(c.n_parts * c.n_unique * sizeof(int32_t))
    c.weights = <double *>allocate(c.n_parts * c.n_unique * sizeof(double)) if weighted else NULL
    unique.bytes = <int64_t>unique_layout(c, &draft, NULL)
    unique.memory = allocate(unique.bytes)
    if (c.multiplicities == NULL or unique.memory == NULL or (want_inverse and c.inverse == NULL)
            or (weighted and c.weights == NULL)):
        return False
    unique.bytes += c.rows.m * sizeof(int32_t) if want_inverse else 0
    unique.deduplicated = True
    unique_layout(c, unique, <char *>unique.memory)
    memset(c.multiplicities, 0, c.n_parts * c.n_unique * sizeof(int32_t))
    if weighted:
        memset(c.weights, 0, c.n_parts * c.n_unique * sizeof(double))
    count_rows(c, p)
    fill_sums(c, unique.multiplicities, <double *>unique.rows.weights, <double *>unique.rows.cumulative)
    fill_values(c, <float *>unique.rows.source.data)
    if unique.rows.unit and find_factors(&unique.rows, <double *>unique.rows.source.factors, c.n_threads, p):
        return False
    unique.rows.total_weight = unique.rows.cumulative[c.n_unique - 1]
    return not is_stopped(p)


cdef size_t dedup_layout(Deduplication *c, char *memory) noexcept nogil:
    """Lay everything out; with memory NULL only count the bytes."""
    cdef size_t at = 0
    cdef DedupWorkspace work
    cdef int i
    c.rank = <int32_t *>take(memory, &at, c.n_words * sizeof(int32_t))
    c.workspaces = <DedupWorkspace *>take(memory, &at, c.n_threads * sizeof(DedupWorkspace))
    for i in range(c.n_threads):
        work.rows = <char *>take(memory, &at, (DEDUP_BLOCK * c.rows.n + 8) * c.rows.kernels.itemsize)
        work.codes = <int32_t *>take(memory, &at, DEDUP_BLOCK * sizeof(int32_t))
        work.seen = <uint64_t *>take(memory, &at, c.n_words * sizeof(uint64_t))
        if memory != NULL:
            c.workspaces[i] = work
    return at


cdef bint may_deduplicate(const Rows *rows) noexcept nogil:
    cdef bint dense = rows.source.indptr == NULL
    return dense and rows.kernels.itemsize == 4 and rows.n <= 3 and rows.m >= MIN_ROWS


cdef bint deduplicate(const Rows *rows, bint want_inverse, int n_threads, UniquePoints *unique, Poll *p) noexcept nogil:
    cdef Deduplication c
    cdef char *memory
    cdef bint done = True
    memset(&c, 0, sizeof(c))
    memset(unique, 0, sizeof(UniquePoints))
    unique.rows = rows[0]
    c.rows = rows[0]
    c.rows.source.factors, c.rows.unit = NULL, False
    c.n_threads = threads_for(n_threads, <double>rows.m * rows.n)
    if may_deduplicate(rows):
        c.n_words = max(<int64_t>1, <int64_t>1 << (8 * rows.n - 6))
        c.direct = rows.window == NULL and rows.source.dtype == SOURCE_UINT8 and rows.source.column_stride == 1
    memory = <char *>allocate(dedup_layout(&c, NULL))
    if memory == NULL:
        return False
    dedup_layout(&c, memory)
    c.seen = c.workspaces[0].seen
    if scan_rows(&c, p) and not is_stopped(p):
        rank_codes(&c)
        if c.n_unique * MIN_MULTIPLICITY <= rows.m:
            done = make_unique(&c, unique, want_inverse, p)
    unique.max_abs_bits = 0 if rows.unit else max_abs_bits_of_threads(&c)
    release(c.multiplicities)
    release(c.weights)
    release(memory)
    return done and not is_stopped(p)


cdef void release_unique(UniquePoints *unique) noexcept nogil:
    release(unique.memory)
    release(unique.inverse)
    memset(unique, 0, sizeof(UniquePoints))
