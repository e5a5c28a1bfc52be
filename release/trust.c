/* See trust.h. */
#include "release/trust.h"

#include "base/file.h"
#include "base/yaml.h"
#include "release/moment.h"

#include <string.h>

enum { LARGEST_TRUST_FILE = 1 << 20, LARGEST_PEM = 1 << 16, MOST_NEEDED = 100 };

/* ---- the document ---------------------------------------------------------------------------- */

struct row {
    const char *name, *file, *pem, *from, *until, *subject;
    int role;
};

struct document {
    const char *schema;
    int64_t require[ROLE_COUNT];
    bool distinct;
    struct yaml_rows keys, authorities, timestamps;
};

#define FIELD(struct_, ...) YAML_FIELD(struct struct_, __VA_ARGS__)
#define ROLE_FIELD          FIELD(row, role, YAML_CHOICE, .choices = role_names, .required = true)

static const struct yaml_field key_fields[] = {
    FIELD(row, name, YAML_STRING, .required = true),
    ROLE_FIELD,
    FIELD(row, file, YAML_STRING),
    FIELD(row, pem, YAML_STRING),
    FIELD(row, from, YAML_STRING),
    FIELD(row, until, YAML_STRING),
    { 0 },
};

static const struct yaml_field authority_fields[] = {
    FIELD(row, name, YAML_STRING, .required = true),
    ROLE_FIELD,
    FIELD(row, file, YAML_STRING),
    FIELD(row, pem, YAML_STRING),
    FIELD(row, subject, YAML_STRING),
    { 0 },
};

static const struct yaml_field timestamp_fields[] = {
    FIELD(row, name, YAML_STRING, .required = true),
    FIELD(row, file, YAML_STRING),
    FIELD(row, pem, YAML_STRING),
    { 0 },
};

#define NEEDED(role_, index)                                                                       \
    {                                                                                              \
        .key = role_, .kind = YAML_INTEGER, .offset = (index) * sizeof(int64_t), .minimum = 0,     \
        .maximum = MOST_NEEDED                                                                     \
    }
static const struct yaml_field require_fields[] = {
    NEEDED("producer", ROLE_PRODUCER),
    NEEDED("auditor", ROLE_AUDITOR),
    NEEDED("steward", ROLE_STEWARD),
    { 0 },
};

static const struct yaml_field fields[] = {
    FIELD(document, schema, YAML_STRING, .required = true),
    FIELD(document, require, YAML_SECTION, .section = require_fields, .required = true),
    FIELD(document, distinct, YAML_BOOL),
    FIELD(document, keys, YAML_ROWS, .section = key_fields, .row_size = sizeof(struct row)),
    FIELD(document, authorities, YAML_ROWS, .section = authority_fields,
          .row_size = sizeof(struct row)),
    FIELD(document, timestamps, YAML_ROWS, .section = timestamp_fields,
          .row_size = sizeof(struct row)),
    { 0 },
};

/* ---- from rows to keys ----------------------------------------------------------------------- */

struct loading {
    const char *name, *folder;
    struct trust *trust;
    struct arena *arena;
    struct error *err;
};

/* The PEM that stands in the row, or in the file that it names. */
static const char *pem_of(struct loading *loading, const struct row *row, size_t *size)
{
    if (!row->file == !row->pem) {
        error_set(loading->err, "expected either \"file\" or \"pem\"");
        return NULL;
    }
    if (row->pem) {
        *size = strlen(row->pem);
        return row->pem;
    }
    if (!loading->folder) {
        error_set(loading->err, "expected \"pem\": there is no folder to open files in");
        return NULL;
    }
    const char *path =
        row->file[0] == '/' ? row->file : path_join(loading->arena, loading->folder, row->file);
    char *bytes = file_read(path, LARGEST_PEM, size, loading->err);
    const char *copy = bytes ? arena_substring(loading->arena, bytes, *size) : NULL;
    memory_free(bytes);
    return copy;
}

static bool take_moment(struct loading *loading, const char *key, const char *text, bool at_end,
                        int64_t *moment)
{
    return !text || moment_from_day(text, at_end, moment) ||
           error_set(loading->err,
                     "%s: \"%s\" is neither a day like 2026-01-31 nor a time like "
                     "2026-01-31T12:00:00Z",
                     key, text);
}

static bool take_key(struct loading *loading, const struct row *row)
{
    struct trust *trust = loading->trust;
    struct trust_key *key = &trust->keys[trust->key_count];
    size_t size;
    *key = (struct trust_key){
        .name = row->name, .role = (enum role)row->role, .from = INT64_MIN, .until = INT64_MAX
    };
    const char *pem = pem_of(loading, row, &size);
    if (!pem || !take_moment(loading, "from", row->from, false, &key->from) ||
        !take_moment(loading, "until", row->until, true, &key->until))
        return false;
    key->key = key_parse_public(pem, size, row->file ? row->file : "pem", loading->err);
    if (!key->key)
        return false;
    trust->key_count++; /* from here on trust_release frees it */
    key->fingerprint = key_fingerprint(key->key);
    for (size_t i = 0; i + 1 < trust->key_count; i++)
        if (trust->keys[i].role == key->role &&
            digest_equal(&trust->keys[i].fingerprint, &key->fingerprint))
            return error_set(loading->err, "the same key as \"%s\", in the same role",
                             trust->keys[i].name);
    return true;
}

