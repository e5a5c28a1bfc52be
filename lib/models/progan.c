/* ProGAN's networks; see progan.h. c(s) is the width at side s. */
#include "models/progan.h"

#include "nn/style.h"

#include <math.h>
#include <stdio.h>

static int width(const struct progan *config, int s)
{
    int wide = config->channel_base / s;
    return wide < config->channel_max ? wide : config->channel_max;
}

/* How often a side doubles up to the resolution: the official "level of detail". */
static int lod(const struct progan *config, int64_t s)
{
    int doublings = 0;
    while (s << doublings < config->resolution)
        doublings++;
    CHECK(s >= 4 && s << doublings == config->resolution, "ProGAN of side %lld, resolution %d",
          (long long)s, config->resolution);
    return doublings;
}

/* (1 − alpha) a + alpha b. */
static struct node *mix(struct node *a, struct node *b, struct node *alpha)
{
    return t_add(a, t_mul(t_sub(b, a), alpha));
}

/* ---- the generator --------------------------------------------------------------------------- */

/* z (N,z) → (N,c,4,4): a dense layer whose bias is one a channel, its gain √2/4, which is that of
 * the original Theano implementation. */
static struct node *dense_to_4x4(const struct progan *config, struct node *z)
{
    struct graph *graph = z->graph;
    int64_t n = dim(z, 0), i = dim(z, 1), c = width(config, 4);
    graph_push(graph, "Dense");
    struct node *weight = t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(c * 16, i)));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(c)));
    weight = t_scale(weight, M_SQRT2 / 4 / sqrt((double)i));
    struct node *x = t_reshape(t_matmul(z, t_transpose(weight)), SHAPE(n, c, 4, 4));
    x = nn_bias_act(x, .bias = bias, .lrelu = true, .he = true);
    graph_pop(graph);
    return x;
}

/* x (N,I,s,s) or, for the first, z (N,z) → (N,c,r,r). */
static struct node *block(const struct progan *config, struct node *x, int r)
{
    int64_t c = width(config, r);
    graph_push(x->graph, "%dx%d", r, r);
    if (r == 4) {
        x = nn_pixel_norm(dense_to_4x4(config, nn_pixel_norm(x)));
        x = nn_pixel_norm(nn_equal_conv(x, "Conv", c, 3, .lrelu = true, .he = true));
    } else {
        x = nn_pixel_norm(nn_equal_conv(x, "Conv0_up", c, 3, .lrelu = true, .he = true, .up = 2,
                                        .box = true, .mirrored = true));
        x = nn_pixel_norm(nn_equal_conv(x, "Conv1", c, 3, .lrelu = true, .he = true));
    }
    graph_pop(x->graph);
    return x;
}

static struct node *to_rgb(const struct progan *config, struct node *x)
{
    char name[32];
    snprintf(name, sizeof name, "ToRGB_lod%d", lod(config, dim(x, 2)));
    return nn_equal_conv(x, name, config->channels, 1);
}

struct node *progan_generate(const struct progan *config, struct node *z, int side,
                             struct node *alpha)
{
    struct node *x = z, *before = NULL;
    for (int r = 4; r <= side; r *= 2) {
        before = x;
        x = block(config, x, r);
    }
    struct node *image = to_rgb(config, x); /* (N,channels,side,side) */
    return alpha ? mix(nn_nearest2(to_rgb(config, before)), image, alpha) : image;
}

/* ---- the discriminator ----------------------------------------------------------------------- */

static struct node *from_rgb(const struct progan *config, struct node *x)
{
    char name[32];
    snprintf(name, sizeof name, "FromRGB_lod%d", lod(config, dim(x, 2)));
    return nn_equal_conv(x, name, width(config, (int)dim(x, 2)), 1, .lrelu = true, .he = true);
}

/* x (N,c(r),r,r) → (N,c(r/2),r/2,r/2). */
static struct node *halve(const struct progan *config, struct node *x)
{
    int r = (int)dim(x, 2);
    x = nn_equal_conv(x, "Conv0", width(config, r), 3, .lrelu = true, .he = true);
    return nn_equal_conv(x, "Conv1_down", width(config, r / 2), 3, .lrelu = true, .he = true,
                         .down = 2, .box = true);
}

/* x (N,c(4),4,4) → scores (N,1). */
static struct node *judge(const struct progan *config, struct node *x)
{
    int64_t n = dim(x, 0), c = dim(x, 1);
    x = nn_minibatch_stddev(x, PROGAN_STDDEV_GROUP);               /* (N,c+1,4,4) */
    x = nn_equal_conv(x, "Conv", c, 3, .lrelu = true, .he = true); /* (N,c,4,4)   */
    x = nn_dense(t_reshape(x, SHAPE(n, c * 16)), "Dense0", width(config, 2), .lrelu = true,
                 .he = true);
    return nn_dense(x, "Dense1", 1);
}

struct node *progan_discriminate(const struct progan *config, struct node *x, struct node *alpha)
{
    struct node *image = x;
    int side = (int)dim(x, 2);
    x = from_rgb(config, image);
    for (int r = side; r >= 4; r /= 2) {
        graph_push(x->graph, "%dx%d", r, r);
        x = r > 4 ? halve(config, x) : judge(config, x);
        graph_pop(x->graph);
        if (r == side && alpha)
            x = mix(from_rgb(config, nn_average_pool2(image)), x, alpha);
    }
    return x;
}
