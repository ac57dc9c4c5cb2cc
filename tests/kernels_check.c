/* Compares every kernel of every instruction set that this processor supports with plain loops.
 *
 * For machines without Python: cross-compiled, it runs under an emulator. tools/check_kernels.py builds and runs it;
 * the suite in Python tests what is made of the kernels.
 *
 *   --list           print the kernels' names and end
 *   --set NAME       check this set or these instructions of codes alone
 *   --without NAME   put a function that does nothing in this kernel's place: the checks must fail
 *   --spare BYTES    see kernels_check_memory.h */
#include "simd/dispatch.h"

#include <math.h>

#include "kernels_check_memory.h"

static int failures = 0;
static int64_t comparisons = 0; /* of the present set */

/* ---- the tables ---- */

/* The kernels in the order of struct kernels, struct sparse_kernels and struct code_kernels. */
static const char *const dense_names[] = {
    "pack",
    "scale_rows",
    "pack_centroids",
    "assign",
    "assign_rows_size",
    "assign_rows_pack",
    "assign_rows",
    "accumulate",
    "distances",
    "weighted_sum",
    "min_distance_update",
    "project",
    "pair_distances",
    "quantise",
    "orthonormalise",
    "init_candidates",
    "prune",
    "assign_leaf",
    "median_partition",
    "fill_leaf",
    "classify",
};
static const char *const sparse_names[] = {
    "sparse.groups",
    "sparse.pack",
    "sparse.assign",
    "sparse.norms",
    "sparse.min_distance_update",
    "sparse.squared_distance",
    "sparse.accumulate",
    "sparse.apply_moves",
    "sparse.sum_of_squares",
};
static const char *const code_names[] = { "codes.pack_points", "codes.pack_centroids", "codes.screen",
                                          "codes.products" };

typedef int64_t (*kernel)(void);

/* A kernel that is in a table but not above does not compile. */
#define NAMES(names) (sizeof names / sizeof *names)
_Static_assert(offsetof(struct kernels, sparse) - offsetof(struct kernels, pack) == NAMES(dense_names) * sizeof(kernel),
               "names");
_Static_assert(sizeof(struct sparse_kernels) - offsetof(struct sparse_kernels, groups) ==
                   NAMES(sparse_names) * sizeof(kernel),
               "names");
_Static_assert(sizeof(struct code_kernels) - offsetof(struct code_kernels, pack_points) ==
                   NAMES(code_names) * sizeof(kernel),
               "names");

static const char *without = "", *only = "";

/* Returns 0, and -1 where a double is awaited: what is there before a call would often be the right number. */
static double __attribute__((noinline)) minus_one(void) { return -1; }
static int64_t does_nothing(void)
{
    volatile double left = minus_one();
    (void)left;
    return 0;
}

/* Replaces the kernel `without` of a table, whose kernels begin at `first`. */
static void replace(char *first, const char *const *names, size_t count)
{
    const kernel replacement = does_nothing;
    for (size_t i = 0; i < count; ++i)
        if (!strcmp(names[i], without)) memcpy(first + i * sizeof replacement, &replacement, sizeof replacement);
}

struct table {
    struct kernels kernels;
    struct sparse_kernels sparse;
};

/* A copy of a table, perhaps without one of its kernels. */
static const struct kernels *copy_table(const struct kernels *from, struct table *to)
{
    to->kernels = *from, to->sparse = *from->sparse, to->kernels.sparse = &to->sparse;
    replace((char *)&to->kernels.pack, dense_names, NAMES(dense_names));
    replace((char *)&to->sparse.groups, sparse_names, NAMES(sparse_names));
    return &to->kernels;
}

/* ---- the checks ---- */

/* The first failure ends a run that is made to fail. */
static void fail(void)
{
    failures += 1;
    if (*without) exit(1);
}

static void expect(int good, const struct kernels *k, const char *what, int64_t m, int64_t n, int64_t K)
{
    comparisons += 1;
    if (good) return;
    printf("%s, %d bytes: %s is wrong at m=%d n=%d K=%d\n", k->name, k->itemsize, what, (int)m, (int)n, (int)K);
    fail();
}

/* Multiples of 1/64 in [-2, 2), from a linear congruential generator. */
static double random_value(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)((int64_t)(state >> 56) - 128) / 64;
}

static double square_of(double a) { return a * a; }

static int close_to(double a, double b) { return fabs(a - b) <= 1e-12 * (1 + fabs(b)); }

#include "kernels_check_codes.h"

#define REAL float
#define BITS uint32_t
#define FMA fmaf
#define F(name) name##32
#include "kernels_check_body.h"
#undef REAL
#undef BITS
#undef FMA
#undef F

#define REAL double
#define BITS uint64_t
#define FMA fma
#define F(name) name##64
#include "kernels_check_body.h"

/* ---- the instruction sets ---- */

static int is_asked_for(const char *name) { return !*only || !strcmp(only, name); }

