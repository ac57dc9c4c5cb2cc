/* Float64 arithmetic on `wide` that every computing dtype shares: included once for each instruction set. */

/* The sum of the lanes, in the same order on every instruction set. */
static ALWAYS_INLINE double sum_lanes(wide sum)
{
    double lane[WIDE_LANES];
    wide_store(lane, sum);
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double dot(const double *a, const double *b, int64_t n)
{
    wide sum = wide_zero();
    int64_t l = 0;
    for (; l + WIDE_LANES <= n; l += WIDE_LANES) sum = wide_fma(wide_load_f64(a + l), wide_load_f64(b + l), sum);
    double total = sum_lanes(sum);
    for (; l < n; ++l) total += a[l] * b[l];
    return total;
}

/* row += factor * other (BLAS's axpy) */
static void add_multiple(double *row, double factor, const double *other, int64_t n)
{
    const wide f = wide_set1(factor);
    int64_t l = 0;
    for (; l + WIDE_LANES <= n; l += WIDE_LANES)
        wide_store(row + l, wide_fma(f, wide_load_f64(other + l), wide_load_f64(row + l)));
    for (; l < n; ++l) row[l] += factor * other[l];
}

static void orthonormalise(double *rows, int64_t count, int64_t n)
{
    const double dependent = 1e-10; /* what is left of a row's norm if only rounding errors are left */
    for (int64_t j = 0; j < count; ++j) {
        double *const row = rows + j * n;
        const double before = sqrt(dot(row, row, n));
        for (int pass = 0; pass < 2; ++pass) /* the second pass removes the rounding errors of the first */
            for (int64_t i = 0; i < j; ++i) add_multiple(row, -dot(rows + i * n, row, n), rows + i * n, n);
        const double after = sqrt(dot(row, row, n));
        const double scale = after > dependent * before ? 1 / after : 0;
        for (int64_t l = 0; l < n; ++l) row[l] = scale > 0 ? row[l] * scale : 0;
    }
}
