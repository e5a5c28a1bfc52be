/* What any training does around its steps: a folder that one run at a time writes to, checkpoints
 * that it goes on from, lines of metrics, progress, signals, a time limit.
 *
 *     struct session session = { .out = "run", .store = store, .steps = 1000, … };
 *     if (!session_run(&session, &report, err)) …
 *
 * It writes into the folder what loop.h describes: checkpoints/, metrics.jsonl, lock. The store
 * holds everything that outlives a step, so a run that was stopped goes on as if it had not been.
 */
#ifndef TRAIN_SESSION_H
#define TRAIN_SESSION_H

#include "train/checkpoint.h"
#include "train/loop.h"

enum { SESSION_TERMS = 8 };

struct session {
    const char *out;  /* the folder; made where it is missing */
    const char *what; /* beside the bar of progress */
    struct store *store;
    uint64_t steps, batch; /* in all; images a step */
    int64_t checkpoint, keep, log;
    double time_limit; /* minutes; 0: none */
    /* What a checkpoint tells. Its settings and its dataset must be those of the run that goes on;
     * step and images are filled in. */
    struct checkpoint_record record;
    const char *terms[SESSION_TERMS]; /* names; NULL ends them */

    void *context;
    bool (*begin)(void *context, struct error *err); /* gives all tensors their first values */
    /* Takes a step; `terms` gets the value of each. */
    bool (*step)(void *context, uint64_t step, double *terms, struct error *err);
};

bool session_run(const struct session *session, struct train_report *report,
                 struct error *err) MUST_USE;

#endif
