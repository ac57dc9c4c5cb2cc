"""The partition of sorted values into K clusters with the lowest sum of squares.

The price is first sought on coarse grids of positions. Then finer and finer ones are solved in plain doubles, each
from both ends, so that the cheapest partition with a border at a position is known: blocks in which it costs too much
are left out, the others divided (_reduction.pxi). At last, positions at which a border costs more than all rounding
errors are left out, too: from the last border back, the starts of clusters that cost so little are followed. What
remains is solved with all digits.
"""
from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._runtime cimport Poll, allocate, is_stopped, release, request_threads
from ckmeans._values cimport put

cdef enum:
    MIN_GRID = 512           # positions of the first grid,
    GRID_PER_CLUSTER = 16    # at least
    GRID_GROWTH = 16         # parts of a block in the next one
    BLOCKS_PER_CLUSTER = 3   # times K: with fewer hardly any can be left out, if values are spread evenly
    REACH_POSITIONS = 64     # for a cluster, that are looked at to bound its length
    CUT_POSITIONS = 32       # of a cluster after which it is tried to cut it
    MAX_STEPS = 8            # starts that are looked at for each position, at most: so long the mirrored problem takes

cdef double PRICE_MARGIN = 0.125

cdef struct Partition:
    const ValueSums *v
    int64_t K
    int n_threads
    int64_t capacity         # positions that there is memory for
    Grid grid
    Grid next_grid
    PlainPoint *points       # (N + 1,) from the first value on,
    PlainPoint *mirrored     # and from the last one back
    Queue queue
    Queue mirrored_queue
    Bracket bracket
    double *low              # (N,) bounds of the means beside borders in each block
    double *high
    uint8_t *keep            # (N,) blocks that may have a border,
    uint8_t *divide          # and those to divide
    char *memory
    ExactPoint *exact        # points with all digits
    int64_t *borders         # (K + 1,) the result: values before each cluster, and all


cdef size_t queue_layout(Queue *queue, int64_t count, char *memory, size_t at) noexcept nogil:
    queue.previous = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    queue.candidate = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    queue.begin = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    return at


cdef size_t partition_layout(Partition *c, int64_t count, char *memory) noexcept nogil:
    """Lay out scratch memory for `count` positions; with memory NULL only count the bytes."""
    cdef size_t at = 0
    c.points = <PlainPoint *>take(memory, &at, count * sizeof(PlainPoint))
    c.mirrored = <PlainPoint *>take(memory, &at, count * sizeof(PlainPoint))
    at = queue_layout(&c.queue, count, memory, at)
    if c.n_threads == 1:
        c.mirrored_queue = c.queue
    else:
        at = queue_layout(&c.mirrored_queue, count, memory, at)
    c.bracket.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    c.bracket.low.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    c.bracket.high.path = <int32_t *>take(memory, &at, count * sizeof(int32_t))
    c.low = <double *>c.mirrored  # which is not in use at the same time
    c.high = c.low + count
    c.keep = <uint8_t *>take(memory, &at, count)
    c.divide = <uint8_t *>take(memory, &at, count)
    return at


cdef void close_partition(Partition *c) noexcept nogil:
    release(c.memory)
    release(c.grid.positions)
    release(c.grid.open)
    release(c.next_grid.positions)
    release(c.next_grid.open)
    release(c.exact)


# ---- grids -----------------------------------------------------------------------------------

cdef bint allocate_grid(Grid *g, int64_t N) noexcept nogil:
    """False: no memory."""
    release(g.positions)
    release(g.open)
    g.N = N
    g.positions = <int64_t *>allocate((N + 1) * sizeof(int64_t))
    g.open = <uint8_t *>allocate(N)
    return g.positions != NULL and g.open != NULL


cdef bint load_grid(Partition *c) noexcept nogil:
    """Find the points of the present grid. False: no memory."""
    cdef int64_t N = c.grid.N, i
    if c.capacity < N + 1:
        release(c.memory)
        c.capacity = N + 1
        c.memory = <char *>allocate(partition_layout(c, c.capacity, NULL))
        if c.memory == NULL:
            return False
        partition_layout(c, c.capacity, c.memory)
    c.bracket.N = N
    for i in range(N + 1):
        plain_moments_of_first(c.v, c.grid.positions[i], &c.points[i].weight, &c.points[i].first)
        c.points[i].credit = 0
    return True


cdef bint take_even_grid(Partition *c, int64_t N) noexcept nogil:
    """Take N blocks of about as many values each, all open. False: no memory."""
    cdef int64_t i
    if not allocate_grid(&c.grid, N):
        return False
    memset(c.grid.open, 1, N)
    for i in range(N + 1):
        c.grid.positions[i] = i * c.v.d // N
    return load_grid(c)


