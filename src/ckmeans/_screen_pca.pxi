"""Find the leading directions of a sample of the points by subspace iteration.

N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness", SIAM Review 53, 2011. The directions
need not be exact: what the projection on them leaves out is measured for each point.
"""
from cython.parallel cimport prange
from libc.float cimport DBL_MAX, DBL_MIN
from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._points cimport Rows, read_row
from ckmeans._random cimport Stream, next_unit, stream_of
from ckmeans._runtime cimport Poll, allocate, poll, release, request_threads, threads_for
from ckmeans._values cimport get, put

cdef int64_t SAMPLE_ROWS = 512
cdef int N_ITERATIONS = 2               # of the subspace: two power iterations are enough (Halko et al., 4.5)

# Nearly orthonormal directions.
cdef struct Directions:
    int64_t d
    void *vectors            # (d, n) in the computing dtype; NULL: none yet
    double defect            # upper bound on the norm of Q Q' - I


# Evenly spaced rows of the points, and what the iteration makes of them.
cdef struct Sample:
    int64_t count
    int64_t n
    double *rows             # (count, n), minus the origin, scaled to at most 1
    double *directions       # (d, n)
    double *products         # (d, n)


cdef size_t sample_layout(Sample *sample, int64_t d, char *memory) noexcept nogil:
    """Lay out the arrays; with memory NULL only count the bytes."""
    cdef size_t at = 0
    sample.rows = <double *>take(memory, &at, sample.count * sample.n * sizeof(double))
    sample.directions = <double *>take(memory, &at, d * sample.n * sizeof(double))
    sample.products = <double *>take(memory, &at, (d * sample.n + 8) * sizeof(double))  # rows are read into it, too
    return at


cdef void read_sample(Sample *sample, const Rows *X, const void *origin) noexcept nogil:
    """Read the sample; all zero where a value is not finite."""
    cdef int item = X.kernels.itemsize
    cdef int64_t n = sample.n, i, l
    cdef double max_abs = 0, scale
    cdef double *row
    for i in range(sample.count):
        row = sample.rows + i * n
        read_row(X, i * X.m // sample.count, sample.products)
        for l in range(n):
            row[l] = get(sample.products, l, item) - get(origin, l, item)
            if not fabs(row[l]) <= max_abs:
                max_abs = fabs(row[l])
    scale = 1 / max_abs if DBL_MIN <= max_abs <= DBL_MAX else 0
    if scale == 0:
        memset(sample.rows, 0, sample.count * n * sizeof(double))
    for i in range(sample.count * n):
        sample.rows[i] *= scale


cdef double dot(const double *a, const double *b, int64_t n) noexcept nogil:
    cdef double[8] sums
    cdef int64_t l, i
    memset(sums, 0, sizeof(sums))
    for l in range(0, n - 7, 8):
        for i in range(8):
            sums[i] += a[l + i] * b[l + i]
    for l in range(n // 8 * 8, n):
        sums[0] += a[l] * b[l]
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


cdef void multiply(const Sample *sample, const double *direction, double *product) noexcept nogil:
    """Multiply a direction by the sample's matrix of second moments."""
    cdef int64_t n = sample.n, i, l
    cdef double factor
    memset(product, 0, n * sizeof(double))
    for i in range(sample.count):
        factor = dot(sample.rows + i * n, direction, n)
        for l in range(n):
            product[l] += factor * sample.rows[i * n + l]


cdef void iterate_subspace(Sample *sample, const Rows *X, int64_t d, int n_threads, Poll *p) noexcept nogil:
    """Turn d random directions towards the leading ones."""
    cdef Stream random = stream_of(0, 0)
    cdef int64_t i, j, n = sample.n
    cdef int threads = threads_for(n_threads, <double>d * sample.count * n)
    for i in range(d * n):
        sample.directions[i] = next_unit(&random) - 0.5
    for i in range(N_ITERATIONS):
        for j in prange(d, schedule="static", num_threads=request_threads(threads)):
            if not poll(p):
                multiply(sample, sample.directions + j * n, sample.products + j * n)
        memcpy(sample.directions, sample.products, d * n * sizeof(double))
        X.kernels.orthonormalise(sample.directions, d, n)


cdef double defect_of(const double *rows, int64_t count, int64_t n) noexcept nogil:
    """Bound the norm of Q Q' - I by its largest sum of absolute values in a row, as it is symmetric."""
    cdef double defect = 0, total
    cdef int64_t i, j
    for i in range(count):
        total = <double>count * n * 2.3e-16
        for j in range(count):
            total += fabs(dot(rows + i * n, rows + j * n, n) - (i == j))
        defect = max(defect, total)
    return defect


cdef void keep_directions(Directions *found, double *directions, int64_t d, int64_t n, int item) noexcept nogil:
    """Drop the directions that are zero, and round the others to the computing dtype."""
    cdef int64_t j, l
    for j in range(d):
        if not 0.5 < dot(directions + j * n, directions + j * n, n) < 2:
            continue
        for l in range(n):
            put(found.vectors, found.d * n + l, item, directions[j * n + l])
            directions[found.d * n + l] = get(found.vectors, found.d * n + l, item)
        found.d += 1
    found.defect = defect_of(directions, found.d, n)


cdef int directions_find(Directions *found, const Rows *rows, const void *origin, int64_t d, int n_threads,
                         Poll *p) noexcept nogil:
    """Find d leading directions of the rows about the origin, or as many as there are; nonzero: no memory."""
    cdef Sample sample = Sample(min(rows.m, SAMPLE_ROWS), rows.n, NULL, NULL, NULL)
    cdef char *memory = <char *>allocate(sample_layout(&sample, d, NULL))
    found.d = 0
    found.vectors = allocate(d * rows.n * rows.kernels.itemsize)
    if memory == NULL or found.vectors == NULL:
        release(memory)
        return 1
    sample_layout(&sample, d, memory)
    read_sample(&sample, rows, origin)
    iterate_subspace(&sample, rows, d, n_threads, p)
    keep_directions(found, sample.directions, d, rows.n, rows.kernels.itemsize)
    release(memory)
    return 0


cdef void directions_close(Directions *found) noexcept nogil:
    release(found.vectors)
    found.vectors = NULL
