/* The vector vocabulary that every processor has: SSE2 on x86-64 (16 registers of 128 bits), one lane
 * elsewhere. fma is not fused here: the product is rounded before it is added.
 *
 * The words that do not explain themselves, for f32 and f64 alike; the bodies call them V(word):
 *   LANES               values of a vector
 *   TILE_VECS           vectors of points in a tile
 *   GROUP               centroids of a group: GROUP * TILE_VECS accumulators fit the registers, beside
 *                       TILE_VECS vectors of points and one of a centroid
 *   QUAD                values in 128 bits; load_quads loads them from as many rows as a vector holds,
 *                       transpose_quads turns QUAD such vectors into vectors of one feature each
 *   argmin_update       by lane, takes (score, id) if score < best, so that a NaN never wins
 *   max_abs(m, a)       by lane, the larger of m and |a| as unsigned integers, so that a NaN is largest
 *   min_lane, max_lane, sum_lanes      over the lanes of one vector
 * and of `wide`, WIDE_LANES doubles, which every instruction set adds up in the same order:
 *   wide_first(count)   a wide_prefix, the first lanes, for WIDE(load_first); the others become 0
 *   wide_equal          a wide_mask, for wide_select and wide_add_masked
 *   wide_sum_lanes4     the sums of the lanes of four vectors, each in the order of sum_lanes */
#ifndef CKMEANS_VEC_BASELINE_H
#define CKMEANS_VEC_BASELINE_H

#define VEC_NAME "baseline"
/* No copies of assign_leaf for 2 and 3 features: with narrow vectors they are three times as long. */
#define VEC_LOW_UNROLL

#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>

/* ---- float32: 4 lanes ---------------------------------------------------------------- */
typedef __m128 f32_vec;
enum { f32_LANES = 4, f32_TILE_VECS = 2, f32_GROUP = 5, f32_QUAD = 4 };

static ALWAYS_INLINE f32_vec f32_load(const float *p) { return _mm_loadu_ps(p); }
static ALWAYS_INLINE void f32_store(float *p, f32_vec a) { _mm_storeu_ps(p, a); }
static ALWAYS_INLINE f32_vec f32_set1(float a) { return _mm_set1_ps(a); }
static ALWAYS_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm_sub_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
/* One bit per lane, bit 0 for lane 0: a > b, false for NaN. */
static ALWAYS_INLINE unsigned f32_greater(f32_vec a, f32_vec b)
{
    return (unsigned)_mm_movemask_ps(_mm_cmpgt_ps(a, b));
}

static ALWAYS_INLINE void f32_argmin_update(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    __m128 better = _mm_cmplt_ps(score, *best);
    *best = _mm_min_ps(score, *best);
    *best_id = _mm_or_ps(_mm_and_ps(better, id), _mm_andnot_ps(better, *best_id));
}

/* One bit per lane: not (a > b), true for NaN. */
static ALWAYS_INLINE uint32_t f32_not_greater(f32_vec a, f32_vec b)
{
    return (uint32_t)_mm_movemask_ps(_mm_cmpngt_ps(a, b));
}
/* Per lane: the lower of a and least if a > b, else least. */
static ALWAYS_INLINE f32_vec f32_min_if_greater(f32_vec a, f32_vec b, f32_vec least)
{
    const __m128 above = _mm_cmpgt_ps(a, b);
    return _mm_or_ps(_mm_and_ps(above, _mm_min_ps(a, least)), _mm_andnot_ps(above, least));
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm_add_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm_min_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm_max_ps(a, b); }
static ALWAYS_INLINE float f32_min_lane(f32_vec a)
{
    const __m128 s = _mm_min_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static ALWAYS_INLINE float f32_max_lane(f32_vec a) { return -f32_min_lane(f32_sub(f32_set1(0), a)); }

static ALWAYS_INLINE float f32_sum_lanes(f32_vec a)
{
    const __m128 s = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static ALWAYS_INLINE f32_vec f32_max_abs(f32_vec m, f32_vec a)
{
    __m128i bits = _mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(0x7fffffff));
    __m128i more = _mm_cmpgt_epi32(bits, _mm_castps_si128(m));
    return _mm_castsi128_ps(_mm_or_si128(_mm_and_si128(more, bits), _mm_andnot_si128(more, _mm_castps_si128(m))));
}

static ALWAYS_INLINE f32_vec f32_load_quads(const float *p, int64_t step)
{
    (void)step;
    return _mm_loadu_ps(p);
}

static ALWAYS_INLINE void f32_transpose_quads(f32_vec r[4]) { _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]); }

/* ---- float64: 2 lanes ---------------------------------------------------------------- */
typedef __m128d f64_vec;
enum { f64_LANES = 2, f64_TILE_VECS = 2, f64_GROUP = 5, f64_QUAD = 2 };

static ALWAYS_INLINE f64_vec f64_load(const double *p) { return _mm_loadu_pd(p); }
static ALWAYS_INLINE void f64_store(double *p, f64_vec a) { _mm_storeu_pd(p, a); }
static ALWAYS_INLINE f64_vec f64_set1(double a) { return _mm_set1_pd(a); }
static ALWAYS_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm_sub_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
static ALWAYS_INLINE unsigned f64_greater(f64_vec a, f64_vec b)
{
    return (unsigned)_mm_movemask_pd(_mm_cmpgt_pd(a, b));
}

