"""The contract of an engine: one step, the assignment of all points and the sums for the update."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ckmeans._codes cimport Codes
from ckmeans._points cimport Index, IndexBuilder, Rows
from ckmeans._runtime cimport Poll, panel, sums
from ckmeans._team cimport Team


# What the update needs of a step.
cdef struct ClusterSums:
    double *offsets          # (K, n), rows of wide_stride(n): weighted sums of (x - its centroid),
    bint uncentred           # or of x itself
    double *weights          # (K,)
    int64_t *counts          # (K,) numbers of points
    double square            # weighted sum of all squared distances
    bint incremental         # not every row was added up: right to rounding only

# Centroids that are packed for many calls.
cdef struct PackedCentroids:
    panel panel
    void *shift              # that they were packed with

cdef struct Step:
    # IN
    int64_t K
    const void *centroids    # (K, n) in the computing dtype
    double *wide             # the same in float64, rows of wide_stride(n), where the engine wants them
    const PackedCentroids *packed  # the same for the dense kernel; NULL: not packed yet
    const void *previous     # the centroids that `labels` were found for, in the same order; NULL: not known
    bint assign              # find the labels; else they are given
    bint sum                 # fill the sums
    bint measure             # fill sums.square alone, of labels that are given
    bint full_sums           # every row is to be added up
    int64_t steps_left       # at most so many steps follow
    int64_t epoch            # number of this step, never used before in this fit
    int64_t labels_epoch     # number of the step that found `labels`; 0: they mean nothing yet
    # INOUT
    int32_t *labels          # the engine's own, n_labels of them, each 0 .. K - 1
    int64_t n_changed        # points whose label differs from what `labels` held; so many did in the step before
    # OUT
    double *squared          # (m,) squared distances (NULL: not asked for)
    ClusterSums sums
    int64_t n_distances      # distances that were computed, those of cells too
    uint64_t max_abs_bits    # bits of the largest magnitude that was read

# An open engine; its own struct begins with this.
cdef struct Engine:
    const char *name         # of the engine that makes the steps: "auto" tells which it chose
    int (*step)(Engine *engine, Step *step, Poll *poll) noexcept nogil  # nonzero: interrupted, or no memory
    # The labels of the rows, in their order, from the engine's own; NULL: those are the rows' already.
    void (*store_labels)(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil
    void (*close)(Engine *engine) noexcept nogil
    int64_t n_labels         # how many labels the engine keeps of its own
    int64_t bytes

# What an engine may know when it opens.
cdef struct Problem:
    const Rows *rows
    Index *index             # what its build_index made of the points; NULL: nothing
    int n_threads
    int64_t K                # clusters of the first step
    int64_t n_fits           # restarts, or calls, that share the index
    int64_t max_iter         # updates of a restart
    bint same_sums           # sums may not depend on which engine makes a step
    Codes **codes            # 8-bit codes of the rows, to be shared: made by who needs them first; NULL: not shared

# What an engine is, and what it can do: one row of the table in _engine.pyx.
cdef struct EngineFactory:
    const char *name
    int64_t max_features     # 0: any number,
    int64_t max_points       # the same
    bint sparse_rows         # takes sparse rows, and no others; all engines take weights
    bint chunks              # takes points that come in chunks
    bint distances           # a step gives squared distances, and measures labels that are given
    bint fewer_centroids     # a step may have fewer centroids than the engine was opened for
    bint row_sums            # a step with full_sums adds up row by row
    bint wide                # a step takes the centroids in float64, too
    bint keeps_rows          # it keeps something of each row: a single assignment takes the rows in parts
    IndexBuilder build_index  # NULL: it needs no index
    # Weighted means, in float64, of the index's largest nodes of up to so many rows, or of smallest ones; with NULL
    # only how many there are. NULL: the index has no nodes.
    int64_t (*summarise)(const Index *index, int64_t max_rows, double *means, double *weights) noexcept nogil
    bint (*pays_once)(const Problem *problem) noexcept nogil  # whether a single assignment is faster than dense's
    # The engine that makes the steps instead, chosen by the shapes; NULL: this one.
    const EngineFactory *(*choose)(const Problem *problem) noexcept nogil
    Engine *(*open)(const Problem *problem, int64_t K) noexcept nogil  # NULL: no memory

# One step of an open engine, with labels of the rows; `wide`: it takes float64 centroids. Nonzero: no memory.
cdef int make_step(Engine *engine, const Rows *rows, bint wide, Step *s, Poll *p) noexcept nogil


# Centroids in the computing dtype, for single steps.
cdef class Centroids:
    cdef int64_t K
    cdef uint64_t max_abs_bits  # bits of their largest magnitude
    cdef void *memory
    cdef void *values        # (K, n)
    cdef PackedCentroids packed
    cdef bint is_packed
    cdef readonly int64_t bytes

    cdef size_t layout(self, int64_t n, int itemsize, double **row)


cdef class EngineEntry:
    cdef const EngineFactory *factory
    cdef EngineFactory own
    cdef bytes _name

# The entry of an engine, for the table.
cdef EngineEntry entry_of(const EngineFactory *factory)
# The first engine of the table that adds such rows up one by one.
cdef const EngineFactory *row_sums_factory(const Rows *rows) except NULL
cdef const EngineFactory *chosen_factory(const EngineFactory *factory, const Problem *problem) noexcept nogil


# The sum of squared distances that a step found. Of rows of unit length it is that to centroids of exactly unit length.
cdef double square_of(const Rows *rows, const Step *s) noexcept nogil


cdef inline void store_row_labels(Engine *engine, int32_t *own, int64_t m, int32_t *labels) noexcept nogil:
    """Write the labels of m rows from the engine's own."""
    if engine.store_labels != NULL:
        engine.store_labels(engine, own, labels)
    else:
        memcpy(labels, own, m * sizeof(int32_t))


