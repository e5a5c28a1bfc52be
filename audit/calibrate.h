/* Calibration: from "how alike is each image" to "which images are flagged".
 *
 * A statistic is one number for each synthetic image and, computed in exactly the same way, one for
 * each control image: a real image of a subject that the generator never saw. How often chance
 * alone brings an unseen patient so close to the training set, the control tells. Any number of
 * statistics may be used together (correlation, local ratio, the best correlation over a set of
 * transformations, over tiles, …); the false-positive rate that is declared is that of an image
 * being flagged by any of them.
 *
 * The thresholds of all statistics are found together, by **successive elimination** (Wald, An
 * extension of Wilks' method for setting tolerance limits, 1943; Tukey, Statistically equivalent
 * blocks, 1947). The statistics take turns. In its turn a statistic eliminates the one control
 * image, of those that are left, that is most extreme by it; its threshold is then that image's
 * value. After k eliminations among n images everything beyond some threshold is flagged:
 *
 *     an image that is drawn like the control's, independently, is flagged with probability
 *     k / (n + 1) (with ties or limits: at most)
 *
 * Why: let the new image take part. The n + 1 images come in any order with equal probability, so
 * it is among the first k to be eliminated with probability k / (n + 1). Until it is, nothing else
 * changes; so it is eliminated just when, in one of the k turns, it is more extreme than the image
 * that was eliminated there. Of one statistic's turns the last has the least extreme image, and
 * that is the threshold. Nothing is assumed about the statistics' distributions or how they depend
 * on each other, and nothing is given away: images that are extreme by several statistics cost one
 * elimination, not several as with Bonferroni's rule. The true rate, over all images that the
 * source could give, is Beta(k, n + 1 − k), or with ties and limits smaller.
 *
 * "Drawn like the control's, independently" is the catch. Several slices of one patient are not
 * independent: then the rate is a different one, many times as large in bad cases, and `across`,
 * which holds each control subject against thresholds that the others set, estimates it. Training
 * images held against other subjects' are not drawn like new ones: each has one subject fewer to be
 * near to, and two that are near each other are two control images of one chance (the rate is up to
 * 2k / (n + 1), more for few subjects). `exact` says that none of this is so.
 *
 *     struct statistic statistics[] = {
 *         { .name = "local_ratio", .small = true, .synthetic = d, .control = e, .limit = NAN },
 *         { .name = "correlation", .synthetic = r, .control = control_r, .limit = NAN },
 *     };
 *     struct control_set control = { .count = n, .groups = subjects, .exchangeable = true };
 *     calibrate(statistics, 2, images, &control, &settings, &calibration);
 *     … calibration.threshold[0].value, calibration.hit[1][image], calibration.flagged[image] …
 *     calibration_release(&calibration);
 *
 * The rules, in full:
 *  - k = ⌊rate (n + 1)⌋, where n counts the control images that have at least one value. Turns go
 *    round in the order in which the statistics are given: it must not be chosen by what it finds.
 *  - NAN stands for "this image has no such value" (an image without variance, a control image that
 *    is no stranger): a synthetic one is not flagged by it, a control one is never the most extreme
 *    by it. So the rate holds where the synthetic images lack it as often as the control's do. Of
 *    equally extreme control images the first goes.
 *  - An image is flagged by a statistic when its value is strictly beyond the threshold. Where
 * there is an absolute limit, the threshold is the larger of the two (for small statistics the
 *    smaller), which can only lower the rate.
 *  - `supported`: k is at least the number of statistics that have control values, and each had a
 *    turn; `needed` control images make the first so. In a smaller control each statistic has one
 *    turn. A statistic that found no image left takes its most extreme of all as threshold, which
 *    adds 1 / (n + 1) at most. `guaranteed` says what rate that keeps. This flags more by chance
 *    than was asked for, on average: a small control does not hide a copy. A statistic without
 *    control values has its limit alone; without a limit either it flags nothing and its rule is
 *    "none".
 *  - Images that are `certain` are flagged whatever the thresholds are: an absolute limit may let
 *    through what is merely like a training image, never a training image itself. That costs
 *    strangers nothing, for they are never certain.
 *  - `spared` images are not flagged because of an absolute limit alone.
 *  - Counts of flagged images get Clopper–Pearson's interval.
 */
