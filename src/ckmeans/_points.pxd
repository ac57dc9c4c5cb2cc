"""The caller's points, read block by block in the computing dtype."""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t

from ckmeans._runtime cimport Poll, CallContext, kernels, source


cdef extern from "simd/source.h" nogil:
    void ckmeans_read_rows(const source *source, int itemsize, int64_t row0, int64_t count, void *rows)
    void ckmeans_unit_factors(const source *source, int itemsize, int64_t row0, int64_t count, double *factors,
                              void *row)


# Points that come in chunks from Python: a window of rows is in memory at a time.
cdef struct ChunkWindow:
    PyObject *owner          # the Points that loads them
    char *rows               # `count` rows from `first` on, in the computing dtype
    double *factors          # that bring them to unit length, where they are to have it
    int64_t first
    int64_t count
    int64_t capacity         # rows that are loaded together, or more where more are asked for


cdef struct Rows:
    source source
    ChunkWindow *window      # NULL: the points lie in memory
    const kernels *kernels
    int64_t m
    int64_t n
    int64_t stride           # values from row to row, where rows are read in place
    int64_t in_place         # a block that ends at or before this row is read in place
    bint unit                # rows are read at unit length: squared distances are 2 - 2 cos
    const double *weights    # NULL: every point weighs 1
    const double *cumulative  # weights up to and with each row; NULL where weights is
    double total_weight
    int64_t value_bytes      # of a value as the caller has it
    double stored            # number of values: m * n, or of sparse rows those that are stored
    uint64_t max_abs_bits    # of sparse rows: bits of their largest magnitude
    uint64_t min_safe_bits   # bits of the magnitudes between which squares are safe
    uint64_t max_safe_bits


# Bits of a magnitude in the computing dtype, which rise as it does, and back.
cdef uint64_t bits_of(double magnitude, int itemsize) noexcept nogil
cdef double magnitude_of(uint64_t bits, int itemsize) noexcept nogil
# Of the largest |value| among `count` ones.
cdef uint64_t max_abs_bits_of(const void *values, int64_t count, int itemsize) noexcept nogil

# How many of the next `count` rows to read together: rows that are read in place, as whole tiles, before others.
cdef int64_t block_at(const Rows *rows, int64_t first, int64_t count) noexcept nogil

# Load these rows before they are read; nonzero: that failed, and the call is to stop. Called by the thread that
# came from Python, while no other thread reads.
cdef int ensure_loaded(const Rows *rows, int64_t first, int64_t count, Poll *p) noexcept nogil

# `count` rows from `first` on: in place or in `scratch`, which holds count * n + 8 values.
cdef const void *read_rows(const Rows *rows, int64_t first, int64_t count, void *scratch,
                           int64_t *stride) noexcept nogil

# The same, of which only those that are listed (by their places among the `count`) need be there.
cdef const void *read_listed_rows(const Rows *rows, int64_t first, int64_t count, const int32_t *listed,
                                  int64_t n_listed, void *scratch, int64_t *stride) noexcept nogil

cdef void read_row(const Rows *rows, int64_t row, void *values) noexcept nogil

# Some of the rows, which lie in memory, as rows of their own without weights.
cdef Rows some_rows(const Rows *rows, int64_t first, int64_t count) noexcept nogil

cdef inline int64_t n_tiles(const Rows *rows, int64_t count) noexcept nogil:
    """Count the tiles of the kernels that hold so many rows."""
    return (count + rows.kernels.tile - 1) // rows.kernels.tile


# Single rows from anywhere: `ensure_loaded` and `read_row`, in as few passes over the chunks as can be.
cdef void fetch_row(const Rows *rows, int64_t row, void *values, Poll *p) noexcept nogil
cdef void fetch_rows(const Rows *rows, const int64_t *wanted, int64_t count, void *values, Poll *p) noexcept nogil

# J: the mean of the squared distances, whose (weighted) sum is `square`, or of 1 - cos.
cdef inline double mean_loss(const Rows *rows, double square) noexcept nogil:
    return square / rows.total_weight * (0.5 if rows.unit else 1)

# Whether a largest magnitude of these bits leaves the dtype's safe range (NaN and infinity do).
cdef bint out_of_range(const Rows *rows, uint64_t max_abs_bits) noexcept nogil
# Raise OutOfRange if it does.
cdef int check_range(const Rows *rows, uint64_t max_abs_bits) except -1


