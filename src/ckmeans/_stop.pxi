"""When a restart stops."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from ckmeans._values cimport get


cdef int stop_by_distortion(const Fit *f, double distortion_before) noexcept nogil:
    """No label changed, or J fell by at most tol * J."""
    if f.step.n_changed == 0:
        return STABLE
    if distortion_before - f.run.distortion <= f.lloyd.tol * distortion_before:
        return TOLERANCE
    return RUNNING


cdef int stop_by_shift(const Fit *f, double distortion_before) noexcept nogil:
    """scikit-learn's rule: the squared moves of the centroids add up to at most shift_tol, or no label changed."""
    if squared_shift(f) <= f.options.shift_tol:
        return TOLERANCE
    return STABLE if f.step.n_changed == 0 else RUNNING


cdef double squared_shift(const Fit *f) noexcept nogil:
    """The sum of the squared moves of the centroids in the last update."""
    cdef int64_t i, values = f.run.K * f.rows.n
    cdef int item = f.rows.kernels.itemsize
    cdef double total = 0, move
    if f.run.K != f.previous_K:
        return INFINITY
    for i in range(values):
        move = get(f.run.centroids, i, item) - get(f.previous, i, item)
        total += move * move
    return total
