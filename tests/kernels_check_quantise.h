/* The check of `quantise`: a part of kernels_check_body.h. Codes, and what they leave out, in long double. */

/* Row r has values of its own magnitude, some of which underflow when they are squared. */
static REAL *F(rows_to_code)(const struct F(data) *d, REAL *shift)
{
    static const int powers[] = { 0, -74, 20, -90, 3, -70, 45, -60 };
    REAL *rows = allocate(d->m * d->n * (int64_t)sizeof(REAL));
    for (int64_t i = 0; i < d->m * d->n; ++i) {
        const int power = powers[i / d->n % 8] * (powers[i / d->n % 8] < 0 && sizeof(REAL) == 8 ? 5 : 1);
        rows[i] = (REAL)ldexp(d->rows[i / d->n * d->stride + i % d->n], power);
    }
    for (int64_t l = 0; l < d->n; ++l) shift[l] = (REAL)ldexp(random_value(), sizeof(REAL) == 8 ? -450 : -90);
    return rows;
}

static int F(is_coded)(const struct F(data) *d, const struct code_rows *to, int64_t r, const REAL *row,
                       const REAL *shift, long double factor, long double margin, int code_max)
{
    const struct code_stats *const stats = to->stats + r;
    const int8_t *const codes = to->codes + r * to->stride;
    /* Long double is no wider than double on some machines. */
    const long double up = 1 + 0x1p-40L, unit = sizeof(REAL) == 4 ? 0x1p-24L : 0x1p-53L;
    long double square = 0, coded = 0, lost = 0;
    int good = 1;
    for (int64_t l = 0; l < to->stride; ++l) {
        good &= codes[l] <= code_max && codes[l] >= -code_max && (l < d->n || codes[l] == 0);
        if (l >= d->n) continue;
        const long double y = ((long double)row[l] - shift[l]) * factor, q = (long double)stats->scale * codes[l];
        square += y * y, coded += q * q, lost += (y - q) * (y - q);
    }
    const long double norm = sqrtl(square), least = sqrtl((long double)d->n) * (sizeof(REAL) == 4 ? 0x1p-74L : 0x1p-536L);
    const long double found = sqrtl((long double)to->squares[r]) * factor;
    good &= found <= norm * (1 + 80 * unit) * up + least * factor && found >= norm * (1 - 80 * unit) / up - least * factor;
    good &= stats->length * up >= sqrtl(coded) && stats->error * up >= sqrtl(lost);
    return good && stats->residual * up >= margin * norm && stats->residual * up >= margin * sqrtl(coded);
}

static void F(check_quantise)(struct F(data) *d, int code_max, double factor)
{
    const int64_t n = d->n, m = d->m, stride = (n + 3) / 4 * 4;
    struct code_rows to = { allocate(m * stride), stride, allocate(m * (int64_t)sizeof(struct code_stats)),
                            allocate(m * 8) };
    REAL *shift = allocate(n * (int64_t)sizeof(REAL)), *rows = F(rows_to_code)(d, shift), max_abs = 0;
    const double margin = 0x1p-9;
    const uint64_t bits = d->k->quantise(rows, n, m, n, shift, factor, margin, code_max, &to);
    int good = 1;
    for (int64_t i = 0; i < m * n; ++i) max_abs = (REAL)fmax(max_abs, fabs(rows[i]));
    for (int64_t r = 0; r < m; ++r) good &= F(is_coded)(d, &to, r, rows + r * n, shift, factor, margin, code_max);
    BITS expected;
    memcpy(&expected, &max_abs, sizeof max_abs);
    expect(good && bits == expected, d->k, "quantise", m, n, d->K);
    release(to.codes), release(to.stats);
    release(to.squares), release(shift);
    release(rows);
}
