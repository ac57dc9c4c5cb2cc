/* The kernels of one instruction set, for float32 and float64. The includer defines SET, its
 * name, and has included its vocabulary. */
#include <math.h>
#include <string.h>

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

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
