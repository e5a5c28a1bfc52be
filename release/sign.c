/* See sign.h. */
#include "release/sign.h"

#include "base/file.h"
#include "base/text.h"
#include "release/stream.h"
#include "release/verify.h"

#include <string.h>

enum { LARGEST_PEM = 1 << 16, LARGEST_RESPONSE = 1 << 16 };

struct signing {
    const struct sign_job *job;
    struct signed_files *written;
    struct arena *arena;
    struct error *err;
    struct manifest manifest;
    struct statement_release release;
};

static char *path_of(struct signing *s, enum statement_kind kind)
{
    const char *label = s->job->label;
    char *ending = arena_format(s->arena, ".%s%s%s.%s.sigstore.json", role_names[s->job->says.role],
                                label ? "-" : "", label ? label : "", statement_kind_names[kind]);
    return release_beside(s->arena, s->job->archive, ending);
}

static bool load_manifest(struct signing *s)
{
    const char *path = release_beside(s->arena, s->job->archive, ".manifest.json");
    size_t size;
    char *bytes = file_read(path, MANIFEST_MOST_BYTES, &size, s->err);
    if (!bytes)
        return false;
    s->release = (struct statement_release){ &s->manifest, digest_of(bytes, size) };
    bool ok = manifest_parse(bytes, size, path, &s->manifest, s->arena, s->err);
    memory_free(bytes);
    return ok;
}

static bool check_archive(struct signing *s, struct findings *findings)
{
    if (!stream_check(&s->manifest, s->job->archive, NULL, findings, s->err))
        return false;
    findings_sort(findings);
    return !findings->count ||
           error_set(s->err, "%s is not what its manifest says; nothing was signed",
                     s->job->archive);
}

/* The gate's document, when the manifest tells of one: it has to be that one. */
static bool load_policy(struct signing *s, struct json **policy)
{
    const char *path = path_join(s->arena, path_parent(s->arena, s->job->archive), "policy.json");
    struct digest digest;
    *policy = NULL;
    if (!s->manifest.claims.known[CLAIM_POLICY])
        return true;
    if (!digest_file(path, &digest, s->err))
        return error_prefix(s->err, "the manifest tells of a policy, which is signed with it");
    if (!digest_equal(&digest, &s->manifest.claims.sha256[CLAIM_POLICY]))
        return error_set(s->err, "%s: not the policy that the manifest tells of", path);
    *policy = json_load(path, s->err);
    return *policy;
}

static bool load_certificates(struct signing *s, struct bundle *bundle)
{
    size_t size;
    char *pem = file_read(s->job->certificates, LARGEST_PEM, &size, s->err);
    if (!pem)
        return false;
    bool ok = certificates_from_pem(pem, size, s->job->certificates, bundle->certificates,
                                    BUNDLE_MOST_CERTIFICATES, &bundle->certificate_count, s->arena,
                                    s->err);
    memory_free(pem);
    struct key *key = ok ? certificate_public_key(&bundle->certificates[0], s->err) : NULL;
    if (!key)
        return false;
    struct digest theirs = key_fingerprint(key), ours = key_fingerprint(s->job->key);
    key_free(key);
    return digest_equal(&theirs, &ours) ||
           error_set(s->err, "%s: the first certificate is not that of the key",
                     s->job->certificates);
}

static bool write_bytes(struct signing *s, const char *path, const struct text *text)
{
    s->written->paths[s->written->count++] = path;
    return file_write(path, text->bytes, text->length, s->err);
}

static bool write_request(struct signing *s, const char *path, const struct signature *signature)
{
    struct text request = { 0 };
    bool ok = timestamp_request(signature->bytes, signature->size, &request, s->err) &&
              write_bytes(s, arena_format(s->arena, "%s.tsq", path), &request);
    text_release(&request);
    return ok;
}

/* Signs a statement, which is freed here. */
static bool write_bundle(struct signing *s, enum statement_kind kind, char *statement)
{
    struct text encoded = { 0 }, document = { 0 };
    struct signature signature;
    struct bundle bundle = { .payload = { (unsigned char *)statement, strlen(statement) } };
    char hex[DIGEST_HEX];
    struct digest fingerprint = key_fingerprint(s->job->key);
    const char *path = path_of(s, kind);
    dsse_encode(&encoded, BUNDLE_PAYLOAD_TYPE, statement, bundle.payload.size);
    bundle.hint = s->job->certificates ? NULL : digest_hex(&fingerprint, hex);
    bool ok = (!s->job->certificates || load_certificates(s, &bundle)) &&
              key_sign(s->job->key, encoded.bytes, encoded.length, &signature, s->err);
    if (ok) {
        bundle.signature = (struct blob){ signature.bytes, signature.size };
        bundle_write(&bundle, &document);
        ok = write_bytes(s, path, &document);
    }
    if (ok && s->job->request && kind != STATEMENT_FILES)
        ok = write_request(s, path, &signature);
    text_release(&encoded);
    text_release(&document);
    memory_free(statement);
    return ok;
}

static bool is_free(struct signing *s, enum statement_kind kind)
{
    const char *path = path_of(s, kind);
    return path_kind(path) == PATH_NOTHING ||
           error_set(s->err, "%s: exists already; remove it, or sign with another --label", path);
}

static bool sign_audit(struct signing *s, struct findings *findings)
{
    struct statement says = s->job->says;
    struct json *policy;
    if (!is_free(s, STATEMENT_FILES) || !is_free(s, STATEMENT_AUDIT) ||
        !check_archive(s, findings) || !load_policy(s, &policy))
        return false;
    says.verdict = s->manifest.claims.verdict;
    return write_bundle(s, STATEMENT_AUDIT, statement_audit(&s->release, &says, policy)) &&
           write_bundle(s, STATEMENT_FILES, statement_files(&s->release));
}

bool sign_release(const struct sign_job *job, struct signed_files *written,
                  struct findings *findings, struct arena *arena, struct error *err)
{
    struct signing s = { .job = job, .written = written, .arena = arena, .err = err };
    *written = (struct signed_files){ 0 };
    if (!load_manifest(&s))
        return false;
    if (!job->withdraw)
        return sign_audit(&s, findings);
    return is_free(&s, STATEMENT_WITHDRAWAL) &&
           write_bundle(&s, STATEMENT_WITHDRAWAL, statement_withdrawal(&s.release, &job->says));
}

static bool add_timestamp(struct bundle *bundle, const char *response, struct text *document,
                          struct error *err)
{
    size_t size;
    char *bytes = file_read(response, LARGEST_RESPONSE, &size, err);
    if (!bytes)
        return false;
    struct blob blob = { (unsigned char *)bytes, size };
    bool ok = timestamp_matches(&blob, bundle->signature.bytes, bundle->signature.size, err) ||
              error_prefix(err, "%s", response);
    if (ok && bundle->timestamp_count == BUNDLE_MOST_TIMESTAMPS)
        ok = error_set(err, "the bundle has %d timestamps already", BUNDLE_MOST_TIMESTAMPS);
    if (ok) {
        bundle->timestamps[bundle->timestamp_count++] = blob;
        bundle_write(bundle, document);
    }
    memory_free(bytes);
    return ok;
}

bool sign_add_timestamp(const char *path, const char *response, struct error *err)
{
    struct arena arena;
    struct bundle bundle;
    struct text document = { 0 };
    arena_init(&arena);
    bool ok = bundle_load(path, &bundle, &arena, err) &&
              add_timestamp(&bundle, response, &document, err) &&
              file_write(path, document.bytes, document.length, err);
    text_release(&document);
    arena_release(&arena);
    return ok;
}
