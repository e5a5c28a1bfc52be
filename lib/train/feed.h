/* Batches read ahead: while a step is computed, a thread reads the next one, so that neither a cold
 * disk nor the work of conversion makes the device wait.
 *
 *     struct feed *feed = feed_open(batches, step * batch, batch, err);
 *     for (;;) { const float *images = feed_next(feed); … }      // valid until the next call
 *     feed_close(feed);
 *
 * What is read is the same as without: batches are functions of an image's number. Between open and
 * close the batches belong to the feed.
 */
#ifndef TRAIN_FEED_H
#define TRAIN_FEED_H

#include "train/batches.h"

struct feed; /* opaque */

/* Images first, first + 1, … in batches of `count`. */
struct feed *feed_open(struct batches *batches, uint64_t first, size_t count,
                       struct error *err) MUST_USE;
const float *feed_next(struct feed *feed);
void feed_close(struct feed *feed); /* NULL is fine */

/* Seconds that feed_next has waited for the disk so far. */
double feed_waited(const struct feed *feed);

#endif
