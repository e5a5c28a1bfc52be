/* Builders of primitive nodes: broadcasting and simplification; see build.h.
 *
 * What may be simplified: only what gives the same values for every input, up to rounding, and
 * never hides a NaN that training must see (so x·0 stays). A constant of one value ("full")
 * passes through every movement op, which turns sums with it and products by it into `scale`.
 */
#define HERE at
#include "tensor/build.h"

#include <string.h>

static struct node *add1(struct site at, const struct node *draft, struct node *x)
{
    return node_add(x->graph, at, draft, 1, &x);
}

static struct node *full_like(struct site at, struct node *x, double value)
{
    return t_full_at(at, x->graph, x->dtype, x->shape, value);
}

/* Elementwise. */

struct node *t_unary_at(struct site at, enum op_id op, struct node *x)
{
    if (op == OP_DETACH && (x->op == OP_DETACH || x->op == OP_CONSTANT))
        return x;
    return add1(at, &(struct node){ .op = op }, x);
}

struct node *t_affine_at(struct site at, struct node *x, double a, double b)
{
    double value;
    if (x->dtype != DTYPE_I32 && a == 1 && b == 0)
        return x;
    if (x->dtype != DTYPE_I32 && node_is_full(x, &value))
        return full_like(at, x, a * value + b);
    if (x->op == OP_SCALE)
        return t_affine_at(at, x->src[0], a * x->affine.scale, a * x->affine.shift + b);
    return add1(at, &(struct node){ .op = OP_SCALE, .affine = { a, b } }, x);
}

/* Going to a wider type and back changes nothing; going to a narrower one does. */
struct node *t_cast_at(struct site at, struct node *x, enum dtype dtype)
{
    if (x->dtype == dtype)
        return x;
    if (x->op == OP_CAST && x->dtype == DTYPE_F32 && x->src[0]->dtype == DTYPE_BF16 &&
        dtype == DTYPE_BF16)
        return x->src[0];
    return add1(at, &(struct node){ .op = OP_CAST, .dtype = dtype }, x);
}

/* The shape that all have in common by NumPy's rules. */
static struct shape common_shape(struct site at, enum op_id op, int count, struct node **x)
{
    struct shape common = { 0 };
    for (int i = 0; i < count; i++)
        if (x[i]->shape.rank > common.rank)
            common.rank = x[i]->shape.rank;
    for (int back = 1; back <= common.rank; back++) {
        int64_t *size = &common.size[common.rank - back];
        *size = 1;
        for (int i = 0; i < count; i++) {
            int64_t own = back <= x[i]->shape.rank ? x[i]->shape.size[x[i]->shape.rank - back] : 1;
            if (own != 1 && *size != 1 && own != *size)
                shape_mistake(at, op, count, x, "the shapes do not broadcast: %lld against %lld",
                              (long long)own, (long long)*size);
            if (own != 1)
                *size = own;
        }
    }
    return common;
}

static void align(struct site at, enum op_id op, int count, struct node **x)
{
    struct shape common = common_shape(at, op, count, x);
    for (int i = 0; i < count; i++)
        x[i] = t_broadcast(x[i], common);
}

/* a op b where one of them has a single known value; NULL where there is nothing to gain. */
static struct node *with_number(struct site at, enum op_id op, struct node *a, struct node *b)
{
    double value;
    if (a->dtype != b->dtype || a->dtype == DTYPE_I32)
        return NULL;
    if (node_is_full(b, &value)) {
        if (op == OP_ADD || op == OP_SUB)
            return t_shift(a, op == OP_ADD ? value : -value);
        if (op == OP_MUL)
            return t_scale(a, value);
        if (op == OP_DIV)
            return t_scale(a, 1 / value);
    } else if (node_is_full(a, &value)) {
        if (op == OP_ADD || op == OP_SUB)
            return t_affine(b, op == OP_ADD ? 1 : -1, value);
        if (op == OP_MUL)
            return t_scale(b, value);
        if (op == OP_DIV && value != 1) /* a factor keeps double precision, a table does not */
            return t_scale(t_div(full_like(at, a, 1), b), value);
    }
    return NULL;
}

