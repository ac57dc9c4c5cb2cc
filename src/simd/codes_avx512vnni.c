#include "kernels.h"

#include "codes.h"
#include "vec_avx512.h"

#define CODES_COST 0.26
#define CODES_NAME "avx512vnni"
#define CODES(name) avx512vnni_##name
typedef __m512i i32_vec;
enum { i32_VECS = 2, i32_GROUP = 8, i32_OFFSET = 128, i32_CENTROID_MAX = CODE_MAX };

static ALWAYS_INLINE i32_vec i32_load(const int32_t *p) { return _mm512_loadu_si512(p); }
static ALWAYS_INLINE i32_vec i32_load_first(const int32_t *p, int count)
{
    return _mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1), p);
}
static ALWAYS_INLINE i32_vec i32_set1(int32_t a) { return _mm512_set1_epi32(a); }
static ALWAYS_INLINE int32_t i32_sum_lanes(i32_vec a) { return _mm512_reduce_add_epi32(a); }
static ALWAYS_INLINE f32_vec i32_to_f32(i32_vec a) { return _mm512_cvtepi32_ps(a); }
static ALWAYS_INLINE i32_vec i32_offset_codes(i32_vec x)
{
    return _mm512_xor_si512(x, _mm512_set1_epi32((int32_t)0x80808080u));
}
static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
#if defined(__GNUC__) && !defined(__clang__)
    /* gcc 12 copies the accumulator of the intrinsic from register to register, and spills some. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(c));
    return sum;
#else
    return _mm512_dpbusd_epi32(sum, x, c);
#endif
}

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_avx512vnni(void) { return &avx512vnni_kernels; }
