#include "source.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* By memcpy, since an element may be unaligned. */
static inline void read_element(void *value, const char *p, size_t size, int swapped)
{
    if (!swapped) {
        memcpy(value, p, size);
        return;
    }
    for (size_t i = 0; i < size; ++i) ((char *)value)[i] = p[size - 1 - i];
}

/* IEEE binary16: moving exponent and fraction to their places in float32 gives a number 2^112 times too
 * small, also if it is subnormal; only infinity and NaN need their exponent restored. */
static inline float half_value(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= (half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bfloat16 is the upper half of a float32. */
static inline float bfloat16_value(uint16_t upper)
{
    const uint32_t bits = (uint32_t)upper << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define VALUE(x) bfloat16_value(x)
#define TO float
#define FROM uint16_t
#define F bfloat16_to_float32
#include "source_body.h"
#undef TO
#define TO double
#define FROM uint16_t
#define F bfloat16_to_float64
#include "source_body.h"
#undef TO
#undef VALUE
#define VALUE(x) half_value(x)
#define TO float
#define FROM uint16_t
#define F float16_to_float32
#include "source_body.h"
#undef TO
#define TO double
#define FROM uint16_t
#define F float16_to_float64
#include "source_body.h"
#undef VALUE
#define VALUE(x) (x)
#define FROM float
#define F float32_to_float64
#include "source_body.h"
#define FROM double
#define F float64_to_float64
#include "source_body.h"
#define FROM int8_t
#define F int8_to_float64
#include "source_body.h"
#define FROM int16_t
#define F int16_to_float64
#include "source_body.h"
#define FROM int32_t
#define F int32_to_float64
#include "source_body.h"
#define FROM int64_t
#define F int64_to_float64
#include "source_body.h"
#define FROM uint8_t
#define F uint8_to_float64
#include "source_body.h"
#define FROM uint16_t
#define F uint16_to_float64
#include "source_body.h"
#define FROM uint32_t
#define F uint32_to_float64
#include "source_body.h"
#define FROM uint64_t
#define F uint64_to_float64
#include "source_body.h"
#undef TO
#define TO float
#define FROM float
#define F float32_to_float32
#include "source_body.h"
#define FROM int8_t
#define F int8_to_float32
#include "source_body.h"
#define FROM uint8_t
#define F uint8_to_float32
#include "source_body.h"
#define FROM uint16_t
#define F uint16_to_float32
#include "source_body.h"

static void read_float32(const struct source *s, int64_t row0, int64_t count, float *rows)
{
    switch (s->dtype) {
    case SOURCE_BFLOAT16: bfloat16_to_float32(s, row0, count, rows); break;
    case SOURCE_FLOAT16: float16_to_float32(s, row0, count, rows); break;
    case SOURCE_FLOAT32: float32_to_float32(s, row0, count, rows); break;
    case SOURCE_INT8: int8_to_float32(s, row0, count, rows); break;
    case SOURCE_UINT8: uint8_to_float32(s, row0, count, rows); break;
    case SOURCE_UINT16: uint16_to_float32(s, row0, count, rows); break;
    }
}

static void read_float64(const struct source *s, int64_t row0, int64_t count, double *rows)
{
    switch (s->dtype) {
    case SOURCE_BFLOAT16: bfloat16_to_float64(s, row0, count, rows); break;
    case SOURCE_FLOAT16: float16_to_float64(s, row0, count, rows); break;
    case SOURCE_FLOAT32: float32_to_float64(s, row0, count, rows); break;
    case SOURCE_FLOAT64: float64_to_float64(s, row0, count, rows); break;
    case SOURCE_INT8: int8_to_float64(s, row0, count, rows); break;
    case SOURCE_INT16: int16_to_float64(s, row0, count, rows); break;
    case SOURCE_INT32: int32_to_float64(s, row0, count, rows); break;
    case SOURCE_INT64: int64_to_float64(s, row0, count, rows); break;
    case SOURCE_UINT8: uint8_to_float64(s, row0, count, rows); break;
    case SOURCE_UINT16: uint16_to_float64(s, row0, count, rows); break;
    case SOURCE_UINT32: uint32_to_float64(s, row0, count, rows); break;
    case SOURCE_UINT64: uint64_to_float64(s, row0, count, rows); break;
    }
}

/* Sparse rows are in the computing dtype already, so their items are copied as bytes. */
static void read_sparse(const struct source *s, size_t itemsize, int64_t row0, int64_t count, char *rows)
{
    memset(rows, 0, (size_t)(count * s->n) * itemsize);
    for (int64_t r = row0; r < row0 + count; ++r, rows += s->n * itemsize) {
        const int64_t end = index_at(s->indptr, s->int64_indices, r + 1);
        for (int64_t j = index_at(s->indptr, s->int64_indices, r); j < end; ++j)
            memcpy(rows + index_at(s->indices, s->int64_indices, j) * itemsize, s->data + j * itemsize, itemsize);
    }
}

int ckmeans_index_order(const struct source *s, int64_t stored)
{
    int order = SOURCE_SORTED;
    if (index_at(s->indptr, s->int64_indices, 0) != 0) return SOURCE_INVALID;
    for (int64_t r = 0; r < s->m; ++r) {
        const int64_t start = index_at(s->indptr, s->int64_indices, r);
        const int64_t end = index_at(s->indptr, s->int64_indices, r + 1);
        if (end < start || end > stored) return SOURCE_INVALID;
        for (int64_t before = -1, j = start; j < end; ++j) {
            const int64_t l = index_at(s->indices, s->int64_indices, j);
            if (l < 0 || l >= s->n) return SOURCE_INVALID;
            if (l <= before) order = SOURCE_UNSORTED;
            before = l;
        }
    }
    return order;
}

void ckmeans_read_rows(const struct source *source, int itemsize, int64_t row0, int64_t count, void *rows)
{
    if (source->indptr)
        read_sparse(source, (size_t)itemsize, row0, count, rows);
    else if (itemsize == 4)
        read_float32(source, row0, count, rows);
    else
        read_float64(source, row0, count, rows);
}

static inline double value_at(const void *row, const int itemsize, int64_t l)
{
    return itemsize == 4 ? ((const float *)row)[l] : ((const double *)row)[l];
}

/* Returns the sum of the squares of values times `scale`, in eight sums that fill vectors. */
static inline double sum_of_squares_in(const void *row, const int itemsize, int64_t n, double scale)
{
    double sum[8] = { 0 };
    int64_t l = 0;
    for (; l + 8 <= n; l += 8) {
        for (int i = 0; i < 8; ++i) {
            const double x = value_at(row, itemsize, l + i) * scale;
            sum[i] += x * x;
        }
    }
    for (; l < n; ++l) sum[0] += value_at(row, itemsize, l) * scale * (value_at(row, itemsize, l) * scale);
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

static double sum_of_squares(const void *row, int itemsize, int64_t n, double scale)
{
    return itemsize == 4 ? sum_of_squares_in(row, 4, n, scale) : sum_of_squares_in(row, 8, n, scale);
}

/* Of n stored values of a row of `length` features. The factor is a value of the dtype. It and the products are rounded by
 * half a unit in the last place at most, so a row that was brought to unit length has a factor of 1: it stays as it is. */
static double unit_factor(const void *row, int itemsize, int64_t n, int64_t length)
{
    const double tolerance = 2.5 * (itemsize == 4 ? FLT_EPSILON : DBL_EPSILON) + (double)(length + 4) * DBL_EPSILON;
    double square = sum_of_squares(row, itemsize, n, 1), max_abs = 0, factor;
    int exponent;
    if (fabs(square - 1) <= tolerance) return 1;
    if (itemsize == 4 && square > 0x1p-250 && square < 0x1p250) return (float)(1 / sqrt(square));
    if (itemsize == 8 && square > 0x1p-900 && square < 0x1p900) return 1 / sqrt(square);
    for (int64_t l = 0; l < n; ++l) {
        const double x = fabs(value_at(row, itemsize, l));
        if (!(x <= DBL_MAX)) return NAN;
        if (x > max_abs) max_abs = x;
    }
    if (max_abs == 0) return 0;
    if (itemsize == 4 || max_abs < 0x1p-1000 || max_abs > 0x1p1000) return INFINITY;
    frexp(max_abs, &exponent);
    factor = ldexp(1, -exponent);
    return factor / sqrt(sum_of_squares(row, itemsize, n, factor));
}

void ckmeans_unit_factors(const struct source *source, int itemsize, int64_t row0, int64_t count, double *factors,
                          void *row)
{
    for (int64_t r = 0; r < count; ++r) {
        if (source->indptr) {
            const int64_t from = index_at(source->indptr, source->int64_indices, row0 + r);
            const int64_t to = index_at(source->indptr, source->int64_indices, row0 + r + 1);
            factors[r] = unit_factor(source->data + from * itemsize, itemsize, to - from, source->n);
        } else {
            ckmeans_read_rows(source, itemsize, row0 + r, 1, row);
            factors[r] = unit_factor(row, itemsize, source->n, source->n);
        }
    }
}
