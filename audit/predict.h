/* Predictions for people: a folder of scans, labelled by a trained segmenter, as NIfTI masks that
 * lie over the scans in any viewer.
 *
 *     struct predict_job job = { .weights = "run/utility/trials/real_unet_none_1",
 *                                .source = "scans", .out = "out" };
 *     ok = predict_folder(&job, &report, err);
 *
 * Each scan becomes SUBJECT_seg.nii.gz, of the scan's shape, spacing and place, its axes in
 * canonical order (data/volume.h). Planes go the way of ingest: centred in a square canvas,
 * averaged down to the size that the segmenter was trained on; labels come back the same way, by
 * the nearest pixel.
 */
#ifndef AUDIT_PREDICT_H
#define AUDIT_PREDICT_H

#include "data/layout.h"

struct predict_job {
    const char *weights; /* a checkpoint, or a folder of training */
    const char *source, *out;
    enum layout layout;           /* of NIfTI */
    struct yaml_strings channels; /* glob: NAME=PATTERN; none: the training's */
    int64_t canvas;     /* 0: the trained size where it holds the planes, else the power of two */
    const char *device; /* as device_backend takes it (tensor/device.h); NULL: auto */
};

struct predict_report {
    size_t scans, planes;
    size_t assumed; /* scans that state no spacing: 1 mm */
    struct problems problems;
};

/* False: either err says why, or report->problems lists the bad scans; then nothing is written. */
bool predict_folder(const struct predict_job *job, struct predict_report *report,
                    struct error *err) MUST_USE;
void predict_report_release(struct predict_report *report);

#endif
