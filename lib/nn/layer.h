/* Layers with parameters: linear, convolution, normalisation, attention, embeddings, dropout.
 *
 *     struct node *h = nn_conv(x, "in", 64, 3, .pad = 1);     // parameters in.weight, in.bias
 *     h = t_silu(nn_group_norm(h, "norm", 32));
 *
 * A layer is a builder: it takes the name that its parameters stand under, within the graph's
 * present scope, and composes primitives; none has a gradient rule of its own. Names and layouts
 * are PyTorch's, so that published weights load. Images are (N,C,H,W), tokens (N,T,C).
 */
#ifndef NN_LAYER_H
#define NN_LAYER_H

#include "tensor/compose.h"

/* First values of parameters. The fan-in of a weight (O,I,…) is its count / O. */
#define initial_zeros(graph, shape)            t_full(graph, shape, 0)
#define initial_ones(graph, shape)             t_full(graph, shape, 1)
#define initial_normal(graph, name, shape, sd) t_scale(t_normal(graph, name, shape), sd)
#define initial_uniform(graph, name, shape, bound)                                                 \
    initial_uniform_at(HERE, graph, name, shape, bound)
#define initial_kaiming(graph, name, shape, gain) initial_kaiming_at(HERE, graph, name, shape, gain)

/* Uniform in [-bound, bound). */
struct node *initial_uniform_at(struct site at, struct graph *graph, const char *name,
                                struct shape shape, double bound);

/* Normal of deviation gain / √fan-in (He et al. 2015); gain √2 keeps the variance through relu. */
struct node *initial_kaiming_at(struct site at, struct graph *graph, const char *name,
                                struct shape shape, double gain);

/* x (…,I) → (…,O): weight (O,I), bias (O). Both start uniform within ±1/√fan-in, as PyTorch's. */
struct linear_options {
    bool zero;    /* weight and bias start at zero */
    bool no_bias; /* without one */
};
#define nn_linear(x, name, outputs, ...)                                                           \
    nn_linear_at(HERE, x, name, outputs, (struct linear_options){ __VA_ARGS__ })
struct node *nn_linear_at(struct site at, struct node *x, const char *name, int64_t outputs,
                          struct linear_options options);

/* x (N,I,H,W) → (N,O,…): weight (O,I/groups,size,size), bias (O); first values as nn_linear's. */
struct conv_layer_options {
    int stride, pad, dilation, groups; /* 0: 1, 0, 1, 1 */
    bool zero, no_bias;                /* as above */
    int kernel_axes; /* axes of the kernel in the weight's shape; 0: 2. 1 gives (O,I,1), the layout
                        of a Conv1d, for a kernel of size 1 */
};
#define nn_conv(x, name, outputs, size, ...)                                                       \
    nn_conv_at(HERE, x, name, outputs, size, (struct conv_layer_options){ __VA_ARGS__ })
struct node *nn_conv_at(struct site at, struct node *x, const char *name, int64_t outputs, int size,
                        struct conv_layer_options options);

/* Zero mean and unit variance over each image's group of C/groups channels (Wu and He 2018), over
 * each channel (Ulyanov et al. 2016), over the last axis (Ba et al. 2016); ε = 1e-5. The layers
 * also scale by a weight (C) that starts at 1 and shift by a bias (C) that starts at 0. */
#define nn_normalise_groups(x, groups) nn_normalise_groups_at(HERE, x, groups)
#define nn_normalise_last(x)           nn_normalise_last_at(HERE, x)
struct node *nn_normalise_groups_at(struct site at, struct node *x, int64_t groups);
struct node *nn_normalise_last_at(struct site at, struct node *x);

#define nn_group_norm(x, name, groups) nn_group_norm_at(HERE, x, name, groups)
#define nn_instance_norm(x, name)      nn_group_norm_at(HERE, x, name, dim(x, 1))
#define nn_layer_norm(x, name)         nn_layer_norm_at(HERE, x, name)
struct node *nn_group_norm_at(struct site at, struct node *x, const char *name, int64_t groups);
struct node *nn_layer_norm_at(struct site at, struct node *x, const char *name);

/* Batch normalisation (Ioffe and Szegedy 2015): (N,C,H,W), parameters weight and bias (C), states
 * running_mean and running_var (C). With `updates` it normalises by the batch's own mean and
 * variance and adds the running averages, moved by .1 towards them (the variance's unbiased), to
 * the updates; without, by the running averages. */
struct updates;
struct batch_norm_options {
    double epsilon;  /* 0: 1e-5 */
    double variance; /* the running one's first value; 0: 1 */
};
#define nn_batch_norm(x, name, updates, ...)                                                       \
    nn_batch_norm_at(HERE, x, name, updates, (struct batch_norm_options){ __VA_ARGS__ })
struct node *nn_batch_norm_at(struct site at, struct node *x, const char *name,
                              struct updates *updates, struct batch_norm_options options);

/* x / √(mean over axis 1 of x² + 1e-8): (N,C,…), no parameters (Karras et al. 2018, section 4.2).
 */
#define nn_pixel_norm(x) nn_pixel_norm_at(HERE, x)
struct node *nn_pixel_norm_at(struct site at, struct node *x);

/* Softmax attention of every head over T positions: (N,heads·3·c,T) → (N,heads·c,T). The q, k and v
 * of a head lie together, as in guided-diffusion's QKVAttentionLegacy. */
#define nn_attend(qkv, heads) nn_attend_at(HERE, qkv, heads)
struct node *nn_attend_at(struct site at, struct node *qkv, int heads);

/* The self-attention block of guided-diffusion (Dhariwal and Nichol 2021): (N,C,H,W) → the same,
 * x + proj_out(attend(qkv(norm x))) over T = H·W pixels. Parameters norm (32 groups), qkv (3C,C,1),
 * proj_out (C,C,1), the last starting at zero. */
#define nn_attention(x, name, heads) nn_attention_at(HERE, x, name, heads)
struct node *nn_attention_at(struct site at, struct node *x, const char *name, int heads);

/* Times or positions t (N), f32 or i32, → (N,width): [cos(t f_i), sin(t f_i)], f_i = 10000^(−2i /
 * width) (Vaswani et al. 2017; cosines first, as in guided-diffusion). The width is even. */
#define nn_sinusoids(t, width) nn_sinusoids_at(HERE, t, width)
struct node *nn_sinusoids_at(struct site at, struct node *t, int width);

/* x (N,T,C) plus a learned vector for each position, the parameter `name` (1,T,C) (Dosovitskiy et
 * al. 2021). */
#define nn_positions(x, name) nn_positions_at(HERE, x, name)
struct node *nn_positions_at(struct site at, struct node *x, const char *name);

/* Zeroes each element with the given probability and scales the others by 1/(1−probability). For
 * training graphs only. */
#define nn_dropout(x, probability) nn_dropout_at(HERE, x, probability)
struct node *nn_dropout_at(struct site at, struct node *x, double probability);

#endif
