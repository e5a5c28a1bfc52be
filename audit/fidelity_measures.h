/* How alike two sets of images are, by features of theirs.
 *
 *     struct resampling resampling = { .seed = 1, .replicates = 1000 };
 *     struct measured_sample *set = measured_sample_new(&synthetic, "synthetic", &resampling, err),
 *                            *reference = measured_sample_new(&holdout, "holdout", …);
 *     likeness_measure(set, reference, numbers, err);    // numbers (MEASURE_ROWS, 1 + replicates)
 *
 * With x of the set and y of the reference, n and m of them, d features each:
 *
 *   kid        the unbiased estimate of the squared maximum mean discrepancy under the kernel
 *              k(x,y) = (x·y/d + 1)³, over all pairs (Bińkowski et al., ICLR 2018). 0 on average of
 *              sets of one distribution, however few, and so below it at times.
 *   fid        |μx − μy|² + tr Σx + tr Σy − 2 tr (Σx Σy)^½ (Heusel et al., NeurIPS 2017): falls
 *              with the number of images, so only numbers of as many images can be compared
 *   precision  share of the x within the radius of any y, where the radius of an image is its
 *              distance to the third nearest of its own set (Kynkäänniemi et al., NeurIPS 2019)
 *   recall     share of the y within the radius of any x
 *   density    how many y each x is within the radius of, on average, over 5; radii to the fifth
 *              nearest (Naeem et al., ICML 2020)
 *   coverage   share of the y that have an x within that radius
 *   inception  exp of the mean Kullback-Leibler divergence of an image's classes from the set's:
 *   score      p(c|x) the softmax of the logits, p(c) its mean over the set (Salimans et al.,
 *              NeurIPS 2016). Of the set alone: y has no part in it. Grows with the number of
 *              images.
 *
 * People, not slices. Two slices of a patient are alike, whatever the generator does. So images of
 * one patient are no pair (kid) and no neighbours (the four others), and intervals are resampled by
 * patient. Where every image is somebody else's, these are the published definitions.
 *
 * A number that too few images define is NAN: kid takes images of two people in each set, fid two
 * images; precision (density, coverage) for each image of the reference three (five) of other
 * people, recall for each of the set three of others; the inception score two images, and of each
 * split two, and a classifier.
 */
#ifndef AUDIT_FIDELITY_MEASURES_H
#define AUDIT_FIDELITY_MEASURES_H

#include "audit/companions.h"
#include "base/error.h"

#include <stdint.h>

struct feature_sample {
    const float *values;    /* (count, width), finite */
    const uint32_t *groups; /* by image: of whom it is; NULL: each of somebody else */
    size_t count, width;
    const float *classifier; /* (classes,width): logits are products of it and features. NULL: the
                                network knows no classes */
    size_t classes;
};

enum measure {
    MEASURE_KID,
    MEASURE_FID,
    MEASURE_PRECISION,
    MEASURE_RECALL,
    MEASURE_DENSITY,
    MEASURE_COVERAGE,
    MEASURE_INCEPTION_SCORE,
    MEASURE_COUNT
};
extern const struct measure_info {
    const char *name;
    bool resampled;    /* replicates are computed, so there are intervals */
    bool is_share;     /* 0 … 1, of images: … */
    bool of_reference; /* … of the reference's, not of the set's */
    bool of_classes;   /* takes a classifier */
} measure_info[MEASURE_COUNT];

/* As the official code gives the inception score: the mean and the deviation of those of ten splits
 * of the set, here drawn by the seed. Not resampled. */
enum { SPLITS = 10 };
enum { ROW_SPLITS_MEAN = MEASURE_COUNT, ROW_SPLITS_SD, MEASURE_ROWS };

enum { MANIFOLD_NEIGHBOURS = 3, BALL_NEIGHBOURS = 5 }; /* of precision and recall; of the others */

struct resampling {
    uint64_t seed;
    size_t replicates;
};

/* A set with what is computed of it alone: 4 KiB an image, 64 MiB for 2,048 features, and passing
 * tiles. The features are borrowed. Resamplings are a function of the seed, the name and the
 * groups: sets of the same people, under the same name, are drawn alike. */
struct measured_sample;
struct measured_sample *measured_sample_new(const struct feature_sample *sample, const char *name,
                                            const struct resampling *resampling,
                                            struct error *err) MUST_USE;
void measured_sample_free(struct measured_sample *sample); /* NULL is fine */
size_t measured_sample_groups(const struct measured_sample *sample);

/* All measures, of the sets themselves (replicate 0) and of each resampling of both. A measure that
 * is not resampled is NAN in those. */
bool likeness_measure(const struct measured_sample *set, const struct measured_sample *reference,
                      double *numbers, struct error *err) MUST_USE;

/* The number of the sets, and the middle of those of the replicates; numbers (1 + replicates).
 * Replicates that are NAN are left out; of too few the interval's ends are NAN. */
struct estimate replicates_estimate(const double *numbers, size_t replicates, double confidence);

#endif
