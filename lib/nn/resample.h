/* Resampling of images (N,C,H,W): pooling, nearest, bilinear, bicubic, by the [1,3,3,1] filter, and
 * blurring by [1,2,1].
 *
 * Maxima are taken over views of the image, what goes to any size is two products with constant
 * matrices; all else is one `upfirdn`, which is closed under differentiation.
 */
#ifndef NN_RESAMPLE_H
#define NN_RESAMPLE_H

#include "tensor/compose.h"

/* To half the size; H and W even. Where pixels tie, the maximum's gradient is shared equally. */
#define nn_max_pool2(x)     nn_max_pool2_at(HERE, x)
#define nn_average_pool2(x) nn_average_pool2_at(HERE, x)
struct node *nn_max_pool2_at(struct site at, struct node *x);
struct node *nn_average_pool2_at(struct site at, struct node *x);

/* Over windows of 3 × 3. Maxima: at every pixel or, with stride 2, every second one, windows
 * within the image, or padded by a pixel on each side that is never the largest; where pixels tie,
 * one of them has the gradient. Means: at every pixel, of those of the window's that lie in the
 * image, so they keep constants and commute with a convolution of size 1. */
struct max_pool_options {
    int stride, pad; /* 0: 1, 0 */
};
#define nn_max_pool3(x, ...) nn_max_pool3_at(HERE, x, (struct max_pool_options){ __VA_ARGS__ })
#define nn_average_pool3(x)  nn_average_pool3_at(HERE, x)
struct node *nn_max_pool3_at(struct site at, struct node *x, struct max_pool_options options);
struct node *nn_average_pool3_at(struct site at, struct node *x);

/* To twice the size. Bilinear: half-pixel centres, edges clamped (PyTorch's align_corners=False).
 * Both keep constants, so they commute with a convolution of size 1. */
#define nn_nearest2(x)  nn_nearest2_at(HERE, x)
#define nn_bilinear2(x) nn_bilinear2_at(HERE, x)
struct node *nn_nearest2_at(struct site at, struct node *x);
struct node *nn_bilinear2_at(struct site at, struct node *x);

/* To any size: bilinear as above; bicubic, antialiased, as Pillow's BICUBIC (Keys 1981, a = -1/2,
 * stretched to cover the same pixels where the size shrinks; weights cut at the edges sum to 1
 * again); and the mean over bins of adaptive average pooling, bin i of s
 * covering pixels floor(iH/s) … ceil((i+1)H/s) - 1, as PyTorch's. Two products with constant
 * matrices, so the cost grows with the old size times the new: for small sides and few channels. */
#define nn_bilinear(x, height, width) nn_bilinear_at(HERE, x, height, width)
#define nn_bicubic(x, height, width)  nn_bicubic_at(HERE, x, height, width)
#define nn_adaptive_pool(x, size)     nn_adaptive_pool_at(HERE, x, size)
struct node *nn_bilinear_at(struct site at, struct node *x, int64_t height, int64_t width);
struct node *nn_bicubic_at(struct site at, struct node *x, int64_t height, int64_t width);
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

/* StyleGAN's blur by [1,2,1]/4 along both axes. Zeros beyond the edges. */
#define nn_blur(x) nn_blur_at(HERE, x)
struct node *nn_blur_at(struct site at, struct node *x);

/* A convolution with resampling (conv2d_resample of stylegan2-ada): x (N,I,H,W), w (O,I,k,k), k 1
 * or 3 → (N,O,up·H/down,up·W/down). up 2: transposed convolution, then the filter, and the weights
 * act mirrored; down 2: the filter, then every second pixel; neither: a plain convolution.
 *
 * box (upscale2d_conv2d, conv2d_downscale2d of ProGAN and StyleGAN): up 2: each pixel repeated in a
 * square, then a convolution; down 2: a convolution, then the means of squares. Each is computed as
 * one strided convolution whose kernel of k + 1 taps is the weights summed over squares: the same
 * by linearity. Where the official code computes it so, too (fused_scale), its weights act mirrored
 * when they enlarge; `mirrored` does that. */
struct resample_options {
    int up, down; /* 0: 1 */
    bool box, mirrored;
};
#define nn_conv_resampled(x, w, ...)                                                               \
    nn_conv_resampled_at(HERE, x, w, (struct resample_options){ __VA_ARGS__ })
struct node *nn_conv_resampled_at(struct site at, struct node *x, struct node *w,
                                  struct resample_options options);

#endif
