/* See verify.h. */
#include "release/verify.h"

#include "base/file.h"
#include "base/text.h"
#include "release/extract.h"
#include "release/moment.h"
#include "release/stream.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BUNDLES = 64 };

struct verifying {
    const struct verify_job *job;
    struct verification *result;
    struct arena *arena;
    struct error *err;
    struct statement_release release;
    struct bundle bundle;     /* the one that is being looked at … */
    struct text signed_bytes; /* … and what its signature is over */
};

char *release_stem(struct arena *arena, const char *archive)
{
    const char *name = path_name(archive), *ending = strstr(name, ".tar.zst");
    return ending ? arena_substring(arena, name, (size_t)(ending - name))
                  : arena_string(arena, name);
}

char *release_beside(struct arena *arena, const char *archive, const char *ending)
{
    return path_join(arena, path_parent(arena, archive),
                     arena_format(arena, "%s%s", release_stem(arena, archive), ending));
}

static bool bad(struct verifying *v, const char *file, const struct error *why)
{
    return findings_add(&v->result->findings, FINDING_BAD, "%s: %s", path_name(file), why->message);
}

static bool is_bad(const struct verifying *v)
{
    return findings_has(&v->result->findings, FINDING_BAD);
}

/* ---- the manifest ---------------------------------------------------------------------------- */

/* Most often it is the argument that is wrong, and the manifest's name follows from it. */
static bool no_manifest(struct verifying *v, const char *path)
{
    const char *archive = v->job->archive;
    if (path_kind(archive) == PATH_FOLDER)
        return error_set(v->err, "%s: is a folder; name the archive in it (NAME.tar.zst)", archive);
    if (text_ends_with(archive, ".manifest.json") || text_ends_with(archive, ".sigstore.json"))
        return error_set(v->err, "%s: is no archive; name the archive beside it (NAME.tar.zst)",
                         archive);
    if (path_kind(archive) == PATH_NOTHING)
        return error_set(v->err, "%s: there is no such archive", archive);
    return error_set(v->err,
                     "%s: not there; the manifest and the signatures have to lie beside the "
                     "archive, under its name: fetch them from where it came from",
                     path);
}

static bool load_manifest(struct verifying *v)
{
    const char *path = v->job->manifest
                           ? v->job->manifest
                           : release_beside(v->arena, v->job->archive, ".manifest.json");
    struct error why;
    size_t size;
    if (!v->job->manifest && path_kind(path) == PATH_NOTHING)
        return no_manifest(v, path);
    char *bytes = file_read(path, MANIFEST_MOST_BYTES, &size, v->err);
    if (!bytes)
        return false;
    v->release.manifest_digest = digest_of(bytes, size);
    v->release.manifest = &v->result->manifest;
    v->result->has_manifest =
        manifest_parse(bytes, size, path_name(path), &v->result->manifest, v->arena, &why);
    memory_free(bytes);
    if (!v->result->has_manifest)
        findings_add(&v->result->findings, FINDING_BAD, "%s", why.message);
    return true;
}

/* ---- who signed ------------------------------------------------------------------------------ */

static bool signature_holds(const struct verifying *v, const struct key *key)
{
    return key_verify(key, v->signed_bytes.bytes, v->signed_bytes.length, v->bundle.signature.bytes,
                      v->bundle.signature.size);
}

/* By the hint: nothing but a choice of the key to try. The same key may stand there in several
 * roles; which of them counts is decided by the role that the statement claims. */
static bool find_key(struct verifying *v, struct signer *signer, struct error *why)
{
    const struct trust *trust = v->job->trust;
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < trust->key_count; i++) {
        const struct trust_key *key = &trust->keys[i];
        if (strcmp(digest_hex(&key->fingerprint, hex), v->bundle.hint) != 0)
            continue;
        if (!signature_holds(v, key->key))
            return error_set(why, "the signature of \"%s\" does not hold", key->name);
        signer->name = key->name;
        signer->fingerprint = key->fingerprint;
        signer->identity = arena_string(v->arena, hex);
        return true;
    }
    return error_set(why, "signed by a key that is not trusted (%.64s)", v->bundle.hint);
}

