"""What engines cost, for the engine "auto": from which sizes on each pays."""
from libc.stdint cimport int64_t


# Least m K from which cells beat dense in 20 iterations of one fit, for 1 to 3 features,
cdef inline double min_work_of_cells(int64_t n) noexcept nogil:
    return 8e4 if n == 1 else 1e5 if n == 2 else 6e5


# and least m K^2 for 4 to 8: of one fit, and of fits that share the tree.
cdef inline double min_square_work_of_cells(int64_t n, bint shared) noexcept nogil:
    if n == 4:
        return 2e8 if shared else 1.3e9
    if n == 5:
        return 5e8 if shared else 2e9
    if n == 6:
        return 1.5e9 if shared else 6e9
    if n == 7:
        return 5e9 if shared else 1.6e10
    return 6e10 if shared else 2e11
