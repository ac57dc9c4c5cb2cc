"""Distinct values in rising order with sums of their weights and moments, from which the cost of a cluster follows.

Values are taken about their mean and scaled by a power of two to at most 1, weights to a sum of at most 1. All sums are
in two doubles, and so are values about their mean, so that clusters keep their digits, however narrow they are and
however far from each other. Sums run within blocks of values, to be shared out over threads.
"""
from libc.math cimport fabs, frexp, ldexp
from libc.stdint cimport int64_t
from libc.string cimport memset

from cython.parallel cimport prange

from ckmeans._arena cimport take
from ckmeans._double_double cimport Pair, pair_add, pair_product, pair_scaled, pair_subtract, pair_sum
from ckmeans._points cimport Rows, out_of_range
from ckmeans._runtime cimport Poll, allocate, is_stopped, release, request_threads, threads_for
from ckmeans._values cimport get

cdef enum:
    SUM_BLOCK = 256          # values of a block

# Weight, first and second moment of some values.
cdef struct Moments:
    Pair weight
    Pair first
    Pair second

cdef struct ValueSums:
    int64_t d                # distinct values of positive weight
    int itemsize
    int n_threads
    bint equal_weights       # each row's is 1
    void *values             # (d,) in the computing dtype
    double *weights          # (d,) the weights of the values
    Moments *within          # (d,) of the values of a block up to and with each one
    Moments *before          # of all values before each block, and at last of all values
    double offset            # values are taken about this,
    double scale             # and times this
    double weight_scale
    void *memory             # of the values; NULL: they belong to the workspace of a sort
    void *weight_memory
    void *sums_memory


cdef void release_value_sums(ValueSums *v) noexcept nogil:
    release(v.memory)
    release(v.weight_memory)
    release(v.sums_memory)


# ---- sorting ---------------------------------------------------------------------------------

cdef size_t sorting_layout(Sorting *s, char *memory) noexcept nogil:
    cdef size_t at = 0
    s.first = <int64_t *>take(memory, &at, (s.slices + 1) * sizeof(int64_t))
    s.counts = <int64_t *>take(memory, &at, s.slices * DIGITS * sizeof(int64_t))
    s.max_abs_bits = <uint64_t *>take(memory, &at, s.slices * sizeof(uint64_t))
    s.scratch = <char *>take(memory, &at, s.slices * (SORT_BLOCK + 8) * s.rows.kernels.itemsize)
    return at


cdef bint allocate_keys(Sorting *s) noexcept nogil:
    cdef size_t size = s.rows.m * s.rows.kernels.itemsize
    s.keys, s.other_keys = allocate(size), allocate(size)
    if s.rows.weights != NULL:
        s.weights = <double *>allocate(s.rows.m * sizeof(double))
        s.other_weights = <double *>allocate(s.rows.m * sizeof(double))
        return s.keys != NULL and s.other_keys != NULL and s.weights != NULL and s.other_weights != NULL
    return s.keys != NULL and s.other_keys != NULL


cdef bint take_distinct(Sorting *s, ValueSums *v) noexcept nogil:
    """Store the distinct values where the sort has no more use for its memory. False: no memory."""
    cdef bint single = s.rows.kernels.itemsize == 4
    if single:
        count_all_distinct(s, <uint32_t *>s.keys)
    else:
        count_all_distinct(s, <uint64_t *>s.keys)
    v.d = s.first[s.slices]
    v.memory = v.values = s.other_keys
    v.weights = s.other_weights
    if v.weights == NULL:
        v.weights = <double *>allocate(v.d * sizeof(double))
    v.weight_memory = v.weights
    s.other_keys = s.other_weights = NULL
    if v.weights == NULL:
        return False
    if single:
        merge_all_equal(s, <uint32_t *>s.keys, v.values, v.weights)
    else:
        merge_all_equal(s, <uint64_t *>s.keys, v.values, v.weights)
    return True


