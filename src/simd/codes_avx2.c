#include "kernels.h"

#include "codes.h"
#include "vec_avx2.h"
#include "codes_avx2.h"

/* gcc 12 copies accumulators from register to register, and spills some. */
#if defined(__GNUC__) && !defined(__clang__)
#define KEEP_IN_REGISTER(a) __asm__("" : "+x"(a))
#else
#define KEEP_IN_REGISTER(a) ((void)0)
#endif

#define CODES_COST 0.53
#define CODES_NAME "avx2"
#define CODES(name) avx2_##name
enum { i32_VECS = 2, i32_GROUP = 4, i32_OFFSET = 128, i32_CENTROID_MAX = 63 };

static ALWAYS_INLINE i32_vec i32_offset_codes(i32_vec x)
{
    return _mm256_xor_si256(x, _mm256_set1_epi32((int32_t)0x80808080u));
}

/* Two products of up to 255 * 63 fit the 16 bits in which they are added. */
static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
    const __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(x, c), _mm256_set1_epi16(1));
    sum = _mm256_add_epi32(sum, products);
    KEEP_IN_REGISTER(sum);
    return sum;
}

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_avx2(void) { return &avx2_kernels; }
