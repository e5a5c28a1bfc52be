/* Pasted lesions: a training image's lesion, known by its mask, within another head.
 *
 *     struct lesion_search *search = lesion_open(&synthetic, &training, &settings, err);
 *     lesion_run(search, 0, synthetic.count, matches, err);
 *     … matches[i].local_ratio, .correlation, .id, .query, .training …
 *
 * tile.h looks for pieces without knowing what they are; masks tell where a training image is most
 * its patient's own. So the question is turned round. For each lesion: does this image hold it,
 * more closely than images of other patients do?
 *
 *     1. The largest square of 8, 16, 24 or 32 cells that the lesion all but fills stands for it,
 *        as 8 × 8 means of all channels, and is compared with every such square of the image, as
 *        it is and mirrored, that lies within 16 cells of its place: exhaustive, on a grid of at
 *        most 128 cells a side.
 *     2. The lesions that stand out most are aligned (shift, turn, scale, gamma, blur) and compared
 *        over the lesion's own cells alone: the surroundings are the other head's.
 *
 * A lesion's ratio is its distance to the image over the mean distance to the STRANGERS other
 * patients' images that come nearest to it, among a sample of SAMPLE training images that went
 * through the same steps; `local_ratio` is the smallest over lesions. That a lesion is small or
 * plain enough to be met anywhere is thus told by the training set itself: its strangers are near.
 *
 * Guaranteed: step 1 compares all lesions at all places. Not guaranteed: that a lesion without
 * labels, or of less than LEAST_DIAMETER cells, is found.
 */
#ifndef AUDIT_LESION_H
#define AUDIT_LESION_H

#include "audit/tile.h"

/* In smaller images a square of 8 cells holds so much of a head that all are much alike. */
enum { LESION_LEAST_SIDE = 64 };

struct lesion_settings {
    uint64_t channels;    /* as in search_settings */
    bool other_groups;    /* only training images of another group than the query's */
    const uint8_t *masks; /* labels of the training images (height, width), stored as these are:
                           * (count,), or by rows */
};

struct lesion_search; /* opaque */

/* Refused as by search_open. Memory: 256 bytes a lesion and channel, and 700 more. */
struct lesion_search *lesion_open(const struct image_set *queries, const struct image_set *database,
                                  const struct lesion_settings *settings,
                                  struct error *err) MUST_USE;
void lesion_close(struct lesion_search *search);

/* Other queries for the same training images, e.g. the control's. */
bool lesion_ask(struct lesion_search *search, const struct image_set *queries, bool other_groups,
                struct error *err) MUST_USE;

/* Queries [first, first + count) into match[0 … count). Where nothing can be compared: correlation
 * 0, local ratio 1, image 0. Does not depend on how queries are cut into runs. */
bool lesion_run(struct lesion_search *search, size_t first, size_t count, struct tile_match *match,
                struct error *err) MUST_USE;

#endif
