/* The stage ledger; see stage.h. */
#include "plan/stage.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char record_name[] = "stage.json";

/* All files of the folder but the record, with digests. */
static bool list_outputs(const char *folder, struct arena *arena, struct digest_entry **entries,
                         size_t *count, struct error *err)
{
    char **files;
    size_t found;
    if (!folder_walk(folder, arena, &files, &found, err))
        return false;
    *entries = arena_array(arena, struct digest_entry, found);
    *count = 0;
    for (size_t i = 0; i < found; i++)
        if (strcmp(files[i], record_name) != 0)
            (*entries)[(*count)++].path = files[i];
    return digest_files(folder, *entries, *count, err);
}

static bool same_string(const struct json *record, const char *key, const char *expected,
                        struct error *err)
{
    const char *found = json_get_string(record, key, err);
    return found && (strcmp(found, expected) == 0 ||
                     error_set(err, "%s was %s, is now %s", key, found, expected));
}

/* The outputs as they are now: all files of the folder, or, where it may grow, those of the record.
 */
static bool outputs_now(const struct json *record, const char *folder, struct arena *arena,
                        struct digest_entry **entries, size_t *count, struct error *err)
{
    bool may_grow = false;
    const struct json *outputs = json_get_array(record, "outputs", err);
    if (!outputs)
        return false;
    json_get_bool(record, "may_grow", &may_grow, NULL);
    if (!may_grow)
        return list_outputs(folder, arena, entries, count, err);
    *count = json_length(outputs);
    *entries = arena_array(arena, struct digest_entry, *count);
    for (size_t i = 0; i < *count; i++)
        if (!((*entries)[i].path = json_get_string(json_at(outputs, i), "path", err)))
            return false;
    return digest_files(folder, *entries, *count, err);
}

static bool same_outputs(const struct json *record, const char *folder, struct arena *arena,
                         struct error *err)
{
    struct digest_entry *entries;
    size_t count;
    const struct json *outputs = json_get_array(record, "outputs", err);
    if (!outputs || !outputs_now(record, folder, arena, &entries, &count, err))
        return false;
    if (json_length(outputs) != count)
        return error_set(err, "%zu output files, %zu were made", count, json_length(outputs));
    for (size_t i = 0; i < count; i++) {
        char hex[DIGEST_HEX];
        const struct json *output = json_at(outputs, i);
        const char *path = json_get_string(output, "path", err);
        const char *sha256 = json_get_string(output, "sha256", err);
        if (!path || !sha256)
            return false;
        if (strcmp(path, entries[i].path) != 0 ||
            strcmp(sha256, digest_hex(&entries[i].digest, hex)) != 0)
            return error_set(err, "the output %s has changed", entries[i].path);
    }
    return true;
}

/* `inputs` NULL: whatever they were. */
static bool check(const char *folder, const char *stage, const struct digest *inputs,
                  struct arena *arena, struct error *err)
{
    char hex[DIGEST_HEX];
    char *path = path_join(arena, folder, record_name);
    if (path_kind(path) != PATH_FILE)
        return error_set(err, "it has not been run");
    struct json *record = json_load_schema(path, STAGE_SCHEMA, err);
    bool ok = record && same_string(record, "stage", stage, err) &&
              (!inputs || (same_string(record, "version", LETHE_VERSION, err) &&
                           (same_string(record, "inputs", digest_hex(inputs, hex), err) ||
                            error_set(err, "its settings or its inputs have changed")))) &&
              same_outputs(record, folder, arena, err);
    json_free(record);
    return ok;
}

bool stage_is_current(const char *folder, const char *stage, const struct digest *inputs,
                      struct error *reason)
{
    struct arena arena;
    arena_init(&arena);
    bool current = check(folder, stage, inputs, &arena, reason);
    arena_release(&arena);
    return current;
}

bool stage_is_intact(const char *folder, const char *stage, struct error *reason)
{
    return stage_is_current(folder, stage, NULL, reason);
}

/* Names and sizes of the outputs. */
static bool same_sizes(const struct json *record, const char *folder, struct arena *arena,
                       struct error *err)
{
    const struct json *outputs = json_get_array(record, "outputs", err);
    for (size_t i = 0; outputs && i < json_length(outputs); i++) {
        int64_t bytes;
        struct stat status;
        const char *path = json_get_string(json_at(outputs, i), "path", err);
        if (!path || !json_get_integer(json_at(outputs, i), "bytes", &bytes, err))
            return false;
        if (stat(path_join(arena, folder, path), &status) != 0)
            return error_set(err, "the output %s is gone", path);
        if (status.st_size != bytes)
            return error_set(err, "the output %s has changed", path);
    }
    return outputs;
}

