/* Joining jobs into loops, and compiling loops. */
#ifndef TENSOR_FUSE_H
#define TENSOR_FUSE_H

#include "tensor/lower.h"

/* The steps of the lowering's jobs, from its arena; returns how many. */
size_t fuse_jobs(struct lowering *lowering, struct step **steps);

#endif
