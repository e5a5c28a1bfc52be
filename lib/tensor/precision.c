/* Mixed precision: which nodes; see precision.h. */
#include "tensor/precision.h"

enum { SHORT_SIDE = 32, SHORT_HEAD = 16 };

/* Many matrices at once, as in attention, have no side that is a batch. */
static int shortest_side(const struct node *product)
{
    return product->shape.rank > 2 ? SHORT_HEAD : SHORT_SIDE + 1;
}

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
    int shortest = shortest_side(node);
    return dim(node, -2) >= shortest && dim(node, -1) >= shortest && inner >= shortest;
}