cdef bint take_grid_of_clusters(Partition *c, int64_t parts) noexcept nogil:
    """Divide the clusters of the last partition into so many blocks each, all open. False: no memory."""
    cdef int64_t k, part, count, length, N = 0
    for k in range(c.K + 1):
        c.borders[k] = c.grid.positions[c.bracket.path[k]]
    for k in range(c.K):
        N += min(parts, c.borders[k + 1] - c.borders[k])
    if not allocate_grid(&c.grid, N):
        return False
    memset(c.grid.open, 1, N)
    N = 0
    for k in range(c.K):
        length = c.borders[k + 1] - c.borders[k]
        count = min(parts, length)
        for part in range(count):
            c.grid.positions[N] = c.borders[k] + part * length // count
            N += 1
    c.grid.positions[N] = c.v.d
    return load_grid(c)


cdef bint is_fine(const Grid *g) noexcept nogil:
    """Whether no block can be divided."""
    cdef int64_t block
    for block in range(g.N):
        if is_divisible(g, block):
            return False
    return True


cdef bint take_next_grid(Partition *c) noexcept nogil:
    """Divide what is kept; take all positions where that would be most of them. False: no memory."""
    cdef int64_t count = count_next(&c.grid, c.keep, c.divide, GRID_GROWTH)
    cdef Grid grid
    if count > c.v.d // 2:
        return take_even_grid(c, c.v.d)
    if not allocate_grid(&c.next_grid, count):
        return False
    fill_next(&c.grid, c.keep, c.divide, GRID_GROWTH, &c.next_grid)
    grid = c.grid
    c.grid, c.next_grid = c.next_grid, grid
    return load_grid(c)


# ---- which borders are possible ----------------------------------------------------------------

cdef double rounding_error(const Partition *c) noexcept nogil:
    """A bound of the error of any partition's cost in plain doubles.

    Costs are sums of first^2 / weight. An error e of a moment at a border counts with the difference of the means
    beside it, which add up to less than 2, one of a weight with the difference of their squares; then each cost and
    each of K sums is rounded.
    """
    cdef Moments total = moments_of_first(c.v, c.v.d)
    cdef double largest = 0
    cdef int64_t i
    for i in range(c.grid.N + 1):
        largest = max(largest, fabs(c.points[i].first))
    return EPSILON * (4 * largest + (0 if c.v.equal_weights else 2) + (c.K + 8) * total.second.high)


cdef void mirror_points(Partition *c) noexcept nogil:
    cdef int64_t N = c.grid.N, i
    for i in range(N + 1):
        c.mirrored[i].weight = -c.points[N - i].weight
        c.mirrored[i].first = -c.points[N - i].first
        c.mirrored[i].credit = c.points[N - i].credit


cdef void relax_both(Partition *c, Poll *p) noexcept nogil:
    """Solve the relaxed problem from both ends, at the price that was found."""
    cdef double price = c.bracket.price
    cdef int end
    mirror_points(c)
    if c.n_threads == 1:
        relax(c.mirrored, c.grid.N, price, &c.mirrored_queue, p)
        relax(c.points, c.grid.N, price, &c.queue, p)
        return
    for end in prange(2, schedule="static", chunksize=1, num_threads=request_threads(2)):
        if end == 0:
            relax(c.points, c.grid.N, price, &c.queue, p)
        else:
            relax(c.mirrored, c.grid.N, price, &c.mirrored_queue, p)


cdef inline bint may_be_border(const Partition *c, int64_t i, double limit) noexcept nogil:
    """Whether a partition with a border at this position, or near it by its credit, may cost so little."""
    if i == 0 or i == c.grid.N:
        return True
    return c.points[i].best + c.mirrored[c.grid.N - i].best + c.points[i].credit <= limit


cdef double cost_limit(const Partition *c) noexcept nogil:
    """What the best partition costs at most, with the price of its clusters."""
    cdef double cost = path_cost(c.points, c.bracket.path, c.K)
    return cost + c.K * c.bracket.price + 4 * rounding_error(c)


