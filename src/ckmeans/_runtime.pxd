"""What every engine stands on: the kernels that were chosen, threads, interruption."""
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t, uint64_t


cdef extern from "simd/kernels.h" nogil:
    struct panel:
        int64_t K
        int64_t n
        void *c
        void *norms
        void *ids

    struct source:
        const char *data
        int64_t m
        int64_t n
        int64_t row_stride
        int64_t column_stride
        int dtype
        int swapped
        const void *indices
        const void *indptr
        int int64_indices
        const double *factors

    struct sparse_kernels:
        int lanes
        int64_t (*groups)(int64_t K) noexcept nogil
        void (*pack)(const void *centroids, double scale, const double *norms, int64_t group,
                     panel *panel) noexcept nogil
        int64_t (*assign)(const source *X, int64_t first, int64_t count, const panel *panel, void *scores,
                          int32_t *ids, int32_t *labels) noexcept nogil
        void (*norms)(panel *panel) noexcept nogil
        void (*min_distance_update)(const source *X, int64_t first, int64_t count, const panel *panel,
                                    const void *current, int64_t length, void *updated) noexcept nogil
        double (*squared_distance)(const source *X, int64_t row, const double *centroid, double norm) noexcept nogil
        double (*accumulate)(const source *X, const int64_t *rows, int64_t count, const double *weights,
                             const double *centroid, double norm, double *sums, double *squared) noexcept nogil
        void (*apply_moves)(const source *X, const int64_t *moves, int64_t count, double *sums) noexcept nogil
        double (*sum_of_squares)(const source *X, int64_t first, int64_t count) noexcept nogil

    struct sums:
        double *offsets
        double *weights
        int64_t *counts
        double square[16]

    struct hit:
        int32_t k
        uint32_t points

    int ROW_PADDING
    int LEAF
    int MAX_TREE_FEATURES

    struct leaf:
        const void *points
        const double *multiplicities
        const double *weights
        int unweighted
        int32_t *labels

    int CODE_TILE
    int CODE_MAX
    int CODE_GROUP_MAX
    int CODE_FEATURES_MAX

    struct code_stats:
        float scale
        float length
        float error
        float residual

    struct code_rows:
        int8_t *codes
        int64_t stride
        code_stats *stats
        double *squares

    struct code_tile:
        int32_t *words
        float scale[32]
        float length[32]
        float error[32]
        float residual[32]
        float bound[32]
        float slack[32]
        float lowest_above[32]

    struct code_panel:
        int64_t K
        int64_t words
        int32_t *codes
        int32_t *starts
        float *scales
        float *norms
        float *gaps
        float *lengths
        float *errors
        float *residuals

    struct code_kernels:
        const char *name
        int group
        int centroid_max
        double cost
        void (*pack_points)(const int8_t *codes, int64_t stride, const int32_t *row, int64_t words,
                            int32_t *tile) noexcept nogil
        void (*pack_centroids)(const int8_t *codes, int64_t stride, const int32_t *k,
                               code_panel *panel) noexcept nogil
        int64_t (*screen)(code_tile *tile, const code_panel *panel, hit *hits, float *scores) noexcept nogil
        void (*products)(const code_rows *points, const code_rows *centroids, const int32_t *sums, int64_t words,
                         const int32_t *row, const int32_t *k, int64_t count, int32_t *products) noexcept nogil

    struct kernels:
        const char *name
        const char *compiler
        int itemsize
        int tile
        int max_group
        int max_features
        int list_block
        uint64_t (*pack)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift,
                         void *tiles) noexcept nogil
        void (*scale_rows)(const void *rows, int64_t stride, int64_t count, int64_t n, const double *factors,
                           void *scaled) noexcept nogil
        void (*pack_centroids)(const void *centroids, const void *shift, panel *panel) noexcept nogil
        void (*assign)(const void *tiles, int64_t ntiles, const panel *panel, void *scores,
                       void *ids, void *partial) noexcept nogil
        int64_t (*assign_rows_size)(int64_t K, int64_t n) noexcept nogil
        void (*assign_rows_pack)(const void *centroids, const void *shift, int64_t K, int64_t n,
                                 void *packed) noexcept nogil
        int64_t (*assign_rows)(const void *rows, int64_t stride, int64_t count, int64_t K, int64_t n,
                               const void *packed, void *ids, int32_t *undecided,
                               uint64_t *max_abs_bits) noexcept nogil
        void (*accumulate)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                           const double *weights, const void *centroids, sums *sums) noexcept nogil
        void (*distances)(const void *rows, int64_t stride, int64_t count, int64_t n, const int32_t *labels,
                          const void *centroids, double *squared) noexcept nogil
        double (*weighted_sum)(const void *values, const double *weights, int64_t count) noexcept nogil
        void (*min_distance_update)(const void *tiles, int64_t ntiles, int64_t n, const void *centres,
                                    int64_t trials, const void *current, void *updated) noexcept nogil
        void (*project)(const void *tiles, int64_t ntiles, const panel *panel, int64_t tile_features,
                        void *products) noexcept nogil
        void (*pair_distances)(const void *rows, int64_t stride, int64_t n, const void *centroids,
                               const int32_t *row, const int32_t *k, int64_t count, void *squared) noexcept nogil
        uint64_t (*quantise)(const void *rows, int64_t stride, int64_t count, int64_t n, const void *shift,
                             double factor, double margin, int code_max, const code_rows *to) noexcept nogil
        void (*orthonormalise)(double *rows, int64_t count, int64_t n) noexcept nogil
        void (*init_candidates)(const void *centroids, const void *shift, int64_t K, int64_t n,
                                void *list) noexcept nogil
        int64_t (*prune)(const void *list, int64_t count, const void *edges, const void *shift, int64_t n,
                         void *kept) noexcept nogil
        int64_t (*assign_leaf)(const leaf *leaf, const void *list, int64_t count, const void *shift, int64_t n,
                               const double *centroids, sums *sums) noexcept nogil
        int64_t (*median_partition)(const void *columns, const int32_t *ids, int64_t stride, int64_t count,
                                    int64_t n, int64_t n_left, void *to, int32_t *to_ids, void *value, void *keys,
                                    int32_t *places) noexcept nogil
        void (*fill_leaf)(const void *columns, int64_t stride, int64_t count, int64_t n, const double *weights,
                          void *points, void *edges, double *sums) noexcept nogil
        void (*classify)(const void *rows, int64_t stride, int64_t count, int depth, const int32_t *feature,
                         const void *value, int32_t *bucket) noexcept nogil
        const sparse_kernels *sparse

    int64_t wide_stride(int64_t n)
    int lowest_bit(uint32_t bits)
    int count_bits(uint32_t bits)


