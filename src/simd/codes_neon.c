#include "kernels.h"

#include "codes.h"
#include "vec_neon.h"
#include "codes_neon.h"

#define CODES_COST 0.6
#define CODES_NAME "neon"
#define CODES(name) neon_##name

static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
    const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(c);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(a), vget_high_s8(b)));
    return vaddq_s32(sum, vpaddq_s32(low, high));
}

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_neon(void) { return &neon_kernels; }
