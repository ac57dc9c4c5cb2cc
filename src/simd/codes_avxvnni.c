#include "kernels.h"

#include "codes.h"
#include "vec_avx2.h"
#include "codes_avx2.h"

#define CODES_COST 0.27
#define CODES_NAME "avxvnni"
#define CODES(name) avxvnni_##name
enum { i32_VECS = 2, i32_GROUP = 4, i32_OFFSET = 128, i32_CENTROID_MAX = CODE_MAX };

static ALWAYS_INLINE i32_vec i32_offset_codes(i32_vec x)
{
    return _mm256_xor_si256(x, _mm256_set1_epi32((int32_t)0x80808080u));
}
static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c) { return _mm256_dpbusd_avx_epi32(sum, x, c); }

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_avxvnni(void) { return &avxvnni_kernels; }
