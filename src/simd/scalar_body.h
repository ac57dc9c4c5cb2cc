/* The vector vocabulary with one lane. The includer defines REAL, BITS and V(name). Loads and stores go
 * through memcpy because integer ids are loaded as values too (strict aliasing). */
typedef REAL V(vec);
enum { V(LANES) = 1, V(TILE_VECS) = 4, V(GROUP) = 5, V(QUAD) = 1 };

static ALWAYS_INLINE V(vec) V(load)(const REAL *p)
{
    V(vec) a;
    memcpy(&a, p, sizeof a);
    return a;
}
static ALWAYS_INLINE void V(store)(REAL *p, V(vec) a) { memcpy(p, &a, sizeof a); }
static ALWAYS_INLINE V(vec) V(set1)(REAL a) { return a; }
static ALWAYS_INLINE V(vec) V(add)(V(vec) a, V(vec) b) { return a + b; }
static ALWAYS_INLINE V(vec) V(sub)(V(vec) a, V(vec) b) { return a - b; }
static ALWAYS_INLINE V(vec) V(fma)(V(vec) a, V(vec) b, V(vec) c) { return a * b + c; }
static ALWAYS_INLINE V(vec) V(min)(V(vec) a, V(vec) b) { return a < b ? a : b; }
static ALWAYS_INLINE V(vec) V(max)(V(vec) a, V(vec) b) { return a > b ? a : b; }
static ALWAYS_INLINE unsigned V(greater)(V(vec) a, V(vec) b) { return a > b; }
static ALWAYS_INLINE uint32_t V(not_greater)(V(vec) a, V(vec) b) { return !(a > b); }
static ALWAYS_INLINE void V(argmin_update)(V(vec) score, V(vec) id, V(vec) *best, V(vec) *best_id)
{
    if (score < *best) { *best = score; *best_id = id; }
}
static ALWAYS_INLINE V(vec) V(min_if_greater)(V(vec) a, V(vec) b, V(vec) least)
{
    return a > b && a < least ? a : least;
}
static ALWAYS_INLINE REAL V(sum_lanes)(V(vec) a) { return a; }
static ALWAYS_INLINE REAL V(min_lane)(V(vec) a) { return a; }
static ALWAYS_INLINE REAL V(max_lane)(V(vec) a) { return a; }
static ALWAYS_INLINE V(vec) V(max_abs)(V(vec) m, V(vec) a)
{
    BITS bits, max_bits;
    memcpy(&bits, &a, sizeof bits);
    memcpy(&max_bits, &m, sizeof max_bits);
    bits &= (BITS)-1 >> 1;
    max_bits = bits > max_bits ? bits : max_bits;
    memcpy(&m, &max_bits, sizeof m);
    return m;
}
static ALWAYS_INLINE V(vec) V(load_quads)(const REAL *p, int64_t step) { (void)step; return *p; }
static ALWAYS_INLINE void V(transpose_quads)(V(vec) r[1]) { (void)r; }
