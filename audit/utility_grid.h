/* The grid of trials in memory: utility_stores.c opens what it is of, utility.c makes and runs it,
 * trial by trial in utility_trial.c, utility_result.c sums up, and utility_panel.c draws. Internal
 * to the utility audit. */
#ifndef AUDIT_UTILITY_GRID_H
#define AUDIT_UTILITY_GRID_H

#include "audit/statistics.h"
#include "audit/utility.h"

enum source_kind {
    SOURCE_REAL,
    SOURCE_SYNTHETIC,
    SOURCE_BOTH,
    SOURCE_SHUFFLED,
    SOURCE_UNTRAINED,
    SOURCE_FRACTION, /* the last: it has no word, but a number */
};

/* Whether a source needs no synthetic store. */
static inline bool source_is_alone(enum source_kind kind)
{
    return kind == SOURCE_REAL || kind == SOURCE_SHUFFLED || kind == SOURCE_UNTRAINED;
}

struct source {
    const char *name; /* "real", "synthetic", "synthetic-NAME+real", "synthetic+0.25real", … */
    enum source_kind kind;
    size_t store; /* of the synthetic ones */
    double fraction;
    size_t *rows, row_count; /* of the real store */
};

/* A scan of a subject that was held out: its slices, and their place in its volume. */
struct patient {
    const char *subject, *scan; /* scan: its first file */
    size_t *rows, slices;       /* of the store `held` */
    int64_t first, depth;       /* the planes from the first slice to the last */
    double spacing[3];          /* mm along columns, rows, planes */
    bool assumed;               /* the store tells no spacing: 1 mm */
};

enum augmentation { AUGMENT_NONE, AUGMENT_USUAL, AUGMENT_COUNT };
extern const char *const augmentation_names[AUGMENT_COUNT + 1];

struct trial {
    const char *name, *folder;
    const char *taken;  /* the lock of who works on it; hidden, so that it is no output */
    const char *inputs; /* a digest of all that decides about it */
    const struct source *source;
    int model;
    enum augmentation augmentation;
    int64_t seed;
    bool done;
    struct overlap *rows; /* patients × classes */
    size_t images;        /* that its source holds */
    char weights[DIGEST_HEX];
    char device[16]; /* that it was computed on */
};

struct grid {
    const struct utility_job *job;
    struct dataset real, synthetic[UTILITY_STORES];
    struct dataset holdout;     /* where the job names one … */
    const struct dataset *held; /* … it is what is tested on; else `real` */
    struct classes classes;
    struct label_set *sets; /* classes without the background, then regions */
    size_t set_count, region_count;
    struct source *sources;
    size_t source_count;
    struct patient *patients;
    size_t patient_count, holdout_images;
    size_t *train_rows, train_count, train_subjects;
    struct trial *trials; /* source by source, model, augmentation, seed */
    size_t trial_count;
    struct arena arena;
};

/* Opens and checks the stores of the job; finds patients and classes. */
bool grid_open(struct grid *grid, struct error *err) MUST_USE;
void grid_close(struct grid *grid);

/* The sets that a trial learns from. */
size_t trial_sets(const struct grid *grid, const struct trial *trial, struct example_set sets[2]);
/* The digest of all that decides about its outcome. */
const char *trial_inputs(struct grid *grid, const struct trial *trial);
/* Whether its folder holds this very trial, done; then its scores are read. */
bool trial_load(struct grid *grid, struct trial *trial);
/* Takes it over from a lender that did it. Where none did, nothing happens. */
bool trial_borrow(struct grid *grid, struct trial *trial, struct error *err) MUST_USE;
/* Trains its network, for `limit` minutes at most unless that is 0. */
bool trial_train(struct grid *grid, const struct trial *trial, double limit, bool *stopped,
                 struct error *err) MUST_USE;
/* Measures the trained network, draws its panel, and saves its scores: then it is done. */
bool trial_finish(struct grid *grid, struct trial *trial, struct error *err) MUST_USE;

/* utility.json; utility.csv. */
struct json *grid_document(const struct grid *grid, struct error *err) MUST_USE;
bool grid_save_csv(const struct grid *grid, const char *path, struct error *err) MUST_USE;

/* Image | truth | prediction for slices of the holdout that show most, as a PNG. `labels` holds the
 * predictions of all slices, patient by patient. */
bool panel_write(const struct grid *grid, const uint8_t *labels, size_t rows, const char *path,
                 struct error *err) MUST_USE;

#endif
