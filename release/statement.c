/* See statement.h. */
#include "release/statement.h"

#include "base/text.h"
#include "release/moment.h"
#include "release/strict.h"

#include <stdlib.h>
#include <string.h>

static const char statement_type[] = "https://in-toto.io/Statement/v1";
static const char *const predicate_types[STATEMENT_COUNT] = {
    [STATEMENT_FILES] = "https://model_signing/signature/v1.0",
    [STATEMENT_AUDIT] = "https://in-toto.io/attestation/test-result/v0.1",
    [STATEMENT_WITHDRAWAL] = "urn:lethe:withdrawal:1",
};

const char *const statement_kind_names[STATEMENT_COUNT] = { "files", "audit", "withdrawal" };
const char *const role_names[ROLE_COUNT + 1] = { "producer", "auditor", "steward", NULL };

/* ---- what a release's statements are about --------------------------------------------------- */

enum { MOST_SUBJECTS = 5 };

/* Archive, tar and manifest, and plan and public report where the manifest tells of them. */
static size_t list_subjects(const struct statement_release *release, struct arena *arena,
                            struct digest_entry subjects[MOST_SUBJECTS])
{
    const struct manifest *manifest = release->manifest;
    size_t count = 0;
    subjects[count++] =
        (struct digest_entry){ manifest->archive.name, 0, manifest->archive.sha256 };
    subjects[count++] = (struct digest_entry){ arena_format(arena, "%s.tar", manifest->root), 0,
                                               manifest->tar.sha256 };
    subjects[count++] =
        (struct digest_entry){ arena_format(arena, "%s.manifest.json", manifest->root), 0,
                               release->manifest_digest };
    if (manifest->claims.known[CLAIM_PLAN])
        subjects[count++] =
            (struct digest_entry){ "plan.yaml", 0, manifest->claims.sha256[CLAIM_PLAN] };
    if (manifest->claims.known[CLAIM_REPORT_PUBLIC])
        subjects[count++] = (struct digest_entry){ "report.public.html", 0,
                                                   manifest->claims.sha256[CLAIM_REPORT_PUBLIC] };
    return count;
}

/* Model Signing's digest of a tree: over the files' digests, in the order they are listed. */
static struct digest root_digest(const struct digest_entry *files, size_t count)
{
    struct digest_state *state = digest_begin();
    for (size_t i = 0; i < count; i++)
        digest_add(state, files[i].digest.bytes, DIGEST_BYTES);
    return digest_end(state);
}

/* ---- writing --------------------------------------------------------------------------------- */

static struct json *subject_json(const struct digest_entry *subject)
{
    char hex[DIGEST_HEX];
    struct json *object = json_new_object(), *digest = json_new_object();
    json_put_string(object, "name", subject->path);
    json_put_string(digest, "sha256", digest_hex(&subject->digest, hex));
    json_put(object, "digest", digest);
    return object;
}

/* The statement around a predicate, both taken over. */
static char *statement_text(enum statement_kind kind, struct json *subjects, struct json *predicate)
{
    struct json *root = json_new_object();
    json_put_string(root, "_type", statement_type);
    json_put(root, "subject", subjects);
    json_put_string(root, "predicateType", predicate_types[kind]);
    json_put(root, "predicate", predicate);
    char *text = json_text(root);
    json_free(root);
    return text;
}

static struct json *release_subjects(const struct statement_release *release)
{
    struct arena arena;
    struct digest_entry subjects[MOST_SUBJECTS];
    struct json *list = json_new_array();
    arena_init(&arena);
    size_t count = list_subjects(release, &arena, subjects);
    for (size_t i = 0; i < count; i++)
        json_push(list, subject_json(&subjects[i]));
    arena_release(&arena);
    return list;
}

char *statement_files(const struct statement_release *release)
{
    const struct manifest *manifest = release->manifest;
    struct digest_entry root = { manifest->root, 0,
                                 root_digest(manifest->files, manifest->file_count) };
    struct json *subjects = json_new_array(), *resources = json_new_array();
    struct json *predicate = json_new_object(), *serialization = json_new_object();
    char hex[DIGEST_HEX];
    json_push(subjects, subject_json(&root));
    for (size_t i = 0; i < manifest->file_count; i++) {
        struct json *resource = json_new_object();
        json_put_string(resource, "name", manifest->files[i].path);
        json_put_string(resource, "algorithm", "sha256");
        json_put_string(resource, "digest", digest_hex(&manifest->files[i].digest, hex));
        json_push(resources, resource);
    }
    json_put_string(serialization, "method", "files");
    json_put_string(serialization, "hash_type", "sha256");
    json_put_bool(serialization, "allow_symlinks", false);
    json_put(predicate, "serialization", serialization);
    json_put(predicate, "resources", resources);
    return statement_text(STATEMENT_FILES, subjects, predicate);
}

