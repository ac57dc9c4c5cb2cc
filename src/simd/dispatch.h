/* Which instruction sets this build holds and this processor runs, best first. */
#ifndef CKMEANS_DISPATCH_H
#define CKMEANS_DISPATCH_H
#include "kernels.h"

struct instruction_set {
    const char *name;
    const struct kernels *(*kernels)(int itemsize);
    int (*supported)(void);
};

/* Ends with a member whose name is NULL; the last set before it runs everywhere. */
extern const struct instruction_set ckmeans_instruction_sets[];

#endif
