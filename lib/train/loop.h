/* The training loop.
 *
 *     struct train_job job = { "run/dataset", "run/model", &settings };
 *     struct train_report report;
 *     if (!train(&job, &report, err)) …        // err names step, term and the last good checkpoint
 *
 * It writes into the folder
 *
 *     checkpoints/step-*.safetensors     see checkpoint.h
 *     checkpoints/best.safetensors       the one of the least loss on images held out
 *     samples/step-*.png                 pictures of the same latents every `samples` steps
 *     metrics.jsonl                      a line every `log` steps: step, images, the mean of each
 *                                        loss term since the line before by phase, and
 *                                        images_per_second, seconds (of this call), waited (of
 * them, for input), memory (bytes, the most so far); another line with "validation" for each
 * checkpoint that has one lock                               held while a run writes here
 *
 * A run that finds checkpoints goes on from the latest, after checking that data and settings are
 * the same. Everything drawn is a function of seed and step, and a checkpoint holds all else, so
 * the weights that a run ends in do not depend on how often and when it was stopped, by a signal,
 * the time limit, kill -9 or a power cut.
 */
#ifndef TRAIN_LOOP_H
#define TRAIN_LOOP_H

#include "base/error.h"
#include "train/settings.h"

struct train_job {
    const char *dataset; /* a store */
    const char *out;     /* the folder; made where it is missing */
    const struct train_settings *settings;
};

enum train_end { TRAIN_COMPLETE, TRAIN_SIGNAL, TRAIN_TIME, TRAIN_END_COUNT };

struct train_report {
    enum train_end end;
    uint64_t step, images; /* done in all */
    uint64_t resumed_at;   /* the step that this call began with */
    double seconds;        /* of this call */
    char checkpoint[1024]; /* the last that was written, or found */
};

/* Trains until the settings' number of images, SIGINT or SIGTERM, or the time limit; in each case a
 * checkpoint is written at the end. The error: data, settings or folder that do not fit, too little
 * memory (told before the first step), or a loss that diverged. */
bool train(const struct train_job *job, struct train_report *report, struct error *err) MUST_USE;

#endif
