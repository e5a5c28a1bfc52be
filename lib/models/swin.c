/* UPerNet on Swin; see swin.h. Features are (N,h,w,C) within the backbone, (N,C,h,w) in the heads.
 */
#include "models/swin.h"

#include "nn/layer.h"
#include "nn/resample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- windows --------------------------------------------------------------------------------- */

/* (N,h,w,C) → (N·windows, T, C), T = window². */
static struct node *partition(struct node *x, int64_t m)
{
    int64_t n = dim(x, 0), h = dim(x, 1), w = dim(x, 2), c = dim(x, 3);
    x = t_reshape(x, SHAPE(n, h / m, m, w / m, m, c));
    return t_reshape(t_permute(x, 0, 1, 3, 2, 4, 5), SHAPE(n * (h / m) * (w / m), m * m, c));
}

static struct node *unpartition(struct node *x, int64_t m, int64_t n, int64_t h, int64_t w)
{
    int64_t c = dim(x, 2);
    x = t_reshape(x, SHAPE(n, h / m, w / m, m, m, c));
    return t_reshape(t_permute(x, 0, 1, 3, 2, 4, 5), SHAPE(n, h, w, c));
}

/* The first `by` of an axis go to its end. */
static struct node *roll_axis(struct node *x, int axis, int64_t by)
{
    int64_t size = dim(x, axis);
    return t_concat(axis, t_slice(x, axis, by, size), t_slice(x, axis, 0, by));
}

/* The first `by` rows of x (N,h,w,C) go to its end, and so do columns; a negative number undoes it.
 * Quarter by quarter, so that each number is moved once. */
static struct node *roll(struct node *x, int64_t by)
{
    int64_t h = dim(x, 1), w = dim(x, 2), rows = (by % h + h) % h, columns = (by % w + w) % w;
    if (!rows || !columns)
        return rows ? roll_axis(x, 1, rows) : columns ? roll_axis(x, 2, columns) : x;
    return t_concat(1, roll_axis(t_slice(x, 1, rows, h), 2, columns),
                    roll_axis(t_slice(x, 1, 0, rows), 2, columns));
}

/* Which of the three bands that a shifted axis is made of: tokens of different bands were not
 * neighbours before. */
static int band(int64_t at, int64_t size, int64_t m, int64_t shift)
{
    return at < size - m ? 0 : at < size - shift ? 1 : 2;
}

/* (windows,1,T,T): −100 between tokens that only the shift brought into one window. */
static struct node *shift_mask(struct graph *graph, int64_t h, int64_t w, int64_t m, int64_t shift)
{
    int64_t t = m * m, windows = (h / m) * (w / m);
    float *mask = calloc((size_t)(windows * t * t), sizeof *mask);
    CHECK(mask, "out of memory: a mask of %lld windows", (long long)windows);
    for (int64_t i = 0; i < windows * t * t; i++) {
        int64_t window = i / (t * t), a = i / t % t, b = i % t;
        int64_t top = window / (w / m) * m, left = window % (w / m) * m;
        bool same = band(top + a / m, h, m, shift) == band(top + b / m, h, m, shift) &&
                    band(left + a % m, w, m, shift) == band(left + b % m, w, m, shift);
        mask[i] = same ? 0 : -100;
    }
    struct node *node = t_constant(graph, SHAPE(windows, 1, t, t), mask);
    free(mask);
    return node;
}

/* (heads,T,T): a learned number for each offset between two tokens of a window. */
static struct node *position_bias(struct graph *graph, int64_t m, int64_t heads)
{
    int64_t t = m * m, offsets = (2 * m - 1) * (2 * m - 1);
    struct shape shape = SHAPE(offsets, heads);
    struct node *table =
        t_parameter(graph, "relative_position_bias_table",
                    initial_normal(graph, "relative_position_bias_table", shape, 0.02));
    int32_t *index = calloc((size_t)(t * t), sizeof *index);
    CHECK(index, "out of memory: a window of %lld tokens", (long long)t);
    for (int64_t i = 0; i < t * t; i++) {
        int64_t a = i / t, b = i % t;
        index[i] = (int32_t)((a / m - b / m + m - 1) * (2 * m - 1) + a % m - b % m + m - 1);
    }
    struct node *chosen = t_one_hot(t_labels(graph, SHAPE(t * t), index), (int)offsets);
    free(index);
    struct node *bias = t_reshape(t_matmul(chosen, table), SHAPE(t, t, heads));
    return t_permute(bias, 2, 0, 1);
}

