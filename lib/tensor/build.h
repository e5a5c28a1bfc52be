/* Builders of primitive nodes. Every builder's name begins with t_, since exp, log, div and their
 * like belong to the C library. Nodes know their graph, so only leaves (graph.h) need it named.
 *
 *     struct node *y = t_add(t_matmul(x, w), bias);        // (N,O): bias (O) is broadcast
 *
 * Binary builders broadcast as NumPy does: shapes are aligned at their last axes, and sizes of 1
 * are repeated; what this takes is put in as reshape and broadcast nodes. Reductions keep their
 * axes, as size 1, so that their result broadcasts back as it is.
 *
 * Builders simplify where the result is plainly the same (x·1, a scale of a scale, a permutation
 * undone), which keeps second-order graphs small; so a builder may give back a source, or a node
 * of another op. They never look at values that are known only at run time.
 */
#ifndef TENSOR_BUILD_H
#define TENSOR_BUILD_H

#include "tensor/graph.h"

/* Elementwise, one source. softplus is log(1 + exp(x)), without overflow. */
#define t_exp(x)      t_unary_at(HERE, OP_EXP, x)
#define t_log(x)      t_unary_at(HERE, OP_LOG, x)
#define t_sqrt(x)     t_unary_at(HERE, OP_SQRT, x)
#define t_sin(x)      t_unary_at(HERE, OP_SIN, x)
#define t_cos(x)      t_unary_at(HERE, OP_COS, x)
#define t_tanh(x)     t_unary_at(HERE, OP_TANH, x)
#define t_sigmoid(x)  t_unary_at(HERE, OP_SIGMOID, x)
#define t_softplus(x) t_unary_at(HERE, OP_SOFTPLUS, x)
#define t_erf(x)      t_unary_at(HERE, OP_ERF, x)
#define t_detach(x)   t_unary_at(HERE, OP_DETACH, x) /* the same values, and no gradient */
struct node *t_unary_at(struct site at, enum op_id op, struct node *x);

/* a·x + b for numbers a, b. */
#define t_affine(x, a, b) t_affine_at(HERE, x, a, b)
#define t_scale(x, a)     t_affine_at(HERE, x, a, 0)
#define t_shift(x, b)     t_affine_at(HERE, x, 1, b)
struct node *t_affine_at(struct site at, struct node *x, double a, double b);

/* Rounds to nearest even where the new type holds less; i32 truncates towards zero. */
#define t_cast(x, dtype) t_cast_at(HERE, x, dtype)
struct node *t_cast_at(struct site at, struct node *x, enum dtype dtype);

/* Elementwise, with broadcasting. greater is 1 where a > b, else 0, and has no gradient. */
#define t_add(a, b)     t_binary_at(HERE, OP_ADD, a, b)
#define t_sub(a, b)     t_binary_at(HERE, OP_SUB, a, b)
#define t_mul(a, b)     t_binary_at(HERE, OP_MUL, a, b)
#define t_div(a, b)     t_binary_at(HERE, OP_DIV, a, b)
#define t_greater(a, b) t_binary_at(HERE, OP_GREATER, a, b)
struct node *t_binary_at(struct site at, enum op_id op, struct node *a, struct node *b);

/* a where the condition is not 0, else b. Broadcasts all three. */
#define t_where(condition, a, b) t_where_at(HERE, condition, a, b)
struct node *t_where_at(struct site at, struct node *condition, struct node *a, struct node *b);

/* Reductions over a set of axes. The gradient of max is shared equally by elements that tie. */
#define AXES(...)                                                                                  \
    axes_mask((int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), (int[]){ __VA_ARGS__ })
#define AXES_ALL (~0u)
unsigned axes_mask(int count, const int *axes); /* axes from 0; negative ones are not known here */

#define t_sum(x, axes) t_reduce_at(HERE, OP_SUM, x, axes)
#define t_max(x, axes) t_reduce_at(HERE, OP_MAX, x, axes)
struct node *t_reduce_at(struct site at, enum op_id op, struct node *x, unsigned axes);

/* Movement. broadcast repeats along axes of size 1 and puts new axes in front; reshape keeps the
 * row-major order, and one size may be -1, for what is left. */
#define t_broadcast(x, shape) t_broadcast_at(HERE, x, shape)
#define t_reshape(x, shape)   t_reshape_at(HERE, x, shape)
struct node *t_broadcast_at(struct site at, struct node *x, struct shape shape);
struct node *t_reshape_at(struct site at, struct node *x, struct shape shape);

/* t_permute(x, 0, 2, 3, 1) gives (N,H,W,C) of (N,C,H,W). t_transpose exchanges the last two. */
#define t_permute(x, ...)                                                                          \
    t_permute_at(HERE, x, (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)),                     \
                 (int[]){ __VA_ARGS__ })
#define t_transpose(x) t_transpose_at(HERE, x)
struct node *t_permute_at(struct site at, struct node *x, int rank, const int *permutation);
struct node *t_transpose_at(struct site at, struct node *x);

/* Along one axis (negative: from the end): zeros before and after; elements [begin, end), a
 * negative end counting from the end; reversed; several tensors in a row. */
#define t_pad(x, axis, before, after) t_pad_at(HERE, x, axis, before, after)
#define t_slice(x, axis, begin, end)  t_slice_at(HERE, x, axis, begin, end)
#define t_flip(x, axes)               t_flip_at(HERE, x, axes)
#define t_concat(axis, ...)                                                                        \
    t_concat_at(HERE, axis, (int)(sizeof((struct node *[]){ __VA_ARGS__ }) / sizeof(void *)),      \
                (struct node *[]){ __VA_ARGS__ })
