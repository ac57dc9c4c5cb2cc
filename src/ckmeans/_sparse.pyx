"""The engine "sparse": every pair of a sparse row (CSR) and a dense centroid, without a dense copy of the rows.

The scores of a row are summed nonzero by nonzero, with the centroids in the SIMD lanes. The sums are then computed
cluster by cluster: the rows are listed by label (a counting sort), and the list is cut into pieces whose number does
not depend on the number of threads. A piece that begins within a cluster keeps its sum of that cluster's rows in an
array of its own, which is added afterwards in the order of the pieces. So one K x n array of sums serves all threads,
and the result does not depend on their number.

Where few rows change their cluster, it is enough to subtract those from one sum and add them to another; the list is
then one of moves. With S the sum of a cluster's N rows and c its centroid,

    sum |x - c|^2 = sum |x|^2 - 2 c S + N |c|^2

which loses digits by cancellation where the terms are much larger than their sum, as for rows very close to their
centroids; then all rows are added up, with their squared distances from differences.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ckmeans._arena cimport take
from ckmeans._engine cimport Engine, EngineFactory, Problem, Step, entry_of
from ckmeans._points cimport Rows
from ckmeans._runtime cimport (
    Poll, allocate, is_stopped, panel, poll, release, request_threads, threads_for, wide_stride,
)
from ckmeans._team cimport Team, begin_step, end_part, end_step, team_of
from ckmeans._values cimport squared_norms

cdef int64_t CHUNK_ROWS = 512       # rows of a chunk, between two polls for signals
cdef int64_t NORMS_TOGETHER = 8     # centroids whose norms are summed side by side: sums that fill the pipeline
cdef int64_t MAX_PIECES = 64        # pieces of the list, at most: enough for many threads
cdef int64_t FEW_PIECES = 8         # or K, if larger: at most so many, as a piece's sum takes as much as a centroid
cdef double PIECE_WORK = 4          # stored values of a piece for each value of its own sum, which is then cheap
cdef double MAX_MOVES = 0.35        # part of the rows up to which moves are added up: a move adds two rows
cdef double MAX_CANCELLATION = 16   # how much larger than J its terms may be: 4 of float64's 53 bits


# Consecutive places of the list.
cdef struct Piece:
    double square            # weighted sum of squared distances
    double *lead             # (n,) the sum of the rows of the cluster that it begins within
    int64_t lead_cluster     # that cluster; -1: it begins with the first row of a cluster

# Scratch memory of a thread, and what it counts.
cdef struct Workspace:
    void *scores
    int32_t *ids
    int64_t n_changed

cdef struct Sparse:
    Engine engine
    const Rows *rows
    int64_t K
    int n_threads
    Team team
    int64_t n_chunks
    int64_t n_pieces
    panel panel
    double *norms            # (K,) of the centroids
    int64_t *begin           # (K + 1,) where each cluster begins in the list
    int64_t *listed          # (m,) rows, or moves, by label; rising in each cluster
    Piece *pieces
    Workspace *workspaces
    # Sums carried from step to step, where there are no weights: those that are added and subtracted need not come
    # back to zero. In float64 the last bits of a mean depend on how it was added up, so nothing is carried there.
    bint carries
    double *carried          # (K, n), rows of wide_stride(n): the sum of each cluster's rows, about zero
    int32_t *old_labels      # (m,) the labels before this step
    int64_t carried_epoch    # number of the step whose labels the sums belong to; 0: there are no sums
    double rows_square       # sum of the squares of all values; < 0: not known yet


cdef size_t sparse_layout(Sparse *e, char *memory) noexcept nogil:
    """Lay everything out after the struct; with memory NULL only count the bytes."""
    cdef const Rows *rows = e.rows
    cdef int64_t K = e.K, lanes = rows.kernels.sparse.lanes, i
    cdef int64_t padded_K = (K + lanes - 1) // lanes * lanes
    cdef size_t item = rows.kernels.itemsize, at = (sizeof(Sparse) + 63) // 64 * 64
    cdef Piece piece
    cdef Workspace work
    e.panel.c = take(memory, &at, padded_K * rows.n * item)
    e.panel.norms = take(memory, &at, padded_K * item)
    e.panel.ids = take(memory, &at, padded_K * item)
    e.norms = <double *>take(memory, &at, K * sizeof(double))
    e.begin = <int64_t *>take(memory, &at, (K + 1) * sizeof(int64_t))
    e.listed = <int64_t *>take(memory, &at, rows.m * sizeof(int64_t))
    e.pieces = <Piece *>take(memory, &at, e.n_pieces * sizeof(Piece))
    e.workspaces = <Workspace *>take(memory, &at, e.n_threads * sizeof(Workspace))
    e.carried = <double *>take(memory, &at, K * wide_stride(rows.n) * sizeof(double) if e.carries else 0)
    e.old_labels = <int32_t *>take(memory, &at, rows.m * sizeof(int32_t) if e.carries else 0)
    for i in range(e.n_pieces):
        piece.lead = <double *>take(memory, &at, rows.n * sizeof(double))
        if memory != NULL:
            e.pieces[i] = piece
    for i in range(e.n_threads):
        work.scores = take(memory, &at, CHUNK_ROWS * item)
        work.ids = <int32_t *>take(memory, &at, CHUNK_ROWS * sizeof(int32_t))
        if memory != NULL:
            e.workspaces[i] = work
    return at


cdef int64_t pieces_for(const Rows *rows, int64_t K) noexcept nogil:
    """Return a number of pieces that is enough for many threads, while their own sums stay small beside the rows and
    the centroids."""
    cdef int64_t by_work = <int64_t>(rows.stored / (PIECE_WORK * <double>rows.n))
    return max(1, min(min(by_work, rows.m), min(MAX_PIECES, max(FEW_PIECES, K))))


cdef Engine *sparse_open(const Problem *problem, int64_t K) noexcept nogil:
    cdef const Rows *rows = problem.rows
    cdef Sparse draft
    memset(&draft, 0, sizeof(draft))
    draft.engine.name = SPARSE.name
    draft.engine.step = sparse_step
    draft.engine.close = sparse_close
    draft.engine.n_labels = rows.m
    draft.rows = rows
    draft.K = draft.panel.K = K
    draft.panel.n = rows.n
    draft.n_chunks = (rows.m + CHUNK_ROWS - 1) // CHUNK_ROWS
    draft.n_pieces = pieces_for(rows, K)
    draft.carries = rows.weights == NULL and rows.kernels.itemsize == 4
    draft.rows_square = -1
    draft.n_threads = threads_for(problem.n_threads, rows.stored * K)
    draft.team = team_of(draft.n_threads)
    draft.engine.bytes = sparse_layout(&draft, NULL)
    cdef char *memory = <char *>allocate(draft.engine.bytes)
    if memory == NULL:
        return NULL
    sparse_layout(&draft, memory)
    memcpy(memory, &draft, sizeof(Sparse))
    return <Engine *>memory


cdef void sparse_close(Engine *engine) noexcept nogil:
    release(engine)


# ---- one step: labels ------------------------------------------------------------------------

cdef void pack_centroids(Sparse *e, const Step *s) noexcept nogil:
    """Compute the norms of the centroids, and pack the centroids where rows are to be scored."""
    cdef int64_t n_groups = e.rows.kernels.sparse.groups(s.K), n_batches = (s.K + NORMS_TOGETHER - 1) // NORMS_TOGETHER
    cdef int64_t stride = wide_stride(e.rows.n), i, k
    for i in prange(n_batches, schedule="static", num_threads=request_threads(e.team.threads)):
        k = i * NORMS_TOGETHER
        squared_norms(s.wide + k * stride, stride, e.rows.n, min(NORMS_TOGETHER, s.K - k), e.norms + k)
    if s.assign:
        for i in prange(n_groups, schedule="static", num_threads=request_threads(e.team.threads)):
            e.rows.kernels.sparse.pack(s.centroids, -2, e.norms, i, &e.panel)

cdef void score_chunk(Sparse *e, const Step *s, Poll *p, int thread, int64_t chunk) noexcept nogil:
    cdef Workspace *work = &e.workspaces[thread]
    cdef int64_t first = chunk * CHUNK_ROWS, count = min(CHUNK_ROWS, e.rows.m - first)
    if not poll(p):
        if e.carries:
            memcpy(e.old_labels + first, s.labels + first, count * sizeof(int32_t))
        work.n_changed += e.rows.kernels.sparse.assign(&e.rows.source, first, count, &e.panel, work.scores, work.ids,
                                                       s.labels + first)


cdef void measure_chunk(Sparse *e, const Step *s, Poll *p, int64_t chunk) noexcept nogil:
    """Find the squared distances of a chunk's rows, without sums."""
    cdef int64_t stride = wide_stride(e.rows.n), row, k
    if poll(p):
        return
    for row in range(chunk * CHUNK_ROWS, min((chunk + 1) * CHUNK_ROWS, e.rows.m)):
        k = s.labels[row]
        s.squared[row] = e.rows.kernels.sparse.squared_distance(&e.rows.source, row, s.wide + k * stride, e.norms[k])


