/* Resampling of images (N,C,H,W): pooling, nearest, bilinear, and by the [1,3,3,1] filter.
 *
 * All but max_pool2 are one `upfirdn`, which is closed under differentiation.
 */
#ifndef NN_RESAMPLE_H
#define NN_RESAMPLE_H

#include "tensor/compose.h"

/* To half the size; H and W even. Where pixels tie, the maximum's gradient is shared equally. */
#define nn_max_pool2(x)     nn_max_pool2_at(HERE, x)
#define nn_average_pool2(x) nn_average_pool2_at(HERE, x)
struct node *nn_max_pool2_at(struct site at, struct node *x);
struct node *nn_average_pool2_at(struct site at, struct node *x);

/* To twice the size. Bilinear: half-pixel centres, edges clamped (PyTorch's align_corners=False).
 * Both keep constants, so they commute with a convolution of size 1. */
#define nn_nearest2(x)  nn_nearest2_at(HERE, x)
#define nn_bilinear2(x) nn_bilinear2_at(HERE, x)
struct node *nn_nearest2_at(struct site at, struct node *x);
struct node *nn_bilinear2_at(struct site at, struct node *x);

/* To any size: bilinear as above; and the mean over bins of adaptive average pooling, bin i of s
 * covering pixels floor(iH/s) … ceil((i+1)H/s) - 1, as PyTorch's. Two products with constant
 * matrices, so the cost grows with the old size times the new: for small sides and few channels. */
#define nn_bilinear(x, height, width) nn_bilinear_at(HERE, x, height, width)
#define nn_adaptive_pool(x, size)     nn_adaptive_pool_at(HERE, x, size)
struct node *nn_bilinear_at(struct site at, struct node *x, int64_t height, int64_t width);
struct node *nn_adaptive_pool_at(struct site at, struct node *x, int64_t size);

/* StyleGAN 2's resampling by the separable filter [1,3,3,1]: to twice, to half the size. Zeros
 * beyond the edges. */
#define nn_upsample(x)   nn_upsample_at(HERE, x)
#define nn_downsample(x) nn_downsample_at(HERE, x)
struct node *nn_upsample_at(struct site at, struct node *x);
struct node *nn_downsample_at(struct site at, struct node *x);

/* The filter itself: (4), its sum the given gain (along each axis: 1 to keep the mean, 2 after
 * zeros were put in between). */
#define nn_filter1331(graph, gain) nn_filter1331_at(HERE, graph, gain)
struct node *nn_filter1331_at(struct site at, struct graph *graph, double gain);

/* A convolution with resampling (conv2d_resample of stylegan2-ada): x (N,I,H,W), w (O,I,k,k), k 1
 * or 3 → (N,O,up·H/down,up·W/down). up 2: transposed convolution, then the filter, and the weights
 * act mirrored; down 2: the filter, then every second pixel; neither: a plain convolution. */
struct resample_options {
    int up, down; /* 0: 1 */
};
#define nn_conv_resampled(x, w, ...)                                                               \
    nn_conv_resampled_at(HERE, x, w, (struct resample_options){ __VA_ARGS__ })
struct node *nn_conv_resampled_at(struct site at, struct node *x, struct node *w,
                                  struct resample_options options);

#endif
