/* The op table: shape rules, gradient rules, and the rows.
 *
 * A gradient rule is written in builders, so that it can be differentiated again. Its nodes carry
 * the site of the node that they differentiate: an error or a profile then names the line of the
 * model, not this file. Broadcast and sum are each other's adjoint; every other rule may assume
 * that shapes already agree.
 */
#define HERE (y->site)
#include "tensor/build.h"

#include <math.h>

/* Shape rules. */

static bool is_float(const struct node *x)
{
    return x->dtype == DTYPE_F32 || x->dtype == DTYPE_BF16;
}

static void expect_float(const struct node *y)
{
    for (int i = 0; i < y->sources; i++)
        if (!is_float(y->src[i]) || y->src[i]->dtype != y->src[0]->dtype)
            SHAPE_MISTAKE(y, "sources must be all f32 or all bf16; cast them");
}

static void expect_rank(const struct node *y, int i, int rank)
{
    if (y->src[i]->shape.rank != rank)
        SHAPE_MISTAKE(y, "source %d has rank %d, expected %d", i, y->src[i]->shape.rank, rank);
}

static void expect_shape(const struct node *y, int i, struct shape expected)
{
    char text[SHAPE_TEXT];
    if (!shape_equal(y->src[i]->shape, expected))
        SHAPE_MISTAKE(y, "source %d must have shape %s", i, shape_text(expected, text));
}

static void shape_elementwise(struct node *y)
{
    expect_float(y);
    for (int i = 1; i < y->sources; i++)
        expect_shape(y, i, y->src[0]->shape);
    y->shape = y->src[0]->shape;
}

static void shape_same(struct node *y)
{
    y->shape = y->src[0]->shape;
}

static void shape_random(struct node *y)
{
    if (y->dtype != DTYPE_F32)
        SHAPE_MISTAKE(y, "random numbers are drawn as f32; cast them");
}

static void shape_reduction(struct node *y)
{
    expect_float(y);
    y->shape = shape_reduced(y->src[0]->shape, y->axes);
}

static void shape_broadcast(struct node *y)
{
    char text[SHAPE_TEXT];
    struct shape from = y->src[0]->shape;
    bool fits = from.rank == y->shape.rank;
    for (int axis = 0; fits && axis < from.rank; axis++)
        fits = from.size[axis] == 1 || from.size[axis] == y->shape.size[axis];
    if (!fits)
        SHAPE_MISTAKE(y, "cannot be broadcast to %s", shape_text(y->shape, text));
}

static void shape_reshape(struct node *y)
{
    char text[SHAPE_TEXT];
    if (shape_count(y->src[0]->shape) != shape_count(y->shape))
        SHAPE_MISTAKE(y, "%zu elements cannot take the shape %s", shape_count(y->src[0]->shape),
                      shape_text(y->shape, text));
}

static void shape_permute(struct node *y)
{
    struct shape from = y->src[0]->shape;
    unsigned seen = 0;
    y->shape.rank = from.rank;
    for (int axis = 0; axis < from.rank; axis++) {
        int source = y->permutation[axis];
        if (source < 0 || source >= from.rank || seen >> source & 1)
            SHAPE_MISTAKE(y, "entry %d of the permutation is %d: each axis from 0 to %d once", axis,
                          source, from.rank - 1);
        seen |= 1u << source;
        y->shape.size[axis] = from.size[source];
    }
}

static void shape_pad(struct node *y)
{
    y->shape = y->src[0]->shape;
    for (int axis = 0; axis < y->shape.rank; axis++) {
        if (y->bounds.begin[axis] < 0 || y->bounds.end[axis] < 0)
            SHAPE_MISTAKE(y, "negative padding along axis %d; slice instead", axis);
        y->shape.size[axis] += y->bounds.begin[axis] + y->bounds.end[axis];
    }
}

static void shape_slice(struct node *y)
{
    y->shape = y->src[0]->shape;
    for (int axis = 0; axis < y->shape.rank; axis++) {
        int64_t begin = y->bounds.begin[axis], end = y->bounds.end[axis];
        if (begin < 0 || begin >= end || end > y->shape.size[axis])
            SHAPE_MISTAKE(y, "elements [%lld, %lld) of axis %d are not all there", (long long)begin,
                          (long long)end, axis);
        y->shape.size[axis] = end - begin;
    }
}

