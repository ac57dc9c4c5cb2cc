#include "kernels.h"

#include "codes.h"
#include "vec_baseline.h"

#include <string.h>

#define CODES_COST 0.9
#define CODES_NAME "baseline"
#define CODES(name) baseline_##name

#if defined(__x86_64__) || defined(_M_X64)
typedef __m128i i32_vec;
enum { i32_VECS = 2, i32_GROUP = 4, i32_OFFSET = 0, i32_CENTROID_MAX = CODE_MAX };

static ALWAYS_INLINE i32_vec i32_load(const int32_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static ALWAYS_INLINE i32_vec i32_set1(int32_t a) { return _mm_set1_epi32(a); }
static ALWAYS_INLINE int32_t i32_sum_lanes(i32_vec a)
{
    const __m128i s = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static ALWAYS_INLINE f32_vec i32_to_f32(i32_vec a) { return _mm_cvtepi32_ps(a); }

/* Even codes and odd ones apart, widened to 16 bits where they lie. */
static ALWAYS_INLINE __m128i even_codes(i32_vec a) { return _mm_srai_epi16(_mm_slli_epi16(a, 8), 8); }
static ALWAYS_INLINE __m128i odd_codes(i32_vec a) { return _mm_srai_epi16(a, 8); }
static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
    sum = _mm_add_epi32(sum, _mm_madd_epi16(even_codes(x), even_codes(c)));
    return _mm_add_epi32(sum, _mm_madd_epi16(odd_codes(x), odd_codes(c)));
}
#else
#define CODES_SCALAR
typedef int32_t i32_vec;
enum { i32_VECS = 2, i32_GROUP = 4, i32_OFFSET = 0, i32_CENTROID_MAX = CODE_MAX };

static ALWAYS_INLINE i32_vec i32_load(const int32_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}
static ALWAYS_INLINE i32_vec i32_set1(int32_t a) { return a; }
static ALWAYS_INLINE int32_t i32_sum_lanes(i32_vec a) { return a; }
static ALWAYS_INLINE f32_vec i32_to_f32(i32_vec a) { return (f32_vec)a; }
static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
    int8_t a[4], b[4];
    memcpy(a, &x, 4);
    memcpy(b, &c, 4);
    return sum + a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}
#endif

static ALWAYS_INLINE i32_vec i32_load_first(const int32_t *p, int count)
{
    int32_t words[f32_LANES] = { 0 };
    memcpy(words, p, (size_t)count * sizeof(int32_t));
    return i32_load(words);
}
static ALWAYS_INLINE i32_vec i32_offset_codes(i32_vec x) { return x; }

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_baseline(void) { return &baseline_kernels; }