/* Linear layers start from normal numbers of deviation .02, biases from 0. */
static struct node *linear(struct node *x, const char *name, int64_t outputs, bool bias)
{
    struct graph *graph = x->graph;
    struct shape shape = SHAPE(outputs, dim(x, -1));
    graph_push(graph, "%s", name);
    struct node *weight =
        t_parameter(graph, "weight", initial_normal(graph, "weight", shape, 0.02));
    struct node *y = t_matmul(x, t_transpose(weight));
    if (bias)
        y = t_add(y, t_parameter(graph, "bias", initial_zeros(graph, SHAPE(outputs))));
    graph_pop(graph);
    return y;
}

/* Attention within windows: x (N·windows,T,C); mask (windows,1,T,T) or NULL. */
static struct node *attend(struct node *x, int64_t heads, int64_t m, struct node *mask)
{
    int64_t all = dim(x, 0), t = dim(x, 1), c = dim(x, 2), d = c / heads;
    graph_push(x->graph, "attn");
    struct node *qkv = t_reshape(linear(x, "qkv", 3 * c, true), SHAPE(all, t, 3, heads, d));
    qkv = t_permute(qkv, 2, 0, 3, 1, 4); /* (3,N·windows,heads,T,d) */
    struct node *part[3];
    for (int i = 0; i < 3; i++)
        part[i] = t_reshape(t_slice(qkv, 0, i, i + 1), SHAPE(all, heads, t, d));
    struct node *score = t_matmul(t_scale(part[0], 1 / sqrt((double)d)), t_transpose(part[1]));
    score = t_add(score, position_bias(x->graph, m, heads)); /* (N·windows,heads,T,T) */
    if (mask) {
        int64_t windows = dim(mask, 0);
        score = t_add(t_reshape(score, SHAPE(all / windows, windows, heads, t, t)), mask);
        score = t_reshape(score, SHAPE(all, heads, t, t));
    }
    struct node *y = t_matmul(t_softmax(score, -1), part[2]); /* (N·windows,heads,T,d) */
    y = linear(t_reshape(t_permute(y, 0, 2, 1, 3), SHAPE(all, t, c)), "proj", c, true);
    graph_pop(x->graph);
    return y;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Leaves a residual out, for each image by itself (Huang et al. 2016). */
static struct node *drop_path(struct node *x, double probability)
{
    if (probability <= 0)
        return x;
    struct node *u = t_uniform(x->graph, "drop_path", SHAPE(dim(x, 0), 1, 1, 1));
    struct node *keep = t_greater(u, t_full(x->graph, u->shape, probability));
    return t_mul(x, t_scale(keep, 1 / (1 - probability)));
}

/* Windows of x (N,h,w,C), shifted by `shift`; what does not fill a window is padded with zeros. */
static struct node *window_attention(struct node *x, int64_t heads, int64_t m, int64_t shift)
{
    int64_t n = dim(x, 0), h = dim(x, 1), w = dim(x, 2);
    int64_t tall = (h + m - 1) / m * m, wide = (w + m - 1) / m * m;
    struct node *y = t_pad(t_pad(x, 1, 0, tall - h), 2, 0, wide - w);
    struct node *mask = shift ? shift_mask(x->graph, tall, wide, m, shift) : NULL;
    y = partition(roll(y, shift), m);
    y = unpartition(attend(y, heads, m, mask), m, n, tall, wide);
    y = roll(y, -shift);
    return t_slice(t_slice(y, 1, 0, h), 2, 0, w);
}

static struct node *block(struct node *x, int64_t heads, int64_t m, int64_t shift, double drop)
{
    int64_t c = dim(x, 3);
    struct node *y = window_attention(nn_layer_norm(x, "norm1"), heads, m, shift);
    x = t_add(x, drop_path(y, drop));
    y = nn_layer_norm(x, "norm2");
    graph_push(x->graph, "mlp");
    y = linear(t_gelu(linear(y, "fc1", 4 * c, true)), "fc2", c, true);
    graph_pop(x->graph);
    return t_add(x, drop_path(y, drop));
}

/* Four neighbours become one token: (N,h,w,C) → (N,h/2,w/2,2C). */
static struct node *merge(struct node *x)
{
    int64_t n = dim(x, 0), h = dim(x, 1), w = dim(x, 2), c = dim(x, 3);
    graph_push(x->graph, "downsample");
    x = t_reshape(x, SHAPE(n, h / 2, 2, w / 2, 2, c));
    /* in the order (0,0), (1,0), (0,1), (1,1) of row and column */
    x = t_reshape(t_permute(x, 0, 1, 3, 4, 2, 5), SHAPE(n, h / 2, w / 2, 4 * c));
    x = linear(nn_layer_norm(x, "norm"), "reduction", 2 * c, false);
    graph_pop(x->graph);
    return x;
}

void swin_backbone(const struct swin *swin, struct node *x, bool training,
                   struct node *out[SWIN_STAGES])
{
    struct graph *graph = x->graph;
    int blocks = 0, at = 0;
    for (int i = 0; i < SWIN_STAGES; i++)
        blocks += swin->depths[i];
    CHECK(dim(x, 2) % (swin->patch * 8) == 0 && dim(x, 3) % (swin->patch * 8) == 0,
          "swin: sides must be multiples of %d", swin->patch * 8);
    graph_push(graph, "backbone.patch_embed");
    x = nn_conv(x, "proj", swin->embed, swin->patch, .stride = swin->patch); /* (N,C,h,w) */
    x = nn_layer_norm(t_permute(x, 0, 2, 3, 1), "norm");                     /* (N,h,w,C) */
    graph_pop(graph);
    for (int i = 0; i < SWIN_STAGES; i++) {
        for (int k = 0; k < swin->depths[i]; k++, at++) {
            double drop = training && blocks > 1 ? swin->drop_path * at / (blocks - 1) : 0;
            graph_push(graph, "backbone.layers.%d.blocks.%d", i, k);
            x = block(x, swin->heads[i], swin->window, k % 2 ? swin->window / 2 : 0, drop);
            graph_pop(graph);
        }
        char name[16];
        snprintf(name, sizeof name, "norm%d", i);
        graph_push(graph, "backbone");
        out[i] = t_permute(nn_layer_norm(x, name), 0, 3, 1, 2); /* (N,C·2^i,h/2^i,w/2^i) */
        graph_pop(graph);
        if (i + 1 == SWIN_STAGES)
            break;
        graph_push(graph, "backbone.layers.%d", i);
        x = merge(x);
        graph_pop(graph);
    }
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Convolution without bias, batch normalisation, ReLU; "NAME.conv", "NAME.bn". */
static struct node *conv_module(struct node *x, const char *name, int outputs, int size,
                                struct updates *updates)
{
    graph_push(x->graph, "%s", name);
    x = nn_conv(x, "conv", outputs, size, .pad = size / 2, .no_bias = true);
    x = t_relu(nn_batch_norm(x, "bn", updates));
    graph_pop(x->graph);
    return x;
}

static struct node *like(struct node *x, struct node *other)
{
    return nn_bilinear(x, dim(other, 2), dim(other, 3));
}

/* The last stage with means over bins of it: sees the whole image (Zhao et al. 2017). */
static struct node *pyramid(struct node *x, int width, struct updates *updates)
{
    static const int bins[] = { 1, 2, 3, 6 };
    struct node *parts[5] = { x };
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "psp_modules.%d.1", i);
        parts[1 + i] = like(conv_module(nn_adaptive_pool(x, bins[i]), name, width, 1, updates), x);
    }
    return conv_module(t_concat_at(HERE, 1, 5, parts), "bottleneck", width, 3, updates);
}

