/* The payload: a synthetic store's images as files that others can read.
 *
 *     nifti   data/sub-synth00000017/anat/sub-synth00000017_T1w.nii.gz, a volume of one slice a
 *             channel; labels beside them as …_dseg.nii.gz (BIDS)
 *     png     data/sourcedata/png/000/synth00000017_t1.png; grey, 16 bit where the data are;
 *             labels as …_seg.png
 *     npy     data/sourcedata/npy/synth-images-00000.npy (N,C,H,W) and synth-labels-00000.npy
 *             (N,H,W), shards of 256 images, and synth-index.csv
 *
 * The number is the image's index in the store, so that what an audit says of an image can be held
 * against it; where images were left out, numbers are missing. Every file that can hold a marker
 * says that it is synthetic (lint.h), and every name does.
 */
#ifndef RELEASE_PAYLOAD_H
#define RELEASE_PAYLOAD_H

#include "data/dataset.h"
#include "release/tree.h"

enum payload_format { PAYLOAD_NIFTI, PAYLOAD_PNG, PAYLOAD_NPY, PAYLOAD_COUNT };
extern const char *const payload_format_names[PAYLOAD_COUNT + 1];

struct payload_settings {
    enum payload_format format;
    double spacing;   /* mm between pixels */
    double thickness; /* mm between slices, for the header of a volume of one slice */
};

/* The images to be packed: indices in the store, ascending. */
struct payload {
    const struct dataset *store;
    const size_t *images;
    size_t count;
};

/* Writes all files of the payload into the tree, in parallel; findings of the lint in order. */
bool payload_write(const struct payload *payload, const struct payload_settings *settings,
                   struct tree *tree, struct error *err) MUST_USE;

/* How a channel is called in file names of the NIfTI payload: BIDS' entities and suffix where it
 * has them ("T1w", "ce-gadolinium_T1w"), else the name's letters and digits. */
const char *payload_suffix(const char *channel, struct arena *arena);

#endif
