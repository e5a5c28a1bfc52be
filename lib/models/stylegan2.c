/* StyleGAN 2's networks; see stylegan2.h. c(r) is the width at resolution r. */
#include "models/stylegan2.h"

#include "nn/style.h"

#include <math.h>
#include <stdio.h>

static const double MAPPING_RATE = 0.01;

static int width(const struct stylegan2 *config, int r)
{
    int wide = config->channel_base / r;
    return wide < config->channel_max ? wide : config->channel_max;
}

int stylegan2_styles_count(const struct stylegan2 *config)
{
    int log2 = 0;
    while (1 << (log2 + 1) <= config->resolution)
        log2++;
    CHECK(1 << log2 == config->resolution && log2 >= 3, "StyleGAN 2 at resolution %d",
          config->resolution);
    return 2 * log2 - 2;
}

/* Mapping. */

struct node *stylegan2_map(const struct stylegan2 *config, struct node *z)
{
    char name[16];
    int layers = config->mapping_layers ? config->mapping_layers : 8;
    graph_push(z->graph, "mapping");
    struct node *w = nn_pixel_norm(z); /* (N,z) of unit mean square */
    for (int i = 0; i < layers; i++) {
        snprintf(name, sizeof name, "fc%d", i);
        w = nn_dense(w, name, config->w_width, .lrelu = true, .rate = MAPPING_RATE); /* (N,w) */
    }
    graph_pop(z->graph);
    return w;
}

struct node *stylegan2_w_average(const struct stylegan2 *config, struct graph *graph)
{
    graph_push(graph, "mapping");
    struct node *average = t_state(graph, "w_avg", initial_zeros(graph, SHAPE(config->w_width)));
    graph_pop(graph);
    return average;
}

struct node *stylegan2_w_average_next(struct node *average, struct node *w)
{
    return nn_follow_styles(average, w);
}

struct node *stylegan2_styles(const struct stylegan2 *config, struct node *w)
{
    return nn_styles(w, stylegan2_styles_count(config));
}

struct node *stylegan2_truncate(struct node *w, struct node *average, double psi)
{
    return t_add(average, t_scale(t_sub(w, average), psi));
}

struct node *stylegan2_mix(const struct stylegan2 *config, struct node *w, struct node *other,
                           struct node *cutoff)
{
    return nn_mix_styles(w, other, stylegan2_styles_count(config), cutoff);
}

/* Synthesis. */

struct shape stylegan2_noise_shape(int layer, int64_t n)
{
    int r = 4 << (layer + 1) / 2;
    return SHAPE(n, 1, r, r);
}

/* Style i of all layers' (N,L,w): (N,w). */
static struct node *style_of(struct node *styles, int i)
{
    return t_reshape(t_slice(styles, 1, i, i + 1), SHAPE(dim(styles, 0), dim(styles, 2)));
}

/* x (N,I,r/up,r/up), w (N,w) → (N,O,r,r): modulated 3×3, noise, bias, leaky ReLU. */
static struct node *layer(const struct stylegan2 *config, struct node *x, struct node *w,
                          struct node *noise, const char *name, int64_t o, int up)
{
    struct graph *graph = x->graph;
    int64_t i = dim(x, 1), r = dim(x, 2) * up;
    graph_push(graph, "%s", name);
    struct node *style = nn_dense(w, "affine", i, .bias = 1); /* (N,I) */
    struct node *weight =
        t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(o, i, 3, 3)));
    struct node *strength = t_parameter(graph, "noise_strength", initial_zeros(graph, SHAPE()));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(o)));
    if (!noise)
        noise = t_state(graph, "noise_const", t_normal(graph, "noise_const", SHAPE(r, r)));
    x = nn_modulated_conv(x, weight, style, .up = up); /* (N,O,r,r) */
    x = nn_bias_act(t_add(x, t_mul(noise, strength)), .bias = bias, .lrelu = true,
                    .clamp = config->clamp);
    graph_pop(graph);
    return x;
}