#ifndef AUDIT_CALIBRATE_H
#define AUDIT_CALIBRATE_H

#include "audit/statistics.h"
#include "base/arena.h"

struct statistic {
    const char *name;        /* its key in memorization.json, e.g. "correlation" */
    bool small;              /* small values are suspicious, not large ones */
    const double *synthetic; /* a value an image */
    const double *control;   /* a value a control image */
    double limit;            /* absolute; NAN: none */
};

struct control_set {
    size_t count;           /* control images: values in each statistic */
    const uint32_t *groups; /* whose image each is; NULL: each is a subject of its own */
    bool exchangeable;      /* they went through just what a new image goes through */
    size_t set_aside;       /* images that were taken out of it for what they are like: the rate is
                             * that of images that are not like these */
};

struct calibration_settings {
    double rate;         /* of false positives, over all statistics: 1 − the quantile asked for */
    double confidence;   /* of intervals, e.g. 0.95 */
    const bool *certain; /* by synthetic image: a copy beyond doubt; NULL: none */
};

enum threshold_rule { THRESHOLD_NONE, THRESHOLD_CONTROL, THRESHOLD_LIMIT, THRESHOLD_RULES };
extern const char *const threshold_rule_names[THRESHOLD_RULES];

struct threshold {
    const char *name;
    bool small;
    double value; /* NAN with THRESHOLD_NONE */
    enum threshold_rule rule;
    double limit;            /* as asked for; NAN: none */
    size_t eliminated;       /* control images, in this statistic's turns */
    size_t beyond;           /* control images at the threshold or beyond it, whoever eliminated
                              * them */
    size_t tied;             /* of these: just at the threshold */
    struct quantile control; /* where the threshold stands among the control's values: at the
                              * quantile 1 − beyond / (count + 1). count 0: there was no value */
    size_t flagged;          /* images by this statistic */
};

enum { STATISTICS_MAX = 80 };

/* Each control subject against thresholds from all others. */
struct across_subjects {
    size_t images, flagged;            /* control images, and how many would be flagged */
    size_t subjects, flagged_subjects; /* likewise, with any flagged image */
};

/* The share of flagged images; 0 without any. */
static inline double across_rate(const struct across_subjects *across)
{
    return across->images ? (double)across->flagged / (double)across->images : 0;
}

struct calibration {
    size_t statistics, images;
    struct threshold threshold[STATISTICS_MAX];
    bool *hit[STATISTICS_MAX]; /* by statistic and image */
    bool *flagged;             /* an image by any statistic */
    size_t count;              /* of these */
    size_t certain;            /* of these: flagged whatever the thresholds are */
    size_t spared;             /* not of these, though beyond what the control sets */
    struct interval fraction;  /* exact, of the flagged among the images */
    size_t controls;           /* control images with at least one value: n */
    size_t eliminated;         /* of these: k */
    size_t controlled;         /* statistics that have control values */
    size_t needed;             /* control images that the rate takes, for all of these */
    bool supported;            /* there are as many, and each of these had a turn */
    double declared;           /* the rate of false positives that was asked for */
    double guaranteed;         /* the rate that all thresholds keep together, on average over
                                * controls; NAN: nothing is known of chance */
    double if_strangers;       /* the same, were the images that were set aside strangers after all
                                * (an estimate); without such images the same */
    bool exact;                /* one image a subject, exchangeable, none set aside: what follows is
                                * known */
    struct interval rate;      /* of the true rate of just these thresholds, at the confidence; NAN:
                                * not exact */
    double excess;   /* P(at least `count` flagged) were the synthetic images drawn like the
                      * control's, at most; NAN: not exact */
    double expected; /* flagged images that chance alone brings, on average: by the larger
                      * of if_strangers and what `across` shows; NAN: not known */
    struct across_subjects across;
    struct arena arena;
};

/* `images` synthetic values and control.count control values in each statistic. */
void calibrate(const struct statistic *statistics, size_t count, size_t images,
               const struct control_set *control, const struct calibration_settings *settings,
               struct calibration *calibration);
void calibration_release(struct calibration *calibration);

#endif
