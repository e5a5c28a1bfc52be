/* UPerNet on a Swin transformer (Liu et al., ICCV 2021; Xiao et al., ECCV 2018), for segmentation.
 *
 *     struct swin swin = { .classes = 4, .embed = 96, .depths = { 2, 2, 6, 2 },
 *                          .heads = { 3, 6, 12, 24 }, .window = 7, .patch = 4, .width = 512 };
 *     struct swin_logits logits = swin_build(&swin, images, &updates);   // training
 *     struct node *y = swin_build(&swin, images, NULL).main;             // predicting
 *
 * Parameters are named as in the authors' public code for semantic segmentation: backbone.layers.…,
 * decode_head.…, auxiliary_head.…
 */
#ifndef MODELS_SWIN_H
#define MODELS_SWIN_H

#include "nn/optimiser.h"

enum { SWIN_STAGES = 4 };

struct swin {
    int classes;
    int embed;                                   /* channels of the first stage; stage i: ·2^i */
    int depths[SWIN_STAGES], heads[SWIN_STAGES]; /* blocks, heads of attention by stage */
    int window, patch;                           /* sides, in tokens, in pixels */
    double drop_path; /* of the last block; rising linearly from 0 in the first */
    double dropout;   /* of features before the last convolution of each head */
    int width;        /* channels of the decoder; the auxiliary head has half */
};

struct swin_logits {
    struct node *main, *auxiliary; /* (N,classes,H,W) each; auxiliary only in training */
};

/* x (N,C,H,W), H and W multiples of patch·8. With `updates` the network is built as it is trained:
 * batch statistics, whose running averages are added to the updates, paths and features dropped. */
struct swin_logits swin_build(const struct swin *swin, struct node *x, struct updates *updates);

/* The backbone alone: normalised features of each stage, (N,embed·2^i,H/(patch·2^i),…). */
void swin_backbone(const struct swin *swin, struct node *x, bool training,
                   struct node *out[SWIN_STAGES]);

#endif