/* Whether the signature is by a certificate of this authority. */
static bool holds_by(struct verifying *v, const struct trust_authority *authority,
                     struct signer *signer, struct error *why)
{
    int64_t at = signer->stamped ? signer->stamped : v->job->now;
    struct key *key = certificate_key(v->bundle.certificates, v->bundle.certificate_count,
                                      authority->authority, at, &signer->identity, v->arena, why);
    if (!key)
        return false;
    bool holds = signature_holds(v, key);
    signer->fingerprint = key_fingerprint(key);
    key_free(key);
    if (!holds)
        return error_set(why, "the signature of %s does not hold", signer->identity);
    return !authority->subject || !strcmp(authority->subject, signer->identity) ||
           error_set(why, "signed by %s, but \"%s\" is trusted for %s alone", signer->identity,
                     authority->name, authority->subject);
}

static bool find_authority(struct verifying *v, struct signer *signer, struct error *why)
{
    const struct trust *trust = v->job->trust;
    error_set(why, "signed with a certificate, but the trust file names no authority");
    for (size_t i = 0; i < trust->authority_count; i++)
        if (holds_by(v, &trust->authorities[i], signer, why)) {
            signer->roles |= 1U << trust->authorities[i].role;
            signer->name = signer->name ? signer->name : trust->authorities[i].name;
        }
    return signer->roles;
}

/* Each timestamp has to hold; the earliest is what they prove. */
static bool find_timestamp(struct verifying *v, struct signer *signer, struct error *why)
{
    const struct trust *trust = v->job->trust;
    for (size_t t = 0; t < v->bundle.timestamp_count; t++) {
        bool holds = false;
        int64_t moment = 0;
        error_set(why, "it has a timestamp, but the trust file names no authority for those");
        for (size_t i = 0; !holds && i < trust->timestamp_count; i++)
            holds = timestamp_verify(&v->bundle.timestamps[t], v->bundle.signature.bytes,
                                     v->bundle.signature.size, trust->timestamps[i].authority,
                                     &moment, why);
        if (!holds)
            return false;
        if (!signer->stamped || moment < signer->stamped)
            signer->stamped = moment;
    }
    return true;
}

static bool check_bundle(struct verifying *v, const char *path, struct signer *signer,
                         struct error *why)
{
    signer->file = arena_string(v->arena, path_name(path));
    text_clear(&v->signed_bytes);
    dsse_encode(&v->signed_bytes, BUNDLE_PAYLOAD_TYPE, v->bundle.payload.bytes,
                v->bundle.payload.size);
    return find_timestamp(v, signer, why) &&
           (v->bundle.hint ? find_key : find_authority)(v, signer, why) &&
           statement_parse(v->bundle.payload.bytes, v->bundle.payload.size, "statement",
                           &signer->statement, v->arena, why) &&
           statement_matches(&signer->statement, &v->release, why);
}

/* Beside the archive, of somebody else: no matter to who believes a single key. */
static bool is_passed_over(const struct verifying *v)
{
    char hex[DIGEST_HEX];
    return v->job->trust->any_role && !v->job->bundle_count &&
           (!v->bundle.hint ||
            strcmp(v->bundle.hint, digest_hex(&v->job->trust->keys[0].fingerprint, hex)) != 0);
}

