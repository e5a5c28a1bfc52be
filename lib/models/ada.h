/* Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): the geometric part,
 * as far as the axes of the image go.
 *
 *     struct node *x = ada_augment(images, p, "real");          // each with probability p
 *
 * In the paper's order: mirroring, quarter turns, translation by whole pixels (±1/8), scaling
 * (2^N(0, .2²)), stretching (the same, one axis against the other), translation by fractions (N(0,
 * (1/8)²)). Rotations by any angle are left out: a transformation along the axes is linear in each,
 * so it is a matrix for the rows and one for the columns of an image, and two products apply it.
 * For that no op is needed beyond the engine's, on any device, and derivatives of every order are
 * there.
 *
 * Images are extended by reflection, doubled in size with the filter sym6, sampled bilinearly, and
 * halved with the same filter, as in stylegan2-ada-pytorch; without a transformation the filters
 * cancel and the image stays what it is.
 */
#ifndef MODELS_ADA_H
#define MODELS_ADA_H

#include "tensor/graph.h"

/* x (N,C,S,S), p a scalar; `name` is that of the random numbers. */
struct node *ada_augment(struct node *x, struct node *p, const char *name);

/* The resampling: pixel o of the result, counted from the centre, is pixel zoom·o + shift of x;
 * zoom and shift (N), in pixels; along columns (horizontally) and rows. */
struct node *ada_warp(struct node *x, struct node *zoom_x, struct node *shift_x,
                      struct node *zoom_y, struct node *shift_y);

#endif
