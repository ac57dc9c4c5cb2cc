"""A block of points of a fit whose other blocks may lie elsewhere: an engine that stays open from step to step.

The loop of such a fit runs in Python, on another machine (ckmeans/dask). What a step returns follows from the block's
rows, the centroids and the engine alone: every row is added up in every step, or whole nodes of the k-d tree are, and
never moves since an earlier step. So a block that was opened anew elsewhere gives the same bits.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._cost_model cimport cells_time, dense_time
from ckmeans._engine cimport (
    Engine, EngineEntry, EngineFactory, Problem, Step, chosen_factory, row_sums_factory, store_row_labels,
)
from ckmeans._points cimport PreparedPoints
from ckmeans._random cimport Stream, next_below, next_unit, stream_of
from ckmeans._runtime cimport CallContext, wide_stride
from ckmeans._values cimport get, put, widen

import numpy as np


cdef class BlockState:
    """One restart's engine and labels for the rows of a block."""
    cdef PreparedPoints points
    cdef Problem problem
    cdef const EngineFactory *factory
    cdef Engine *engine
    cdef int64_t engine_K        # that it was opened for
    cdef Step s
    cdef object labels_array     # the engine's own labels
    cdef object previous         # the centroids that they were found for; None: not known

    def __cinit__(self, PreparedPoints points, EngineEntry entry, int64_t K, int64_t n_fits, int64_t max_iter,
                  int n_threads):
        cdef CallContext call = CallContext()
        self.points = points
        memset(&self.problem, 0, sizeof(Problem))
        self.problem.rows, self.problem.K, self.problem.n_threads = &points.rows, K, n_threads
        self.problem.n_fits, self.problem.max_iter = n_fits, max_iter
        self.problem.same_sums = True  # no hand-over that depends on earlier steps
        self.factory = chosen_factory(entry.factory, &self.problem)
        self.problem.index = points.index(self.factory.build_index, n_threads, call)
        memset(&self.s, 0, sizeof(Step))

    def __dealloc__(self):
        if self.engine != NULL:
            self.engine.close(self.engine)

    cdef int open(self, int64_t K) except -1:
        """Open the engine for K centroids; the labels stay."""
        cdef int32_t[::1] labels
        if self.engine != NULL:
            self.engine.close(self.engine)
        self.engine = self.factory.open(&self.problem, K)
        self.engine_K = K
        if self.engine == NULL:
            raise MemoryError
        if self.labels_array is None:
            self.labels_array = np.zeros(self.engine.n_labels, np.int32)
        labels = self.labels_array
        self.s.labels = &labels[0]
        return 0

    def step(self, centroids):
        """Assign all rows to centroids of the computing dtype, C-contiguous, and add them up.

        Returns the sum of squared distances, offsets about the centroids (of sparse rows about zero), weights, counts,
        the number of labels that changed (all of them in a first step), and whether dense steps would be faster.
        """
        cdef const char[::1] values = centroids.reshape(-1).view(np.int8)
        cdef int64_t K = len(centroids), n = self.points.rows.n, m = self.points.rows.m
        cdef double[:, ::1] offsets = np.empty((K, wide_stride(n)))
        cdef double[:, ::1] wide = np.empty((K, wide_stride(n)))
        cdef double[::1] weights = np.empty(K)
        cdef int64_t[::1] counts = np.empty(K, np.int64)
        cdef const char[::1] before = None
        cdef CallContext call = CallContext()
        cdef Step *s = &self.s
        cdef int itemsize = self.points.rows.kernels.itemsize
        cdef bint first = s.labels_epoch == 0
        cdef int failed
        if self.engine == NULL or self.engine_K < K or (self.engine_K != K and not self.factory.fewer_centroids):
            self.open(K)
        if self.previous is not None and len(self.previous) == K:
            before = self.previous.reshape(-1).view(np.int8)
        s.previous = NULL if before is None else &before[0]
        s.K, s.centroids, s.wide = K, &values[0], &wide[0, 0]
        s.sums.offsets, s.sums.weights, s.sums.counts = &offsets[0, 0], &weights[0], &counts[0]
        s.assign = s.sum = s.full_sums = True
        s.steps_left = self.problem.max_iter
        s.epoch += 1
        with nogil:
            widen(s.centroids, K, n, itemsize, s.wide, wide_stride(n))
            failed = self.engine.step(self.engine, s, &call.poll)
        call.check()
        if failed:
            raise MemoryError
        s.labels_epoch = s.epoch
        self.previous = centroids
        slow = not self.factory.row_sums and (
            cells_time(m, n, <double>s.n_distances / m) > dense_time(n, K, itemsize == 8))
        return (s.sums.square, np.asarray(offsets)[:, :n], np.asarray(weights), np.asarray(counts),
                m if first else s.n_changed, bool(slow))

    def labels(self):
        """Return the labels of the rows that the last step found."""
        labels = np.empty(self.points.rows.m, np.int32)
        cdef int32_t[::1] to = labels
        with nogil:
            store_row_labels(self.engine, self.s.labels, self.points.rows.m, &to[0])
        return labels

    def renumber(self, new_labels):
        """Renumber the labels where centroids were dropped: `new_labels` of each old one, -1 for those."""
        own = self.labels_array
        np.maximum(np.asarray(new_labels, np.int32)[own], 0, out=own, where=own >= 0)
        self.s.epoch += 1
        self.s.labels_epoch = self.s.epoch
        self.previous = None

    def go_dense(self):
        """Make the steps from now on by an engine that adds rows up one by one; the labels stay."""
        if self.factory.row_sums:
            return
        kept = None if self.engine == NULL else self.labels()
        if self.engine != NULL:
            self.engine.close(self.engine)
        self.engine = NULL
        self.factory = row_sums_factory(&self.points.rows)
        self.labels_array = kept

    def restart(self):
        """Forget the labels."""
        self.s.labels_epoch = 0
        self.previous = None

    @property
    def adds_rows(self):
        """Whether the engine adds up rows one by one: else sums of squares are right to rounding only."""
        return bool(self.factory.row_sums)

    @property
    def bytes(self):
        """Bytes of the engine and the labels."""
        cdef int64_t size = 0 if self.engine == NULL else self.engine.bytes
        return size + (0 if self.labels_array is None else self.labels_array.nbytes)