struct node *t_binary_at(struct site at, enum op_id op, struct node *a, struct node *b)
{
    struct node *x[2] = { a, b };
    align(at, op, 2, x);
    struct node *simple = with_number(at, op, x[0], x[1]);
    return simple ? simple : node_add(a->graph, at, &(struct node){ .op = op }, 2, x);
}

struct node *t_where_at(struct site at, struct node *condition, struct node *a, struct node *b)
{
    struct node *x[3] = { condition, a, b };
    align(at, OP_WHERE, 3, x);
    return node_add(a->graph, at, &(struct node){ .op = OP_WHERE }, 3, x);
}

/* Reductions. */

unsigned axes_mask(int count, const int *axes)
{
    unsigned mask = 0;
    for (int i = 0; i < count; i++) {
        CHECK(axes[i] >= 0 && axes[i] < RANK_MAX, "axis %d; from 0 to %d", axes[i], RANK_MAX - 1);
        mask |= 1u << axes[i];
    }
    return mask;
}

static unsigned axes_longer_than_one(struct shape shape)
{
    unsigned mask = 0;
    for (int axis = 0; axis < shape.rank; axis++)
        if (shape.size[axis] > 1)
            mask |= 1u << axis;
    return mask;
}

/* The sum of a broadcast over axes that it repeated is a multiple; only the others need adding. */
static struct node *sum_of_broadcast(struct site at, struct node *x, unsigned axes)
{
    struct node *inner = x->src[0];
    unsigned repeated = axes & ~axes_longer_than_one(inner->shape);
    struct shape kept = shape_reduced(x->shape, repeated);
    double times = (double)shape_count(x->shape) / (double)shape_count(kept);
    return t_scale(t_sum(t_broadcast(inner, kept), axes & ~repeated), times);
}

struct node *t_reduce_at(struct site at, enum op_id op, struct node *x, unsigned axes)
{
    double value;
    unsigned above = axes == AXES_ALL ? 0 : axes >> x->shape.rank;
    if (above)
        shape_mistake(at, op, 1, &x, "axes beyond the rank are asked for (mask 0x%x)", axes);
    axes &= axes_longer_than_one(x->shape);
    if (!axes)
        return x;
    if (x->op == op)
        return t_reduce_at(at, op, x->src[0], axes | x->axes);
    if (node_is_full(x, &value)) {
        struct shape reduced = shape_reduced(x->shape, axes);
        double times = (double)shape_count(x->shape) / (double)shape_count(reduced);
        return t_full_at(at, x->graph, x->dtype, reduced, op == OP_SUM ? value * times : value);
    }
    if (op == OP_SUM && x->op == OP_BROADCAST && (axes & ~axes_longer_than_one(x->src[0]->shape)))
        return sum_of_broadcast(at, x, axes);
    return add1(at, &(struct node){ .op = op, .axes = axes }, x);
}

/* Movement. */

struct node *t_broadcast_at(struct site at, struct node *x, struct shape shape)
{
    double value;
    struct shape from = x->shape;
    if (shape_equal(from, shape))
        return x;
    if (from.rank < shape.rank) {
        struct shape raised = { .rank = shape.rank };
        for (int axis = 0; axis < shape.rank; axis++) {
            int own = axis - (shape.rank - from.rank);
            raised.size[axis] = own < 0 ? 1 : from.size[own];
        }
        return t_broadcast(t_reshape(x, raised), shape);
    }
    bool grows = true; /* else the shape rule will complain about x itself, not about its source */
    for (int axis = 0; axis < from.rank; axis++)
        grows = grows && (from.size[axis] == 1 || from.size[axis] == shape.size[axis]);
    if (grows && from.rank == shape.rank && node_is_full(x, &value))
        return t_full_at(at, x->graph, x->dtype, shape, value);
    if (grows && x->op == OP_BROADCAST)
        return t_broadcast(x->src[0], shape);
    return add1(at, &(struct node){ .op = OP_BROADCAST, .shape = shape }, x);
}

