/* What is looked at while training goes on: pictures of samples, always of the same latents, and
 * the loss on images that are held out. Both use the running averages, as sampling does.
 *
 *     struct preview *preview = preview_open(store, out, &training.settings, &record, err);
 *     preview_draw(preview, tensors, step, err);        // OUT/samples/step-000012000.png
 *     preview_validate(preview, tensors, &loss, err);
 *     preview_free(preview);
 *
 * Nothing here is read by training, and each picture is a function of the weights at its step: a
 * run that was stopped and goes on writes the same ones again.
 */
#ifndef TRAIN_PREVIEW_H
#define TRAIN_PREVIEW_H

#include "tensor/store.h"
#include "train/checkpoint.h"
#include "train/settings.h"

struct preview; /* opaque */

/* Of the images of the split validation, or where there is none holdout, up to settings.validate
 * are taken, the same ones each time. */
struct preview *preview_open(const char *dataset, const char *out,
                             const struct train_settings *settings,
                             const struct checkpoint_record *record, struct error *err) MUST_USE;
void preview_free(struct preview *preview); /* NULL is fine */

bool preview_draw(struct preview *preview, const struct store *training, uint64_t step,
                  struct error *err) MUST_USE;

/* NaN where the model has no such loss or the store no such images. */
bool preview_validate(struct preview *preview, const struct store *training, uint64_t step,
                      double *loss, struct error *err) MUST_USE;

#endif
