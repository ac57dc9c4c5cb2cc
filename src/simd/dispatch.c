#include "dispatch.h"

#include <stddef.h>

#if defined(__x86_64__) || defined(_M_X64)
#define ON_X86_64
#if defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>

/* Bit `bit` of EBX of CPUID leaf 7, if the operating system saves the registers of XCR0 mask `saved`. */
static int leaf7(int bit, unsigned long long saved)
{
    int r[4];
    __cpuid(r, 1);
    if (!(r[2] & (1 << 27)) || (_xgetbv(0) & saved) != saved) return 0;
    __cpuidex(r, 7, 0);
    return (r[1] >> bit) & 1;
}
static int has_fma(void)
{
    int r[4];
    __cpuid(r, 1);
    return (r[2] >> 12) & 1;
}
static int has_avx2(void) { return leaf7(5, 0x6) && has_fma(); }
/* MSVC's /arch:AVX512 means F, CD, BW, DQ and VL. */
static int has_avx512(void)
{
    return leaf7(16, 0xe6) && leaf7(17, 0xe6) && leaf7(28, 0xe6) && leaf7(30, 0xe6) && leaf7(31, 0xe6);
}
#else
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) { return __builtin_cpu_supports("avx512f") && has_avx2(); }
#endif
#endif

static int always(void) { return 1; }

#define BUILT(set) extern const struct kernels *ckmeans_kernels_##set(int itemsize)
#ifdef CKMEANS_BUILT_AVX512
BUILT(avx512);
#endif
#ifdef CKMEANS_BUILT_AVX2
BUILT(avx2);
#endif
#ifdef CKMEANS_BUILT_NEON
BUILT(neon);
#endif
BUILT(baseline);

const struct instruction_set ckmeans_instruction_sets[] = {
#ifdef CKMEANS_BUILT_AVX512
    { "avx512", ckmeans_kernels_avx512, has_avx512 },
#endif
#ifdef CKMEANS_BUILT_AVX2
    { "avx2", ckmeans_kernels_avx2, has_avx2 },
#endif
#ifdef CKMEANS_BUILT_NEON
    { "neon", ckmeans_kernels_neon, always },
#endif
    { "baseline", ckmeans_kernels_baseline, always },
    { NULL, NULL, NULL },
};
