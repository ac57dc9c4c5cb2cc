"""The cheapest partition into K clusters, by the price at which the relaxed problem has K of them.

The lowest cost is a convex function of K (A. Aggarwal, B. Schieber and T. Tokuyama, "Finding a minimum-weight k-link
path in graphs with the concave Monge property and applications", Discrete & Computational Geometry 12, 1994; A.
Gronlund et al., "Fast exact k-means, k-medians and Bregman divergence clustering in 1D", 2017). Two partitions bracket
K, into fewer and into more clusters. The next price is interpolated, as the number of clusters falls about with the
third root of the price, or it is the slope between the two, at which both cost the same: then there is one between
them, or both are among the cheapest, and a partition into K clusters is made of both.
"""
from libc.math cimport exp, log
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from ckmeans._runtime cimport Poll, is_stopped

cdef enum:
    MAX_INTERPOLATIONS = 12  # before every other price is a slope, by which the search comes to an end
    NEAR_CLUSTERS = 8        # clusters between the ends from which on it is

# A partition at one end of the bracket.
cdef struct BracketEnd:
    int64_t K
    double cost
    double price             # at which it was found; 0: it was not
    int32_t *path            # its K + 1 borders

cdef struct Bracket:
    int64_t N
    int64_t K                # that is sought
    BracketEnd low
    BracketEnd high
    int32_t *path            # the partition that was found
    double price             # at which it was


cdef void splice(Bracket *b) noexcept nogil:
    """Make a partition into K clusters of the two at the ends, which begins as the low one and ends as the high one.

    Where a cluster of the high one lies within one of the low one, both go on as the other did. By the quadrangle
    inequality the two that arise cost together no more than those two.
    """
    cdef int64_t ahead = b.high.K - b.K, k = 0
    while b.low.path[k + 1] < b.high.path[k + 1 + ahead]:
        k += 1
    memcpy(b.path, b.low.path, (k + 1) * sizeof(int32_t))
    memcpy(b.path + k + 1, b.high.path + k + 1 + ahead, (b.K - k) * sizeof(int32_t))


cdef double interpolated_price(const Bracket *b, double price, int64_t count) noexcept nogil:
    """The price for K clusters; at the last one there were `count`."""
    cdef double part
    if b.low.price == 0 or b.high.price == 0:
        return price * (<double>count / b.K) ** 3
    part = log(<double>b.K / b.low.K) / log(<double>b.high.K / b.low.K)
    return exp(log(b.low.price) + part * (log(b.high.price) - log(b.low.price)))


cdef void open_bracket(const Point *points, Bracket *b) noexcept nogil:
    """Into one cluster, and into one between each position and the next."""
    cdef int64_t i
    b.low.K, b.high.K = 1, b.N
    b.low.path[0], b.low.path[1] = 0, <int32_t>b.N
    for i in range(b.N + 1):
        b.high.path[i] = <int32_t>i
    b.low.price = b.high.price = 0
    b.low.cost = path_cost(points, b.low.path, 1)
    b.high.cost = path_cost(points, b.high.path, b.N)


cdef void narrow(const Point *points, Bracket *b, const Queue *queue, double price, int64_t count) noexcept nogil:
    cdef BracketEnd *end = &b.low if count < b.K else &b.high
    end.K, end.price = count, price
    store_path(queue, b.N, count, end.path)
    end.cost = path_cost(points, end.path, count)


cdef bint found_at_end(Bracket *b) noexcept nogil:
    """Whether an end of the bracket is the partition that is sought."""
    cdef const BracketEnd *end = &b.low if b.low.K == b.K else &b.high
    if end.K != b.K:
        return False
    memcpy(b.path, end.path, (b.K + 1) * sizeof(int32_t))
    return True


cdef void find_partition(Point *points, Bracket *b, double price, Queue *queue, Poll *p) noexcept nogil:
    """Find the cheapest partition into K clusters, at a price that is sought from this one on."""
    cdef int64_t count, tries = 0
    cdef double slope
    cdef bint at_slope = False
    open_bracket(points, b)
    b.price = price
    if found_at_end(b):
        return
    while not is_stopped(p):
        slope = (b.low.cost - b.high.cost) / (b.high.K - b.low.K)
        if at_slope or not price > 0:
            at_slope, price = True, max(slope, 0.0)
        relax(points, b.N, price, queue, p)
        if is_stopped(p):
            return
        b.price = price
        count = count_clusters(queue, b.N)
        if count == b.K:
            store_path(queue, b.N, count, b.path)
            return
        if b.low.K < count < b.high.K:
            narrow(points, b, queue, price, count)
        elif at_slope:
            splice(b)
            return
        tries += 1
        at_slope = not at_slope and (tries > MAX_INTERPOLATIONS or b.high.K - b.low.K <= NEAR_CLUSTERS)
        price = interpolated_price(b, price, count)