bool stage_looks_intact(const char *folder, const char *stage, struct error *reason)
{
    struct arena arena;
    arena_init(&arena);
    const char *path = path_join(&arena, folder, record_name);
    struct json *record = NULL;
    bool ok = path_kind(path) == PATH_FILE || error_set(reason, "it has not been run");
    ok = ok && (record = json_load_schema(path, STAGE_SCHEMA, reason)) &&
         same_string(record, "stage", stage, reason) && same_sizes(record, folder, &arena, reason);
    json_free(record);
    arena_release(&arena);
    return ok;
}

/* ---- what a record tells --------------------------------------------------------------------- */

/* A line for each output below the prefix, as digest_of_entries writes them. */
static bool add_outputs(const struct json *record, const char *prefix, struct text *lines,
                        struct error *err)
{
    const struct json *outputs = json_get_array(record, "outputs", err);
    for (size_t i = 0; outputs && i < json_length(outputs); i++) {
        const struct json *output = json_at(outputs, i);
        const char *path = json_get_string(output, "path", err);
        const char *sha256 = json_get_string(output, "sha256", err);
        if (!path || !sha256)
            return false;
        if (text_starts_with(path, prefix))
            text_format(lines, "%s  %s\n", sha256, path);
    }
    return outputs;
}

bool stage_product(const char *folder, const char *prefix, struct digest *digest, struct error *err)
{
    struct arena arena;
    struct text lines = { 0 };
    arena_init(&arena);
    struct json *record =
        json_load_schema(path_join(&arena, folder, record_name), STAGE_SCHEMA, err);
    bool ok = record && add_outputs(record, prefix, &lines, err);
    if (ok)
        *digest = digest_of(lines.bytes ? lines.bytes : "", lines.length);
    text_release(&lines);
    json_free(record);
    arena_release(&arena);
    return ok;
}

static bool summarise(const struct json *record, struct stage_summary *summary, struct error *err)
{
    const char *version = json_get_string(record, "version", err);
    const char *inputs = version ? json_get_string(record, "inputs", err) : NULL;
    const struct json *outputs = inputs ? json_get_array(record, "outputs", err) : NULL;
    if (!outputs || !json_get_real(record, "seconds", &summary->seconds, err))
        return false;
    snprintf(summary->version, sizeof summary->version, "%s", version);
    snprintf(summary->inputs, sizeof summary->inputs, "%s", inputs);
    summary->files = json_length(outputs);
    for (size_t i = 0; i < summary->files; i++) {
        int64_t bytes;
        if (!json_get_integer(json_at(outputs, i), "bytes", &bytes, err))
            return false;
        summary->bytes += (uint64_t)bytes;
    }
    return true;
}

bool stage_read(const char *folder, struct stage_summary *summary, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    *summary = (struct stage_summary){ 0 };
    struct json *record =
        json_load_schema(path_join(&arena, folder, record_name), STAGE_SCHEMA, err);
    bool ok = record && summarise(record, summary, err);
    json_free(record);
    arena_release(&arena);
    return ok;
}

/* ---- recording ------------------------------------------------------------------------------- */

bool stage_record(const char *folder, const char *stage, const struct digest *inputs,
                  double seconds, bool may_grow, struct error *err)
{
    struct arena arena;
    struct digest_entry *entries;
    size_t count;
    char hex[DIGEST_HEX];
    arena_init(&arena);
    bool ok = list_outputs(folder, &arena, &entries, &count, err);
    if (ok) {
        struct json *record = json_new_object(), *outputs = json_new_array();
        json_put_string(record, "schema", STAGE_SCHEMA);
        json_put_string(record, "stage", stage);
        json_put_string(record, "version", LETHE_VERSION);
        json_put_string(record, "inputs", digest_hex(inputs, hex));
        json_put_real(record, "seconds", seconds);
        if (may_grow)
            json_put_bool(record, "may_grow", true);
        for (size_t i = 0; i < count; i++) {
            struct json *output = json_new_object();
            json_put_string(output, "path", entries[i].path);
            json_put_integer(output, "bytes", (int64_t)entries[i].size);
            json_put_string(output, "sha256", digest_hex(&entries[i].digest, hex));
            json_push(outputs, output);
        }
        json_put(record, "outputs", outputs);
        ok = json_save(record, path_join(&arena, folder, record_name), err);
        json_free(record);
    }
    arena_release(&arena);
    return ok;
}