cdef bint sort_rows(const Rows *rows, int n_threads, ValueSums *v, uint64_t *max_abs_bits, Poll *p) noexcept nogil:
    """Find the distinct values of the rows; False: no memory, out of range or interrupted."""
    cdef Sorting s
    cdef char *memory
    cdef bint done = False
    memset(&s, 0, sizeof(s))
    memset(v, 0, sizeof(ValueSums))
    s.rows = rows
    s.slices = v.n_threads = threads_for(n_threads, <double>rows.m * 16)
    v.itemsize = rows.kernels.itemsize
    v.equal_weights = rows.weights == NULL
    memory = <char *>allocate(sorting_layout(&s, NULL))
    if memory != NULL and allocate_keys(&s):
        sorting_layout(&s, memory)
        max_abs_bits[0] = read_all(&s, p)
        if not is_stopped(p) and not out_of_range(rows, max_abs_bits[0]):
            sort_keys(&s, p)
            done = not is_stopped(p) and take_distinct(&s, v)
    release(s.keys)
    release(s.other_keys)
    release(s.weights)
    release(s.other_weights)
    release(memory)
    return done


# ---- sums ------------------------------------------------------------------------------------

cdef inline int64_t n_blocks(const ValueSums *v) noexcept nogil:
    return (v.d + SUM_BLOCK - 1) // SUM_BLOCK


cdef void set_scales(ValueSums *v) noexcept nogil:
    """Choose offset and scales, from the weights and means of the blocks."""
    cdef double total = 0, moment = 0, largest
    cdef int exponent = 0
    cdef int64_t block
    for block in range(n_blocks(v)):
        total += v.before[block].weight.high
    frexp(total, &exponent)
    v.weight_scale = ldexp(1, -exponent)
    for block in range(n_blocks(v)):
        moment += v.before[block].first.high * (v.before[block].weight.high * v.weight_scale)
    v.offset = moment / (total * v.weight_scale)
    largest = max(fabs(get(v.values, 0, v.itemsize) - v.offset), fabs(get(v.values, v.d - 1, v.itemsize) - v.offset))
    frexp(largest, &exponent)
    v.scale = ldexp(1, -exponent) if largest > 0 else 1


cdef void total_block(ValueSums *v, int64_t block) noexcept nogil:
    """Find a block's sum of weights, and the mean of its values."""
    cdef double weight = 0, mean = 0
    cdef int64_t i
    for i in range(block * SUM_BLOCK, min((block + 1) * SUM_BLOCK, v.d)):
        weight += v.weights[i]
    for i in range(block * SUM_BLOCK, min((block + 1) * SUM_BLOCK, v.d)):
        mean += v.weights[i] / weight * get(v.values, i, v.itemsize)
    v.before[block].weight = Pair(weight, 0)
    v.before[block].first = Pair(mean, 0)


cdef void sum_block(ValueSums *v, int64_t block) noexcept nogil:
    cdef int64_t start = block * SUM_BLOCK, end = min((block + 1) * SUM_BLOCK, v.d), i
    cdef Moments sums
    cdef Pair x, square
    cdef double weight
    memset(&sums, 0, sizeof(sums))
    for i in range(start, end):
        weight = v.weights[i] * v.weight_scale
        x = pair_sum(get(v.values, i, v.itemsize), -v.offset)
        x.high *= v.scale
        x.low *= v.scale
        square = pair_product(x.high, x.high)
        square.low += 2 * x.high * x.low
        sums.weight = pair_add(sums.weight, Pair(weight, 0))
        sums.first = pair_add(sums.first, pair_scaled(x, weight))
        sums.second = pair_add(sums.second, pair_scaled(square, weight))
        v.within[i] = sums


cdef inline void add_moments(Moments *sums, const Moments *more) noexcept nogil:
    sums.weight = pair_add(sums.weight, more.weight)
    sums.first = pair_add(sums.first, more.first)
    sums.second = pair_add(sums.second, more.second)


