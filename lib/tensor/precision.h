/* Mixed precision: matrix work in bf16, everything else in f32.
 *
 * It is a transformation of a plan's private graph: where it pays, a matrix op gets its sources
 * cast to bf16 and its result cast back. Parameters, their updates, sums and statistics stay f32;
 * products are added up in f32. The casts cost nothing, as loops that write a convolution's source
 * write bf16, and loops that read its result read bf16; values derived from such results (the
 * activations) are kept in bf16 where they need memory at all. Gradients of weights are f32.
 *
 * Cast are all convolutions, and matrix products without a side as short as a batch: those of
 * styles, embeddings and last layers cost nothing and set scales, so they stay in f32 (as in
 * PyTorch's autocast of the official networks). Many products at once, as in attention, have no
 * such side: heads and windows are cast from 16 on, below which a tensor core has nothing to do.
 */
#ifndef TENSOR_PRECISION_H
#define TENSOR_PRECISION_H

#include "tensor/graph.h"

enum precision { PRECISION_F32, PRECISION_BF16 };

/* Which layers: those whose scope (graph_push) the function accepts, or all where it is NULL. */
struct mixed {
    enum precision precision;
    bool (*accepts)(const char *scope, int64_t context);
    int64_t context;
};

/* Whether this matrix op, of f32, is to be done in bf16. */
bool precision_casts(const struct mixed *mixed, const struct node *node);

#endif
