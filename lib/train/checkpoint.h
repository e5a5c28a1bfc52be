/* Checkpoints: everything that a run needs to go on, in one safetensors file.
 *
 *     FOLDER/step-000012000.safetensors     every tensor of the engine's store: weights, running
 *                                           averages, moments, other state; and as metadata the
 *                                           record below
 *
 *     FOLDER/best.safetensors               the one of the least validation loss, where that is
 *                                           measured: the same file under a second name, kept
 *                                           whatever becomes of the first
 *
 * A file appears complete or not at all, and is never changed afterwards; the latest ones are kept.
 * Loading is strict: no tensor missing, none left over, types and shapes equal.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "base/arena.h"
#include "tensor/store.h"

#define CHECKPOINT_SCHEMA "lethe/checkpoint/1"

/* Tensors whose names begin so matter within a step only: they are not stored, and zero after
 * loading. */
#define CHECKPOINT_PASSING "accumulated."
bool checkpoint_passes_over(const struct tensor *tensor);

/* The dataset of weights that were imported. */
#define CHECKPOINT_IMPORTED "imported"

/* What stands beside the tensors. */
struct checkpoint_record {
    uint64_t step, images; /* done so far */
    const char *settings;  /* YAML, see settings.h */
    const char *dataset;   /* its digest */
    const char *channels;  /* names, joined by commas; the mask's too */
    bool masks;            /* the last channel is the mask */
    size_t channel_count, size;
    double validation;  /* the validation loss; NaN: not measured */
    uint64_t reference; /* the number of a reference (reference.h) … */
    const char *half;   /* … and whom it learnt from; 0 and NULL: it is none */
    const char *losses; /* sums since the last line of metrics, the loop's; NULL: there are none */
    const uint64_t *kept; /* steps whose checkpoints stay, however old; not stored */
    size_t kept_count;
};

/* The names of channels as a record has them, joined by commas; and the names of a record, by
 * channel. */
struct text;
void checkpoint_channels(const char *const *names, size_t count, struct text *out);
const char **checkpoint_channel_names(const struct checkpoint_record *record, struct arena *arena);

/* Writes a checkpoint, then removes all but the latest `keep` and those to be kept. Refused where a
 * tensor holds a value that is not finite: the checkpoints before it are left as they are. */
bool checkpoint_save(const char *folder, const struct store *store,
                     const struct checkpoint_record *record, int64_t keep,
                     struct error *err) MUST_USE;

/* Makes the latest checkpoint the best one if its validation loss is less than that of the best so
 * far. A run that goes on calls it too: it may have been killed in between. */
bool checkpoint_update_best(const char *folder, struct error *err) MUST_USE;

/* The path of the best checkpoint of a folder; NULL where there is none. */
const char *checkpoint_best(const char *folder, struct arena *arena);

/* The path of the latest checkpoint of a folder; NULL where there is none, or no folder. */
bool checkpoint_latest(const char *folder, struct arena *arena, const char **path,
                       struct error *err) MUST_USE;

/* The path of the checkpoint after a step. Fails where it was never reached, or is gone. */
bool checkpoint_after(const char *folder, uint64_t step, struct arena *arena, const char **path,
                      struct error *err) MUST_USE;

/* The record of a checkpoint; strings belong to the arena. */
bool checkpoint_read(const char *path, struct checkpoint_record *record, struct arena *arena,
                     struct error *err) MUST_USE;

/* Gives every tensor of the store its value. */
bool checkpoint_load(const char *path, struct store *store, struct error *err) MUST_USE;

/* Gives every tensor of the store the value that `name_of` names in the file; tensors of the file
 * that are not asked for are left alone. The digest is SHA-256 over the names and the
 * values that were taken. For sampling, where weights are the running averages. */
struct digest;
bool checkpoint_load_some(const char *path, struct store *store,
                          const char *(*name_of)(const void *context, const char *tensor,
                                                 struct arena *arena),
                          const void *context, struct digest *digest, struct error *err) MUST_USE;

#endif
