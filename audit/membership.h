/* Membership: what a trained model itself gives away about who was in its training set, whatever
 * the images that were drawn from it show.
 *
 *     struct membership_job job = { .from = "run/model", .train = "run/dataset",
 *                                   .out = "run/membership", .settings = &settings };
 *     struct membership_report report;
 *     ok = membership(&job, &report, err);
 *     membership_report_release(&report);
 *
 * Every real image gets a score by the model, high where the model knows the image well
 * (train/generator.h). An attacker who holds the weights calls those with high scores members of
 * the training set. How well that works is what is measured: images of training against images of
 * subjects who were held out, and patients against patients, each by the mean of its images.
 *
 *     diffusion   minus the logarithm of its denoising loss, mean over fixed times; the noise is
 *                 the same for every image, so that it takes no part in comparisons (Matsumoto et
 *                 al. 2023; Carlini et al. 2023, section 5.1)
 *     GANs        what the discriminator says of the image (LOGAN: Hayes et al. 2019)
 *
 * One image is harder than another for any model. Where there are references, trainings on half of
 * the people each (train/reference.h), scores are calibrated by them as well: from the score of an
 * image is taken the mean score that it has by the references that never saw its person, each
 * brought to the model's level (Watson et al. 2022; to the order, that is the offline attack of
 * Carlini et al. 2022 with one variance for all images). Images that every reference learnt from
 * are not judged by it.
 *
 * Two controls. Halves of the held-out subjects against each other: an attack that tells these
 * apart is none. And what tells training from held-out images without any model (mean grey,
 * contrast, roughness): where sets differ by themselves, scores may too, and nobody was remembered.
 *
 * Folder:  membership.json (schema lethe/membership/1), scores.csv and subjects.csv, which name
 * people; while unfinished scores.drawn/, with scores that are computed already.
 *
 * The same inputs, settings and device give the same bytes, interrupted or not.
 */
#ifndef AUDIT_MEMBERSHIP_H
#define AUDIT_MEMBERSHIP_H

#include "base/json.h"
#include "base/text.h"
#include "base/yaml.h"

#define MEMBERSHIP_SCHEMA "lethe/membership/1"

/* The plan's section `membership`, and the command line. */
struct membership_settings {
    const char *device;      /* as device_backend takes it (tensor/device.h) */
    int64_t draws;           /* ddpm: of noise, at each time */
    int64_t images;          /* of each set at most, 0: all */
    int64_t bootstrap, seed; /* seed −1: the plan's, else 1 */
};
extern const struct membership_settings membership_defaults;
extern const struct yaml_field membership_fields[];

struct membership_job {
    const char *from;               /* a checkpoint or a folder of training */
    int weights;                    /* enum weights (train/settings.h): of a folder */
    const char *train, *holdout;    /* stores; holdout NULL: the training store's own */
    struct yaml_strings references; /* checkpoints, or folders of training */
    const char *out;
    size_t candidates; /* as of audit_job (memorization.h) */
    const struct membership_settings *settings;
};

struct membership_report {
    struct json *document; /* what stands in membership.json */
    struct text warnings;  /* a line each */
};

bool membership(const struct membership_job *job, struct membership_report *report,
                struct error *err) MUST_USE;
void membership_report_release(struct membership_report *report);

#endif