/* x (N,I,r,r), w (N,w) → (N,channels,r,r): modulated 1×1 without demodulation. */
static struct node *to_rgb(const struct stylegan2 *config, struct node *x, struct node *w)
{
    struct graph *graph = x->graph;
    int64_t i = dim(x, 1), o = config->channels;
    graph_push(graph, "torgb");
    struct node *style = nn_dense(w, "affine", i, .bias = 1); /* (N,I) */
    struct node *weight =
        t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(o, i, 1, 1)));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(o)));
    style = t_scale(style, 1 / sqrt((double)i));
    x = nn_modulated_conv(x, weight, style, .plain = true); /* (N,C,r,r) */
    x = nn_bias_act(x, .bias = bias, .clamp = config->clamp);
    graph_pop(graph);
    return x;
}

struct node *stylegan2_synthesize(const struct stylegan2 *config, struct node *styles,
                                  struct node *const *noise)
{
    struct graph *graph = styles->graph;
    struct node *x = NULL, *image = NULL;
    int used = 0; /* styles; torgb's style is that of the next block's first layer */
    graph_push(graph, "synthesis");
    for (int r = 4; r <= config->resolution; r *= 2) {
        int64_t c = width(config, r);
        graph_push(graph, "b%d", r);
        if (r == 4) {
            struct node *first = t_normal(graph, "const", SHAPE(c, 4, 4));
            x = t_broadcast(t_parameter(graph, "const", first), SHAPE(dim(styles, 0), c, 4, 4));
        } else {
            x = layer(config, x, style_of(styles, used), noise ? noise[used] : NULL, "conv0", c, 2);
            used++; /* (N,c,r,r) */
        }
        x = layer(config, x, style_of(styles, used), noise ? noise[used] : NULL, "conv1", c, 1);
        used++;                                                     /* (N,c,r,r) */
        struct node *y = to_rgb(config, x, style_of(styles, used)); /* (N,C,r,r) */
        image = image ? t_add(nn_upsample(image), y) : y;           /* (N,C,r,r) */
        graph_pop(graph);
    }
    graph_pop(graph);
    return image;
}

/* Discriminator. */

/* x (N,I,r,r) → (N,c(r/2),r/2,r/2): two branches, each scaled by √.5. */
static struct node *residual(const struct stylegan2 *config, struct node *x, int r)
{
    int64_t i = width(config, r), o = width(config, r / 2);
    struct node *skip =
        nn_equal_conv(x, "skip", o, 1, .down = 2, .no_bias = true, .gain = M_SQRT1_2);
    x = nn_equal_conv(x, "conv0", i, 3, .lrelu = true, .clamp = config->clamp); /* (N,I,r,r)     */
    x = nn_equal_conv(x, "conv1", o, 3, .lrelu = true, .clamp = config->clamp, .down = 2,
                      .gain = M_SQRT1_2); /* (N,O,r/2,r/2) */
    return t_add(skip, x);
}

/* x (N,c(4),4,4) → logits (N,1). */
static struct node *epilogue(const struct stylegan2 *config, struct node *x)
{
    int64_t n = dim(x, 0), c = dim(x, 1);
    x = nn_minibatch_stddev(x, STYLEGAN2_STDDEV_GROUP);                        /* (N,c+1,4,4) */
    x = nn_equal_conv(x, "conv", c, 3, .lrelu = true, .clamp = config->clamp); /* (N,c,4,4)   */
    x = nn_dense(t_reshape(x, SHAPE(n, c * 16)), "fc", c, .lrelu = true);      /* (N,c)       */
    return nn_dense(x, "out", 1);
}

struct node *stylegan2_discriminate(const struct stylegan2 *config, struct node *x)
{
    struct graph *graph = x->graph;
    for (int r = config->resolution; r > 4; r /= 2) {
        graph_push(graph, "b%d", r);
        if (r == config->resolution) /* (N,c(R),R,R) */
            x = nn_equal_conv(x, "fromrgb", width(config, r), 1, .lrelu = true,
                              .clamp = config->clamp);
        x = residual(config, x, r);
        graph_pop(graph);
    }
    graph_push(graph, "b4");
    x = epilogue(config, x);
    graph_pop(graph);
    return x;
}
