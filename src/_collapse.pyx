"""Equal points made one, with a weight: the pixels of a photo.

Only points of up to three features that are bytes (in any dtype computed in float32) are looked
at: there a bitmap of all the values that may occur tells, in one pass, which do occur, and the
rank of a value's bit among the set ones is the number of its unit.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport Poll, allocate, poll, release, threads_for

cdef int64_t BLOCK = 4096             # rows read together
cdef int64_t PARTS = 8                # partial sums of weights, at most
cdef int64_t LEAST_ROWS = 1 << 18     # below, ordering all rows costs less than the bitmap
cdef int64_t LEAST_SHARED = 4         # rows a unit from which collapsing pays

# One thread's part of the first pass.
cdef struct Desk:
    char *rows
    uint64_t *seen           # a bit a value
    bint bytes               # nothing but bytes so far
    uint64_t most

cdef struct Collapsing:
    const Rows *rows
    int n_threads
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

cdef inline int64_t code_of(const float *x, int64_t n) noexcept nogil:
    """The bytes of a point as one number; -1 where they are no bytes."""
    cdef int64_t l, code = 0
    cdef int32_t byte
    for l in range(n):
        if not (x[l] >= 0 and x[l] <= 255):
            return -1
        byte = <int32_t>x[l]
        if <float>byte != x[l]:
            return -1
        code = code * 256 + byte
    return code


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


cdef void look_at_block(Collapsing *c, Desk *desk, int64_t block) noexcept nogil:
    cdef int64_t first = block * BLOCK, count = min(BLOCK, c.rows.m - first), n = c.rows.n, stride, i, code
    cdef int itemsize = c.rows.kernels.itemsize
    cdef const char *rows = <const char *>read_rows(c.rows, first, count, desk.rows, &stride)
    if stride == n:
        desk.most = max(desk.most, most_of(rows, count * n, itemsize))
    else:
        for i in range(count):
            desk.most = max(desk.most, most_of(rows + i * stride * itemsize, n, itemsize))
    if not desk.bytes:
        return
    for i in range(count):
        code = code_of(<const float *>rows + i * stride, n)
        if code < 0:
            desk.bytes = False
            return
        desk.seen[code >> 6] |= <uint64_t>1 << (code & 63)


cdef bint look_at_all(Collapsing *c, uint64_t *most, Poll *p) noexcept nogil:
    """The largest magnitude, and where all values are bytes, the ones that occur; whether so."""
    cdef int64_t block, blocks = (c.rows.m + BLOCK - 1) // BLOCK, word
    cdef int i
    cdef bint bytes_ = c.words > 0
    for i in range(c.n_threads):
        c.desks[i].most = 0
        c.desks[i].bytes = bytes_
        memset(c.desks[i].seen, 0, c.words * sizeof(uint64_t))
    for block in prange(blocks, schedule="static", num_threads=c.n_threads):
        if not poll(p):
            look_at_block(c, &c.desks[threadid()], block)
    most[0] = 0
    for i in range(c.n_threads):
        most[0] = max(most[0], c.desks[i].most)
        bytes_ = bytes_ and c.desks[i].bytes
    if bytes_:
        for i in range(1, c.n_threads):
            for word in range(c.words):
                c.seen[word] |= c.desks[i].seen[word]
    return bytes_


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


cdef void weigh_part(Collapsing *c, int64_t part, int64_t thread, Poll *p) noexcept nogil:
    """The units of a part of the rows, and what they add to the units' numbers and weights."""
    cdef int64_t first = part * c.rows.m // c.parts, end = (part + 1) * c.rows.m // c.parts
    cdef int64_t count, stride, i, unit
    cdef int32_t *numbers = c.numbers + part * c.units
    cdef const float *rows
    while first < end and not poll(p):
        count = min(BLOCK, end - first)
        rows = <const float *>read_rows(c.rows, first, count, c.desks[thread].rows, &stride)
        for i in range(count):
            unit = unit_of_code(c, code_of(rows + i * stride, c.rows.n))
            c.unit_of[first + i] = <int32_t>unit
            numbers[unit] += 1
            if c.weights != NULL:
                c.weights[part * c.units + unit] += c.rows.weights[first + i]
        first += count


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


