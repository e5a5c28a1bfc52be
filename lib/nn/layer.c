/* Layers with parameters; see layer.h. */
#define HERE at
#include "nn/layer.h"

#include "nn/optimiser.h"

#include <math.h>
#include <stdlib.h>

static const double NORM_EPSILON = 1e-5, PIXEL_EPSILON = 1e-8;

static double fan_in(struct shape weight)
{
    return (double)shape_count(weight) / (double)weight.size[0];
}

struct node *initial_uniform_at(struct site at, struct graph *graph, const char *name,
                                struct shape shape, double bound)
{
    return t_affine(t_uniform(graph, name, shape), 2 * bound, -bound);
}

struct node *initial_kaiming_at(struct site at, struct graph *graph, const char *name,
                                struct shape shape, double gain)
{
    return initial_normal(graph, name, shape, gain / sqrt(fan_in(shape)));
}

/* A weight or a bias, uniform within ±1/√fan or zero. */
static struct node *parameter(struct site at, struct graph *graph, const char *name,
                              struct shape shape, double fan, bool zero)
{
    return t_parameter(graph, name,
                       zero ? initial_zeros(graph, shape)
                            : initial_uniform(graph, name, shape, 1 / sqrt(fan)));
}

struct node *nn_linear_at(struct site at, struct node *x, const char *name, int64_t outputs,
                          struct linear_options options)
{
    struct graph *graph = x->graph;
    double fan = (double)dim(x, -1);
    graph_push(graph, "%s", name);
    struct node *weight =
        parameter(at, graph, "weight", SHAPE(outputs, dim(x, -1)), fan, options.zero);
    struct node *y = t_matmul(x, t_transpose(weight)); /* (…,O) */
    if (!options.no_bias)
        y = t_add(y, parameter(at, graph, "bias", SHAPE(outputs), fan, options.zero));
    graph_pop(graph);
    return y;
}

/* A vector (C) that acts on the channels of images (N,C,H,W): (C,1,1). */
static struct node *by_channel(struct site at, struct node *vector)
{
    return t_reshape(vector, SHAPE(-1, 1, 1));
}

struct node *nn_conv_at(struct site at, struct node *x, const char *name, int64_t outputs, int size,
                        struct conv_layer_options options)
{
    struct graph *graph = x->graph;
    int64_t inputs = dim(x, 1) / (options.groups ? options.groups : 1);
    struct shape kernel = SHAPE(outputs, inputs, size, size), stored = kernel;
    stored.rank = options.kernel_axes ? 2 + options.kernel_axes : 4;
    CHECK(stored.rank == 4 || size == 1, "%s: a kernel of %d axes and size %d", name,
          options.kernel_axes, size);
    if (stored.rank == 3)
        stored = SHAPE(outputs, inputs, 1);
    graph_push(graph, "%s", name);
    struct node *weight = parameter(at, graph, "weight", stored, fan_in(kernel), options.zero);
    struct node *y =
        t_conv(x, t_reshape(weight, kernel), .stride = options.stride, .pad = options.pad,
               .dilation = options.dilation, .groups = options.groups); /* (N,O,…) */
    if (!options.no_bias)
        y = t_add(y, by_channel(at, parameter(at, graph, "bias", SHAPE(outputs), fan_in(kernel),
                                              options.zero)));
    graph_pop(graph);
    return y;
}

/* Normalisation. */

/* The mean over each group, for each channel (N,C,1,1). Only sums over H and W touch the image, so
 * it may lie in memory however the convolutions around it like it best. */
static struct node *group_mean(struct site at, struct node *x, int64_t groups)
{
    int64_t n = dim(x, 0), c = dim(x, 1), pixels = dim(x, 2) * dim(x, 3);
    struct node *sum = t_sum(x, AXES(2, 3)); /* (N,C,1,1) */
    if (c > groups) {
        struct node *grouped = t_sum(t_reshape(sum, SHAPE(n, groups, c / groups)), AXES(2));
        grouped = t_broadcast(grouped, SHAPE(n, groups, c / groups));
        sum = t_reshape(grouped, SHAPE(n, c, 1, 1));
    }
    return t_scale(sum, 1 / (double)(c / groups * pixels));
}

