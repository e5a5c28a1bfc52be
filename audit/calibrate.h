/* Calibration: from "how alike is each image" to "which images are flagged".
 *
 * A statistic is one number for each synthetic image and, computed in exactly the same way, one for
 * each control image: a real image of a subject that the generator never saw. How often chance
 * alone brings an unseen patient so close to the training set, the control tells; the threshold is
 * its quantile. Any number of statistics may be used together (correlation, local ratio, the best
 * correlation over a set of transformations, over tiles, …): the declared false-positive rate is
 * shared between them in equal parts, so that an image that copies nothing is flagged by any of
 * them with at most that probability (Bonferroni: nothing is assumed about their dependence).
 * Equal, because a share must not be chosen by what it finds: whatever copies one would tune it by,
 * those of the next generator are others.
 *
 *     struct statistic statistics[] = {
 *         { .name = "correlation", .synthetic = r, .control = control_r, .limit = NAN },
 *         { .name = "local_ratio", .synthetic = d, .control = control_d, .small = true, .limit =
 * NAN },
 *     };
 *     struct calibration calibration;
 *     calibrate(statistics, 2, images, controls, &settings, &calibration);
 *     … calibration.threshold[0].value, calibration.hit[1][image], calibration.flagged[image] …
 *     calibration_release(&calibration);
 *
 * The rules, in full:
 *  - NAN stands for "this image has no such value" (an image without variance, a control image that
 *    is no stranger): a synthetic one is not flagged by it, a control one does not count.
 *  - The threshold is the control's quantile 1 − rate / count (statistics.h, quantile_of: the rank
 *    that keeps the rate exactly for exchangeable values), or the absolute limit where that is the
 *    less strict: the larger of the two (for small statistics, the smaller).
 *  - An image is flagged by a statistic when its value is strictly beyond the threshold.
 *  - A control smaller than `needed` supports only its largest value as threshold: `supported` is
 *    false, and `attained` says what rate that guarantees. This flags more by chance than was asked
 *    for, never less: a small control does not hide a copy. With no control value at all the limit
 *    alone decides; without a limit either, the statistic flags nothing and its rule is "none".
 *  - Counts of flagged images get Clopper–Pearson's 95 % interval.
 */
#ifndef AUDIT_CALIBRATE_H
#define AUDIT_CALIBRATE_H

#include "audit/statistics.h"

struct statistic {
    const char *name;        /* its key in memorization.json, e.g. "correlation" */
    bool small;              /* small values are suspicious, not large ones */
    const double *synthetic; /* a value an image */
    const double *control;   /* a value a control image */
    double limit;            /* absolute; NAN: none */
};

struct calibration_settings {
    double rate;       /* of false positives, over all statistics: 1 − the quantile asked for */
    double confidence; /* of intervals, e.g. 0.95 */
};

enum threshold_rule { THRESHOLD_NONE, THRESHOLD_CONTROL, THRESHOLD_LIMIT, THRESHOLD_RULES };
extern const char *const threshold_rule_names[THRESHOLD_RULES];

struct threshold {
    const char *name;
    bool small;
    double value; /* NAN with THRESHOLD_NONE */
    enum threshold_rule rule;
    double limit;  /* as asked for; NAN: none */
    double rate;   /* its part of the false-positive rate */
    size_t needed; /* control images that this rate takes: the least n with 1/(n+1) ≤ rate
                    */
    struct quantile control; /* of the control, at 1 − rate; count 0: there was no value */
    double attained;         /* the false-positive rate that control.value guarantees */
    size_t flagged;          /* images by this statistic */
};

enum { STATISTICS_MAX = 80 };

struct calibration {
    size_t statistics, images;
    struct threshold threshold[STATISTICS_MAX];
    bool *hit[STATISTICS_MAX]; /* by statistic and image; owned */
    bool *flagged;             /* an image by any statistic; owned */
    size_t count;              /* of these */
    struct interval fraction;  /* exact, of the flagged among the images */
    double declared;           /* the rate of false positives that was asked for */
    double guaranteed;         /* the rate that all thresholds keep together */
    bool supported;            /* every control is as large as its quantile takes */
    double expected;           /* flagged images that chance alone brings: at most so many, given
                                * what the controls guarantee */
    double excess;             /* P(at least `count` flagged) were chance alone at work */
};

/* `images` synthetic values and `controls` control values in each statistic. */
void calibrate(const struct statistic *statistics, size_t count, size_t images, size_t controls,
               const struct calibration_settings *settings, struct calibration *calibration);
void calibration_release(struct calibration *calibration);

#endif
