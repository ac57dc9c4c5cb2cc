/* The vocabulary of vectors that every machine has: SSE2 on x86-64, one lane elsewhere.
 * There is no fused multiply-add here: a product is rounded before it is added. */
#ifndef CKMEANS_VEC_BASELINE_H
#define CKMEANS_VEC_BASELINE_H

#define VEC_NAME "baseline"
#define VEC_COMPACT /* long kernels have no copies for 2 and 3 features: narrow vectors make them three times as long */

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
/* One bit a lane, the lowest for the first: a > b (not so for NaN). */
static ALWAYS_INLINE unsigned f32_more(f32_vec a, f32_vec b) { return (unsigned)_mm_movemask_ps(_mm_cmpgt_ps(a, b)); }

static ALWAYS_INLINE void f32_fold(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    __m128 better = _mm_cmplt_ps(score, *best);
    *best = _mm_min_ps(score, *best);
    *best_id = _mm_or_ps(_mm_and_ps(better, id), _mm_andnot_ps(better, *best_id));
}

/* One bit a lane: not a > b (so a NaN sets it). */
static ALWAYS_INLINE uint32_t f32_not_above(f32_vec a, f32_vec b)
{
    return (uint32_t)_mm_movemask_ps(_mm_cmpngt_ps(a, b));
}
/* The lower of least and a, where a > b; else least. */
static ALWAYS_INLINE f32_vec f32_least_above(f32_vec a, f32_vec b, f32_vec least)
{
    const __m128 above = _mm_cmpgt_ps(a, b);
    return _mm_or_ps(_mm_and_ps(above, _mm_min_ps(a, least)), _mm_andnot_ps(above, least));
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm_add_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm_min_ps(a, b); }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm_max_ps(a, b); }
static ALWAYS_INLINE float f32_lowest(f32_vec a)
{
    const __m128 s = _mm_min_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static ALWAYS_INLINE float f32_highest(f32_vec a) { return -f32_lowest(f32_sub(f32_set1(0), a)); }

static ALWAYS_INLINE float f32_sum(f32_vec a)
{
    const __m128 s = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static ALWAYS_INLINE f32_vec f32_max_magnitude(f32_vec m, f32_vec a)
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
static ALWAYS_INLINE unsigned f64_more(f64_vec a, f64_vec b) { return (unsigned)_mm_movemask_pd(_mm_cmpgt_pd(a, b)); }

static ALWAYS_INLINE void f64_fold(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    __m128d better = _mm_cmplt_pd(score, *best);
    *best = _mm_min_pd(score, *best);
    *best_id = _mm_or_pd(_mm_and_pd(better, id), _mm_andnot_pd(better, *best_id));
}

static ALWAYS_INLINE uint32_t f64_not_above(f64_vec a, f64_vec b)
{
    return (uint32_t)_mm_movemask_pd(_mm_cmpngt_pd(a, b));
}
static ALWAYS_INLINE f64_vec f64_least_above(f64_vec a, f64_vec b, f64_vec least)
{
    const __m128d above = _mm_cmpgt_pd(a, b);
    return _mm_or_pd(_mm_and_pd(above, _mm_min_pd(a, least)), _mm_andnot_pd(above, least));
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm_add_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm_min_pd(a, b); }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm_max_pd(a, b); }
static ALWAYS_INLINE double f64_lowest(f64_vec a) { return _mm_cvtsd_f64(_mm_min_sd(a, _mm_unpackhi_pd(a, a))); }
static ALWAYS_INLINE double f64_highest(f64_vec a) { return -f64_lowest(f64_sub(f64_set1(0), a)); }
static ALWAYS_INLINE double f64_sum(f64_vec a) { return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a))); }

