/* StyleGAN (Karras et al. 2019, arXiv 1812.04948): style-based generator, grown level by level.
 *
 *     struct stylegan_level level = { 32, alpha };   // images of 32², the last layers fading in
 *     graph_push(graph, "G");
 *     struct node *w = stylegan_map(&config, z);                               // (N,w)
 *     struct node *styles = nn_styles(w, stylegan_styles_count(level.side));   // (N,L,w)
 *     struct node *x = stylegan_synthesize(&config, level, styles, noise);     // (N,C,32,32)
 *     graph_pop(graph);
 *
 * Width at resolution r: c(r) = min(channel_base/r, channel_max). A level has the layers up to its
 * side, as all later levels have them, and a layer of its own to and from images; while it fades in
 * (Karras et al. 2018, section 3) those of the level before take part as well. Names of parameters
 * are those of NVlabs/stylegan with dots for slashes, layouts the engine's (docs/weights.md).
 * Not built, as no preset uses them: class labels, the variants of the paper's tables 1 and 4,
 * constant noise.
 */
#ifndef MODELS_STYLEGAN_H
#define MODELS_STYLEGAN_H

#include "tensor/graph.h"

enum {
    STYLEGAN_LAYERS = 32,
    STYLEGAN_STDDEV_GROUP = 4, /* images of which the discriminator is shown the deviation */
    STYLEGAN_FUSED = 128,      /* the first side at which weights that enlarge act mirrored */
};

struct stylegan {
    int resolution, channels; /* of the images of the last level, a power of 2, at least 8 */
    int z_width, w_width;
    int mapping_layers; /* 0: 8 */
    int channel_base, channel_max;
};

struct stylegan_level {
    int side;           /* of the images, a power of 2 from 4 to the resolution */
    struct node *alpha; /* a scalar, the share of this level from 0 to 1; the rest is of the level
                           before. NULL: 1, without the level before */
};

/* Styles a synthesis takes: L = 2·log2(side) - 2; it draws noise as often. */
int stylegan_styles_count(int side);

/* z (N,z) → w (N,w), parameters under "G_mapping". */
struct node *stylegan_map(const struct stylegan *config, struct node *z);

/* The running average of w, the state "dlatent_avg" (w); nn_follow_styles moves it. */
struct node *stylegan_w_average(const struct stylegan *config, struct graph *graph);

/* styles (N,L,w): average + ψ(styles - average) for layers below the cutoff. */
struct node *stylegan_truncate(struct node *styles, struct node *average, double psi, int cutoff);

/* Of the noise of layer 0 … L-1: two (n,1,r,r) for each r from 4. */
struct shape stylegan_noise_shape(int layer, int64_t n);

/* styles (N,L,w) and each layer's noise → images (N,channels,side,side), parameters under
 * "G_synthesis". */
struct node *stylegan_synthesize(const struct stylegan *config, struct stylegan_level level,
                                 struct node *styles, struct node *const *noise);

/* Images (N,channels,side,side) → logits (N,1). */
struct node *stylegan_discriminate(const struct stylegan *config, struct stylegan_level level,
                                   struct node *x);

#endif
