#include "kernels.h"
#include "vec_avx512.h"
#define SET avx512
#define GROUP_MAX 12
#include "kernels_both.h"
