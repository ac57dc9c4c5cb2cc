"""The caller's points, read block by block in the computing dtype.

They lie in memory, as an array of any strides or as sparse rows, or they come in chunks from Python, of which a
window of rows is copied at a time. A caller has the rows loaded before it reads them, so it need not know which it is.
"""
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer

import numpy as np

from ckmeans._runtime cimport CallContext, Poll, allocate, is_stopped, kernels_for, release, source

cdef extern from "simd/source.h":
    int SOURCE_BFLOAT16, SOURCE_FLOAT16, SOURCE_FLOAT32, SOURCE_FLOAT64
    int SOURCE_INT8, SOURCE_INT16, SOURCE_INT32, SOURCE_INT64
    int SOURCE_UINT8, SOURCE_UINT16, SOURCE_UINT32, SOURCE_UINT64
    int SOURCE_SORTED, SOURCE_UNSORTED, SOURCE_INVALID
    int ckmeans_index_order(const source *source, int64_t stored) nogil

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
# NumPy has no bfloat16 of its own: its bits under a name of one field, so that nothing takes them for whole numbers.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])
SOURCES[BFLOAT16] = (SOURCE_BFLOAT16, False)


cdef int64_t WINDOW_BYTES = 16 << 20  # rows of some ms of work; no result depends on it


def set_window_bytes(int64_t size):
    """Change the window size of points that are opened from now on; returns what it was."""
    global WINDOW_BYTES
    before = WINDOW_BYTES
    WINDOW_BYTES = size
    return before


# ---- reading -----------------------------------------------------------------------------------

cdef int64_t block_at(const Rows *rows, int64_t first, int64_t count) noexcept nogil:
    cdef int64_t whole = (rows.in_place - first) // rows.kernels.tile * rows.kernels.tile
    return whole if 0 < whole < count else count


cdef int ensure_loaded(const Rows *rows, int64_t first, int64_t count, Poll *p) noexcept nogil:
    cdef const ChunkWindow *window = rows.window
    if window == NULL:
        return 0
    if window.first <= first and min(first + count, rows.m) <= window.first + window.count:
        return is_stopped(p)
    return fetch(rows, first, count, p)


cdef int fetch(const Rows *rows, int64_t first, int64_t count, Poll *p) noexcept with gil:
    if is_stopped(p):  # the error of an earlier window counts
        return 1
    try:
        (<Points>rows.window.owner).load(first, count)
    except BaseException as error:
        (<CallContext>p.context).stop(error)
    return is_stopped(p)


cdef const void *read_rows(const Rows *rows, int64_t first, int64_t count, void *scratch,
                           int64_t *stride) noexcept nogil:
    cdef const double *factors = NULL if rows.source.factors == NULL else rows.source.factors + first
    cdef const void *values = scratch
    stride[0] = rows.n
    if rows.window != NULL:
        values = rows.window.rows + (first - rows.window.first) * rows.n * rows.kernels.itemsize
        factors = rows.window.factors + (first - rows.window.first) if rows.unit else NULL
    elif first + count <= rows.in_place:
        stride[0] = rows.stride
        values = rows.source.data + first * rows.source.row_stride
    else:
        ckmeans_read_rows(&rows.source, rows.kernels.itemsize, first, count, scratch)
    if factors == NULL:
        return values
    rows.kernels.scale_rows(values, stride[0], count, rows.n, factors, scratch)
    stride[0] = rows.n
    return scratch


cdef const void *read_listed_rows(const Rows *rows, int64_t first, int64_t count, const int32_t *listed,
                                  int64_t n_listed, void *scratch, int64_t *stride) noexcept nogil:
    cdef int64_t size = rows.n * rows.kernels.itemsize, i
    if rows.source.factors == NULL:
        return read_rows(rows, first, count, scratch, stride)
    for i in range(n_listed):
        read_row(rows, first + listed[i], <char *>scratch + listed[i] * size)
    stride[0] = rows.n
    return scratch


cdef void read_row(const Rows *rows, int64_t row, void *values) noexcept nogil:
    cdef int64_t stride
    cdef const void *read = read_rows(rows, row, 1, values, &stride)
    if read != values:
        memcpy(values, read, rows.n * rows.kernels.itemsize)