static void shape_concat(struct node *y)
{
    struct shape shape = y->src[0]->shape;
    if (y->axis < 0 || y->axis >= shape.rank)
        SHAPE_MISTAKE(y, "there is no axis %d", y->axis);
    for (int i = 1; i < y->sources; i++) {
        struct shape expected = shape;
        expected.size[y->axis] = y->src[i]->shape.size[y->axis];
        if (y->src[i]->dtype != y->dtype || !shape_equal(y->src[i]->shape, expected))
            SHAPE_MISTAKE(y, "sources 0 and %d differ by more than their size along axis %d", i,
                          y->axis);
    }
    for (int i = 1; i < y->sources; i++)
        shape.size[y->axis] += y->src[i]->shape.size[y->axis];
    y->shape = shape;
}

static void shape_matmul(struct node *y)
{
    expect_float(y);
    struct shape a = y->src[0]->shape, b = y->src[1]->shape;
    if (a.rank < 2 || a.rank != b.rank)
        SHAPE_MISTAKE(y, "two matrices, or equally many axes in front of them, are expected");
    int row = a.rank - 2, column = a.rank - 1;
    for (int axis = 0; axis < row; axis++)
        if (a.size[axis] != b.size[axis])
            SHAPE_MISTAKE(y, "sizes differ along axis %d", axis);
    int64_t inner[2] = { a.size[y->transpose.a ? row : column],
                         b.size[y->transpose.b ? column : row] };
    if (inner[0] != inner[1])
        SHAPE_MISTAKE(y, "inner sizes %lld and %lld differ%s%s", (long long)inner[0],
                      (long long)inner[1], y->transpose.a ? "; the first is transposed" : "",
                      y->transpose.b ? "; the second is transposed" : "");
    y->shape = a;
    y->shape.size[row] = a.size[y->transpose.a ? column : row];
    y->shape.size[column] = b.size[y->transpose.b ? row : column];
}

/* matmul, and a vector along the columns. */
static void shape_linear(struct node *y)
{
    shape_matmul(y);
    expect_shape(y, 2, SHAPE(y->shape.size[y->shape.rank - 1]));
}

/* The shape is asked for; sources may be of either type, and are rounded where it is done in bf16.
 */
static void shape_attention(struct node *y)
{
    bool sum = y->op == OP_ATTENTION_ADDED_GRADIENT;
    y->dtype = y->attention.half && !sum ? DTYPE_BF16 : DTYPE_F32;
    for (int i = 0; i < y->sources; i++)
        if (!is_float(y->src[i]) || y->src[i]->shape.rank < 2)
            SHAPE_MISTAKE(y, "source %d must be matrices of f32 or bf16", i);
}

/* The shape is asked for, by what was combined, whose shapes were checked one by one. */
static void shape_filtered(struct node *y)
{
    y->dtype = DTYPE_F32;
    for (int i = 0; i < y->sources; i++)
        if (!is_float(y->src[i]))
            SHAPE_MISTAKE(y, "source %d must be an image or a filter", i);
}

/* What conv(x, w) gives, after checking that x and w fit each other. */
static struct shape conv_result(const struct node *y, struct shape x, struct shape w)
{
    const struct conv *conv = &y->conv;
    if (x.rank != 4 || w.rank != 4)
        SHAPE_MISTAKE(y, "images (N,C,H,W) and weights (O,C/groups,kh,kw) are expected");
    if (conv->groups < 1 || w.size[0] % conv->groups)
        SHAPE_MISTAKE(y, "%lld output channels cannot be cut into %d groups", (long long)w.size[0],
                      conv->groups);
    if (x.size[1] != w.size[1] * conv->groups)
        SHAPE_MISTAKE(y, "the image has %lld channels, the weights expect %lld in %d groups",
                      (long long)x.size[1], (long long)w.size[1] * conv->groups, conv->groups);
    struct shape result = SHAPE(x.size[0], w.size[0], 0, 0);
    for (int i = 0; i < 2; i++) {
        int64_t padded = x.size[2 + i] + conv->pad[i][0] + conv->pad[i][1];
        int64_t extent = conv->dilation[i] * (w.size[2 + i] - 1) + 1;
        if (conv->stride[i] < 1 || conv->dilation[i] < 1 || conv->pad[i][0] < 0 ||
            conv->pad[i][1] < 0)
            SHAPE_MISTAKE(y, "stride and dilation must be at least 1, padding at least 0");
        if (extent > padded)
            SHAPE_MISTAKE(y, "the filter spans %lld %s, the padded image has %lld",
                          (long long)extent, i ? "columns" : "rows", (long long)padded);
        result.size[2 + i] = (padded - extent) / conv->stride[i] + 1;
    }
    return result;
}

