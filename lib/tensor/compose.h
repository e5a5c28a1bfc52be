/* Builders composed of primitives. None has a gradient rule of its own.
 *
 *     struct node *p = t_softmax(t_scale(t_matmul(q, t_transpose(k)), 1 / sqrt(d)), -1);
 *
 * They keep build.h's conventions: reductions keep their axes as size 1, binary ones broadcast.
 */
#ifndef TENSOR_COMPOSE_H
#define TENSOR_COMPOSE_H

#include "tensor/build.h"

#define t_neg(x)    t_scale(x, -1)
#define t_square(x) t_square_at(HERE, x)
#define t_rsqrt(x)  t_rsqrt_at(HERE, x) /* x^(-1/2) */
#define t_abs(x)    t_abs_at(HERE, x)
struct node *t_square_at(struct site at, struct node *x);
struct node *t_rsqrt_at(struct site at, struct node *x);
struct node *t_abs_at(struct site at, struct node *x);

/* x^p for x > 0. */
#define t_power(x, p) t_power_at(HERE, x, p)
struct node *t_power_at(struct site at, struct node *x, double p);

/* The larger, the smaller. Where they tie, the gradient goes to b. */
#define t_maximum(a, b) t_maximum_at(HERE, a, b)
#define t_minimum(a, b) t_minimum_at(HERE, a, b)
struct node *t_maximum_at(struct site at, struct node *a, struct node *b);
struct node *t_minimum_at(struct site at, struct node *a, struct node *b);

/* Limits to [low, high]; no gradient beyond (and on) the limits. */
#define t_clamp(x, low, high) t_clamp_at(HERE, x, low, high)
struct node *t_clamp_at(struct site at, struct node *x, double low, double high);

/* Activations. The gradient of relu and leaky_relu at 0 is that of the negative side. */
#define t_relu(x)              t_leaky_relu_at(HERE, x, 0)
#define t_leaky_relu(x, slope) t_leaky_relu_at(HERE, x, slope)
#define t_silu(x)              t_silu_at(HERE, x) /* x·sigmoid(x) */
#define t_gelu(x)              t_gelu_at(HERE, x) /* x·Φ(x), by erf */
struct node *t_leaky_relu_at(struct site at, struct node *x, double slope);
struct node *t_silu_at(struct site at, struct node *x);
struct node *t_gelu_at(struct site at, struct node *x);

/* Over a set of axes. The variance is that of the whole population (divided by n). */
#define t_mean(x, axes)     t_mean_at(HERE, x, axes)
#define t_variance(x, axes) t_variance_at(HERE, x, axes)
#define t_norm(x, axes)     t_norm_at(HERE, x, axes) /* Euclidean; no gradient at 0 */
#define t_dot(a, b, axes)   t_dot_at(HERE, a, b, axes)
struct node *t_mean_at(struct site at, struct node *x, unsigned axes);
struct node *t_variance_at(struct site at, struct node *x, unsigned axes);
struct node *t_norm_at(struct site at, struct node *x, unsigned axes);
struct node *t_dot_at(struct site at, struct node *a, struct node *b, unsigned axes);

/* The sum, the mean of all elements, as a scalar of rank 0: what a loss is. */
#define t_sum_all(x)  t_sum_all_at(HERE, x)
#define t_mean_all(x) t_mean_all_at(HERE, x)
struct node *t_sum_all_at(struct site at, struct node *x);
struct node *t_mean_all_at(struct site at, struct node *x);

/* Along one axis, shifted by the maximum so that nothing overflows. */
#define t_softmax(x, axis)     t_softmax_at(HERE, x, axis)
#define t_log_softmax(x, axis) t_log_softmax_at(HERE, x, axis)
struct node *t_softmax_at(struct site at, struct node *x, int axis);
struct node *t_log_softmax_at(struct site at, struct node *x, int axis);

/* Labels, i32 of any shape, as f32 with a new last axis of `classes`: 1 at the label, else 0 (all
 * zeros for a label outside). An embedding is t_matmul(t_one_hot(label, n), table). */
#define t_one_hot(labels, classes) t_one_hot_at(HERE, labels, classes)
struct node *t_one_hot_at(struct site at, struct node *labels, int classes);

#endif
