/* Local copies: a piece of a training image, such as its tumour, within another head.
 *
 *     struct tile_search *search = tile_open(&synthetic, &training, &settings, err);
 *     tile_run(search, 0, synthetic.count, matches, err);
 *     … matches[i].local_ratio, .correlation, .id, .query, .training …
 *
 * All on a grid of at most 128 cells a side. Tiles of 16 × 16 cells stand about spots: places where
 * the mean of 5 × 5 cells differs more from that of 11 × 11 than anywhere within two cells. What
 * makes a spot lies within the piece, so it is one wherever the piece was pasted, and the tiles of
 * piece and original lie alike. A piece that identifies a patient is one that sets him apart from
 * the others: so of each image those 48 tiles are taken that differ most from the training images'
 * mean at their place, in units of the training images' standard deviation there. Tiles nearly
 * without variance, or with mostly background, are not taken. Then, for each tile of a synthetic
 * image and of its mirror image:
 *
 *     1. it is compared with every tile of every training image that lies within 16 cells of its
 *        place: correlation of 8 × 8 means, in all channels;
 *     2. the 16 tiles whose best match stands out most, alone or with another tile that was moved
 *        alike, are looked at closely: this match and those of the next STRANGERS subjects are
 *        aligned (shift, turn, scale, gamma, blur) and compared, as they are and smoothed, also
 *        with a rim of four cells.
 *
 * A tile's ratio is the distance to the best match over the mean distance to the next subjects'
 * best. A piece holds several spots, chance does not: `local_ratio` is the smallest, over tiles, of
 * √(r₁ r₂), r₂ the ratio of another tile whose match is of the same subject and was moved alike (1
 * where there is none); `correlation`, `id` and places are those of r₁. Both are to be calibrated
 * by a control that goes through the same search, maximum over tiles included.
 *
 * Guaranteed: step 1 compares all pairs of tiles that were taken. Not guaranteed: that a piece that
 * was copied is among the tiles taken; a piece that is like everybody's is not, and tells nothing
 * of anybody. `./dev bench audit-power` measures how many pasted tumours are found.
 */
#ifndef AUDIT_TILE_H
#define AUDIT_TILE_H

#include "audit/search.h"

struct maxima_methods; /* tensor/maxima.h */

struct tile_settings {
    uint64_t channels;    /* as in search_settings */
    bool other_groups;    /* only training images of another group than the query's */
    const uint8_t *masks; /* labels of the training images (height, width), stored as these are,
                           * (count,) or by rows: where not all 0,
                             a tile around their middle is taken as well; NULL: there are none */
    const struct maxima_methods *device; /* tensor/maxima.h; NULL: the processor. Results are the
                                          * same */
    size_t device_memory;                /* bytes of it at most; 0: as much as is free */
};

/* A square of an image, in pixels. */
struct tile_place {
    double y, x; /* of its upper left corner */
    double side;
};

struct tile_match {
    double correlation, local_ratio;
    uint64_t id;   /* the training image */
    bool mirrored; /* the synthetic image was, left to right, before it was compared */
    struct tile_place query, training; /* query: in the image as it is stored */
};

struct tile_search; /* opaque */

/* Refused as by search_open. Memory: at most 12.5 KiB a training image and channel,
 * and 7 KiB an image for bounds. */
struct tile_search *tile_open(const struct image_set *queries, const struct image_set *database,
                              const struct tile_settings *settings, struct error *err) MUST_USE;
void tile_close(struct tile_search *search);

/* Other queries for the same training images, e.g. the control's. */
bool tile_ask(struct tile_search *search, const struct image_set *queries, bool other_groups,
              struct error *err) MUST_USE;

/* Queries [first, first + count) into match[0 … count). An image of which no tile can be taken
 * matches nothing: correlation 0, local ratio 1, image 0. Does not depend on how queries are cut
 * into runs. */
bool tile_run(struct tile_search *search, size_t first, size_t count, struct tile_match *match,
              struct error *err) MUST_USE;

#endif
