/* Evaluating the policy; see policy.h. */
#include "release/policy.h"

#include "base/text.h"

#include <math.h>
#include <string.h>

const char *const policy_bound_names[BOUND_COUNT + 1] = { "value", "upper95", "lower95", NULL };
const char *const quarantine_names[QUARANTINE_COUNT + 1] = { "refuse", "drop", NULL };
static const char *const rule_names[RULE_COUNT + 1] = { "of_bound", "at_most", "at_least", NULL };

/* The policy of a plan that says nothing:
 * - images that were flagged are left out. An audit at its default quantile flags one stranger in a
 *   thousand, so nearly every large set has some; refusing it for them would teach people to loosen
 *   their limits, and leaving out an innocent image costs nothing;
 * - no image that was flagged is released;
 * - at 95 % confidence fewer than 1 in 100 images of this generator are flagged. With none flagged
 *   that takes 368 images (each side of the interval has 2.5 %: 1 - 0.025^(1/368) = 0.00997):
 *   smaller sets cannot show it;
 * - the threshold rests on enough held-out subjects to have a meaning at all;
 * - the synthetic images do not lie otherwise than the training images (turned, inverted): of such
 *   sets no copy would be seen. */
static const struct policy_row default_rows[] = {
    { .metric = "memorization.flagged.count", .bound = BOUND_VALUE, .limit = 0 },
    { .metric = "memorization.flagged.fraction", .bound = BOUND_UPPER95, .limit = 0.01 },
    { .metric = "memorization.thresholds.correlation.supported",
      .bound = BOUND_VALUE,
      .must_be = RULE_AT_LEAST,
      .limit = 1 },
    { .metric = "memorization.preparation.mean_images.alike",
      .bound = BOUND_VALUE,
      .must_be = RULE_AT_LEAST,
      .limit = 1 },
};

const struct policy_settings policy_defaults = {
    .quarantine = QUARANTINE_DROP,
    .rows = { (void *)(uintptr_t)default_rows, sizeof default_rows / sizeof *default_rows },
};

#define ROW(...)   YAML_FIELD(struct policy_row, __VA_ARGS__)
#define FIELD(...) YAML_FIELD(struct policy_settings, __VA_ARGS__)

static const struct yaml_field row_fields[] = {
    ROW(metric, YAML_STRING, .required = true),
    ROW(bound, YAML_CHOICE, .choices = policy_bound_names),
    ROW(limit, YAML_REAL, .required = true),
    ROW(must_be, YAML_CHOICE, .choices = rule_names),
    { 0 },
};

const struct yaml_field policy_fields[] = {
    FIELD(quarantine, YAML_CHOICE, .choices = quarantine_names,
          .help = "what happens to flagged images (default drop)"),
    FIELD(rows, YAML_ROWS, .section = row_fields, .row_size = sizeof(struct policy_row),
          .help = "metric, bound, limit: what a set must show to be released"),
    { 0 },
};

static enum policy_rule rule_of(const struct policy_row *row)
{
    if (row->must_be != RULE_OF_BOUND)
        return (enum policy_rule)row->must_be;
    return row->bound == BOUND_LOWER95 ? RULE_AT_LEAST : RULE_AT_MOST;
}

const char *policy_rule_words(const struct policy_row *row)
{
    return rule_of(row) == RULE_AT_MOST ? "at most" : "at least";
}

static const struct policy_row *rows_of(const struct policy_settings *settings)
{
    return settings->rows.items;
}

void policy_digest(const struct policy_settings *settings, struct digest *digest)
{
    struct text text = { 0 };
    text_add(&text, POLICY_SCHEMA "\n");
    yaml_describe(policy_fields, settings, &text);
    *digest = digest_of(text.bytes, text.length);
    text_release(&text);
}

bool policy_is_of(const struct policy_row *row, const char *document)
{
    size_t length = strlen(document);
    return strcspn(row->metric, ".[") == length && strncmp(row->metric, document, length) == 0;
}

static bool is_about_copies(const struct policy_settings *settings)
{
    for (size_t i = 0; i < settings->rows.count; i++)
        if (policy_is_of(&rows_of(settings)[i], "memorization"))
            return true;
    return false;
}

