/* The training loop, of generators (train.h) and segmenters (segment.h) alike.
 *
 *     struct train_loop loop = { .out = "run", .what = "train", .runner = &runner, … };
 *     if (!train_loop_run(&loop, &report, err)) …    // err names step, term, last good checkpoint
 *
 * It writes into the folder
 *
 *     checkpoints/step-*.safetensors     see checkpoint.h
 *     checkpoints/best.safetensors       the one of the least loss on images held out
 *     samples/step-*.png                 pictures of the same latents every `samples` steps
 *     metrics.jsonl                      a line every `log` steps: step, images, of a model that
 *                                        grows side and alpha (growth.h), the mean of each
 *                                        loss term since the line before by phase, and
 *                                        images_per_second, seconds (of this call), waited (of
 *                                        them, for input), memory (bytes, the most so far); another
 *                                        line with "validation" for each checkpoint that has one
 *     profile.txt                        with LETHE_PROFILE=1: where the time of this call went (of
 *                                        a model that grows: since it grew last)
 *     lock                               held while a run writes here
 *
 * A model that grows is given the next stage's graph between two steps, after a checkpoint.
 *
 * A run that finds checkpoints goes on from the latest, after checking that data and settings are
 * the same. Everything drawn is a function of seed and step, and a checkpoint holds all else, so
 * the weights that a run ends in do not depend on how often and when it was stopped, by a signal,
 * the time limit, kill -9 or a power cut.
 */
#ifndef TRAIN_LOOP_H
#define TRAIN_LOOP_H

#include "train/checkpoint.h"
#include "train/feed.h"
#include "train/preview.h"
#include "train/report.h"
#include "train/runner.h"

struct train_loop {
    const char *out;           /* the folder; made where it is missing */
    const char *what;          /* beside the bar of progress */
    struct runner *runner;     /* its tensors have no values yet */
    struct feed_source source; /* of what is learnt from */
    int64_t images;            /* in all; the last step may go beyond */
    int64_t checkpoint, keep, log;
    double time_limit; /* minutes; 0: none */
    /* What a checkpoint tells; step, images and validation are filled in. A run that goes on must
     * have the same dataset, and settings of which the same is `lasting`. */
    struct checkpoint_record record;
    const char *data; /* for the message that it is not the same; NULL: it has no name */
    /* Adds what of a record's settings may not change; NULL: all of it. */
    bool (*lasting)(const char *settings, const char *path, struct text *out, struct error *err);
    const struct train_candidate *candidates; /* whose checkpoints are made, and kept */
    size_t candidate_count;
    struct preview *preview; /* NULL: neither pictures nor validation */
    int64_t samples;         /* steps between pictures; 0: none */
};

/* Trains until the number of images, a signal (interrupt.h), or the time limit; in each case a
 * checkpoint is written at the end. The error: data, settings or folder that do not fit, or a loss
 * that diverged. */
bool train_loop_run(const struct train_loop *loop, struct train_report *report,
                    struct error *err) MUST_USE;

#endif
