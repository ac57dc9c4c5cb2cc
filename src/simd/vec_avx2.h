/* The vector vocabulary in AVX2 and FMA: 16 registers of 256 bits. vec_baseline.h describes its words. */
#ifndef CKMEANS_VEC_AVX2_H
#define CKMEANS_VEC_AVX2_H
#include <immintrin.h>

#define VEC_NAME "avx2"

/* ---- float32: 8 lanes ---------------------------------------------------------------- */
typedef __m256 f32_vec;
enum { f32_LANES = 8, f32_TILE_VECS = 2, f32_GROUP = 6, f32_QUAD = 4 };

static ALWAYS_INLINE f32_vec f32_load(const float *p) { return _mm256_loadu_ps(p); }
static ALWAYS_INLINE void f32_store(float *p, f32_vec a) { _mm256_storeu_ps(p, a); }
static ALWAYS_INLINE f32_vec f32_set1(float a) { return _mm256_set1_ps(a); }
static ALWAYS_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm256_sub_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm256_fmadd_ps(a, b, c); }
/* One bit per lane, bit 0 for lane 0: a > b, false for NaN. */
static ALWAYS_INLINE unsigned f32_greater(f32_vec a, f32_vec b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

static ALWAYS_INLINE void f32_argmin_update(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    __m256 better = _mm256_cmp_ps(score, *best, _CMP_LT_OQ);
    *best = _mm256_min_ps(score, *best);
    *best_id = _mm256_blendv_ps(*best_id, id, better);
}

/* One bit per lane: not (a > b), true for NaN. */
static ALWAYS_INLINE uint32_t f32_not_greater(f32_vec a, f32_vec b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NGT_UQ));
}
/* Per lane: the lower of a and least if a > b, else least. */
static ALWAYS_INLINE f32_vec f32_min_if_greater(f32_vec a, f32_vec b, f32_vec least)
{
    return _mm256_blendv_ps(least, _mm256_min_ps(a, least), _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm256_add_ps(a, b); }
static ALWAYS_INLINE float f32_sum_lanes(f32_vec a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm256_min_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm256_max_ps(a, b); }
static ALWAYS_INLINE float f32_min_lane(f32_vec a)
{
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static ALWAYS_INLINE float f32_max_lane(f32_vec a) { return -f32_min_lane(f32_sub(f32_set1(0), a)); }

static ALWAYS_INLINE f32_vec f32_max_abs(f32_vec m, f32_vec a)
{
    __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(m), bits));
}

/* Four features of the rows p and p + step, one row per 128 bits. */
static ALWAYS_INLINE f32_vec f32_load_quads(const float *p, int64_t step)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
}

static ALWAYS_INLINE void f32_transpose_quads(f32_vec r[4])
{
    __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_shuffle_ps(a, c, 0x44);
    r[1] = _mm256_shuffle_ps(a, c, 0xee);
    r[2] = _mm256_shuffle_ps(b, d, 0x44);
    r[3] = _mm256_shuffle_ps(b, d, 0xee);
}

/* ---- float64: 4 lanes ---------------------------------------------------------------- */
typedef __m256d f64_vec;
enum { f64_LANES = 4, f64_TILE_VECS = 2, f64_GROUP = 6, f64_QUAD = 2 };

static ALWAYS_INLINE f64_vec f64_load(const double *p) { return _mm256_loadu_pd(p); }
static ALWAYS_INLINE void f64_store(double *p, f64_vec a) { _mm256_storeu_pd(p, a); }
static ALWAYS_INLINE f64_vec f64_set1(double a) { return _mm256_set1_pd(a); }
static ALWAYS_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm256_sub_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm256_fmadd_pd(a, b, c); }
static ALWAYS_INLINE unsigned f64_greater(f64_vec a, f64_vec b)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ));
}

static ALWAYS_INLINE void f64_argmin_update(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    __m256d better = _mm256_cmp_pd(score, *best, _CMP_LT_OQ);
    *best = _mm256_min_pd(score, *best);
    *best_id = _mm256_blendv_pd(*best_id, id, better);
}

static ALWAYS_INLINE uint32_t f64_not_greater(f64_vec a, f64_vec b)
{
    return (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_NGT_UQ));
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm256_add_pd(a, b); }
static ALWAYS_INLINE double f64_sum_lanes(f64_vec a)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm256_min_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm256_max_pd(a, b); }
static ALWAYS_INLINE double f64_min_lane(f64_vec a)
{
    __m128d s = _mm_min_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_min_sd(s, _mm_unpackhi_pd(s, s)));
}
static ALWAYS_INLINE double f64_max_lane(f64_vec a) { return -f64_min_lane(f64_sub(f64_set1(0), a)); }

