"""Sparse rows against dense centroids, without a dense copy of the rows.

The scores of a row are summed nonzero by nonzero, with the centroids in the SIMD lanes. The sums
are then made cluster by cluster: the rows are listed by label, the list is cut into pieces whose
number follows from the shapes, and a piece owns the clusters that begin in it. The rows that it
begins with, of a cluster that began before, go to a sum of their own, which is added afterwards in
the order of the pieces. So one K x n table of sums serves any number of threads, and they do not
change it.

Where few rows change their cluster, it is enough to take those out of one sum and add them to
another; the list is then one of moves. With S the sum of a cluster's N rows and c its centroid,

    sum |x - c|^2 = sum |x|^2 - 2 c S + N |c|^2

which loses digits where the terms are much larger than what is left of them, as for rows that are
very close to their centroids; then all rows are added up by differences.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Engine, Prepared, Step
from ckmeans._points cimport Rows
from ckmeans._runtime cimport Poll, allocate, panel, poll, release, spread_out, threads_for, wide_stride

cdef int64_t CHUNK_ROWS = 512       # rows that a thread takes at a time
cdef int64_t NORMS_TOGETHER = 8     # sums that fill the processor's pipeline
cdef double FEW_MOVES = 0.35        # part of the rows up to which moves are added up: a move is two rows
cdef double DIGITS = 16             # how much larger than J its terms may be


cdef struct Piece:
    double square
    double *lead             # (n,) the sum of the rows that it begins with
    int64_t lead_cluster     # and their cluster; -1: it begins with a cluster of its own

# One thread's scratch.
cdef struct Desk:
    void *scores
    int32_t *ids
    int64_t changed

cdef struct Sparse:
    Engine engine
    const Rows *rows
    int64_t K
    int n_threads
    int64_t chunks
    int64_t count_pieces
    panel panel
    double *norms            # (K,) of the centroids
    int64_t *begin           # (K + 1,) where each cluster begins in the list
    int64_t *listed          # (m,) rows by label, rising in each cluster
    Piece *pieces
    Desk *desks
    # Sums that are carried from step to step, where there are no weights: those that go in and out need not come
    # back to zero. In float64 the last bits of a mean depend on how it was added up, so nothing is carried there.
    bint carries
    double *carried          # of each cluster's rows, about zero
    int32_t *before          # (m,) the labels of the step before
    const int32_t *labels    # whose sums these are; NULL: nobody's
    double rows_square       # of all values; < 0: not known yet


cdef size_t sparse_layout(Sparse *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = e.rows
    cdef int64_t K = e.K, lanes = rows.kernels.sparse.lanes, i
    cdef int64_t places = (K + lanes - 1) // lanes * lanes
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Sparse) + 63) // 64 * 64
    cdef Piece piece
    cdef Desk desk
    e.panel.c = take(memory, &at, places * rows.n * item)
    e.panel.norms = take(memory, &at, places * item)
    e.panel.ids = take(memory, &at, places * item)
    e.norms = <double *>take(memory, &at, K * sizeof(double))
    e.begin = <int64_t *>take(memory, &at, (K + 1) * sizeof(int64_t))
    e.listed = <int64_t *>take(memory, &at, rows.m * sizeof(int64_t))
    e.pieces = <Piece *>take(memory, &at, e.count_pieces * sizeof(Piece))
    e.desks = <Desk *>take(memory, &at, e.n_threads * sizeof(Desk))
    e.carried = <double *>take(memory, &at, K * wide_stride(rows.n) * sizeof(double) if e.carries else 0)
    e.before = <int32_t *>take(memory, &at, rows.m * sizeof(int32_t) if e.carries else 0)
    for i in range(e.count_pieces):
        piece.lead = <double *>take(memory, &at, rows.n * sizeof(double))
        if memory != NULL:
            e.pieces[i] = piece
    for i in range(e.n_threads):
        desk.scores = take(memory, &at, CHUNK_ROWS * item)
        desk.ids = <int32_t *>take(memory, &at, CHUNK_ROWS * sizeof(int32_t))
        if memory != NULL:
            e.desks[i] = desk
    return at


cdef int64_t pieces_for(const Rows *rows, int64_t K) noexcept nogil:
    """Enough to share out, while their own sums stay small beside the rows and the centroids."""
    cdef int64_t by_work = <int64_t>(rows.stored / (4 * <double>rows.n))
    return max(1, min(min(by_work, rows.m), min(64, max(8, K))))


cdef Engine *sparse_open(const Rows *rows, Prepared *prepared, int64_t K, int n_threads) noexcept nogil:
    cdef Sparse draft
    memset(&draft, 0, sizeof(draft))
    draft.engine.step = sparse_step
    draft.engine.finish = sparse_finish
    draft.engine.close = sparse_close
    draft.engine.room = rows.m
    draft.rows = rows
    draft.K = draft.panel.K = K
    draft.panel.n = rows.n
    draft.chunks = (rows.m + CHUNK_ROWS - 1) // CHUNK_ROWS
    draft.count_pieces = pieces_for(rows, K)
    draft.carries = rows.weights == NULL and rows.kernels.itemsize == 4
    draft.rows_square = -1
    draft.n_threads = threads_for(n_threads, rows.stored * K)
    draft.engine.bytes = sparse_layout(&draft, NULL)
    cdef char *memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        return NULL
    sparse_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Sparse))
    return <Engine *>memory


cdef void sparse_close(Engine *engine) noexcept nogil:
    release(engine)


cdef void sparse_finish(Engine *engine, int32_t *own, int32_t *labels) noexcept nogil:
    """This engine's labels are the rows'."""
    memcpy(labels, own, engine.room * sizeof(int32_t))


# ---- the centroids -------------------------------------------------------------------------------

cdef void squared_norms(const double *wide, int64_t n, int64_t k, int64_t count, double *norms) noexcept nogil:
    cdef double sums[8]
    cdef int64_t stride = wide_stride(n), l, i
    cdef const double *c = wide + k * stride
    memset(sums, 0, sizeof(sums))
    for l in range(n):
        for i in range(count):
            sums[i] += c[i * stride + l] * c[i * stride + l]
    memcpy(norms + k, sums, count * sizeof(double))


cdef void take_centroids(Sparse *e, const Step *s) noexcept nogil:
    cdef int64_t groups = e.rows.kernels.sparse.groups(s.K), norms = (s.K + NORMS_TOGETHER - 1) // NORMS_TOGETHER, i
    for i in prange(norms, schedule="static", num_threads=e.n_threads):
        squared_norms(s.wide, e.rows.n, i * NORMS_TOGETHER, min(NORMS_TOGETHER, s.K - i * NORMS_TOGETHER), e.norms)
    if s.score:
        for i in prange(groups, schedule="static", num_threads=e.n_threads):
            e.rows.kernels.sparse.pack(s.centroids, -2, e.norms, i, &e.panel)


# ---- one step ----------------------------------------------------------------------------------

cdef void score_chunk(Sparse *e, const Step *s, Poll *p, int thread, int64_t chunk) noexcept nogil:
    cdef Desk *desk = &e.desks[thread]
    cdef int64_t first = chunk * CHUNK_ROWS, count = min(CHUNK_ROWS, e.rows.m - first)
    if not poll(p):
        if e.carries:
            memcpy(e.before + first, s.labels + first, count * sizeof(int32_t))
        desk.changed += e.rows.kernels.sparse.assign(&e.rows.source, first, count, &e.panel, desk.scores, desk.ids,
                                                     s.labels + first)


cdef void measure_chunk(Sparse *e, const Step *s, Poll *p, int64_t chunk) noexcept nogil:
    """Squared distances alone."""
    cdef int64_t stride = wide_stride(e.rows.n), row, k
    if poll(p):
        return
    for row in range(chunk * CHUNK_ROWS, min((chunk + 1) * CHUNK_ROWS, e.rows.m)):
        k = s.labels[row]
        s.squared[row] = e.rows.kernels.sparse.squared_distance(&e.rows.source, row, s.wide + k * stride, e.norms[k])


cdef void count_rows(Sparse *e, Step *s) noexcept nogil:
    """Count and weigh the clusters."""
    cdef int64_t row, k
    memset(s.counts, 0, s.K * sizeof(int64_t))
    memset(s.weights, 0, s.K * sizeof(double))
    for row in range(e.rows.m):
        s.counts[s.labels[row]] += 1
        if e.rows.weights != NULL:
            s.weights[s.labels[row]] += e.rows.weights[row]
    if e.rows.weights == NULL:
        for k in range(s.K):
            s.weights[k] = <double>s.counts[k]


cdef inline void list_one(Sparse *e, int64_t k, int64_t row) noexcept nogil:
    e.listed[e.begin[k]] = row
    e.begin[k] += 1


cdef void list_rows(Sparse *e, const Step *s, bint moves) noexcept nogil:
    """List the rows by label, or only the moves: a row under its label, ~row under the one before."""
    cdef int64_t row, k
    memset(e.begin, 0, (s.K + 1) * sizeof(int64_t))
    for row in range(e.rows.m):
        if not moves or e.before[row] != s.labels[row]:
            e.begin[s.labels[row] + 1] += 1
            if moves:
                e.begin[e.before[row] + 1] += 1
    for k in range(s.K):
        e.begin[k + 1] += e.begin[k]
    # While the rows are listed, begin[k] moves to where the next cluster begins.
    for row in range(e.rows.m):
        if not moves or e.before[row] != s.labels[row]:
            list_one(e, s.labels[row], row)
            if moves:
                list_one(e, e.before[row], ~row)
    for k in range(s.K, 0, -1):
        e.begin[k] = e.begin[k - 1]
    e.begin[0] = 0


cdef double add_listed(Sparse *e, const Step *s, int64_t k, int64_t at, int64_t count, double *sums,
                       bint moves) noexcept nogil:
    """Add so many of the list, all of cluster k, to its sums; the sum of their squared distances."""
    cdef const Rows *rows = e.rows
    if moves:
        rows.kernels.sparse.apply_moves(&rows.source, e.listed + at, count, sums)
        return 0
    return rows.kernels.sparse.accumulate(&rows.source, e.listed + at, count, rows.weights,
                                          s.wide + k * wide_stride(rows.n), e.norms[k], sums, s.squared)


cdef void work_piece(Sparse *e, const Step *s, Poll *p, int64_t i, double *table, bint moves) noexcept nogil:
    cdef Piece *piece = &e.pieces[i]
    cdef int64_t at = e.begin[s.K] * i // e.count_pieces, last = e.begin[s.K] * (i + 1) // e.count_pieces
    cdef int64_t stride = wide_stride(e.rows.n), k = 0, end
    cdef double *sums
    piece.square = 0
    piece.lead_cluster = -1
    while at < last:
        while e.begin[k + 1] <= at:
            k += 1
        if at == e.begin[k]:
            sums = table + k * stride
            if not moves:
                memset(sums, 0, stride * sizeof(double))
        else:
            piece.lead_cluster = k
            sums = piece.lead
            memset(sums, 0, e.rows.n * sizeof(double))
        while at < min(last, e.begin[k + 1]):
            if poll(p):
                return
            end = min(min(last, e.begin[k + 1]), at + CHUNK_ROWS)
            piece.square += add_listed(e, s, k, at, end - at, sums, moves)
            at = end


cdef void join_pieces(Sparse *e, Step *s, double *table) noexcept nogil:
    """Add what pieces hold of the clusters of others, in order."""
    cdef int64_t stride = wide_stride(e.rows.n), i, l
    cdef double *sums
    cdef const double *lead
    s.square = 0
    for i in range(e.count_pieces):
        s.square += e.pieces[i].square
        if e.pieces[i].lead_cluster >= 0:
            sums = table + e.pieces[i].lead_cluster * stride
            lead = e.pieces[i].lead
            for l in range(e.rows.n):
                sums[l] += lead[l]


cdef void add_up(Sparse *e, Step *s, Poll *p, double *table, bint moves) noexcept nogil:
    """Rows, or moves, to the sums of their clusters."""
    cdef int64_t i
    list_rows(e, s, moves)
    for i in prange(e.count_pieces, schedule="dynamic", chunksize=1, num_threads=e.n_threads):
        work_piece(e, s, p, i, table, moves)
    join_pieces(e, s, table)


cdef void add_up_rows(Sparse *e, Step *s, Poll *p) noexcept nogil:
    """Every row, by differences."""
    cdef int64_t size = wide_stride(e.rows.n) * sizeof(double), k
    s.rough = False
    e.labels = NULL
    for k in range(s.K):
        if s.counts[k] == 0:
            memset(<char *>s.offsets + k * size, 0, size)
    add_up(e, s, p, s.offsets, False)
    if e.carries and s.sum and not p.stopped:
        memcpy(e.carried, s.offsets, s.K * size)
        e.labels = s.labels


cdef double product(const double *a, const double *b, int64_t n) noexcept nogil:
    cdef double sums[8]
    cdef int64_t l, i
    memset(sums, 0, sizeof(sums))
    for l in range(0, n, 8):
        for i in range(8):
            sums[i] += a[l + i] * b[l + i]
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


cdef bint measure_sums(Sparse *e, Step *s) noexcept nogil:
    """The sum of squared distances by the sums; False where too few digits of it are left."""
    cdef int64_t stride = wide_stride(e.rows.n), k
    cdef double across, own, heft
    if e.rows_square < 0:
        e.rows_square = e.rows.kernels.sparse.sum_of_squares(&e.rows.source, 0, e.rows.m)
    s.square = heft = e.rows_square
    for k in range(s.K):
        across = 2 * product(s.wide + k * stride, s.offsets + k * stride, stride)
        own = s.counts[k] * e.norms[k]
        s.square += own - across
        heft += own + fabs(across)
    return heft <= DIGITS * s.square


cdef bint add_up_moves(Sparse *e, Step *s, Poll *p) noexcept nogil:
    """The sums of the step before and what moved; False where every row is to be added up after all."""
    # Where nothing moved this may be the last step, so it is to have every digit.
    if s.changed == 0 or s.changed > FEW_MOVES * e.rows.m:
        return False
    s.rough = True
    add_up(e, s, p, e.carried, True)
    if p.stopped:
        e.labels = NULL
        return True
    memcpy(s.offsets, e.carried, s.K * wide_stride(e.rows.n) * sizeof(double))
    return measure_sums(e, s)


cdef int sparse_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    """Fulfil the contract; nonzero where it was interrupted."""
    cdef Sparse *e = <Sparse *>engine
    cdef int64_t i
    cdef bint known = (e.labels == s.labels and e.labels != NULL and s.score and s.squared == NULL and not s.fresh
                       and not s.exact)
    s.most = e.rows.most
    s.about_zero = True
    s.rough = False
    s.changed = 0
    s.computed = e.rows.m * s.K
    if s.fresh:
        spread_out(e.n_threads)
    take_centroids(e, s)
    if s.score:
        for i in range(e.n_threads):
            e.desks[i].changed = 0
        for i in prange(e.chunks, schedule="dynamic", chunksize=1, num_threads=e.n_threads):
            score_chunk(e, s, p, threadid(), i)
        for i in range(e.n_threads):
            s.changed += e.desks[i].changed
    if p.stopped:
        e.labels = NULL
        return 1
    if s.sum or s.measure:
        count_rows(e, s)
        if not (known and add_up_moves(e, s, p)):
            add_up_rows(e, s, p)
    elif s.squared != NULL:
        for i in prange(e.chunks, schedule="dynamic", chunksize=1, num_threads=e.n_threads):
            measure_chunk(e, s, p, i)
    return p.stopped