cdef Rows some_rows(const Rows *rows, int64_t first, int64_t count) noexcept nogil:
    cdef Rows some = rows[0]
    some.source.data += first * rows.source.row_stride
    if some.source.factors != NULL:
        some.source.factors += first
    some.m = some.source.m = count
    some.in_place = max(min(rows.in_place - first, count), 0)
    some.weights = some.cumulative = NULL
    some.total_weight = count
    some.stored = <double>count * rows.n
    return some


cdef void fetch_row(const Rows *rows, int64_t row, void *values, Poll *p) noexcept nogil:
    if not ensure_loaded(rows, row, 1, p):
        read_row(rows, row, values)


cdef void fetch_rows(const Rows *rows, const int64_t *wanted, int64_t count, void *values, Poll *p) noexcept nogil:
    """From one window to the next that holds a wanted row; memory is one window."""
    cdef int64_t at = 0, end = rows.m, size = rows.n * rows.kernels.itemsize, i, following
    while not is_stopped(p):
        following = rows.m
        for i in range(count):
            if at <= wanted[i] < following:
                following = wanted[i]
        if following == rows.m or ensure_loaded(rows, following, 1, p):
            return
        if rows.window != NULL:
            end = rows.window.first + rows.window.count
        for i in range(count):
            if following <= wanted[i] < end:
                read_row(rows, wanted[i], <char *>values + i * size)
        at = end


class OutOfRange(Exception):
    """The values leave the safe range of the computing dtype; args[0]: the largest magnitude."""


# ---- opening -----------------------------------------------------------------------------------


cdef bint out_of_range(const Rows *rows, uint64_t max_abs_bits) noexcept nogil:
    return max_abs_bits > rows.max_safe_bits or 0 < max_abs_bits < rows.min_safe_bits


cdef uint64_t bits_of(double magnitude, int itemsize) noexcept nogil:
    cdef float single = <float>magnitude
    cdef uint32_t single_bits
    cdef uint64_t bits
    if itemsize == 4:
        memcpy(&single_bits, &single, 4)
        return single_bits
    memcpy(&bits, &magnitude, 8)
    return bits


cdef double magnitude_of(uint64_t bits, int itemsize) noexcept nogil:
    cdef uint32_t single_bits = <uint32_t>bits
    cdef float single
    cdef double magnitude
    if itemsize == 4:
        memcpy(&single, &single_bits, 4)
        return single
    memcpy(&magnitude, &bits, 8)
    return magnitude


cdef int check_range(const Rows *rows, uint64_t max_abs_bits) except -1:
    if out_of_range(rows, max_abs_bits):
        raise OutOfRange(magnitude_of(max_abs_bits, rows.kernels.itemsize))
    return 0


cdef void set_safe_range(Rows *rows) noexcept nogil:
    """Between these magnitudes no score, squared distance or weighted sum of them overflows, and
    the squares keep all their digits. (A score is at most 12 n M^2 for values up to M.)"""
    cdef int itemsize = rows.kernels.itemsize
    cdef double overflow = FLT_MAX if itemsize == 4 else DBL_MAX / max(rows.total_weight, 1)
    rows.max_safe_bits = bits_of(sqrt(overflow / 16 / <double>rows.n), itemsize)
    # Of light points the sums of squares are smaller than the squares.
    rows.min_safe_bits = bits_of(1e-15 if itemsize == 4 else 1e-145 / sqrt(min(rows.total_weight, 1)), itemsize)


cdef int64_t rows_in_place(const source *s, int itemsize) noexcept nogil:
    """How many rows can be read where they lie, when 7 values past a row's end may be touched."""
    cdef bint same = s.dtype == (SOURCE_FLOAT32 if itemsize == 4 else SOURCE_FLOAT64) and not s.swapped
    if not same or s.column_stride != itemsize and s.n > 1:
        return 0
    if s.row_stride < s.n * itemsize or s.row_stride % itemsize or <size_t>s.data % itemsize:
        return 0
    return s.m - (7 * itemsize + s.row_stride - 1) // s.row_stride


cdef void view_source(Rows *rows, int itemsize) noexcept nogil:
    """Fill in how the rows of a source that is an array are read."""
    rows.kernels = kernels_for(itemsize)
    rows.m, rows.n = rows.source.m, rows.source.n
    rows.stored = <double>rows.m * rows.n
    rows.in_place = rows_in_place(&rows.source, itemsize)
    rows.stride = rows.source.row_stride // itemsize


