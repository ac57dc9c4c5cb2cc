/* The vector vocabulary in AVX-512F: 32 registers of 512 bits. vec_baseline.h describes its words. */
#ifndef CKMEANS_VEC_AVX512_H
#define CKMEANS_VEC_AVX512_H
#include <immintrin.h>

#define VEC_NAME "avx512"
#define VEC_HAS_COMPRESS /* has compress_store, compress_store_ids and equal_ids */

/* ---- float32: 16 lanes --------------------------------------------------------------- */
typedef __m512 f32_vec;
enum { f32_LANES = 16, f32_TILE_VECS = 2, f32_GROUP = 12, f32_QUAD = 4 };

static ALWAYS_INLINE f32_vec f32_load(const float *p) { return _mm512_loadu_ps(p); }
static ALWAYS_INLINE void f32_store(float *p, f32_vec a) { _mm512_storeu_ps(p, a); }
static ALWAYS_INLINE f32_vec f32_set1(float a) { return _mm512_set1_ps(a); }
static ALWAYS_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm512_sub_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm512_fmadd_ps(a, b, c); }
/* One bit per lane, bit 0 for lane 0: a > b, false for NaN. */
static ALWAYS_INLINE unsigned f32_greater(f32_vec a, f32_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }

static ALWAYS_INLINE void f32_argmin_update(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    __mmask16 better = _mm512_cmp_ps_mask(score, *best, _CMP_LT_OQ);
    *best = _mm512_min_ps(score, *best);
    *best_id = _mm512_mask_mov_ps(*best_id, better, id);
}

/* One bit per lane: not (a > b), true for NaN. */
static ALWAYS_INLINE uint32_t f32_not_greater(f32_vec a, f32_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ); }
/* Per lane: the lower of a and least if a > b, else least. */
static ALWAYS_INLINE f32_vec f32_min_if_greater(f32_vec a, f32_vec b, f32_vec least)
{
    return _mm512_mask_min_ps(least, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), a, least);
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm512_add_ps(a, b); }
static ALWAYS_INLINE float f32_sum_lanes(f32_vec a) { return _mm512_reduce_add_ps(a); }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm512_min_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm512_max_ps(a, b); }
static ALWAYS_INLINE float f32_min_lane(f32_vec a) { return _mm512_reduce_min_ps(a); }
static ALWAYS_INLINE float f32_max_lane(f32_vec a) { return _mm512_reduce_max_ps(a); }

/* Stores the chosen lanes contiguously. Returns how many there are. */
static ALWAYS_INLINE int f32_compress_store(float *p, f32_vec a, unsigned chosen)
{
    const int count = count_bits(chosen);
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), _mm512_maskz_compress_ps((__mmask16)chosen, a));
    return count;
}
static ALWAYS_INLINE void f32_compress_store_ids(int32_t *p, const int32_t *ids, unsigned chosen)
{
    const __m512i kept = _mm512_maskz_compress_epi32((__mmask16)chosen, _mm512_loadu_si512(ids));
    _mm512_mask_storeu_epi32(p, (__mmask16)((1u << count_bits(chosen)) - 1), kept);
}
/* One bit per id: ids[i] == id. */
static ALWAYS_INLINE unsigned f32_equal_ids(const int32_t *ids, int32_t id)
{
    return _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(ids), _mm512_set1_epi32(id));
}

static ALWAYS_INLINE f32_vec f32_max_abs(f32_vec m, f32_vec a)
{
    __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(m), bits));
}

/* Four features of the rows p, p + step, p + 2 step, p + 3 step, one row per 128 bits. */
static ALWAYS_INLINE f32_vec f32_load_quads(const float *p, int64_t step)
{
    __m512 r = _mm512_castps128_ps512(_mm_loadu_ps(p));
    r = _mm512_insertf32x4(r, _mm_loadu_ps(p + step), 1);
    r = _mm512_insertf32x4(r, _mm_loadu_ps(p + 2 * step), 2);
    return _mm512_insertf32x4(r, _mm_loadu_ps(p + 3 * step), 3);
}

static ALWAYS_INLINE void f32_transpose_quads(f32_vec r[4])
{
    __m512 a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
    __m512 c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = _mm512_shuffle_ps(a, c, 0x44);
    r[1] = _mm512_shuffle_ps(a, c, 0xee);
    r[2] = _mm512_shuffle_ps(b, d, 0x44);
    r[3] = _mm512_shuffle_ps(b, d, 0xee);
}

/* ---- float64: 8 lanes ---------------------------------------------------------------- */
typedef __m512d f64_vec;
enum { f64_LANES = 8, f64_TILE_VECS = 2, f64_GROUP = 12, f64_QUAD = 2 };

static ALWAYS_INLINE f64_vec f64_load(const double *p) { return _mm512_loadu_pd(p); }
static ALWAYS_INLINE void f64_store(double *p, f64_vec a) { _mm512_storeu_pd(p, a); }
static ALWAYS_INLINE f64_vec f64_set1(double a) { return _mm512_set1_pd(a); }
static ALWAYS_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm512_sub_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm512_fmadd_pd(a, b, c); }
static ALWAYS_INLINE unsigned f64_greater(f64_vec a, f64_vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }

static ALWAYS_INLINE void f64_argmin_update(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    __mmask8 better = _mm512_cmp_pd_mask(score, *best, _CMP_LT_OQ);
    *best = _mm512_min_pd(score, *best);
    *best_id = _mm512_mask_mov_pd(*best_id, better, id);
}

