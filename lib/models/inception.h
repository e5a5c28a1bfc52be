/* The Inception v3 that the Fréchet Inception Distance is measured with (Szegedy et al., CVPR 2016;
 * Heusel et al., NIPS 2017), without its classifier.
 *
 *     struct node *x = inception_prepare(planes);       // (N,h,w), 0 … 255 → (N,3,299,299)
 *     struct node *features = inception_build(x);       // (N,2048)
 *
 * It is the network of TensorFlow's inception-2015-12-05, which differs from torchvision's in its
 * poolings: means leave out the padding, and the last block takes a maximum. Parameters are named
 * as in pytorch-fid, under the graph's present scope: Mixed_5b.branch1x1.conv.weight, …
 */
#ifndef MODELS_INCEPTION_H
#define MODELS_INCEPTION_H

#include "tensor/graph.h"

enum { INCEPTION_SIDE = 299, INCEPTION_LEAST = 75, INCEPTION_FEATURES = 2048 };

/* x (N,3,H,W), at least 75 × 75, values within ±1 → means over all positions of the last block.
 * Batch normalisation is by its running statistics: the network is not trained here. */
struct node *inception_build(struct node *x);

/* Grey planes (N,h,w) of 0 … 255 as clean-fid brings them to the network (Parmar et al., CVPR
 * 2022): antialiased bicubic, cut to 0 … 255, (x - 128) / 128, three channels that are the same. */
struct node *inception_prepare(struct node *planes);

#endif
