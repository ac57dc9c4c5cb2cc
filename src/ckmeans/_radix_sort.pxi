"""Values in rising order, equal ones as one: radix sort of the bits of floats, least significant digit first.

The sort is stable, and weights of equal values are added in the order of the rows: no result depends on the number of
threads. Rows of weight 0 are left out.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ckmeans._points cimport Rows, max_abs_bits_of, read_rows
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads, threads_for

ctypedef fused Key:
    uint32_t
    uint64_t

cdef enum:
    DIGITS = 256             # of a byte, that a pass sorts by
    SORT_BLOCK = 4096        # rows that are read together

cdef struct Sorting:
    const Rows *rows
    int slices               # consecutive parts, one a thread
    int64_t m                # rows of positive weight
    int64_t *first           # (slices + 1,) where each one's begin
    int64_t *counts          # (slices, DIGITS)
    void *keys               # (m,) bits of the values, in their order
    void *other_keys
    double *weights          # (m,); NULL: 1
    double *other_weights
    char *scratch            # a block of rows for each slice
    uint64_t *max_abs_bits   # of each slice


# ---- reading ---------------------------------------------------------------------------------

cdef inline uint32_t key_of_float(uint32_t bits) noexcept nogil:
    return ~bits if bits >> 31 else bits | <uint32_t>1 << 31


cdef inline uint64_t key_of_double(uint64_t bits) noexcept nogil:
    return ~bits if bits >> 63 else bits | <uint64_t>1 << 63


cdef void store_key(const Sorting *s, const char *rows, int64_t i, int64_t to) noexcept nogil:
    """Store the key of a value: its order is that of the values, and 0.0 and -0.0 have the same."""
    cdef float single
    cdef double double_
    cdef uint32_t single_bits
    cdef uint64_t double_bits
    if s.rows.kernels.itemsize == 4:
        single = (<const float *>rows)[i] + <float>0
        memcpy(&single_bits, &single, 4)
        (<uint32_t *>s.keys)[to] = key_of_float(single_bits)
    else:
        double_ = (<const double *>rows)[i] + 0
        memcpy(&double_bits, &double_, 8)
        (<uint64_t *>s.keys)[to] = key_of_double(double_bits)


cdef int64_t slice_start(const Sorting *s, int64_t length, int64_t slice_) noexcept nogil:
    return length * slice_ // s.slices


cdef void count_positive(Sorting *s, int slice_) noexcept nogil:
    cdef int64_t i, count = 0
    for i in range(slice_start(s, s.rows.m, slice_), slice_start(s, s.rows.m, slice_ + 1)):
        count += s.rows.weights[i] > 0
    s.first[slice_ + 1] = count


cdef void read_slice(Sorting *s, int slice_, Poll *p) noexcept nogil:
    """Store the keys and weights of a slice's rows, and the largest magnitude of all its values."""
    cdef int itemsize = s.rows.kernels.itemsize
    cdef int64_t first = slice_start(s, s.rows.m, slice_), end = slice_start(s, s.rows.m, slice_ + 1)
    cdef int64_t to = s.first[slice_], count, stride, i
    cdef const char *rows
    cdef uint64_t bits
    while first < end and not poll(p):
        count = min(<int64_t>SORT_BLOCK, end - first)
        rows = <const char *>read_rows(s.rows, first, count, s.scratch + slice_ * (SORT_BLOCK + 8) * itemsize, &stride)
        for i in range(count):
            if stride != 1:
                bits = max_abs_bits_of(rows + i * stride * itemsize, 1, itemsize)
                s.max_abs_bits[slice_] = max(s.max_abs_bits[slice_], bits)
            if s.weights == NULL:
                store_key(s, rows, i * stride, to)
            elif s.rows.weights[first + i] > 0:
                store_key(s, rows, i * stride, to)
                s.weights[to] = s.rows.weights[first + i]
            else:
                continue
            to += 1
        if stride == 1:
            s.max_abs_bits[slice_] = max(s.max_abs_bits[slice_], max_abs_bits_of(rows, count, itemsize))
        first += count


cdef uint64_t read_all(Sorting *s, Poll *p) noexcept nogil:
    """Store the keys of all rows of positive weight; return the bits of the largest magnitude."""
    cdef int slice_
    cdef uint64_t max_abs_bits = 0
    s.first[0] = 0
    for slice_ in range(s.slices):
        s.max_abs_bits[slice_] = 0
        s.first[slice_ + 1] = slice_start(s, s.rows.m, slice_ + 1) - slice_start(s, s.rows.m, slice_)
        if s.weights != NULL:
            count_positive(s, slice_)
        s.first[slice_ + 1] += s.first[slice_]
    s.m = s.first[s.slices]
    if s.slices == 1:
        read_slice(s, 0, p)
    else:
        for slice_ in prange(s.slices, schedule="static", chunksize=1, num_threads=request_threads(s.slices)):
            read_slice(s, slice_, p)
    for slice_ in range(s.slices):
        max_abs_bits = max(max_abs_bits, s.max_abs_bits[slice_])
    return max_abs_bits


# ---- sorting ---------------------------------------------------------------------------------

cdef void count_digits(Sorting *s, Key *keys, int shift, int slice_) noexcept nogil:
    cdef int64_t *counts = s.counts + slice_ * DIGITS
    cdef int64_t i
    memset(counts, 0, DIGITS * sizeof(int64_t))
    for i in range(slice_start(s, s.m, slice_), slice_start(s, s.m, slice_ + 1)):
        counts[<uint8_t>(keys[i] >> shift)] += 1