# ---- one step: sums --------------------------------------------------------------------------

cdef void count_rows(Sparse *e, Step *s) noexcept nogil:
    """Find the counts and weights of the clusters."""
    cdef int64_t row, k
    memset(s.sums.counts, 0, s.K * sizeof(int64_t))
    memset(s.sums.weights, 0, s.K * sizeof(double))
    for row in range(e.rows.m):
        s.sums.counts[s.labels[row]] += 1
        if e.rows.weights != NULL:
            s.sums.weights[s.labels[row]] += e.rows.weights[row]
    if e.rows.weights == NULL:
        for k in range(s.K):
            s.sums.weights[k] = <double>s.sums.counts[k]


cdef inline void list_row(Sparse *e, int64_t k, int64_t row) noexcept nogil:
    e.listed[e.begin[k]] = row
    e.begin[k] += 1


cdef void list_rows(Sparse *e, const Step *s, bint moves) noexcept nogil:
    """List the rows by label, or only the moves: `row` under its new label, ~row under its old one."""
    cdef int64_t row, k
    memset(e.begin, 0, (s.K + 1) * sizeof(int64_t))
    for row in range(e.rows.m):
        if not moves or e.old_labels[row] != s.labels[row]:
            e.begin[s.labels[row] + 1] += 1
            if moves:
                e.begin[e.old_labels[row] + 1] += 1
    for k in range(s.K):
        e.begin[k + 1] += e.begin[k]
    # While rows are listed, begin[k] rises to where the next cluster begins.
    for row in range(e.rows.m):
        if not moves or e.old_labels[row] != s.labels[row]:
            list_row(e, s.labels[row], row)
            if moves:
                list_row(e, e.old_labels[row], ~row)
    for k in range(s.K, 0, -1):
        e.begin[k] = e.begin[k - 1]
    e.begin[0] = 0


