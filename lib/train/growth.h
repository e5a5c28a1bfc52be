/* Progressive growing (Karras et al. 2018, arXiv 1710.10196, section 2): training begins with small
 * images, and the side doubles, level by level, while the new layers are faded in.
 *
 *     struct stage stage = growth_stage(&growth, step);   // what this step trains
 *     … stage.side, stage.fading, stage.batch …
 *     growth_images(&growth, step);                       // seen before the step: not step · batch
 *     growth_steps(&growth, images);                      // that it takes to see so many
 *
 * A run is a row of stages, each of which a graph of its own trains:
 *
 *     number   0        1        2        3        4      …
 *     side     4        8        8        16       16     …   up to the data's, which lasts
 *     fading   no       yes      no       yes      no     …
 *     images   stable   fade     stable   fade     stable …   as they are planned
 *
 * A stage ends with the first step that reaches its planned end, so where it ends depends on
 * batches, which double as sides halve. All this is a function of the settings and the step alone:
 * a checkpoint, which holds the step, needs nothing else to go on. Where nothing grows, there is
 * one stage. The borders are those of the official TrainingSchedule (progressive_growing_of_gans,
 * train.py), with its minibatch_repeats of 1.
 */
#ifndef TRAIN_GROWTH_H
#define TRAIN_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

struct growth {
    int first, size;       /* sides of the first level's images, and of the data's */
    uint64_t stable, fade; /* images that each level is trained on as it is; while it fades in */
    uint64_t batch, batch_most; /* at the data's side; where the side is less, at most */
};

struct stage {
    int number;
    int side;    /* of the images that are made and judged */
    bool fading; /* from those of half the side */
    uint64_t batch;
    uint64_t step, image; /* its first step, and the images seen before that */
    uint64_t steps;       /* UINT64_MAX: it lasts */
};

/* One stage, of this batch. */
struct growth growth_none(int size, uint64_t batch);

/* At a side: the batch doubles as the side halves, up to batch_most (but is never less than at the
 * data's side). */
uint64_t growth_batch(const struct growth *growth, int side);

/* The one that a step belongs to; the last one. Stages too short for a step are passed over. */
struct stage growth_stage(const struct growth *growth, uint64_t step);
struct stage growth_last_stage(const struct growth *growth);

/* The next one with a step; false after the last. */
bool growth_next(const struct growth *growth, struct stage *stage);

/* Images seen before a step; the fewest steps that see so many images. */
uint64_t growth_images(const struct growth *growth, uint64_t step);
uint64_t growth_steps(const struct growth *growth, uint64_t images);

/* After so many images: the share, 0 … 1, that the stage's new layers have in the image; 1 where
 * nothing is fading. */
double growth_alpha(const struct growth *growth, const struct stage *stage, uint64_t images);

#endif