struct node *nn_normalise_groups_at(struct site at, struct node *x, int64_t groups)
{
    if (x->shape.rank != 4 || groups < 1 || dim(x, 1) % groups)
        bug_at(at.file, at.line, "group_norm: rank %d, or channels not a multiple of %lld groups",
               x->shape.rank, (long long)groups);
    struct node *centred = t_sub(x, group_mean(at, x, groups));
    struct node *variance = group_mean(at, t_square(centred), groups);
    return t_mul(centred, t_rsqrt(t_shift(variance, NORM_EPSILON)));
}

struct node *nn_normalise_last_at(struct site at, struct node *x)
{
    unsigned last = 1u << (x->shape.rank - 1);
    struct node *centred = t_sub(x, t_mean(x, last));
    struct node *variance = t_mean(t_square(centred), last);
    return t_mul(centred, t_rsqrt(t_shift(variance, NORM_EPSILON)));
}

struct node *nn_group_norm_at(struct site at, struct node *x, const char *name, int64_t groups)
{
    struct graph *graph = x->graph;
    struct shape channels = SHAPE(dim(x, 1));
    graph_push(graph, "%s", name);
    struct node *weight = t_parameter(graph, "weight", initial_ones(graph, channels));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, channels));
    struct node *y = t_mul(nn_normalise_groups(x, groups), by_channel(at, weight));
    graph_pop(graph);
    return t_add(y, by_channel(at, bias));
}

/* The running average moves by a tenth towards the batch's value (1,C,1,1). */
static void follow(struct site at, struct updates *updates, struct node *running,
                   struct node *value, double factor)
{
    struct node *now = t_detach(t_reshape(value, running->shape));
    updates_add(updates, running, t_add(t_scale(running, 0.9), t_scale(now, 0.1 * factor)));
}

struct node *nn_batch_norm_at(struct site at, struct node *x, const char *name,
                              struct updates *updates, struct batch_norm_options options)
{
    struct graph *graph = x->graph;
    double epsilon = options.epsilon ? options.epsilon : NORM_EPSILON;
    struct shape channels = SHAPE(dim(x, 1));
    double count = (double)(dim(x, 0) * dim(x, 2) * dim(x, 3)),
           first = options.variance ? options.variance : 1;
    graph_push(graph, "%s", name);
    struct node *weight = t_parameter(graph, "weight", initial_ones(graph, channels));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, channels));
    struct node *running_mean = t_state(graph, "running_mean", initial_zeros(graph, channels));
    struct node *running_var = t_state(graph, "running_var", t_full(graph, channels, first));
    struct node *mean = by_channel(at, running_mean), *variance = by_channel(at, running_var);
    if (updates) {
        mean = t_mean(x, AXES(0, 2, 3)); /* (1,C,1,1) */
        variance = t_mean(t_square(t_sub(x, mean)), AXES(0, 2, 3));
        follow(at, updates, running_mean, mean, 1);
        follow(at, updates, running_var, variance, count > 1 ? count / (count - 1) : 1);
    }
    struct node *y = t_mul(t_sub(x, mean), t_rsqrt(t_shift(variance, epsilon)));
    y = t_add(t_mul(y, by_channel(at, weight)), by_channel(at, bias));
    graph_pop(graph);
    return y;
}

struct node *nn_layer_norm_at(struct site at, struct node *x, const char *name)
{
    struct graph *graph = x->graph;
    struct shape width = SHAPE(dim(x, -1));
    graph_push(graph, "%s", name);
    struct node *weight = t_parameter(graph, "weight", initial_ones(graph, width));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, width));
    struct node *y = t_add(t_mul(nn_normalise_last(x), weight), bias);
    graph_pop(graph);
    return y;
}