static struct node *classify(struct node *x, int classes, struct shape full, double dropout)
{
    x = nn_conv(nn_dropout(x, dropout), "conv_seg", classes, 1);
    return nn_bilinear(x, full.size[2], full.size[3]);
}

static struct node *decode(const struct swin *swin, struct node **stage, struct shape full,
                           struct updates *updates)
{
    struct node *level[SWIN_STAGES];
    char name[32];
    graph_push(stage[0]->graph, "decode_head");
    for (int i = 0; i < SWIN_STAGES - 1; i++) {
        snprintf(name, sizeof name, "lateral_convs.%d", i);
        level[i] = conv_module(stage[i], name, swin->width, 1, updates);
    }
    level[SWIN_STAGES - 1] = pyramid(stage[SWIN_STAGES - 1], swin->width, updates);
    for (int i = SWIN_STAGES - 1; i > 0; i--)
        level[i - 1] = t_add(level[i - 1], like(level[i], level[i - 1]));
    for (int i = 0; i < SWIN_STAGES - 1; i++) {
        snprintf(name, sizeof name, "fpn_convs.%d", i);
        level[i] = conv_module(level[i], name, swin->width, 3, updates);
    }
    for (int i = 1; i < SWIN_STAGES; i++)
        level[i] = like(level[i], level[0]);
    struct node *y = conv_module(t_concat_at(HERE, 1, SWIN_STAGES, level), "fpn_bottleneck",
                                 swin->width, 3, updates);
    y = classify(y, swin->classes, full, updates ? swin->dropout : 0);
    graph_pop(stage[0]->graph);
    return y;
}

struct swin_logits swin_build(const struct swin *swin, struct node *x, struct updates *updates)
{
    struct node *stage[SWIN_STAGES];
    struct swin_logits logits = { 0 };
    swin_backbone(swin, x, updates != NULL, stage);
    logits.main = decode(swin, stage, x->shape, updates);
    if (updates) {
        graph_push(x->graph, "auxiliary_head");
        struct node *y = conv_module(stage[2], "convs.0", swin->width / 2, 3, updates);
        logits.auxiliary = classify(y, swin->classes, x->shape, swin->dropout);
        graph_pop(x->graph);
    }
    return logits;
}