cdef double add_listed(Sparse *e, const Step *s, int64_t k, int64_t at, int64_t count, double *sums,
                       bint moves) noexcept nogil:
    """Add `count` places of the list, all of cluster k, to its sums; return the sum of their squared distances."""
    cdef const Rows *rows = e.rows
    if moves:
        rows.kernels.sparse.apply_moves(&rows.source, e.listed + at, count, sums)
        return 0
    return rows.kernels.sparse.accumulate(&rows.source, e.listed + at, count, rows.weights,
                                          s.wide + k * wide_stride(rows.n), e.norms[k], sums, s.squared)


cdef void work_piece(Sparse *e, const Step *s, Poll *p, int64_t i, double *cluster_sums, bint moves) noexcept nogil:
    """Add piece i of the list to the sums."""
    cdef Piece *piece = &e.pieces[i]
    cdef int64_t at = e.begin[s.K] * i // e.n_pieces, last = e.begin[s.K] * (i + 1) // e.n_pieces
    cdef int64_t stride = wide_stride(e.rows.n), k = 0, end
    cdef double *sums
    piece.square = 0
    piece.lead_cluster = -1
    while at < last:
        while e.begin[k + 1] <= at:
            k += 1
        if at == e.begin[k]:
            sums = cluster_sums + k * stride
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


cdef void add_leads(Sparse *e, Step *s, double *cluster_sums) noexcept nogil:
    """Add the pieces' own sums to those of their clusters, in order."""
    cdef int64_t stride = wide_stride(e.rows.n), i, l
    cdef double *sums
    cdef const double *lead
    s.sums.square = 0
    for i in range(e.n_pieces):
        s.sums.square += e.pieces[i].square
        if e.pieces[i].lead_cluster >= 0:
            sums = cluster_sums + e.pieces[i].lead_cluster * stride
            lead = e.pieces[i].lead
            for l in range(e.rows.n):
                sums[l] += lead[l]


cdef void add_list(Sparse *e, Step *s, Poll *p, double *cluster_sums, bint moves) noexcept nogil:
    """Add the rows, or only the moves, to the sums of their clusters."""
    cdef int64_t i
    list_rows(e, s, moves)
    for i in prange(e.n_pieces, schedule="dynamic", chunksize=1, num_threads=request_threads(e.team.threads)):
        work_piece(e, s, p, i, cluster_sums, moves)
    add_leads(e, s, cluster_sums)