struct node *nn_pixel_norm_at(struct site at, struct node *x)
{
    return t_mul(x, t_rsqrt(t_shift(t_mean(t_square(x), AXES(1)), PIXEL_EPSILON)));
}

/* Attention. */

struct node *nn_attend_at(struct site at, struct node *qkv, int heads)
{
    int64_t n = dim(qkv, 0), width = dim(qkv, 1), length = dim(qkv, 2), c = width / (3 * heads);
    if (width % (3 * heads))
        bug_at(at.file, at.line, "attention: %lld channels are not 3 × %d heads", (long long)width,
               heads);
    struct node *each = t_reshape(qkv, SHAPE(n * heads, 3 * c, length));
    double scale = pow((double)c, -0.25); /* of both, so that neither overflows in low precision */
    struct node *q = t_scale(t_slice(each, 1, 0, c), scale); /* (N·heads,c,T) */
    struct node *k = t_scale(t_slice(each, 1, c, 2 * c), scale);
    struct node *v = t_slice(each, 1, 2 * c, 3 * c);
    struct node *weight = t_softmax(t_matmul(t_transpose(q), k), -1); /* (N·heads,T,T) */
    struct node *y = t_matmul(v, t_transpose(weight));                /* (N·heads,c,T) */
    return t_reshape(y, SHAPE(n, heads * c, length));
}

struct node *nn_attention_at(struct site at, struct node *x, const char *name, int heads)
{
    struct graph *graph = x->graph;
    int64_t n = dim(x, 0), c = dim(x, 1), length = dim(x, 2) * dim(x, 3);
    graph_push(graph, "%s", name);
    struct node *h = nn_group_norm(x, "norm", 32);
    h = nn_conv(h, "qkv", 3 * c, 1, .kernel_axes = 1);           /* (N,3C,H,W) */
    h = nn_attend(t_reshape(h, SHAPE(n, 3 * c, length)), heads); /* (N,C,T)    */
    h = nn_conv(t_reshape(h, x->shape), "proj_out", c, 1, .zero = true, .kernel_axes = 1);
    graph_pop(graph);
    return t_add(x, h);
}

/* Embeddings and dropout. */

struct node *nn_sinusoids_at(struct site at, struct node *t, int width)
{
    int half = width / 2;
    CHECK(width > 0 && width % 2 == 0, "sinusoids of an odd width, %d", width);
    float *frequency = calloc((size_t)half, sizeof *frequency);
    CHECK(frequency, "out of memory: %d frequencies", half);
    for (int i = 0; i < half; i++)
        frequency[i] = (float)i;
    struct node *index = t_constant(t->graph, SHAPE(half), frequency);
    free(frequency);
    struct node *time = t_reshape(t_cast(t, DTYPE_F32), SHAPE(dim(t, 0), 1));
    struct node *angle = t_mul(time, t_exp(t_scale(index, -log(10000) / half))); /* (N,width/2) */
    return t_concat(1, t_cos(angle), t_sin(angle));
}

struct node *nn_positions_at(struct site at, struct node *x, const char *name)
{
    struct shape table = SHAPE(1, dim(x, 1), dim(x, 2));
    return t_add(x, t_parameter(x->graph, name, initial_normal(x->graph, name, table, 0.02)));
}

struct node *nn_dropout_at(struct site at, struct node *x, double probability)
{
    struct graph *graph = x->graph;
    CHECK(probability >= 0 && probability < 1, "dropout with probability %g", probability);
    if (probability == 0)
        return x;
    struct node *limit = t_full_at(at, graph, DTYPE_F32, x->shape, probability);
    struct node *dropped = t_greater(limit, t_uniform(graph, "dropout", x->shape));
    return t_where(dropped, t_zeros_like(x), t_scale(x, 1 / (1 - probability)));
}