cdef class Points:
    cdef Rows rows
    cdef Py_buffer view
    cdef const double[::1] weights
    cdef const double[::1] cumulative
    cdef bint viewed
    cdef object held             # arrays that sparse rows lie in
    cdef ChunkWindow window
    cdef object chunks           # what is iterated over again and again, where there is a window,
    cdef object iterator         # where the present pass is,
    cdef object chunk            # the chunk it has come to
    cdef int64_t chunk_first     # and that chunk's first row

    cdef int load(self, int64_t first, int64_t count) except -1
    cdef int grow_window(self, int64_t count) except -1
    cdef int find_window_factors(self, int64_t count) except -1
    cdef int seek_chunk(self, int64_t row) except -1
    cdef int copy_chunk(self, int64_t end) except -1


# ---- _dedup.pxi: equal points as one with a multiplicity -------------------------------------

# The distinct points with their multiplicities, or the points as they came.
cdef struct UniquePoints:
    Rows rows
    bint deduplicated
    int32_t *inverse         # (m,) the distinct point of each row; NULL: not deduplicated, or not asked for
    double *multiplicities   # rows that are equal to each distinct point; NULL: 1
    uint64_t max_abs_bits    # bits of the largest magnitude of the rows, if that can be out of range
    int64_t bytes
    void *memory

# Whether there is reason to look for equal points.
cdef bint may_deduplicate(const Rows *rows) noexcept nogil

# False: no memory, or interrupted; release all the same. `want_inverse`: find the distinct point of each row.
cdef bint deduplicate(const Rows *rows, bint want_inverse, int n_threads, UniquePoints *unique, Poll *p) noexcept nogil

cdef void release_unique(UniquePoints *unique) noexcept nogil


# ---- _prepared.pxi: points with cached preprocessing -----------------------------------------

# What an engine computes from the points once, for all K and all restarts; its own struct begins with this.
cdef struct Index:
    int64_t bytes
    void (*free)(Index *index) noexcept nogil

# NULL: no memory, or interrupted. The points, with their inverse, outlive what is built of them.
ctypedef Index *(*IndexBuilder)(const UniquePoints *unique, int n_threads, Poll *poll) noexcept nogil


cdef class PreparedPoints(Points):
    cdef UniquePoints unique
    cdef bint unique_found
    cdef double *factors         # of the rows, where they are to have unit length
    cdef bint factors_found
    cdef public bint persistent  # it serves more than one call, which may ask for anything
    cdef object lock             # held while something is built
    cdef IndexBuilder builders[4]
    cdef Index *indexes[4]
    cdef int n_indexes

    # To be called before rows are read that may be wanted at unit length.
    cdef int bring_to_unit_length(self, int n_threads, CallContext call) except -1
    cdef int find_factors(self, int n_threads, CallContext call) except -1
    # A call that asks for more than one of these passes one `want_inverse`.
    cdef const UniquePoints *unique_points(self, bint want_inverse, int n_threads, CallContext call) except NULL
    cdef const Rows *seeding_points(self, int64_t trials, bint want_inverse, int n_threads,
                                    CallContext call) except NULL
    cdef Index *index(self, IndexBuilder build, int n_threads, CallContext call) except? NULL


# ---- _problems.pxi: many arrays of points ----------------------------------------------------

# The rows of one problem.
cdef struct ProblemSource:
    source source            # data: NULL: they are no array
    const double *weights    # NULL: every point weighs 1
    int64_t value_bytes

# `running_sums`: memory for the sums of the weights, a value a row; NULL where there are no weights.
cdef Rows rows_of_problem(const ProblemSource *problem, int itemsize, double *running_sums) noexcept nogil
# Let the rows be read at unit length; `factors`: memory for a value a row. False: one of them cannot be, or no memory.
cdef bint take_unit_length(Rows *rows, double *factors) noexcept nogil


cdef class ProblemRows:
    cdef ProblemSource *problems
    cdef int64_t count
    cdef object arrays           # that are read
    cdef const double[::1] weights

    cdef int open_array(self, X, ProblemSource *problem) except -1
    cdef int open_parts(self, X, const int64_t[::1] lengths, const int64_t[::1] starts) except -1


# Rows of the longest of these problems.
cdef int64_t longest_of(ProblemRows problems, const int64_t[::1] which)


# Where the results of the problems go: see ProblemResults.
cdef struct ResultPlaces:
    int itemsize             # of the computing dtype
    int64_t K
    int64_t n
    char *centroids          # (P, K, n)
    int64_t *counts          # (P, K)
    int32_t *labels          # of problem i from first[i] on
    const int64_t *first
    double *distortions      # (P,)
    int64_t *n_iter          # (P,)
    int32_t *status          # (P,)


cdef class ProblemResults:
    cdef ResultPlaces places
    cdef object arrays
