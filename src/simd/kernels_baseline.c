#include "kernels.h"
#include "vec_baseline.h"
#define SET baseline
#define GROUP_MAX 5
#include "kernels_both.h"
