/* The instruction sets of this build, best first, and whether this processor supports them. */
#ifndef CKMEANS_DISPATCH_H
#define CKMEANS_DISPATCH_H
#include "kernels.h"

struct instruction_set {
    const char *name;
    const struct kernels *(*kernels)(int itemsize);
    int (*supported)(void);
    const struct code_kernels *(*codes)(void); /* the best ones for this processor */
};

/* The last entry's name is NULL; the set before it runs on every processor of this architecture. */
extern const struct instruction_set ckmeans_instruction_sets[];

/* Names of the instructions for 8-bit codes of this build, best first, then NULL. */
extern const char *const ckmeans_built_codes[];

#endif
