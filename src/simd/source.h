/* The caller's array, as it is in memory, and its conversion to rows of the computing dtype. */
#ifndef CKMEANS_SOURCE_H
#define CKMEANS_SOURCE_H
#include <stdint.h>

enum source_dtype {
    SOURCE_BFLOAT16,
    SOURCE_FLOAT16,
    SOURCE_FLOAT32,
    SOURCE_FLOAT64,
    SOURCE_INT8,
    SOURCE_INT16,
    SOURCE_INT32,
    SOURCE_INT64,
    SOURCE_UINT8,
    SOURCE_UINT16,
    SOURCE_UINT32,
    SOURCE_UINT64
};

struct source {
    const char *data;
    int64_t m, n;
    int64_t row_stride, column_stride; /* in bytes, of either sign */
    int dtype;                         /* enum source_dtype */
    int swapped;                       /* 1: not in native byte order */
    /* CSR if indptr is not NULL: `data` holds the nonzeros in the computing dtype; strides and dtype
     * are unused. */
    const void *indices, *indptr;
    int int64_indices;     /* 1: both are int64, 0: int32 */
    const double *factors; /* m: rows are used times these; NULL: as they are */
};

static inline int64_t index_at(const void *indices, int int64_indices, int64_t i)
{
    return int64_indices ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

/* Checks the indices of sparse rows. IN source, stored: how many nonzeros its arrays hold. Returns
 *   SOURCE_SORTED    valid, the columns of each row strictly rising
 *   SOURCE_UNSORTED  valid, columns in any order or repeated
 *   SOURCE_INVALID   out of bounds: no other function may read these rows */
enum source_order { SOURCE_SORTED, SOURCE_UNSORTED, SOURCE_INVALID };
int ckmeans_index_order(const struct source *source, int64_t stored);

/* Converts rows row0 .. row0 + count - 1 to float32 (itemsize 4) or float64 (8), without their factors.
 * IN source; OUT rows (count contiguous rows of n values). */
void ckmeans_read_rows(const struct source *source, int itemsize, int64_t row0, int64_t count, void *rows);

/* Finds the factors that bring rows to unit length: 1 for a row that has it, but for rounding to its dtype; 0 for a
 * row of zeros; infinity where the factor or its inverse leaves the normal numbers; NaN where a value is NaN or infinite.
 * IN source; OUT factors (count); SCRATCH row (n values; none for sparse rows). */
void ckmeans_unit_factors(const struct source *source, int itemsize, int64_t row0, int64_t count, double *factors,
                          void *row);

#endif
