"""An order of the rows in which near ones lie together, for few features.

The rows are sorted by the cell of a grid that they are in, and the cells by halves, quarters and so on of the widest
feature left (G. M. Morton, "A computer oriented geodetic data base", IBM, 1966, for the order). The grid spans the
middle of a sample; what lies outside belongs to the cells at its edge, so that a few far rows do not widen it. Whatever
the order, it decides on speed alone.

Memory in bytes: 4 m for the places, 4 m / CELL_ROWS for the cells, and as much for tables.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport qsort
from libc.string cimport memset

from ckmeans._points cimport Rows, read_row, read_rows
from ckmeans._runtime cimport Poll, allocate, is_stopped, poll, release, request_threads
from ckmeans._values cimport get

cdef enum:
    ORDER_FEATURES = 8       # at most
    MAX_CELL_BITS = 20       # a histogram of 4 MiB
    ORDER_SAMPLE = 512
    POLLED_ROWS = 65536      # between two polls for signals
cdef int64_t CELL_ROWS = 4   # rows of a cell on average, about
cdef int64_t SAMPLE_EDGE = 64  # the sample's lowest and highest 1 / 64 may lie outside the grid

cdef struct Grid:
    int64_t n
    int bits                 # of a cell's number
    int[ORDER_FEATURES] feature_bits
    int[MAX_CELL_BITS] feature          # that each bit belongs to, from the highest on
    double[ORDER_FEATURES] lowest
    double[ORDER_FEATURES] width
    double[ORDER_FEATURES] scale          # steps of each feature for a unit
    int32_t *spread[ORDER_FEATURES]       # each step's bits in a cell's number


cdef int by_value(const void *a, const void *b) noexcept nogil:
    cdef double x = (<const double *>a)[0], y = (<const double *>b)[0]
    return (x > y) - (x < y)


cdef void measure_features(Grid *grid, const Rows *rows, void *row) noexcept nogil:
    """Find where the middle of each feature lies. `row`: memory for one."""
    cdef double[ORDER_FEATURES][ORDER_SAMPLE] sample
    cdef int64_t count = min(rows.m, <int64_t>ORDER_SAMPLE), i, l
    for i in range(count):
        read_row(rows, i * rows.m // count, row)
        for l in range(grid.n):
            sample[l][i] = get(row, l, rows.kernels.itemsize)
    for l in range(grid.n):
        qsort(&sample[l][0], count, sizeof(double), by_value)
        grid.lowest[l] = sample[l][count // SAMPLE_EDGE]
        grid.width[l] = sample[l][count - 1 - count // SAMPLE_EDGE] - grid.lowest[l]


cdef void choose_bits(Grid *grid, int64_t m) noexcept nogil:
    """Give each bit of a cell's number to the feature whose steps are widest by then."""
    cdef double[ORDER_FEATURES] step
    cdef int64_t l, widest
    cdef int i
    grid.bits = 1
    while grid.bits < MAX_CELL_BITS and m >> grid.bits > CELL_ROWS:
        grid.bits += 1
    for l in range(grid.n):
        step[l] = grid.width[l]
    for i in range(grid.bits):
        widest = 0
        for l in range(1, grid.n):
            if step[l] > step[widest]:
                widest = l
        grid.feature[i] = <int>widest
        grid.feature_bits[widest] += 1
        step[widest] /= 2
    for l in range(grid.n):
        if grid.width[l] > 0:
            grid.scale[l] = (1 << grid.feature_bits[l]) / grid.width[l]


cdef int32_t *fill_spread(Grid *grid) noexcept nogil:
    """Tabulate where the bits of each feature's steps go; return the memory of the tables, or NULL."""
    cdef int64_t total = 0, l, step
    cdef int32_t *memory
    cdef int i
    cdef int[ORDER_FEATURES] left
    for l in range(grid.n):
        total += <int64_t>1 << grid.feature_bits[l]
    memory = <int32_t *>allocate(total * sizeof(int32_t))
    if memory == NULL:
        return NULL
    memset(memory, 0, total * sizeof(int32_t))
    total = 0
    for l in range(grid.n):
        grid.spread[l] = memory + total
        total += <int64_t>1 << grid.feature_bits[l]
        left[l] = grid.feature_bits[l]
    for i in range(grid.bits):
        l = grid.feature[i]
        left[l] -= 1
        for step in range(<int64_t>1 << grid.feature_bits[l]):
            grid.spread[l][step] |= <int32_t>((step >> left[l] & 1) << (grid.bits - 1 - i))
    return memory


cdef void find_cells(const Grid *grid, const Rows *rows, int64_t first, int64_t count, void *scratch,
                     int32_t *cell) noexcept nogil:
    """Find the cells of some rows. `scratch`: memory for them."""
    cdef int64_t stride, i, l
    cdef const void *values = read_rows(rows, first, count, scratch, &stride)
    cdef double lowest, scale, top, at
    cdef const int32_t *spread
    memset(cell, 0, count * sizeof(int32_t))
    for l in range(grid.n):
        lowest, scale, spread = grid.lowest[l], grid.scale[l], grid.spread[l]
        top = (1 << grid.feature_bits[l]) - 1
        for i in range(count):
            at = (get(values, i * stride + l, rows.kernels.itemsize) - lowest) * scale
            at = at if at > 0 else 0.0  # NaN too
            at = at if at < top else top
            cell[i] |= spread[<int32_t>at]


cdef void cells_to_places(int32_t *cell, int64_t m, int32_t *end, int64_t n_cells, Poll *p) noexcept nogil:
    """Turn the cell of each row into its place in their order: sort by counting."""
    cdef int64_t i
    cdef int32_t before = 0, count
    memset(end, 0, n_cells * sizeof(int32_t))
    for i in range(m):
        if i % POLLED_ROWS == 0 and poll(p):
            return
        end[cell[i]] += 1
    for i in range(n_cells):
        count = end[i]
        end[i] = before
        before += count
    for i in range(m):
        if i % POLLED_ROWS == 0 and poll(p):
            return
        count = cell[i]
        cell[i] = end[count]
        end[count] += 1


cdef bint order_rows(const Rows *rows, int64_t chunk_rows, char **scratch, int threads, int32_t *place,
                     Poll *p) noexcept nogil:
    """Find the place of each row in the order; False: no memory, or interrupted. `scratch`: for each thread memory
    for a chunk of rows."""
    cdef Grid grid
    cdef int32_t *spread
    cdef int32_t *end
    cdef int64_t n_chunks = (rows.m + chunk_rows - 1) // chunk_rows, chunk
    memset(&grid, 0, sizeof(Grid))
    grid.n = rows.n
    measure_features(&grid, rows, scratch[0])
    choose_bits(&grid, rows.m)
    spread = fill_spread(&grid)
    end = <int32_t *>allocate((<size_t>1 << grid.bits) * sizeof(int32_t))
    if spread != NULL and end != NULL:
        for chunk in prange(n_chunks, schedule="static", num_threads=request_threads(threads)):
            if not poll(p):
                find_cells(&grid, rows, chunk * chunk_rows, min(chunk_rows, rows.m - chunk * chunk_rows),
                           scratch[threadid()], place + chunk * chunk_rows)
        if not is_stopped(p):
            cells_to_places(place, rows.m, end, <int64_t>1 << grid.bits, p)
    release(end)
    release(spread)
    return spread != NULL and end != NULL and not is_stopped(p)
