/* Batches that were drawn already: what makes sampling go on after kill -9, and lets several
 * processes draw one set.
 *
 *     struct drawn drawn;
 *     drawn_open(&drawn, "run/synthetic", key, bytes, err);        // run/synthetic.drawn
 *     if (drawn_take(&drawn, 3, "lethe sample", &lock, err) == LOCK_TAKEN) {
 *         if (!drawn_has(&drawn, 3)) { … draw …; drawn_write(&drawn, 3, batch, err); }
 *         lock_remove(&lock);
 *     }
 *     drawn_read(&drawn, 3, batch);
 *     drawn_remove(&drawn, err);                                   // once the store is in place
 *
 * Each batch is a file that appears whole or not at all. Its name holds a digest of the key
 * (weights, seed, …): a process that is still drawing what is no longer wanted adds files that
 * nobody reads. One process alone opens and removes the folder, under the lock of the store that it
 * writes; others join it. It takes the room of the set a second time.
 */
#ifndef TRAIN_DRAWN_H
#define TRAIN_DRAWN_H

#include "base/file.h"
#include "base/lock.h"

enum { DRAWN_KEY = 16 };

struct drawn {
    const char *folder;
    char key[DRAWN_KEY + 1]; /* the digest's beginning */
    size_t bytes;            /* of a batch */
    struct arena arena;
};

/* Where the batches of a store stand. */
const char *drawn_folder(struct arena *arena, const char *out);

/* Begins a drawing, or goes on with it; what was drawn under another key is removed first. */
bool drawn_open(struct drawn *drawn, const char *out, const char *key, size_t bytes,
                struct error *err) MUST_USE;
/* One that another process has begun: false where it has not, or under another key. */
bool drawn_join(struct drawn *drawn, const char *out, const char *key, size_t bytes) MUST_USE;
void drawn_close(struct drawn *drawn); /* leaves the files */

/* Whether a drawing is going on there that lacks one of the batches [first, end), and nobody works
 * on it; for who would have to load a generator before joining. */
bool drawn_lacks_some(const char *out, uint64_t first, uint64_t end);

bool drawn_has(const struct drawn *drawn, uint64_t batch);
/* The lock is to be removed when the batch is there, or released when it is not. */
enum lock_outcome drawn_take(const struct drawn *drawn, uint64_t batch, const char *command,
                             struct lock *lock, struct error *err) MUST_USE;
/* Who works on it, in words. */
const char *drawn_holder(const struct drawn *drawn, uint64_t batch, struct arena *arena);
/* False where it is not there as it should be. */
bool drawn_read(const struct drawn *drawn, uint64_t batch, unsigned char *bytes);
bool drawn_write(const struct drawn *drawn, uint64_t batch, const unsigned char *bytes,
                 struct error *err) MUST_USE;
/* Whether the folder is still there: the drawing may have ended meanwhile, or begun anew. */
bool drawn_is_wanted(const struct drawn *drawn);
bool drawn_remove(struct drawn *drawn, struct error *err) MUST_USE;

#endif
