/* Whether two sets of images lie the same way round: their mean images are compared as they are,
 * with rows and columns reversed or exchanged, and with greys inverted.
 *
 * Arrays of one program lie (row, column), of another (x, y), and a generator that learned from
 * these writes images that are turned. No search for copies gets over that, so an audit would find
 * nothing, and say so. The mean of a set of scans is a picture of the anatomy, hardly disturbed by
 * what single images show: it tells. */
#ifndef AUDIT_ARRANGEMENT_H
#define AUDIT_ARRANGEMENT_H

#include "audit/search.h"

struct arrangement {
    double as_given;    /* correlation of the two mean images; NAN: one has no variance */
    double best;        /* the same in the arrangement in which they are most alike */
    const char *change; /* what was done to the first set's mean there; NULL: nothing */
    bool notable;       /* that is so much better that they do not lie the same way */
};

/* Of at most 1,000 images of each, spread evenly, and of these channels of both. */
struct arrangement arrangement_of(const struct image_set *set, const struct image_set *reference,
                                  uint64_t channels);

#endif