cdef inline Moments moments_of_first(const ValueSums *v, int64_t count) noexcept nogil:
    """Of the first `count` values."""
    cdef int64_t block = count // SUM_BLOCK
    cdef Moments sums = v.before[block]
    if count > block * SUM_BLOCK:
        add_moments(&sums, &v.within[count - 1])
    return sums


cdef inline void plain_moments_of_first(const ValueSums *v, int64_t count, double *weight,
                                        double *first) noexcept nogil:
    """Weight and first moment of the first `count` values, rounded."""
    cdef int64_t block = count // SUM_BLOCK
    weight[0], first[0] = v.before[block].weight.high, v.before[block].first.high
    if count > block * SUM_BLOCK:
        weight[0] += v.within[count - 1].weight.high
        first[0] += v.within[count - 1].first.high


cdef size_t sums_layout(ValueSums *v, char *memory) noexcept nogil:
    cdef size_t at = 0
    v.within = <Moments *>take(memory, &at, v.d * sizeof(Moments))
    v.before = <Moments *>take(memory, &at, (n_blocks(v) + 1) * sizeof(Moments))
    return at


cdef void sum_all(ValueSums *v) noexcept nogil:
    """Add up within blocks, and then the blocks in order."""
    cdef int64_t block
    cdef Moments sums
    memset(&sums, 0, sizeof(sums))
    if v.n_threads == 1:
        for block in range(n_blocks(v)):
            total_block(v, block)
    else:
        for block in prange(n_blocks(v), schedule="static", num_threads=request_threads(v.n_threads)):
            total_block(v, block)
    set_scales(v)
    if v.n_threads == 1:
        for block in range(n_blocks(v)):
            sum_block(v, block)
    else:
        for block in prange(n_blocks(v), schedule="static", num_threads=request_threads(v.n_threads)):
            sum_block(v, block)
    for block in range(n_blocks(v)):
        v.before[block] = sums
        add_moments(&sums, &v.within[min((block + 1) * SUM_BLOCK, v.d) - 1])
    v.before[n_blocks(v)] = sums


cdef bint open_value_sums(const Rows *rows, int n_threads, ValueSums *v, uint64_t *max_abs_bits,
                          Poll *p) noexcept nogil:
    """False: no memory, out of range (by these bits of the largest magnitude) or interrupted; release all the same."""
    if not sort_rows(rows, n_threads, v, max_abs_bits, p):
        return False
    v.sums_memory = allocate(sums_layout(v, NULL))
    if v.sums_memory == NULL:
        return False
    sums_layout(v, <char *>v.sums_memory)
    sum_all(v)
    return True


# ---- clusters --------------------------------------------------------------------------------

cdef inline double scaled_value(const ValueSums *v, int64_t i) noexcept nogil:
    return (get(v.values, i, v.itemsize) - v.offset) * v.scale


cdef inline double scaled_mean(const Moments *low, const Moments *high, double otherwise) noexcept nogil:
    """The mean of the values between, about the offset; another number where they have no weight."""
    cdef Pair weight = pair_subtract(high.weight, low.weight)
    return pair_subtract(high.first, low.first).high / weight.high if weight.high > 0 else otherwise


cdef double mean_of(const ValueSums *v, int64_t start, int64_t end) noexcept nogil:
    """The mean of the values start .. end - 1; it lies between them, with all digits where they are one."""
    cdef Moments low = moments_of_first(v, start), high = moments_of_first(v, end)
    cdef Pair first = pair_subtract(high.first, low.first)
    cdef Pair weight = pair_subtract(high.weight, low.weight)
    cdef double mean = v.offset + first.high / weight.high / v.scale if weight.high > 0 else 0
    return min(max(mean, get(v.values, start, v.itemsize)), get(v.values, end - 1, v.itemsize))