static ALWAYS_INLINE f64_vec f64_max_magnitude(f64_vec m, f64_vec a)
{
    /* SSE2 compares no 64-bit integers: take the maximum of the values, and let a NaN stick. */
    __m128d magnitude = _mm_andnot_pd(_mm_set1_pd(-0.0), a);
    __m128d most = _mm_or_pd(_mm_max_pd(m, magnitude), _mm_cmpunord_pd(m, magnitude));
    return _mm_andnot_pd(_mm_set1_pd(-0.0), most);
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

/* ---- wide: 8 doubles, the same arrangement on every instruction set ------------------ */
typedef struct { __m128d v[4]; } wide, wide_choice;
typedef int wide_mask;

#define WIDE_EACH(expr) do { UNROLL for (int i = 0; i < 4; ++i) r.v[i] = (expr); } while (0)
static ALWAYS_INLINE wide wide_set1(double a) { wide r; WIDE_EACH(_mm_set1_pd(a)); return r; }
static ALWAYS_INLINE wide wide_zero(void) { wide r; WIDE_EACH(_mm_setzero_pd()); return r; }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { wide r; WIDE_EACH(_mm_loadu_pd(p + 2 * i)); return r; }
static ALWAYS_INLINE wide wide_load_f32(const float *p)
{
    wide r;
    WIDE_EACH(_mm_setr_pd(p[2 * i], p[2 * i + 1]));
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
    UNROLL
    for (int i = 0; i < 4; ++i) _mm_storeu_pd(p + 2 * i, a.v[i]);
}
static ALWAYS_INLINE wide wide_add(wide a, wide b) { wide r; WIDE_EACH(_mm_add_pd(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { wide r; WIDE_EACH(_mm_sub_pd(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { wide r; WIDE_EACH(_mm_mul_pd(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c) { return wide_add(wide_mul(a, b), c); }

/* Which lanes: those where a is b. */
static ALWAYS_INLINE wide_choice wide_equal(wide a, wide b)
{
    wide_choice r;
    WIDE_EACH(_mm_cmpeq_pd(a.v[i], b.v[i]));
    return r;
}
static ALWAYS_INLINE wide wide_choose(wide a, wide b, wide_choice where)
{
    wide r;
    WIDE_EACH(_mm_or_pd(_mm_andnot_pd(where.v[i], a.v[i]), _mm_and_pd(where.v[i], b.v[i])));
    return r;
}
static ALWAYS_INLINE wide wide_add_where(wide a, wide b, wide_choice where)
{
    wide r;
    WIDE_EACH(_mm_add_pd(a.v[i], _mm_and_pd(where.v[i], b.v[i])));
    return r;
}

/* The sums of the lanes of four vectors, each added up as F(lanes_total) does. */
static ALWAYS_INLINE void wide_four_totals(const wide v[4], double *totals)
{
    UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m128d even = _mm_add_pd(v[i].v[0], v[i].v[2]), odd = _mm_add_pd(v[i].v[1], v[i].v[3]);
        const __m128d both = _mm_add_pd(even, odd);
        totals[i] = _mm_cvtsd_f64(_mm_add_sd(both, _mm_unpackhi_pd(both, both)));
    }
}
#undef WIDE_EACH

#else /* any other processor: one lane, left to the compiler */
#include <string.h>

/* memcpy: indices go through these too, and the compiler may not take one type for another. */

typedef float f32_vec;
enum { f32_LANES = 1, f32_TILE_VECS = 4, f32_GROUP = 5, f32_QUAD = 1 };

static ALWAYS_INLINE f32_vec f32_load(const float *p)
{
    f32_vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
static ALWAYS_INLINE void f32_store(float *p, f32_vec a) { memcpy(p, &a, sizeof a); }
static ALWAYS_INLINE f32_vec f32_set1(float a) { return a; }
static ALWAYS_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return a - b; }
static ALWAYS_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return a * b + c; }
static ALWAYS_INLINE unsigned f32_more(f32_vec a, f32_vec b) { return a > b; }
static ALWAYS_INLINE void f32_fold(f32_vec score, f32_vec id, f32_vec *best, f32_vec *best_id)
{
    if (score < *best) { *best = score; *best_id = id; }
}
static ALWAYS_INLINE uint32_t f32_not_above(f32_vec a, f32_vec b) { return !(a > b); }
static ALWAYS_INLINE f32_vec f32_least_above(f32_vec a, f32_vec b, f32_vec least)
{
    return a > b && a < least ? a : least;
}
static ALWAYS_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return a + b; }
static ALWAYS_INLINE float f32_sum(f32_vec a) { return a; }
static ALWAYS_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return a < b ? a : b; }
static ALWAYS_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return a > b ? a : b; }
static ALWAYS_INLINE float f32_lowest(f32_vec a) { return a; }
static ALWAYS_INLINE float f32_highest(f32_vec a) { return a; }
static ALWAYS_INLINE f32_vec f32_max_magnitude(f32_vec m, f32_vec a)
{
    uint32_t bits, most;
    memcpy(&bits, &a, sizeof bits);
    memcpy(&most, &m, sizeof most);
    bits &= 0x7fffffffu;
    most = bits > most ? bits : most;
    memcpy(&m, &most, sizeof m);
    return m;
}
static ALWAYS_INLINE f32_vec f32_load_quads(const float *p, int64_t step) { (void)step; return *p; }
static ALWAYS_INLINE void f32_transpose_quads(f32_vec r[1]) { (void)r; }

typedef double f64_vec;
enum { f64_LANES = 1, f64_TILE_VECS = 4, f64_GROUP = 5, f64_QUAD = 1 };

static ALWAYS_INLINE f64_vec f64_load(const double *p)
{
    f64_vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
static ALWAYS_INLINE void f64_store(double *p, f64_vec a) { memcpy(p, &a, sizeof a); }
static ALWAYS_INLINE f64_vec f64_set1(double a) { return a; }
static ALWAYS_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return a - b; }
static ALWAYS_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return a * b + c; }
static ALWAYS_INLINE unsigned f64_more(f64_vec a, f64_vec b) { return a > b; }
static ALWAYS_INLINE void f64_fold(f64_vec score, f64_vec id, f64_vec *best, f64_vec *best_id)
{
    if (score < *best) { *best = score; *best_id = id; }
}
static ALWAYS_INLINE uint32_t f64_not_above(f64_vec a, f64_vec b) { return !(a > b); }
static ALWAYS_INLINE f64_vec f64_least_above(f64_vec a, f64_vec b, f64_vec least)
{
    return a > b && a < least ? a : least;
}
static ALWAYS_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return a + b; }
static ALWAYS_INLINE double f64_sum(f64_vec a) { return a; }
static ALWAYS_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return a < b ? a : b; }
static ALWAYS_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return a > b ? a : b; }
static ALWAYS_INLINE double f64_lowest(f64_vec a) { return a; }
static ALWAYS_INLINE double f64_highest(f64_vec a) { return a; }
static ALWAYS_INLINE f64_vec f64_max_magnitude(f64_vec m, f64_vec a)
{
    uint64_t bits, most;
    memcpy(&bits, &a, sizeof bits);
    memcpy(&most, &m, sizeof most);
    bits &= 0x7fffffffffffffffu;
    most = bits > most ? bits : most;
    memcpy(&m, &most, sizeof m);
    return m;
}
static ALWAYS_INLINE f64_vec f64_load_quads(const double *p, int64_t step) { (void)step; return *p; }
static ALWAYS_INLINE void f64_transpose_quads(f64_vec r[1]) { (void)r; }


