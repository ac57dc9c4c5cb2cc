"""The relaxed problem: the cheapest partition into any number of clusters, each of which costs a given price.

Values are cut at some positions alone. The cost of a cluster has the quadrangle inequality (crossing clusters cost no
more than nested ones), so of two candidates for the start of the last cluster the later one, once it is the better
one, stays it (D. Wilber, "The concave least-weight subsequence problem revisited", Journal of Algorithms 9, 1988; Z.
Galil and K. Park, "A linear-time algorithm for concave one-dimensional dynamic programming", Information Processing
Letters 33, 1990). A queue holds the candidates with the positions from which on each is the best. Where the next one
takes over is sought from where the one before it did, in steps that double, since that is near, mostly: forward, or
back from where candidates were that it takes off the queue.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

from ckmeans._double_double cimport Pair, fast_pair, pair_add, pair_product, pair_scaled, pair_subtract
from ckmeans._runtime cimport Poll, is_stopped, poll

cdef enum:
    POLL_STEPS = 1 << 16     # positions after which signals are looked at

# The sums up to a position, rounded. Costs are negative: those about the mean of all values are left out, as their
# sum is the same for every partition.
cdef struct PlainPoint:
    double weight
    double first
    double best              # cost of the cheapest partition of the values before the position
    double credit            # what a border at the position is taken off (_reduction.pxi)

# The same with all digits, whose costs are the sums of squares within clusters.
cdef struct ExactPoint:
    Moments sums
    double best

ctypedef fused Point:
    PlainPoint
    ExactPoint

# Scratch memory for N + 1 positions.
cdef struct Queue:
    int32_t *previous        # where the last cluster before each position starts,
    int32_t *candidate       # starts that are in the queue,
    int32_t *begin           # and the position from which on each is the best


cdef inline double exact_cost(const Moments *low, const Moments *high) noexcept nogil:
    """The weighted sum of squares about the mean, second - first^2 / weight."""
    cdef Pair weight = pair_subtract(high.weight, low.weight)
    cdef Pair first = pair_subtract(high.first, low.first)
    cdef Pair second = pair_subtract(high.second, low.second)
    cdef Pair square = pair_product(first.high, first.high)
    cdef double quotient, rest
    if not weight.high > 0:
        return 0
    square.low += 2 * first.high * first.low
    quotient = square.high / weight.high
    cdef Pair product = pair_product(quotient, weight.high)
    rest = ((square.high - product.high) - product.low + square.low - quotient * weight.low) / weight.high
    return max((second.high - quotient) + (second.low - rest), 0.0)


cdef inline double cluster_cost(const Point *points, int64_t start, int64_t end) noexcept nogil:
    cdef double weight, first
    if Point is PlainPoint:
        weight = points[end].weight - points[start].weight
        first = points[end].first - points[start].first
        return -(first * first) / weight if weight > 0 else 0
    else:
        return exact_cost(&points[start].sums, &points[end].sums)


cdef inline double cost_from(const Point *points, int64_t start, int64_t end) noexcept nogil:
    """Cost up to `end`, of which the last cluster begins at `start`; but for its price."""
    return points[start].best + cluster_cost(points, start, end)


cdef inline bint overtakes(const Point *points, int64_t later, int64_t earlier, int64_t end) noexcept nogil:
    cdef double weight, other_weight, first, other_first
    if Point is PlainPoint:
        weight, other_weight = points[end].weight - points[later].weight, points[end].weight - points[earlier].weight
        first, other_first = points[end].first - points[later].first, points[end].first - points[earlier].first
        if weight > 0:  # both sides times both weights, as divisions take longer
            return ((points[later].best - points[earlier].best) * (weight * other_weight)
                    < first * first * other_weight - other_first * other_first * weight)
    return cost_from(points, later, end) < cost_from(points, earlier, end)


cdef inline int64_t first_overtaken(const Point *points, int64_t later, int64_t earlier, int64_t behind,
                                    int64_t at) noexcept nogil:
    """The first position after `behind` where the later start overtakes: it does at `at`, and not at `behind`."""
    cdef int64_t middle
    while at - behind > 1:
        middle = (behind + at) // 2
        if overtakes(points, later, earlier, middle):
            at = middle
        else:
            behind = middle
    return at


cdef inline int64_t position_before(const Point *points, int64_t later, int64_t earlier, int64_t behind,
                                    int64_t at) noexcept nogil:
    """The same, sought from `at` back, since it is near."""
    cdef int64_t step = 1, earlier_position
    while at - behind > 1:
        earlier_position = max(at - step, behind + 1)
        if not overtakes(points, later, earlier, earlier_position):
            behind = earlier_position
            break
        at = earlier_position
        step *= 2
    return first_overtaken(points, later, earlier, behind, at)


cdef int64_t overtaking_position(const Point *points, int64_t later, int64_t earlier, int64_t behind,
                                 int64_t N) noexcept nogil:
    """The first position after `behind` where the later start overtakes; N + 1: none. It does not at `behind`."""
    cdef int64_t step = 1, at
    while True:
        at = behind + step
        if at >= N:
            at = N
            if behind == N or not overtakes(points, later, earlier, N):
                return N + 1
            break
        if overtakes(points, later, earlier, at):
            break
        behind = at
        step *= 2
    return first_overtaken(points, later, earlier, behind, at)


cdef void relax(Point *points, int64_t N, double price, Queue *queue, Poll *p) noexcept nogil:
    """Find the cheapest partition up to each of the positions 1 .. N."""
    cdef int64_t head = 0, last = 0, position, at, upper
    cdef int32_t *candidate = queue.candidate
    cdef int32_t *begin = queue.begin
    points[0].best = 0
    candidate[0], begin[0] = 0, 1
    for position in range(1, N + 1):
        if position % POLL_STEPS == 0 and poll(p):
            return
        while head < last and begin[head + 1] <= position:
            head += 1
        queue.previous[position] = candidate[head]
        points[position].best = cost_from(points, candidate[head], position) + price
        if Point is PlainPoint:
            points[position].best -= points[position].credit
        if position == N:
            return
        upper = N + 1
        while last >= head:
            at = max(<int64_t>begin[last], position + 1)
            if not overtakes(points, position, candidate[last], at):
                break
            upper = at
            last -= 1
        if last < head:
            at = position + 1
        elif upper <= N:  # the one that was taken off overtook there, and was overtaken
            at = position_before(points, position, candidate[last], at, upper)
        else:
            at = overtaking_position(points, position, candidate[last], at, N)
        if at <= N:
            last += 1
            candidate[last], begin[last] = <int32_t>position, <int32_t>at


cdef int64_t count_clusters(const Queue *queue, int64_t N) noexcept nogil:
    """Of the partition that `relax` found."""
    cdef int64_t count = 0, position = N
    while position > 0:
        position = queue.previous[position]
        count += 1
    return count


cdef void store_path(const Queue *queue, int64_t N, int64_t K, int32_t *path) noexcept nogil:
    """Store the K + 1 borders of that partition."""
    cdef int64_t position = N, k
    for k in range(K, -1, -1):
        path[k] = <int32_t>position
        if k > 0:
            position = queue.previous[position]


cdef double path_cost(const Point *points, const int32_t *path, int64_t K) noexcept nogil:
    cdef double total = 0
    cdef int64_t k
    for k in range(K):
        total += cluster_cost(points, path[k], path[k + 1])
    return total