struct node *t_pad_at(struct site at, struct node *x, int axis, int64_t before, int64_t after);
struct node *t_slice_at(struct site at, struct node *x, int axis, int64_t begin, int64_t end);
struct node *t_flip_at(struct site at, struct node *x, unsigned axes);
struct node *t_concat_at(struct site at, int axis, int count, struct node *const *x);

/* Many axes at once: what the two above are made of. Arrays of one entry an axis. */
#define t_pad_all(x, before, after) t_pad_all_at(HERE, x, before, after)
#define t_slice_all(x, begin, end)  t_slice_all_at(HERE, x, begin, end)
struct node *t_pad_all_at(struct site at, struct node *x, const int64_t *before,
                          const int64_t *after);
struct node *t_slice_all_at(struct site at, struct node *x, const int64_t *begin,
                            const int64_t *end);

/* (…,M,K) × (…,K,N) → (…,M,N). Axes in front are broadcast; where b is a plain matrix they are
 * folded into M instead, so that weights are never repeated. A transposed source costs nothing. */
#define t_matmul(a, b) t_matmul_at(HERE, a, b, false, false)
struct node *t_matmul_at(struct site at, struct node *a, struct node *b, bool transpose_a,
                         bool transpose_b);

/* Convolution (cross-correlation, as in every deep learning library) of x (N,C,H,W) with
 * w (O,C/groups,kh,kw): (N,O,oh,ow), oh = (H + pads − dilation·(kh−1) − 1) / stride + 1, rounded
 * down. All options may be left out:
 *
 *     t_conv(x, w, .stride = 2, .pad = 1)
 *     t_conv(x, w, .pads = { { 1, 2 }, { 0, 1 } })         // top, bottom; left, right
 */
struct conv_options {
    int stride, pad, dilation, groups;        /* 0: 1, 0, 1, 1 */
    int strides[2], dilations[2], pads[2][2]; /* by axis, instead */
    int output_pad;                           /* t_conv_transpose only: rows and columns added */
};
#define t_conv(x, w, ...) t_conv_at(HERE, x, w, (struct conv_options){ __VA_ARGS__ })
struct node *t_conv_at(struct site at, struct node *x, struct node *w, struct conv_options options);

/* The transposed convolution of y (N,O,H,W) with w (O,C/groups,kh,kw): (N,C,…,…), with the
 * weight's layout and the output's size of PyTorch's conv_transpose2d. */
#define t_conv_transpose(y, w, ...)                                                                \
    t_conv_transpose_at(HERE, y, w, (struct conv_options){ __VA_ARGS__ })
struct node *t_conv_transpose_at(struct site at, struct node *y, struct node *w,
                                 struct conv_options options);

/* The two adjoints of conv(x, w): with respect to x, of shape `x`; and to w, of shape `w`. */
#define t_conv_dx(y, w, conv, x_shape) t_conv_dx_at(HERE, y, w, conv, x_shape)
#define t_conv_dw(x, y, conv, w_shape) t_conv_dw_at(HERE, x, y, conv, w_shape)
struct node *t_conv_dx_at(struct site at, struct node *y, struct node *w, struct conv conv,
                          struct shape x);
struct node *t_conv_dw_at(struct site at, struct node *x, struct node *y, struct conv conv,
                          struct shape w);

/* Upsample, filter, downsample each channel of x (N,C,H,W) (NVlabs' upfirdn2d): up-1 zeros after
 * each pixel, padding (negative: cropping), the filter, every down-th pixel. The filter is a
 * constant: (k) for the separable k×k one, or (kh,kw). It must be scaled by the caller: to keep
 * the mean when upsampling it sums to up².
 *
 *     t_upfirdn(x, filter, .up = 2, .pads = { { 2, 1 }, { 2, 1 } })
 */
struct upfirdn_options {
    int up, down, pad; /* 0: 1, 1, 0 */
    int pads[2][2];    /* by side, instead: top, bottom; left, right */
    bool flip;         /* correlate with the filter as it stands */
};
#define t_upfirdn(x, filter, ...)                                                                  \
    t_upfirdn_at(HERE, x, filter, (struct upfirdn_options){ __VA_ARGS__ })
struct node *t_upfirdn_at(struct site at, struct node *x, struct node *filter,
                          struct upfirdn_options options);

/* With all attributes given, as gradients need it. */
#define t_upfirdn_with(x, filter, upfirdn) t_upfirdn_with_at(HERE, x, filter, upfirdn)
struct node *t_upfirdn_with_at(struct site at, struct node *x, struct node *filter,
                               struct upfirdn upfirdn);

/* x (N,C,H,W), sampled along a plane of its own for each image: pixel o = (column, row) of the
 * result (N,C,height,width) is x at M·(o,1), both counted from their image's centre. M (N,2,3),
 * f32. Bilinear, zeros beyond x: grid_sample of an affine_grid, in pixels. M is taken as it stands:
 * no gradient flows to it, as if it were detached. */
#define t_warp(x, matrix, height, width) t_warp_at(HERE, x, matrix, height, width)
struct node *t_warp_at(struct site at, struct node *x, struct node *matrix, int64_t height,
                       int64_t width);

/* Its adjoint: each pixel of y is spread over those that it was sampled from, in an image of shape
 * `x`. */
#define t_warp_dx(y, matrix, x_shape) t_warp_dx_at(HERE, y, matrix, x_shape)
struct node *t_warp_dx_at(struct site at, struct node *y, struct node *matrix, struct shape x);

/* Zeros of the shape and dtype of x. */
#define t_zeros_like(x) t_full_at(HERE, (x)->graph, (x)->dtype, (x)->shape, 0)

#endif