static void shape_conv(struct node *y)
{
    expect_float(y);
    y->shape = conv_result(y, y->src[0]->shape, y->src[1]->shape);
}

static void shape_conv_dx(struct node *y) /* sources y, w; x is the result */
{
    expect_float(y);
    expect_shape(y, 0, conv_result(y, y->shape, y->src[1]->shape));
}

static void shape_conv_dw(struct node *y) /* sources x, y; w is the result */
{
    expect_float(y);
    expect_shape(y, 1, conv_result(y, y->src[0]->shape, y->shape));
}

static void shape_upfirdn(struct node *y) /* the filter is f32, whatever x is */
{
    if (!is_float(y->src[0]))
        SHAPE_MISTAKE(y, "the image must be f32 or bf16; cast it");
    expect_rank(y, 0, 4);
    const struct upfirdn *u = &y->upfirdn;
    struct shape filter = y->src[1]->shape;
    if (y->src[1]->op != OP_CONSTANT || filter.rank < 1 || filter.rank > 2)
        SHAPE_MISTAKE(y, "the filter must be a constant of shape (k) or (kh,kw)");
    y->shape = y->src[0]->shape;
    for (int i = 0; i < 2; i++) {
        if (u->up[i] < 1 || u->down[i] < 1)
            SHAPE_MISTAKE(y, "up and down must be at least 1");
        int64_t taps = filter.size[filter.rank == 2 ? i : 0];
        int64_t room = y->shape.size[2 + i] * u->up[i] + u->pad[i][0] + u->pad[i][1] - taps;
        if (room < 0)
            SHAPE_MISTAKE(y, "the filter spans %lld %s more than the padded image has",
                          -(long long)room, i ? "columns" : "rows");
        y->shape.size[2 + i] = room / u->down[i] + 1;
    }
}

/* warp takes x to the shape asked for, warp_dx back; the matrix is f32, whatever x is. */
static void shape_warp(struct node *y)
{
    if (!is_float(y->src[0]))
        SHAPE_MISTAKE(y, "the image must be f32 or bf16; cast it");
    expect_rank(y, 0, 4);
    struct shape x = y->src[0]->shape;
    if (y->src[1]->dtype != DTYPE_F32)
        SHAPE_MISTAKE(y, "the matrices must be f32");
    expect_shape(y, 1, SHAPE(x.size[0], 2, 3));
    if (y->shape.rank != 4 || y->shape.size[0] != x.size[0] || y->shape.size[1] != x.size[1])
        SHAPE_MISTAKE(y, "the result must have as many images and channels");
}

/* Gradient rules. */

static struct node *vjp_exp(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_mul(g, y);
}

static struct node *vjp_log(struct node *y, struct node *g, int i)
{
    return t_div(g, y->src[i]);
}

static struct node *vjp_sqrt(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_div(t_scale(g, 0.5), y);
}

static struct node *vjp_sin(struct node *y, struct node *g, int i)
{
    return t_mul(g, t_cos(y->src[i]));
}

static struct node *vjp_cos(struct node *y, struct node *g, int i)
{
    return t_mul(t_scale(g, -1), t_sin(y->src[i]));
}

static struct node *vjp_tanh(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_mul(g, t_affine(t_mul(y, y), -1, 1));
}

static struct node *vjp_sigmoid(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_mul(g, t_mul(y, t_affine(y, -1, 1)));
}

static struct node *vjp_softplus(struct node *y, struct node *g, int i)
{
    return t_mul(g, t_sigmoid(y->src[i]));
}

