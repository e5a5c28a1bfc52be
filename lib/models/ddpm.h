/* The network of denoising diffusion: guided-diffusion's U-Net (Ho et al. 2020; Nichol and
 * Dhariwal 2021; Dhariwal and Nichol 2021). The process that it is trained on is in diffusion.h.
 *
 *     struct ddpm ddpm = { .size = 64, .channels = 5, .base = 64, .levels = 3, .mult = { 1, 2, 2 },
 *                          .blocks = 2, .attention = { 16 } };
 *     struct node *epsilon = ddpm_build(&ddpm, noised, t);
 *
 * Parameter names and layouts are those of openai/guided-diffusion. Not built, as no preset uses
 * them: class labels, resblock_updown, the new attention order.
 */
#ifndef MODELS_DDPM_H
#define MODELS_DDPM_H

#include "tensor/graph.h"

enum { DDPM_LEVELS = 8 };

struct ddpm {
    int size, channels;
    int base, levels, mult[DDPM_LEVELS]; /* level l has mult[l]·base channels, a multiple of 32 */
    int blocks;                          /* residual blocks a level */
    int attention[DDPM_LEVELS];          /* sides in pixels that get attention; 0 ends the list */
    int heads;                           /* 0: 1 */
    bool learned_variance;               /* gives 2·channels: ε and the variance's fraction */
    double dropout;                      /* for graphs that train; 0 for sampling */
};

/* x (N,channels,size,size), t (N) → (N,channels or 2·channels,size,size). */
struct node *ddpm_build(const struct ddpm *ddpm, struct node *x, struct node *t);

#endif
