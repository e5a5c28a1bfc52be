/* Losses and penalties; see loss.h. */
#define HERE at
#include "nn/loss.h"

#include "tensor/gradient.h"

#include <math.h>
#include <stdlib.h>

static const double DICE_SMOOTH = 1e-5;

/* Labels (N,…) as one-hot (N,K,…): equal where neither is greater. */
static struct node *one_hot_channels(struct site at, struct node *labels, struct node *logits)
{
    int64_t classes = dim(logits, 1);
    struct shape row = logits->shape, column = { .rank = logits->shape.rank - 1 };
    row.size[1] = 1;
    for (int axis = 1; axis < column.rank; axis++)
        column.size[axis] = 1;
    column.size[0] = classes;
    float *number = calloc((size_t)classes, sizeof *number);
    CHECK(number, "out of memory: %lld classes", (long long)classes);
    for (int64_t i = 0; i < classes; i++)
        number[i] = (float)i;
    struct node *class = t_constant(labels->graph, column, number); /* (K,1,…) */
    free(number);
    struct node *label = t_reshape(t_cast(labels, DTYPE_F32), row); /* (N,1,…) */
    return t_affine(t_add(t_greater(label, class), t_greater(class, label)), -1, 1);
}

struct node *loss_cross_entropy_at(struct site at, struct node *logits, struct node *labels)
{
    struct node *truth = one_hot_channels(at, labels, logits);
    struct node *sum = t_sum_all(t_mul(truth, t_log_softmax(logits, 1)));
    return t_scale(sum, -1 / (double)shape_count(labels->shape));
}

struct node *loss_dice_at(struct site at, struct node *logits, struct node *labels)
{
    struct node *truth = one_hot_channels(at, labels, logits);
    struct node *p = t_softmax(logits, 1);
    unsigned others = ((1u << logits->shape.rank) - 1) & ~AXES(1);
    struct node *overlap = t_sum(t_mul(p, truth), others); /* (1,K,1,…) */
    struct node *total = t_add(t_sum(p, others), t_sum(truth, others));
    struct node *dice = t_div(t_affine(overlap, 2, DICE_SMOOTH), t_shift(total, DICE_SMOOTH));
    return t_neg(t_mean_all(dice));
}

struct node *loss_mse_at(struct site at, struct node *a, struct node *b)
{
    return t_mean_all(t_square(t_sub(a, b)));
}

struct node *loss_logistic_at(struct site at, struct node *logits, double sign)
{
    return t_mean_all(t_softplus(t_scale(logits, sign)));
}

/* ‖∂Σy/∂x‖² of each image: (N,1,…). */
static struct node *squared_slope(struct site at, struct node *y, struct node *x)
{
    struct node *dx;
    grad(t_sum_all(y), &x, 1, &dx);
    CHECK(dx, "a penalty on %s (%s:%d), which the output does not depend on", ops[x->op].name,
          at.file, at.line);
    return t_sum(t_square(dx), ((1u << x->shape.rank) - 1) & ~AXES(0));
}

struct node *penalty_r1_at(struct site at, struct node *logits, struct node *x)
{
    return t_mean_all(squared_slope(at, logits, x));
}

struct node *penalty_wgan_at(struct site at, struct node *logits, struct node *x)
{
    return t_mean_all(t_square(t_shift(t_sqrt(squared_slope(at, logits, x)), -1)));
}

struct node *between_at(struct site at, struct node *a, struct node *b, struct node *mix)
{
    return t_add(a, t_mul(mix, t_sub(b, a)));
}

struct node *path_lengths_at(struct site at, struct node *images, struct node *styles,
                             struct node *direction)
{
    struct node *slope;
    double pixels = (double)(dim(images, 2) * dim(images, 3));
    struct node *y = t_scale(direction, 1 / sqrt(pixels));
    grad_seeded(images, y, &styles, 1, &slope); /* (N,L,w) */
    CHECK(slope, "path_lengths of images that do not depend on the styles (%s:%d)", at.file,
          at.line);
    struct node *squares = t_mean(t_sum(t_square(slope), AXES(2)), AXES(1)); /* (N,1,1) */
    return t_reshape(t_sqrt(squares), SHAPE(dim(images, 0)));
}

struct node *penalty_path_at(struct site at, struct node *lengths, struct node **mean, double decay)
{
    struct node *step = t_scale(t_sub(t_mean_all(lengths), *mean), decay);
    struct node *moved = t_add(*mean, step);
    *mean = moved;
    return t_mean_all(t_square(t_sub(lengths, moved)));
}