static ALWAYS_INLINE void f64_argmin_update(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    __m128d better = _mm_cmplt_pd(score, *best);
    *best = _mm_min_pd(score, *best);
    *best_id = _mm_or_pd(_mm_and_pd(better, id), _mm_andnot_pd(better, *best_id));
}

static ALWAYS_INLINE uint32_t f64_not_greater(f64_vec a, f64_vec b)
{
    return (uint32_t)_mm_movemask_pd(_mm_cmpngt_pd(a, b));
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm_add_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm_min_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm_max_pd(a, b); }
static ALWAYS_INLINE double f64_min_lane(f64_vec a) { return _mm_cvtsd_f64(_mm_min_sd(a, _mm_unpackhi_pd(a, a))); }
static ALWAYS_INLINE double f64_max_lane(f64_vec a) { return -f64_min_lane(f64_sub(f64_set1(0), a)); }
static ALWAYS_INLINE double f64_sum_lanes(f64_vec a) { return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a))); }

static ALWAYS_INLINE f64_vec f64_max_abs(f64_vec m, f64_vec a)
{
    /* SSE2 cannot compare 64-bit integers: take the maximum of the values and propagate NaN. */
    __m128d magnitude = _mm_andnot_pd(_mm_set1_pd(-0.0), a);
    __m128d larger = _mm_or_pd(_mm_max_pd(m, magnitude), _mm_cmpunord_pd(m, magnitude));
    return _mm_andnot_pd(_mm_set1_pd(-0.0), larger);
}

static ALWAYS_INLINE f64_vec f64_load_quads(const double *p, int64_t step)
{
    (void)step;
    return _mm_loadu_pd(p);
}

static ALWAYS_INLINE void f64_transpose_quads(f64_vec r[2])
{
    __m128d a = r[0], b = r[1];
    r[0] = _mm_unpacklo_pd(a, b);
    r[1] = _mm_unpackhi_pd(a, b);
}

/* ---- wide: four f64_vec ---------------------------------------------------------------- */
typedef __m128d f64_mask;
static ALWAYS_INLINE f64_vec f64_mul(f64_vec a, f64_vec b) { return _mm_mul_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_load_f32(const float *p) { return _mm_setr_pd(p[0], p[1]); }
static ALWAYS_INLINE f64_mask f64_equal(f64_vec a, f64_vec b) { return _mm_cmpeq_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_and(f64_mask mask, f64_vec a) { return _mm_and_pd(mask, a); }
static ALWAYS_INLINE f64_vec f64_select(f64_vec a, f64_vec b, f64_mask mask)
{
    return _mm_or_pd(_mm_andnot_pd(mask, a), _mm_and_pd(mask, b));
}
#include "wide_of_pairs.h"

#else /* any other processor: one lane; the compiler may vectorise loops over `wide` */
#include <string.h>

#define REAL float
#define BITS uint32_t
#define V(name) f32_##name
#include "scalar_body.h"
#undef REAL
#undef BITS
#undef V

#define REAL double
#define BITS uint64_t
#define V(name) f64_##name
#include "scalar_body.h"
#undef REAL
#undef BITS
#undef V

/* ---- wide: WIDE_LANES doubles on every instruction set -------------------------------- */
typedef struct { double v[WIDE_LANES]; } wide;
typedef int wide_prefix;

#define WIDE_EACH(expr) do { for (int i = 0; i < WIDE_LANES; ++i) r.v[i] = (expr); } while (0)
static ALWAYS_INLINE wide wide_set1(double a) { wide r; WIDE_EACH(a); return r; }
static ALWAYS_INLINE wide wide_zero(void) { return wide_set1(0.0); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { wide r; WIDE_EACH(p[i]); return r; }
static ALWAYS_INLINE wide wide_load_f32(const float *p) { wide r; WIDE_EACH(p[i]); return r; }
static ALWAYS_INLINE wide_prefix wide_first(int count) { return count; }
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_prefix first)
{
    wide r;
    WIDE_EACH(i < first ? p[i] : 0.0);
    return r;
}
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_prefix first)
{
    wide r;
    WIDE_EACH(i < first ? p[i] : 0.0);
    return r;
}
static ALWAYS_INLINE void wide_store(double *p, wide a) { for (int i = 0; i < WIDE_LANES; ++i) p[i] = a.v[i]; }
static ALWAYS_INLINE wide wide_add(wide a, wide b) { wide r; WIDE_EACH(a.v[i] + b.v[i]); return r; }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { wide r; WIDE_EACH(a.v[i] - b.v[i]); return r; }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { wide r; WIDE_EACH(a.v[i] * b.v[i]); return r; }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c) { wide r; WIDE_EACH(a.v[i] * b.v[i] + c.v[i]); return r; }

typedef struct { int v[WIDE_LANES]; } wide_mask;
static ALWAYS_INLINE wide_mask wide_equal(wide a, wide b) { wide_mask r; WIDE_EACH(a.v[i] == b.v[i]); return r; }
static ALWAYS_INLINE wide wide_select(wide a, wide b, wide_mask mask)
{
    wide r;
    WIDE_EACH(mask.v[i] ? b.v[i] : a.v[i]);
    return r;
}
static ALWAYS_INLINE wide wide_add_masked(wide a, wide b, wide_mask mask)
{
    return wide_add(a, wide_select(wide_zero(), b, mask));
}

static ALWAYS_INLINE void wide_sum_lanes4(const wide v[4], double *totals)
{
    for (int i = 0; i < 4; ++i) {
        const double *x = v[i].v;
        totals[i] = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
    }
}
#undef WIDE_EACH

#endif

#endif
