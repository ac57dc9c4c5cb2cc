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

int main(void)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 8, 9, 17, 40, 300 };
    static const int64_t counts[] = { 1, 2, 3, 5, 6, 7, 11, 12, 23 };
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
    return failures != 0;
}
