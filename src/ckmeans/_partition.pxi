"""The partition of sorted values into K clusters with the lowest sum of squares.

The price is first sought on grids of positions. Then the relaxed problem is solved over all positions from both ends,
in plain doubles: the cheapest partition with a border at a position costs what both ends have there. Positions at which
that is above the lowest cost by more than all rounding errors are left out, and the rest is solved with all digits.
"""
from cython.parallel cimport prange
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from ckmeans._arena cimport take
from ckmeans._runtime cimport Poll, allocate, is_stopped, release, request_threads

cdef enum:
    MIN_GRID = 512           # positions of the first grid,
    GRID_PER_CLUSTER = 16    # at least,
    GRID_GROWTH = 16         # and times as many in the next one

cdef double EPSILON = 2.0 ** -52

cdef struct Partition:
    const ValueSums *v
    int64_t K
    int64_t N                # positions after the first
    int n_threads
    int64_t *positions       # (N + 1,) how many values are before each
    PlainPoint *points       # (N + 1,) from the first value on,
    PlainPoint *mirrored     # and from the last one back
    Queue queue
    Queue mirrored_queue
    Bracket bracket
    double *exact            # memory of the points with all digits
    int64_t *borders         # (K + 1,) the result: values before each cluster, and all


cdef size_t queue_layout(Queue *queue, int64_t count, char *memory, size_t at) noexcept nogil:
    queue.previous = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    queue.candidate = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    queue.begin = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    return at


cdef size_t partition_layout(Partition *c, int64_t count, char *memory) noexcept nogil:
    """Lay out scratch memory for `count` positions; with memory NULL only count the bytes."""
    cdef size_t at = 0
    c.positions = <int64_t *>take(memory, &at, count * sizeof(int64_t))
    c.points = <PlainPoint *>take(memory, &at, count * sizeof(PlainPoint))
    c.mirrored = <PlainPoint *>take(memory, &at, count * sizeof(PlainPoint))
    at = queue_layout(&c.queue, count, memory, at)
    at = queue_layout(&c.mirrored_queue, count, memory, at)
    c.bracket.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    c.bracket.low.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    c.bracket.high.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    return at


# ---- points ----------------------------------------------------------------------------------

cdef void load_grid(Partition *c, int64_t N) noexcept nogil:
    """Take so many positions after the first, evenly among the values."""
    cdef int64_t i
    c.N = c.bracket.N = N
    for i in range(N + 1):
        c.positions[i] = i * c.v.d // N
    for i in range(N + 1):
        plain_moments_of_first(c.v, c.positions[i], &c.points[i].weight, &c.points[i].first)


cdef void load_mirrored(Partition *c) noexcept nogil:
    cdef int64_t i
    for i in range(c.N + 1):
        c.mirrored[i].weight = -c.points[c.N - i].weight
        c.mirrored[i].first = -c.points[c.N - i].first


cdef ExactPoint *load_exact(Partition *c) noexcept nogil:
    """NULL: no memory."""
    cdef ExactPoint *points
    cdef int64_t i
    release(c.exact)
    c.exact = <double *>allocate((c.N + 1) * sizeof(ExactPoint))
    points = <ExactPoint *>c.exact
    if points != NULL:
        for i in range(c.N + 1):
            points[i].sums = moments_of_first(c.v, c.positions[i])
    return points


# ---- which positions may be borders ------------------------------------------------------------

cdef double rounding_error(const Partition *c) noexcept nogil:
    """A bound of the error of any partition's cost in plain doubles.

    Costs are sums of first^2 / weight. An error e of a moment at a border counts with the difference of the means
    beside it, which add up to less than 2, one of a weight with the difference of their squares; then each cost and
    each of K sums is rounded.
    """
    cdef Moments total = moments_of_first(c.v, c.v.d)
    cdef double largest = 0
    cdef int64_t i
    for i in range(c.N + 1):
        largest = max(largest, fabs(c.points[i].first))
    return EPSILON * (4 * largest + (0 if c.v.equal_weights else 2) + (c.K + 8) * total.second.high)


cdef void relax_both(Partition *c, double price, Poll *p) noexcept nogil:
    cdef int end
    if c.n_threads == 1:
        relax(c.points, c.N, price, &c.queue, p)
        relax(c.mirrored, c.N, price, &c.mirrored_queue, p)
        return
    for end in prange(2, schedule="static", chunksize=1, num_threads=request_threads(2)):
        if end == 0:
            relax(c.points, c.N, price, &c.queue, p)
        else:
            relax(c.mirrored, c.N, price, &c.mirrored_queue, p)


cdef void keep_possible_borders(Partition *c) noexcept nogil:
    """Leave out positions at which every border costs more than rounding can explain."""
    cdef double limit = c.points[c.N].best + 4 * rounding_error(c)
    cdef int64_t i, to = 0
    for i in range(c.N + 1):
        if i == 0 or i == c.N or c.points[i].best + c.mirrored[c.N - i].best <= limit:
            c.positions[to] = c.positions[i]
            to += 1
    c.N = c.bracket.N = to - 1


cdef double search_all_plain(Partition *c, double price, Poll *p) noexcept nogil:
    """Solve all positions from both ends; mostly the price of the grid is the right one."""
    load_mirrored(c)
    relax_both(c, price, p)
    if is_stopped(p) or count_clusters(&c.queue, c.N) == c.K:
        return price
    find_partition(c.points, &c.bracket, price, &c.queue, p)
    relax_both(c, c.bracket.price, p)
    return c.bracket.price


# ---- the whole -------------------------------------------------------------------------------

cdef double first_price(const Partition *c) noexcept nogil:
    """The price for evenly spread values."""
    cdef Moments total = moments_of_first(c.v, c.v.d)
    return 2 * total.second.high / (<double>c.K * c.K * c.K)


cdef bint solve_exactly(Partition *c, double price, Poll *p) noexcept nogil:
    """False: no memory."""
    cdef ExactPoint *points = load_exact(c)
    cdef int64_t k
    if points == NULL:
        return False
    find_partition(points, &c.bracket, price, &c.queue, p)
    if not is_stopped(p):
        for k in range(c.K + 1):
            c.borders[k] = c.positions[c.bracket.path[k]]
    return True


cdef double search_grids(Partition *c, Poll *p) noexcept nogil:
    """The price for K clusters on finer and finer grids."""
    cdef int64_t grid = max(<int64_t>MIN_GRID, GRID_PER_CLUSTER * c.K)
    cdef double price = first_price(c)
    while 2 * grid <= c.v.d and not is_stopped(p):
        load_grid(c, grid)
        find_partition(c.points, &c.bracket, price, &c.queue, p)
        price = c.bracket.price
        grid *= GRID_GROWTH
    return price


cdef bint find_borders(Partition *c, Poll *p) noexcept nogil:
    """Find the borders of K clusters, K at most the number of distinct values; False: no memory."""
    cdef double price
    c.bracket.K = c.K
    price = search_grids(c, p)
    load_grid(c, c.v.d)
    if c.N > MIN_GRID and c.K > 1 and not is_stopped(p) and rounding_error(c) * c.K < price:
        price = search_all_plain(c, price, p)
        if not is_stopped(p):
            keep_possible_borders(c)
    return is_stopped(p) or solve_exactly(c, price, p)