/* Replaces a single -1 by what makes the counts equal. */
static struct shape inferred(struct site at, struct node *x, struct shape shape)
{
    int64_t known = 1, open = -1;
    for (int axis = 0; axis < shape.rank; axis++) {
        if (shape.size[axis] != -1)
            known *= shape.size[axis];
        else if (open < 0)
            open = axis;
        else
            shape_mistake(at, OP_RESHAPE, 1, &x, "two sizes are left open");
    }
    int64_t count = (int64_t)shape_count(x->shape);
    if (open >= 0 && (known < 1 || count % known))
        shape_mistake(at, OP_RESHAPE, 1, &x, "%lld elements are not a multiple of %lld",
                      (long long)count, (long long)known);
    if (open >= 0)
        shape.size[open] = count / known;
    return shape;
}

struct node *t_reshape_at(struct site at, struct node *x, struct shape shape)
{
    double value;
    shape = inferred(at, x, shape);
    if (shape_equal(x->shape, shape))
        return x;
    if (shape_count(x->shape) == shape_count(shape)) {
        if (node_is_full(x, &value))
            return t_full_at(at, x->graph, x->dtype, shape, value);
        if (x->op == OP_RESHAPE)
            return t_reshape(x->src[0], shape);
    }
    return add1(at, &(struct node){ .op = OP_RESHAPE, .shape = shape }, x);
}

static bool is_identity(int rank, const int *permutation)
{
    int axis = 0;
    while (axis < rank && permutation[axis] == axis)
        axis++;
    return axis == rank;
}

struct node *t_permute_at(struct site at, struct node *x, int rank, const int *permutation)
{
    double value;
    if (rank != x->shape.rank)
        shape_mistake(at, OP_PERMUTE, 1, &x, "%d axes are named", rank);
    if (is_identity(rank, permutation))
        return x;
    struct node draft = { .op = OP_PERMUTE };
    memcpy(draft.permutation, permutation, (size_t)rank * sizeof *permutation);
    struct node *y = add1(at, &draft, x); /* checks the permutation before it is made use of */
    if (node_is_full(x, &value))
        return t_full_at(at, x->graph, x->dtype, y->shape, value);
    if (x->op != OP_PERMUTE)
        return y;
    int joined[RANK_MAX];
    for (int axis = 0; axis < rank; axis++)
        joined[axis] = x->permutation[permutation[axis]];
    return t_permute_at(at, x->src[0], rank, joined);
}

static void swap_last_two(int rank, int *permutation)
{
    for (int axis = 0; axis < rank; axis++)
        permutation[axis] = axis < rank - 2 ? axis : 2 * rank - 3 - axis;
}

struct node *t_transpose_at(struct site at, struct node *x)
{
    int permutation[RANK_MAX];
    if (x->shape.rank < 2)
        shape_mistake(at, OP_PERMUTE, 1, &x, "to transpose takes two axes");
    swap_last_two(x->shape.rank, permutation);
    return t_permute_at(at, x, x->shape.rank, permutation);
}

static int wrapped_axis(struct site at, enum op_id op, struct node *x, int axis)
{
    int wrapped = axis < 0 ? axis + x->shape.rank : axis;
    if (wrapped < 0 || wrapped >= x->shape.rank)
        shape_mistake(at, op, 1, &x, "there is no axis %d", axis);
    return wrapped;
}

struct node *t_pad_all_at(struct site at, struct node *x, const int64_t *before,
                          const int64_t *after)
{
    struct node draft = { .op = OP_PAD };
    bool any = false;
    for (int axis = 0; axis < x->shape.rank; axis++) {
        draft.bounds.begin[axis] = before[axis];
        draft.bounds.end[axis] = after[axis];
        any = any || before[axis] || after[axis];
    }
    return any ? add1(at, &draft, x) : x;
}

struct node *t_pad_at(struct site at, struct node *x, int axis, int64_t before, int64_t after)
{
    int64_t all_before[RANK_MAX] = { 0 }, all_after[RANK_MAX] = { 0 };
    axis = wrapped_axis(at, OP_PAD, x, axis);
    all_before[axis] = before;
    all_after[axis] = after;
    return t_pad_all_at(at, x, all_before, all_after);
}

struct node *t_slice_all_at(struct site at, struct node *x, const int64_t *begin,
                            const int64_t *end)
{
    double value;
    struct node draft = { .op = OP_SLICE };
    bool any = false;
    for (int axis = 0; axis < x->shape.rank; axis++) {
        draft.bounds.begin[axis] = begin[axis];
        draft.bounds.end[axis] = end[axis];
        any = any || begin[axis] || end[axis] != x->shape.size[axis];
    }
    if (!any)
        return x;
    struct node *y = add1(at, &draft, x);
    return node_is_full(x, &value) ? full_like(at, y, value) : y;
}

