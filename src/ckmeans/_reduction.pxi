"""Positions that are borders of no optimal partition are left out, by solving a grid of positions.

Let values be cut within open blocks alone, at any value, or at the positions between blocks. At some price, take a
border i and the cheapest partitions of the values on both sides of it. Then

1. no cluster can be cut to gain more than the price, else it would be cut. The gain grows with the cluster, so from
   each position on there is a farthest one that a cluster may reach, which bounds the means beside every border;
2. no cluster lies within a block, or within two adjacent ones, of weight W with W D^2 below the price, where D is the
   distance of the means beside: it would be merged with the closer one for less. (Blocks that are too heavy are cut.)

So borders can be moved one by one to an end of their block, and stay apart. Let the block be cut into parts of weights
W1, W2 and means m1, m2 by the border, and let M be the midpoint of the means beside it. To move the border to the left
end costs at most 2 D W1 (M - m1), to the right end 2 D W2 (m2 - M): one of them is at most 2 D W1 W2 / (W1 + W2) (m2 -
m1), and that at most D sqrt(W S), where S is the block's sum of squares. This is the credit of the block.

Let every position be taken off the larger credit of the blocks beside it. Then the cheapest partition through one of
the two positions beside i, of those with borders between blocks only, costs no more than the one of which i is a
border. If both cost more than some partition into K clusters that is known, i is no border of the best one.
"""
from libc.math cimport fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    SHORT_BLOCK = 32         # values of a block up to which they are added up

# Positions among the values, in rising order, and which blocks between them may have borders within.
cdef struct Grid:
    int64_t N                # blocks
    int64_t *positions       # (N + 1,) how many values are before each
    uint8_t *open            # (N,) whether a block may have borders within


cdef inline bint is_divisible(const Grid *g, int64_t block) noexcept nogil:
    return g.open[block] and g.positions[block + 1] - g.positions[block] > 1


# ---- how far a cluster may reach ---------------------------------------------------------------

cdef double EPSILON = 2.0 ** -52


cdef inline double mean_between(const PlainPoint *points, int64_t start, int64_t end) noexcept nogil:
    return (points[end].first - points[start].first) / (points[end].weight - points[start].weight)


