/* Vectors as 8-bit codes (a part of kernels_body.h). codes.h says what they are for. */

enum { F(CODED) = 64 }; /* values of a block: their sums are added up in double */

/* The first `count` values of a row minus the shift, zeros after them. */
static ALWAYS_INLINE void F(read_shifted)(const REAL *row, const REAL *shift, int64_t count, REAL *values)
{
    for (int i = 0; i < F(CODED); ++i) values[i] = 0;
    for (int64_t i = 0; i < count; ++i) values[i] = row[i] - shift[i];
}

/* Sums of squares of a vector of CODED values. */
static ALWAYS_INLINE double F(squares)(const REAL *values)
{
    V(vec) a = V(set1)(0), b = a;
    for (int i = 0; i < F(CODED); i += 2 * V(LANES)) {
        const V(vec) x = V(load)(values + i), y = V(load)(values + i + V(LANES));
        a = V(fma)(x, x, a);
        b = V(fma)(y, y, b);
    }
    return V(sum_lanes)(V(add)(a, b));
}

/* Codes of CODED values: OUT codes, as values too, and what they leave out. */
static ALWAYS_INLINE void F(code_block)(const REAL *values, REAL inverse, REAL scale, REAL *codes, REAL *rest)
{
    /* Adding and subtracting this rounds to an integer, halves to even. */
    const V(vec) round = V(set1)(sizeof(REAL) == 4 ? (REAL)0x1.8p23 : (REAL)0x1.8p52);
    for (int i = 0; i < F(CODED); i += V(LANES)) {
        const V(vec) x = V(load)(values + i);
        const V(vec) q = V(sub)(V(fma)(x, V(set1)(inverse), round), round);
        V(store)(codes + i, q);
        V(store)(rest + i, V(fma)(q, V(set1)(-scale), x));
    }
}

/* The largest magnitudes of a row and of the row minus the shift. OUT max_abs, INOUT all. Returns |y|^2. */
static double F(measure_row)(const REAL *row, const REAL *shift, int64_t n, REAL *max_abs, V(vec) *all)
{
    V(vec) largest = V(set1)(0);
    REAL values[F(CODED)], zeros[F(CODED)] = { 0 };
    double square = 0;
    for (int64_t l = 0; l < n; l += F(CODED)) {
        const int64_t count = n - l < F(CODED) ? n - l : F(CODED);
        F(read_shifted)(row + l, zeros, count, values);
        for (int i = 0; i < F(CODED); i += V(LANES)) *all = V(max_abs)(*all, V(load)(values + i));
        F(read_shifted)(row + l, shift + l, count, values);
        for (int i = 0; i < F(CODED); i += V(LANES)) largest = V(max_abs)(largest, V(load)(values + i));
        square += F(squares)(values);
    }
    *max_abs = V(max_lane)(largest);
    return square;
}

static uint64_t F(quantise)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift_,
                            double factor, double margin, int code_max, const struct code_rows *to)
{
    const double unit = sizeof(REAL) == 4 ? 0x1p-24 : 0x1p-53;
    const double up = 1 + 80 * unit, up32 = 1 + 0x1p-21; /* of a sum's root; of a float's rounding, and more */
    const double tiny = 0x1p-126;                        /* more than what underflows in float32 */
    /* More than what a norm lacks where squares underflow: up to half the least magnitude for each value. */
    const double underflow = (sizeof(REAL) == 4 ? 0x1p-74 : 0x1p-536) * sqrt((double)n);
    const REAL *row = rows, *shift = shift_;
    V(vec) all = V(set1)(0);
    for (int64_t i = 0; i < count; ++i, row += stride) {
        REAL max_abs, values[F(CODED)], codes[F(CODED)], rest[F(CODED)];
        int8_t *const out = to->codes + i * to->stride;
        struct code_stats *const stats = to->stats + i;
        const double square = F(measure_row)(row, shift, n, &max_abs, &all);
        const float scale = (float)(max_abs * factor / code_max);
        const int usable = scale >= 0x1p-120f && scale <= 0x1p40f; /* else all codes are 0, and e is |y| */
        const REAL step = usable ? (REAL)(scale / factor) : 0, inverse = usable ? (REAL)(factor / scale) : 0;
        double coded = 0, lost = usable ? 0 : square;
        memset(out, 0, (size_t)to->stride);
        for (int64_t l = 0; usable && l < n; l += F(CODED)) {
            const int64_t here = n - l < F(CODED) ? n - l : F(CODED);
            F(read_shifted)(row + l, shift + l, here, values);
            F(code_block)(values, inverse, step, codes, rest);
            coded += F(squares)(codes);
            lost += F(squares)(rest);
            for (int64_t j = 0; j < here; ++j) out[l + j] = (int8_t)(int)codes[j];
        }
        const double norm = (sqrt(square) * up + underflow) * factor, length = usable ? scale * sqrt(coded) * up : 0;
        stats->scale = usable ? scale : 0;
        stats->length = (float)(length * up32);
        const double error = (sqrt(lost) * up + underflow) * factor + 2 * unit * norm;
        stats->error = (float)(error * up32 + tiny);
        stats->residual = (float)(margin * (norm > length ? norm : length) * up32 + tiny);
        to->squares[i] = square;
    }
    return F(max_abs_bits)(all);
}
