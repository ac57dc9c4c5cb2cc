#include "kernels.h"
#include "vec_neon.h"
#define SET neon
#define GROUP_MAX 6
#include "kernels_both.h"