cdef void find_reach(const PlainPoint *points, int64_t N, double max_gain, int64_t step, int32_t *reach) noexcept nogil:
    """Find for each position the last one that a cluster may reach from there: those that reach to the next position
    can be cut for a higher gain, at their mean, say. Only every `step`-th position is looked at."""
    cdef int64_t start = 0, end = 0, cut = 0, i, last
    cdef double mean, gain
    while start <= N:
        end = max(end, start)
        while end + step <= N:
            mean = mean_between(points, start, end + step)
            cut = max(cut, start)
            while cut + step < end and mean_between(points, cut, cut + step) < mean:
                cut += step
            gain = (cluster_cost(points, start, end + step) - cluster_cost(points, start, cut)
                    - cluster_cost(points, cut, end + step))
            if gain > max_gain:
                break
            end += step
        last = N if end + step > N else end + step - 1
        for i in range(max(start - step + 1, <int64_t>0), start + 1):
            reach[i] = <int32_t>last
        start += step
    for i in range(N // step * step, N + 1):
        reach[i] = <int32_t>N


# ---- credits -----------------------------------------------------------------------------------

cdef inline double mean_error(const PlainPoint *points, int64_t start, int64_t end) noexcept nogil:
    """A bound of the rounding error of `mean_between`: moments and weights are at most 1."""
    return 8 * EPSILON / (points[end].weight - points[start].weight)


cdef void store_mean_bounds(const Grid *g, const ValueSums *v, const PlainPoint *points, const int32_t *reach,
                            double *low, double *high) noexcept nogil:
    """Bound the means of the clusters that end, and begin, within each block or at its ends.

    A cluster may reach to within the block after the last one; and so may the one before, once it was moved."""
    cdef int64_t block, start = 0, other
    cdef double mean
    for block in range(g.N):
        while reach[start] < block:
            start += 1
        low[block], high[block] = scaled_value(v, 0), scaled_value(v, v.d - 1)
        if block > 0:
            other = max(start - 1, <int64_t>0)
            mean = mean_between(points, other, block) - mean_error(points, other, block)
            low[block] = mean if mean > low[block] else low[block]
        if block + 1 < g.N:
            other = min(<int64_t>reach[block + 1] + 1, g.N)
            mean = mean_between(points, block + 1, other) + mean_error(points, block + 1, other)
            high[block] = mean if mean < high[block] else high[block]


cdef bint is_heavy(const Grid *g, const PlainPoint *points, const double *low, const double *high, int64_t block,
                   double price) noexcept nogil:
    """Whether a cluster may lie within the block, or within it and an adjacent one."""
    cdef int64_t first, last
    cdef double distance, weight
    if not is_divisible(g, block):
        return False
    for first in range(block - 1, block + 1):
        for last in range(block, block + 2):
            if last - first > 1 or first < 0 or last >= g.N:
                continue
            if not is_divisible(g, first) or not is_divisible(g, last):
                continue
            distance = high[last] - low[first]
            weight = points[last + 1].weight - points[first].weight + EPSILON
            if not weight * distance * distance < price:
                return True
    return False


cdef int64_t mark_heavy(const Grid *g, const PlainPoint *points, const double *low, const double *high, double price,
                        uint8_t *divide) noexcept nogil:
    """Mark the blocks that are too heavy for credits; returns how many there are."""
    cdef int64_t block, count = 0
    for block in range(g.N):
        divide[block] = is_heavy(g, points, low, high, block, price)
        count += divide[block]
    return count


cdef double sum_of_squares(const Grid *g, const ValueSums *v, int64_t block) noexcept nogil:
    """A bound of the sum of squares of a block about its mean, near it."""
    cdef int64_t first = g.positions[block], end = g.positions[block + 1], i
    cdef double centre, square = 0, x
    cdef Moments low, high
    if end - first > SHORT_BLOCK:
        low, high = moments_of_first(v, first), moments_of_first(v, end)
        return exact_cost(&low, &high)
    centre = scaled_value(v, (first + end) // 2)
    for i in range(first, end):
        x = fabs(scaled_value(v, i) - centre) + 4 * EPSILON
        square += v.weights[i] * v.weight_scale * x * x
    return square


cdef void store_credits(const Grid *g, const ValueSums *v, PlainPoint *points, const double *low,
                        const double *high) noexcept nogil:
    cdef int64_t block
    cdef double credit, before = 0, weight
    for block in range(g.N):
        credit = 0
        if is_divisible(g, block):
            weight = points[block + 1].weight - points[block].weight + EPSILON
            credit = (high[block] - low[block]) * sqrt(weight * sum_of_squares(g, v, block))
        points[block].credit = max(before, credit) if block > 0 else 0
        before = credit


# ---- the next grid -----------------------------------------------------------------------------

cdef inline int64_t parts_of(const Grid *g, int64_t block, bint divide, int64_t parts) noexcept nogil:
    return min(parts, g.positions[block + 1] - g.positions[block]) if divide and g.open[block] else 1


cdef int64_t count_next(const Grid *g, const uint8_t *keep, const uint8_t *divide, int64_t parts) noexcept nogil:
    """How many blocks the next grid has."""
    cdef int64_t block, count = 0
    for block in range(g.N):
        if keep[block] or block == 0 or keep[block - 1]:
            count += parts_of(g, block, divide[block], parts)
    return count


cdef void fill_next(const Grid *g, const uint8_t *keep, const uint8_t *divide, int64_t parts, Grid *to) noexcept nogil:
    """Divide blocks into parts; those that are not kept become one closed block where they are adjacent."""
    cdef int64_t block, part, count, length
    to.N = 0
    for block in range(g.N):
        if not (keep[block] or block == 0 or keep[block - 1]):
            continue
        count = parts_of(g, block, divide[block], parts)
        length = g.positions[block + 1] - g.positions[block]
        for part in range(count):
            to.positions[to.N] = g.positions[block] + part * length // count
            to.open[to.N] = keep[block] and g.open[block]
            to.N += 1
    to.positions[to.N] = g.positions[g.N]
