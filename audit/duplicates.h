/* Images that are the same, or nearly so, within a set and between sets.
 *
 * `looks` are taken once of every image: whether it has any variance, how rough it is, and the
 * SHA-256 of its compared pixels. Equal digests are equal images. Near-duplicates are pairs whose
 * correlation reaches a limit; they come from the nearest-neighbour lists, k an image: when a list
 * is full of near-duplicates there may be more pairs than were counted, and `complete` is false.
 * Images without variance are neither. */
#ifndef AUDIT_DUPLICATES_H
#define AUDIT_DUPLICATES_H

#include "audit/roughness.h"
#include "audit/search.h"
#include "base/digest.h"

struct look {
    struct digest digest;
    bool constant;
    double roughness[SCALE_COUNT]; /* roughness.h; NAN where there is none */
};
/* Owned: free with memory_free. NULL where an image has a pixel that is not finite. Roughness is
 * taken where it is wanted, else NAN. */
struct look *looks_of(const struct image_set *set, uint64_t channels, bool rough,
                      struct error *err) MUST_USE;

/* How many of the images are, pixel by pixel, one of the others'; constant ones are not counted.
 * `twins` gets the first such other of each, NO_TWIN of most. */
#define NO_TWIN SIZE_MAX
size_t images_in(const struct look *images, size_t count, const struct look *others,
                 size_t other_count, size_t *twins);

struct duplicates {
    size_t searched;  /* images whose neighbours were looked at */
    size_t pairs;     /* of near-duplicates */
    size_t images;    /* with at least one */
    size_t groups;    /* of images linked by such pairs */
    size_t largest;   /* images in the largest group */
    bool complete;    /* every pair was counted */
    size_t identical; /* images that equal an earlier one of the set, pixel by pixel */
};

/* `nearest` holds k neighbours of each image of `asked` (count; NULL: all images in order). */
struct duplicates duplicates_of(const struct look *looks, size_t images, const uint32_t *asked,
                                size_t count, const struct neighbour *nearest, size_t k,
                                double limit);

#endif
