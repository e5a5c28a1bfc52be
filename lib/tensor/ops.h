/* The table of primitive ops. All that varies between ops is a row of it; see docs/engine.md for
 * how to add one.
 *
 * A kind says how the planner may treat an op:
 *   leaf         no sources
 *   elementwise  element i of the result needs element i of each source (all of one shape)
 *   reduction    rank is kept, the reduced axes become size 1
 *   movement     values are copied, repeated or left out, never computed with
 *   matrix       products with sums, for the libraries that do nothing else
 */
#ifndef TENSOR_OPS_H
#define TENSOR_OPS_H

#include <stdbool.h>
#include <stddef.h>

struct node;

enum op_id {
    OP_INPUT,
    OP_PARAMETER,
    OP_CONSTANT,
    OP_NORMAL,
    OP_UNIFORM,

    OP_EXP,
    OP_LOG,
    OP_SQRT,
    OP_SIN,
    OP_COS,
    OP_TANH,
    OP_SIGMOID,
    OP_SOFTPLUS,
    OP_ERF,
    OP_SCALE,
    OP_CAST,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_GREATER,
    OP_WHERE,

    OP_SUM,
    OP_MAX,

    OP_DETACH,
    OP_BROADCAST,
    OP_RESHAPE,
    OP_PERMUTE,
    OP_PAD,
    OP_SLICE,
    OP_FLIP,
    OP_CONCAT,

    OP_MATMUL,
    OP_CONV,
    OP_CONV_DX,
    OP_CONV_DW,
    OP_UPFIRDN,
    OP_WARP,
    OP_WARP_DX,

    /* Made of the others by combine.c, in a plan's private graph, for backends that take them. They
     * have neither builders nor gradient rules: gradients were made before, of what they replace.
     */
    OP_LINEAR,
    OP_ATTENTION,
    OP_ATTENTION_GRADIENT,
    OP_ATTENTION_ADDED_GRADIENT,
    OP_FILTERED,

    OP_COUNT
};

enum op_kind { KIND_LEAF, KIND_ELEMENTWISE, KIND_REDUCTION, KIND_MOVEMENT, KIND_MATRIX };

enum { ARITY_MAX = 3, ARITY_ANY = -1 }; /* any: one source or more (concat) */

struct op {
    const char *name;
    int arity;
    enum op_kind kind;

    /* Of the node's union that this op uses. Two nodes compute the same when op, dtype, shape,
     * sources and these bytes are equal (of leaves, only constants and only by their table). */
    size_t attribute_bytes;

    /* Checks the sources and sets shape and dtype of y (which come in as asked for, the dtype as
     * that of the first source); aborts with SHAPE_MISTAKE. NULL: as they came in. */
    void (*shape)(struct node *y);

    /* The gradient with respect to source i, given the gradient g with respect to y: ordinary
     * nodes, of the shape and dtype of that source. NULL, or no rule at all: the derivative is
     * zero wherever it exists. */
    struct node *(*vjp)(struct node *y, struct node *g, int i);
};

extern const struct op ops[OP_COUNT];

/* Whether graphs hold it only as what combine.c made of others. */
bool op_is_combined(enum op_id op);
bool op_is_attention(enum op_id op); /* or a gradient of it */

#endif
