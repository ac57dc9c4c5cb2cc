"""What a fit holds: its options, a restart's state and result, and the state of a thread."""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ckmeans._codes cimport Codes
from ckmeans._engine cimport Engine, EngineFactory, PackedCentroids, Problem, Step
from ckmeans._points cimport Rows
from ckmeans._random cimport Stream
from ckmeans._runtime cimport Poll


# Points to draw starting centroids from: see _seed.pxi.
cdef struct Seeding:
    const Rows *rows
    int64_t K
    int64_t trials           # candidates a centroid; 0: k-means++ is not asked for
    int n_threads
    Codes **codes            # 8-bit codes of the rows, made when they are first needed; NULL: they are of no use

cdef struct Fit

# Whether a restart stops after the assignment that was just made: a Status, or RUNNING.
ctypedef int (*StopRule)(const Fit *f, double distortion_before) noexcept nogil

# Why a restart stopped. The first five are results, the others are not.
cdef enum Status:
    STABLE, TOLERANCE, MAX_ITER, MAX_SWAPS, CALLBACK, INTERRUPTED, OUT_OF_RANGE, EMPTY_CLUSTER, NO_MEMORY, RUNNING

cdef enum EmptyPolicy:
    DROP, REINIT, FARTHEST, RAISE

cdef struct Options:
    int64_t K
    int64_t n_init
    int64_t max_iter
    double tol
    double shift_tol         # of scikit-learn's rule; < 0: not in use
    StopRule should_stop
    const EngineFactory *swap_factory  # of the engine for the steps of a search by swaps; NULL: no search
    int64_t max_swaps        # that are tried
    bint settle              # until neither an update nor a move of a point changes anything
    int empty                # an EmptyPolicy
    int64_t trials           # candidates a centroid of k-means++; 0: random examples
    uint64_t seed
    bint keep_path
    bint reports_steps       # progress is that of the updates
    const uint8_t *frozen    # (K,) whether the centroid stays as the start has it; NULL: none does
    const char *starts       # (n_init, K, n) the starts of all restarts,
    int64_t n_given          # or (n_given, n), with which all begin and which k-means++ completes; 0: complete ones
    PyObject *next_start     # or called for each one's, in order; both NULL: drawn
    PyObject *callback       # called after each assignment; NULL: none

# The state of a restart, and its result.
cdef struct Restart:
    int64_t number           # -1: none yet
    int64_t K
    int64_t n_iter
    int status
    double distortion
    bint incremental         # the distortion is right to rounding only: not summed up point by point
    uint64_t max_abs_bits    # bits of the largest magnitude read
    char *centroids          # (K, n) of the computing dtype
    int32_t *labels          # the engine's own
    int64_t *counts          # (K,)
    double *history          # n_iter + 1 distortions
    int64_t history_capacity
    char *path               # n_iter + 1 times (K, n), with the K of each; NULL: not kept
    int64_t *path_K
    int64_t path_capacity

# Scratch memory of the update where clusters are empty: see _empty.pxi.
cdef struct EmptyWorkspace:
    int32_t *new_label       # (K,) of each centroid; -1: dropped
    int32_t *row_labels      # (m,) in the order of rows; NULL: never asked for yet
    int64_t *farthest        # (K,) rows for the empty clusters
    double *farthest_squared
    double *norms            # (K,) squared norms of the centroids, where the rows are sparse
    int64_t first_empty      # the empty cluster that ended the restart

# Some clusters and their items as a problem of their own: see _swap_local.pxi.
cdef struct LocalProblem:
    int64_t K
    int32_t *clusters        # (K,) which ones, rising
    uint8_t *chosen          # (K of the fit,) whether each is one of them
    Rows rows
    char *values             # of the items, and their weights: copies,
    double *weights
    void *indptr             # and what sparse ones have beside them
    void *indices
    int64_t capacity         # items, and stored values, that fit
    int64_t stored_capacity
    Problem problem
    Engine *engine           # NULL: not open
    int32_t *labels
    int64_t labels_capacity
    Step step
    char *centroids          # (K, n)
    char *previous
    PackedCentroids packed   # for the dense engine,
    void *shift              # about a shift that is found once for many problems

# Items sorted by their clusters, and what is known of these: see _swap_items.pxi.
cdef struct ClusteredItems:
    const Rows *rows  # the items, or the points
    int32_t *labels
    int64_t *members         # in the order of their clusters,
    int64_t *first           # (K + 1,) where each cluster begins
    double *squared          # squared distances to the centroids
    double *weights          # (K,) of the clusters
    double *errors           # (K,) weighted sums of the squared distances
    double *utilities        # (K,) by how much the error rises, about, without each
    int64_t n_near
    int32_t *near            # (K, n_near) the nearest other centroids

# The state of a search by swaps: see _swap.pxi.
cdef struct SwapSearch:
    const EngineFactory *factory  # of the engine that makes its steps
    const Rows *points       # the rows, or the distinct ones
    Rows items               # the same, or means of nodes; swaps are judged on them
    char *summary            # memory of those means, and of their weights; NULL: items are points
    ClusteredItems clusters
    char *centroids          # (K, n) after the swaps of this round
    uint8_t *moved           # (K,) which of them such a swap has moved
    char *kept               # (K, n) the centroids before it
    double *means            # (K, n) for moves of single points
    double *norms            # (K,) their squared norms
    double *other_squared    # (MOVE_BLOCK,) squared distances to the nearest other centroid
    int32_t *pair_row        # (K,) for the kernel of distances between centroids
    int32_t *pair_k
    char *between            # (K,)
    LocalProblem local
    double *draw             # (K,) probabilities of a draw, not normalised
    int64_t n_kept           # swaps of this round
    int64_t n_tried          # swaps of this restart
    int64_t n_failed         # of these since one was kept

# What all steps of a thread cost.
cdef struct FitStats:
    double n_distances       # that were computed
    double n_pairs           # as many as the dense engine computes
    int64_t bytes            # memory beside that of the engine

# What holds for a run of Lloyd's algorithm: a restart, or a part of one that searches.
cdef struct LloydRun:
    double tol
    StopRule should_stop
    int64_t last_iter        # number of its last update
    bint full_sums           # so little is gained that every digit of the distortion counts

# Which centroids stay where they are, where some do.
cdef struct FrozenFlags:
    uint8_t *present         # (K,) of the present centroids,
    uint8_t *previous        # and of those before the last update

# The state of a thread that runs restarts.
cdef struct Fit:
    const Options *options
    const Problem *problem
    const Rows *rows         # of the problem
    const EngineFactory *factory
    Engine *engine
    int64_t engine_K         # that it was opened for
    Seeding *seeding
    Stream random
    Step step
    int64_t epoch            # of the last step
    Restart *run             # the restart that is running
    Restart *best            # the best one before it
    Restart restarts[2]
    char *previous           # (K, n) the centroids before the last update,
    int64_t previous_K
    LloydRun lloyd           # the one that goes on
    SwapSearch *swaps        # made when it is first needed
    FrozenFlags frozen
    EmptyWorkspace empty
    FitStats stats


cdef inline bint is_frozen(const Fit *f, int64_t k) noexcept nogil:
    return f.options.frozen != NULL and f.frozen.present[k] != 0


# Whether a cluster without points is one to be dropped, refilled, or reported.
cdef inline bint lacks_points(const Fit *f, int64_t k) noexcept nogil:
    return f.step.sums.weights[k] == 0 and not is_frozen(f, k)
