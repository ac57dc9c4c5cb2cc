"""Random numbers without Python: xoshiro256**, seeded by SplitMix64; one stream a restart.

D. Blackman and S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021; G. L. Steele, D. Lea
and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""
from libc.stdint cimport int64_t, uint64_t


cdef struct Stream:
    uint64_t s[4]


cdef inline uint64_t splitmix(uint64_t *state) noexcept nogil:
    """Return the next number of SplitMix64, which turns any seed into good starting states."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline Stream stream_of(uint64_t seed, int64_t number) noexcept nogil:
    """Return stream `number` of a seed."""
    cdef uint64_t number_state = <uint64_t>number
    cdef uint64_t state = seed ^ splitmix(&number_state)
    cdef Stream stream
    cdef int i
    for i in range(4):
        stream.s[i] = splitmix(&state)
    return stream


cdef inline uint64_t rotate_left(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline uint64_t next_bits(Stream *stream) noexcept nogil:
    """Return 64 random bits."""
    cdef uint64_t result = rotate_left(stream.s[1] * 5, 7) * 9
    cdef uint64_t t = stream.s[1] << 17
    stream.s[2] ^= stream.s[0]
    stream.s[3] ^= stream.s[1]
    stream.s[1] ^= stream.s[2]
    stream.s[0] ^= stream.s[3]
    stream.s[2] ^= t
    stream.s[3] = rotate_left(stream.s[3], 45)
    return result


cdef inline double next_unit(Stream *stream) noexcept nogil:
    """Return a number uniform in [0, 1), a multiple of 2^-53."""
    return <double>(next_bits(stream) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int64_t next_below(Stream *stream, int64_t bound) noexcept nogil:
    """Return an integer uniform in 0 .. bound - 1, without bias: the lowest 2^64 mod bound numbers are rejected."""
    cdef uint64_t n = <uint64_t>bound, x = next_bits(stream)
    cdef uint64_t n_rejected = (0 - n) % n
    while x < n_rejected:
        x = next_bits(stream)
    return <int64_t>(x % n)
