/* Weights from elsewhere: the tensors of an official implementation, as safetensors, made a
 * checkpoint that `lethe sample` takes.
 *
 *     struct import_job job = { "G_ema.safetensors", "imported", &settings, 256, "r,g,b" };
 *     struct import_report report = { 0 };
 *     if (!import_weights(&job, &report, err)) … report.differences …
 *     import_report_release(&report);
 *
 * Names and layouts are already those of the official code, so this is a comparison and a prefix:
 * every tensor that the settings ask for must be in the file, with its shape; every tensor of the
 * file must be one of these, or a buffer that is known to be of no use here: StyleGAN 2's
 * resampling filters, which must then hold [1,3,3,1], and its constant noise, as StyleGAN's; this
 * one's and ProGAN's layers that made smaller images; StyleGAN 3's filters, which must be ours, and
 * the user's transformation, which must be none. All differences are listed, not the first, and
 * nothing is written when there is one.
 */
#ifndef TRAIN_IMPORT_H
#define TRAIN_IMPORT_H

#include "train/settings.h"

struct import_job {
    const char *weights; /* a safetensors file: G_ema's state, or a U-Net's averaged one */
    const char *out;     /* a folder as training makes it; must not exist */
    const struct train_settings *settings;
    int size;
    const char *channels; /* names, joined by commas; a last one "seg" is the mask */
};

struct import_report {
    size_t taken, passed_over;
    struct text differences; /* a line each */
};

bool import_weights(const struct import_job *job, struct import_report *report,
                    struct error *err) MUST_USE;
void import_report_release(struct import_report *report);

#endif
