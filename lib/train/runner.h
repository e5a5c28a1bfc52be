/* A recipe, ready to run: its graph, its tensors in a store, its plans.
 *
 *     struct runner runner;
 *     if (!runner_init(&runner, &settings, channels, size, err)) …   // too little memory is told
 * here runner_begin(&runner, err);                                    // first values, or load them
 *     runner_step(&runner, step, images, err);                       // (batch,C,S,S) in [-1,1]
 *     … runner.terms[phase][term] where runner.ran[phase] …
 *     runner_release(&runner);
 *
 * All memory is taken by runner_init. A step is a function of the store's tensors, step and images.
 */
#ifndef TRAIN_RUNNER_H
#define TRAIN_RUNNER_H

#include "train/recipe.h"

struct runner {
    struct training training;
    struct store *store;
    struct plan *parts[RECIPE_PHASES];         /* losses, gradients and what moves with each part */
    struct plan *updates[RECIPE_PHASES];       /* NULL: the plan above does them too */
    bool ran[RECIPE_PHASES];                   /* in the last step */
    double terms[RECIPE_PHASES][RECIPE_TERMS]; /* of their last step: means over its parts */
};

/* Where it fails for want of memory, the message names a batch, or a number of parts, that fits. */
bool runner_init(struct runner *runner, const struct train_settings *settings, int channels,
                 int size, struct error *err) MUST_USE;
void runner_release(struct runner *runner);

/* Gives every tensor its first value, as the settings' seed draws it. */
bool runner_begin(struct runner *runner, struct error *err) MUST_USE;

/* All phases whose turn it is. */
bool runner_step(struct runner *runner, uint64_t step, const float *images,
                 struct error *err) MUST_USE;

/* Bytes of all tensors and of the plan that takes most. */
size_t runner_bytes(const struct runner *runner);

#endif