static ALWAYS_INLINE uint32_t f64_not_greater(f64_vec a, f64_vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_NGT_UQ); }
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm512_add_pd(a, b); }
static ALWAYS_INLINE double f64_sum_lanes(f64_vec a) { return _mm512_reduce_add_pd(a); }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm512_min_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm512_max_pd(a, b); }
static ALWAYS_INLINE double f64_min_lane(f64_vec a) { return _mm512_reduce_min_pd(a); }
static ALWAYS_INLINE double f64_max_lane(f64_vec a) { return _mm512_reduce_max_pd(a); }

/* Stores the chosen lanes contiguously. Returns how many there are. */
static ALWAYS_INLINE int f64_compress_store(double *p, f64_vec a, unsigned chosen)
{
    const int count = count_bits(chosen);
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << count) - 1), _mm512_maskz_compress_pd((__mmask8)chosen, a));
    return count;
}
static ALWAYS_INLINE void f64_compress_store_ids(int32_t *p, const int32_t *ids, unsigned chosen)
{
    const __m512i kept = _mm512_maskz_compress_epi32((__mmask16)chosen, _mm512_maskz_loadu_epi32(0xff, ids));
    _mm512_mask_storeu_epi32(p, (__mmask16)((1u << count_bits(chosen)) - 1), kept);
}
/* One bit per id: ids[i] == id. */
static ALWAYS_INLINE unsigned f64_equal_ids(const int32_t *ids, int32_t id)
{
    return _mm512_cmpeq_epi32_mask(_mm512_maskz_loadu_epi32(0xff, ids), _mm512_set1_epi32(id)) & 0xff;
}

static ALWAYS_INLINE f64_vec f64_max_abs(f64_vec m, f64_vec a)
{
    __m512i bits = _mm512_and_si512(_mm512_castpd_si512(a), _mm512_set1_epi64(0x7fffffffffffffff));
    return _mm512_castsi512_pd(_mm512_max_epu64(_mm512_castpd_si512(m), bits));
}

static ALWAYS_INLINE f64_vec f64_load_quads(const double *p, int64_t step)
{
    __m512 r = _mm512_castpd_ps(_mm512_castpd128_pd512(_mm_loadu_pd(p)));
    r = _mm512_insertf32x4(r, _mm_castpd_ps(_mm_loadu_pd(p + step)), 1);
    r = _mm512_insertf32x4(r, _mm_castpd_ps(_mm_loadu_pd(p + 2 * step)), 2);
    return _mm512_castps_pd(_mm512_insertf32x4(r, _mm_castpd_ps(_mm_loadu_pd(p + 3 * step)), 3));
}

static ALWAYS_INLINE void f64_transpose_quads(f64_vec r[2])
{
    __m512d a = r[0], b = r[1];
    r[0] = _mm512_unpacklo_pd(a, b);
    r[1] = _mm512_unpackhi_pd(a, b);
}

/* ---- wide: WIDE_LANES doubles on every instruction set -------------------------------- */
typedef __m512d wide;
typedef __mmask8 wide_prefix;

static ALWAYS_INLINE wide wide_zero(void) { return _mm512_setzero_pd(); }
static ALWAYS_INLINE wide wide_set1(double a) { return _mm512_set1_pd(a); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { return _mm512_loadu_pd(p); }
static ALWAYS_INLINE wide wide_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
static ALWAYS_INLINE wide_prefix wide_first(int count) { return (wide_prefix)((1u << count) - 1); }
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_prefix first)
{
    return _mm512_maskz_mov_pd(first, _mm512_loadu_pd(p));
}
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_prefix first)
{
    return _mm512_maskz_cvtps_pd(first, _mm256_loadu_ps(p));
}
static ALWAYS_INLINE void wide_store(double *p, wide a) { _mm512_storeu_pd(p, a); }
static ALWAYS_INLINE wide wide_add(wide a, wide b) { return _mm512_add_pd(a, b); }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { return _mm512_sub_pd(a, b); }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { return _mm512_mul_pd(a, b); }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c) { return _mm512_fmadd_pd(a, b, c); }

/* Lanes for which a == b. */
typedef __mmask8 wide_mask;
static ALWAYS_INLINE wide_mask wide_equal(wide a, wide b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
static ALWAYS_INLINE wide wide_select(wide a, wide b, wide_mask mask) { return _mm512_mask_mov_pd(a, mask, b); }
static ALWAYS_INLINE wide wide_add_masked(wide a, wide b, wide_mask mask) { return _mm512_mask_add_pd(a, mask, a, b); }

/* The sums of the lanes of four vectors, each in the order of sum_lanes. */
static ALWAYS_INLINE void wide_sum_lanes4(const wide v[4], double *totals)
{
    __m256d half[4];
    UNROLL
    for (int i = 0; i < 4; ++i) half[i] = _mm256_add_pd(_mm512_castpd512_pd256(v[i]), _mm512_extractf64x4_pd(v[i], 1));
    const __m256d a = _mm256_unpacklo_pd(half[0], half[1]), b = _mm256_unpackhi_pd(half[0], half[1]);
    const __m256d c = _mm256_unpacklo_pd(half[2], half[3]), d = _mm256_unpackhi_pd(half[2], half[3]);
    const __m256d even = _mm256_add_pd(_mm256_permute2f128_pd(a, c, 0x20), _mm256_permute2f128_pd(a, c, 0x31));
    const __m256d odd = _mm256_add_pd(_mm256_permute2f128_pd(b, d, 0x20), _mm256_permute2f128_pd(b, d, 0x31));
    _mm256_storeu_pd(totals, _mm256_add_pd(even, odd));
}

#endif