cdef class RandomStream:
    """Stream `number` of a seed: the random numbers that the same restart of a fit on one machine draws."""
    cdef Stream stream

    def __cinit__(self, seed, int64_t number):
        self.stream = stream_of(<uint64_t>seed, number)

    def below(self, int64_t bound):
        """Return an integer uniform in 0 .. bound - 1."""
        return next_below(&self.stream, bound)

    def unit(self):
        """Return a number uniform in [0, 1)."""
        return next_unit(&self.stream)


# ---- k-means|| ---------------------------------------------------------------------------------

def keep_nearest(const double[::1] squared, const int32_t[::1] labels, int32_t first, best, int32_t[::1] nearest):
    """Lower each row's squared distance `best`, of the computing dtype, where `squared` is lower, and set `nearest` to
    the label, counted from `first` on."""
    cdef char[::1] values = best.view(np.int8)
    cdef void *to = &values[0]
    cdef int itemsize = best.itemsize
    cdef int64_t i
    with nogil:
        for i in range(nearest.shape[0]):
            if squared[i] < get(to, i, itemsize):
                put(to, i, itemsize, squared[i])
                nearest[i] = first + labels[i]


def draw_rows(best, const double[::1] weights, int64_t wanted, seed, int64_t number):
    """Draw rows that the D^2 sampling of k-means|| may draw: the cost sum(w d^2), rows, and their keys w d^2 / u.

    u is uniform in (0, 1), from stream `number` of the seed; rows have keys above cost / wanted. `weights` may be None.
    """
    cdef const char[::1] values = best.view(np.int8)
    cdef const void *squared = &values[0]
    cdef int itemsize = best.itemsize
    cdef int64_t m = len(best), i, n_found = 0
    cdef Stream random = stream_of(<uint64_t>seed, number)
    cdef double cost = 0, term, unit
    rows, keys = np.empty(m, np.int64), np.empty(m)
    cdef int64_t[::1] row = rows
    cdef double[::1] key = keys
    with nogil:
        for i in range(m):
            term = get(squared, i, itemsize)
            cost += term if weights is None else term * weights[i]
        for i in range(m):
            term = get(squared, i, itemsize)
            if weights is not None:
                term *= weights[i]
            unit = max(next_unit(&random), 2.0 ** -54)
            if term * wanted > unit * cost:
                row[n_found] = i
                key[n_found] = term / unit
                n_found += 1
    return cost, rows[:n_found].copy(), keys[:n_found].copy()
