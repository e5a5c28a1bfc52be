/* How each segmenter is built and trained: for the recipe files and segment.c. A new network is a
 * file in lib/models, a recipe file, and a row of the table in segment.c. */
#ifndef TRAIN_SEGMENT_RECIPE_H
#define TRAIN_SEGMENT_RECIPE_H

#include "models/swin.h"
#include "train/recipe.h"
#include "train/segment.h"

/* A graph of training, or of predicting. */
struct segmentation {
    struct segment_settings settings; /* resolved */
    const struct swin *swin;          /* instead of a size of the settings; NULL: theirs */
    int channels, classes;
    int64_t batch, height, width;
    struct graph *graph;
    struct node *image;  /* (batch,channels,height,width) */
    struct node *logits; /* (batch,classes,height,width) */
    struct training
        *training; /* labels, learning rate and what is to be filled in; NULL: predicting */
};

struct segment_recipe {
    const char *name;
    bool (*resolve)(struct segment_settings *settings, size_t size, struct error *err);
    int64_t (*stride)(const struct segment_settings *settings);
    void (*build)(struct segmentation *segmentation); /* logits; for training a phase "main" */
    /* The learning rate at a step of so many. */
    double (*rate)(const struct segment_settings *settings, uint64_t step, uint64_t steps);
};
extern const struct segment_recipe segment_unet, segment_swin;

/* Builds the graph of training; `segmentation` but for batch, nodes and graph, which are added, is
 * filled in, its settings are resolved. */
void segmentation_train(struct segmentation *segmentation, struct training *training);

#endif
