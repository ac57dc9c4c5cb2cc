"""The points in a spatial order, and a tree of boxes over them."""
from libc.stdint cimport int32_t, int64_t

from ckmeans._engine cimport Prepared, Units
from ckmeans._runtime cimport Poll

cdef enum:
    MOST_FEATURES = 8


cdef struct Node:
    int32_t child            # its first child (they are neighbours), or the number of the leaf
    int32_t children         # 0: a leaf
    int64_t number           # of rows


# A leaf is a box of up to LEAF points, which take LEAF slots; slot s belongs to leaf s // LEAF.
cdef struct Boxes:
    Prepared base
    int itemsize
    int64_t n
    int64_t leaves
    int64_t nodes
    int64_t levels           # of the upper part, which is a complete tree; node 0 is the root
    int64_t level_first[16]
    int64_t level_size[16]
    Node *node
    char *points             # of each leaf: n columns of LEAF values
    char *edges              # of each node: n low edges, n high ones, and a point near the mean
    double *sums             # of each node, about that point: n sums; squares; weight
    double *weights          # of each slot; NULL: 1
    double *numbers          # of rows that each slot stands for; NULL: 1
    int32_t *filled          # points of each leaf
    int64_t items            # distinct points, where equal ones were collapsed, else m
    int32_t *slot_of         # of each item
    const int32_t *unit_of   # the item of each row; NULL: row i is item i


cdef Prepared *boxes_prepare(const Units *units, int n_threads, Poll *p) noexcept nogil
