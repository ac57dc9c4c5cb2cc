"""One feature: the partition with the lowest distortion of all.

Sorted, the clusters of the optimum are intervals (X. Wu, "Optimal quantization by matrix searching", Journal of
Algorithms 12, 1991; H. Wang and M. Song, "Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic
programming", The R Journal 3, 2011). Sorting is in _radix_sort.pxi, the cost of an interval in _value_sums.pxi, the
relaxed problem, in which K is free, in _relaxation.pxi, the price at which it has K clusters in _multiplier.pxi, which
values need not be looked at in _reduction.pxi, and all together in _partition.pxi; labels are in _interval_labels.pxi,
many problems in one call in _optimal_many.pxi.
Time is O(m log m), whatever K is, and memory O(m).
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ckmeans._points cimport PreparedPoints, check_range
from ckmeans._runtime cimport CallContext
from ckmeans._values cimport get

import numpy as np

include "_radix_sort.pxi"
include "_value_sums.pxi"
include "_relaxation.pxi"
include "_multiplier.pxi"
include "_reduction.pxi"
include "_partition.pxi"
include "_interval_labels.pxi"


cdef class SortedValues:
    """The distinct values of prepared points of one feature, in rising order, for any number of clusters."""
    cdef ValueSums sums

    def __cinit__(self, PreparedPoints points, int n_threads):
        cdef CallContext call = CallContext()
        cdef uint64_t max_abs_bits = 0
        cdef bint done
        with nogil:
            done = open_value_sums(&points.rows, n_threads, &self.sums, &max_abs_bits, &call.poll)
        call.check()
        check_range(&points.rows, max_abs_bits)
        if not done:
            raise MemoryError

    def __dealloc__(self):
        release_value_sums(&self.sums)

    def __len__(self):
        return self.sums.d

    @property
    def bytes(self):
        """Memory that it holds."""
        return self.sums.d * <int64_t>(sizeof(Moments) + sizeof(double) + self.sums.itemsize)

    def centroids(self, int64_t K, int n_threads):
        """The means of the best K clusters, (K, 1), in rising order; K is at most the number of values."""
        cdef CallContext call = CallContext()
        cdef bint done
        means = np.empty(K, np.float32 if self.sums.itemsize == 4 else np.float64)
        cdef char[::1] view = means.view(np.int8)
        with nogil:
            done = store_means(&self.sums, K, n_threads, &view[0], &call.poll)
        call.check()
        if not done:
            raise MemoryError
        return means.reshape(-1, 1)

    def label(self, PreparedPoints points, centroids, int32_t[::1] labels, int n_threads):
        """Label the points that the values are of, for these centroids, which rise, in their dtype and contiguous;
        returns how many labels are -1, as they are not certain."""
        cdef CallContext call = CallContext()
        cdef const char[::1] view = centroids.reshape(-1).view(np.int8)
        cdef int64_t K = len(centroids), uncertain
        cdef Intervals intervals
        memset(&intervals, 0, sizeof(intervals))
        intervals.low = get(self.sums.values, 0, self.sums.itemsize)
        intervals.high = get(self.sums.values, self.sums.d - 1, self.sums.itemsize)
        with nogil:
            uncertain = label_rows(&points.rows, &view[0], K, n_threads, &labels[0], &intervals, &call.poll)
        call.check()
        if uncertain < 0:
            raise MemoryError
        return uncertain


include "_optimal_many.pxi"
