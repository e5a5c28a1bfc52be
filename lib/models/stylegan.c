/* StyleGAN's networks; see stylegan.h. c(r) is the width at resolution r. */
#include "models/stylegan.h"

#include "nn/style.h"

#include <stdio.h>

static const double MAPPING_RATE = 0.01, EPSILON = 1e-8;

static int width(const struct stylegan *config, int r)
{
    int wide = config->channel_base / r;
    return wide < config->channel_max ? wide : config->channel_max;
}

static int log2_of(int side)
{
    int log2 = 0;
    while (1 << (log2 + 1) <= side)
        log2++;
    CHECK(1 << log2 == side && log2 >= 2, "StyleGAN at side %d", side);
    return log2;
}

int stylegan_styles_count(int side)
{
    return 2 * log2_of(side) - 2;
}

/* Layers to and from images of side r are named by how many levels are to come: "ToRGB_lod0". */
static const char *named(const struct stylegan *config, const char *layer, int r, char name[32])
{
    snprintf(name, 32, "%s_lod%d", layer, log2_of(config->resolution) - log2_of(r));
    return name;
}

/* alpha·now + (1 - alpha)·before */
static struct node *fade(struct node *before, struct node *now, struct node *alpha)
{
    return t_add(before, t_mul(t_sub(now, before), alpha));
}

/* Mapping. */

struct node *stylegan_map(const struct stylegan *config, struct node *z)
{
    char name[16];
    int layers = config->mapping_layers ? config->mapping_layers : 8;
    graph_push(z->graph, "G_mapping");
    struct node *w = nn_pixel_norm(z); /* (N,z) of unit mean square */
    for (int i = 0; i < layers; i++) {
        snprintf(name, sizeof name, "Dense%d", i);
        w = nn_dense(w, name, config->w_width, .lrelu = true, .he = true, .rate = MAPPING_RATE);
    }
    graph_pop(z->graph);
    return w; /* (N,w) */
}

struct node *stylegan_w_average(const struct stylegan *config, struct graph *graph)
{
    return t_state(graph, "dlatent_avg", initial_zeros(graph, SHAPE(config->w_width)));
}

struct node *stylegan_truncate(struct node *styles, struct node *average, double psi, int cutoff)
{
    struct graph *graph = styles->graph;
    struct node *layer = t_reshape(nn_range(graph, dim(styles, 1)), SHAPE(dim(styles, 1), 1));
    struct node *truncated = t_add(average, t_scale(t_sub(styles, average), psi));
    return t_where(t_greater(t_full(graph, SHAPE(), cutoff), layer), truncated, styles);
}

/* Synthesis. */

struct shape stylegan_noise_shape(int layer, int64_t n)
{
    int r = 4 << layer / 2;
    return SHAPE(n, 1, r, r);
}

/* Zero mean and unit variance of each image's every channel. */
static struct node *instance_norm(struct node *x)
{
    struct node *centred = t_sub(x, t_mean(x, AXES(2, 3)));
    struct node *variance = t_mean(t_square(centred), AXES(2, 3)); /* (N,C,1,1) */
    return t_mul(centred, t_rsqrt(t_shift(variance, EPSILON)));
}

/* x (N,C,r,r) scaled and shifted by what a dense layer makes of the style (N,w): AdaIN, eq. 1. */
static struct node *style_mod(struct node *x, struct node *style)
{
    int64_t n = dim(x, 0), c = dim(x, 1);
    struct node *y = nn_dense(style, "StyleMod", 2 * c); /* (N,2C) */
    struct node *scale = t_reshape(t_slice(y, 1, 0, c), SHAPE(n, c, 1, 1));
    struct node *shift = t_reshape(t_slice(y, 1, c, 2 * c), SHAPE(n, c, 1, 1));
    return t_add(t_mul(x, t_shift(scale, 1)), shift);
}

struct synthesis {
    const struct stylegan *config;
    struct node *styles;       /* (N,L,w) */
    struct node *const *noise; /* of each layer, (N,1,r,r) */
    int layer;                 /* the next one */
};

/* What follows every convolution, under its name: x (N,C,r,r) → the same shape. */
static struct node *epilogue(struct synthesis *of, struct node *x, const char *name)
{
    struct graph *graph = x->graph;
    int64_t n = dim(x, 0), c = dim(x, 1);
    struct node *style = t_reshape(t_slice(of->styles, 1, of->layer, of->layer + 1),
                                   SHAPE(n, dim(of->styles, 2))); /* (N,w) */
    graph_push(graph, "%s.Noise", name);
    struct node *strength = t_parameter(graph, "weight", initial_zeros(graph, SHAPE(c)));
    graph_pop(graph);
    graph_push(graph, "%s", name);
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(c)));
    x = t_add(x, t_mul(of->noise[of->layer], t_reshape(strength, SHAPE(c, 1, 1))));
    x = nn_bias_act(x, .bias = bias, .lrelu = true, .he = true);
    x = style_mod(instance_norm(x), style);
    graph_pop(graph);
    of->layer++;
    return x;
}

