/* Measures from the literature, so that an audit can be compared with others.
 *
 * All are made from nearest-neighbour distances (exact.h, distance_of) and say nothing that the
 * calibrated statistics do not say better; docs/audit.md tells what each is good for.
 *
 *   C_T            Meehan, Chaudhuri, Dasgupta 2020: are synthetic images nearer to the training
 * set than held-out ones are? A Mann–Whitney z for each cell of image space, averaged by the cells'
 * share of the holdout. Well below 0: copying. A cell is what lies nearest to one training subject;
 * those with few images are taken together. authenticity   Alaa et al. 2022: the share of synthetic
 * images that are farther from their nearest training image than that image is from the nearest of
 * another subject (with slices, the nearest of any subject is the next slice of the same head). DCR
 * share      the share of synthetic images that are nearer to training than to the holdout;
 *                  `expected` is what sets of these sizes give by chance
 *   NNDR           distance to the nearest over distance to the second nearest
 *   Carlini        Carlini et al. 2023: distance to the nearest below alpha times the mean distance
 *                  to the nearest 50
 *   MIA            an attacker who holds the synthetic set calls a real image a member of training
 *                  when it lies near a synthetic one: area under the ROC curve, and the
 *                  true-positive rate at 1 % and 0.1 % false positives
 *
 * Intervals of C_T and MIA are bootstrapped by subject: whole patients are drawn, never slices.
 */
#ifndef AUDIT_COMPANIONS_H
#define AUDIT_COMPANIONS_H

#include "audit/statistics.h"

/* One set's side of a comparison: a value an image, and whose image it is. */
struct sample {
    const double *values;
    const uint32_t *groups; /* NULL: every image is a group of its own */
    size_t count;
};

struct bootstrap {
    uint64_t seed;
    size_t replicates;
    double confidence; /* of intervals, e.g. 0.95 */
};

struct estimate {
    double value;
    struct interval interval; /* percentile interval of the replicates; NAN where one sample is a
                                 single group */
};

struct copying_test { /* C_T */
    struct estimate value;
    double z;     /* with all images in one cell */
    size_t cells; /* that were compared */
};
/* `cell`s are group numbers of the nearest training image, for each image of the two samples. */
struct copying_test copying_test(const struct sample *synthetic, const uint32_t *synthetic_cell,
                                 const struct sample *holdout, const uint32_t *holdout_cell,
                                 const struct bootstrap *bootstrap);

struct membership_inference {
    struct estimate auc, tpr_1, tpr_01; /* true-positive rates at 1 % and at 0.1 % */
    size_t members, others;
    bool supported_1, supported_01; /* enough non-members to speak of such rates: 100, 1000 */
};
/* The distance of each real image to its nearest synthetic one. */
struct membership_inference membership_inference(const struct sample *members,
                                                 const struct sample *others,
                                                 const struct bootstrap *bootstrap);

/* P(x < y) + P(x = y)/2 of x from the first sample and y from the second (Mann and Whitney 1947).
 */
struct estimate probability_below(const struct sample *first, const struct sample *second,
                                  const struct bootstrap *bootstrap);

/* How likely chance makes that probability at least as large: the share of random exchanges of
 * whole groups, as many on each side as there are, that do (Phipson and Smyth 2010, so never 0).
 * Nothing is assumed of groups but that one could stand for another, and the level holds for few of
 * them, too, where intervals of resamplings are too narrow. NAN where one sample is a single group.
 */
double chance_of_exchange(const struct sample *first, const struct sample *second,
                          const struct bootstrap *bootstrap);

struct share {
    size_t count, of;
    double fraction;          /* of nothing: NAN */
    struct interval interval; /* Clopper–Pearson's */
};
struct share share_of(size_t count, size_t of, double confidence);

/* How many a[i] < b[i]; equal ones count half, rounded down in the count. NAN pairs are left out.
 */
struct share share_below(const double *a, const double *b, size_t count, double confidence);

#endif
