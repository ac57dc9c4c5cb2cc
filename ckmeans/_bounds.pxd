"""Bounds of each point's distances, carried from step to step."""
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int64_t, uint16_t

from ckmeans._directions cimport get
from ckmeans._engine cimport Step
from ckmeans._projection cimport Desk, Screen


cdef enum:
    TRIED_ACTIVE = 6


# How far the centroids have moved from those, and how many have at all.
cdef int64_t measure_moves(Screen *e, const Step *s, const void *before) noexcept nogil
# Numbers of active centroids that may be the best: TRIED_ACTIVE of them.
cdef void active_to_try(int64_t K, int64_t moving, int64_t *numbers) noexcept nogil
# Note the centroids, and from what is known of the last ones which are active.
cdef void remember(Screen *e, const Step *s) noexcept nogil
# Part the rows of a chunk in those whose label may stay (returned: how many) and those that are open.
cdef int64_t sort_out(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t count,
                      int64_t *open_) noexcept nogil
# Screen the tile's points against the active centroids; those that one reaches are open.
cdef void watch_tile(Screen *e, const Step *s, Desk *desk, int64_t first, int64_t *open_) noexcept nogil


cdef inline double grain(const Screen *e, int64_t i) noexcept nogil:
    """The unit of what is known of row i: its numbers go up to four times |y|."""
    return sqrt(get(e.norms, i, e.sweep.rows.kernels.itemsize)) * 2.0 ** -14


cdef inline void keep(Screen *e, int64_t i, double high, double low) noexcept nogil:
    """Note how far row i is from its centroid at most, and from all others at least."""
    cdef double unit = grain(e, i), grains = high * (1 + e.margins.store) / unit
    if grains < 65535:
        e.high[i] = <uint16_t>(<int64_t>grains + 1)
        e.low[i] = <uint16_t>min(low * (1 - e.margins.store) / unit, 65535)
    else:
        e.low[i] = 0


cdef inline double square_of_least(const Screen *e, const Desk *desk, int64_t p) noexcept nogil:
    """At most the squared distance of point p to any centroid whose score was above its bound."""
    cdef int item = e.sweep.rows.kernels.itemsize
    cdef double square = get(desk.norms, p, item), score = get(desk.least, p, item)
    if score == INFINITY:
        return score
    return score + square - e.margins.store * (fabs(score) + 2 * square)


cdef inline void learn(Screen *e, const Desk *desk, int64_t i, int64_t p, double high, double others) noexcept nogil:
    """How far row i, point p of the tile, is from its centroid at most, and from all others at least: squared."""
    others = min(others, square_of_least(e, desk, p))
    keep(e, i, sqrt(high), sqrt(others) if others > 0 else 0)
