/* Pieces of memorization.json that its parts share. */
#ifndef AUDIT_DOCUMENT_PARTS_H
#define AUDIT_DOCUMENT_PARTS_H

#include "audit/arrangement.h"
#include "audit/memorization_parts.h"

void put_count(struct json *object, const char *key, uint64_t count);
/* count, fraction, and the exact bounds of it. */
void put_share(struct json *object, struct share share);
/* [low, high]; an infinite end is null. */
struct json *interval_json(struct interval interval);
struct json *estimate_json(struct estimate estimate);

/* Of the values that are not NAN; `values` may be NULL. */
struct summary summary_of(const double *values, size_t count);
struct json *summary_json(const double *values, size_t count);

/* Images of a set; 0 of a holdout that there is not. */
size_t count_of(const struct audit_run *run, enum set_role role);

/* document_inputs.c: what was compared. */
struct json *tool_json(const struct audit_run *run);
struct json *channels_json(const struct audit_run *run);
struct json *counts_json(const struct audit_run *run);
struct json *settings_json(const struct audit_run *run);
struct json *certificates_json(const struct audit_run *run);
struct json *inputs_json(const struct audit_run *run);
size_t constants_of(const struct audit_run *run, enum set_role role); /* without variance */

/* document_findings.c: what was found, and against what. */
struct json *nearest_json(const struct audit_run *run);
struct smoothness;
struct json *control_json(const struct audit_run *run, const struct smoothness *matched);
struct json *calibration_json(const struct audit_run *run);
struct json *thresholds_json(const struct audit_run *run);
struct json *flagged_json(struct audit_run *run);
struct json *transforms_json(const struct audit_run *run);
struct json *tiles_json(const struct audit_run *run);
struct json *lesions_json(const struct audit_run *run);

/* document_images.c: whom it concerns. `people`: of how many subjects something was flagged. */
struct flagged_people {
    size_t trained, held_out;
};
struct json *exposure_json(struct audit_run *run, struct flagged_people *people);
struct json *duplicates_json(const struct audit_run *run);
struct json *histograms_json(const struct audit_run *run);
struct json *pairs_json(const struct audit_run *run, const struct pair *pairs, size_t count);

/* document_companions.c: each of the companions, null where it cannot be had. */
struct json *companions_json(struct audit_run *run);
/* The values that are not NAN, with their groups, in the arena; and how samples are drawn anew. */
struct sample sample_of(struct audit_run *run, const double *values, const uint32_t *groups,
                        size_t count);
struct bootstrap bootstrap_of(const struct audit_run *run);

/* document_smoothness.c: whether synthetic images are as smooth as a control's (SOURCE_COUNT: there
 * is none). */
struct smoothness_at {
    double *synthetic, *control; /* roughness; NAN: left out. No control: NULL */
    size_t synthetic_count, control_count;
    struct estimate smoother; /* P(a synthetic image is smoother than one of the control), and … */
    double distance;          /* … Kolmogorov's, of the distributions; NAN of too few images */
    bool notable;
};
struct smoothness {
    struct smoothness_at at[SCALE_COUNT];
};
struct smoothness smoothness_of(struct audit_run *run, int source);
struct json *smoothness_json(const struct smoothness *smoothness);
/* `given`: against the control as it was given; `matched`: as it was changed, where it was. */
void warn_of_smoothness(struct audit_run *run, const struct smoothness *given,
                        const struct smoothness *matched);

/* document_preparation.c: whether synthetic images were prepared as the training images were. */
struct preparation {
    struct estimate
        farther; /* P(a synthetic image is farther from training than a control image) */
    struct arrangement arrangement;
};
struct preparation preparation_of(struct audit_run *run, int source);
struct json *preparation_json(const struct preparation *preparation);
void warn_of_preparation(struct audit_run *run, const struct preparation *preparation);

#endif