struct node *t_slice_at(struct site at, struct node *x, int axis, int64_t begin, int64_t end)
{
    int64_t all_begin[RANK_MAX] = { 0 }, all_end[RANK_MAX];
    axis = wrapped_axis(at, OP_SLICE, x, axis);
    memcpy(all_end, x->shape.size, sizeof all_end);
    all_begin[axis] = begin;
    all_end[axis] = end < 0 ? end + x->shape.size[axis] : end;
    return t_slice_all_at(at, x, all_begin, all_end);
}

struct node *t_flip_at(struct site at, struct node *x, unsigned axes)
{
    axes &= axes_longer_than_one(x->shape);
    if (!axes || (x->op == OP_CONSTANT && !x->constant.values))
        return x;
    if (x->op == OP_FLIP)
        return t_flip(x->src[0], axes ^ x->axes);
    return add1(at, &(struct node){ .op = OP_FLIP, .axes = axes }, x);
}

struct node *t_concat_at(struct site at, int axis, int count, struct node *const *x)
{
    CHECK(count > 0, "concat of nothing");
    if (count == 1)
        return x[0];
    axis = wrapped_axis(at, OP_CONCAT, x[0], axis);
    return node_add(x[0]->graph, at, &(struct node){ .op = OP_CONCAT, .axis = axis }, count, x);
}

/* Matrix products. */

static bool is_transposed(const struct node *x)
{
    int swap[RANK_MAX], rank = x->shape.rank;
    if (x->op != OP_PERMUTE || rank < 2)
        return false;
    swap_last_two(rank, swap);
    return memcmp(swap, x->permutation, (size_t)rank * sizeof *swap) == 0;
}

/* Makes the axes in front of the two matrices equal. */
static void align_batches(struct site at, struct node **x)
{
    struct node *src[2] = { x[0], x[1] };
    struct shape batch[2] = { src[0]->shape, src[1]->shape }, full[2];
    struct shape common = { 0 };
    for (int i = 0; i < 2; i++)
        batch[i].rank -= 2;
    common.rank = batch[0].rank > batch[1].rank ? batch[0].rank : batch[1].rank;
    for (int back = 1; back <= common.rank; back++) {
        int64_t a = back <= batch[0].rank ? batch[0].size[batch[0].rank - back] : 1;
        int64_t b = back <= batch[1].rank ? batch[1].size[batch[1].rank - back] : 1;
        if (a != b && a != 1 && b != 1)
            shape_mistake(at, OP_MATMUL, 2, src, "the axes in front do not broadcast: %lld, %lld",
                          (long long)a, (long long)b);
        common.size[common.rank - back] = a == 1 ? b : a;
    }
    for (int i = 0; i < 2; i++) {
        full[i] = common;
        full[i].rank += 2;
        full[i].size[common.rank] = dim(src[i], -2);
        full[i].size[common.rank + 1] = dim(src[i], -1);
        x[i] = t_broadcast(src[i], full[i]);
    }
}

struct node *t_matmul_at(struct site at, struct node *a, struct node *b, bool transpose_a,
                         bool transpose_b)
{
    struct node *x[2] = { a, b };
    if (a->shape.rank < 2 || b->shape.rank < 2)
        shape_mistake(at, OP_MATMUL, 2, x, "a matrix has two axes");
    if (is_transposed(b))
        return t_matmul_at(at, a, b->src[0], transpose_a, !transpose_b);
    if (b->shape.rank == 2 && a->shape.rank > 2 && !transpose_a) {
        struct shape result = a->shape;
        struct node *rows = t_reshape(a, SHAPE(-1, dim(a, -1)));
        struct node *product = t_matmul_at(at, rows, b, false, transpose_b);
        result.size[result.rank - 1] = dim(product, 1);
        return t_reshape(product, result);
    }
    if (is_transposed(a))
        return t_matmul_at(at, a->src[0], b, !transpose_a, transpose_b);
    align_batches(at, x);
    struct node draft = { .op = OP_MATMUL, .transpose = { transpose_a, transpose_b } };
    return node_add(a->graph, at, &draft, 2, x);
}

