/* What measures of likeness are made of: pairs of images, units of resampling, Fréchet's distance
 * and the inception score. See fidelity_measures.h. */
#ifndef AUDIT_FIDELITY_PARTS_H
#define AUDIT_FIDELITY_PARTS_H

#include "audit/fidelity_measures.h"

/* ---- units ----------------------------------------------------------------------------------- */

/* What is drawn anew: people, in units of several where they are more than this (or images, where
 * each is somebody else's), so that a replicate costs no more than a matrix of this size. */
enum { UNITS_MOST = 512 };
struct units {
    size_t images, groups, count;
    uint32_t *group, *unit; /* by image, from 0 */
    double *size;           /* images, by unit */
    uint64_t seed, stream;
};
void units_init(struct units *units, const struct feature_sample *sample, const char *name,
                uint64_t seed);
void units_release(struct units *units);
/* How often each unit stands in a replicate; replicate 0 is the set itself. */
void units_draw(const struct units *units, size_t replicate, double *times);

/* ---- pairs: fidelity_pairs.c ----------------------------------------------------------------- */

/* Sums of the kernel by unit and unit, and of how many pairs each is. */
struct kernel_sums {
    size_t rows, columns; /* units */
    double *sum, *pairs;
};
/* Of each image of one set with each of the other; of a set with itself, without pairs of one
 * person. */
bool kernel_sums_init(struct kernel_sums *sums, const struct feature_sample *a,
                      const struct units *a_units, const struct feature_sample *b,
                      const struct units *b_units, struct error *err) MUST_USE;
void kernel_sums_release(struct kernel_sums *sums);

/* Squares of lengths, and of distances to the n-th nearest image of somebody else: NAN where there
 * are not so many. */
struct surroundings {
    double *square;                    /* count */
    double (*radius)[BALL_NEIGHBOURS]; /* count */
};
void surroundings_init(struct surroundings *around, const struct feature_sample *sample,
                       const struct units *units);
void surroundings_release(struct surroundings *around);

/* For each image of `a`: whether it is within the third radius of any of `b`; of how many within
 * the fifth; and whether any of `b` is within its own fifth radius. */
struct meeting {
    unsigned char inside, reached;
    uint32_t balls;
};
void meetings(const struct feature_sample *a, const struct surroundings *a_around,
              const struct feature_sample *b, const struct surroundings *b_around,
              struct meeting *out);

/* ---- Fréchet's distance: fidelity_frechet.c -------------------------------------------------- */

/* Mean and covariance of a set: rows (rank,width) whose rowsᵀ · rows is the covariance
 * times count − 1. */
struct frechet {
    size_t count, width, rank;
    double *mean, *rows, trace; /* trace: of Σ */
};
bool frechet_init(struct frechet *frechet, const struct feature_sample *sample,
                  struct error *err) MUST_USE;
void frechet_release(struct frechet *frechet);
bool frechet_distance(const struct frechet *a, const struct frechet *b, double *distance,
                      struct error *err) MUST_USE;

/* ---- the inception score: fidelity_classes.c ------------------------------------------------- */

/* What the images of a part of the set, a unit or a split, add up to. */
struct class_sums {
    size_t parts, classes;
    double *images;    /* (parts): how many */
    double *classed;   /* (parts,classes): p of each class */
    double *certainty; /* (parts): Σ p log p over the classes */
};
/* part: of each image. Nothing, of a sample without a classifier. */
bool class_sums_init(struct class_sums *sums, const struct feature_sample *sample,
                     const uint32_t *part, size_t parts, struct error *err) MUST_USE;
void class_sums_release(struct class_sums *sums);
/* Of a set in which each part stands so many times. NAN: of less than two images. */
double class_sums_score(const struct class_sums *sums, const double *times);
/* Of each part alone: the mean and the deviation, NAN where a part is of less than two images. */
void class_sums_across(const struct class_sums *sums, double *mean, double *deviation);

/* The split of each image. */
void draw_splits(uint64_t seed, size_t images, uint32_t *split);

#endif
