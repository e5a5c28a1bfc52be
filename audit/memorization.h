/* The memorisation audit: which training image is each synthetic image closest to, how close is
 * that, and is it closer than a stranger would be?
 *
 *     struct audit_job job = { .train = "run/dataset", .synthetic = "run/synthetic",
 *                              .out = "run/audit", .settings = &audit_defaults };
 *     struct audit_report report;
 *     ok = audit(&job, &report, err);
 *     … report.document, report.summary …
 *     audit_report_release(&report);
 *
 * `out` then holds memorization.json (schema lethe/memorization/1), nearest.csv and pairs/. It
 * appears at once when everything is done; until then shards of finished work stand in `out`.work,
 * and a run that was killed goes on with them. The same inputs and settings give the same bytes,
 * interrupted or not, whatever the number of threads; another engine or device changes only what
 * the document says of it. Facts only: whether they suffice is for a policy to say.
 */
#ifndef AUDIT_MEMORIZATION_H
#define AUDIT_MEMORIZATION_H

#include "audit/search.h"
#include "base/json.h"
#include "base/text.h"
#include "base/yaml.h"

#define MEMORIZATION_SCHEMA "lethe/memorization/1"

enum control {
    CONTROL_AUTO,
    CONTROL_HOLDOUT,
    CONTROL_MATCHED_HOLDOUT, /* made as smooth as the synthetic set: liken.h */
    CONTROL_OTHER_SUBJECTS,
    CONTROL_COUNT
};

/* What becomes of control images that are near-copies of a training image. */
enum near_copies { NEAR_COPIES_KEEP, NEAR_COPIES_LEAVE_OUT, NEAR_COPIES_COUNT };

struct audit_settings {
    int64_t neighbours, local, carlini, control_images, pairs, bootstrap, seed;
    double quantile, correlation_limit, local_ratio_limit, duplicate, carlini_alpha;
    int control, control_near_copies, engine; /* the enums */
    bool per_channel, transforms, tiles;
    struct yaml_strings channels;
    const char *device; /* as device_filter takes it (tensor/device.h) */
};
extern const struct audit_settings audit_defaults;
extern const struct yaml_field audit_fields[];

struct audit_job {
    const char *train, *synthetic, *holdout; /* holdout NULL: the training store's own */
    const char *subjects, *holdout_subjects; /* CSV files, or NULL */
    const char *out;
    bool replace;                            /* an existing folder is exchanged */
    const char *plan_sha256, *policy_sha256; /* recorded; NULL: not from a plan */
    size_t candidates; /* sets that one plan tries, of which this is one; 0 counts as 1. Intervals
                        * then hold for all of them together (statistics.h, joint_confidence) */
    const struct audit_settings *settings;
};

struct audit_report {
    struct json *document; /* what stands in memorization.json */
    struct text summary;   /* three lines for a person */
    struct text warnings;  /* a line each */
};

bool audit(const struct audit_job *job, struct audit_report *report, struct error *err) MUST_USE;
void audit_report_release(struct audit_report *report);

#endif
