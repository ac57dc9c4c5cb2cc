/* The kernels for AVX-VNNI with the same instruction as AVX-512 encodes it: for machines that have only that one. */
#include <immintrin.h>

#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define ckmeans_codes_avxvnni ckmeans_codes_avxvnni_as_avx512
#include "simd/codes_avxvnni.c"