static struct node *vjp_erf(struct node *y, struct node *g, int i)
{
    struct node *x = y->src[i];
    return t_mul(g, t_scale(t_exp(t_scale(t_mul(x, x), -1)), M_2_SQRTPI));
}

static struct node *vjp_scale(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_scale(g, y->affine.scale);
}

static struct node *vjp_cast(struct node *y, struct node *g, int i)
{
    return is_float(y->src[i]) && is_float(y) ? t_cast(g, y->src[i]->dtype) : NULL;
}

static struct node *vjp_add(struct node *y, struct node *g, int i)
{
    (void)y, (void)i;
    return g;
}

static struct node *vjp_sub(struct node *y, struct node *g, int i)
{
    return i == 0 ? g : t_scale(g, -1);
}

static struct node *vjp_mul(struct node *y, struct node *g, int i)
{
    return t_mul(g, y->src[1 - i]);
}

static struct node *vjp_div(struct node *y, struct node *g, int i)
{
    struct node *b = y->src[1];
    return i == 0 ? t_div(g, b) : t_mul(t_scale(t_div(g, b), -1), y);
}

static struct node *vjp_where(struct node *y, struct node *g, int i)
{
    struct node *condition = y->src[0], *zeros = t_zeros_like(g);
    if (i == 0)
        return NULL;
    return i == 1 ? t_where(condition, g, zeros) : t_where(condition, zeros, g);
}

static struct node *vjp_sum(struct node *y, struct node *g, int i)
{
    return t_broadcast(g, y->src[i]->shape);
}

static struct node *vjp_max(struct node *y, struct node *g, int i)
{
    struct node *x = y->src[i];
    struct node *is_max = t_affine(t_greater(y, x), -1, 1); /* x is never above its maximum */
    return t_mul(t_div(g, t_sum(is_max, y->axes)), is_max);
}

static struct node *vjp_broadcast(struct node *y, struct node *g, int i)
{
    unsigned repeated = 0;
    for (int axis = 0; axis < y->shape.rank; axis++)
        if (y->src[i]->shape.size[axis] != y->shape.size[axis])
            repeated |= 1u << axis;
    return t_sum(g, repeated);
}

static struct node *vjp_reshape(struct node *y, struct node *g, int i)
{
    return t_reshape(g, y->src[i]->shape);
}

static struct node *vjp_permute(struct node *y, struct node *g, int i)
{
    (void)i;
    int inverse[RANK_MAX] = { 0 };
    for (int axis = 0; axis < y->shape.rank; axis++)
        inverse[y->permutation[axis]] = axis;
    return t_permute_at(y->site, g, y->shape.rank, inverse);
}

static struct node *vjp_pad(struct node *y, struct node *g, int i)
{
    int64_t end[RANK_MAX];
    for (int axis = 0; axis < y->shape.rank; axis++)
        end[axis] = y->bounds.begin[axis] + y->src[i]->shape.size[axis];
    return t_slice_all(g, y->bounds.begin, end);
}

static struct node *vjp_slice(struct node *y, struct node *g, int i)
{
    int64_t after[RANK_MAX];
    for (int axis = 0; axis < y->shape.rank; axis++)
        after[axis] = y->src[i]->shape.size[axis] - y->bounds.end[axis];
    return t_pad_all(g, y->bounds.begin, after);
}

static struct node *vjp_flip(struct node *y, struct node *g, int i)
{
    (void)i;
    return t_flip(g, y->axes);
}

static struct node *vjp_concat(struct node *y, struct node *g, int i)
{
    int64_t begin = 0;
    for (int before = 0; before < i; before++)
        begin += y->src[before]->shape.size[y->axis];
    return t_slice(g, y->axis, begin, begin + y->src[i]->shape.size[y->axis]);
}

/* y = op(a) op(b) with op(a) = a or aᵀ: the transpositions move, nothing is ever copied for it. */
static struct node *vjp_matmul(struct node *y, struct node *g, int i)
{
    struct node *a = y->src[0], *b = y->src[1];
    bool at = y->transpose.a, bt = y->transpose.b;
    if (i == 0)
        return at ? t_matmul_at(y->site, b, g, bt, true) : t_matmul_at(y->site, g, b, false, !bt);
    return bt ? t_matmul_at(y->site, g, a, true, at) : t_matmul_at(y->site, a, g, !at, false);
}

