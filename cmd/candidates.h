/* The candidates of a plan: generators that are all tried, of which the best that passes is
 * released.
 *
 *     train:
 *       images: 20000
 *       candidates:
 *         - { name: early, images: 5000 }            # this training, after 5,000 images
 *         - { name: end }                            # at its end
 *         - { name: small, settings: small.yaml }    # another: small.yaml says what differs
 *
 * A stage that is of a candidate (train, sample, audit, utility, fidelity, references, membership)
 * is made once for each, with a variant of the plan: the same plan, told which candidate it is
 * about. What is made of a candidate stands in RUN/candidates/NAME; a training of several is
 * made once.
 * Then the stage `choose` judges all of them by the policy (choose.c), and what comes after it is
 * about the one that was chosen. A plan without candidates has one variant: itself.
 */
#ifndef CMD_CANDIDATES_H
#define CMD_CANDIDATES_H

#include "plan.h"

enum { CANDIDATES_MAX = 16 };

struct candidate {
    const char *name;
    const char *folder;          /* of what is made of it */
    int64_t images;              /* trained on by then; 0: the end of its training */
    size_t trainer;              /* place of the first candidate that comes of the same training */
    bool own_training;           /* of settings of its own; else the plan's, in RUN/model */
    struct train_settings train; /* with the candidates of this training alone */
};

/* Takes the rows of plan->train.candidates: checks them, and reads the files of settings. */
bool candidates_load(struct release_plan *plan, struct arena *arena, struct error *err) MUST_USE;

/* The plan told that it is about its i-th candidate. */
struct release_plan candidate_variant(const struct release_plan *plan, size_t i);

/* The plan told which candidate was chosen; itself where there are none, or none was chosen yet. */
struct release_plan plan_of_the_chosen(const struct release_plan *plan, struct arena *arena);

#endif
