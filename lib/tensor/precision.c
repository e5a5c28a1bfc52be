/* Mixed precision: which nodes; see precision.h. */
#include "tensor/precision.h"

enum { SHORT_SIDE = 32 };

bool precision_casts(const struct mixed *mixed, const struct node *node)
{
    if (mixed->precision == PRECISION_F32 || node->dtype != DTYPE_F32)
        return false;
    if (mixed->accepts && !mixed->accepts(node->scope, mixed->context))
        return false;
    if (node->op == OP_CONV || node->op == OP_CONV_DX || node->op == OP_CONV_DW)
        return true;
    if (node->op != OP_MATMUL)
        return false;
    int64_t inner = dim(node->src[0], node->transpose.a ? -2 : -1);
    return dim(node, -2) > SHORT_SIDE && dim(node, -1) > SHORT_SIDE && inner > SHORT_SIDE;
}
