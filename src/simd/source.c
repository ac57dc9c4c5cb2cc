#include "source.h"

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