cdef bint has_heavy_blocks(Partition *c) noexcept nogil:
    """Mark blocks that are too heavy for credits, to be divided; bound the means beside borders. Both for prices that
    differ from the last one by a factor of up to 1 + PRICE_MARGIN."""
    cdef double price = c.bracket.price
    cdef int32_t *reach = c.queue.previous
    cdef int64_t step = max(c.grid.N // (c.K * REACH_POSITIONS), <int64_t>1)
    find_reach(c.points, c.grid.N, price * (1 + PRICE_MARGIN) + 4 * rounding_error(c), step, reach)
    store_mean_bounds(&c.grid, c.v, c.points, reach, c.low, c.high)
    memcpy(c.keep, c.grid.open, c.grid.N)
    return mark_heavy(&c.grid, c.points, c.low, c.high, price / (1 + PRICE_MARGIN), c.divide) > 0


cdef void keep_possible_blocks(Partition *c, Poll *p) noexcept nogil:
    """Mark the blocks that may have a border of the best partition, to be divided. None is heavy."""
    cdef int64_t block
    cdef double limit = cost_limit(c)
    store_credits(&c.grid, c.v, c.points, c.low, c.high)
    relax_both(c, p)
    for block in range(c.grid.N):
        c.keep[block] = c.grid.open[block] and (may_be_border(c, block, limit) or may_be_border(c, block + 1, limit))
        c.divide[block] = c.keep[block]


cdef void solve_at_positions(Partition *c, Poll *p) noexcept nogil:
    """Solve a grid that cannot be divided, mostly at the price of the last one; the points are those of its price."""
    relax(c.points, c.grid.N, c.bracket.price, &c.queue, p)
    if is_stopped(p):
        return
    if count_clusters(&c.queue, c.grid.N) == c.K:
        store_path(&c.queue, c.grid.N, c.K, c.bracket.path)
    else:
        solve_grid(c, p)


cdef int64_t mark_starts(Partition *c, int64_t end, double slack, double *excess) noexcept nogil:
    """Mark where the cluster that ends at a position may start, of partitions that cost up to `slack` more than the
    cheapest one; `excess`: what the cheapest one with a border at a position costs more. Returns how many starts were
    looked at: from some one back on, a cluster can be cut for less."""
    cdef double price = c.bracket.price, base = excess[end] + price - c.points[end].best, cost
    cdef int64_t start = end - 1, middle
    while start >= 0:
        cost = base + cost_from(c.points, start, end)
        if cost <= slack:
            c.keep[start] = 1
            excess[start] = min(excess[start], cost)
        if (end - start) % CUT_POSITIONS == 0:
            middle = (start + end) // 2
            if (cluster_cost(c.points, start, end) - cluster_cost(c.points, start, middle)
                    - cluster_cost(c.points, middle, end) > price + 2 * slack):
                break
        start -= 1
    return end - start


cdef bint mark_possible_borders(Partition *c, double slack) noexcept nogil:
    """Mark the borders of all partitions that cost up to `slack` more than the cheapest one, from the last one back.
    False: there are so many that to solve the mirrored problem is faster."""
    cdef int64_t i, steps = 0
    cdef double *excess = c.low
    memset(c.keep, 0, c.grid.N)
    for i in range(c.grid.N):
        excess[i] = INFINITY
    excess[c.grid.N] = 0
    for i in range(c.grid.N, 0, -1):
        if i == c.grid.N or c.keep[i]:
            steps += mark_starts(c, i, slack, excess)
            if steps > MAX_STEPS * c.grid.N:
                return False
    return True


cdef void keep_possible_positions(Partition *c, Poll *p) noexcept nogil:
    """Of a grid that cannot be divided, leave out positions that are no border of the best partition."""
    cdef int64_t i, to = 0
    cdef double limit
    solve_at_positions(c, p)
    if is_stopped(p):
        return
    limit = cost_limit(c)
    if not mark_possible_borders(c, limit - c.points[c.grid.N].best):
        mirror_points(c)
        relax(c.mirrored, c.grid.N, c.bracket.price, &c.mirrored_queue, p)
        for i in range(c.grid.N):
            c.keep[i] = may_be_border(c, i, limit)
    for i in range(c.grid.N + 1):
        if i == 0 or i == c.grid.N or c.keep[i]:
            c.grid.positions[to] = c.grid.positions[i]
            to += 1
    c.grid.N = c.bracket.N = to - 1


# ---- the whole -------------------------------------------------------------------------------

cdef double first_price(const Partition *c) noexcept nogil:
    """The price for evenly spread values."""
    cdef Moments total = moments_of_first(c.v, c.v.d)
    return 2 * total.second.high / (<double>c.K * c.K * c.K)


cdef void solve_grid(Partition *c, Poll *p) noexcept nogil:
    """Find the best partition of the present grid, from the price of the last one on."""
    find_partition(c.points, &c.bracket, c.bracket.price, &c.queue, p)


cdef void centre_price(Partition *c, Poll *p) noexcept nogil:
    """Take a price from within those at which the present grid has K clusters, where it is likelier to have K on the
    next one too: the slope of the lowest cost, which falls about with the square of K."""
    cdef double square = moments_of_first(c.v, c.v.d).second.high + path_cost(c.points, c.bracket.path, c.K)
    cdef double price = 2 * square / c.K
    if not price > 0 or is_stopped(p):
        return
    relax(c.points, c.grid.N, price, &c.queue, p)
    if not is_stopped(p) and count_clusters(&c.queue, c.grid.N) == c.K:
        c.bracket.price = price


cdef bint take_coarse_grids(Partition *c, Poll *p) noexcept nogil:
    """Find the price on grids for it alone, and take the first one of which blocks may be left out; all positions where
    that would be most of them. False: no memory."""
    cdef int64_t grid = max(<int64_t>MIN_GRID, GRID_PER_CLUSTER * c.K)
    cdef int64_t parts = GRID_GROWTH * grid // c.K, first = max(parts, BLOCKS_PER_CLUSTER * c.K)
    if 2 * grid > c.v.d:
        return take_even_grid(c, c.v.d)
    if not take_even_grid(c, grid // 2):
        return False
    solve_grid(c, p)
    if not is_stopped(p):  # values far from the others are few, and their clusters too
        if not take_grid_of_clusters(c, grid // c.K):
            return False
        solve_grid(c, p)
    if not is_stopped(p) and first > parts and 2 * parts * c.K < c.v.d:
        if not take_grid_of_clusters(c, parts):
            return False
        solve_grid(c, p)
    if is_stopped(p):
        return True
    centre_price(c, p)
    return take_grid_of_clusters(c, first) if 2 * first * c.K < c.v.d else take_even_grid(c, c.v.d)


cdef bint search_grids(Partition *c, Poll *p) noexcept nogil:
    """Find the positions that may be borders of the best partition. False: no memory."""
    cdef double price
    if not take_coarse_grids(c, p):
        return False
    while not is_stopped(p) and (c.grid.N > MIN_GRID or not is_fine(&c.grid)):
        price = c.bracket.price
        if not rounding_error(c) * c.K < price:
            return take_even_grid(c, c.v.d)
        if is_fine(&c.grid):
            keep_possible_positions(c, p)
            break
        if not has_heavy_blocks(c):
            solve_grid(c, p)
            if is_stopped(p):
                break
            if fabs(c.bracket.price - price) > PRICE_MARGIN / 2 * price:
                continue
            keep_possible_blocks(c, p)
        if not take_next_grid(c):
            return False
    return True


cdef bint solve_exactly(Partition *c, Poll *p) noexcept nogil:
    """Find the best partition with all digits. False: no memory."""
    cdef int64_t i
    release(c.exact)
    c.exact = <ExactPoint *>allocate((c.grid.N + 1) * sizeof(ExactPoint))
    if c.exact == NULL:
        return False
    for i in range(c.grid.N + 1):
        c.exact[i].sums = moments_of_first(c.v, c.grid.positions[i])
    find_partition(c.exact, &c.bracket, c.bracket.price, &c.queue, p)
    if not is_stopped(p):
        for i in range(c.K + 1):
            c.borders[i] = c.grid.positions[c.bracket.path[i]]
    return True


cdef bint find_borders(Partition *c, Poll *p) noexcept nogil:
    """Find the borders of K clusters, K at most the number of distinct values. False: no memory."""
    cdef int64_t i
    if c.K == 1 or c.K == c.v.d:
        for i in range(c.K + 1):
            c.borders[i] = i * c.v.d // c.K
        return True
    c.bracket.K = c.K
    c.bracket.price = first_price(c)
    return search_grids(c, p) and (is_stopped(p) or solve_exactly(c, p))


cdef bint store_means(const ValueSums *v, int64_t K, int n_threads, void *centroids, Poll *p) noexcept nogil:
    """Find the best partition into K clusters; store their means, which rise. False: no memory."""
    cdef Partition c
    cdef bint done
    cdef int64_t k
    memset(&c, 0, sizeof(c))
    c.v, c.K, c.n_threads = v, K, n_threads
    c.borders = <int64_t *>allocate((K + 1) * sizeof(int64_t))
    done = c.borders != NULL and find_borders(&c, p)
    if done and not is_stopped(p):
        for k in range(K):
            put(centroids, k, v.itemsize, mean_of(v, c.borders[k], c.borders[k + 1]))
    release(c.borders)
    close_partition(&c)
    return done
