"""The rows of many problems, each of which is an array or a part of one."""
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int64_t
from libc.string cimport memset

from ckmeans._runtime cimport allocate, release


cdef Rows rows_of_problem(const ProblemSource *problem, int itemsize, double *running_sums) noexcept nogil:
    cdef Rows rows
    cdef double total = 0
    cdef int64_t i
    memset(&rows, 0, sizeof(rows))
    rows.source = problem.source
    rows.value_bytes = problem.value_bytes
    view_source(&rows, itemsize)
    rows.total_weight = <double>rows.m
    if problem.weights != NULL:
        for i in range(rows.m):
            total += problem.weights[i]
            running_sums[i] = total
        rows.weights, rows.cumulative, rows.total_weight = problem.weights, running_sums, total
    set_safe_range(&rows)
    return rows


cdef bint take_unit_length(Rows *rows, double *factors) noexcept nogil:
    cdef int64_t block, i
    rows.unit = True
    for block in range((rows.m + FACTOR_BLOCK - 1) // FACTOR_BLOCK):
        if find_block(rows, block, factors):
            return False
    for i in range(rows.m):
        if defect_of(factors[i]) != NO_DEFECT:
            return False
    rows.source.factors = NULL if all_ones(factors, rows.m) else factors
    return True


cdef class ProblemRows:
    """Checked points of many problems, with their weights.

    `X`: a list with the array of each problem (None: it is none), or one array, of which problem i is the rows from
    `starts[i]` bytes on. `lengths`: their rows. `weights`: float64, those of problem i from `weight_starts[i]` on.
    """

    def __cinit__(self, X, const int64_t[::1] lengths, const int64_t[::1] starts=None,
                  const double[::1] weights=None, const int64_t[::1] weight_starts=None):
        cdef int64_t i
        self.count = lengths.shape[0]
        self.arrays, self.weights = X, weights
        self.problems = <ProblemSource *>allocate(self.count * sizeof(ProblemSource))
        if self.problems == NULL:
            raise MemoryError
        memset(self.problems, 0, self.count * sizeof(ProblemSource))
        if starts is None:
            for i in range(self.count):
                if X[i] is not None:
                    self.open_array(X[i], &self.problems[i])
        else:
            self.open_parts(X, lengths, starts)
        for i in range(self.count):
            if weights is not None and weight_starts[i] >= 0:
                self.problems[i].weights = &weights[weight_starts[i]]

    def __dealloc__(self):
        release(self.problems)

    cdef int open_array(self, X, ProblemSource *problem) except -1:
        """See an array as rows. It is kept, so its memory stays where it is when the view is released."""
        cdef Py_buffer view
        open_source(X, &view, &problem.source)
        problem.value_bytes = view.itemsize
        PyBuffer_Release(&view)
        return 0

    cdef int open_parts(self, X, const int64_t[::1] lengths, const int64_t[::1] starts) except -1:
        cdef ProblemSource whole
        cdef int64_t i
        memset(&whole, 0, sizeof(whole))
        self.open_array(X, &whole)
        for i in range(self.count):
            self.problems[i] = whole
            self.problems[i].source.data += starts[i]
            self.problems[i].source.m = lengths[i]
        return 0


cdef int64_t longest_of(ProblemRows problems, const int64_t[::1] which):
    cdef int64_t longest = 0, i
    for i in range(which.shape[0]):
        longest = max(longest, problems.problems[which[i]].source.m)
    return longest


cdef class ProblemResults:
    """Arrays for the results of many problems, C-contiguous.

    `centroids`: (P, K, n) of the computing dtype. `labels`: (rows,), those of problem i from `first[i]` on. The others
    are (P,): `n_iter` int64, and `status`, int32: negative where there is no result, else why the fit stopped.
    """

    def __cinit__(self, centroids, int64_t[:, ::1] counts, int32_t[::1] labels, const int64_t[::1] first,
                  double[::1] distortions, int64_t[::1] n_iter, int32_t[::1] status):
        cdef char[::1] values = centroids.reshape(-1).view(np.int8)
        self.arrays = centroids, counts, labels, first, distortions, n_iter, status
        self.places = ResultPlaces(
            centroids.itemsize, centroids.shape[1], centroids.shape[2], &values[0], &counts[0, 0], &labels[0],
            &first[0], &distortions[0], &n_iter[0], &status[0])