/* The three are one trilinear form Σ x·w·y with one factor left out: each one's gradients are the
 * other two. */
static struct node *vjp_conv(struct node *y, struct node *g, int i)
{
    struct node *x = y->src[0], *w = y->src[1];
    return i == 0 ? t_conv_dx(g, w, y->conv, x->shape) : t_conv_dw(x, g, y->conv, w->shape);
}

static struct node *conv_with(struct node *y, struct node *x, struct node *w)
{
    struct node draft = { .op = OP_CONV, .conv = y->conv };
    return node_add(y->graph, y->site, &draft, 2, (struct node *[]){ x, w });
}

static struct node *vjp_conv_dx(struct node *y, struct node *g, int i)
{
    struct node *up = y->src[0], *w = y->src[1];
    return i == 0 ? conv_with(y, g, w) : t_conv_dw(g, up, y->conv, w->shape);
}

static struct node *vjp_conv_dw(struct node *y, struct node *g, int i)
{
    struct node *x = y->src[0], *up = y->src[1];
    return i == 0 ? t_conv_dx(up, g, y->conv, x->shape) : conv_with(y, x, g);
}

/* The adjoint of "insert zeros, pad, filter, drop" is the same four steps backwards: up and down
 * change places, the filter is turned over, and the padding is what makes the result as large as
 * x (H·up + pads − taps ⩾ 0 pixels were filtered; those that `down` dropped come back as zeros). */
static struct node *vjp_upfirdn(struct node *y, struct node *g, int i)
{
    if (i != 0)
        return NULL; /* a constant */
    const struct upfirdn *u = &y->upfirdn;
    struct shape x = y->src[0]->shape, filter = y->src[1]->shape;
    struct upfirdn adjoint = { .flip = !u->flip };
    for (int a = 0; a < 2; a++) {
        int taps = (int)filter.size[filter.rank == 2 ? a : 0];
        adjoint.up[a] = u->down[a];
        adjoint.down[a] = u->up[a];
        adjoint.pad[a][0] = taps - 1 - u->pad[a][0];
        adjoint.pad[a][1] = (int)(x.size[2 + a] * u->up[a] - y->shape.size[2 + a] * u->down[a]) +
                            u->pad[a][0] - u->up[a] + 1;
    }
    return t_upfirdn_with(g, y->src[1], adjoint);
}

/* Each is the other's adjoint, and the builders keep gradients from the matrix. */
static struct node *vjp_warp(struct node *y, struct node *g, int i)
{
    return i == 0 ? t_warp_dx(g, y->src[1], y->src[0]->shape) : NULL;
}

static struct node *vjp_warp_dx(struct node *y, struct node *g, int i)
{
    return i == 0 ? t_warp(g, y->src[1], dim(y->src[0], 2), dim(y->src[0], 3)) : NULL;
}

/* The rows. BYTES is the size of the attributes in the node's union. */
#define BYTES(member) sizeof(((struct node *)NULL)->member)

