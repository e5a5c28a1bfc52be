/* A loop as a part of a kernel: what generate.c tells group.c. */
#ifndef CUDA_GENERATE_PART_H
#define CUDA_GENERATE_PART_H

#include "cuda/generate.h"

/* So many blocks of KERNEL_THREADS threads; `count` of the threads, or with reductions of the kept
 * elements, have something to do. `sums`: how many rows of KERNEL_THREADS floats they share. */
struct part {
    unsigned blocks;
    int64_t count;
    int sums;
};

/* Whether the loop is one kernel, and its indices are of 32 bits. */
bool loop_suits_part(const struct loop *loop);

/* What a block does, as statements, after which nothing may follow in a thread. They use `at`, the
 * addresses of the loop's operands; `block`, which of its blocks this one is; `count`; and, where
 * it has sums, an array `sums` of as many rows. Loops that are alike but for their count are the
 * same text if they have the same name. Tables of its own, which stand before the kernel, begin
 * with the name. */
struct part generate_part(const struct loop *loop, const char *name, struct text *tables,
                          struct text *body);

#endif
