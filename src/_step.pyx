"""One step of an engine, for the low-level functions; or labels alone, where there are boxes."""
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint64_t

from ckmeans._arena cimport take
from ckmeans._boxes cimport boxes_prepare
from ckmeans._cells cimport cells_open
from ckmeans._dense cimport dense_open
from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Points, Rows, bits_of, read_row
from ckmeans._runtime cimport CallContext, Poll, allocate, release, wide_stride
from ckmeans._sparse cimport sparse_open
from ckmeans._store cimport Store

import numpy as np


cdef uint64_t read_centroids(const Rows *centroids, int itemsize, double *wide, void *rounded) noexcept nogil:
    """Centroids rounded to the computing dtype, and the same in float64; the bits of the largest
    magnitude."""
    cdef int64_t n = centroids.n, stride = wide_stride(n), k, l
    cdef double value, most = 0
    for k in range(centroids.m):
        read_row(centroids, k, wide + k * stride)
        for l in range(n):
            value = wide[k * stride + l]
            if itemsize == 4:
                (<float *>rounded)[k * n + l] = <float>value
                value = <float>value
            else:
                (<double *>rounded)[k * n + l] = value
            wide[k * stride + l] = value
            # Also true for a NaN, which then stays.
            if not fabs(value) <= most:
                most = fabs(value)
        for l in range(n, stride):
            wide[k * stride + l] = 0
    return bits_of(most, itemsize)


cdef int step_once(const Rows *rows, const Rows *centroids, Step *s, int n_threads, Poll *p) noexcept nogil:
    """One step with everything made for it; nonzero where there is no memory."""
    cdef int itemsize = rows.kernels.itemsize
    cdef Engine *engine
    if rows.source.indptr != NULL:
        engine = sparse_open(rows, NULL, centroids.m, n_threads)
    else:
        engine = dense_open(rows, NULL, centroids.m, n_threads)
    cdef void *rounded = allocate(centroids.m * rows.n * itemsize)
    cdef uint64_t most
    s.wide = <double *>allocate(centroids.m * wide_stride(rows.n) * sizeof(double))
    cdef bint failed = engine == NULL or rounded == NULL or s.wide == NULL
    if not failed:
        most = read_centroids(centroids, itemsize, s.wide, rounded)
        s.K = centroids.m
        s.centroids = rounded
        engine.step(engine, s, p)
        # How small the values are is for X alone to say: a fit, too, looks only at X for that.
        if most > rows.greatest:
            s.most = max(s.most, most)
    if engine != NULL:
        engine.close(engine)
    release(rounded)
    release(s.wide)
    return failed


def step(Points points, Points centroids, int32_t[::1] labels, double[::1] squared, bint score, bint sum,
         bint measure, int n_threads):
    """One step from Python: (most, square, offsets, weights, counts).

    `centroids`: opened to be read in float64; they are rounded to the computing dtype first.
    `labels` are filled if `score`, else read; `squared` (or None) is filled. The last three are
    None unless `sum`, and the second means nothing unless `sum` or `measure`. `most` holds the bits of
    the largest magnitude of X and the centroids, or of infinity where labels were given and the sum of
    squares is not finite.
    """
    cdef int64_t K = centroids.rows.m, n = points.rows.n
    cdef Step s
    cdef double[:, ::1] offsets
    cdef double[::1] weights
    cdef int64_t[::1] counts
    offsets_array = weights_array = counts_array = None
    sum = sum or measure and points.rows.source.indptr != NULL  # sparse rows are measured with their sums
    if sum:
        offsets = offsets_array = np.empty((K, wide_stride(n)))
        weights = weights_array = np.empty(K)
        counts = counts_array = np.empty(K, np.int64)
        s.offsets, s.weights, s.counts = &offsets[0, 0], &weights[0], &counts[0]
        offsets_array = offsets_array[:, :n]
    s.score, s.sum, s.measure = score, sum, measure
    s.labels = &labels[0]
    s.squared = NULL if squared is None else &squared[0]
    cdef CallContext watch = CallContext()
    cdef bint failed
    with nogil:
        failed = step_once(&points.rows, &centroids.rows, &s, n_threads, &watch.poll)
    if failed:
        raise MemoryError
    watch.check()
    if (sum or measure) and not isfinite(s.square):
        s.most = points.bits(INFINITY)
    return s.most, s.square, offsets_array, weights_array, counts_array


# ---- labels by boxes -------------------------------------------------------------------------

cdef size_t boxes_layout(Step *s, Engine *engine, int64_t n, int itemsize, char *memory) noexcept nogil:
    """What a step of whole boxes needs; with memory NULL only count the bytes."""
    cdef size_t at = 0
    s.wide = <double *>take(memory, &at, s.K * wide_stride(n) * sizeof(double))
    s.centroids = take(memory, &at, s.K * n * itemsize)
    s.labels = <int32_t *>take(memory, &at, engine.room * sizeof(int32_t))
    s.offsets = <double *>take(memory, &at, s.K * wide_stride(n) * sizeof(double))
    s.weights = <double *>take(memory, &at, s.K * sizeof(double))
    s.counts = <int64_t *>take(memory, &at, s.K * sizeof(int64_t))
    return at


cdef int assign_boxes(const Rows *rows, Prepared *boxes, const Rows *centroids, int32_t *labels, uint64_t *most,
                      int n_threads, Poll *p) noexcept nogil:
    """Nonzero where there is no memory. `most`: of the centroids; out of range, and nothing is done."""
    cdef Engine *engine = cells_open(rows, boxes, centroids.m, n_threads)
    cdef int itemsize = rows.kernels.itemsize
    cdef char *memory = NULL
    cdef Step s
    if engine == NULL:
        return 1
    s.K = centroids.m
    s.score = s.sum = s.fresh = True
    s.measure = False
    s.squared = NULL
    memory = <char *>allocate(boxes_layout(&s, engine, rows.n, itemsize, NULL))
    if memory != NULL:
        boxes_layout(&s, engine, rows.n, itemsize, memory)
        most[0] = read_centroids(centroids, itemsize, s.wide, <void *>s.centroids)
        if most[0] <= rows.greatest and not engine.step(engine, &s, p):
            engine.finish(engine, s.labels, labels)
    engine.close(engine)
    release(memory)
    return memory == NULL


def assign_in_boxes(Store points, Points centroids, int32_t[::1] labels, int n_threads):
    """Fill `labels`, whole boxes of points at once; the bits of the largest magnitude of the centroids
    (opened to be read in float64) where that is out of range, else 0."""
    cdef CallContext watch = CallContext()
    cdef Prepared *boxes = points.prepared(boxes_prepare, n_threads, watch)
    cdef uint64_t most = 0
    cdef bint failed
    with nogil:
        failed = assign_boxes(&points.rows, boxes, &centroids.rows, &labels[0], &most, n_threads, &watch.poll)
    if failed:
        raise MemoryError
    watch.check()
    return most if most > points.rows.greatest else 0
