/* Segmenters: networks that label each pixel, how they are trained, and what they say of images.
 *
 *     struct segment_job job = { .out = "run", .sets = sets, .set_count = 1, .classes = &classes,
 *                                .settings = &settings, .dataset = digest };
 *     if (!segment_train(&job, &report, err)) …                       // goes on where it stopped
 *
 *     struct segmenter *segmenter = segmenter_open("run", 64, 64, "auto", err);
 *     segmenter_predict(segmenter, images, count, labels, err);
 *     segmenter_free(segmenter);
 *
 * A network is a file in lib/models, a recipe file here (segment_unet.c, segment_swin.c), and a row
 * of the table in segment.c.
 */
#ifndef TRAIN_SEGMENT_H
#define TRAIN_SEGMENT_H

#include "base/digest.h"
#include "base/yaml.h"
#include "train/examples.h"
#include "train/report.h"

enum segment_model { SEGMENT_UNET, SEGMENT_SWIN, SEGMENT_MODELS };
extern const char *const segment_model_names[SEGMENT_MODELS + 1];

enum segment_swins {
    SEGMENT_SWIN_AUTO,
    SEGMENT_SWIN_MINI,
    SEGMENT_SWIN_TINY,
    SEGMENT_SWIN_SMALL,
    SEGMENT_SWIN_BASE,
    SEGMENT_SWINS
};

/* What decides about a training. A number left at 0 is the preset's of model and size. */
struct segment_settings {
    int model; /* enum segment_model */
    int64_t batch, images, seed;
    double rate;
    int64_t base, levels; /* unet */
    int swin;             /* enum segment_swins */
    int algorithms;       /* enum algorithms (tensor/algorithms.h) */
    /* These decide what a run leaves behind, not what it computes. */
    int64_t checkpoint, log;
};
extern const struct segment_settings segment_defaults;
extern const struct yaml_field segment_fields[]; /* all but model and seed */

/* The side that images of `size` are padded to: a multiple of the network's stride. */
size_t segment_padded(const struct segment_settings *settings, size_t size);

/* ---- training -------------------------------------------------------------------------------- */

struct segment_job {
    const char *out;
    const struct example_set *sets;
    size_t set_count;
    const struct classes *classes;
    const struct augment *augment; /* NULL: none */
    bool shuffled;                 /* see examples.h */
    const struct segment_settings *settings;
    const char *dataset; /* a digest of sets and rows: a run that goes on must have the same */
    const char *device;  /* as device_backend takes it (tensor/device.h); NULL: auto */
    double time_limit;   /* minutes; 0: none */
};
bool segment_train(const struct segment_job *job, struct train_report *report,
                   struct error *err) MUST_USE;

/* ---- predicting ------------------------------------------------------------------------------ */

struct segmenter; /* opaque */

struct segmenter_format {
    struct segment_settings settings;
    struct classes classes;
    const char *checkpoint; /* its path */
    const char **channel_names;
    size_t channels, trained_size, height, width; /* of the images that it takes */
    struct digest weights;
    const char *device; /* that computes: cpu, cuda */
    size_t batch;       /* images computed at once */
};

/* `from`: a checkpoint, or a folder of training, whose latest is taken. For images of height ×
 * width, whatever it was trained on. `device`: as device_backend takes it; NULL: auto. */
struct segmenter *segmenter_open(const char *from, size_t height, size_t width, const char *device,
                                 struct error *err) MUST_USE;
void segmenter_free(struct segmenter *segmenter); /* NULL is fine */
const struct segmenter_format *segmenter_format(const struct segmenter *segmenter);

/* Labels (count,height,width) of planes (count,channels,height,width), 0 of which is background;
 * they are normalised, padded, and the labels cropped back. */
bool segmenter_predict(struct segmenter *segmenter, const float *planes, size_t count,
                       uint8_t *labels, struct error *err) MUST_USE;

#endif
