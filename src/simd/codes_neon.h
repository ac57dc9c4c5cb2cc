/* The vocabulary of integers in NEON, but for i32_dot: see codes_body.h. */
#include <string.h>

typedef int32x4_t i32_vec;
enum { i32_VECS = 4, i32_GROUP = 4, i32_OFFSET = 0, i32_CENTROID_MAX = CODE_MAX };

static ALWAYS_INLINE i32_vec i32_load(const int32_t *p) { return vld1q_s32(p); }
static ALWAYS_INLINE i32_vec i32_load_first(const int32_t *p, int count)
{
    int32_t words[4] = { 0 };
    memcpy(words, p, (size_t)count * sizeof(int32_t));
    return vld1q_s32(words);
}
static ALWAYS_INLINE i32_vec i32_set1(int32_t a) { return vdupq_n_s32(a); }
static ALWAYS_INLINE int32_t i32_sum_lanes(i32_vec a) { return vaddvq_s32(a); }
static ALWAYS_INLINE f32_vec i32_to_f32(i32_vec a) { return vcvtq_f32_s32(a); }
static ALWAYS_INLINE i32_vec i32_offset_codes(i32_vec x) { return x; }
