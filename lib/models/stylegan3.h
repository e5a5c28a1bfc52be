/* StyleGAN 3 (Karras et al. 2021, arXiv 2106.12423): an alias-free generator, its configurations T
 * (translation) and R (translation and rotation). The discriminator is StyleGAN 2's.
 *
 *     graph_push(graph, "G");
 *     struct node *w = stylegan3_map(&config, z);                      // (N,w)
 *     struct node *x = stylegan3_synthesize(&config, w, NULL);         // (N,channels,R,R)
 *     graph_pop(graph);
 *
 * Layers differ in band limits, sampling rates, sizes and filters; all of these follow from the
 * resolution and stand in a table that stylegan3_layers works out. Parameter and buffer names and
 * layouts are those of NVlabs/stylegan3, without its buffers of constant filters and of the
 * transformation that a user may set. Not built, as no preset uses them: class labels, styles that
 * differ between layers.
 */
#ifndef MODELS_STYLEGAN3_H
#define MODELS_STYLEGAN3_H

#include "tensor/graph.h"

#include <stdbool.h>

enum { STYLEGAN3_LAYERS = 32 }; /* the most, with ToRGB */

struct stylegan3 {
    bool rotation;            /* R: 1×1 convolutions, radial filters; else T */
    int resolution, channels; /* of the images; the resolution a power of 2, at least 8 */
    int z_width, w_width;
    int mapping_layers; /* 0: 2 */
    int layers;         /* beside the input and ToRGB; 0: 14 */
    int channel_base,
        channel_max;        /* of the generator: for R, twice what the official options say */
    double clamp;           /* of activations: 256; 0: none */
    double magnitude_decay; /* of the running averages of layers' magnitudes */
};

/* One layer: a convolution at the input's rate, then up, leaky ReLU at twice the higher rate, and
 * down to the output's rate. Frequencies are in cycles an image, rates in pixels an image; sizes
 * have a margin of 10 pixels on each side, but for the last two. The last layer is ToRGB, without
 * filters. */
struct stylegan3_layer {
    char name[40]; /* "L3_52_512": number, size, channels */
    int in_channels, out_channels, in_size, out_size, in_rate, out_rate;
    double in_cutoff, out_cutoff, in_half_width, out_half_width; /* halves of the transitions */
    int kernel, up, up_taps, down, down_taps;
    int pad[2];  /* of the enlarged image, before and after; negative: cropped */
    bool radial; /* the filter downwards */
};

/* Fills in the table; returns its length, layers + 1. */
int stylegan3_layers(const struct stylegan3 *config,
                     struct stylegan3_layer layer[STYLEGAN3_LAYERS]);

/* The filter that a layer (not ToRGB) enlarges with, up_taps values; that it reduces with,
 * down_taps, or down_taps × down_taps where it is radial. Their sum is 1. */
enum { STYLEGAN3_TAPS = 24, STYLEGAN3_FILTER = STYLEGAN3_TAPS * STYLEGAN3_TAPS };
void stylegan3_up_filter(const struct stylegan3_layer *layer, float taps[STYLEGAN3_FILTER]);
void stylegan3_down_filter(const struct stylegan3_layer *layer, float taps[STYLEGAN3_FILTER]);

/* z (N,z) → w (N,w), parameters under "mapping"; the running average of w, a state there, and its
 * next value, given a batch. */
struct node *stylegan3_map(const struct stylegan3 *config, struct node *z);
struct node *stylegan3_w_average(const struct stylegan3 *config, struct graph *graph);
struct node *stylegan3_w_average_next(struct node *average, struct node *w);

/* w (N,w) → images (N,channels,R,R), parameters under "synthesis". Each layer divides by the
 * magnitude that its input has on average, the state "magnitude_ema". With `updates` the averages
 * follow this batch first, and their next values are added to the updates. */
struct updates;
struct node *stylegan3_synthesize(const struct stylegan3 *config, struct node *w,
                                  struct updates *updates);

#endif