cdef void fill_sums(const Collapsing *c, double *numbers, double *weights) noexcept nogil:
    """Add the parts up in order."""
    cdef int64_t unit, part
    for unit in range(c.units):
        numbers[unit] = 0
        for part in range(c.parts):
            numbers[unit] += c.numbers[part * c.units + unit]
        if weights != NULL:
            weights[unit] = 0
            for part in range(c.parts):
                weights[unit] += c.weights[part * c.units + unit]


cdef bint make_units(Collapsing *c, Units *u, Poll *p) noexcept nogil:
    """False: no memory, or interrupted."""
    cdef int64_t n = c.rows.n, part
    cdef size_t numbers, weights
    cdef bint weighted = c.rows.weights != NULL
    c.parts = max(1, min(PARTS, c.rows.m // (LEAST_SHARED * c.units)))
    c.unit_of = <int32_t *>allocate(c.rows.m * sizeof(int32_t))
    c.numbers = <int32_t *>allocate(c.parts * c.units * sizeof(int32_t))
    c.weights = <double *>allocate(c.parts * c.units * sizeof(double)) if weighted else NULL
    u.unit_of = c.unit_of
    numbers = c.units * sizeof(double)
    weights = 2 * numbers if weighted else numbers
    u.memory = allocate(weights + (c.units * n + 8) * sizeof(float))
    if c.unit_of == NULL or c.numbers == NULL or (weighted and c.weights == NULL) or u.memory == NULL:
        return False
    memset(c.numbers, 0, c.parts * c.units * sizeof(int32_t))
    if weighted:
        memset(c.weights, 0, c.parts * c.units * sizeof(double))
    for part in prange(c.parts, schedule="dynamic", chunksize=1, num_threads=c.n_threads):
        weigh_part(c, part, threadid(), p)
    u.numbers = <double *>u.memory
    u.rows.weights = u.numbers + c.units if weighted else u.numbers
    u.rows.cumulative = NULL
    fill_sums(c, u.numbers, u.numbers + c.units if weighted else NULL)
    fill_values(c, <float *>(<char *>u.memory + weights))
    u.rows.source.data = <char *>u.memory + weights
    u.rows.source.m = u.rows.m = u.rows.in_place = c.units
    u.rows.stride = n
    u.rows.source.row_stride = n * sizeof(float)
    return not p.stopped


cdef size_t collapsing_layout(Collapsing *c, char *memory) noexcept nogil:
    cdef size_t at = 0
    cdef Desk desk
    cdef int i
    c.rank = <int32_t *>take(memory, &at, c.words * sizeof(int32_t))
    c.desks = <Desk *>take(memory, &at, c.n_threads * sizeof(Desk))
    for i in range(c.n_threads):
        desk.rows = <char *>take(memory, &at, (BLOCK * c.rows.n + 8) * c.rows.kernels.itemsize)
        desk.seen = <uint64_t *>take(memory, &at, c.words * sizeof(uint64_t))
        if memory != NULL:
            c.desks[i] = desk
    return at


cdef bint collapse(const Rows *rows, int n_threads, Units *units, Poll *p) noexcept nogil:
    cdef Collapsing c
    cdef char *memory
    cdef bint done = True
    memset(&c, 0, sizeof(c))
    memset(units, 0, sizeof(Units))
    units.rows = rows[0]
    c.rows = rows
    c.n_threads = threads_for(n_threads, <double>rows.m * rows.n)
    if rows.kernels.itemsize == 4 and rows.n <= 3 and rows.m >= LEAST_ROWS:
        c.words = max(<int64_t>1, <int64_t>1 << (8 * rows.n - 6))
    memory = <char *>allocate(collapsing_layout(&c, NULL))
    if memory == NULL:
        return False
    collapsing_layout(&c, memory)
    c.seen = c.desks[0].seen
    if look_at_all(&c, &units.most, p) and not p.stopped:
        rank_all(&c)
        if c.units * LEAST_SHARED <= rows.m:
            done = make_units(&c, units, p)
    release(c.numbers)
    release(c.weights)
    release(memory)
    return done and not p.stopped


cdef void release_units(Units *units) noexcept nogil:
    release(units.memory)
