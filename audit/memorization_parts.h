/* One audit while it runs: shared by the files that search, that decide, and that write. */
#ifndef AUDIT_MEMORIZATION_PARTS_H
#define AUDIT_MEMORIZATION_PARTS_H

#include "audit/calibrate.h"
#include "audit/companions.h"
#include "audit/duplicates.h"
#include "audit/exact.h"
#include "audit/liken.h"
#include "audit/matcher.h"
#include "audit/memorization.h"
#include "audit/passes.h"
#include "audit/sets.h"

/* Where a control comes from. */
enum control_source { SOURCE_HOLDOUT, SOURCE_OTHERS, SOURCE_MATCHED, SOURCE_COUNT };
extern const char *const control_source_names[SOURCE_COUNT]; /* keys of the document */
/* The same images as they were given. */
static inline int unchanged_source(int source)
{
    return source == SOURCE_MATCHED ? SOURCE_HOLDOUT : source;
}

/* Searches for changed copies. */
enum { MATCH_DISGUISE, MATCH_TILE, MATCH_LESION, MATCHER_COUNT };
/* Matches are of pieces: struct tile_match. */
static inline bool finds_pieces(int matcher)
{
    return matcher == MATCH_TILE || matcher == MATCH_LESION;
}
extern const struct matcher *const matchers[MATCHER_COUNT];
/* Names of the statistics: correlation, local ratio; NULL: that value is not calibrated. */
extern const char *const matcher_statistics[MATCHER_COUNT][2];

/* The values of real images that count as strangers. */
struct control_values {
    bool present;
    struct near near;                     /* in the training set */
    size_t count;                         /* images asked, in the order of `near` */
    size_t subjects;                      /* whose images these are */
    size_t constant;                      /* left out: without variance */
    size_t identical;                     /* left out: a correlation of exactly 1, so no stranger */
    bool near_copies_sought;              /* that takes local ratios, or the search for disguises */
    size_t near_copy_count, *near_copies; /* of the control that is used: their places, ascending */
    double *correlation;                  /* count; NAN: left out */
    double *ratio;                        /* count; NAN: left out; NULL without local ratio */
    double *channel[CHANNELS_MAX];        /* per channel, where asked for */
    struct matched matched[MATCHER_COUNT]; /* NAN: left out */
};

/* The holdout, made as smooth as the synthetic set, where that is the control. */
struct matching {
    struct likening change;
    struct likened_set set;
    struct look *looks;
};

struct audit_run {
    const struct audit_job *job;
    const struct audit_settings *settings;
    const struct filter_methods *device; /* of the certified engine; NULL: the processor */
    const struct maxima_methods *maxima; /* of the searches for changed copies, likewise */
    int faiss_gpu;                       /* as in search_settings */
    const char *device_name;             /* "cpu", "cuda" */
    struct sets sets;
    struct passes passes;
    struct database database[SET_COUNT];
    struct look *looks[SET_COUNT];
    size_t k, local; /* neighbours of each synthetic image; strangers in the local ratio, 0: none */

    struct near synthetic;
    double *correlation, *ratio; /* of synthetic images; NAN: without variance */
    double *channel[CHANNELS_MAX];
    struct matched matched[MATCHER_COUNT];
    struct control_values control[SOURCE_COUNT];
    struct matching matching;
    uint32_t *asked;    /* training images whose nearest of other subjects is known */
    size_t asked_count; /* … and how many these are */
    double *reach;      /* of training images: distance to it; NAN where it is not known */
    int used;           /* the control that sets thresholds; SOURCE_COUNT: none */

    struct search_result within, train_in_synthetic, holdout_in_synthetic, in_holdout;
    size_t within_k;

    struct calibration calibration;
    int *found_by;    /* by synthetic image: the matcher that flagged it alone; −1: none */
    uint64_t *source; /* the training image that it is nearest to, by what flagged it */
    struct duplicates duplicates[SET_COUNT];
    bool *identical; /* by synthetic image: it is a real image, or correlates exactly 1 with one
                      * that was trained on */
    size_t *twin, *held_out_twin; /* by synthetic image: the training image, the held-out image that
                                   * it is, pixel by pixel; or NO_TWIN. No holdout: NULL */
    bool *held_out_alone;   /* by synthetic image: it is flagged for its held-out twin alone */
    size_t copies;          /* synthetic images that are, pixel by pixel, training images */
    size_t held_out_copies; /* … held-out images */
    struct json *document;
    struct text warnings, summary;
    struct arena arena;
};

static inline const struct image_set *images_of(const struct audit_run *run, enum set_role role)
{
    return &run->sets.of[role].images;
}

/* memorization_search.c: every search, resumed where it was. */
bool audit_search(struct audit_run *run, struct error *err) MUST_USE;
/* The images of a control that is present, in the order of its values. */
struct image_set audit_control_images(struct audit_run *run, int source);
/* The look of one of them, by its place in that order. */
static inline const struct look *control_look(const struct audit_run *run, int source, size_t place)
{
    return source == SOURCE_OTHERS    ? &run->looks[SET_TRAIN][run->asked[place]]
           : source == SOURCE_MATCHED ? &run->matching.looks[place]
                                      : &run->looks[SET_HOLDOUT][place];
}

/* memorization_flags.c: what the control allows, and what is flagged. */
void audit_flag(struct audit_run *run);
/* A control image is a near-copy of a training image when, as it is or in disguise, its correlation
 * reaches the limit for duplicates and its local ratio is at most this: half as far as strangers.
 */
#define NEAR_COPY_RATIO 0.5
static inline bool leaves_near_copies_out(const struct audit_run *run)
{
    return run->settings->control_near_copies == NEAR_COPIES_LEAVE_OUT;
}

/* pairs.c: nearest.csv, and the worst pairs as strips below `folder`/pairs. */
bool audit_write_nearest(const struct audit_run *run, const char *path, struct error *err) MUST_USE;
struct pair {
    uint64_t synthetic; /* index in the set */
    const char *png;    /* below the audit's folder */
};
/* The worst pairs: flagged ones first, then by correlation. Returns how many; in the arena. */
size_t audit_worst_pairs(struct audit_run *run, struct pair **pairs);
bool audit_draw_pairs(struct audit_run *run, const struct pair *pairs, size_t count,
                      const char *folder, struct error *err) MUST_USE;

/* document.c: memorization.json, the summary and the warnings. */
void audit_describe(struct audit_run *run, const struct pair *pairs, size_t count);

#endif
