"""Equal points made one, with a weight: the pixels of a photo.

Only points of up to three features that are bytes (in any dtype computed in float32) are looked
at: there a bitmap of all the values that may occur tells, in one pass, which do occur, and the
rank of a value's bit among the set ones is the number of its unit. A second pass counts.

Memory in bytes: 4 a row where the unit of each row is kept, and 16 + 4 n a unit (24 + 4 n with
weights); while it is made, for three features, 1 MiB, 2 MiB a thread and 4 to 32 a unit.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, hold, read_rows
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads, threads_for

cdef extern from "simd/source.h":
    int SOURCE_FLOAT32, SOURCE_UINT8

cdef int64_t BLOCK = 4096             # rows read together
cdef int64_t PARTS = 8                # partial sums of weights, at most
cdef int64_t LEAST_ROWS = 1 << 18     # below, ordering all rows costs less than the bitmap
cdef int64_t LEAST_SHARED = 4         # rows a unit from which collapsing pays

# One thread's part of the first pass.
cdef struct Desk:
    char *rows
    int32_t *codes           # of a block's points
    uint64_t *seen           # a bit a value
    bint bytes               # nothing but bytes so far
    uint64_t most

cdef struct Collapsing:
    const Rows *rows
    int n_threads
    bint direct              # the values lie in memory as bytes
    int64_t words            # of a bitmap; 0: do not look for bytes
    int64_t units
    int64_t parts
    uint64_t *seen
    int32_t *rank            # set bits before each word
    int32_t *unit_of
    int32_t *numbers         # (parts, units)
    double *weights          # (parts, units); NULL: 1
    Desk *desks


# ---- which values occur ----------------------------------------------------------------------

cdef void codes_of_bytes(const uint8_t *row, int64_t stride, int64_t count, int64_t n, int32_t *codes) noexcept nogil:
    """The bytes of each point as one number."""
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
    """The same of values that may be bytes; False where one is not."""
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


cdef inline uint64_t most_of(const void *values, int64_t count, int itemsize) noexcept nogil:
    """The bits of the largest magnitude."""
    cdef const uint32_t *single = <const uint32_t *>values
    cdef const uint64_t *double_ = <const uint64_t *>values
    cdef uint32_t most = 0, bits
    cdef uint64_t most_wide = 0, bits_wide
    cdef int64_t i
    if itemsize == 4:
        for i in range(count):
            bits = single[i] & <uint32_t>0x7fffffff
            most = bits if bits > most else most
        return most
    for i in range(count):
        bits_wide = double_[i] & <uint64_t>0x7fffffffffffffff
        most_wide = bits_wide if bits_wide > most_wide else most_wide
    return most_wide


cdef uint64_t most_of_rows(const Collapsing *c, const char *rows, int64_t stride, int64_t count) noexcept nogil:
    cdef int64_t n = c.rows.n, i
    cdef int itemsize = c.rows.kernels.itemsize
    cdef uint64_t most = 0
    if stride == n:
        return most_of(rows, count * n, itemsize)
    for i in range(count):
        most = max(most, most_of(rows + i * stride * itemsize, n, itemsize))
    return most


cdef bint read_codes(const Collapsing *c, Desk *desk, int64_t first, int64_t count) noexcept nogil:
    """The codes of some rows; False where they are no bytes. Of all but bytes in memory, which are
    in range whatever they are, the largest magnitude too."""
    cdef int64_t n = c.rows.n, step = c.rows.source.row_stride, stride
    cdef const char *rows
    if c.direct:
        codes_of_bytes(<const uint8_t *>c.rows.source.data + first * step, step, count, n, desk.codes)
        return True
    rows = <const char *>read_rows(c.rows, first, count, desk.rows, &stride)
    desk.most = max(desk.most, most_of_rows(c, rows, stride, count))
    return desk.bytes and codes_of_values(<const float *>rows, stride, count, n, desk.codes)


cdef void look_at_block(Collapsing *c, Desk *desk, int64_t block) noexcept nogil:
    cdef int64_t first = block * BLOCK, count = min(BLOCK, c.rows.m - first), i
    cdef uint64_t *seen = desk.seen
    cdef const int32_t *codes = desk.codes
    desk.bytes = read_codes(c, desk, first, count)
    if desk.bytes:
        for i in range(count):
            seen[codes[i] >> 6] |= <uint64_t>1 << (codes[i] & 63)


cdef bint all_are_bytes(const Collapsing *c) noexcept nogil:
    cdef int i
    for i in range(c.n_threads):
        if not c.desks[i].bytes:
            return False
    return True


cdef int64_t window_rows(const Rows *rows) noexcept nogil:
    """Rows to have at hand together, in whole blocks."""
    return rows.m if rows.feed == NULL else max(rows.feed.room // BLOCK, 1) * BLOCK


cdef uint64_t largest(const Collapsing *c) noexcept nogil:
    """The largest magnitude, if all rows were looked at for it."""
    cdef uint64_t most = 0
    cdef int i
    if c.rows.feed == NULL:
        for i in range(c.n_threads):
            most = max(most, c.desks[i].most)
    return most


cdef bint look_at_all(Collapsing *c, Poll *p) noexcept nogil:
    """Where all values are bytes, the ones that occur; whether so. The largest magnitude too, for
    whose sake a feed is not read on."""
    cdef int64_t first = 0, window = window_rows(c.rows), count, block, word
    cdef int i
    for i in range(c.n_threads):
        c.desks[i].most = 0
        c.desks[i].bytes = c.words > 0
        memset(c.desks[i].seen, 0, c.words * sizeof(uint64_t))
    while first < c.rows.m and (c.rows.feed == NULL or all_are_bytes(c)):
        count = min(window, c.rows.m - first)
        if hold(c.rows, first, count, p):
            break
        for block in prange(first // BLOCK, (first + count + BLOCK - 1) // BLOCK, schedule="static",
                            num_threads=request_threads(c.n_threads)):
            if not poll(p):
                look_at_block(c, &c.desks[threadid()], block)
        first += count
    for i in range(1, c.n_threads):
        for word in range(c.words):
            c.seen[word] |= c.desks[i].seen[word]
    return all_are_bytes(c)


# ---- units -----------------------------------------------------------------------------------

cdef inline int64_t bits_set(uint64_t x) noexcept nogil:
    x = x - ((x >> 1) & <uint64_t>0x5555555555555555)
    x = (x & <uint64_t>0x3333333333333333) + ((x >> 2) & <uint64_t>0x3333333333333333)
    x = (x + (x >> 4)) & <uint64_t>0x0f0f0f0f0f0f0f0f
    return <int64_t>((x * <uint64_t>0x0101010101010101) >> 56)


cdef void rank_all(Collapsing *c) noexcept nogil:
    cdef int64_t word
    c.units = 0
    for word in range(c.words):
        c.rank[word] = <int32_t>c.units
        c.units += bits_set(c.seen[word])


cdef inline int64_t unit_of_code(const Collapsing *c, int64_t code) noexcept nogil:
    cdef uint64_t lower = (<uint64_t>1 << (code & 63)) - 1
    return c.rank[code >> 6] + bits_set(c.seen[code >> 6] & lower)


cdef void weigh_part(Collapsing *c, int64_t part, int64_t thread, int64_t first, int64_t end, Poll *p) noexcept nogil:
    """The units of those rows first .. end - 1 that belong to a part, and what they add to the units'
    numbers and weights."""
    cdef int64_t count, i, unit
    cdef int32_t *numbers = c.numbers + part * c.units
    cdef const int32_t *codes = c.desks[thread].codes
    first = max(first, part * c.rows.m // c.parts)
    end = min(end, (part + 1) * c.rows.m // c.parts)
    while first < end and not poll(p):
        count = min(BLOCK, end - first)
        read_codes(c, &c.desks[thread], first, count)
        for i in range(count):
            unit = unit_of_code(c, codes[i])
            numbers[unit] += 1
            if c.unit_of != NULL:
                c.unit_of[first + i] = <int32_t>unit
            if c.weights != NULL:
                c.weights[part * c.units + unit] += c.rows.weights[first + i]
        first += count


cdef void weigh_all(Collapsing *c, Poll *p) noexcept nogil:
    cdef int64_t first = 0, end, window = window_rows(c.rows), part
    while first < c.rows.m:
        end = min(first + window, c.rows.m)
        if hold(c.rows, first, end - first, p):
            return
        for part in prange(c.parts, schedule="dynamic", chunksize=1, num_threads=request_threads(c.n_threads)):
            weigh_part(c, part, threadid(), first, end, p)
        first = end


cdef void fill_values(const Collapsing *c, float *values) noexcept nogil:
    """The point of each unit, in the order of the codes."""
    cdef int64_t word, bit, n = c.rows.n, unit = 0, l, code
    for word in range(c.words):
        if c.seen[word] == 0:
            continue
        for bit in range(64):
            if (c.seen[word] >> bit) & 1:
                code = word * 64 + bit
                for l in range(n):
                    values[unit * n + n - 1 - l] = <float>((code >> (8 * l)) & 255)
                unit += 1


cdef void fill_sums(const Collapsing *c, double *numbers, double *weights, double *cumulative) noexcept nogil:
    """Add the parts up in order; the weights are the numbers where there are none."""
    cdef int64_t unit, part
    cdef double total = 0
    for unit in range(c.units):
        numbers[unit] = 0
        for part in range(c.parts):
            numbers[unit] += c.numbers[part * c.units + unit]
        if c.weights != NULL:
            weights[unit] = 0
            for part in range(c.parts):
                weights[unit] += c.weights[part * c.units + unit]
        total += weights[unit]
        cumulative[unit] = total


cdef size_t units_layout(const Collapsing *c, Units *u, char *memory) noexcept nogil:
    """Lay the units out as points in memory; with memory NULL only count the bytes."""
    cdef size_t at = 0
    u.memory = memory
    u.numbers = <double *>take(memory, &at, c.units * sizeof(double))
    u.rows.weights = u.numbers
    if c.rows.weights != NULL:
        u.rows.weights = <double *>take(memory, &at, c.units * sizeof(double))
    u.rows.cumulative = <double *>take(memory, &at, c.units * sizeof(double))
    u.rows.source.data = <char *>take(memory, &at, (c.units * c.rows.n + 8) * sizeof(float))
    u.rows.source.n = u.rows.n
    u.rows.source.m = u.rows.m = u.rows.in_place = c.units
    u.rows.stride = c.rows.n
    u.rows.source.row_stride = c.rows.n * sizeof(float)
    u.rows.source.column_stride = sizeof(float)
    u.rows.source.dtype, u.rows.source.swapped = SOURCE_FLOAT32, 0
    u.rows.stored = <double>c.units * c.rows.n
    u.rows.feed = NULL
    return at


cdef bint make_units(Collapsing *c, Units *u, bint trace, Poll *p) noexcept nogil:
    """False: no memory, or interrupted."""
    cdef bint weighted = c.rows.weights != NULL
    cdef Units draft = u[0]
    c.parts = max(1, min(PARTS, c.rows.m // (LEAST_SHARED * c.units)))
    if trace:
        c.unit_of = u.unit_of = <int32_t *>allocate(c.rows.m * sizeof(int32_t))
    c.numbers = <int32_t *>allocate(c.parts * c.units * sizeof(int32_t))
    c.weights = <double *>allocate(c.parts * c.units * sizeof(double)) if weighted else NULL
    u.bytes = <int64_t>units_layout(c, &draft, NULL)
    u.memory = allocate(u.bytes)
    if c.numbers == NULL or (trace and c.unit_of == NULL) or (weighted and c.weights == NULL) or u.memory == NULL:
        return False
    u.bytes += c.rows.m * sizeof(int32_t) if trace else 0
    u.collapsed = True
    units_layout(c, u, <char *>u.memory)
    memset(c.numbers, 0, c.parts * c.units * sizeof(int32_t))
    if weighted:
        memset(c.weights, 0, c.parts * c.units * sizeof(double))
    weigh_all(c, p)
    fill_sums(c, u.numbers, <double *>u.rows.weights, <double *>u.rows.cumulative)
    fill_values(c, <float *>u.rows.source.data)
    u.rows.total_weight = u.rows.cumulative[c.units - 1]
    return not is_stopped(p)


cdef size_t collapsing_layout(Collapsing *c, char *memory) noexcept nogil:
    cdef size_t at = 0
    cdef Desk desk
    cdef int i
    c.rank = <int32_t *>take(memory, &at, c.words * sizeof(int32_t))
    c.desks = <Desk *>take(memory, &at, c.n_threads * sizeof(Desk))
    for i in range(c.n_threads):
        desk.rows = <char *>take(memory, &at, (BLOCK * c.rows.n + 8) * c.rows.kernels.itemsize)
        desk.codes = <int32_t *>take(memory, &at, BLOCK * sizeof(int32_t))
        desk.seen = <uint64_t *>take(memory, &at, c.words * sizeof(uint64_t))
        if memory != NULL:
            c.desks[i] = desk
    return at


cdef bint may_collapse(const Rows *rows) noexcept nogil:
    cdef bint dense = rows.source.indptr == NULL
    return dense and rows.kernels.itemsize == 4 and rows.n <= 3 and rows.m >= LEAST_ROWS


cdef bint collapse(const Rows *rows, bint trace, int n_threads, Units *units, Poll *p) noexcept nogil:
    cdef Collapsing c
    cdef char *memory
    cdef bint done = True
    memset(&c, 0, sizeof(c))
    memset(units, 0, sizeof(Units))
    units.rows = rows[0]
    c.rows = rows
    c.n_threads = threads_for(n_threads, <double>rows.m * rows.n)
    if may_collapse(rows):
        c.words = max(<int64_t>1, <int64_t>1 << (8 * rows.n - 6))
        c.direct = rows.feed == NULL and rows.source.dtype == SOURCE_UINT8 and rows.source.column_stride == 1
    memory = <char *>allocate(collapsing_layout(&c, NULL))
    if memory == NULL:
        return False
    collapsing_layout(&c, memory)
    c.seen = c.desks[0].seen
    if look_at_all(&c, p) and not is_stopped(p):
        rank_all(&c)
        if c.units * LEAST_SHARED <= rows.m:
            done = make_units(&c, units, trace, p)
    units.most = largest(&c)
    release(c.numbers)
    release(c.weights)
    release(memory)
    return done and not is_stopped(p)


cdef void release_units(Units *units) noexcept nogil:
    release(units.memory)
    release(units.unit_of)
    memset(units, 0, sizeof(Units))
