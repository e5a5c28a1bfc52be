/* Of memorization.json: what was compared, under which settings, and why the search is exact. */
#include "audit/document_parts.h"

#include "base/file.h"

#include <math.h>

struct json *tool_json(const struct audit_run *run)
{
    struct json *tool = json_new_object();
    json_put_string(tool, "name", "lethe");
    json_put_string(tool, "version", LETHE_VERSION);
    if (run->job->plan_sha256)
        json_put_string(run->document, "plan_sha256", run->job->plan_sha256);
    if (run->job->policy_sha256)
        json_put_string(run->document, "policy_sha256", run->job->policy_sha256);
    return tool;
}

static void put_field(struct json *object, const struct yaml_field *field, const void *at)
{
    switch (field->kind) {
    case YAML_INTEGER:
        json_put_integer(object, field->key, *(const int64_t *)at);
        break;
    case YAML_REAL:
        json_put_real(object, field->key, *(const double *)at);
        break;
    case YAML_BOOL:
        json_put_bool(object, field->key, *(const bool *)at);
        break;
    case YAML_CHOICE:
        json_put_string(object, field->key, field->choices[*(const int *)at]);
        break;
    case YAML_STRINGS: {
        const struct yaml_strings *strings = at;
        struct json *list = json_new_array();
        for (size_t i = 0; i < strings->count; i++)
            json_push_string(list, strings->items[i]);
        json_put(object, field->key, list);
        break;
    }
    default:
        BUG("a setting %s of kind %d", field->key, (int)field->kind);
    }
}

/* Every setting but the engine, which is told beside what it did. */
struct json *settings_json(const struct audit_run *run)
{
    const struct audit_settings *settings = run->settings;
    struct json *object = json_new_object();
    for (const struct yaml_field *field = audit_fields; field->key; field++)
        if (field->offset != offsetof(struct audit_settings, engine) &&
            field->offset != offsetof(struct audit_settings, device))
            put_field(object, field, (const char *)settings + field->offset);
    return object;
}

struct json *channels_json(const struct audit_run *run)
{
    struct json *list = json_new_array();
    for (size_t c = 0; c < images_of(run, SET_TRAIN)->channels; c++)
        if (run->sets.channels >> c & 1)
            json_push_string(list, run->sets.of[SET_TRAIN].channel_names[c]);
    return list;
}

size_t constants_of(const struct audit_run *run, enum set_role role)
{
    size_t found = 0;
    for (size_t i = 0; i < count_of(run, role); i++)
        found += run->looks[role][i].constant;
    return found;
}

struct json *counts_json(const struct audit_run *run)
{
    struct json *counts = json_new_object(), *constant = json_new_object();
    put_count(counts, "synthetic", count_of(run, SET_SYNTHETIC));
    put_count(counts, "train", count_of(run, SET_TRAIN));
    put_count(counts, "holdout", count_of(run, SET_HOLDOUT));
    put_count(counts, "subjects", run->sets.of[SET_TRAIN].subject_count);
    put_count(counts, "holdout_subjects", run->sets.of[SET_HOLDOUT].subject_count);
    for (enum set_role role = 0; role < SET_COUNT; role++)
        put_count(constant, set_role_names[role], constants_of(run, role));
    json_put(counts, "constant", constant);
    return counts;
}

struct json *inputs_json(const struct audit_run *run)
{
    struct json *inputs = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (role != SET_HOLDOUT || run->sets.holdout)
            json_put(inputs, set_role_names[role], set_json(&run->sets.of[role]));
    return inputs;
}

static struct json *certificate_json(const struct certificate *certificate)
{
    struct json *object = json_new_object(), *levels = json_new_array();
    put_count(object, "queries", certificate->queries);
    put_count(object, "pairs", certificate->pairs);
    put_count(object, "evaluated", certificate->evaluated);
    put_count(object, "exhaustive_queries", certificate->exhaustive_queries);
    for (size_t l = 0; l < CERTIFICATE_LEVELS; l++) {
        if (!certificate->level[l].head)
            continue;
        struct json *level = json_new_object();
        put_count(level, "head", certificate->level[l].head);
        put_count(level, "bounded", certificate->level[l].bounded);
        json_put_real(level, "slack", certificate->level[l].slack);
        json_push(levels, level);
    }
    json_put(object, "levels", levels);
    json_put_real(object, "rounding", certificate->rounding);
    return object;
}

struct json *certificates_json(const struct audit_run *run)
{
    struct json *object = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (run->database[role].certificate.queries)
            json_put(object, set_role_names[role],
                     certificate_json(&run->database[role].certificate));
    return object;
}
