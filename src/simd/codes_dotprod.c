#include "kernels.h"

#include "codes.h"
#include "vec_neon.h"
#include "codes_neon.h"

#define CODES_COST 0.27
#define CODES_NAME "dotprod"
#define CODES(name) dotprod_##name

static ALWAYS_INLINE i32_vec i32_dot(i32_vec sum, i32_vec x, i32_vec c)
{
    return vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(c));
}

#include "codes_body.h"

const struct code_kernels *ckmeans_codes_dotprod(void) { return &dotprod_kernels; }
