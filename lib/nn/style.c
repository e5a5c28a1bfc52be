/* What StyleGAN's networks are made of; see style.h. */
#define HERE at
#include "nn/style.h"

#include <math.h>

enum { RANGE_MAX = 64 };
static const double EPSILON = 1e-8, AVERAGE_DECAY = 0.995;

struct node *nn_bias_act_at(struct site at, struct node *x, struct bias_act_options options)
{
    double gain = options.gain != 0 ? options.gain : 1;
    if (options.bias) {
        struct shape shape = SHAPE(dim(options.bias, 0));
        for (shape.rank = 1; shape.rank < x->shape.rank - 1; shape.rank++)
            shape.size[shape.rank] = 1;
        x = t_add(x, t_reshape(options.bias, shape)); /* (C,1,…) */
    }
    if (options.lrelu)
        x = t_leaky_relu(x, 0.2);
    x = t_scale(x, options.lrelu && !options.he ? gain * M_SQRT2 : gain);
    return options.clamp > 0 ? t_clamp(x, -options.clamp, options.clamp) : x;
}

struct node *nn_dense_at(struct site at, struct node *x, const char *name, int64_t outputs,
                         struct dense_options options)
{
    struct graph *graph = x->graph;
    int64_t inputs = dim(x, -1);
    double rate = options.rate != 0 ? options.rate : 1;
    graph_push(graph, "%s", name);
    struct node *first = initial_normal(graph, "weight", SHAPE(outputs, inputs), 1 / rate);
    struct node *weight = t_parameter(graph, "weight", first);
    struct node *bias =
        t_parameter(graph, "bias", t_full_at(at, graph, DTYPE_F32, SHAPE(outputs), options.bias));
    struct node *scaled = t_scale(weight, rate * (options.he ? M_SQRT2 : 1) / sqrt((double)inputs));
    struct node *y = nn_bias_act(t_matmul(x, t_transpose(scaled)), .bias = t_scale(bias, rate),
                                 .lrelu = options.lrelu, .he = options.he);
    graph_pop(graph);
    return y;
}

struct node *nn_equal_conv_at(struct site at, struct node *x, const char *name, int64_t outputs,
                              int size, struct equal_conv_options options)
{
    struct graph *graph = x->graph;
    struct shape shape = SHAPE(outputs, dim(x, 1), size, size);
    double fan = (double)(dim(x, 1) * size * size), gain = options.gain != 0 ? options.gain : 1;
    graph_push(graph, "%s", name);
    struct node *weight = t_parameter(graph, "weight", t_normal(graph, "weight", shape));
    struct node *bias = NULL;
    if (!options.no_bias)
        bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(outputs)));
    struct node *scaled = t_scale(weight, (options.he ? M_SQRT2 : 1) / sqrt(fan));
    struct node *y = nn_conv_resampled(x, scaled, .up = options.up, .down = options.down,
                                       .box = options.box, .mirrored = options.mirrored);
    y = nn_bias_act(y, .bias = bias, .lrelu = options.lrelu, .he = options.he, .gain = gain,
                    .clamp = options.clamp * gain);
    graph_pop(graph);
    return y;
}

struct node *nn_styles_at(struct site at, struct node *w, int64_t layers)
{
    int64_t n = dim(w, 0), width = dim(w, 1);
    return t_broadcast(t_reshape(w, SHAPE(n, 1, width)), SHAPE(n, layers, width));
}

struct node *nn_mix_styles_at(struct site at, struct node *w, struct node *other, int64_t layers,
                              struct node *cutoff)
{
    struct node *layer = t_reshape(nn_range(w->graph, layers), SHAPE(layers, 1));
    return t_where(t_greater(layer, cutoff), nn_styles(other, layers), nn_styles(w, layers));
}

struct node *nn_mixing_cutoff_at(struct site at, struct graph *graph, const char *name, int layers,
                                 double probability)
{
    struct node *limit = t_full(graph, SHAPE(), probability),
                *none = t_full(graph, SHAPE(), layers);
    struct node *mixes = t_greater(limit, t_uniform(graph, name, SHAPE()));
    struct node *first = t_scale(t_uniform(graph, name, SHAPE()), layers - 1); /* from 0 */
    return t_where(mixes, first, none);
}

struct node *nn_follow_styles_at(struct site at, struct node *average, struct node *w)
{
    struct node *mean = t_reshape(t_mean(t_detach(w), AXES(0)), average->shape);
    return t_add(mean, t_scale(t_sub(average, mean), AVERAGE_DECAY));
}

