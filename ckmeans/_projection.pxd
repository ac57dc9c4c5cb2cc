"""Points and centroids on the leading directions, and the scores that bound their distances from below."""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

from ckmeans._directions cimport Directions
from ckmeans._engine cimport Engine, Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, hit, panel
from ckmeans._sweep cimport Sweep


cdef enum:
    MOST_DIRECTIONS = 128


# One thread's scratch. A tile's points are `at` those rows of the chunk.
cdef struct Desk:
    int64_t count
    int32_t *at
    int32_t *label
    void *norms
    void *gathered           # their projections, where they do not lie side by side,
    void *copied             # and their rows
    void *least              # of the scores that are out of reach
    int32_t *waiting         # rows of the chunk whose label may stay,
    int32_t *open            # and those to be screened in full
    void *tile               # points of one tile (or a piece of the chunk), all features
    void *scores
    void *ids
    void *partial
    void *best               # scores of the points' best centroids
    int32_t *winner
    void *bounds
    hit *hits                # (K,)
    int32_t *point           # pairs: a point of the tile,
    int32_t *row             # its row of the chunk,
    int32_t *k               # a centroid,
    void *squared            # and their squared distance
    panel subset
    void *chosen             # (SUBSET, n) centroids
    void *products           # a tile of projections

# Factors of the margins; see the proof.
cdef struct Margins:
    double residual          # of |y|^2 in R^2
    double dense             # g(n + 8)
    double bound             # g(d + 4)
    double full              # of a distance in full
    double store             # of what is computed in double and stored in the computing dtype
    double least             # of underflow: absolute

# How far a centroid has moved.
cdef struct Move:
    double far
    int32_t k

# What one fit by screening holds.
cdef struct Screen:
    Engine engine
    Sweep sweep
    Desk *desks
    int n_desks
    int64_t K                # room for so many centroids
    int64_t pairs            # and for so many of a tile's pairs
    int64_t piece            # rows that are packed together for the dense kernel
    void *zeros
    int32_t *zero_labels
    int32_t *everyone        # 0 .. K - 1
    # Decisions: see _verdict.
    bint watchful            # it screens where that pays alone
    double patience          # as few are to change before the next look whether it pays; < 0: there is none
    bint ready               # the points are projected
    bint chosen_again        # the number of directions
    bint first_in_full       # a first step by screening would take longer
    double waived            # share of the tiles that the last step gave up
    # The points.
    Directions found         # kept as long as the engine
    int64_t d                # so many of them are in use
    panel directions         # of n features
    Margins margins
    void *origin
    double *origin_wide
    int64_t points_bytes
    void *points             # tiles of d + 1 features
    void *norms              # |y|^2
    uint64_t most
    # This step's centroids.
    bint in_full             # every pair is computed
    void *before             # (K, n) those of the last step
    Move *moves              # (K,) how far they have moved since, the farthest first
    double *moved            # (K,) the same by centroid
    void *shift
    void *projected          # (K, d + 1)
    panel screened           # of d + 1 features
    panel guessed            # the same without R: no bounds, but the best estimates
    void *left               # R of each centroid
    double *dense1           # E of each centroid: dense1 + dense2 |y|
    double *dense2
    double far               # h
    panel full               # all centroids and features; packed where it is wanted
    bint full_packed
    # What is known from the steps before: see _bounds.
    uint16_t *high           # in grains of |y|, rounded up,
    uint16_t *low            # and rounded down; 0: nothing is known
    const int32_t *known     # labels that those two belong to; NULL: none
    bint knows               # they may be used in this step
    double calm              # the farthest move of those that are not active
    double doubt1            # E of any centroid: at most doubt1 + doubt2 |y|
    double doubt2
    panel active             # of d + 1 features
    int32_t *active_k


# Project on the first d of the directions that were found.
cdef void use_directions(Screen *e, int64_t d) noexcept nogil
# Projections and R of one tile's points (a tile of d + 1 features), and their |y|^2.
cdef uint64_t project_tile(Screen *e, Desk *desk, const void *rows, int64_t stride, int64_t count, void *products,
                           double *squares) noexcept nogil
# Of all points; nonzero where there is no memory.
cdef int project_points(Screen *e, Poll *p) noexcept nogil
# The panels of this step's centroids: their projections, and where they are wanted all features.
cdef void prepare_projections(Screen *e, const Step *s) noexcept nogil
cdef void prepare_in_full(Screen *e, const Step *s) noexcept nogil

# A tile's projections, side by side; whether its rows of the chunk are.
cdef const void *gather(const Screen *e, const Desk *desk, int64_t first) noexcept nogil
cdef bint side_by_side(const Desk *desk) noexcept nogil
# The centroids that seem closest, of projections.
cdef void guess(Screen *e, Desk *desk, const void *tile, int64_t count, int32_t *labels) noexcept nogil
# The first pairs: each point with its present centroid.
cdef void measure_own(Screen *e, const Step *s, Desk *desk, const void *rows, int64_t stride) noexcept nogil
# What a score must not be above to stay in the race: from the squared distances to the present centroids.
cdef void set_bounds(Screen *e, Desk *desk) noexcept nogil
