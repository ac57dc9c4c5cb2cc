/* The vocabulary of integers in AVX2, but for i32_dot: see codes_body.h. */
typedef __m256i i32_vec;

static ALWAYS_INLINE i32_vec i32_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static ALWAYS_INLINE i32_vec i32_load_first(const int32_t *p, int count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
}
static ALWAYS_INLINE i32_vec i32_set1(int32_t a) { return _mm256_set1_epi32(a); }
static ALWAYS_INLINE int32_t i32_sum_lanes(i32_vec a)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static ALWAYS_INLINE f32_vec i32_to_f32(i32_vec a) { return _mm256_cvtepi32_ps(a); }
