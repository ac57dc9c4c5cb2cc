#include "dispatch.h"

#include <stddef.h>

#if defined(__x86_64__) || defined(_M_X64)
#define ON_X86_64
#if defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>

/* Bit `bit` of register `index` (0: EAX, 1: EBX, 2: ECX) of CPUID leaf 7, sub-leaf `sub`, if the operating system saves
 * the registers of XCR0 mask `saved`. */
static int leaf7_of(int sub, int index, int bit, unsigned long long saved)
{
    int r[4];
    __cpuid(r, 1);
    if (!(r[2] & (1 << 27)) || (_xgetbv(0) & saved) != saved) return 0;
    __cpuidex(r, 7, 0);
    if (r[0] < sub) return 0;
    __cpuidex(r, 7, sub);
    return (r[index] >> bit) & 1;
}
static int leaf7(int bit, unsigned long long saved) { return leaf7_of(0, 1, bit, saved); }
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
static int has_avx512vnni(void) { return leaf7_of(0, 2, 11, 0xe6) && has_avx512(); }
static int has_avxvnni(void) { return leaf7_of(1, 0, 4, 0x6) && has_avx2(); }
#else
#include <cpuid.h>

static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) { return __builtin_cpu_supports("avx512f") && has_avx2(); }
static int has_avx512vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") && has_avx512();
}
/* Compilers learned its name only lately. */
static int has_avxvnni(void)
{
    unsigned eax, ebx, ecx, edx;
    return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
/* HWCAP_ASIMDDP of <asm/hwcap.h>. */
static int has_dotprod(void) { return (getauxval(AT_HWCAP) >> 20) & 1; }
#elif defined(__aarch64__) && defined(__APPLE__)
static int has_dotprod(void) { return 1; }
#elif defined(_M_ARM64)
#include <windows.h>
static int has_dotprod(void) { return IsProcessorFeaturePresent(43 /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */) != 0; }
#elif defined(__aarch64__)
static int has_dotprod(void) { return 0; }
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

#define BUILT_CODES(set) extern const struct code_kernels *ckmeans_codes_##set(void)
BUILT_CODES(avx512vnni);
BUILT_CODES(avxvnni);
BUILT_CODES(avx2);
BUILT_CODES(dotprod);
BUILT_CODES(neon);
BUILT_CODES(baseline);

#ifdef CKMEANS_BUILT_AVX2
static const struct code_kernels *avx2_codes(void)
{
#ifdef CKMEANS_BUILT_CODES_AVXVNNI
    if (has_avxvnni()) return ckmeans_codes_avxvnni();
#endif
    return ckmeans_codes_avx2();
}
#endif
#ifdef CKMEANS_BUILT_AVX512
static const struct code_kernels *avx512_codes(void)
{
#ifdef CKMEANS_BUILT_CODES_AVX512VNNI
    if (has_avx512vnni()) return ckmeans_codes_avx512vnni();
#endif
#ifdef CKMEANS_BUILT_AVX2
    return avx2_codes();
#else
    return ckmeans_codes_baseline();
#endif
}
#endif
#ifdef CKMEANS_BUILT_NEON
static const struct code_kernels *neon_codes(void)
{
#ifdef CKMEANS_BUILT_CODES_DOTPROD
    if (has_dotprod()) return ckmeans_codes_dotprod();
#endif
    return ckmeans_codes_neon();
}
#endif

const char *const ckmeans_built_codes[] = {
#ifdef CKMEANS_BUILT_CODES_AVX512VNNI
    "avx512vnni",
#endif
#ifdef CKMEANS_BUILT_CODES_AVXVNNI
    "avxvnni",
#endif
#ifdef CKMEANS_BUILT_CODES_AVX2
    "avx2",
#endif
#ifdef CKMEANS_BUILT_CODES_DOTPROD
    "dotprod",
#endif
#ifdef CKMEANS_BUILT_CODES_NEON
    "neon",
#endif
    "baseline",   NULL,
};

const struct instruction_set ckmeans_instruction_sets[] = {
#ifdef CKMEANS_BUILT_AVX512
    { "avx512", ckmeans_kernels_avx512, has_avx512, avx512_codes },
#endif
#ifdef CKMEANS_BUILT_AVX2
    { "avx2", ckmeans_kernels_avx2, has_avx2, avx2_codes },
#endif
#ifdef CKMEANS_BUILT_NEON
    { "neon", ckmeans_kernels_neon, always, neon_codes },
#endif
    { "baseline", ckmeans_kernels_baseline, always, ckmeans_codes_baseline },
    { NULL, NULL, NULL, NULL },
};