static ALWAYS_INLINE f64_vec f64_max_abs(f64_vec m, f64_vec a)
{
    /* With the sign bit cleared, signed 64-bit order is the order of absolute values. */
    __m256i bits = _mm256_and_si256(_mm256_castpd_si256(a), _mm256_set1_epi64x(0x7fffffffffffffff));
    __m256i more = _mm256_cmpgt_epi64(bits, _mm256_castpd_si256(m));
    return _mm256_blendv_pd(m, _mm256_castsi256_pd(bits), _mm256_castsi256_pd(more));
}

static ALWAYS_INLINE f64_vec f64_load_quads(const double *p, int64_t step)
{
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + step), 1);
}

static ALWAYS_INLINE void f64_transpose_quads(f64_vec r[2])
{
    __m256d a = r[0], b = r[1];
    r[0] = _mm256_unpacklo_pd(a, b);
    r[1] = _mm256_unpackhi_pd(a, b);
}

/* ---- wide: WIDE_LANES doubles on every instruction set -------------------------------- */
typedef struct { __m256d lo, hi; } wide, wide_prefix;

static ALWAYS_INLINE wide wide_of(__m256d lo, __m256d hi) { wide r = { lo, hi }; return r; }
static ALWAYS_INLINE wide wide_zero(void) { return wide_of(_mm256_setzero_pd(), _mm256_setzero_pd()); }
static ALWAYS_INLINE wide wide_set1(double a) { return wide_of(_mm256_set1_pd(a), _mm256_set1_pd(a)); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { return wide_of(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)); }
static ALWAYS_INLINE wide wide_load_f32(const float *p)
{
    return wide_of(_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4)));
}
static ALWAYS_INLINE wide_prefix wide_first(int count)
{
    const __m256i n = _mm256_set1_epi64x(count);
    return wide_of(_mm256_castsi256_pd(_mm256_cmpgt_epi64(n, _mm256_setr_epi64x(0, 1, 2, 3))),
                   _mm256_castsi256_pd(_mm256_cmpgt_epi64(n, _mm256_setr_epi64x(4, 5, 6, 7))));
}
static ALWAYS_INLINE wide wide_and(wide a, wide_prefix m)
{
    return wide_of(_mm256_and_pd(a.lo, m.lo), _mm256_and_pd(a.hi, m.hi));
}
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_prefix first)
{
    return wide_and(wide_load_f32(p), first);
}
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_prefix first)
{
    return wide_and(wide_load_f64(p), first);
}
static ALWAYS_INLINE void wide_store(double *p, wide a) { _mm256_storeu_pd(p, a.lo); _mm256_storeu_pd(p + 4, a.hi); }
static ALWAYS_INLINE wide wide_add(wide a, wide b)
{
    return wide_of(_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi));
}
static ALWAYS_INLINE wide wide_sub(wide a, wide b)
{
    return wide_of(_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi));
}
static ALWAYS_INLINE wide wide_mul(wide a, wide b)
{
    return wide_of(_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi));
}
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c)
{
    return wide_of(_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi));
}

/* Lanes for which a == b. */
typedef wide wide_mask;
static ALWAYS_INLINE wide_mask wide_equal(wide a, wide b)
{
    return wide_of(_mm256_cmp_pd(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_EQ_OQ));
}
static ALWAYS_INLINE wide wide_select(wide a, wide b, wide_mask mask)
{
    return wide_of(_mm256_blendv_pd(a.lo, b.lo, mask.lo), _mm256_blendv_pd(a.hi, b.hi, mask.hi));
}
static ALWAYS_INLINE wide wide_add_masked(wide a, wide b, wide_mask mask)
{
    return wide_of(_mm256_add_pd(a.lo, _mm256_and_pd(b.lo, mask.lo)),
                   _mm256_add_pd(a.hi, _mm256_and_pd(b.hi, mask.hi)));
}

/* The sums of the lanes of four vectors, each in the order of sum_lanes. */
static ALWAYS_INLINE void wide_sum_lanes4(const wide v[4], double *totals)
{
    __m256d half[4];
    UNROLL
    for (int i = 0; i < 4; ++i) half[i] = _mm256_add_pd(v[i].lo, v[i].hi);
    const __m256d a = _mm256_unpacklo_pd(half[0], half[1]), b = _mm256_unpackhi_pd(half[0], half[1]);
    const __m256d c = _mm256_unpacklo_pd(half[2], half[3]), d = _mm256_unpackhi_pd(half[2], half[3]);
    const __m256d even = _mm256_add_pd(_mm256_permute2f128_pd(a, c, 0x20), _mm256_permute2f128_pd(a, c, 0x31));
    const __m256d odd = _mm256_add_pd(_mm256_permute2f128_pd(b, d, 0x20), _mm256_permute2f128_pd(b, d, 0x31));
    _mm256_storeu_pd(totals, _mm256_add_pd(even, odd));
}

#endif
