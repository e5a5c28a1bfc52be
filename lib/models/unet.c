/* The segmentation U-Net; see unet.h. Widths b_i = base·2^i, side s_i = S/2^i. */
#include "models/unet.h"

#include "nn/layer.h"
#include "nn/resample.h"

#include <stdio.h>

static int width(const struct unet *unet, int level)
{
    return unet->base << level;
}

/* Twice: conv 3×3, leaky ReLU, instance normalisation. (N,I,s,s) → (N,O,s,s). */
static struct node *block(struct node *x, int outputs)
{
    static const char *const conv[] = { "0", "3" }, *const norm[] = { "2", "5" };
    graph_push(x->graph, "block");
    for (int i = 0; i < 2; i++) {
        x = nn_conv(x, conv[i], outputs, 3, .pad = 1); /* (N,O,s,s) */
        x = nn_instance_norm(t_leaky_relu(x, 0.01), norm[i]);
    }
    graph_pop(x->graph);
    return x;
}

/* x (N,2O,s,s), bridge (N,O,2s,2s) → (N,O,2s,2s). The paper enlarges first and then convolves;
 * the two commute, as interpolation keeps constants, and this order is a quarter of the work. */
static struct node *up(struct node *x, struct node *bridge)
{
    int outputs = (int)dim(bridge, 1);
    struct node *h = nn_bilinear2(nn_conv(x, "up.1", outputs, 1)); /* (N,O,2s,2s)  */
    graph_push(x->graph, "conv_block");
    h = block(t_concat(1, h, bridge), outputs); /* (N,2O,2s,2s) → (N,O,2s,2s) */
    graph_pop(x->graph);
    return h;
}

/* Output j of the decoder, which the study numbers from the coarsest: a convolution of size 1, and
 * bilinear enlargement where that is not the full size already (there it is named as the first of
 * two layers). They commute; this order is the cheaper. */
static struct node *output(const struct unet *unet, struct node *x, int level, struct shape full)
{
    char name[16];
    int number = unet->levels - 2 - level;
    graph_push(x->graph, "output_layers");
    snprintf(name, sizeof name, level ? "%d.0" : "%d", number);
    x = nn_conv(x, name, unet->classes, 1, .no_bias = true); /* (N,K,s_i,s_i) */
    graph_pop(x->graph);
    return nn_bilinear(x, full.size[2], full.size[3]); /* (N,K,S,S) */
}

/* Decoder features of every level but the last, x[0] the finest: (N,b_i,s_i,s_i). */
static void features(const struct unet *unet, struct node *x, struct node **out)
{
    struct graph *graph = x->graph;
    CHECK(unet->levels >= 2 && unet->levels <= UNET_LEVELS, "a U-Net of %d levels", unet->levels);
    for (int level = 0; level < unet->levels; level++) {
        graph_push(graph, "down_path.%d", level);
        x = block(level ? nn_max_pool2(x) : x, width(unet, level)); /* (N,b_i,s_i,s_i) */
        out[level] = x;
        graph_pop(graph);
    }
    for (int level = unet->levels - 2; level >= 0; level--) {
        graph_push(graph, "up_path.%d", unet->levels - 2 - level);
        out[level] = x = up(x, out[level]); /* (N,b_i,s_i,s_i) */
        graph_pop(graph);
    }
}

struct node *unet_build(const struct unet *unet, struct node *x)
{
    struct node *level[UNET_LEVELS];
    features(unet, x, level);
    return output(unet, level[0], 0, x->shape);
}

int unet_build_deep(const struct unet *unet, struct node *x, struct node *logits[UNET_LEVELS])
{
    struct node *level[UNET_LEVELS];
    int outputs = unet->levels > 2 ? unet->levels - 2 : 1;
    features(unet, x, level);
    for (int i = 0; i < outputs; i++)
        logits[i] = output(unet, level[i], i, x->shape);
    return outputs;
}
