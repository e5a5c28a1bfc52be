/* From an audited synthetic set to an archive that may leave, or to the reasons why not.
 *
 *     struct package_job job = { .name = "brain", .synthetic = "run/synthetic",
 *                                .audit = "run/audit", .out = "run/release",
 *                                .settings = &package_defaults, .policy = &policy_defaults, … };
 *     struct package_report report;
 *     if (!package(&job, &report, &arena, err)) …            // could not tell
 *     … report.released, report.links, report.results, report.findings …
 *
 * The chain of evidence is checked, flagged images are left out where the policy says so, and the
 * policy is evaluated; policy.json tells all of it. Where the answer is no, nothing but policy.json
 * is written. Else the tree is built in a hidden folder, linted, and packed; out of it come, each
 * atomically and in this order, so that the manifest vouches for a release that is complete:
 *
 *     NAME-VERSION.tar.zst (or its volumes)   SHA256SUMS   MD5SUMS   NAME-VERSION.manifest.json
 *
 * The same inputs, settings and date give the same bytes, whatever the number of threads.
 */
#ifndef RELEASE_PACKAGE_H
#define RELEASE_PACKAGE_H

#include "release/archive.h"
#include "release/card.h"
#include "release/chain.h"
#include "release/policy.h"

struct package_settings {
    const char *version;
    int format; /* enum payload_format */
    double spacing, thickness;
    const char *date; /* "2026-11-22", or NULL: today */
    struct card_settings card;
    struct yaml_strings include; /* files and folders to be packed as they are: included.h */
    int64_t level, volume_size;  /* zstd's; megabytes, 0: one file */
    bool keep_tree;
};
extern const struct package_settings package_defaults;
extern const struct yaml_field package_fields[];

/* What the internal report says at its top; a file that says so is never packed. */
#define INTERNAL_NOTICE "Internal: holds images and identifiers of patients. Not to be passed on."

struct package_job {
    const char *name;                            /* of the release */
    const char *synthetic, *audit;               /* folders */
    const char *utility, *fidelity, *membership; /* likewise; NULL: not measured */
    const char *dataset, *model;                 /* NULL: not given */
    bool made_elsewhere;                         /* by no model of ours: there is none to check */
    const char *report_public, *report_internal; /* files, or NULL */
    const char *review;                          /* a reviewer's marks, or NULL */
    struct yaml_strings said;                    /* in the public report, and meant to be */
    const char *plan_sha256;                     /* or NULL */
    const char *out;                             /* folder; made if missing */
    int64_t created;                             /* seconds since 1970; < 0: of the date */
    const struct package_settings *settings;
    const struct policy_settings *policy;
};

struct package_report {
    bool released;
    bool linked, passed;                  /* no link is broken; every row passes */
    struct chain_link links[CHAIN_LINKS]; /* up to one without a name */
    const struct policy_result *results;
    size_t result_count;
    size_t images, removed, files; /* no image is left: not released, whatever passes */
    const char *findings;          /* of the lint, a line each; "": none */
    size_t finding_count;
    char **hidden; /* files that are left out of folders to be included (included.h) */
    size_t hidden_count;
    const char *archive, *manifest; /* paths */
    struct archive_result result;
};

/* Refuses settings that no release can have, before anything is made. */
bool package_check(const char *name, const struct package_settings *settings,
                   struct error *err) MUST_USE;

/* Refuses documents that could not be packed, while there is time to mend them. What is not there
 * may be written until the package is made. */
bool package_check_included(const struct package_settings *settings, struct error *err) MUST_USE;

/* Strings of the report belong to the arena. */
bool package(const struct package_job *job, struct package_report *report, struct arena *arena,
             struct error *err) MUST_USE;

/* Refuses to make a release again that has been signed. */
bool package_may_replace(const char *out, const char *name, const char *version,
                         struct error *err) MUST_USE;

#endif
