/* ProGAN (Karras et al. 2018, arXiv 1710.10196): networks that grow, of plain convolutions.
 *
 *     graph_push(graph, "G");
 *     struct node *x = progan_generate(&config, z, 16, NULL);       // (N,channels,16,16)
 *     graph_pop(graph);
 *
 * Both are built for any side from 4 to the resolution, out of the layers that such images pass
 * through. `alpha`, a scalar, is the share that the layers of the side have while they fade in
 * beside those of half the side; NULL: all.
 *
 * Width at side s: c(s) = min(channel_base/s, channel_max). Names of parameters are those of
 * tkarras/progressive_growing_of_gans, with "." for "/"; ToRGB and FromRGB are numbered as there,
 * by the times that their side doubles up to the resolution. Layouts are (O,I,…), where
 * TensorFlow's are (…,I,O), and (…,O,I) for Conv0_up. Not built: class labels.
 */
#ifndef MODELS_PROGAN_H
#define MODELS_PROGAN_H

#include "tensor/graph.h"

enum { PROGAN_STDDEV_GROUP = 4 }; /* images of which the discriminator is shown the deviation */

struct progan {
    int resolution, channels; /* of the images at last; the resolution a power of 2, at least 4 */
    int z_width;
    int channel_base, channel_max;
};

/* z (N,z) → images (N,channels,side,side). */
struct node *progan_generate(const struct progan *config, struct node *z, int side,
                             struct node *alpha);

/* Images (N,channels,side,side) → scores (N,1). */
struct node *progan_discriminate(const struct progan *config, struct node *x, struct node *alpha);

#endif