/* Prints what tools/check_kernels.py reads: a set is checked only if this says so. */
static void report(const char *what, const char *name, size_t kernels, int before)
{
    printf("%s%s: %s, %zu kernels, %lld comparisons\n", what, name, failures == before ? "ok" : "FAILED", kernels,
           (long long)comparisons);
    comparisons = 0;
}

static void check_set(const struct instruction_set *set)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 65, 300 };
    static const int64_t counts[] = { 1, 2, 3, 5, 6, 7, 11, 12, 23 };
    const int before = failures;
    struct table table32, table64;
    const struct kernels *const k32 = copy_table(set->kernels(4), &table32);
    const struct kernels *const k64 = copy_table(set->kernels(8), &table64);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        for (size_t j = 0; j < sizeof counts / sizeof *counts; ++j) {
            at_end = (i + j) % 2 == 0;
            for (int side = 0; side < 2; ++side, at_end = !at_end) {
                const int64_t m = 1 + 37 * (int64_t)j + side;
                check32(k32, m, sizes[i], counts[j]);
                check64(k64, m, sizes[i], counts[j]);
            }
        }
    }
    check32(k32, 41, 801, 7); /* more features than `assign` scores in one pass */
    check64(k64, 41, 801, 7);
    report("", set->name, 2 * (NAMES(dense_names) + NAMES(sparse_names)), before);
}

static void check_code_set(const char *name, const struct code_kernels *codes)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 8, 9, 17, 40, 63, 64, 65, 300 };
    static const int64_t counts[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23 };
    const int before = failures;
    if (!codes) {
        printf("codes %s: skipped, this processor has no such instructions\n", name);
        return;
    }
    struct code_kernels table = *codes;
    replace((char *)&table.pack_points, code_names, NAMES(code_names));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        for (size_t j = 0; j < sizeof counts / sizeof *counts; ++j) {
            at_end = (i + j) % 2 == 0;
            check_codes(&table, 1 + 5 * (int64_t)j, sizes[i], counts[j]);
        }
    }
    check_most_features(&table);
    report("codes ", name, NAMES(code_names), before);
}

/* The kernels of these instructions, if the dispatch chooses them for some set. */
static const struct code_kernels *codes_of(const char *name)
{
    for (const struct instruction_set *set = ckmeans_instruction_sets; set->name; ++set)
        if (set->supported() && !strcmp(set->codes()->name, name)) return set->codes();
    return 0;
}

static int is_supported(const char *name)
{
    for (const struct instruction_set *set = ckmeans_instruction_sets; set->name; ++set)
        if (!strcmp(set->name, name)) return set->supported();
    return 0;
}

static void check_code_sets(void)
{
#if defined(__x86_64__)
    extern const struct code_kernels *ckmeans_codes_avx2(void), *ckmeans_codes_avxvnni_as_avx512(void);
    const int vnni = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    if (is_asked_for("avx512vnni")) check_code_set("avx512vnni", codes_of("avx512vnni"));
    if (is_asked_for("avxvnni")) check_code_set("avxvnni", codes_of("avxvnni"));
    if (is_asked_for("avxvnni")) check_code_set("avxvnni as of avx512", vnni ? ckmeans_codes_avxvnni_as_avx512() : 0);
    if (is_asked_for("avx2")) check_code_set("avx2", is_supported("avx2") ? ckmeans_codes_avx2() : 0);
#elif defined(__aarch64__)
    extern const struct code_kernels *ckmeans_codes_neon(void);
    if (is_asked_for("dotprod")) check_code_set("dotprod", codes_of("dotprod"));
    if (is_asked_for("neon")) check_code_set("neon", is_supported("neon") ? ckmeans_codes_neon() : 0);
#endif
    if (is_asked_for("baseline")) check_code_set("baseline", codes_of("baseline"));
}

static int list_kernels(void)
{
    for (size_t i = 0; i < NAMES(dense_names); ++i) puts(dense_names[i]);
    for (size_t i = 0; i < NAMES(sparse_names); ++i) puts(sparse_names[i]);
    for (size_t i = 0; i < NAMES(code_names); ++i) puts(code_names[i]);
    return 0;
}

int main(int n_arguments, char **arguments)
{
    setvbuf(stdout, 0, _IOLBF, BUFSIZ); /* a crash leaves what was found */
    for (int i = 1; i < n_arguments; ++i) {
        const char *value = i + 1 < n_arguments ? arguments[i + 1] : "";
        if (!strcmp(arguments[i], "--list")) return list_kernels();
        if (!strcmp(arguments[i], "--set"))
            only = value, ++i;
        else if (!strcmp(arguments[i], "--without"))
            without = value, ++i;
        else if (!strcmp(arguments[i], "--spare"))
            spare = atoi(value), ++i;
        else
            return 2;
    }
    for (const struct instruction_set *set = ckmeans_instruction_sets; set->name; ++set)
        if (set->supported() && is_asked_for(set->name)) check_set(set);
    check_code_sets();
    return failures != 0;
}
