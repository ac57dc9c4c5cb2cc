/* Compares the kernels of every instruction set that this processor supports with plain loops.
 *
 * For machines without Python: cross-compiled, it runs under an emulator (tools/check_kernels.py).
 * The suite in Python tests more; this shows that an instruction set's kernels compute what they
 * should. */
#include "simd/dispatch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int good, const struct kernels *k, const char *what, int64_t m, int64_t n, int64_t K)
{
    if (good) return;
    failures += 1;
    printf("%s, %d bytes: %s is wrong at m=%d n=%d K=%d\n", k->name, k->itemsize, what, (int)m, (int)n, (int)K);
}

/* Multiples of 1/64 in [-2, 2), from a linear congruential generator. */
static double random_value(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)((int64_t)(state >> 56) - 128) / 64;
}

/* Filled with 0xff, so that a value which a kernel does not write is a NaN. */
static void *allocate(int64_t size)
{
    void *memory = aligned_alloc(64, (size_t)(size + 127) / 64 * 64);
    if (!memory) abort();
    return memset(memory, 0xff, (size_t)size);
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

static void check_code_set(const char *name, const struct code_kernels *codes)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 8, 9, 17, 40, 63, 64, 65, 300 };
    static const int64_t counts[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23 };
    const int before = failures;
    if (!codes) {
        printf("codes %s: skipped, this processor has no such instructions\n", name);
        return;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
        for (size_t j = 0; j < sizeof counts / sizeof *counts; ++j)
            check_codes(codes, 1 + 5 * (int64_t)j, sizes[i], counts[j]);
    check_most_features(codes);
    printf("codes %s: %s\n", name, failures == before ? "ok" : "FAILED");
}

static void check_code_sets(void)
{
#if defined(__x86_64__)
    extern const struct code_kernels *ckmeans_codes_avx2(void), *ckmeans_codes_avxvnni_as_avx512(void);
    const int vnni = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    check_code_set("avx512vnni", codes_of("avx512vnni"));
    check_code_set("avxvnni", codes_of("avxvnni"));
    check_code_set("avxvnni as of avx512", vnni ? ckmeans_codes_avxvnni_as_avx512() : 0);
    check_code_set("avx2", is_supported("avx2") ? ckmeans_codes_avx2() : 0);
#elif defined(__aarch64__)
    extern const struct code_kernels *ckmeans_codes_neon(void);
    check_code_set("dotprod", codes_of("dotprod"));
    check_code_set("neon", is_supported("neon") ? ckmeans_codes_neon() : 0);
#endif
    check_code_set("baseline", codes_of("baseline"));
}

int main(int n_arguments, char **arguments)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 8, 9, 17, 40, 300 };
    static const int64_t counts[] = { 1, 2, 3, 5, 6, 7, 11, 12, 23 };
    spare = n_arguments > 1 ? atoi(arguments[1]) : 0;
    setvbuf(stdout, 0, _IOLBF, BUFSIZ); /* a crash leaves what was found */
    for (const struct instruction_set *set = ckmeans_instruction_sets; set->name; ++set) {
        if (!set->supported()) continue;
        const int before = failures;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
            for (size_t j = 0; j < sizeof counts / sizeof *counts; ++j) {
                check32(set->kernels(4), 1 + 37 * (int64_t)j, sizes[i], counts[j]);
                check64(set->kernels(8), 1 + 37 * (int64_t)j, sizes[i], counts[j]);
            }
        }
        printf("%s: %s\n", set->name, failures == before ? "ok" : "FAILED");
    }
    check_code_sets();
    return failures != 0;
}
