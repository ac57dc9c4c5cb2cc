/* Converts rows of dtype FROM, read by VALUE, to dtype TO. F is the function's name; FROM and F are
 * undefined at the end. */
static void F(const struct source *s, int64_t row0, int64_t count, TO *rows)
{
    const int dense = s->column_stride == (int64_t)sizeof(FROM) && !s->swapped;
    const int whole = dense && s->row_stride == s->n * (int64_t)sizeof(FROM);
    const int64_t n = whole ? count * s->n : s->n; /* rows without gaps are one long row */
    if (whole) count = 1;
    for (int64_t r = 0; r < count; ++r, rows += n) {
        const char *p = s->data + (row0 + r) * s->row_stride;
        if (dense) {
            for (int64_t l = 0; l < n; ++l) {
                FROM value;
                memcpy(&value, p + l * sizeof(FROM), sizeof value);
                rows[l] = (TO)VALUE(value);
            }
        } else {
            for (int64_t l = 0; l < n; ++l, p += s->column_stride) {
                FROM value;
                read_element(&value, p, sizeof value, s->swapped);
                rows[l] = (TO)VALUE(value);
            }
        }
    }
}
#undef FROM
#undef F
