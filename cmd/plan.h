/* plan.yaml: one file describes one release. One section a stage; paths are relative to the
 * plan's folder. */
#ifndef CMD_PLAN_H
#define CMD_PLAN_H

#include "audit/fidelity.h"
#include "audit/membership.h"
#include "audit/memorization.h"
#include "audit/utility.h"
#include "data/ingest.h"
#include "release/package.h"
#include "report/report.h"
#include "train/reference.h"
#include "train/sampler.h"

struct release_plan {
    const char *path;        /* of the plan itself */
    char sha256[DIGEST_HEX]; /* of its bytes */
    const char *name;        /* of the release */
    const char *run;         /* the run folder; everything derived goes there */
    int64_t seed;            /* of everything random, unless a stage has its own */
    struct ingest_settings ingest;
    struct train_settings train;
    struct sample_settings sample;
    struct audit_settings audit;
    struct utility_settings utility;
    struct fidelity_settings fidelity;
    struct reference_settings references;
    struct membership_settings membership;
    struct policy_settings policy;
    struct report_settings report;
    struct package_settings package;
    struct candidate *candidates; /* what train.candidates asks for, candidates.h */
    size_t candidate_count;
    const struct candidate *candidate; /* which of them this is about; NULL: none, or all */
};
extern const struct yaml_field plan_fields[];

/* Reads and checks a plan. Strings belong to the arena. */
bool plan_load(const char *path, struct release_plan *plan, struct arena *arena,
               struct error *err) MUST_USE;

/* A digest, in hexadecimal, of all that the plan's files say: its own, and those of candidates. */
void plan_identity(const struct release_plan *plan, char hex[DIGEST_HEX]);

/* Whether the policy has a row about the document of that name, which would fail without it. */
bool plan_policy_asks(const struct release_plan *plan, const char *document);

#endif
