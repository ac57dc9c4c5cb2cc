/* The vector vocabulary in NEON (AArch64): 32 registers of 128 bits. vec_baseline.h describes its words. */
#ifndef CKMEANS_VEC_NEON_H
#define CKMEANS_VEC_NEON_H
#include <arm_neon.h>

#define VEC_NAME "neon"

/* ---- float32: 4 lanes ---------------------------------------------------------------- */
typedef float32x4_t f32_vec;
enum { f32_LANES = 4, f32_TILE_VECS = 4, f32_GROUP = 6, f32_QUAD = 4 };

static ALWAYS_INLINE f32_vec f32_load(const float *p) { return vld1q_f32(p); }
static ALWAYS_INLINE void f32_store(float *p, f32_vec a) { vst1q_f32(p, a); }
static ALWAYS_INLINE f32_vec f32_set1(float a) { return vdupq_n_f32(a); }
static ALWAYS_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return vsubq_f32(a, b); }
static ALWAYS_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return vfmaq_f32(c, a, b); }
/* One bit per lane, bit 0 for lane 0: a > b, false for NaN. */
static ALWAYS_INLINE unsigned f32_greater(f32_vec a, f32_vec b)
{
    static const uint32_t bit[4] = { 1, 2, 4, 8 };
    return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), vld1q_u32(bit)));
}

static ALWAYS_INLINE void f32_argmin_update(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    uint32x4_t better = vcltq_f32(score, *best);
    *best = vbslq_f32(better, score, *best);
    *best_id = vbslq_f32(better, id, *best_id);
}

/* One bit per lane: not (a > b), true for NaN. */
static ALWAYS_INLINE uint32_t f32_not_greater(f32_vec a, f32_vec b)
{
    static const uint32_t bits[4] = { 1, 2, 4, 8 };
    return vaddvq_u32(vbicq_u32(vld1q_u32(bits), vcgtq_f32(a, b)));
}
/* Per lane: the lower of a and least if a > b, else least. */
static ALWAYS_INLINE f32_vec f32_min_if_greater(f32_vec a, f32_vec b, f32_vec least)
{
    return vbslq_f32(vcgtq_f32(a, b), vminq_f32(a, least), least);
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return vaddq_f32(a, b); }
static ALWAYS_INLINE float f32_sum_lanes(f32_vec a) { return vaddvq_f32(a); }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return vminq_f32(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return vmaxq_f32(a, b); }
static ALWAYS_INLINE float f32_min_lane(f32_vec a) { return vminvq_f32(a); }
static ALWAYS_INLINE float f32_max_lane(f32_vec a) { return vmaxvq_f32(a); }
static ALWAYS_INLINE f32_vec f32_max_abs(f32_vec m, f32_vec a)
{
    uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x7fffffff));
    return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(m), bits));
}

static ALWAYS_INLINE f32_vec f32_load_quads(const float *p, int64_t step)
{
    (void)step;
    return vld1q_f32(p);
}

static ALWAYS_INLINE void f32_transpose_quads(f32_vec r[4])
{
    float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

/* ---- float64: 2 lanes ---------------------------------------------------------------- */
typedef float64x2_t f64_vec;
enum { f64_LANES = 2, f64_TILE_VECS = 4, f64_GROUP = 6, f64_QUAD = 2 };

static ALWAYS_INLINE f64_vec f64_load(const double *p) { return vld1q_f64(p); }
static ALWAYS_INLINE void f64_store(double *p, f64_vec a) { vst1q_f64(p, a); }
static ALWAYS_INLINE f64_vec f64_set1(double a) { return vdupq_n_f64(a); }
static ALWAYS_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return vsubq_f64(a, b); }
static ALWAYS_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return vfmaq_f64(c, a, b); }
static ALWAYS_INLINE unsigned f64_greater(f64_vec a, f64_vec b)
{
    uint64x2_t more = vcgtq_f64(a, b);
    return (unsigned)(vgetq_lane_u64(more, 0) & 1) | (unsigned)(vgetq_lane_u64(more, 1) & 2);
}

static ALWAYS_INLINE void f64_argmin_update(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    uint64x2_t better = vcltq_f64(score, *best);
    *best = vbslq_f64(better, score, *best);
    *best_id = vbslq_f64(better, id, *best_id);
}

static ALWAYS_INLINE uint32_t f64_not_greater(f64_vec a, f64_vec b)
{
    static const uint64_t bits[2] = { 1, 2 };
    return (uint32_t)vaddvq_u64(vbicq_u64(vld1q_u64(bits), vcgtq_f64(a, b)));
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return vaddq_f64(a, b); }
static ALWAYS_INLINE double f64_sum_lanes(f64_vec a) { return vaddvq_f64(a); }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return vminq_f64(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return vmaxq_f64(a, b); }
static ALWAYS_INLINE double f64_min_lane(f64_vec a) { return vminvq_f64(a); }
static ALWAYS_INLINE double f64_max_lane(f64_vec a) { return vmaxvq_f64(a); }
static ALWAYS_INLINE f64_vec f64_max_abs(f64_vec m, f64_vec a)
{
    uint64x2_t bits = vandq_u64(vreinterpretq_u64_f64(a), vdupq_n_u64(0x7fffffffffffffff));
    uint64x2_t more = vcgtq_u64(bits, vreinterpretq_u64_f64(m));
    return vbslq_f64(more, vreinterpretq_f64_u64(bits), m);
}

static ALWAYS_INLINE f64_vec f64_load_quads(const double *p, int64_t step)
{
    (void)step;
    return vld1q_f64(p);
}

static ALWAYS_INLINE void f64_transpose_quads(f64_vec r[2])
{
    float64x2_t a = r[0], b = r[1];
    r[0] = vtrn1q_f64(a, b);
    r[1] = vtrn2q_f64(a, b);
}

/* ---- wide: four f64_vec ---------------------------------------------------------------- */
typedef uint64x2_t f64_mask;
static ALWAYS_INLINE f64_vec f64_mul(f64_vec a, f64_vec b) { return vmulq_f64(a, b); }
static ALWAYS_INLINE f64_vec f64_load_f32(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
static ALWAYS_INLINE f64_mask f64_equal(f64_vec a, f64_vec b) { return vceqq_f64(a, b); }
static ALWAYS_INLINE f64_vec f64_and(f64_mask mask, f64_vec a) { return vbslq_f64(mask, a, vdupq_n_f64(0)); }
static ALWAYS_INLINE f64_vec f64_select(f64_vec a, f64_vec b, f64_mask mask) { return vbslq_f64(mask, b, a); }
#include "wide_of_pairs.h"

#endif
