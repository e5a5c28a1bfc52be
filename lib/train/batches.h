/* Batches of real images from a dataset store, as training wants them.
 *
 *     struct batches_options options = { .masks = true, .mirror = true, .seed = 1 };
 *     struct batches *batches = batches_open("run/dataset", &options, err);
 *     batches_read(batches, step * batch, batch, images);          // (batch,C,S,S) in [-1,1]
 *     batches_free(batches);
 *
 * Image k of a run, k = 0, 1, …, is a pure function of the store, the seed and k: epoch k / n shows
 * all n images of the split once, in an order drawn for (seed, epoch); k decides whether it is
 * mirrored. So a run that is resumed at an image goes on as one that was never stopped.
 */
#ifndef TRAIN_BATCHES_H
#define TRAIN_BATCHES_H

#include "base/digest.h"
#include "data/dataset.h"
#include "train/feed.h"

struct batches; /* opaque; it maps the store */

struct batches_options {
    bool masks;  /* the mask, where there is one, as a last channel "seg": label · 51 as grey */
    bool mirror; /* left and right exchanged for half of the images */
    uint64_t seed;
    enum split split;   /* which images; SPLIT_TRAIN is 0 */
    uint64_t reference; /* those of this reference (reference.h) instead; 0: it is none */
};

/* What the images are; strings belong to the batches. */
struct batches_format {
    size_t count, channels, size; /* images of the split; channels with the mask's */
    const char *const *channel_names;
    bool masks;         /* the last channel is the mask */
    const char *digest; /* SHA-256 of images, masks and index, as dataset.json states them */
    const char *half;   /* reference.h; NULL: it is no reference */
};

/* NULL and a message where the store cannot be read, has no image in the split, is not
 * square, or has labels above 5, which no grey stands for. */
struct batches *batches_open(const char *store, const struct batches_options *options,
                             struct error *err) MUST_USE;
void batches_free(struct batches *batches); /* NULL is fine */

const struct batches_format *batches_format(const struct batches *batches);

/* Images first … first + count - 1 of the run, (count,C,S,S): 0 is -1; 255, 65535 or 1.0 is 1. */
void batches_read(struct batches *batches, uint64_t first, size_t count, float *images);

/* The image of the store that is shown as image k, and whether it is mirrored. */
size_t batches_source(struct batches *batches, uint64_t k, bool *mirrored);

/* One image of a store by its row, (C,S,S), as training is shown it: with its mask as the last
 * channel where `masks`. */
void training_image(const struct dataset *store, size_t row, bool masks, bool mirrored, float *out);
/* The digest by which a checkpoint names the store that it was trained on. */
bool training_digest(const struct dataset *store, char hex[DIGEST_HEX], struct error *err) MUST_USE;

/* What a feed reads them ahead from (feed.h). */
struct feed_source batches_feed(struct batches *batches);

#endif