const struct op ops[OP_COUNT] = {
    [OP_INPUT] = { "input", 0, KIND_LEAF, BYTES(leaf), NULL, NULL },
    [OP_PARAMETER] = { "parameter", 0, KIND_LEAF, BYTES(leaf), NULL, NULL },
    [OP_CONSTANT] = { "constant", 0, KIND_LEAF, BYTES(constant), NULL, NULL },
    [OP_NORMAL] = { "normal", 0, KIND_LEAF, BYTES(random), shape_random, NULL },
    [OP_UNIFORM] = { "uniform", 0, KIND_LEAF, BYTES(random), shape_random, NULL },

    [OP_EXP] = { "exp", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_exp },
    [OP_LOG] = { "log", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_log },
    [OP_SQRT] = { "sqrt", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_sqrt },
    [OP_SIN] = { "sin", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_sin },
    [OP_COS] = { "cos", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_cos },
    [OP_TANH] = { "tanh", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_tanh },
    [OP_SIGMOID] = { "sigmoid", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_sigmoid },
    [OP_SOFTPLUS] = { "softplus", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_softplus },
    [OP_ERF] = { "erf", 1, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_erf },
    [OP_SCALE] = { "scale", 1, KIND_ELEMENTWISE, BYTES(affine), shape_elementwise, vjp_scale },
    [OP_CAST] = { "cast", 1, KIND_ELEMENTWISE, 0, shape_same, vjp_cast },
    [OP_ADD] = { "add", 2, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_add },
    [OP_SUB] = { "sub", 2, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_sub },
    [OP_MUL] = { "mul", 2, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_mul },
    [OP_DIV] = { "div", 2, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_div },
    [OP_GREATER] = { "greater", 2, KIND_ELEMENTWISE, 0, shape_elementwise, NULL },
    [OP_WHERE] = { "where", 3, KIND_ELEMENTWISE, 0, shape_elementwise, vjp_where },

    [OP_SUM] = { "sum", 1, KIND_REDUCTION, BYTES(axes), shape_reduction, vjp_sum },
    [OP_MAX] = { "max", 1, KIND_REDUCTION, BYTES(axes), shape_reduction, vjp_max },

    [OP_DETACH] = { "detach", 1, KIND_MOVEMENT, 0, shape_same, NULL },
    [OP_BROADCAST] = { "broadcast", 1, KIND_MOVEMENT, 0, shape_broadcast, vjp_broadcast },
    [OP_RESHAPE] = { "reshape", 1, KIND_MOVEMENT, 0, shape_reshape, vjp_reshape },
    [OP_PERMUTE] = { "permute", 1, KIND_MOVEMENT, BYTES(permutation), shape_permute, vjp_permute },
    [OP_PAD] = { "pad", 1, KIND_MOVEMENT, BYTES(bounds), shape_pad, vjp_pad },
    [OP_SLICE] = { "slice", 1, KIND_MOVEMENT, BYTES(bounds), shape_slice, vjp_slice },
    [OP_FLIP] = { "flip", 1, KIND_MOVEMENT, BYTES(axes), shape_same, vjp_flip },
    [OP_CONCAT] = { "concat", ARITY_ANY, KIND_MOVEMENT, BYTES(axis), shape_concat, vjp_concat },

    [OP_MATMUL] = { "matmul", 2, KIND_MATRIX, BYTES(transpose), shape_matmul, vjp_matmul },
    [OP_CONV] = { "conv", 2, KIND_MATRIX, BYTES(conv), shape_conv, vjp_conv },
    [OP_CONV_DX] = { "conv_dx", 2, KIND_MATRIX, BYTES(conv), shape_conv_dx, vjp_conv_dx },
    [OP_CONV_DW] = { "conv_dw", 2, KIND_MATRIX, BYTES(conv), shape_conv_dw, vjp_conv_dw },
    [OP_UPFIRDN] = { "upfirdn", 2, KIND_MATRIX, BYTES(upfirdn), shape_upfirdn, vjp_upfirdn },
    [OP_WARP] = { "warp", 2, KIND_MATRIX, 0, shape_warp, vjp_warp },
    [OP_WARP_DX] = { "warp_dx", 2, KIND_MATRIX, 0, shape_warp, vjp_warp_dx },

    [OP_LINEAR] = { "linear", 3, KIND_MATRIX, BYTES(transpose), shape_linear, NULL },
    [OP_ATTENTION] = { "attention", ARITY_ANY, KIND_MATRIX, BYTES(attention), shape_attention,
                       NULL },
    [OP_ATTENTION_GRADIENT] = { "attention_gradient", ARITY_ANY, KIND_MATRIX, BYTES(attention),
                                shape_attention, NULL },
    [OP_ATTENTION_ADDED_GRADIENT] = { "attention_added_gradient", ARITY_ANY, KIND_MATRIX,
                                      BYTES(attention), shape_attention, NULL },
    [OP_FILTERED] = { "filtered", ARITY_ANY, KIND_MATRIX, BYTES(filtered), shape_filtered, NULL },
};

bool op_is_attention(enum op_id op)
{
    return op == OP_ATTENTION || op == OP_ATTENTION_GRADIENT || op == OP_ATTENTION_ADDED_GRADIENT;
}

bool op_is_combined(enum op_id op)
{
    return op == OP_LINEAR || op == OP_FILTERED || op_is_attention(op);
}