static struct conv conv_of(const struct conv_options *options)
{
    struct conv conv = { .groups = options->groups ? options->groups : 1 };
    for (int i = 0; i < 2; i++) {
        int stride = options->strides[i] ? options->strides[i] : options->stride;
        int dilation = options->dilations[i] ? options->dilations[i] : options->dilation;
        conv.stride[i] = stride ? stride : 1;
        conv.dilation[i] = dilation ? dilation : 1;
        for (int side = 0; side < 2; side++)
            conv.pad[i][side] = options->pad + options->pads[i][side];
    }
    return conv;
}

struct node *t_conv_at(struct site at, struct node *x, struct node *w, struct conv_options options)
{
    struct node draft = { .op = OP_CONV, .conv = conv_of(&options) };
    return node_add(x->graph, at, &draft, 2, (struct node *[]){ x, w });
}

struct node *t_conv_dx_at(struct site at, struct node *y, struct node *w, struct conv conv,
                          struct shape x)
{
    struct node draft = { .op = OP_CONV_DX, .conv = conv, .shape = x };
    return node_add(y->graph, at, &draft, 2, (struct node *[]){ y, w });
}

struct node *t_conv_dw_at(struct site at, struct node *x, struct node *y, struct conv conv,
                          struct shape w)
{
    struct node draft = { .op = OP_CONV_DW, .conv = conv, .shape = w };
    return node_add(x->graph, at, &draft, 2, (struct node *[]){ x, y });
}

struct node *t_conv_transpose_at(struct site at, struct node *y, struct node *w,
                                 struct conv_options options)
{
    struct conv conv = conv_of(&options);
    struct node *src[2] = { y, w };
    if (y->shape.rank != 4 || w->shape.rank != 4)
        shape_mistake(at, OP_CONV_DX, 2, src, "images and weights have four axes");
    struct shape x = SHAPE(dim(y, 0), dim(w, 1) * conv.groups, 0, 0);
    for (int i = 0; i < 2; i++)
        x.size[2 + i] = (dim(y, 2 + i) - 1) * conv.stride[i] +
                        conv.dilation[i] * (dim(w, 2 + i) - 1) + 1 + options.output_pad -
                        conv.pad[i][0] - conv.pad[i][1];
    return t_conv_dx(y, w, conv, x);
}

struct node *t_upfirdn_with_at(struct site at, struct node *x, struct node *filter,
                               struct upfirdn upfirdn)
{
    struct node draft = { .op = OP_UPFIRDN, .upfirdn = upfirdn };
    return node_add(x->graph, at, &draft, 2, (struct node *[]){ x, filter });
}

struct node *t_upfirdn_at(struct site at, struct node *x, struct node *filter,
                          struct upfirdn_options options)
{
    struct upfirdn upfirdn = { .flip = options.flip };
    for (int i = 0; i < 2; i++) {
        upfirdn.up[i] = options.up ? options.up : 1;
        upfirdn.down[i] = options.down ? options.down : 1;
        for (int side = 0; side < 2; side++)
            upfirdn.pad[i][side] = options.pad + options.pads[i][side];
    }
    return t_upfirdn_with(x, filter, upfirdn);
}

static struct node *warp_node(struct site at, enum op_id op, struct node *x, struct node *matrix,
                              struct shape shape)
{
    struct node draft = { .op = op, .shape = shape };
    struct node *fixed = matrix->op == OP_DETACH ? matrix : t_detach(matrix);
    return node_add(x->graph, at, &draft, 2, (struct node *[]){ x, fixed });
}

struct node *t_warp_at(struct site at, struct node *x, struct node *matrix, int64_t height,
                       int64_t width)
{
    struct shape shape = x->shape; /* of another rank: refused by the op */
    if (shape.rank == 4) {
        shape.size[2] = height;
        shape.size[3] = width;
    }
    return warp_node(at, OP_WARP, x, matrix, shape);
}

struct node *t_warp_dx_at(struct site at, struct node *y, struct node *matrix, struct shape x)
{
    return warp_node(at, OP_WARP_DX, y, matrix, x);
}
