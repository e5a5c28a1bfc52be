/* Filters of upfirdn, as backends want them: in the order in which they meet the image, and as an
 * outer product of two rows where they are one. */
#ifndef TENSOR_FIR_H
#define TENSOR_FIR_H

#include "tensor/graph.h"

struct fir {
    int rows, columns;
    float *matrix;                /* (rows,columns) */
    float *vertical, *horizontal; /* matrix = vertical ⊗ horizontal; NULL: it is no such product */
};

/* The filter of an upfirdn node, src[1], flipped where the node says so. To be released. */
struct fir fir_of(const struct node *node);
void fir_release(struct fir *fir);

#endif
