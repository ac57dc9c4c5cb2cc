#include "kernels.h"
#include "vec_avx2.h"
#define SET avx2
#define GROUP_MAX 6
#include "kernels_both.h"