/* ---- wide: 8 doubles, the same arrangement on every instruction set ------------------ */
typedef struct { double v[8]; } wide;
typedef int wide_mask;

#define WIDE_EACH(expr) do { for (int i = 0; i < 8; ++i) r.v[i] = (expr); } while (0)
static ALWAYS_INLINE wide wide_set1(double a) { wide r; WIDE_EACH(a); return r; }
static ALWAYS_INLINE wide wide_zero(void) { return wide_set1(0.0); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { wide r; WIDE_EACH(p[i]); return r; }
static ALWAYS_INLINE wide wide_load_f32(const float *p) { wide r; WIDE_EACH(p[i]); return r; }
static ALWAYS_INLINE wide_mask wide_first(int count) { return count; }
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_mask first)
{
    wide r;
    WIDE_EACH(i < first ? p[i] : 0.0);
    return r;
}
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_mask first)
{
    wide r;
    WIDE_EACH(i < first ? p[i] : 0.0);
    return r;
}
static ALWAYS_INLINE void wide_store(double *p, wide a) { for (int i = 0; i < 8; ++i) p[i] = a.v[i]; }
static ALWAYS_INLINE wide wide_add(wide a, wide b) { wide r; WIDE_EACH(a.v[i] + b.v[i]); return r; }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { wide r; WIDE_EACH(a.v[i] - b.v[i]); return r; }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { wide r; WIDE_EACH(a.v[i] * b.v[i]); return r; }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c) { wide r; WIDE_EACH(a.v[i] * b.v[i] + c.v[i]); return r; }

/* Which lanes: those where a is b. */
typedef struct { int v[8]; } wide_choice;
static ALWAYS_INLINE wide_choice wide_equal(wide a, wide b) { wide_choice r; WIDE_EACH(a.v[i] == b.v[i]); return r; }
static ALWAYS_INLINE wide wide_choose(wide a, wide b, wide_choice where)
{
    wide r;
    WIDE_EACH(where.v[i] ? b.v[i] : a.v[i]);
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
        const double *x = v[i].v;
        totals[i] = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
    }
}
#undef WIDE_EACH

#endif

#endif