cdef int open_source(X, Py_buffer *view, source *s) except -1:
    """See an array as a source, until the view is released."""
    s.dtype, s.swapped = SOURCES[X.dtype]
    PyObject_GetBuffer(X, view, PyBUF_STRIDES)
    s.data = <const char *>view.buf
    s.m, s.n = view.shape[0], view.shape[1]
    s.row_stride, s.column_stride = view.strides[0], view.strides[1]
    s.indptr = s.factors = NULL
    return 0


cdef const void *address_of(array):
    """Of a C-contiguous array that the caller keeps."""
    return <const void *><size_t>array.__array_interface__["data"][0]


cdef object open_sparse(X, int itemsize, source *s):
    """See the rows of a CSR as a source; returns what is to be kept as long as it is read."""
    values = X.values(itemsize)
    s.data = <const char *>address_of(values)
    s.indices, s.indptr, s.factors = address_of(X.indices), address_of(X.indptr), NULL
    s.m, s.n = X.shape
    s.int64_indices = X.indices.dtype.itemsize == 8
    return X, values


cdef uint64_t max_abs_bits_of(const void *values, int64_t count, int itemsize) noexcept nogil:
    """Bits of the largest magnitude: without their signs, floats are in the order of their bits."""
    cdef const uint32_t *single = <const uint32_t *>values
    cdef const uint64_t *double_ = <const uint64_t *>values
    cdef uint32_t largest = 0, bits
    cdef uint64_t largest_wide = 0, bits_wide
    cdef int64_t i
    if itemsize == 4:
        for i in range(count):
            bits = single[i] & <uint32_t>0x7fffffff
            largest = bits if bits > largest else largest
        return largest
    for i in range(count):
        bits_wide = double_[i] & <uint64_t>0x7fffffffffffffff
        largest_wide = bits_wide if bits_wide > largest_wide else largest_wide
    return largest_wide


def order_of(X):
    """Of a CSR's indices: "rising" in every row, "unsorted" (or repeated) or "broken"."""
    cdef source s
    cdef int64_t stored = min(len(X.indices), len(X.data))
    cdef int order
    open_sparse(X, X.dtype.itemsize, &s)
    with nogil:
        order = ckmeans_index_order(&s, stored)
    return {SOURCE_SORTED: "rising", SOURCE_UNSORTED: "unsorted", SOURCE_INVALID: "broken"}[order]


cdef int replace(void **memory, int64_t used, int64_t size) except -1:
    """Move to a block of another size; `used` bytes are kept."""
    cdef void *larger = allocate(size)
    if larger == NULL:
        raise MemoryError
    if used > 0:
        memcpy(larger, memory[0], used)
    release(memory[0])
    memory[0] = larger
    return 0


