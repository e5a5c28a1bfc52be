/* The segmentation U-Net of the study (Usman Akbar et al. 2024, after Ronneberger et al. 2015).
 *
 *     struct unet unet = { .channels = 4, .classes = 4, .base = 32, .levels = 4 };
 *     struct node *logits = unet_build(&unet, images);          // (N,4,S,S) → (N,4,S,S)
 *
 * Parameters are named as in the study's public code, under the graph's present scope.
 */
#ifndef MODELS_UNET_H
#define MODELS_UNET_H

#include "tensor/graph.h"

struct unet {
    int channels, classes; /* of the images, of the logits */
    int base, levels;      /* level i has base·2^i channels at 1/2^i of the size */
};

/* x (N,channels,S,S), S a multiple of 2^(levels-1) → logits (N,classes,S,S). */
struct node *unet_build(const struct unet *unet, struct node *x);

#endif
