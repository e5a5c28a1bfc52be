/* A training, ready to run: its graph, its tensors in a store, its plans.
 *
 *     struct runner runner;
 *     if (!runner_init(&runner, &settings, channels, size, err)) …   // tells of too little memory
 *     runner_begin(&runner, err);                                    // first values, or load them
 *     runner_step(&runner, step, images, NULL, err);                 // (batch,C,S,S) in [-1,1]
 *     … runner.terms[phase][term] where runner.ran[phase] …
 *     runner_release(&runner);
 *
 * All memory is taken when it is made. A step is a function of the store's tensors, step and what
 * is given. Where a model grows, a runner is of one stage:
 *
 *     if (!runner_is_for(&runner, step))
 *         runner_grow(&runner, step, err);                           // keeps what was learnt
 *
 * Whether all the stages to come will have enough memory is found out when the first is made.
 */
#ifndef TRAIN_RUNNER_H
#define TRAIN_RUNNER_H

#include "train/ranks.h"
#include "train/recipe.h"

#include <stdio.h>

struct runner {
    struct training training;
    struct store *store;
    struct plan *parts[RECIPE_PHASES];   /* losses, gradients and what moves with each part */
    struct plan *sums[RECIPE_PHASES];    /* of several parts; NULL: there are none */
    struct plan *updates[RECIPE_PHASES]; /* NULL: the plan above does them too */
    /* By phase, of each.items[i] and sums.items[i]: what those who share a batch exchange. */
    struct tensor **found_out[RECIPE_PHASES], **summed[RECIPE_PHASES];
    struct ranks *ranks;                       /* who share the parts of a batch; NULL: nobody */
    struct ranks_layout most;                  /* that they exchange, in all stages to come */
    bool spread;                               /* all of them have this runner's tensors */
    bool ran[RECIPE_PHASES];                   /* in the last step */
    double terms[RECIPE_PHASES][RECIPE_TERMS]; /* of their last step: means over its parts */
};

/* How a training is made. */
struct runner_source {
    /* Builds the graph; `parts`: in so many parts, 0 for as many as are asked for. */
    bool (*build)(const void *context, int64_t parts, struct training *training, struct error *err);
    const void *context;
    const char *device; /* as device_backend takes it (tensor/device.h) */
    bool divisible;     /* a batch can be computed in parts */
};

/* The scalar inputs that each step sets anew, for a plan of the training. */
void training_write_step(const struct training *training, struct plan *plan, uint64_t step);

/* The plan of a phase: its terms, and what it does with each part of a batch; where there is but
 * one, the rest too. */
struct plan *training_plan(const struct training *training, int phase, struct store *store,
                           struct error *err) MUST_USE;
/* The plan that gives every tensor its first value. */
struct plan *training_plan_initial(const struct training *training, struct store *store,
                                   struct error *err) MUST_USE;

/* Where it fails for want of memory, the message names a number of parts that fits, if any. */
bool runner_open(struct runner *runner, const struct runner_source *source,
                 struct error *err) MUST_USE;
/* Of a generator, of its first stage. */
bool runner_init(struct runner *runner, const struct train_settings *settings, int channels,
                 int size, struct error *err) MUST_USE;
void runner_release(struct runner *runner);

/* Gives every tensor its first value, as the training's seed draws it. */
bool runner_begin(struct runner *runner, struct error *err) MUST_USE;

/* Whether its stage of growth is the step's; if not: it is made anew for that stage, without values
 * (then they are to be loaded), or with those that its tensors have. New ones begin as the seed
 * draws them, and optimisers' own from nothing. */
bool runner_is_for(const struct runner *runner, uint64_t step);
bool runner_move(struct runner *runner, uint64_t step, struct error *err) MUST_USE;
bool runner_grow(struct runner *runner, uint64_t step, struct error *err) MUST_USE;

/* What those who share the parts exchange; a batch has at least as many parts as there are of them.
 * The runner of rank 0 begins with giving all its tensors to the others, and has each step done by
 * them too. */
struct ranks_layout runner_layout(const struct runner *runner);
/* Whether all of them still have the same values: a device that computes wrongly, or otherwise than
 * the others, must not go unnoticed. True where nothing is shared. */
bool runner_compare(struct runner *runner, struct error *err) MUST_USE;

/* All phases whose turn it is. `labels`: (batch,S,S) for segmenters, else NULL. */
bool runner_step(struct runner *runner, uint64_t step, const float *images, const int32_t *labels,
                 struct error *err) MUST_USE;

/* Tables of what the steps so far cost, by phase, where plans measure (LETHE_PROFILE=1; see
 * tensor/plan.h). */
void runner_profile(const struct runner *runner, FILE *out);

#endif