bool policy_check(const struct policy_settings *settings, struct error *err)
{
    if (!settings->rows.count)
        return error_set(err, "the policy has no row, so whatever was measured would pass; give at "
                              "least one, or leave out \"rows\" for the usual ones");
    for (size_t i = 0; i < settings->rows.count; i++) {
        const struct policy_row *row = &rows_of(settings)[i];
        if (!metric_check(row->metric, row->bound != BOUND_VALUE, err))
            return error_prefix(err, "policy row %zu", i + 1);
    }
    if (!is_about_copies(settings))
        return error_set(err, "the policy has no row about memorization, so a set of copies would "
                              "pass; give one, as memorization.flagged.count with limit 0");
    return true;
}

bool policy_load(const char *path, struct policy_settings *settings, struct arena *arena,
                 struct error *err)
{
    return yaml_load(path, policy_fields, settings, arena, err) &&
           (policy_check(settings, err) || error_prefix(err, "%s", path));
}

/* Whether an object's value, written as text, is what the selector asks for. */
static bool has_value(const struct json *object, const char *key, const char *wanted)
{
    const struct json *value = json_member(object, key);
    const char *text = json_as_string(value);
    double number, asked;
    if (text)
        return strcmp(text, wanted) == 0;
    return json_as_real(value, &number) && text_to_real(wanted, &asked) && number == asked;
}

/* "key=value,key=value": whether all hold. */
static bool matches(const struct json *object, char *selector)
{
    for (char *at = selector, *next; at; at = next) {
        next = strchr(at, ',');
        if (next)
            *next++ = '\0';
        char *equals = strchr(at, '=');
        if (!equals)
            return false;
        *equals = '\0';
        if (!has_value(object, at, equals + 1))
            return false;
    }
    return true;
}

static const struct json *entry_of(const struct json *list, const struct metric_step *step,
                                   struct arena *arena, const char **reason)
{
    char *selector = arena_substring(arena, step->entry, step->entry_length);
    int64_t number;
    if (text_to_integer(selector, &number)) {
        *reason = arena_format(arena, "there is no entry %s", selector);
        return number < 0 ? NULL : json_at(list, (size_t)number);
    }
    const struct json *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < json_length(list); i++)
        if (matches(json_at(list, i), arena_string(arena, selector))) {
            found = json_at(list, i);
            count++;
        }
    *reason = arena_format(arena, "%zu entries have %s", count, selector);
    return count == 1 ? found : NULL;
}

/* What stands at the end of the path, and the object that it stands in. */
struct place {
    const struct json *value, *parent;
};

static bool walk(const char *metric, const struct json *root, struct place *place,
                 struct arena *arena, const char **reason)
{
    struct metric_step step;
    *place = (struct place){ root, NULL };
    while (*metric) {
        CHECK(metric_next_step(&metric, &step), "a metric that was not checked");
        const char *key = arena_substring(arena, step.key, step.key_length);
        place->parent = place->value;
        place->value = json_member(place->parent, key);
        if (!place->value) {
            *reason = arena_format(arena, "there is no \"%s\"", key);
            return false;
        }
        if (step.entry) {
            place->value = entry_of(place->value, &step, arena, reason);
            if (!place->value)
                return false;
        }
    }
    return true;
}

/* ---- evaluating ------------------------------------------------------------------------------ */

/* An end of the interval beside the value: as a key of its own or as interval: [low, high]. */
static bool bound_beside(const struct place *place, enum policy_bound bound, double *value,
                         const char **reason)
{
    const struct json *holder = json_value_is_object(place->value) ? place->value : place->parent,
                      *end = json_member(holder, policy_bound_names[bound]),
                      *interval = json_member(holder, "interval");
    *reason = end || interval
                  ? "no end of its 95 % interval could be given, as of one subject alone"
                  : "no 95 % interval stands beside it";
    return json_as_real(end, value) ||
           (json_length(interval) == 2 &&
            json_as_real(json_at(interval, bound == BOUND_UPPER95), value));
}

/* ---- of one patient alone --------------------------------------------------------------------
 *
 * What is measured stands in the manifest, in what is signed, and in the public report: all may see
 * what several patients' images say together, nobody what those of one say. Nor is it a measure. */

/* How many people stand behind metrics that begin so, by the same document; below `fewest` one of
 * them stands alone somewhere. */