/* Who says it, and when: what audit and withdrawal share. */
static struct json *saying_json(const struct statement *says)
{
    char moment[MOMENT_TEXT];
    struct json *saying = json_new_object();
    json_put_string(saying, "role", role_names[says->role]);
    json_put_string(saying, "created", moment_text(says->created, moment));
    if (says->expires != INT64_MAX)
        json_put_string(saying, "expires", moment_text(says->expires, moment));
    json_put_string(saying, "version", says->tool_version);
    return saying;
}

/* The policy's rows as test-result wants them: their metrics by outcome. A row that says nothing of
 * having passed counts as failed. */
static void put_rows(struct json *predicate, const struct json *policy)
{
    struct json *passed = json_new_array(), *failed = json_new_array();
    const struct json *rows =
        policy && json_has(policy, "rows") ? json_get_array(policy, "rows", NULL) : NULL;
    for (size_t i = 0; rows && i < json_length(rows); i++) {
        const char *metric = json_get_string(json_at(rows, i), "metric", NULL);
        const char *verdict = json_get_string(json_at(rows, i), "verdict", NULL);
        bool ok = verdict && strcmp(verdict, "passed") == 0;
        json_push_string(ok ? passed : failed, metric ? metric : "unnamed");
    }
    json_put(predicate, "passedTests", passed);
    json_put(predicate, "warnedTests", json_new_array());
    json_put(predicate, "failedTests", failed);
}

char *statement_audit(const struct statement_release *release, const struct statement *says,
                      struct json *policy)
{
    const struct manifest *manifest = release->manifest;
    struct json *predicate = json_new_object(), *configuration = json_new_array();
    struct json *saying = saying_json(says);
    if (manifest->claims.known[CLAIM_POLICY]) {
        struct digest_entry file = { "policy.json", 0, manifest->claims.sha256[CLAIM_POLICY] };
        json_push(configuration, subject_json(&file));
    }
    json_put_string(predicate, "result", manifest_verdict_names[says->verdict]);
    json_put(predicate, "configuration", configuration);
    put_rows(predicate, policy);
    if (policy)
        json_put(saying, "policy", policy);
    json_put(predicate, "lethe", saying);
    return statement_text(STATEMENT_AUDIT, release_subjects(release), predicate);
}

char *statement_withdrawal(const struct statement_release *release, const struct statement *says)
{
    struct json *predicate = json_new_object();
    json_put_string(predicate, "reason", says->reason);
    json_put(predicate, "lethe", saying_json(says));
    return statement_text(STATEMENT_WITHDRAWAL, release_subjects(release), predicate);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool get_digest(const struct json *object, const char *key, struct digest *digest,
                       struct error *err)
{
    const char *hex = json_get_string(object, key, err);
    return hex &&
           (digest_from_hex(hex, digest) || error_set(err, "\"%s\" is not 64 digits 0-9a-f", key));
}

static bool read_subjects(const struct json *root, struct statement *statement, struct arena *arena,
                          struct error *err)
{
    const struct json *list = json_get_array(root, "subject", err);
    if (!list)
        return false;
    statement->subject_count = json_length(list);
    if (!statement->subject_count || statement->subject_count > MOST_SUBJECTS)
        return error_set(err, "%zu subjects; expected 1 to %d", statement->subject_count,
                         MOST_SUBJECTS);
    statement->subjects = arena_array(arena, struct digest_entry, statement->subject_count);
    for (size_t i = 0; i < statement->subject_count; i++) {
        const struct json *subject = json_at(list, i), *digest;
        const char *name;
        if (!STRICT_KEYS(subject, err, "name", "digest") ||
            !(name = json_get_string(subject, "name", err)) ||
            !(digest = json_get(subject, "digest", err)) || !STRICT_KEYS(digest, err, "sha256") ||
            !get_digest(digest, "sha256", &statement->subjects[i].digest, err))
            return false;
        statement->subjects[i].path = arena_string(arena, name);
    }
    return true;
}

static bool read_serialization(const struct json *predicate, struct error *err)
{
    const struct json *form = json_get(predicate, "serialization", err);
    bool links = true;
    if (!form || !STRICT_KEYS(form, err, "method", "hash_type", "allow_symlinks", "ignore_paths"))
        return false;
    const char *method = json_get_string(form, "method", err);
    const char *hash = method ? json_get_string(form, "hash_type", err) : NULL;
    if (!hash || !json_get_bool(form, "allow_symlinks", &links, err))
        return false;
    return (!strcmp(method, "files") && !strcmp(hash, "sha256") && !links) ||
           error_set(err,
                     "serialization by \"%s\" and \"%s\"; expected files and sha256, without "
                     "symbolic links",
                     method, hash);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct digest_entry *)a)->path, ((const struct digest_entry *)b)->path);
}

