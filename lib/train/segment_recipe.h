/* How each segmenter is built and trained: for the recipe files and segment.c. A new network is a
 * file in lib/models, a recipe file, and a row of the table in segment.c. */
#ifndef TRAIN_SEGMENT_RECIPE_H
#define TRAIN_SEGMENT_RECIPE_H

#include "nn/optimiser.h"
#include "train/segment.h"
#include "train/session.h"

/* A graph of training, or of predicting. */
struct segmentation {
    struct segment_settings settings; /* resolved */
    int channels, classes;
    int64_t batch, height, width;
    bool training;
    struct graph *graph;
    struct node *image;  /* (batch,channels,height,width) */
    struct node *labels; /* i32 (batch,height,width) */
    struct node *rate;   /* a scalar: the learning rate at this step */
    struct node *logits; /* (batch,classes,height,width) */
    struct node *terms[SESSION_TERMS];
    const char *names[SESSION_TERMS];
    int term_count;
    struct updates updates;
    struct arena arena;
};

/* What is logged beside the others. */
void segmentation_term(struct segmentation *segmentation, const char *name, struct node *value);
/* All trainable parameters, and the loss's gradients for them, zeros where it does not reach. */
struct node **segmentation_gradients(struct segmentation *segmentation, struct node *loss,
                                     struct node ***parameters, size_t *count);

struct segment_recipe {
    const char *name;
    bool (*resolve)(struct segment_settings *settings, size_t size, struct error *err);
    int64_t (*stride)(const struct segment_settings *settings);
    void (*build)(struct segmentation *segmentation); /* logits; for training terms and updates */
    double (*rate)(const struct segment_settings *settings, uint64_t step, uint64_t steps);
};
extern const struct segment_recipe segment_unet, segment_swin;

/* Builds the graph; settings are resolved. */
void segmentation_init(struct segmentation *segmentation);
void segmentation_release(struct segmentation *segmentation);

#endif
