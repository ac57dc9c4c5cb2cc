/* The caller's array, as it lies in memory, and rows of it in the computing dtype. */
#ifndef CKMEANS_SOURCE_H
#define CKMEANS_SOURCE_H
#include <stdint.h>

enum source_dtype {
    SOURCE_FLOAT16, SOURCE_FLOAT32, SOURCE_FLOAT64,
    SOURCE_INT8, SOURCE_INT16, SOURCE_INT32, SOURCE_INT64,
    SOURCE_UINT8, SOURCE_UINT16, SOURCE_UINT32, SOURCE_UINT64
};

struct source {
    const char *data;
    int64_t m, n;
    int64_t row_stride, column_stride; /* in bytes, of any sign */
    int dtype;                         /* enum source_dtype */
    int swapped;                       /* 1: of the other byte order */
    /* Sparse rows (CSR) where indptr is not NULL: `data` holds their values in the computing
     * dtype, the strides and the dtype mean nothing. */
    const void *indices, *indptr;
    int wide_indices;                  /* 1: both of int64, 0: of int32 */
};

static inline int64_t index_at(const void *indices, int wide, int64_t i)
{
    return wide ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

/* What the indices of sparse rows are like. Nothing may read them before they are BROKEN no more. */
enum source_order { SOURCE_RISING, SOURCE_UNSORTED, SOURCE_BROKEN };
int ckmeans_order_of(const struct source *source, int64_t stored);

/* Rows row0 .. row0 + count - 1 in float32 (itemsize 4) or float64 (8), C order, into `rows`. */
void ckmeans_read_rows(const struct source *source, int itemsize, int64_t row0, int64_t count, void *rows);

#endif
