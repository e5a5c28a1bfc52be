/* The report: what a reviewer signs, and what may be shown to everybody.
 *
 *     struct report_job job = { .name = …, .out = "run/report", … };
 *     struct report_result result;
 *     if (!report_write(&job, &result, err)) …
 *
 * Three files appear in the folder:
 *
 *     report.public.html     for everybody: no training subject, path, image of a patient, nor any
 *                            value that is told of a single patient stands in it
 *     report.internal.html   for the reviewer: all of the public one, and the worst pairs side by
 *                            side, exposure by subject, and the means to go through them
 *     report.json            the verdict with its rows, and the digests that bind the two to each
 *                            other, to the evidence, and to the journal
 *
 * The public one is a function of the plan and of what the stages made: not of time, machine, or
 * the number of times that the run was interrupted. It is written from an allow-list: each number
 * in it is named in sections.c, nothing is copied whole.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/text.h"
#include "base/yaml.h"
#include "release/policy.h"

#define REPORT_SCHEMA "lethe/report/1"

/* The plan's section `report`. */
struct report_settings {
    const char *intended_use, *reassess, *contact, *salt;
    struct yaml_strings reviewers;
    int64_t samples, pairs;
};
extern const struct report_settings report_defaults;
extern const struct yaml_field report_fields[];

struct report_job {
    const char *name, *plan_sha256, *licence;                  /* licence NULL: none was stated */
    const char *dataset, *model, *synthetic, *audit, *utility; /* folders; some may be missing */
    const char *fidelity, *membership; /* likewise; NULL: nobody asked for it */
    const char *generator;             /* its name; NULL: the images were made elsewhere */
    const char *train_settings;        /* as YAML; NULL with the generator */
    const char *dropped; /* candidates tried in this run that its plan names no more; or NULL */
    const char *choice;  /* what was tried, release/choice.h; NULL: one set alone */
    const char *review;  /* marks of a reviewer, review.h; a missing file: none */
    const struct report_settings *settings;
    const struct policy_settings *policy;
    uint64_t journal_length;
    const char *journal_head;              /* hexadecimal */
    uint64_t trainings, samplings, audits; /* begun in different ways, by the journal */
    const char *out;                       /* folder; exchanged as a whole */
};

struct report_result {
    bool passed;
    size_t rows, rows_passed;
    struct text advice; /* what to do about a policy that was not met, a line each */
    char public_sha256[DIGEST_HEX], internal_sha256[DIGEST_HEX];
};

bool report_write(const struct report_job *job, struct report_result *result,
                  struct error *err) MUST_USE;

#endif
