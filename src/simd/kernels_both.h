/* The kernels of one instruction set, for float32 and float64. The includer defines SET (its name) and
 * GROUP_MAX (its GROUP, which #if cannot read from an enum), and has included its vocabulary. */
#include <math.h>
#include <string.h>

/* Applies CASE to each width of a group. A missing width would be skipped silently; a width above GROUP
 * would overrun the accumulators. */
#if GROUP_MAX == 12
#define WIDTHS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#elif GROUP_MAX == 6
#define WIDTHS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#elif GROUP_MAX == 5
#define WIDTHS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#endif
typedef char group_max_matches[f32_GROUP == GROUP_MAX && f64_GROUP == GROUP_MAX ? 1 : -1];

#define STRING2(a) #a
#define STRING(a) STRING2(a)
#if defined(__clang__)
#define COMPILER "clang " STRING(__clang_major__) "." STRING(__clang_minor__)
#elif defined(__GNUC__)
#define COMPILER "gcc " STRING(__GNUC__) "." STRING(__GNUC_MINOR__)
#elif defined(_MSC_VER)
#define COMPILER "msvc " STRING(_MSC_VER)
#else
#define COMPILER "unknown"
#endif

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

#include "wide_body.h"

#define REAL float
#define BITS uint32_t
#define V(name) f32_##name
#define F(name) kernel32_##name
#define WIDE(name) PASTE2(wide_##name, _f32)
#include "kernels_body.h"
#undef REAL
#undef BITS
#undef V
#undef F
#undef WIDE

#define REAL double
#define BITS uint64_t
#define V(name) f64_##name
#define F(name) kernel64_##name
#define WIDE(name) PASTE2(wide_##name, _f64)
#include "kernels_body.h"

const struct kernels *PASTE(ckmeans_kernels_, SET)(int itemsize)
{
    return itemsize == 4 ? &kernel32_kernels : &kernel64_kernels;
}