cdef void add_rows(Sparse *e, Step *s, Poll *p) noexcept nogil:
    """Add up every row, and its squared distance from differences."""
    cdef int64_t size = wide_stride(e.rows.n) * sizeof(double), k
    s.sums.incremental = False
    for k in range(s.K):
        if s.sums.counts[k] == 0:
            memset(<char *>s.sums.offsets + k * size, 0, size)
    add_list(e, s, p, s.sums.offsets, False)
    if e.carries and s.sum and not is_stopped(p):
        memcpy(e.carried, s.sums.offsets, s.K * size)


cdef double dot(const double *a, const double *b, int64_t n) noexcept nogil:
    """Return the inner product of two vectors whose length is a multiple of 8."""
    cdef double sums[8]
    cdef int64_t l, i
    memset(sums, 0, sizeof(sums))
    for l in range(0, n, 8):
        for i in range(8):
            sums[i] += a[l + i] * b[l + i]
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


cdef bint carried_precisely(Sparse *e, Step *s) noexcept nogil:
    """Compute the sum of squared distances from the sums; False where too few digits of it are left."""
    cdef int64_t stride = wide_stride(e.rows.n), k
    cdef double cross_term, norm_term, magnitude
    if e.rows_square < 0:
        e.rows_square = e.rows.kernels.sparse.sum_of_squares(&e.rows.source, 0, e.rows.m)
    s.sums.square = magnitude = e.rows_square
    for k in range(s.K):
        cross_term = 2 * dot(s.wide + k * stride, s.sums.offsets + k * stride, stride)
        norm_term = s.sums.counts[k] * e.norms[k]
        s.sums.square += norm_term - cross_term
        magnitude += norm_term + fabs(cross_term)
    return magnitude <= MAX_CANCELLATION * s.sums.square


cdef bint add_moves(Sparse *e, Step *s, Poll *p) noexcept nogil:
    """Add the moves to the carried sums; False where every row is to be added up after all."""
    # Where nothing moved this may be the last step, so it is to have every digit.
    if s.n_changed == 0 or s.n_changed > MAX_MOVES * e.rows.m:
        return False
    s.sums.incremental = True
    add_list(e, s, p, e.carried, True)
    if is_stopped(p):
        return True
    memcpy(s.sums.offsets, e.carried, s.K * wide_stride(e.rows.n) * sizeof(double))
    return carried_precisely(e, s)


cdef int sparse_step(Engine *engine, Step *s, Poll *p) noexcept nogil:
    cdef Sparse *e = <Sparse *>engine
    cdef int64_t i
    cdef bint carried = (s.labels_epoch != 0 and e.carried_epoch == s.labels_epoch and s.assign and s.squared == NULL
                         and not s.full_sums)
    e.carried_epoch = 0
    s.max_abs_bits = e.rows.max_abs_bits
    s.sums.uncentred = True
    s.sums.incremental = False
    s.n_changed = 0
    s.n_distances = e.rows.m * s.K
    begin_step(&e.team)
    pack_centroids(e, s)
    if s.assign:
        for i in range(e.n_threads):
            e.workspaces[i].n_changed = 0
        for i in prange(e.n_chunks, schedule="dynamic", chunksize=1, num_threads=request_threads(e.team.threads)):
            score_chunk(e, s, p, threadid(), i)
            end_part(&e.team, threadid())
        end_step(&e.team, e.n_chunks)
        for i in range(e.n_threads):
            s.n_changed += e.workspaces[i].n_changed
    if is_stopped(p):
        return 1
    if s.sum or s.measure:
        count_rows(e, s)
        if not (carried and add_moves(e, s, p)):
            add_rows(e, s, p)
        e.carried_epoch = s.epoch if e.carries and s.sum and not is_stopped(p) else 0
    elif s.squared != NULL:
        for i in prange(e.n_chunks, schedule="dynamic", chunksize=1, num_threads=request_threads(e.team.threads)):
            measure_chunk(e, s, p, i)
    return is_stopped(p)


cdef EngineFactory SPARSE
memset(&SPARSE, 0, sizeof(SPARSE))
SPARSE.name = b"sparse"
SPARSE.sparse_rows = SPARSE.distances = SPARSE.row_sums = SPARSE.wide = True
SPARSE.open = sparse_open
ENGINE = entry_of(&SPARSE)
