"""NumPy arrays from memory of a fit."""
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ckmeans._points cimport Rows

import numpy as np


cdef object array_of(const void *values, size_t size, dtype, shape):
    """A new array with a copy of these bytes."""
    cdef Py_buffer view
    array = np.empty(shape, dtype)
    PyObject_GetBuffer(array, &view, PyBUF_WRITABLE)
    memcpy(view.buf, values, size)
    PyBuffer_Release(&view)
    return array


cdef object computing_dtype(const Rows *rows):
    return np.float32 if rows.kernels.itemsize == 4 else np.float64


cdef object centroids_array(const Fit *f, const char *values, int64_t K):
    return array_of(values, K * f.rows.n * f.rows.kernels.itemsize, computing_dtype(f.rows), (K, f.rows.n))
