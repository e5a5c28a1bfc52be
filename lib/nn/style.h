/* What StyleGAN's networks are made of (Karras et al. 2018, 2019, 2020): equalised learning rate,
 * bias with activation, styles and their mixing, modulated convolution, minibatch standard
 * deviation.
 *
 *     struct node *style = nn_dense(w, "affine", dim(x, 1), .bias = 1);   // (N,I)
 *     struct node *y = nn_modulated_conv(x, weight, style, .up = 2);      // (N,O,2H,2W)
 *
 * Names and layouts of parameters are those of NVlabs/stylegan2-ada-pytorch.
 */
#ifndef NN_STYLE_H
#define NN_STYLE_H

#include "nn/layer.h"
#include "nn/resample.h"

/* x (N,C,…) + bias (C), then leaky ReLU of slope .2 times √2 (lrelu), times gain, within ±clamp.
 * he: the √2 is in what x was made with (below). */
struct bias_act_options {
    struct node *bias; /* NULL: none */
    bool lrelu, he;
    double gain;  /* 0: 1 */
    double clamp; /* 0: no limit */
};
#define nn_bias_act(x, ...) nn_bias_act_at(HERE, x, (struct bias_act_options){ __VA_ARGS__ })
struct node *nn_bias_act_at(struct site at, struct node *x, struct bias_act_options options);

/* Equalised learning rate (Karras et al. 2018, section 4.1): a weight is drawn from N(0,1) and
 * scaled when it is used, by 1/√fan-in. he: by √2/√fan-in, and leaky ReLU is not scaled, so that
 * the √2 does not reach the bias (ProGAN, StyleGAN).
 *
 * nn_dense: x (N,I) → (N,O), weight (O,I) and bias (O). A layer of another learning `rate` stores
 * its weight divided by it, and multiplies weight and bias by it when used. */
struct dense_options {
    bool lrelu, he;
    double rate; /* 0: 1 */
    double bias; /* its first value */
};
#define nn_dense(x, name, outputs, ...)                                                            \
    nn_dense_at(HERE, x, name, outputs, (struct dense_options){ __VA_ARGS__ })
struct node *nn_dense_at(struct site at, struct node *x, const char *name, int64_t outputs,
                         struct dense_options options);

/* x (N,I,H,W) → (N,O,up·H/down,up·W/down), weight (O,I,size,size), bias (O), size 1 or 3, padded.
 * The clamp is multiplied by the gain. */
struct equal_conv_options {
    int up, down;       /* 0: 1 */
    bool box, mirrored; /* as of conv_resampled */
    bool lrelu, he, no_bias;
    double gain, clamp; /* as of bias_act */
};
#define nn_equal_conv(x, name, outputs, size, ...)                                                 \
    nn_equal_conv_at(HERE, x, name, outputs, size, (struct equal_conv_options){ __VA_ARGS__ })
struct node *nn_equal_conv_at(struct site at, struct node *x, const char *name, int64_t outputs,
                              int size, struct equal_conv_options options);

/* Styles w (N,w) of a synthesis of L layers: (N,L,w), the same for each layer; mixed: layers above
 * the cutoff, a scalar, are of the other w (style mixing, Karras et al. 2019, section 3.1). And the
 * next value of the running average (w) of w, of decay .995, given a batch. */
#define nn_styles(w, layers)                    nn_styles_at(HERE, w, layers)
#define nn_mix_styles(w, other, layers, cutoff) nn_mix_styles_at(HERE, w, other, layers, cutoff)
#define nn_follow_styles(average, w)            nn_follow_styles_at(HERE, average, w)
struct node *nn_styles_at(struct site at, struct node *w, int64_t layers);
struct node *nn_mix_styles_at(struct site at, struct node *w, struct node *other, int64_t layers,
                              struct node *cutoff);
struct node *nn_follow_styles_at(struct site at, struct node *average, struct node *w);

/* Where mixing begins, drawn under the name: with the given probability the first layer of the
 * other style is one of 1 … L-1; else there is none. */
#define nn_mixing_cutoff(graph, name, layers, probability)                                         \
    nn_mixing_cutoff_at(HERE, graph, name, layers, probability)
struct node *nn_mixing_cutoff_at(struct site at, struct graph *graph, const char *name, int layers,
                                 double probability);

/* 0, 1 … count - 1, as f32 (count). */
#define nn_range(graph, count) nn_range_at(HERE, graph, count)
struct node *nn_range_at(struct site at, struct graph *graph, int64_t count);

/* Modulated convolution (Karras et al. 2020, section 2.2): x (N,I,H,W), w (O,I,k,k), style (N,I) →
 * (N,O,up·H,up·W). Modulation w' = s_i w (eq. 1); demodulation w'' = w' / √(Σ_{i,k} w'² + 1e-8)
 * (eq. 3). Computed by scaling the image before, and after, one convolution that the batch shares:
 * the same by linearity, and what libraries do fast. `grouped` scales the weights for each image
 * instead and convolves once with a group an image, as the official code does. */
struct modulated_options {
    int up;            /* 0: 1 */
    int pad;           /* without up; 0: what keeps the size */
    struct node *gain; /* a scalar by which x is multiplied, which demodulation does not take back;
                          NULL: 1 */
    bool plain;        /* without demodulation */
    bool grouped;
};
#define nn_modulated_conv(x, w, style, ...)                                                        \
    nn_modulated_conv_at(HERE, x, w, style, (struct modulated_options){ __VA_ARGS__ })
struct node *nn_modulated_conv_at(struct site at, struct node *x, struct node *w,
                                  struct node *style, struct modulated_options options);

/* (N,C,H,W) → (N,C+1,H,W): the standard deviation (ε 1e-8 under the root) over each group of
 * G = min(group, N) images {i, i + N/G, …}, averaged over C, H and W, as one more channel (Karras
 * et al. 2018, section 3). N is a multiple of G. */
#define nn_minibatch_stddev(x, group) nn_minibatch_stddev_at(HERE, x, group)
struct node *nn_minibatch_stddev_at(struct site at, struct node *x, int64_t group);

#endif
