/* Labelled images for training a segmenter, from one or several dataset stores.
 *
 *     struct example_set sets[] = { { &real, rows, 900 }, { &synthetic, NULL, 5000 } };
 *     struct examples *examples = examples_new(sets, 2, &options, err);
 *     examples_read(examples, step * batch, batch, images, labels);   // (batch,C,H,W), (batch,H,W)
 *     examples_free(examples);
 *
 * Image k of a run, k = 0, 1, …, is a pure function of sets, options and k: epoch k / n shows all n
 * images of the sets once, in an order drawn for (seed, epoch); augmentation draws for (seed, k).
 *
 * Every channel of an image is brought to mean 0 and deviation 1 over the image. Where the network
 * needs a larger size, rows and columns are added below and to the right, as the background that a
 * stored 0 is, labelled 0.
 */
#ifndef TRAIN_EXAMPLES_H
#define TRAIN_EXAMPLES_H

#include "data/dataset.h"
#include "train/augment.h"
#include "train/feed.h"

/* What a network tells apart. Class 0 is the background, label 0. */
enum { CLASSES_MOST = 64 };
struct classes {
    size_t count;                /* with the background */
    uint8_t label[CLASSES_MOST]; /* of each class, ascending */
    uint8_t class_of[256];       /* of each label; 0 for those that are no class */
};
struct classes classes_of(const bool occurs[256]);

struct example_set {
    const struct dataset *store; /* square images, with masks */
    const size_t *rows;          /* the images; NULL: the first `count` */
    size_t count;
};

struct examples_options {
    const struct classes *classes;
    const struct augment *augment; /* NULL: none */
    bool shuffled; /* each image gets the mask of another, mirrored and moved round at random: what
                      can be learnt from such labels is next to nothing */
    uint64_t seed;
    size_t size; /* of what is given, at least that of the stores */
};

/* Whether two stores' images can be mixed: their channels and sizes are the same. */
bool examples_agree(const struct dataset *store, const struct dataset *other,
                    struct error *err) MUST_USE;

struct examples; /* opaque; refers to the stores */

struct examples *examples_new(const struct example_set *sets, size_t count,
                              const struct examples_options *options, struct error *err) MUST_USE;
void examples_free(struct examples *examples); /* NULL is fine */

void examples_read(struct examples *examples, uint64_t first, size_t count, float *images,
                   int32_t *labels);
/* What a feed reads them ahead from (feed.h). */
struct feed_source examples_feed(struct examples *examples);

/* The planes (C,H,W) of one image of a store, its values as 0 … 1. */
void example_planes(const struct dataset *store, size_t row, float *out);
/* Normalised and padded, as a network wants them, from planes (C,height,width) of values, 0 of
 * which is background. */
void example_prepare(const float *planes, size_t channels, size_t height, size_t width,
                     size_t padded_height, size_t padded_width, float *out);

#endif
