/* Mixed precision: which nodes; see precision.h. */
#include "tensor/precision.h"

enum { SHORT_SIDE = 32 };

bool precision_casts(enum precision precision, const struct node *node)
{
    if (precision == PRECISION_F32 || node->dtype != DTYPE_F32)
        return false;
    if (node->op == OP_CONV || node->op == OP_CONV_DX || node->op == OP_CONV_DW)
        return true;
    if (node->op != OP_MATMUL)
        return false;
    int64_t inner = dim(node->src[0], node->transpose.a ? -2 : -1);
    return dim(node, -2) > SHORT_SIDE && dim(node, -1) > SHORT_SIDE && inner > SHORT_SIDE;
}
