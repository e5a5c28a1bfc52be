/* Choosing among candidates; see choice.h. */
#include "release/choice.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

struct trial {
    struct json *entry;   /* of the document */
    double relative_dice; /* NaN: not measured */
    size_t unmet;
};

/* The numbers of an object at `key`, copied into `into` under the same names. */
static void copy_numbers(const struct json *from, const char *const *names, struct json *into)
{
    for (; *names; names++) {
        double value;
        int64_t whole;
        if (json_as_integer(json_member(from, *names), &whole))
            json_put_integer(into, *names, whole);
        else if (json_as_real(json_member(from, *names), &value))
            json_put_real(into, *names, value);
    }
}

const struct json *usefulness_of(const struct json *utility)
{
    const struct json *list = json_member(utility, "relative_dice");
    for (size_t i = 0; i < json_length(list); i++) {
        const char *source = json_as_string(json_member(json_at(list, i), "source"));
        if (source && strcmp(source, "synthetic") == 0)
            return json_at(list, i);
    }
    return NULL;
}

static double put_usefulness(const struct json *utility, struct json *entry)
{
    static const char *const names[] = { "mean", "lower95", "upper95", NULL };
    const struct json *measured = usefulness_of(utility);
    double mean;
    if (!json_as_real(json_member(measured, "mean"), &mean))
        return NAN;
    struct json *numbers = json_new_object();
    copy_numbers(measured, names, numbers);
    json_put(entry, "relative_dice", numbers);
    return mean;
}

static void put_origin(const struct json *description, struct json *entry)
{
    static const char *const names[] = { "trained_steps", NULL };
    const struct json *origin = json_member(description, "origin");
    const char *model = json_as_string(json_member(origin, "model"));
    const char *weights = json_as_string(json_member(origin, "weights"));
    copy_numbers(origin, names, entry);
    if (model)
        json_put_string(entry, "model", model);
    if (weights)
        json_put_string(entry, "weights", weights);
}

static void judge_one(const struct choice_candidate *candidate,
                      const struct policy_settings *policy, const struct policy_evidence *evidence,
                      struct trial *trial, struct arena *arena)
{
    static const char *const flagged[] = { "count",   "of",         "fraction",   "lower95",
                                           "upper95", "confidence", "candidates", NULL };
    struct json *numbers = json_new_object();
    struct policy_result *results;
    json_put_string(trial->entry, "name", candidate->name);
    copy_numbers(json_member(evidence->memorization, "flagged"), flagged, numbers);
    json_put(trial->entry, "flagged", numbers);
    trial->relative_dice = put_usefulness(evidence->utility, trial->entry);
    bool passed = policy_judge(policy, evidence, arena, &results);
    for (size_t i = 0; i < policy->rows.count; i++)
        trial->unmet += !results[i].passed;
    json_put(trial->entry, "rows", policy_results_json(results, policy->rows.count));
    json_put_bool(trial->entry, "passed", passed);
}

static bool try_one(const struct choice_candidate *candidate, const struct policy_settings *policy,
                    struct trial *trial, struct arena *arena, struct error *err)
{
    struct json *memorization = json_load_schema(
        path_join(arena, candidate->audit, "memorization.json"), "lethe/memorization/1", err);
    struct json *description =
        memorization ? json_load(path_join(arena, candidate->synthetic, "dataset.json"), err)
                     : NULL;
    struct json *utility =
        description && candidate->utility
            ? json_load_schema(path_join(arena, candidate->utility, "utility.json"),
                               "lethe/utility/2", err)
            : NULL;
    struct json *fidelity =
        description && candidate->fidelity
            ? json_load_schema(path_join(arena, candidate->fidelity, "fidelity.json"),
                               "lethe/fidelity/2", err)
            : NULL;
    struct json *membership =
        description && candidate->membership
            ? json_load_schema(path_join(arena, candidate->membership, "membership.json"),
                               "lethe/membership/1", err)
            : NULL;
    bool ok = description && (utility || !candidate->utility) &&
              (fidelity || !candidate->fidelity) && (membership || !candidate->membership);
    *trial = (struct trial){ .entry = json_new_object() };
    if (ok) {
        const struct policy_evidence evidence = { memorization, utility, fidelity, membership };
        judge_one(candidate, policy, &evidence, trial, arena);
        put_origin(description, trial->entry);
    }
    json_free(memorization);
    json_free(description);
    json_free(utility);
    json_free(fidelity);
    json_free(membership);
    return ok;
}

/* Whether a is to be preferred to b, which comes before it in the plan. */
static bool is_better(const struct trial *a, const struct trial *b, bool by_usefulness)
{
    if (a->unmet != b->unmet)
        return a->unmet < b->unmet;
    return by_usefulness && !a->unmet && a->relative_dice > b->relative_dice;
}

struct json *choose(const struct choice_candidate *candidates, size_t count,
                    const struct policy_settings *policy, struct arena *arena, struct error *err)
{
    struct trial *trials = arena_array(arena, struct trial, count);
    struct json *document = json_new_object(), *list = json_new_array();
    bool ok = true, by_usefulness = true;
    size_t best = 0;
    for (size_t i = 0; i < count; i++) {
        ok = ok && try_one(&candidates[i], policy, &trials[i], arena, err);
        by_usefulness = by_usefulness && !isnan(trials[i].relative_dice);
    }
    for (size_t i = 1; i < count; i++)
        if (is_better(&trials[i], &trials[best], by_usefulness))
            best = i;
    json_put_string(document, "schema", CHOICE_SCHEMA);
    json_put_string(document, "rule", CHOICE_RULE);
    json_put_string(document, "chosen", candidates[best].name);
    json_put_bool(document, "passed", ok && !trials[best].unmet);
    for (size_t i = 0; i < count && trials[i].entry; i++)
        json_push(list, trials[i].entry);
    json_put(document, "candidates", list);
    if (ok)
        return document;
    json_free(document);
    return NULL;
}
