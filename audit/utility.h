/* Utility: how well segmenters that learnt from synthetic images do on real patients.
 *
 *     struct utility_job job = { .dataset = "run/dataset", .out = "run/utility",
 *                                .synthetic = { { "", "run/synthetic" } }, .synthetic_count = 1,
 *                                .settings = &settings };
 *     struct utility_report report;
 *     ok = utility(&job, &report, err);
 *     utility_report_release(&report);
 *
 * A grid of trials: each source of training images × model × augmentation × seed. A trial trains a
 * segmenter (train/segment.h), has it label every slice of the subjects that were held out, and
 * measures each subject's volume (overlap.h). Sources:
 *
 *     real                  the images of the split train
 *     synthetic             those of a synthetic store, alone; one source a store
 *     both                  both, one source a store
 *     a fraction, as 0.25   that share of the real subjects, and all synthetic images; nested
 *     shuffled              real images under masks of others: the control that the measure can
 *                           fail; near zero
 *     untrained             the network as it begins, random weights: the floor
 *
 * Folder:  utility.json (schema lethe/utility/2), utility.csv, panels/TRIAL.png,
 *          trials/TRIAL/ (checkpoints, metrics.jsonl, scores.npy, and last trial.json)
 *
 * Trials are resumable jobs: one that is done, from the same inputs, is not done again; one that
 * was killed goes on from its checkpoint; one that another process is working on is left to it, so
 * several processes may share a folder. The tables are written when all trials are done.
 */
#ifndef AUDIT_UTILITY_H
#define AUDIT_UTILITY_H

#include "audit/overlap.h"
#include "audit/score.h"
#include "base/lock.h"
#include "train/segment.h"

#define UTILITY_SCHEMA "lethe/utility/2"

/* With fewer subjects the percentile bootstrap's 95 % intervals are clearly too narrow: that of a
 * mean covers it in 50 % of the cases with two, 83 % with five, 91 % with ten, 93 % with twenty. */
enum { UTILITY_SUBJECTS_FEW = 20 };

enum { UTILITY_STORES = 16 };

/* The plan's section `utility`, and the command line. */
struct utility_settings {
    struct yaml_strings models, sources, augmentation;
    const char *device;  /* as device_backend takes it (tensor/device.h) */
    int64_t seeds, seed; /* how many, 0: 3; from which on, -1: the plan's, else 1 */
    int64_t bootstrap, panels;
    double time_limit; /* minutes; 0: none */
    struct segment_settings training;
};
extern const struct utility_settings utility_defaults;
extern const struct yaml_field utility_fields[];

/* Whether the lists of the settings can be read. */
bool utility_settings_check(const struct utility_settings *settings, struct error *err) MUST_USE;

struct utility_store {
    const char *name; /* "" for the only one */
    const char *path;
};

struct utility_job {
    const char *dataset; /* a real store with masks; its split train is learnt from */
    const char *holdout; /* what is tested on: a real store's split holdout, or, where it was not
                            split, all of it; NULL: that split of `dataset` */
    struct utility_store synthetic[UTILITY_STORES];
    size_t synthetic_count;
    const char *out;
    size_t candidates; /* as of audit_job (memorization.h) */
    /* Folders of finished audits of other sets: a trial that one of them did from the very same
     * inputs, as on the real images alone, is copied from there instead of trained again. */
    const char *lenders[UTILITY_STORES];
    size_t lender_count;
    bool lent_only;        /* trials that a lender could do are left to it */
    const char *command;   /* whose work it is, for who waits for it; NULL: lethe utility */
    lock_waiting *waiting; /* where set, trials that others work on are waited for, and who waits is
                              told once; else they are left to them */
    const struct utility_settings *settings;
};

struct utility_report {
    bool complete;         /* else: stopped, or other processes still work on some */
    size_t trials, done;   /* done: by now, by whomever */
    struct json *document; /* of utility.json, when complete */
};

/* Refuses what `utility` would refuse before it writes anything. */
bool utility_check(const struct utility_job *job, struct error *err) MUST_USE;

bool utility(const struct utility_job *job, struct utility_report *report,
             struct error *err) MUST_USE;

/* Works on one trial that nobody works on; *worked tells whether there was any. The tables are
 * another's. */
bool utility_assist(const struct utility_job *job, bool *worked, struct error *err) MUST_USE;
void utility_report_release(struct utility_report *report);

#endif
