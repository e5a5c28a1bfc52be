/* Training a generator: a recipe's graph, images of a store, the loop.
 *
 *     struct train_job job = { "run/dataset", "run/model", &settings };
 *     struct train_report report;
 *     if (!train(&job, &report, err)) …
 *
 * What it leaves in the folder, and how it goes on, stands in loop.h.
 */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "train/ranks.h"
#include "train/report.h"
#include "train/settings.h"

struct train_job {
    const char *dataset; /* a store */
    const char *out;     /* the folder; made where it is missing */
    const struct train_settings *settings;
    uint64_t reference; /* its number (reference.h); 0: of training, as it is released */
    /* Of who assists a run, whose checkpoints are to tell the run's settings: */
    const char *device; /* instead of theirs; NULL: as they say */
    bool no_time_limit;
    /* Other devices that take parts of each batch; NULL: none. What comes out is the same. */
    const struct train_beside *beside;
};

/* The error: what train_loop_run says, or too little memory (told before the first step). */
bool train(const struct train_job *job, struct train_report *report, struct error *err) MUST_USE;

/* Whether the folder's training has come to its end already, so that `train` has nothing to do. */
bool train_is_complete(const struct train_job *job);

/* The checkpoint that a folder of training has of after so many images (rounded up to whole steps).
 * Fails where it was never reached, or is gone. */
struct arena;
bool train_checkpoint(const char *folder, uint64_t images, struct arena *arena, const char **path,
                      struct error *err) MUST_USE;

#endif
