/* The policy: which measured numbers a synthetic set must show before it may leave.
 *
 * A row names one number of an audit's JSON, says which side of its confidence interval counts, and
 * the limit:
 *
 *     policy:
 *       quarantine: drop
 *       rows:
 *         - { metric: memorization.flagged.fraction, bound: upper95, limit: 0.01 }
 *         - { metric: "utility.relative_dice[source=synthetic].mean", bound: lower95, limit: 0.8 }
 *
 * A metric is a path (metric.h): a document, keys, entries of lists. A truth value counts as 1 or
 * 0. `bound: upper95` and `lower95` take the ends of the 95 % interval that stands beside the
 * number (keys upper95 and lower95, or `interval: [low, high]`, in the same object). An upper end
 * has to be at most the limit, a lower end at least, a plain value at most unless `must_be` says
 * otherwise.
 *
 * A number that is missing fails its row: what was not measured has not been shown. So does one
 * that is of a single patient, for results are signed and stand in public. Limits are part of the
 * plan, so they stand before the audit runs; policy_digest is recorded by the audit, and the
 * package step refuses when the policy has another digest by then.
 */
#ifndef RELEASE_POLICY_H
#define RELEASE_POLICY_H

#include "base/digest.h"
#include "base/json.h"
#include "base/yaml.h"
#include "release/metric.h"

#define POLICY_SCHEMA "lethe/policy/1"

enum policy_bound { BOUND_VALUE, BOUND_UPPER95, BOUND_LOWER95, BOUND_COUNT };
extern const char *const policy_bound_names[BOUND_COUNT + 1];

enum policy_rule { RULE_OF_BOUND, RULE_AT_MOST, RULE_AT_LEAST, RULE_COUNT };

/* What happens to images that the audit flagged: the release is refused, or they are left out. */
enum quarantine { QUARANTINE_REFUSE, QUARANTINE_DROP, QUARANTINE_COUNT };
extern const char *const quarantine_names[QUARANTINE_COUNT + 1];

struct policy_row {
    const char *metric;
    int bound, must_be; /* enum policy_bound, enum policy_rule */
    double limit;
};

struct policy_settings {
    int quarantine;        /* enum quarantine */
    struct yaml_rows rows; /* of struct policy_row */
};
extern const struct policy_settings policy_defaults;
extern const struct yaml_field policy_fields[];

/* The digest of all that the policy says; defaults count as written out. */
void policy_digest(const struct policy_settings *settings, struct digest *digest);

/* Checks that there are rows, one of them about memorization, and that there can be what their
 * metrics name: before anything runs. */
bool policy_check(const struct policy_settings *settings, struct error *err) MUST_USE;

/* Reads a policy from a file of its own, and checks it. */
bool policy_load(const char *path, struct policy_settings *settings, struct arena *arena,
                 struct error *err) MUST_USE;

/* Whether a row's metric is of that document. */
bool policy_is_of(const struct policy_row *row, const char *document);

/* The documents that metrics may come from, by the first word; root NULL: there is none. */
struct policy_document {
    const char *name;
    const char *made_by; /* the command whose output it is, for messages */
    const struct json *root;
};

/* Changes an audit's document to what it would say of the images that are left, `images` of them,
 * when the flagged ones are left out. Counts and fraction of flagged images follow from what was
 * removed; bounds and what chance brings stay, for they speak of the generator and not of the
 * images that it happened to draw: leaving out what was caught does not make what was not caught
 * rarer. */
void policy_without_flagged(struct json *memorization, int64_t images);

struct policy_result {
    const struct policy_row *row;
    bool measured, passed;
    double value;       /* when measured */
    const char *reason; /* why not, when not measured */
};

/* One result a row. Whether every row passes; results belong to the arena. */
bool policy_evaluate(const struct policy_settings *settings,
                     const struct policy_document *documents, size_t document_count,
                     struct arena *arena, struct policy_result **results);

/* What was measured of one set; any may be NULL. */
struct policy_evidence {
    struct json *memorization;
    const struct json *utility, *fidelity, *membership;
};

/* The documents that metrics come from, in the order of metric_documents. */
void policy_documents(const struct policy_evidence *evidence,
                      struct policy_document documents[METRIC_DOCUMENTS]);

/* As the package step will judge: flagged images are first taken out of the audit's document where
 * the policy leaves them out of the release. */
bool policy_judge(const struct policy_settings *settings, const struct policy_evidence *evidence,
                  struct arena *arena, struct policy_result **results);

/* "at most" or "at least". */
const char *policy_rule_words(const struct policy_row *row);

/* The results as an array of objects, for policy.json and for signed statements. */
struct json *policy_results_json(const struct policy_result *results, size_t count) MUST_USE;

#endif
