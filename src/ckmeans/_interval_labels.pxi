"""Labels for rising centroids of one feature, by search among the midpoints between them.

The label of a row is that of the lowest score (kernels.h), of which rounding has a part. With values taken about the
shift, r the largest magnitude of a row and the centroids beside it, and e half a unit in the last place of 1, scores
are wrong by at most 10 e r^2 each. Two neighbours' scores differ by 2 g d, where g is their distance and d the row's
distance to their midpoint: so rows at d > 16 e r^2 / g, as those of 10 e r^2 / g, have the label of exact arithmetic.
(The centroids farther away lose with them: their scores differ by the squares of longer distances.) The rows nearer to
a midpoint are left to an engine.
"""
from cython.parallel cimport prange, threadid
from libc.float cimport DBL_EPSILON, DBL_MIN, FLT_EPSILON, FLT_MIN
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, read_rows
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads, threads_for
from ckmeans._shift cimport find_shift
from ckmeans._values cimport get

cdef enum:
    LABEL_BLOCK = 4096       # rows that are read together
    BUCKETS_PER_CLUSTER = 32  # so that in few of them there is a midpoint,
    MIN_BUCKETS = 256        # at least
    MAX_BUCKETS = 1 << 16

cdef struct Intervals:
    int64_t K
    int itemsize
    double low               # of the values: rows outside are left to an engine
    double high
    double *begin            # (K - 1,) past which rows have at least the label k + 1, if any,
    double *end              # and up to which they have at most the label k
    int64_t n_buckets        # of equal width, for the search
    double per_width
    int32_t *first           # (n_buckets + 1,) midpoints before each
    char *scratch            # a block of rows for each thread


cdef size_t intervals_layout(Intervals *s, int n_threads, char *memory) noexcept nogil:
    cdef size_t at = 0
    s.begin = <double *>take(memory, &at, s.K * sizeof(double))
    s.end = <double *>take(memory, &at, s.K * sizeof(double))
    s.first = <int32_t *>take(memory, &at, (s.n_buckets + 2) * sizeof(int32_t))
    s.scratch = <char *>take(memory, &at, n_threads * (LABEL_BLOCK + 8) * s.itemsize)
    return at


cdef double shift_of(const void *centroids, int64_t K, int itemsize) noexcept nogil:
    """What scores are taken about."""
    cdef double shift = 0
    find_shift(itemsize, K, 1, centroids, &shift)
    return get(&shift, 0, itemsize)


cdef void find_intervals(Intervals *s, const void *centroids, double shift) noexcept nogil:
    """Find between which values the labels are certain."""
    cdef double epsilon = FLT_EPSILON if s.itemsize == 4 else DBL_EPSILON
    cdef double smallest = FLT_MIN if s.itemsize == 4 else DBL_MIN
    cdef double before = s.low, after, here, following, radius, margin, middle
    cdef int64_t k
    for k in range(s.K - 1):
        here, following = get(centroids, k, s.itemsize), get(centroids, k + 1, s.itemsize)
        after = s.high if k + 2 == s.K else get(centroids, k + 2, s.itemsize)
        radius = max(fabs(before - shift), fabs(after - shift))
        middle = here + (following - here) / 2
        margin = (8 * epsilon * radius * radius + 4 * smallest) / (following - here) + epsilon * fabs(middle)
        s.begin[k], s.end[k] = middle + margin, middle - margin
        if k > 0 and s.begin[k] < s.begin[k - 1]:
            s.begin[k] = s.begin[k - 1]
        before = here


cdef inline int64_t bucket_of(const Intervals *s, double value) noexcept nogil:
    return min(max(<int64_t>((value - s.low) * s.per_width), <int64_t>0), s.n_buckets - 1)


cdef void fill_buckets(Intervals *s) noexcept nogil:
    cdef int64_t k, bucket
    s.per_width = s.n_buckets / (s.high - s.low) if s.high > s.low else 0
    memset(s.first, 0, (s.n_buckets + 2) * sizeof(int32_t))
    for k in range(s.K - 1):
        s.first[bucket_of(s, min(s.begin[k], s.high)) + 1] += 1
    for bucket in range(s.n_buckets):
        s.first[bucket + 1] += s.first[bucket]


cdef inline int32_t label_of(const Intervals *s, double value) noexcept nogil:
    """The label of a value; -1: it is not certain."""
    cdef int64_t bucket, at, end, middle
    if not (value >= s.low and value <= s.high):
        return -1
    bucket = bucket_of(s, value)
    at, end = s.first[bucket], s.first[bucket + 1]
    while at < end:
        middle = (at + end) // 2
        if s.begin[middle] < value:
            at = middle + 1
        else:
            end = middle
    return <int32_t>at if at == s.K - 1 or value <= s.end[at] else -1


cdef int64_t label_block(const Intervals *s, const Rows *rows, int64_t block, int thread,
                         int32_t *labels) noexcept nogil:
    """Returns how many labels are not certain."""
    cdef int64_t first = block * LABEL_BLOCK, count = min(<int64_t>LABEL_BLOCK, rows.m - first), stride, i
    cdef int64_t uncertain = 0
    cdef char *scratch = s.scratch + thread * (LABEL_BLOCK + 8) * s.itemsize
    cdef const void *values = read_rows(rows, first, count, scratch, &stride)
    for i in range(count):
        labels[first + i] = label_of(s, get(values, i * stride, s.itemsize))
        uncertain += labels[first + i] < 0
    return uncertain


cdef int64_t label_rows(const Rows *rows, const void *centroids, int64_t K, int n_threads, int32_t *labels,
                        Intervals *s, Poll *p) noexcept nogil:
    """Label the rows; -1 for those that are not certain. Returns how many these are, -1: no memory. The range of the
    values is set in the intervals."""
    cdef int64_t blocks = (rows.m + LABEL_BLOCK - 1) // LABEL_BLOCK, block, uncertain = 0
    cdef char *memory
    s.K, s.itemsize = K, rows.kernels.itemsize
    s.n_buckets = min(max(BUCKETS_PER_CLUSTER * K, <int64_t>MIN_BUCKETS), <int64_t>MAX_BUCKETS)
    n_threads = threads_for(n_threads, <double>rows.m * 8)
    memory = <char *>allocate(intervals_layout(s, n_threads, NULL))
    if memory == NULL:
        return -1
    intervals_layout(s, n_threads, memory)
    find_intervals(s, centroids, shift_of(centroids, K, s.itemsize))
    fill_buckets(s)
    if n_threads == 1:
        for block in range(blocks):
            if not poll(p):
                uncertain += label_block(s, rows, block, 0, labels)
    else:
        for block in prange(blocks, schedule="static", num_threads=request_threads(n_threads)):
            if not poll(p):
                uncertain += label_block(s, rows, block, threadid(), labels)
    release(memory)
    return uncertain