struct node *nn_range_at(struct site at, struct graph *graph, int64_t count)
{
    float number[RANGE_MAX];
    if (count > RANGE_MAX)
        bug_at(at.file, at.line, "a range of %lld numbers", (long long)count);
    for (int64_t i = 0; i < count; i++)
        number[i] = (float)i;
    return t_constant(graph, SHAPE(count), number);
}

/* w (O,I,k,k), style (N,I) → (N,O): 1 / √(Σ over I,k,k of (w s)² + ε). */
static struct node *demodulation(struct site at, struct node *w, struct node *style)
{
    struct node *squares = t_reshape(t_sum(t_square(w), AXES(2, 3)), SHAPE(dim(w, 0), dim(w, 1)));
    struct node *sum = t_matmul(t_square(style), t_transpose(squares)); /* (N,O) */
    return t_rsqrt(t_shift(sum, EPSILON));
}

/* (N,C) as factors of images (N,C,H,W). */
static struct node *by_image(struct site at, struct node *factor)
{
    return t_reshape(factor, SHAPE(dim(factor, 0), dim(factor, 1), 1, 1));
}

static int padding(const struct modulated_options *options, struct node *w)
{
    return options->pad ? options->pad : (int)dim(w, 2) / 2;
}

/* One group an image: x as (1,N·I,H,W) and weights (N·O,I,k,k). */
static struct node *grouped_conv(struct site at, struct node *x, struct node *w, struct node *style,
                                 const struct modulated_options *options)
{
    int64_t n = dim(x, 0), o = dim(w, 0), i = dim(w, 1), k = dim(w, 2);
    struct node *each = t_mul(w, t_reshape(style, SHAPE(n, 1, i, 1, 1))); /* (N,O,I,k,k) */
    if (!options->plain)
        each = t_mul(each, t_reshape(demodulation(at, w, style), SHAPE(n, o, 1, 1, 1)));
    if (options->gain)
        each = t_mul(each, options->gain);
    struct node *row = t_reshape(x, SHAPE(1, n * i, dim(x, 2), dim(x, 3)));
    if (options->up != 2) {
        struct node *y = t_conv(row, t_reshape(each, SHAPE(n * o, i, k, k)),
                                .pad = padding(options, w), .groups = (int)n);
        return t_reshape(y, SHAPE(n, o, dim(y, 2), dim(y, 3)));
    }
    each = t_reshape(t_permute(each, 0, 2, 1, 3, 4), SHAPE(n * i, o, k, k));
    struct node *y = t_conv_transpose(row, each, .stride = 2, .groups = (int)n);
    y = t_upfirdn(y, nn_filter1331(x->graph, 2), .pad = 1);
    return t_reshape(y, SHAPE(n, o, dim(y, 2), dim(y, 3)));
}

struct node *nn_modulated_conv_at(struct site at, struct node *x, struct node *w,
                                  struct node *style, struct modulated_options options)
{
    if (options.grouped)
        return grouped_conv(at, x, w, style, &options);
    struct node *factor = options.gain ? t_mul(style, options.gain) : style;
    x = t_mul(x, by_image(at, factor));
    struct node *y = options.up == 2 ? nn_conv_resampled(x, w, .up = 2)
                                     : t_conv(x, w, .pad = padding(&options, w)); /* (N,O,H,W) */
    return options.plain ? y : t_mul(y, by_image(at, demodulation(at, w, style)));
}

struct node *nn_minibatch_stddev_at(struct site at, struct node *x, int64_t group)
{
    int64_t n = dim(x, 0), c = dim(x, 1), h = dim(x, 2), w = dim(x, 3);
    int64_t g = group < n ? group : n, m = n / g;
    if (n % g)
        bug_at(at.file, at.line, "minibatch_stddev: %lld images in groups of %lld", (long long)n,
               (long long)g);
    struct node *y = t_reshape(x, SHAPE(g, m, c, h, w));
    y = t_sqrt(t_shift(t_variance(y, AXES(0)), EPSILON));          /* (1,N/G,C,H,W) */
    y = t_reshape(t_mean(y, AXES(2, 3, 4)), SHAPE(1, m, 1, 1, 1)); /* one a group   */
    y = t_reshape(t_broadcast(y, SHAPE(g, m, 1, h, w)), SHAPE(n, 1, h, w));
    return t_concat(1, x, y);
}
