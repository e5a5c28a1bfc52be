/* Batches read ahead: while a step is computed, a thread reads the next one, so that neither a cold
 * disk nor the work of conversion and augmentation makes the device wait.
 *
 *     struct feed_source source = batches_feed(batches);         // or examples_feed(examples)
 *     struct feed *feed = feed_open(&source, step * batch, batch, err);
 *     for (;;) { const float *images = feed_next(feed); … feed_labels(feed) … }
 *     feed_close(feed);
 *
 * What is read is the same as without: batches are functions of an image's number. Between open and
 * close what is read from belongs to the feed. Where the processor computes the steps, the thread
 * works alone and takes no core from their team; beside a GPU it has them all.
 */
#ifndef TRAIN_FEED_H
#define TRAIN_FEED_H

#include "base/arena.h"

#include <stddef.h>
#include <stdint.h>

struct feed; /* opaque */

struct feed_source {
    void *context;
    /* Reads images first … first + count - 1, and their labels where there are any. */
    void (*read)(void *context, uint64_t first, size_t count, float *images, int32_t *labels);
    size_t values, labels; /* of one image; labels 0: none */
    bool team;             /* reading may take all cores */
};

/* Images first, first + 1, … in batches of `count`. */
struct feed *feed_open(const struct feed_source *source, uint64_t first, size_t count,
                       struct error *err) MUST_USE;
const float *feed_next(struct feed *feed);           /* valid until the next call */
const int32_t *feed_labels(const struct feed *feed); /* of what feed_next gave; NULL: none */
void feed_close(struct feed *feed);                  /* NULL is fine */

/* Seconds that feed_next has waited for the reading so far. */
double feed_waited(const struct feed *feed);

#endif