static bool take_bundle(struct verifying *v, const char *path)
{
    struct error why;
    size_t size;
    char *bytes = file_read(path, BUNDLE_MOST_BYTES, &size, v->err);
    if (!bytes)
        return false;
    struct signer *signer = &v->result->signers[v->result->signer_count];
    *signer = (struct signer){ 0 };
    bool ok = bundle_parse(bytes, size, "bundle", &v->bundle, v->arena, &why);
    memory_free(bytes);
    if (ok && is_passed_over(v))
        return true;
    ok = ok && check_bundle(v, path, signer, &why);
    if (ok)
        v->result->signer_count++;
    else
        bad(v, path, &why);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All bundles beside the archive, in byte order of their names. */
static bool list_bundles(struct verifying *v, const char **paths, size_t *count)
{
    const char *folder = path_parent(v->arena, v->job->archive);
    const char *stem = release_stem(v->arena, v->job->archive);
    DIR *stream = opendir(folder);
    if (!stream)
        return error_set_errno(v->err, "%s: cannot be listed", folder);
    bool ok = true;
    errno = 0;
    for (struct dirent *entry; ok && (entry = readdir(stream));) {
        if (!bundle_is_named_for(stem, entry->d_name))
            continue;
        ok = *count < MOST_BUNDLES ||
             error_set(v->err, "%s: more than %d bundles; name those that count with --bundle",
                       folder, MOST_BUNDLES);
        if (ok)
            paths[(*count)++] = path_join(v->arena, folder, entry->d_name);
        errno = 0;
    }
    if (ok && errno) /* a withdrawal may be what did not show */
        ok = error_set_errno(v->err, "%s: cannot be listed to its end", folder);
    closedir(stream);
    qsort(paths, *count, sizeof *paths, by_name);
    return ok;
}

static bool take_bundles(struct verifying *v)
{
    const char *found[MOST_BUNDLES];
    const char *const *paths = v->job->bundles;
    size_t count = v->job->bundle_count;
    if (!count) {
        if (!list_bundles(v, found, &count))
            return false;
        paths = found;
    }
    if (!count)
        return error_set(v->err,
                         "%s: no signature beside it (%s.*.sigstore.json); name one with --bundle",
                         v->job->archive, release_stem(v->arena, v->job->archive));
    v->result->signers = arena_array(v->arena, struct signer, count);
    for (size_t i = 0; i < count; i++)
        if (!take_bundle(v, paths[i]))
            return false;
    if (!v->result->signer_count && !is_bad(v)) /* all were passed over: nothing is authentic */
        findings_add(&v->result->findings, FINDING_BAD,
                     "it is not signed by this key, but by others (%zu bundle%s)", count,
                     count == 1 ? "" : "s");
    return true;
}

/* ---- the archive ----------------------------------------------------------------------------- */

static bool check_archive(struct verifying *v, struct extract *extract)
{
    struct stream_sink sink;
    if (extract)
        sink = extract_sink(extract);
    const char *name = path_name(v->job->archive);
    const char *expected = v->result->manifest.archive.name;
    if (strncmp(name, expected, strlen(expected)) != 0) {
        findings_add(&v->result->findings, FINDING_BAD, "%s: the signed archive is called %s", name,
                     expected);
        return true;
    }
    /* Of a split archive any volume may have been named. */
    const char *whole = path_join(v->arena, path_parent(v->arena, v->job->archive), expected);
    return stream_check(&v->result->manifest,
                        v->result->manifest.volume_count ? whole : v->job->archive,
                        extract ? &sink : NULL, &v->result->findings, v->err);
}

/* ---- the recipient's policy ------------------------------------------------------------------ */

static bool unmet(struct verifying *v, const char *format, ...) PRINTF(2, 3);
static bool unmet(struct verifying *v, const char *format, ...)
{
    struct text text = { 0 };
    va_list arguments;
    va_start(arguments, format);
    text_format_list(&text, format, arguments);
    va_end(arguments);
    findings_add(&v->result->findings, FINDING_POLICY, "%s", text.bytes);
    text_release(&text);
    return false;
}

/* Whether the trust file lets this signer speak in a role at that moment. */
static bool may_speak(struct verifying *v, const struct signer *signer, enum role role)
{
    const struct trust *trust = v->job->trust;
    char text[MOMENT_TEXT];
    int64_t at = signer->stamped ? signer->stamped : v->job->now;
    bool in_role = trust->any_role || (signer->roles & 1U << role);
    for (size_t i = 0; i < trust->key_count; i++) {
        const struct trust_key *key = &trust->keys[i];
        if ((key->role != role && !trust->any_role) ||
            !digest_equal(&key->fingerprint, &signer->fingerprint))
            continue;
        in_role = true;
        if (at < key->from || signer->statement.created < key->from)
            return unmet(v, "%s: \"%s\" counts only from %s on", signer->file, key->name,
                         moment_text(key->from, text));
        if (at > key->until)
            return unmet(v, "%s: \"%s\" counts only until %s%s", signer->file, key->name,
                         moment_text(key->until, text),
                         signer->stamped ? "" : ", unless a timestamp shows that it signed before");
    }
    return in_role || unmet(v, "%s: \"%s\" is not trusted as %s", signer->file, signer->name,
                            role_names[role]);
}

static void judge_audit(struct verifying *v, struct signer *signer)
{
    const struct statement *says = &signer->statement;
    char text[MOMENT_TEXT];
    bool ok = may_speak(v, signer, says->role);
    if (says->verdict == VERDICT_FAILED)
        ok =
            unmet(v, "%s: the %s says that the audit FAILED", signer->file, role_names[says->role]);
    if (says->verdict != v->result->manifest.claims.verdict)
        ok = unmet(v, "%s: the %s says %s, the manifest %s", signer->file, role_names[says->role],
                   manifest_verdict_names[says->verdict],
                   manifest_verdict_names[v->result->manifest.claims.verdict]);
    if (v->job->now > says->expires)
        ok = unmet(v, "%s: the statement of the %s expired at %s", signer->file,
                   role_names[says->role], moment_text(says->expires, text));
    if (says->created > v->job->now)
        ok = unmet(v, "%s: the statement of the %s is from the future (%s)", signer->file,
                   role_names[says->role], moment_text(says->created, text));
    signer->counts = ok;
}

static void judge_withdrawal(struct verifying *v, struct signer *signer)
{
    char text[MOMENT_TEXT];
    const struct statement *says = &signer->statement;
    unmet(v, "%s: withdrawn by the %s \"%s\" at %s: %s", signer->file, role_names[says->role],
          signer->name, moment_text(says->created, text), says->reason);
}

/* Whether an earlier signer that counts has this key, in this role or, where keys have to be
 * distinct, in any. */
static bool counted_before(const struct verifying *v, size_t i)
{
    const struct signer *signers = v->result->signers;
    for (size_t j = 0; j < i; j++)
        if (signers[j].counts && digest_equal(&signers[j].fingerprint, &signers[i].fingerprint) &&
            (v->job->trust->distinct || signers[j].statement.role == signers[i].statement.role))
            return true;
    return false;
}

static void count_roles(struct verifying *v)
{
    const struct trust *trust = v->job->trust;
    int64_t have[ROLE_COUNT] = { 0 }, all = 0;
    for (size_t i = 0; i < v->result->signer_count; i++) {
        struct signer *signer = &v->result->signers[i];
        signer->counts = signer->counts && !counted_before(v, i);
        have[signer->statement.role] += signer->counts;
        all += signer->counts;
    }
    for (int role = 0; role < ROLE_COUNT; role++)
        if (have[role] < trust->require[role])
            unmet(v, "signed by %d %s%s, but %d required", (int)have[role], role_names[role],
                  have[role] == 1 ? "" : "s", (int)trust->require[role]);
    if (trust->any_role && !all)
        unmet(v, "no statement about the audit that counts");
}

static void judge(struct verifying *v)
{
    for (size_t i = 0; i < v->result->signer_count; i++) {
        struct signer *signer = &v->result->signers[i];
        if (signer->statement.kind == STATEMENT_AUDIT)
            judge_audit(v, signer);
        else if (signer->statement.kind == STATEMENT_WITHDRAWAL)
            judge_withdrawal(v, signer);
    }
    count_roles(v);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool check_archive_into(struct verifying *v)
{
    struct extract extract;
    if (!v->job->extract)
        return check_archive(v, NULL);
    if (!extract_open(&extract, v->job->extract, v->err))
        return false;
    bool told = check_archive(v, &extract);
    if (told && !v->result->findings.count)
        return extract_commit(&extract, v->err);
    extract_abandon(&extract);
    return told;
}

/* The policy is judged before the pass, though told after it: a folder is put in place by the end
 * of the pass, and must not be when the policy is unmet. */
static bool verify_all(struct verifying *v)
{
    if (!load_manifest(v))
        return false;
    if (!v->result->has_manifest)
        return true;
    if (!take_bundles(v))
        return false;
    if (is_bad(v))
        return true;
    judge(v);
    return check_archive_into(v);
}

bool verify(const struct verify_job *job, struct verification *result, struct arena *arena,
            struct error *err)
{
    struct verifying v = { .job = job, .result = result, .arena = arena, .err = err };
    *result = (struct verification){ .answer = ANSWER_NO };
    findings_init(&result->findings);
    bool ok = verify_all(&v);
    text_release(&v.signed_bytes);
    findings_sort(&result->findings);
    if (is_bad(&v))
        result->answer = ANSWER_NO;
    else
        result->answer = result->findings.count ? ANSWER_UNMET : ANSWER_YES;
    return ok;
}

void verification_release(struct verification *result)
{
    findings_release(&result->findings);
}
