/* ResNet-50 (He et al., CVPR 2016) without its classifier, for features by RadImageNet's weights
 * (Mei et al., Radiology: Artificial Intelligence 2022).
 *
 *     struct node *x = resnet50_prepare(planes);       // (N,h,w), 0 … 255 → (N,3,224,224)
 *     struct node *features = resnet50_build(x);       // (N,2048)
 *
 * It is torchvision's: a block that halves the image does so in its 3 × 3 convolution, where the
 * paper and Keras do in the first of 1 × 1. Parameters have torchvision's names, under the graph's
 * present scope: conv1.weight, layer1.0.downsample.1.running_var, …
 */
#ifndef MODELS_RESNET50_H
#define MODELS_RESNET50_H

#include "tensor/graph.h"

enum { RESNET50_SIDE = 224, RESNET50_LEAST = 32, RESNET50_FEATURES = 2048 };

/* x (N,3,H,W), at least 32 × 32 → means over all positions of the last block. Batch normalisation
 * is by its running statistics: the network is not trained here. */
struct node *resnet50_build(struct node *x);

/* Grey planes (N,h,w) of 0 … 255 as RadImageNet's example for PyTorch brings them to the network:
 * bilinear without antialiasing, cut to 0 … 255, (x - 127.5) / 127.5, three channels that are the
 * same. */
struct node *resnet50_prepare(struct node *planes);

#endif