cdef const kernels *kernels_for(int itemsize) noexcept nogil
cdef const code_kernels *kernels_of_codes() noexcept nogil

cdef extern from "simd/threads.h" nogil:
    # Of flags and counters that threads share: acquire and release.
    int load_flag "ckmeans_load_flag"(const int *flag)
    void store_flag "ckmeans_store_flag"(int *flag, int value)
    int64_t load_counter "ckmeans_load"(const int64_t *value)
    int64_t fetch_add "ckmeans_fetch_add"(int64_t *value, int64_t addend)


cdef int threads_for(int n_threads, double work) noexcept nogil
cdef int request_threads(int wanted) noexcept nogil
cdef int thread_num() noexcept nogil
cdef int team_size() noexcept nogil
cdef double now() noexcept nogil
cdef void yield_cpu() noexcept nogil

cdef void *allocate(size_t size) noexcept nogil
cdef void release(void *memory) noexcept nogil


# Polled in long work. Only the thread that called from Python polls signals; the others see `stopped`.
cdef struct Poll:
    PyObject *context
    double next              # time of the next look at signals
    int stopped              # shared: is_stopped, stop_work
    int64_t done

cdef inline bint is_stopped(const Poll *p) noexcept nogil:
    return load_flag(&p.stopped)

cdef inline void stop_work(Poll *p) noexcept nogil:
    store_flag(&p.stopped, 1)

cdef int poll(Poll *p) noexcept nogil
cdef int sleep_and_poll(Poll *p) noexcept nogil


cdef class CallContext:
    cdef Poll poll
    cdef object error
    cdef object on_progress
    cdef void stop(self, error)  # and raise this error later
    cdef int check(self) except -1
