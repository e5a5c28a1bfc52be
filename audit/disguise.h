/* Copies in disguise: training images that come back mirrored, turned, enlarged, shifted, brighter
 * or darker, with another gamma, blurred or with noise.
 *
 *     struct disguise_search *search = disguise_open(&synthetic, &training, &settings, err);
 *     disguise_run(search, 0, synthetic.count, matches, err);
 *     … matches[i].correlation, .local_ratio, .id, transform_name(&matches[i].transform, name) …
 *
 * For each image, three steps:
 *
 *     1. Trials. The image is put through every row of a declared table of transformations
 *        (disguise_families) and compared with every training image, by the correlation of their
 *        low frequencies. This step leaves nothing out: each training image gets the largest of its
 *        correlations over all trials.
 *     2. Candidates. The best few training images, and the best of each of the best few subjects,
 *        are aligned: shift, turn and scale are improved until they fit (Gauss and Newton's method
 *        on a grid of at most 64 cells a side), then gamma is; then the training image is blurred
 *        for as long as that helps.
 *     3. Values. `correlation` is Pearson's, in double precision, over all stored pixels of the
 *        training image and the transformed synthetic one (both set to the background where the
 *        transformation samples outside the synthetic image). `local_ratio` is the distance to the
 *        nearest over the mean distance to the next STRANGERS subjects, each aligned in the same
 *        way, as seen on the grid and on the smoothed grid, whichever is smaller.
 *
 * Guaranteed: the values are exact for the training image and the transformation that are named
 * beside them, and the trials of step 1 are exhaustive. Not guaranteed: that no other image or
 * transformation gives more: step 2 takes candidates by their low frequencies and climbs to the
 * next summit. `./dev bench audit-power` measures what that misses. A control that goes through the
 * same search calibrates both values, maximum over transformations included.
 */
#ifndef AUDIT_DISGUISE_H
#define AUDIT_DISGUISE_H

#include "audit/exact.h"
#include "audit/search.h"

/* What was done to the synthetic image so that it resembles the training image, in this order. */
struct transform {
    unsigned mirror;         /* MIRROR_X | MIRROR_Y (grid.h) */
    double gamma;            /* of the values between the image's least and largest; 1: none */
    double scale, degrees;   /* about the image's centroid; clockwise on the screen */
    double shift_y, shift_x; /* pixels */
};

enum { TRANSFORM_NAME = 128 };
/* "none", or e.g. "mirrored left-right, turned 3.1°, scaled 1.02, shifted (2.5, -4.0), gamma 1.26".
 * Returns `name`. */
const char *transform_name(const struct transform *transform, char name[TRANSFORM_NAME]);

/* What the transformation makes of an image: `out` holds the values of the channels that `pixels`
 * chooses, plane by plane; the background where it samples outside. For showing what was compared.
 */
void transform_apply(const struct pixels *pixels, size_t height, size_t width, const void *image,
                     const struct transform *transform, float *out);

/* The table of trials, for reports: families of transformations, all combinations within one. */
struct disguise_family {
    const char *name;
    bool centred;     /* both images moved to their centroid, so that any shift is found */
    unsigned mirrors; /* bit m: the mirror m of grid.h, bit 0 none */
    int turns;        /* −turns … turns steps, likewise below */
    double turn_step; /* degrees */
    int scales;
    double scale_step; /* of the logarithm */
    int shifts;        /* along each axis */
    double shift_step; /* of the longer side */
    int gammas;
    double gamma_step; /* of the logarithm */
};
extern const struct disguise_family disguise_families[];
extern const size_t disguise_family_count;
size_t disguise_trials(void); /* over all families */

/* How far an alignment may go on from its trial. */
#define DISGUISE_DEGREES 8.0  /* turned at most so far in all */
#define DISGUISE_SCALE   1.25 /* or its inverse, in all */
#define DISGUISE_DRIFT   0.08 /* moved on by so much of the longer side */
#define DISGUISE_GAMMA   2.0  /* or its inverse */

struct disguise_settings {
    uint64_t channels; /* as in search_settings */
    bool other_groups; /* only training images of another group than the query's */
};

struct disguise_match {
    double correlation, local_ratio;
    uint64_t id; /* the training image */
    struct transform transform;
};

struct disguise_search; /* opaque */

/* Groups are subjects: "next subjects" are next images where there are none. Refused as by
 * search_open. Memory: 512 bytes a training image and channel. */
struct disguise_search *disguise_open(const struct image_set *queries,
                                      const struct image_set *database,
                                      const struct disguise_settings *settings,
                                      struct error *err) MUST_USE;
void disguise_close(struct disguise_search *search);

/* Other queries for the same training images, e.g. the control's. */
bool disguise_ask(struct disguise_search *search, const struct image_set *queries,
                  bool other_groups, struct error *err) MUST_USE;

/* Queries [first, first + count) into match[0 … count). An image without variance matches nothing:
 * correlation 0, local ratio 1, image 0. Does not depend on how queries are cut into runs. */
bool disguise_run(struct disguise_search *search, size_t first, size_t count,
                  struct disguise_match *match, struct error *err) MUST_USE;

#endif
