/* Batches that were drawn already: what makes sampling go on after kill -9.
 *
 *     struct drawn drawn;
 *     drawn_open(&drawn, "run/synthetic", key, bytes, err);        // run/synthetic.drawn
 *     if (!drawn_read(&drawn, 3, batch)) { … draw …; drawn_write(&drawn, 3, batch, err); }
 *     drawn_remove(&drawn, err);                                   // once the store is in place
 *
 * Each batch is a file that appears whole or not at all. A folder that was drawn under another key
 * (other weights, seed, …) is emptied first. It takes the room of the set a second time.
 */
#ifndef TRAIN_DRAWN_H
#define TRAIN_DRAWN_H

#include "base/file.h"

struct drawn {
    const char *folder;
    size_t bytes; /* of a batch */
    struct arena arena;
};

/* Where the batches of a store stand. */
const char *drawn_folder(struct arena *arena, const char *out);

bool drawn_open(struct drawn *drawn, const char *out, const char *key, size_t bytes,
                struct error *err) MUST_USE;
void drawn_close(struct drawn *drawn); /* leaves the files */

/* False where it is to be drawn. */
bool drawn_read(const struct drawn *drawn, uint64_t batch, unsigned char *bytes);
bool drawn_write(const struct drawn *drawn, uint64_t batch, const unsigned char *bytes,
                 struct error *err) MUST_USE;
bool drawn_remove(struct drawn *drawn, struct error *err) MUST_USE;

#endif
