/* The segmentation U-Net; see unet.h. Widths b_i = base·2^i, side s_i = S/2^i. */
#include "models/unet.h"

#include "nn/layer.h"
#include "nn/resample.h"

#include <stdio.h>

enum { LEVELS_MAX = 16 };

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

struct node *unet_build(const struct unet *unet, struct node *x)
{
    struct graph *graph = x->graph;
    struct node *bridge[LEVELS_MAX];
    CHECK(unet->levels >= 2 && unet->levels <= LEVELS_MAX, "a U-Net of %d levels", unet->levels);
    for (int level = 0; level < unet->levels; level++) {
        graph_push(graph, "down_path.%d", level);
        x = block(level ? nn_max_pool2(x) : x, width(unet, level)); /* (N,b_i,s_i,s_i) */
        bridge[level] = x;
        graph_pop(graph);
    }
    for (int level = unet->levels - 2; level >= 0; level--) {
        graph_push(graph, "up_path.%d", unet->levels - 2 - level);
        x = up(x, bridge[level]); /* (N,b_i,s_i,s_i) */
        graph_pop(graph);
    }
    graph_push(graph, "output_layers"); /* the study numbers its outputs from the coarsest */
    char last[16];
    snprintf(last, sizeof last, "%d", unet->levels - 2);
    x = nn_conv(x, last, unet->classes, 1, .no_bias = true); /* (N,K,S,S) */
    graph_pop(graph);
    return x;
}
