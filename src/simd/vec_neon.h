/* The vocabulary of vectors, in NEON (AArch64): 128-bit registers, 32 of them. */
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
/* One bit a lane, the lowest for the first: a > b (not so for NaN). */
static ALWAYS_INLINE unsigned f32_more(f32_vec a, f32_vec b)
{
    static const uint32_t bit[4] = { 1, 2, 4, 8 };
    return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), vld1q_u32(bit)));
}

static ALWAYS_INLINE void f32_fold(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    uint32x4_t better = vcltq_f32(score, *best);
    *best = vbslq_f32(better, score, *best);
    *best_id = vbslq_f32(better, id, *best_id);
}

/* One bit a lane: not a > b (so a NaN sets it). */
static ALWAYS_INLINE uint32_t f32_not_above(f32_vec a, f32_vec b)
{
    static const uint32_t bits[4] = { 1, 2, 4, 8 };
    return vaddvq_u32(vbicq_u32(vld1q_u32(bits), vcgtq_f32(a, b)));
}
/* The lower of least and a, where a > b; else least. */
static ALWAYS_INLINE f32_vec f32_least_above(f32_vec a, f32_vec b, f32_vec least)
{
    return vbslq_f32(vcgtq_f32(a, b), vminq_f32(a, least), least);
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return vaddq_f32(a, b); }
static ALWAYS_INLINE float f32_sum(f32_vec a) { return vaddvq_f32(a); }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return vminq_f32(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return vmaxq_f32(a, b); }
static ALWAYS_INLINE float f32_lowest(f32_vec a) { return vminvq_f32(a); }
static ALWAYS_INLINE float f32_highest(f32_vec a) { return vmaxvq_f32(a); }
static ALWAYS_INLINE f32_vec f32_max_magnitude(f32_vec m, f32_vec a)
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
static ALWAYS_INLINE unsigned f64_more(f64_vec a, f64_vec b)
{
    uint64x2_t more = vcgtq_f64(a, b);
    return (unsigned)(vgetq_lane_u64(more, 0) & 1) | (unsigned)(vgetq_lane_u64(more, 1) & 2);
}

static ALWAYS_INLINE void f64_fold(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    uint64x2_t better = vcltq_f64(score, *best);
    *best = vbslq_f64(better, score, *best);
    *best_id = vbslq_f64(better, id, *best_id);
}

static ALWAYS_INLINE uint32_t f64_not_above(f64_vec a, f64_vec b)
{
    static const uint64_t bits[2] = { 1, 2 };
    return (uint32_t)vaddvq_u64(vbicq_u64(vld1q_u64(bits), vcgtq_f64(a, b)));
}
static ALWAYS_INLINE f64_vec f64_least_above(f64_vec a, f64_vec b, f64_vec least)
{
    return vbslq_f64(vcgtq_f64(a, b), vminq_f64(a, least), least);
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return vaddq_f64(a, b); }
static ALWAYS_INLINE double f64_sum(f64_vec a) { return vaddvq_f64(a); }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return vminq_f64(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return vmaxq_f64(a, b); }
static ALWAYS_INLINE double f64_lowest(f64_vec a) { return vminvq_f64(a); }
static ALWAYS_INLINE double f64_highest(f64_vec a) { return vmaxvq_f64(a); }
static ALWAYS_INLINE f64_vec f64_max_magnitude(f64_vec m, f64_vec a)
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

/* ---- wide: 8 doubles, the same arrangement on every instruction set ------------------ */
typedef struct { float64x2_t v[4]; } wide;
typedef int wide_mask;

#define WIDE_EACH(expr) do { for (int i = 0; i < 4; ++i) r.v[i] = (expr); } while (0)
static ALWAYS_INLINE wide wide_set1(double a) { wide r; WIDE_EACH(vdupq_n_f64(a)); return r; }
static ALWAYS_INLINE wide wide_zero(void) { return wide_set1(0.0); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { wide r; WIDE_EACH(vld1q_f64(p + 2 * i)); return r; }
static ALWAYS_INLINE wide wide_load_f32(const float *p)
{
    wide r;
    WIDE_EACH(vcvt_f64_f32(vld1_f32(p + 2 * i)));
    return r;
}
static ALWAYS_INLINE wide_mask wide_first(int count) { return count; }
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_mask first)
{
    float kept[8] = { 0 };
    for (int i = 0; i < first; ++i) kept[i] = p[i];
    return wide_load_f32(kept);
}
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_mask first)
{
    double kept[8] = { 0 };
    for (int i = 0; i < first; ++i) kept[i] = p[i];
    return wide_load_f64(kept);
}
static ALWAYS_INLINE void wide_store(double *p, wide a)
{
    for (int i = 0; i < 4; ++i) vst1q_f64(p + 2 * i, a.v[i]);
}
static ALWAYS_INLINE wide wide_add(wide a, wide b) { wide r; WIDE_EACH(vaddq_f64(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { wide r; WIDE_EACH(vsubq_f64(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { wide r; WIDE_EACH(vmulq_f64(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c) { wide r; WIDE_EACH(vfmaq_f64(c.v[i], a.v[i], b.v[i])); return r; }

/* Which lanes: those where a is b. */
typedef struct { uint64x2_t v[4]; } wide_choice;
static ALWAYS_INLINE wide_choice wide_equal(wide a, wide b)
{
    wide_choice r;
    WIDE_EACH(vceqq_f64(a.v[i], b.v[i]));
    return r;
}
static ALWAYS_INLINE wide wide_choose(wide a, wide b, wide_choice where)
{
    wide r;
    WIDE_EACH(vbslq_f64(where.v[i], b.v[i], a.v[i]));
    return r;
}
static ALWAYS_INLINE wide wide_add_where(wide a, wide b, wide_choice where)
{
    return wide_add(a, wide_choose(wide_zero(), b, where));
}

/* The sums of the lanes of four vectors, each added up as F(lanes_total) does. */
static ALWAYS_INLINE void wide_four_totals(const wide v[4], double *totals)
{
    for (int i = 0; i < 4; ++i) {
        const float64x2_t even = vaddq_f64(v[i].v[0], v[i].v[2]), odd = vaddq_f64(v[i].v[1], v[i].v[3]);
        totals[i] = vaddvq_f64(vaddq_f64(even, odd));
    }
}
#undef WIDE_EACH

#endif