cdef inline void clear_cluster(ClusterSums *s, int64_t k, int64_t stride) noexcept nogil:
    """Set a cluster's sums, whose rows are `stride` apart, to zero."""
    cdef int64_t l
    for l in range(stride):
        s.offsets[k * stride + l] = 0
    s.weights[k] = 0
    s.counts[k] = 0


cdef inline void add_partial_sum(ClusterSums *s, int64_t k, int64_t stride, const sums *part) noexcept nogil:
    cdef int64_t l
    for l in range(stride):
        s.offsets[k * stride + l] += part.offsets[k * stride + l]
    s.weights[k] += part.weights[k]
    s.counts[k] += part.counts[k]


# ---- _sweep.pxi: one pass over the rows, shared out over the threads -----------------------------

cdef enum:
    MAX_BLOCK = 512          # rows of a block, and of a chunk

# Consecutive rows in the computing dtype.
cdef struct Block:
    const void *rows         # row i starts at rows + i * stride values
    int64_t stride
    int64_t first            # number of the first row
    int64_t count

# Partial sums of some chunks, and counters of what was done for them.
cdef struct PartialSum:
    sums sums
    sums removed             # what moved rows take out of the sums: the same arrays, squares of its own
    uint8_t *touched         # (K,) clusters whose sums are not zero, where they are of moved rows
    bint clean               # offsets and counts are zero but for those
    int64_t n_changed
    uint64_t max_abs_bits
    int64_t n_distances      # distances computed in full
    int64_t n_pairs          # pairs whose bounds screening looked at one by one
    int64_t n_fallback_tiles  # tiles that screening left to the dense kernel
    int64_t n_undecided      # rows whose label was not certain beforehand


# Finds the labels of a block's rows; thread `thread` runs it.
ctypedef void (*Scorer)(void *engine, const Step *s, PartialSum *part, int thread, const Block *block) noexcept nogil

# Sums carried from step to step: of (x - anchor), where the anchors are the centroids of the last full step.
cdef struct CarriedSums:
    bint wanted
    int64_t epoch            # number of the step whose labels the sums belong to; 0: there are no sums
    int64_t n_moved          # rows that changed their label in the last step
    void *anchors            # (K, n) in float32
    double *offsets          # (K, n), rows of wide_stride(n)
    int64_t *counts
    double square
    double cancellation      # twice what was taken out of `square`
    double *anchor_correction  # (K,) from squares about the anchor to squares about the centroid
    double *magnitude        # (K,) sum of the absolute terms of that correction

cdef struct Sweep:
    const Rows *rows
    int64_t K
    int n_threads
    Team team
    int64_t chunk            # rows of a chunk
    int64_t block            # rows that a scorer gets at most: a multiple of a tile
    int64_t n_parts
    bint owned               # each cluster's rows are added up by one part, without partial sums
    PartialSum *parts
    void **scratch           # a block of rows for each thread
    int32_t **old_labels     # and their labels before the step,
    int32_t *labels_before   # or those of all rows where clusters are owned
    void *memory
    CarriedSums carried
    bint by_moves            # this pass adds up moved rows alone
    bint sums_only           # this pass is a second one, for the sums alone


# Nonzero: no memory. With `carries` sums may go from step to step; with `whole` a block is a whole chunk, else it
# stays in the second-level cache.
cdef int sweep_open(Sweep *w, const Rows *rows, int64_t K, int n_threads, bint carries, bint whole) noexcept nogil
# Rows that stay in the second-level cache when they are packed: a multiple of a tile.
cdef int64_t cached_rows(const Rows *rows) noexcept nogil
cdef void sweep_close(Sweep *w) noexcept nogil
cdef int64_t sweep_bytes(const Sweep *w) noexcept nogil

# Make a step with `score` as its scorer; nonzero: it was interrupted.
cdef int sweep_step(Sweep *w, void *engine, Scorer score, Step *s, Poll *p) noexcept nogil


cdef inline int64_t update_labels(const void *ids, int itemsize, int64_t count, int32_t *labels) noexcept nogil:
    """Write labels from a kernel's integers; returns how many changed."""
    cdef int64_t i, n_changed = 0
    cdef int32_t label
    for i in range(count):
        label = <int32_t>(<const uint32_t *>ids)[i] if itemsize == 4 else <int32_t>(<const uint64_t *>ids)[i]
        n_changed += label != labels[i]
        labels[i] = label
    return n_changed
