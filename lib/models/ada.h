/* Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): its geometric part,
 * as stylegan2-ada-pytorch has it.
 *
 *     struct node *x = ada_augment(images, p, "real");          // each with probability p
 *
 * In this order: mirroring, quarter turns, translation by whole pixels (±1/8), scaling (2^N(0,
 * .2²)), rotation by any angle, stretching (the same, one axis against the other), rotation once
 * more, translation by fractions (N(0, (1/8)²)). All of them are one matrix, by which an image is
 * sampled once: extended by reflection, doubled in size with the filter sym6, sampled bilinearly
 * (t_warp), and halved with the same filter. Without a transformation the filters cancel and the
 * image stays what it is. All channels of an image, a mask among them, are transformed alike.
 *
 * What is drawn comes from the graph's random leaves: a function of seed, step and name, so a
 * resumed run sees what an unbroken one sees. No gradient flows to it.
 */
#ifndef MODELS_ADA_H
#define MODELS_ADA_H

#include "tensor/graph.h"

/* x (N,C,H,W), p a scalar; `name` is that of the random numbers. */
struct node *ada_augment(struct node *x, struct node *p, const char *name);

/* Its parts. What is drawn for each image, (N) each; axes are horizontal, vertical. */
struct ada_drawn {
    struct node *mirror;         /* 0 or 1 */
    struct node *turns;          /* quarters, 0 … 3 */
    struct node *whole[2];       /* pixels */
    struct node *scale;          /* factor */
    struct node *before, *after; /* stretching: angles */
    struct node *stretch;        /* horizontal factor; the vertical one is its inverse */
    struct node *fraction[2];    /* pixels */
};

/* For `count` images of side[0] columns and side[1] rows. */
struct ada_drawn ada_draw(struct node *p, int64_t count, const int64_t side[2], const char *name);

/* (N,2,3): pixel o of the result is pixel M·(o,1) of the image, both counted from the centre. */
struct node *ada_matrix(const struct ada_drawn *drawn);

/* x (N,C,H,W) resampled by such matrices. */
struct node *ada_transform(struct node *x, struct node *matrix);

#endif
