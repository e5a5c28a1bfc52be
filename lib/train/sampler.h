/* Sampling: from a trained generator to a dataset store of role synthetic.
 *
 *     struct sample_settings settings = sample_defaults;
 *     struct sample_job job = { "run/model", "run/synthetic", &settings };
 *     if (!sample(&job, &report, err)) …
 *
 * Images are written as uint8. A generated mask becomes labels: v = grey · 5/255, then above 3.0 it
 * is 4, above 1.5 it is 2, above 0.5 it is 1, else 0. The origin in dataset.json records the model,
 * the weights' digest, the seed, first image, truncation and steps. Image i depends on (weights,
 * options, i) alone, so a set may be drawn in any parts: first 0, count 100; first 100, count 100 …
 * join.h puts them together. Batches stand in OUT.drawn (drawn.h) until the store is in place, so a
 * run that was killed goes on with those that are missing, and others may draw some of them
 * meanwhile:
 *
 *     if (!sample_assist(&job, &drawn, err)) …      // as many as are free; the store is sample()'s
 */
#ifndef TRAIN_SAMPLER_H
#define TRAIN_SAMPLER_H

#include "base/digest.h"
#include "base/lock.h"
#include "train/settings.h"

/* The plan's section `sample`, and the command line. */
struct sample_settings {
    int64_t count, first; /* images first … first + count - 1 */
    int64_t seed;         /* -1: the plan's, else 1 */
    int64_t steps;
    int sampler;
    double truncation;
    int64_t truncation_cutoff;
    const char *device;
    int weights, precision;     /* the last four as of draw_options */
    const char *made_elsewhere; /* a store to take instead of drawing (elsewhere.h), or NULL */
};
extern const struct sample_settings sample_defaults;
extern const struct yaml_field sample_fields[];

struct sample_job {
    const char *from, *out; /* a checkpoint or a folder of training; a store, not there yet */
    const struct sample_settings *settings;
    bool replace;     /* an older store is exchanged */
    const char *grid; /* a PNG of the images; NULL: none */
    size_t grid_rows;
    const char *command;   /* whose work it is, for who waits for it; NULL: lethe sample */
    lock_waiting *waiting; /* told when others are waited for; NULL: nobody */
};

struct sample_report {
    char model[16], weights[DIGEST_HEX];
    uint64_t step;     /* of training */
    size_t side, size; /* of what was drawn, and of the images: see generator.h */
    double seconds;
};

/* Waits for batches that others are drawing, and draws those that they gave up. */
bool sample(const struct sample_job *job, struct sample_report *report, struct error *err) MUST_USE;

/* Draws batches of a set that another process has begun with `sample`, of the same job, until none
 * is free, or who called was interrupted (interrupt.h); *drawn tells how many. */
bool sample_assist(const struct sample_job *job, uint64_t *drawn, struct error *err) MUST_USE;

/* One image of the generator's, as a store holds it: `image` without the mask's channel; `mask`
 * may be NULL where there are none. */
struct generator_format;
void sample_decode(const struct generator_format *format, const float *values, uint8_t *image,
                   uint8_t *mask);

/* The label that a generated mask's value, in about [-1,1], stands for. */
uint8_t sample_label(float value);

#endif
