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

/* x (N,channels,H,W), H and W multiples of 2^(levels-1) → logits (N,classes,H,W). */
struct node *unet_build(const struct unet *unet, struct node *x);

/* The same with deep supervision: logits of every decoder level but the coarsest, whose weight in
 * the study's loss is 0, each enlarged to the full size; the finest first. Returns how many, in
 * which level i weighs 2^-i. */
enum { UNET_LEVELS = 16 };
int unet_build_deep(const struct unet *unet, struct node *x, struct node *logits[UNET_LEVELS]);

#endif
