"""Random numbers without Python: xoshiro256** (Blackman and Vigna, 2018), one stream a restart."""
from libc.stdint cimport int64_t, uint64_t


cdef struct Stream:
    uint64_t s[4]


cdef inline uint64_t splitmix(uint64_t *state) noexcept nogil:
    """SplitMix64 (Steele, Lea and Flood, 2014): turns any seed into good starting states."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline Stream stream_of(uint64_t seed, int64_t number) noexcept nogil:
    """Stream `number` of a seed."""
    cdef uint64_t numbered = <uint64_t>number
    cdef uint64_t state = seed ^ splitmix(&numbered)
    cdef Stream stream
    cdef int i
    for i in range(4):
        stream.s[i] = splitmix(&state)
    return stream


cdef inline uint64_t rotated(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline uint64_t next_bits(Stream *r) noexcept nogil:
    cdef uint64_t result = rotated(r.s[1] * 5, 7) * 9
    cdef uint64_t t = r.s[1] << 17
    r.s[2] ^= r.s[0]
    r.s[3] ^= r.s[1]
    r.s[1] ^= r.s[2]
    r.s[0] ^= r.s[3]
    r.s[2] ^= t
    r.s[3] = rotated(r.s[3], 45)
    return result


cdef inline double next_unit(Stream *r) noexcept nogil:
    """Uniform in [0, 1)."""
    return <double>(next_bits(r) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int64_t next_below(Stream *r, int64_t bound) noexcept nogil:
    """Uniform in 0 .. bound - 1, without bias."""
    cdef uint64_t n = <uint64_t>bound, x = next_bits(r)
    cdef uint64_t unfair = (0 - n) % n
    while x < unfair:
        x = next_bits(r)
    return <int64_t>(x % n)