static bool take_authority(struct loading *loading, const struct row *row,
                           struct trust_authority *list, size_t *count)
{
    size_t size;
    const char *pem = pem_of(loading, row, &size);
    struct authority *authority =
        pem ? authority_parse(pem, size, row->file ? row->file : "pem", loading->err) : NULL;
    if (!authority)
        return false;
    list[(*count)++] =
        (struct trust_authority){ row->name, row->subject, (enum role)row->role, authority };
    return true;
}

static bool take_rows(struct loading *loading, const struct document *document)
{
    struct trust *trust = loading->trust;
    struct arena *arena = loading->arena;
    const struct row *rows = document->keys.items;
    trust->keys = arena_array(arena, struct trust_key, document->keys.count + 1);
    trust->authorities =
        arena_array(arena, struct trust_authority, document->authorities.count + 1);
    trust->timestamps = arena_array(arena, struct trust_authority, document->timestamps.count + 1);
    for (size_t i = 0; i < document->keys.count; i++)
        if (!take_key(loading, &rows[i]))
            return error_prefix(loading->err, "key \"%s\"", rows[i].name);
    rows = document->authorities.items;
    for (size_t i = 0; i < document->authorities.count; i++)
        if (!take_authority(loading, &rows[i], trust->authorities, &trust->authority_count))
            return error_prefix(loading->err, "authority \"%s\"", rows[i].name);
    rows = document->timestamps.items;
    for (size_t i = 0; i < document->timestamps.count; i++)
        if (!take_authority(loading, &rows[i], trust->timestamps, &trust->timestamp_count))
            return error_prefix(loading->err, "timestamp authority \"%s\"", rows[i].name);
    return true;
}

/* A requirement that nobody could ever meet, or that everything meets, is a mistake in the file. */
static bool check_requirements(const struct trust *trust, struct error *err)
{
    int64_t sum = 0;
    for (int role = 0; role < ROLE_COUNT; role++) {
        int64_t able = 0;
        bool authority = false;
        for (size_t i = 0; i < trust->key_count; i++)
            able += trust->keys[i].role == (enum role)role;
        for (size_t i = 0; i < trust->authority_count; i++)
            authority = authority || trust->authorities[i].role == (enum role)role;
        if (!authority && able < trust->require[role])
            return error_set(err, "require: %d keys of role %s, but only %d stand there",
                             (int)trust->require[role], role_names[role], (int)able);
        sum += trust->require[role];
    }
    return sum > 0 || error_set(err, "require: no signature at all; expected at least one role "
                                     "with at least 1");
}

static bool take_document(struct loading *loading, const struct document *document)
{
    struct trust *trust = loading->trust;
    if (strcmp(document->schema, TRUST_SCHEMA) != 0)
        return error_set(loading->err, "schema \"%s\", expected \"%s\"", document->schema,
                         TRUST_SCHEMA);
    memcpy(trust->require, document->require, sizeof trust->require);
    trust->distinct = document->distinct;
    return take_rows(loading, document) && check_requirements(trust, loading->err);
}

bool trust_parse(const char *bytes, size_t size, const char *name, const char *folder,
                 struct trust *trust, struct arena *arena, struct error *err)
{
    struct document document = { .distinct = true };
    struct loading loading = { name, folder, trust, arena, err };
    *trust = (struct trust){ 0 };
    if (!yaml_parse(bytes, size, name, fields, &document, arena, err))
        return false;
    if (take_document(&loading, &document))
        return true;
    trust_release(trust);
    return error_prefix(err, "%s", name);
}

bool trust_load(const char *path, struct trust *trust, struct arena *arena, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_TRUST_FILE, &size, err);
    if (!bytes)
        return false;
    bool ok = trust_parse(bytes, size, path, path_parent(arena, path), trust, arena, err);
    memory_free(bytes);
    return ok;
}

bool trust_single_key(const char *path, struct trust *trust, struct arena *arena, struct error *err)
{
    *trust = (struct trust){ .any_role = true };
    struct key *key = key_load_public(path, err);
    if (!key)
        return false;
    trust->keys = arena_new(arena, struct trust_key);
    trust->keys[trust->key_count++] = (struct trust_key){
        .name = arena_string(arena, path_name(path)),
        .key = key,
        .fingerprint = key_fingerprint(key),
        .from = INT64_MIN,
        .until = INT64_MAX,
    };
    return true;
}

void trust_release(struct trust *trust)
{
    for (size_t i = 0; i < trust->key_count; i++)
        key_free(trust->keys[i].key);
    for (size_t i = 0; i < trust->authority_count; i++)
        authority_free(trust->authorities[i].authority);
    for (size_t i = 0; i < trust->timestamp_count; i++)
        authority_free(trust->timestamps[i].authority);
    *trust = (struct trust){ 0 };
}
