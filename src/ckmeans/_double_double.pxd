"""Numbers as unevaluated sums of two doubles, with about 106 bits (T. J. Dekker, "A floating-point technique for
extending the available precision", Numerische Mathematik 18, 1971). Built without contraction of multiply and add.
"""

cdef struct Pair:
    double high
    double low               # at most half a unit in the last place of `high`


cdef inline Pair pair_sum(double a, double b) noexcept nogil:
    """a + b, exactly (D. E. Knuth)."""
    cdef double high = a + b
    cdef double part = high - a
    return Pair(high, (a - (high - part)) + (b - part))


cdef inline Pair pair_product(double a, double b) noexcept nogil:
    """a * b, exactly."""
    cdef double high = a * b
    cdef double scaled = 134217729.0 * a
    cdef double a_high = scaled - (scaled - a), a_low = a - a_high
    scaled = 134217729.0 * b
    cdef double b_high = scaled - (scaled - b), b_low = b - b_high
    return Pair(high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low)


cdef inline Pair pair_add(Pair a, Pair b) noexcept nogil:
    cdef Pair s = pair_sum(a.high, b.high)
    s.low += a.low + b.low
    return fast_pair(s.high, s.low)


cdef inline Pair pair_subtract(Pair a, Pair b) noexcept nogil:
    return pair_add(a, Pair(-b.high, -b.low))


cdef inline Pair pair_scaled(Pair a, double factor) noexcept nogil:
    cdef Pair product = pair_product(a.high, factor)
    return fast_pair(product.high, product.low + a.low * factor)


cdef inline Pair fast_pair(double a, double b) noexcept nogil:
    """a + b, exactly, where b is not larger than a."""
    cdef double high = a + b
    return Pair(high, b - (high - a))