static bool read_resource(const struct json *resource, struct digest_entry *file,
                          struct arena *arena, struct error *err)
{
    if (!STRICT_KEYS(resource, err, "name", "digest", "algorithm"))
        return false;
    const char *name = json_get_string(resource, "name", err);
    const char *algorithm = name ? json_get_string(resource, "algorithm", err) : NULL;
    if (!algorithm || !get_digest(resource, "digest", &file->digest, err))
        return false;
    if (strcmp(algorithm, "sha256") != 0)
        return error_set(err, "algorithm \"%s\", expected \"sha256\"", algorithm);
    if (strlen(name) > STATEMENT_LONGEST_PATH)
        return error_set(err, "a path of %zu letters", strlen(name));
    file->path = arena_string(arena, name);
    return true;
}

static bool read_files(const struct json *predicate, struct statement *statement,
                       struct arena *arena, struct error *err)
{
    const struct json *list = NULL;
    if (!STRICT_KEYS(predicate, err, "serialization", "resources") ||
        !read_serialization(predicate, err) ||
        !(list = json_get_array(predicate, "resources", err)))
        return false;
    size_t count = json_length(list);
    struct digest_entry *files = arena_array(arena, struct digest_entry, count + 1);
    for (size_t i = 0; i < count; i++)
        if (!read_resource(json_at(list, i), &files[i], arena, err))
            return error_prefix(err, "resource %zu", i);
    struct digest root = root_digest(files, count);
    if (statement->subject_count != 1 || !digest_equal(&root, &statement->subjects[0].digest))
        return error_set(err, "the subject's digest is not that of the resources");
    qsort(files, count, sizeof *files,
          by_path); /* signers order by parts of paths, or by letters */
    for (size_t i = 1; i < count; i++)
        if (by_path(&files[i - 1], &files[i]) == 0)
            return error_set(err, "\"%s\" stands there twice", files[i].path);
    statement->files = files;
    statement->file_count = count;
    return true;
}

/* The index of a word in a list, or -1. */
static int index_of(const char *word, const char *const *list, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    return -1;
}

static bool get_moment(const struct json *object, const char *key, int64_t *seconds,
                       struct error *err)
{
    const char *text = json_get_string(object, key, err);
    return text && (moment_from_text(text, seconds) ||
                    error_set(err, "\"%s\" is not a time like 2026-01-31T12:00:00Z", key));
}

static bool read_saying(const struct json *predicate, struct statement *statement,
                        struct arena *arena, struct error *err)
{
    const struct json *saying = json_get(predicate, "lethe", err);
    if (!saying || !STRICT_KEYS(saying, err, "role", "created", "expires", "version", "policy"))
        return false;
    const char *role = json_get_string(saying, "role", err);
    const char *version = role ? json_get_string(saying, "version", err) : NULL;
    if (!version || !get_moment(saying, "created", &statement->created, err))
        return false;
    int found = index_of(role, role_names, ROLE_COUNT);
    if (found < 0)
        return error_set(err, "role \"%s\", expected producer, auditor or steward", role);
    statement->role = (enum role)found;
    statement->tool_version = arena_string(arena, version);
    statement->expires = INT64_MAX;
    return !json_has(saying, "expires") || get_moment(saying, "expires", &statement->expires, err);
}