static const struct people_behind {
    const char *metrics, *count;
    double fewest;
} people_behind[] = {
    { "utility.summary", "counts.holdout_subjects", 2 },
    { "utility.relative_dice", "counts.holdout_subjects", 2 },
    { "utility.runs", "counts.holdout_subjects", 2 },
    { "fidelity.mean.holdout", "compared.holdout.reference_subjects", 2 },
    { "fidelity.mean.holdout", "compared.holdout.control_subjects", 2 },
    { "fidelity.mean.training", "compared.training.reference_subjects", 2 },
    { "fidelity.mean.training", "compared.training.control_subjects", 2 },
    { "fidelity.channels", "compared.holdout.reference_subjects", 2 },
    { "fidelity.channels", "compared.holdout.control_subjects", 2 },
    { "fidelity.channels", "compared.training.reference_subjects", 2 },
    { "fidelity.channels", "compared.training.control_subjects", 2 },
    { "membership.images", "counts.train.subjects", 2 },
    { "membership.images", "counts.holdout.subjects", 2 },
    { "membership.subjects", "counts.train.subjects", 2 },
    { "membership.subjects", "counts.holdout.subjects", 2 },
    { "membership.control", "counts.train.subjects", 2 },
    { "membership.control", "subjects.non_members", 4 }, /* two in either half */
    { "membership.difference", "counts.train.subjects", 2 },
    { "membership.difference", "counts.holdout.subjects", 2 },
    { "membership.times", "counts.train.subjects", 2 },
    { "membership.times", "counts.holdout.subjects", 2 },
    { "membership.calibrated.images", "calibrated.subjects.members", 2 },
    { "membership.calibrated.images", "calibrated.subjects.non_members", 2 },
    { "membership.calibrated.subjects", "calibrated.subjects.members", 2 },
    { "membership.calibrated.subjects", "calibrated.subjects.non_members", 2 },
    { "membership.calibrated.control", "calibrated.subjects.non_members", 4 },
};

/* Whether the path begins with these keys, whole. */
static bool begins_with(const char *metric, const char *keys)
{
    return text_starts_with(metric, keys) && strchr(".[", metric[strlen(keys)]);
}

static bool are_too_few(const struct people_behind *behind, const struct policy_row *row,
                        const struct json *root, struct arena *arena)
{
    struct place place;
    const char *reason;
    double people;
    return begins_with(row->metric, behind->metrics) &&
           walk(behind->count, root, &place, arena, &reason) &&
           json_as_real(place.value, &people) && people < behind->fewest;
}

static bool is_one_beside(const struct json *parent, const char *key)
{
    double number;
    return json_as_real(json_member(parent, key), &number) && number == 1;
}

/* Both ends null: one end is that of a ratio to 0, of however many people. */
static bool has_empty_interval(const struct json *parent)
{
    const struct json *interval = json_member(parent, "interval");
    double end;
    return (json_has_null(parent, "lower95") && json_has_null(parent, "upper95")) ||
           (json_length(interval) == 2 && !json_as_real(json_at(interval, 0), &end) &&
            !json_as_real(json_at(interval, 1), &end));
}

/* Of all patients there are; of those who have a class, of utility, whose numbers have an interval
 * as soon as two have it. */
static bool is_of_one(const struct policy_row *row, const struct json *root,
                      const struct place *place, struct arena *arena)
{
    for (size_t i = 0; i < sizeof people_behind / sizeof *people_behind; i++)
        if (are_too_few(&people_behind[i], row, root, arena))
            return true;
    return policy_is_of(row, "utility") &&
           (is_one_beside(place->parent, "subjects_least") || /* over seeds */
            is_one_beside(place->parent, "count") ||          /* in one run */
            (row->bound == BOUND_VALUE && has_empty_interval(place->parent)));
}

static bool measure(const struct policy_row *row, const struct json *root, const char *keys,
                    double *value, struct arena *arena, const char **reason)
{
    struct place place;
    if (!walk(keys, root, &place, arena, reason))
        return false;
    if (is_of_one(row, root, &place, arena)) {
        *reason = "it is of one patient alone, or of halves that are: no measure, and not for "
                  "everybody to see";
        return false;
    }
    if (row->bound != BOUND_VALUE)
        return bound_beside(&place, (enum policy_bound)row->bound, value, reason);
    *reason = "it is no number";
    return json_as_real(place.value, value);
}

static const struct policy_document *document_of(const struct policy_document *documents,
                                                 size_t count, const struct policy_row *row)
{
    for (size_t i = 0; i < count; i++)
        if (policy_is_of(row, documents[i].name))
            return &documents[i];
    return NULL;
}