cdef class Points:
    """Checked points (a 2-D array, or what _inputs.py makes of others), their weights (float64 or
    None), the computing dtype's item size, and whether they are to be read at unit length."""

    def __cinit__(self, X, int itemsize, const double[::1] weights=None, bint unit=False):
        cdef Rows *rows = &self.rows
        rows.kernels = kernels_for(itemsize)
        rows.unit = unit
        rows.m, rows.n = X.shape
        rows.stored = <double>rows.m * rows.n
        rows.value_bytes = X.dtype.itemsize
        if isinstance(X, np.ndarray):
            open_source(X, &self.view, &rows.source)
            self.viewed = True
            view_source(rows, itemsize)
        elif hasattr(X, "indptr"):
            self.held = open_sparse(X, itemsize, &rows.source)
            rows.stored = <double>X.size
            rows.max_abs_bits = bits_of(1, itemsize) if unit else max_abs_bits_of(rows.source.data, X.size, itemsize)
        else:
            self.chunks = X
            self.window.owner = <PyObject *>self
            self.window.capacity = min(max(WINDOW_BYTES // (rows.n * itemsize), 1), rows.m)
            rows.window = &self.window
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
        release(self.window.rows)
        release(self.window.factors)

    cdef int load(self, int64_t first, int64_t count) except -1:
        """Fill the window from row `first` on; rows that it holds already only move."""
        cdef ChunkWindow *window = &self.window
        cdef int64_t size = self.rows.n * self.rows.kernels.itemsize, row = first, end
        self.grow_window(count)
        end = min(first + window.capacity, self.rows.m)
        if window.first <= first < window.first + window.count:
            row = window.first + window.count
            memmove(window.rows, window.rows + (first - window.first) * size, (row - first) * size)
            if window.factors != NULL:
                memmove(window.factors, window.factors + (first - window.first), (row - first) * sizeof(double))
        window.first = first
        window.count = row - first
        while window.count < end - first:
            self.seek_chunk(first + window.count)
            self.copy_chunk(end)
        if end == self.rows.m:
            next(self.iterator, None)  # says so if there is more
        return 0

    cdef int grow_window(self, int64_t count) except -1:
        cdef ChunkWindow *window = &self.window
        cdef int64_t size = self.rows.n * self.rows.kernels.itemsize
        if window.rows != NULL and count <= window.capacity:
            return 0
        window.capacity = min(max(window.capacity, count), self.rows.m)
        replace(<void **>&window.rows, window.count * size, window.capacity * size + 64)
        if self.rows.unit:
            replace(<void **>&window.factors, window.count * sizeof(double), window.capacity * sizeof(double))
        return 0

    cdef int find_window_factors(self, int64_t count) except -1:
        """Find the factors of the `count` rows that were copied to the end of the window."""
        cdef ChunkWindow *window = &self.window
        cdef int itemsize = self.rows.kernels.itemsize
        cdef double *factors = window.factors + window.count
        cdef source copied
        memset(&copied, 0, sizeof(source))
        copied.data, copied.m, copied.n = window.rows + window.count * self.rows.n * itemsize, count, self.rows.n
        copied.dtype = SOURCE_FLOAT32 if itemsize == 4 else SOURCE_FLOAT64
        copied.row_stride, copied.column_stride = self.rows.n * itemsize, itemsize
        cdef void *row = allocate(self.rows.n * itemsize)
        if row == NULL:
            raise MemoryError
        with nogil:
            ckmeans_unit_factors(&copied, itemsize, 0, count, factors, row)
            release(row)
        return check_factors(factors, count, window.first + window.count)

    cdef int seek_chunk(self, int64_t row) except -1:
        """Go on to the chunk that holds this row, from the beginning if it has gone by."""
        if self.iterator is None or row < self.chunk_first:
            self.iterator = iter(self.chunks)
            self.chunk = next(self.iterator)
            self.chunk_first = 0
        while row >= self.chunk_first + <int64_t>len(self.chunk):
            self.chunk_first += <int64_t>len(self.chunk)
            self.chunk = None  # free it before the next one is made
            self.chunk = next(self.iterator)
        return 0

    cdef int copy_chunk(self, int64_t end) except -1:
        """Append the rows of the present chunk, up to row `end`, to the window."""
        cdef ChunkWindow *window = &self.window
        cdef int itemsize = self.rows.kernels.itemsize
        cdef int64_t row = window.first + window.count, chunk_end = self.chunk_first + <int64_t>len(self.chunk)
        cdef int64_t count = min(end, chunk_end) - row
        cdef Py_buffer view
        cdef source chunk
        open_source(self.chunk, &view, &chunk)
        with nogil:
            ckmeans_read_rows(&chunk, itemsize, row - self.chunk_first, count,
                              window.rows + window.count * self.rows.n * itemsize)
        PyBuffer_Release(&view)
        if self.rows.unit:
            self.find_window_factors(count)
        window.count += count
        return 0

    @property
    def itemsize(self):
        """Size of an item of the computing dtype."""
        return self.rows.kernels.itemsize

    @property
    def largest(self):
        """The largest magnitude whose squares are safe in the computing dtype."""
        return magnitude_of(self.rows.max_safe_bits, self.rows.kernels.itemsize)

    def first_zero_row(self):
        """The number of the first row of zeros, None where there is none."""
        cdef int64_t row
        cdef double factor
        cdef void *values = allocate(self.rows.n * self.rows.kernels.itemsize)
        if values == NULL:
            raise MemoryError
        try:
            for row in range(self.rows.m):
                ckmeans_unit_factors(&self.rows.source, self.rows.kernels.itemsize, row, 1, &factor, values)
                if factor == 0:
                    return row
            return None
        finally:
            release(values)

    def first_not_finite(self):
        """(row, column, value) of the first NaN or infinity, None where there is none."""
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
                        return row, column, value
            return None
        finally:
            release(values)


include "_unit_rows.pxi"
include "_dedup.pxi"
include "_prepared.pxi"
include "_problems.pxi"
