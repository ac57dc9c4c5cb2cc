"""Over-relaxation and annealing of the centroids after an update, for the search behind `elbow`.

Up to twice the way to the mean J falls, too, even if no label changes (D. Lee, S. Baek and K. Sung, "Modified k-means
algorithm for vector quantizer design", IEEE Signal Processing Letters 4, 1997). Noise that falls to zero finds better
minima (K. Zeger, J. Vaisey and A. Gersho, "Globally optimal vector quantizer design by stochastic relaxation", IEEE
Trans. Signal Processing 40, 1992).
"""
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t

from ckmeans._points cimport magnitude_of
from ckmeans._random cimport next_unit
from ckmeans._values cimport get, put


cdef void disturb_centroids(Fit *f) noexcept nogil:
    """Move on from the means in the same direction, plus noise. Where no label changed, stay at the means."""
    cdef const Annealing *a = f.options.annealing
    cdef int64_t i, values = f.run.K * f.rows.n
    cdef int item = f.rows.kernels.itemsize
    cdef double relaxation = a.relaxation if f.step.n_changed or f.run.n_iter == 0 else 1
    cdef double largest = magnitude_of(f.rows.max_safe_bits, item), width = 0, old, mean, value
    f.at_means = relaxation == 1
    if f.run.n_iter < a.cooling_steps:
        width = a.noise * (1 - <double>f.run.n_iter / a.cooling_steps) * sqrt(12 * f.run.distortion / f.rows.n)
    if relaxation == 1 and width == 0:
        return
    for i in range(values):
        if f.step.sums.weights[i // f.rows.n] == 0:
            continue
        old, mean = get(f.previous, i, item), get(f.run.centroids, i, item)
        value = old + relaxation * (mean - old) + width * (next_unit(&f.random) - 0.5)
        if fabs(value) <= largest:
            put(f.run.centroids, i, item, value)


cdef inline int64_t cooling_steps(const Fit *f) noexcept nogil:
    """The updates during which nothing stops a restart."""
    return 0 if f.options.annealing == NULL else f.options.annealing.cooling_steps
