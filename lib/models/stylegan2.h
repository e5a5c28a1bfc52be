/* StyleGAN 2 (Karras et al. 2020, arXiv 1912.04958): skip generator, residual discriminator.
 *
 *     graph_push(graph, "G");
 *     struct node *w = stylegan2_map(&config, z);                          // (N,w)
 *     struct node *x = stylegan2_synthesize(&config, stylegan2_styles(&config, w), NULL);
 *     graph_pop(graph);
 *
 * Width at resolution r: c(r) = min(channel_base/r, channel_max). Parameter and buffer names and
 * layouts are those of NVlabs/stylegan2-ada-pytorch, without its buffers of the constant filter.
 * Not built, as no preset uses them: class labels, the other architectures, Freeze-D.
 */
#ifndef MODELS_STYLEGAN2_H
#define MODELS_STYLEGAN2_H

#include "tensor/graph.h"

enum {
    STYLEGAN2_LAYERS = 32,
    STYLEGAN2_STDDEV_GROUP = 4, /* images of which the discriminator is shown the deviation */
};

struct stylegan2 {
    int resolution, channels; /* of the images; the resolution a power of 2, at least 8 */
    int z_width, w_width;
    int mapping_layers; /* 0: 8 */
    int channel_base, channel_max;
    double clamp; /* of activations, for low precision: 256; 0: none */
};

/* Styles a synthesis takes: L = 2·log2(resolution) - 2; it draws noise L-1 times. */
int stylegan2_styles_count(const struct stylegan2 *config);

/* z (N,z) → w (N,w), parameters under "mapping". */
struct node *stylegan2_map(const struct stylegan2 *config, struct node *z);

/* The running average of w, the state "mapping.w_avg" (w); and its next value, given a batch. */
struct node *stylegan2_w_average(const struct stylegan2 *config, struct graph *graph);
struct node *stylegan2_w_average_next(struct node *average, struct node *w);

/* w (N,w) → styles (N,L,w), the same for each layer. truncated: average + ψ(w - average). mixed:
 * layers i > cutoff, a scalar, are of the other w (style mixing). */
struct node *stylegan2_styles(const struct stylegan2 *config, struct node *w);
struct node *stylegan2_truncate(struct node *w, struct node *average, double psi);
struct node *stylegan2_mix(const struct stylegan2 *config, struct node *w, struct node *other,
                           struct node *cutoff);

/* Of the noise of layer 0 … L-2: (n,1,4,4), then two (n,1,r,r) a block. */
struct shape stylegan2_noise_shape(int layer, int64_t n);

/* styles (N,L,w) → images (N,channels,R,R), parameters under "synthesis". noise: each layer's, or
 * NULL for each layer's constant one. */
struct node *stylegan2_synthesize(const struct stylegan2 *config, struct node *styles,
                                  struct node *const *noise);

/* Images → logits (N,1). */
struct node *stylegan2_discriminate(const struct stylegan2 *config, struct node *x);

#endif
