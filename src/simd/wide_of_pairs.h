/* `wide` as four vectors of two doubles: a part of the vocabularies of SSE2 and NEON, which define besides
 * f64_* the words f64_mask, f64_mul, f64_load_f32, f64_equal, f64_and and f64_select. */
typedef struct { f64_vec v[4]; } wide;
typedef struct { f64_mask v[4]; } wide_mask;
typedef int wide_prefix;

#define WIDE_EACH(expr) do { UNROLL for (int i = 0; i < 4; ++i) r.v[i] = (expr); } while (0)
static ALWAYS_INLINE wide wide_set1(double a) { wide r; WIDE_EACH(f64_set1(a)); return r; }
static ALWAYS_INLINE wide wide_zero(void) { return wide_set1(0.0); }
static ALWAYS_INLINE wide wide_load_f64(const double *p) { wide r; WIDE_EACH(f64_load(p + 2 * i)); return r; }
static ALWAYS_INLINE wide wide_load_f32(const float *p) { wide r; WIDE_EACH(f64_load_f32(p + 2 * i)); return r; }
static ALWAYS_INLINE wide_prefix wide_first(int count) { return count; }
static ALWAYS_INLINE wide wide_load_first_f32(const float *p, wide_prefix first)
{
    float kept[WIDE_LANES] = { 0 };
    for (int i = 0; i < first; ++i) kept[i] = p[i];
    return wide_load_f32(kept);
}
static ALWAYS_INLINE wide wide_load_first_f64(const double *p, wide_prefix first)
{
    double kept[WIDE_LANES] = { 0 };
    for (int i = 0; i < first; ++i) kept[i] = p[i];
    return wide_load_f64(kept);
}
static ALWAYS_INLINE void wide_store(double *p, wide a)
{
    UNROLL
    for (int i = 0; i < 4; ++i) f64_store(p + 2 * i, a.v[i]);
}
static ALWAYS_INLINE wide wide_add(wide a, wide b) { wide r; WIDE_EACH(f64_add(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_sub(wide a, wide b) { wide r; WIDE_EACH(f64_sub(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_mul(wide a, wide b) { wide r; WIDE_EACH(f64_mul(a.v[i], b.v[i])); return r; }
static ALWAYS_INLINE wide wide_fma(wide a, wide b, wide c)
{
    wide r;
    WIDE_EACH(f64_fma(a.v[i], b.v[i], c.v[i]));
    return r;
}
static ALWAYS_INLINE wide_mask wide_equal(wide a, wide b)
{
    wide_mask r;
    WIDE_EACH(f64_equal(a.v[i], b.v[i]));
    return r;
}
static ALWAYS_INLINE wide wide_select(wide a, wide b, wide_mask mask)
{
    wide r;
    WIDE_EACH(f64_select(a.v[i], b.v[i], mask.v[i]));
    return r;
}
static ALWAYS_INLINE wide wide_add_masked(wide a, wide b, wide_mask mask)
{
    wide r;
    WIDE_EACH(f64_add(a.v[i], f64_and(mask.v[i], b.v[i])));
    return r;
}
static ALWAYS_INLINE void wide_sum_lanes4(const wide v[4], double *totals)
{
    UNROLL
    for (int i = 0; i < 4; ++i) {
        const f64_vec even = f64_add(v[i].v[0], v[i].v[2]), odd = f64_add(v[i].v[1], v[i].v[3]);
        totals[i] = f64_sum_lanes(f64_add(even, odd));
    }
}
#undef WIDE_EACH
