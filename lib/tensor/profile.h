/* Tables of what the steps of a plan cost. */
#ifndef TENSOR_PROFILE_H
#define TENSOR_PROFILE_H

#include "tensor/schedule.h"

#include <stdio.h>

/* What a step, or a loop, reads and writes at least: an operand that repeats is counted once. */
size_t step_bytes(const struct step *step);
size_t loop_bytes(const struct loop *loop);

/* By kind of step and by layer (the first parts of its scope), sorted by time; `runs`: how many
 * runs the steps' seconds are the sum of. */
void profile_write(const struct step *steps, size_t count, uint64_t runs, FILE *out);

#endif
