"""The caller's array, read block by block in the computing dtype."""
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer

import numpy as np

from ckmeans._runtime cimport allocate, kernels_for, release

cdef extern from "simd/source.h":
    int SOURCE_FLOAT16, SOURCE_FLOAT32, SOURCE_FLOAT64
    int SOURCE_INT8, SOURCE_INT16, SOURCE_INT32, SOURCE_INT64
    int SOURCE_UINT8, SOURCE_UINT16, SOURCE_UINT32, SOURCE_UINT64

cdef dict DTYPES = {
    "f2": SOURCE_FLOAT16, "f4": SOURCE_FLOAT32, "f8": SOURCE_FLOAT64,
    "i1": SOURCE_INT8, "i2": SOURCE_INT16, "i4": SOURCE_INT32, "i8": SOURCE_INT64,
    "u1": SOURCE_UINT8, "u2": SOURCE_UINT16, "u4": SOURCE_UINT32, "u8": SOURCE_UINT64, "b1": SOURCE_UINT8,
}
# dtype -> (enum source_dtype, whether of the other byte order)
cdef dict SOURCES = {
    np.dtype(order + name): (code, not np.dtype(order + name).isnative)
    for name, code in DTYPES.items() for order in "<>"
}


cdef int64_t block_at(const Rows *rows, int64_t first, int64_t count) noexcept nogil:
    cdef int64_t whole = (rows.in_place - first) // rows.kernels.tile * rows.kernels.tile
    return whole if 0 < whole < count else count


cdef const void *read_rows(const Rows *rows, int64_t first, int64_t count, void *scratch,
                           int64_t *stride) noexcept nogil:
    if first + count <= rows.in_place:
        stride[0] = rows.stride
        return rows.source.data + first * rows.source.row_stride
    stride[0] = rows.n
    ckmeans_read_rows(&rows.source, rows.kernels.itemsize, first, count, scratch)
    return scratch


cdef void read_row(const Rows *rows, int64_t row, void *values) noexcept nogil:
    ckmeans_read_rows(&rows.source, rows.kernels.itemsize, row, 1, values)


cdef bint out_of_range(const Rows *rows, uint64_t most) noexcept nogil:
    return most > rows.greatest or 0 < most < rows.least


cdef uint64_t bits_of(double magnitude, int itemsize) noexcept:
    cdef float single = <float>magnitude
    if itemsize == 4:
        return (<uint32_t *>&single)[0]
    return (<uint64_t *>&magnitude)[0]


cdef void set_safe_range(Rows *rows) noexcept:
    """Between these magnitudes no score, squared distance or weighted sum of them overflows, and
    the squares keep all their digits. (A score is at most 12 n M^2 for values up to M.)"""
    cdef int itemsize = rows.kernels.itemsize
    cdef double overflow = FLT_MAX if itemsize == 4 else DBL_MAX / max(rows.total_weight, 1)
    rows.greatest = bits_of(sqrt(overflow / 16 / <double>rows.n), itemsize)
    rows.least = bits_of(1e-15 if itemsize == 4 else 1e-145, itemsize)


cdef int64_t rows_in_place(const source *s, int itemsize, int view_itemsize) noexcept:
    """How many rows can be read where they lie, when 7 values past a row's end may be touched."""
    cdef bint same = s.dtype == (SOURCE_FLOAT32 if itemsize == 4 else SOURCE_FLOAT64) and not s.swapped
    if not same or s.column_stride != view_itemsize and s.n > 1:
        return 0
    if s.row_stride < s.n * itemsize or s.row_stride % itemsize or <size_t>s.data % itemsize:
        return 0
    return s.m - (7 * itemsize + s.row_stride - 1) // s.row_stride


cdef class Points:
    """A checked 2-D array, its weights (float64 or None), and the computing dtype's item size."""

    def __cinit__(self, X, int itemsize, const double[::1] weights=None):
        dtype = X.dtype
        PyObject_GetBuffer(X, &self.view, PyBUF_STRIDES)
        self.viewed = True
        cdef Rows *rows = &self.rows
        rows.source.data = <const char *>self.view.buf
        rows.source.m = rows.m = self.view.shape[0]
        rows.source.n = rows.n = self.view.shape[1]
        rows.source.row_stride = self.view.strides[0]
        rows.source.column_stride = self.view.strides[1]
        rows.source.dtype, rows.source.swapped = SOURCES[dtype]
        rows.kernels = kernels_for(itemsize)
        rows.in_place = rows_in_place(&rows.source, itemsize, self.view.itemsize)
        rows.stride = rows.source.row_stride // itemsize
        self.weights = weights
        rows.weights = NULL if weights is None else &weights[0]
        rows.total_weight = <double>rows.m
        if weights is not None:
            self.cumulative = np.cumsum(weights)
            rows.cumulative = &self.cumulative[0]
            rows.total_weight = self.cumulative[rows.m - 1]
        set_safe_range(rows)

    def __dealloc__(self):
        if self.viewed:
            PyBuffer_Release(&self.view)

    @property
    def itemsize(self):
        """Size of an item of the computing dtype."""
        return self.rows.kernels.itemsize

    @property
    def largest(self):
        """The largest magnitude whose squares are safe in the computing dtype."""
        return self.magnitude(self.rows.greatest)

    def bits(self, double magnitude):
        """The bits of a magnitude in the computing dtype."""
        return bits_of(magnitude, self.rows.kernels.itemsize)

    def magnitude(self, uint64_t most):
        """The value whose bits, in the computing dtype, are `most`."""
        cdef uint32_t single = <uint32_t>most
        if self.rows.kernels.itemsize == 4:
            return <double>(<float *>&single)[0]
        return (<double *>&most)[0]

    def out_of_range(self, uint64_t most):
        """Whether a largest magnitude of these bits leaves the dtype's safe range."""
        return out_of_range(&self.rows, most)

    def first_not_finite(self):
        """(row, column) of the first NaN or infinity, None where there is none."""
        cdef Rows *rows = &self.rows
        cdef int64_t row, column
        cdef double *values = <double *>allocate(rows.n * sizeof(double))
        cdef double value
        if values == NULL:
            raise MemoryError
        try:
            for row in range(rows.m):
                ckmeans_read_rows(&rows.source, 8, row, 1, values)
                for column in range(rows.n):
                    value = values[column]
                    if value - value != 0:
                        return row, column
            return None
        finally:
            release(values)