/* x (N,I,r/2,r/2), at the first resolution NULL, → (N,c,r,r). */
static struct node *synthesis_block(struct synthesis *of, struct node *x, int r)
{
    struct graph *graph = of->styles->graph;
    int64_t c = width(of->config, r);
    graph_push(graph, "%dx%d", r, r);
    if (!x) {
        struct shape shape = SHAPE(1, c, r, r);
        graph_push(graph, "Const");
        x = t_parameter(graph, "const", initial_ones(graph, shape));
        graph_pop(graph);
        shape.size[0] = dim(of->styles, 0);
        x = epilogue(of, t_broadcast(x, shape), "Const");
        x = nn_equal_conv(x, "Conv", c, 3, .he = true, .no_bias = true);
        x = epilogue(of, x, "Conv");
    } else {
        x = nn_equal_conv(x, "Conv0_up", c, 3, .he = true, .no_bias = true, .up = 2, .box = true,
                          .mirrored = r >= STYLEGAN_FUSED);
        x = epilogue(of, nn_blur(x), "Conv0_up");
        x = nn_equal_conv(x, "Conv1", c, 3, .he = true, .no_bias = true);
        x = epilogue(of, x, "Conv1");
    }
    graph_pop(graph);
    return x;
}

static struct node *to_rgb(const struct stylegan *config, struct node *x)
{
    char name[32];
    return nn_equal_conv(x, named(config, "ToRGB", (int)dim(x, 2), name), config->channels, 1);
}

struct node *stylegan_synthesize(const struct stylegan *config, struct stylegan_level level,
                                 struct node *styles, struct node *const *noise)
{
    struct synthesis of = { config, styles, noise, 0 };
    struct node *x = NULL, *before = NULL;
    graph_push(styles->graph, "G_synthesis");
    for (int r = 4; r <= level.side; r *= 2) {
        before = x;
        x = synthesis_block(&of, x, r); /* (N,c(r),r,r) */
    }
    struct node *image = to_rgb(config, x); /* (N,C,side,side) */
    if (level.alpha)
        image = fade(nn_nearest2(to_rgb(config, before)), image, level.alpha);
    graph_pop(styles->graph);
    return image;
}

/* Discriminator. */

static struct node *from_rgb(const struct stylegan *config, struct node *image)
{
    char name[32];
    int r = (int)dim(image, 2);
    return nn_equal_conv(image, named(config, "FromRGB", r, name), width(config, r), 1,
                         .lrelu = true, .he = true);
}

/* x (N,c(r),r,r) → (N,c(r/2),r/2,r/2). */
static struct node *discriminator_block(const struct stylegan *config, struct node *x, int r)
{
    graph_push(x->graph, "%dx%d", r, r);
    x = nn_equal_conv(x, "Conv0", width(config, r), 3, .lrelu = true, .he = true);
    x = nn_equal_conv(nn_blur(x), "Conv1_down", width(config, r / 2), 3, .lrelu = true, .he = true,
                      .down = 2, .box = true);
    graph_pop(x->graph);
    return x;
}

/* x (N,c(4),4,4) → logits (N,1). */
static struct node *last_block(const struct stylegan *config, struct node *x)
{
    int64_t n = dim(x, 0), c = dim(x, 1);
    graph_push(x->graph, "4x4");
    x = nn_minibatch_stddev(x, STYLEGAN_STDDEV_GROUP);             /* (N,c+1,4,4) */
    x = nn_equal_conv(x, "Conv", c, 3, .lrelu = true, .he = true); /* (N,c,4,4)   */
    x = nn_dense(t_reshape(x, SHAPE(n, c * 16)), "Dense0", width(config, 2), .lrelu = true,
                 .he = true); /* (N,c(2)) */
    x = nn_dense(x, "Dense1", 1);
    graph_pop(x->graph);
    return x;
}

struct node *stylegan_discriminate(const struct stylegan *config, struct stylegan_level level,
                                   struct node *image)
{
    struct node *x = from_rgb(config, image); /* (N,c(side),side,side) */
    for (int r = level.side; r > 4; r /= 2) {
        x = discriminator_block(config, x, r);
        if (r == level.side && level.alpha)
            x = fade(from_rgb(config, nn_average_pool2(image)), x, level.alpha);
    }
    return last_block(config, x);
}