static struct policy_result evaluate(const struct policy_row *row,
                                     const struct policy_document *documents, size_t count,
                                     struct arena *arena)
{
    struct policy_result result = { .row = row };
    const struct policy_document *document = document_of(documents, count, row);
    if (!document)
        result.reason = "there is no document of that name";
    else if (!document->root)
        result.reason = arena_format(arena, "not measured: lethe %s", document->made_by);
    else
        result.measured = measure(row, document->root, row->metric + strlen(document->name) + 1,
                                  &result.value, arena, &result.reason);
    /* Written so that a value that is not a number passes neither. */
    result.passed = result.measured && (rule_of(row) == RULE_AT_MOST ? result.value <= row->limit
                                                                     : result.value >= row->limit);
    return result;
}

/* A copy of a member that is an object, or an empty one. */
static struct json *copy_of(const struct json *object, const char *key)
{
    const struct json *member = json_member(object, key);
    return json_value_is_object(member) ? json_clone(member) : json_new_object();
}

static bool clear_count(void *flagged, const char *key, const struct json *value)
{
    (void)value;
    if (text_starts_with(key, "by_"))
        json_put_integer(flagged, key, 0);
    return true;
}

void policy_without_flagged(struct json *memorization, int64_t images)
{
    struct json *flagged = copy_of(memorization, "flagged"),
                *counts = copy_of(memorization, "counts");
    json_put_integer(flagged, "count", 0);
    json_put_integer(flagged, "of", images);
    json_put_real(flagged, "fraction", 0);
    json_each(json_member(memorization, "flagged"), clear_count, flagged);
    json_put(flagged, "images", json_new_array());
    json_put_integer(counts, "synthetic", images);
    json_put(memorization, "flagged", flagged);
    json_put(memorization, "counts", counts);
}

bool policy_evaluate(const struct policy_settings *settings,
                     const struct policy_document *documents, size_t document_count,
                     struct arena *arena, struct policy_result **results)
{
    bool passed = true;
    *results = arena_array(arena, struct policy_result, settings->rows.count);
    for (size_t i = 0; i < settings->rows.count; i++) {
        (*results)[i] = evaluate(&rows_of(settings)[i], documents, document_count, arena);
        passed = passed && (*results)[i].passed;
    }
    return passed;
}

void policy_documents(const struct policy_evidence *evidence,
                      struct policy_document documents[METRIC_DOCUMENTS])
{
    const struct json *const roots[METRIC_DOCUMENTS] = { evidence->memorization, evidence->utility,
                                                         evidence->fidelity, evidence->membership };
    for (size_t i = 0; i < METRIC_DOCUMENTS; i++)
        documents[i] = (struct policy_document){ metric_documents[i].name,
                                                 metric_documents[i].made_by, roots[i] };
}

bool policy_judge(const struct policy_settings *settings, const struct policy_evidence *evidence,
                  struct arena *arena, struct policy_result **results)
{
    struct json *memorization = evidence->memorization;
    struct policy_document documents[METRIC_DOCUMENTS];
    policy_documents(evidence, documents);
    double images = 0, flagged = 0;
    json_as_real(json_member(json_member(memorization, "counts"), "synthetic"), &images);
    json_as_real(json_member(json_member(memorization, "flagged"), "count"), &flagged);
    if (settings->quarantine == QUARANTINE_DROP && flagged > 0 && flagged < images)
        policy_without_flagged(memorization, (int64_t)(images - flagged));
    return policy_evaluate(settings, documents, METRIC_DOCUMENTS, arena, results);
}

struct json *policy_results_json(const struct policy_result *results, size_t count)
{
    struct json *rows = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *row = json_new_object();
        json_put_string(row, "bound", policy_bound_names[results[i].row->bound]);
        json_put_real(row, "limit", results[i].row->limit);
        json_put_real(row, "measured", results[i].measured ? results[i].value : NAN);
        json_put_string(row, "metric", results[i].row->metric);
        json_put_string(row, "must_be", rule_names[rule_of(results[i].row)]);
        if (!results[i].measured)
            json_put_string(row, "reason", results[i].reason);
        json_put_string(row, "verdict",
                        results[i].passed     ? "passed"
                        : results[i].measured ? "failed"
                                              : "missing");
        json_push(rows, row);
    }
    return rows;
}