static bool read_audit(const struct json *predicate, struct statement *statement,
                       struct arena *arena, struct error *err)
{
    if (!STRICT_KEYS(predicate, err, "result", "configuration", "passedTests", "warnedTests",
                     "failedTests", "url", "lethe"))
        return false;
    const char *result = json_get_string(predicate, "result", err);
    if (!result)
        return false;
    int verdict = index_of(result, manifest_verdict_names, VERDICT_COUNT);
    if (verdict < 0)
        return error_set(err, "result \"%s\", expected PASSED, WARNED or FAILED", result);
    statement->verdict = (enum manifest_verdict)verdict;
    return read_saying(predicate, statement, arena, err);
}

static bool read_withdrawal(const struct json *predicate, struct statement *statement,
                            struct arena *arena, struct error *err)
{
    const char *reason = NULL;
    if (!STRICT_KEYS(predicate, err, "reason", "lethe") ||
        !(reason = json_get_string(predicate, "reason", err)))
        return false;
    statement->reason = arena_string(arena, reason);
    return read_saying(predicate, statement, arena, err);
}

static bool (*const readers[STATEMENT_COUNT])(const struct json *, struct statement *,
                                              struct arena *, struct error *) = {
    [STATEMENT_FILES] = read_files,
    [STATEMENT_AUDIT] = read_audit,
    [STATEMENT_WITHDRAWAL] = read_withdrawal,
};

static bool read_statement(const struct json *root, struct statement *statement,
                           struct arena *arena, struct error *err)
{
    if (!STRICT_KEYS(root, err, "_type", "subject", "predicateType", "predicate"))
        return false;
    const char *type = json_get_string(root, "_type", err);
    const char *predicate_type = type ? json_get_string(root, "predicateType", err) : NULL;
    const struct json *predicate = predicate_type ? json_get(root, "predicate", err) : NULL;
    if (!predicate)
        return false;
    if (strcmp(type, statement_type) != 0)
        return error_set(err, "type \"%s\", expected \"%s\"", type, statement_type);
    int kind = index_of(predicate_type, predicate_types, STATEMENT_COUNT);
    if (kind < 0)
        return error_set(err, "predicate type \"%s\" is none that is known here", predicate_type);
    statement->kind = (enum statement_kind)kind;
    return read_subjects(root, statement, arena, err) &&
           readers[kind](predicate, statement, arena, err);
}

bool statement_parse(const void *payload, size_t size, const char *name,
                     struct statement *statement, struct arena *arena, struct error *err)
{
    *statement = (struct statement){ 0 };
    struct json *root = json_parse(payload, size, name, err);
    if (!root)
        return false;
    bool ok = read_statement(root, statement, arena, err) || error_prefix(err, "%s", name);
    json_free(root);
    return ok;
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool files_match(const struct statement *statement, const struct manifest *manifest,
                        struct error *err)
{
    for (size_t i = 0; i < statement->file_count || i < manifest->file_count; i++) {
        const struct digest_entry *said = &statement->files[i], *is = &manifest->files[i];
        if (i >= manifest->file_count)
            return error_set(err, "it tells of \"%s\", the manifest does not", said->path);
        if (i >= statement->file_count)
            return error_set(err, "it does not tell of \"%s\"", is->path);
        if (strcmp(said->path, is->path) != 0)
            return error_set(err, "it tells of \"%s\" where the manifest has \"%s\"", said->path,
                             is->path);
        if (!digest_equal(&said->digest, &is->digest))
            return error_set(err, "it has another digest of \"%s\" than the manifest", is->path);
    }
    return true;
}

bool statement_matches(const struct statement *statement, const struct statement_release *release,
                       struct error *err)
{
    if (statement->kind == STATEMENT_FILES)
        return files_match(statement, release->manifest, err);
    struct digest_entry expected[MOST_SUBJECTS];
    struct arena arena;
    arena_init(&arena);
    size_t count = list_subjects(release, &arena, expected);
    bool ok =
        count == statement->subject_count ||
        error_set(err, "it is about %zu things, expected %zu", statement->subject_count, count);
    for (size_t i = 0; ok && i < count; i++) {
        if (strcmp(expected[i].path, statement->subjects[i].path) != 0)
            ok = error_set(err, "it is about \"%s\", expected \"%s\"", statement->subjects[i].path,
                           expected[i].path);
        else if (!digest_equal(&expected[i].digest, &statement->subjects[i].digest))
            ok = error_set(err, "it is about another %s", expected[i].path);
    }
    arena_release(&arena);
    return ok;
}