cdef bint digits_to_places(Sorting *s) noexcept nogil:
    """Turn the counts into the place of each slice's first key of each digit; False: all have the same digit."""
    cdef int64_t digit, place = 0, before, count
    cdef int slice_
    for digit in range(DIGITS):
        before = place
        for slice_ in range(s.slices):
            count = s.counts[slice_ * DIGITS + digit]
            s.counts[slice_ * DIGITS + digit] = place
            place += count
        if place - before == s.m:
            return False
    return True


cdef void scatter(Sorting *s, Key *keys, Key *to, int shift, int slice_) noexcept nogil:
    cdef int64_t *places = s.counts + slice_ * DIGITS
    cdef int64_t i, place
    cdef uint8_t digit
    for i in range(slice_start(s, s.m, slice_), slice_start(s, s.m, slice_ + 1)):
        digit = <uint8_t>(keys[i] >> shift)
        place = places[digit]
        places[digit] = place + 1
        to[place] = keys[i]
        if s.weights != NULL:
            s.other_weights[place] = s.weights[i]


cdef void swap_buffers(Sorting *s) noexcept nogil:
    cdef void *keys = s.keys
    cdef double *weights = s.weights
    s.keys, s.other_keys = s.other_keys, keys
    s.weights, s.other_weights = s.other_weights, weights


cdef void sort_by_digit(Sorting *s, Key *keys, Key *to, int shift) noexcept nogil:
    cdef int slice_
    if s.slices == 1:
        count_digits(s, keys, shift, 0)
    else:
        for slice_ in prange(s.slices, schedule="static", chunksize=1, num_threads=request_threads(s.slices)):
            count_digits(s, keys, shift, slice_)
    if not digits_to_places(s):
        return
    if s.slices == 1:
        scatter(s, keys, to, shift, 0)
    else:
        for slice_ in prange(s.slices, schedule="static", chunksize=1, num_threads=request_threads(s.slices)):
            scatter(s, keys, to, shift, slice_)
    swap_buffers(s)


cdef void sort_keys(Sorting *s, Poll *p) noexcept nogil:
    cdef int shift
    for shift in range(0, 8 * s.rows.kernels.itemsize, 8):
        if poll(p):
            return
        if s.rows.kernels.itemsize == 4:
            sort_by_digit(s, <uint32_t *>s.keys, <uint32_t *>s.other_keys, shift)
        else:
            sort_by_digit(s, <uint64_t *>s.keys, <uint64_t *>s.other_keys, shift)


# ---- equal values ----------------------------------------------------------------------------

cdef int64_t distinct_start(const Sorting *s, Key *keys, int slice_) noexcept nogil:
    """Where a slice begins, if equal keys belong to the slice of the first of them."""
    cdef int64_t start = slice_start(s, s.m, slice_)
    while 0 < start < s.m and keys[start] == keys[start - 1]:
        start += 1
    return start


cdef void count_distinct(Sorting *s, Key *keys, int slice_) noexcept nogil:
    cdef int64_t start = distinct_start(s, keys, slice_), end = distinct_start(s, keys, slice_ + 1), i
    cdef int64_t count = start < end
    for i in range(start + 1, end):
        count += keys[i] != keys[i - 1]
    s.first[slice_ + 1] = count


cdef void merge_equal(const Sorting *s, Key *keys, void *values, double *weights, int slice_) noexcept nogil:
    """Store the slice's distinct values, and the sum of the weights of each."""
    cdef int64_t i, to = s.first[slice_] - 1, start = distinct_start(s, keys, slice_)
    cdef double weight = 1
    cdef uint32_t single_bits
    cdef uint64_t double_bits
    for i in range(start, distinct_start(s, keys, slice_ + 1)):
        if s.weights != NULL:
            weight = s.weights[i]
        if i > start and keys[i] == keys[i - 1]:
            weights[to] += weight
            continue
        to += 1
        weights[to] = weight
        if Key is uint32_t:
            single_bits = keys[i] & <uint32_t>0x7fffffff if keys[i] >> 31 else ~keys[i]
            memcpy(<char *>values + 4 * to, &single_bits, 4)
        else:
            double_bits = keys[i] & <uint64_t>0x7fffffffffffffff if keys[i] >> 63 else ~keys[i]
            memcpy(<char *>values + 8 * to, &double_bits, 8)


cdef void count_all_distinct(Sorting *s, Key *keys) noexcept nogil:
    """Find where each slice's distinct values go, in `first`."""
    cdef int slice_
    if s.slices == 1:
        count_distinct(s, keys, 0)
    else:
        for slice_ in prange(s.slices, schedule="static", chunksize=1, num_threads=request_threads(s.slices)):
            count_distinct(s, keys, slice_)
    for slice_ in range(s.slices):
        s.first[slice_ + 1] += s.first[slice_]


cdef void merge_all_equal(Sorting *s, Key *keys, void *values, double *weights) noexcept nogil:
    cdef int slice_
    if s.slices == 1:
        merge_equal(s, keys, values, weights, 0)
    else:
        for slice_ in prange(s.slices, schedule="static", chunksize=1, num_threads=request_threads(s.slices)):
            merge_equal(s, keys, values, weights, slice_)
