/* Builders composed of primitives; see compose.h. */
#define HERE at
#include "tensor/compose.h"

#include <math.h>
#include <stdlib.h>

static struct node *full(struct site at, struct node *like, double value)
{
    return t_full_at(at, like->graph, like->dtype, like->shape, value);
}

struct node *t_square_at(struct site at, struct node *x)
{
    return t_mul(x, x);
}

struct node *t_rsqrt_at(struct site at, struct node *x)
{
    return t_div(full(at, x, 1), t_sqrt(x));
}

struct node *t_abs_at(struct site at, struct node *x)
{
    return t_where(t_greater(x, full(at, x, 0)), x, t_neg(x));
}

struct node *t_power_at(struct site at, struct node *x, double p)
{
    return t_exp(t_scale(t_log(x), p));
}

struct node *t_maximum_at(struct site at, struct node *a, struct node *b)
{
    return t_where(t_greater(a, b), a, b);
}

struct node *t_minimum_at(struct site at, struct node *a, struct node *b)
{
    return t_where(t_greater(b, a), a, b);
}

struct node *t_clamp_at(struct site at, struct node *x, double low, double high)
{
    return t_minimum(t_maximum(x, full(at, x, low)), full(at, x, high));
}

struct node *t_leaky_relu_at(struct site at, struct node *x, double slope)
{
    return t_where(t_greater(x, full(at, x, 0)), x,
                   slope == 0 ? full(at, x, 0) : t_scale(x, slope));
}

struct node *t_silu_at(struct site at, struct node *x)
{
    return t_mul(x, t_sigmoid(x));
}

struct node *t_gelu_at(struct site at, struct node *x)
{
    return t_mul(x, t_affine(t_erf(t_scale(x, M_SQRT1_2)), 0.5, 0.5));
}

struct node *t_mean_at(struct site at, struct node *x, unsigned axes)
{
    struct node *sum = t_sum(x, axes);
    return t_scale(sum, (double)shape_count(sum->shape) / (double)shape_count(x->shape));
}

struct node *t_variance_at(struct site at, struct node *x, unsigned axes)
{
    return t_mean(t_square(t_sub(x, t_mean(x, axes))), axes);
}

struct node *t_norm_at(struct site at, struct node *x, unsigned axes)
{
    return t_sqrt(t_sum(t_square(x), axes));
}

struct node *t_dot_at(struct site at, struct node *a, struct node *b, unsigned axes)
{
    return t_sum(t_mul(a, b), axes);
}

struct node *t_sum_all_at(struct site at, struct node *x)
{
    return t_reshape(t_sum(x, AXES_ALL), SHAPE());
}

struct node *t_mean_all_at(struct site at, struct node *x)
{
    return t_reshape(t_mean(x, AXES_ALL), SHAPE());
}

/* x less its maximum along the axis. The shift cancels out of both softmaxes, so it is detached. */
static struct node *shifted(struct site at, struct node *x, int axis, unsigned *axes)
{
    (void)dim(x, axis); /* that the axis is there */
    *axes = 1u << (axis < 0 ? axis + x->shape.rank : axis);
    return t_sub(x, t_detach(t_max(x, *axes)));
}

struct node *t_softmax_at(struct site at, struct node *x, int axis)
{
    unsigned axes;
    struct node *e = t_exp(shifted(at, x, axis, &axes));
    return t_div(e, t_sum(e, axes));
}

struct node *t_log_softmax_at(struct site at, struct node *x, int axis)
{
    unsigned axes;
    struct node *z = shifted(at, x, axis, &axes);
    return t_sub(z, t_log(t_sum(t_exp(z), axes)));
}

/* Labels are whole numbers, so l = c exactly where neither is greater than the other. */
struct node *t_one_hot_at(struct site at, struct node *labels, int classes)
{
    struct shape column = labels->shape;
    CHECK(classes > 0 && column.rank < RANK_MAX, "one_hot of %d classes, rank %d", classes,
          column.rank);
    column.size[column.rank++] = 1;
    float *number = calloc((size_t)classes, sizeof *number);
    CHECK(number, "out of memory: %d classes", classes);
    for (int i = 0; i < classes; i++)
        number[i] = (float)i;
    struct node *class = t_constant(labels->graph, SHAPE(classes), number);
    free(number);
    struct node *label = t_reshape(t_cast(labels, DTYPE_F32), column);
    return t_affine(t_add(t_greater(label, class), t_greater(class, label)), -1, 1);
}
