/* See bundle.h. */
#include "release/bundle.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/base64.h"
#include "release/statement.h"
#include "release/strict.h"

#include <string.h>

void dsse_encode(struct text *out, const char *type, const void *payload, size_t size)
{
    text_format(out, "DSSEv1 %zu %s %zu ", strlen(type), type, size);
    text_add_bytes(out, payload, size);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool get_blob(const struct json *object, const char *key, struct blob *blob,
                     struct arena *arena, struct error *err)
{
    const char *text = json_get_string(object, key, err);
    if (!text)
        return false;
    blob->bytes = base64_bytes(arena, text, &blob->size);
    return (blob->bytes && blob->size) || error_set(err, "\"%s\" is not base64", key);
}

/* Objects of one key each, whose values are blobs. */
static bool get_blobs(const struct json *list, const char *key, struct blob *blobs, size_t most,
                      size_t *count, struct arena *arena, struct error *err)
{
    *count = json_length(list);
    if (*count == 0 || *count > most)
        return error_set(err, "%zu times \"%s\"; expected 1 to %zu", *count, key, most);
    for (size_t i = 0; i < *count; i++)
        if (!STRICT_KEYS(json_at(list, i), err, key) ||
            !get_blob(json_at(list, i), key, &blobs[i], arena, err))
            return false;
    return true;
}

static bool read_certificates(const struct json *material, struct bundle *bundle,
                              struct arena *arena, struct error *err)
{
    if (json_has(material, "certificate")) {
        const struct json *one = json_get(material, "certificate", err);
        bundle->certificate_count = 1;
        return one && STRICT_KEYS(one, err, "rawBytes") &&
               get_blob(one, "rawBytes", &bundle->certificates[0], arena, err);
    }
    const struct json *chain = json_get(material, "x509CertificateChain", err);
    const struct json *list = chain && STRICT_KEYS(chain, err, "certificates")
                                  ? json_get_array(chain, "certificates", err)
                                  : NULL;
    return list && get_blobs(list, "rawBytes", bundle->certificates, BUNDLE_MOST_CERTIFICATES,
                             &bundle->certificate_count, arena, err);
}

static bool read_timestamps(const struct json *material, struct bundle *bundle, struct arena *arena,
                            struct error *err)
{
    const struct json *data = json_get(material, "timestampVerificationData", err);
    if (!data || !STRICT_KEYS(data, err, "rfc3161Timestamps"))
        return false;
    const struct json *list = json_get_array(data, "rfc3161Timestamps", err);
    return list && get_blobs(list, "signedTimestamp", bundle->timestamps, BUNDLE_MOST_TIMESTAMPS,
                             &bundle->timestamp_count, arena, err);
}

static bool read_hint(const struct json *material, struct bundle *bundle, struct arena *arena,
                      struct error *err)
{
    const struct json *key = json_get(material, "publicKey", err);
    const char *hint =
        key && STRICT_KEYS(key, err, "hint") ? json_get_string(key, "hint", err) : NULL;
    bundle->hint = hint ? arena_string(arena, hint) : NULL;
    return hint;
}

static bool read_material(const struct json *material, struct bundle *bundle, struct arena *arena,
                          struct error *err)
{
    static const char *const kinds[] = { "publicKey", "x509CertificateChain", "certificate" };
    int found = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        found += json_has(material, kinds[i]);
    if (found != 1)
        return error_set(err, "expected one of publicKey, x509CertificateChain and certificate");
    if (!STRICT_KEYS(material, err, "publicKey", "x509CertificateChain", "certificate",
                     "tlogEntries", "timestampVerificationData"))
        return false;
    if (json_has(material, "tlogEntries")) {
        const struct json *log = json_get_array(material, "tlogEntries", err);
        if (!log || json_length(log))
            return error_set(err, "entries of a transparency log are not supported: checking them "
                                  "takes a network");
    }
    if (json_has(material, "timestampVerificationData") &&
        !read_timestamps(material, bundle, arena, err))
        return false;
    return (json_has(material, "publicKey") ? read_hint : read_certificates)(material, bundle,
                                                                             arena, err);
}

static bool read_signature(const struct json *signature, struct bundle *bundle, struct arena *arena,
                           struct error *err)
{
    if (!STRICT_KEYS(signature, err, "sig", "keyid"))
        return false;
    const char *keyid = json_get_string(signature, "keyid", NULL);
    if (json_has(signature, "keyid") && !json_has_null(signature, "keyid") && (!keyid || *keyid))
        return error_set(err, "\"keyid\" is not empty; expected \"hint\" alone to tell of the key");
    return get_blob(signature, "sig", &bundle->signature, arena, err);
}

static bool read_envelope(const struct json *envelope, struct bundle *bundle, struct arena *arena,
                          struct error *err)
{
    if (!STRICT_KEYS(envelope, err, "payload", "payloadType", "signatures"))
        return false;
    const char *type = json_get_string(envelope, "payloadType", err);
    const struct json *signatures = type ? json_get_array(envelope, "signatures", err) : NULL;
    if (!signatures)
        return false;
    if (strcmp(type, BUNDLE_PAYLOAD_TYPE) != 0)
        return error_set(err, "payloadType is \"%s\", expected \"%s\"", type, BUNDLE_PAYLOAD_TYPE);
    if (json_length(signatures) != 1)
        return error_set(err, "%zu signatures; a bundle holds exactly one",
                         json_length(signatures));
    return get_blob(envelope, "payload", &bundle->payload, arena, err) &&
           read_signature(json_at(signatures, 0), bundle, arena, err);
}

static bool read_bundle(const struct json *root, struct bundle *bundle, struct arena *arena,
                        struct error *err)
{
    if (!STRICT_KEYS(root, err, "mediaType", "verificationMaterial", "dsseEnvelope"))
        return false;
    const char *type = json_get_string(root, "mediaType", err);
    const struct json *material = type ? json_get(root, "verificationMaterial", err) : NULL;
    const struct json *envelope = material ? json_get(root, "dsseEnvelope", err) : NULL;
    if (!envelope)
        return false;
    if (strcmp(type, BUNDLE_MEDIA_TYPE) != 0)
        return error_set(err, "mediaType is \"%s\", expected \"%s\"", type, BUNDLE_MEDIA_TYPE);
    return read_material(material, bundle, arena, err) &&
           read_envelope(envelope, bundle, arena, err);
}

bool bundle_parse(const char *bytes, size_t size, const char *name, struct bundle *bundle,
                  struct arena *arena, struct error *err)
{
    *bundle = (struct bundle){ 0 };
    struct json *root = json_parse(bytes, size, name, err);
    if (!root)
        return false;
    bool ok = read_bundle(root, bundle, arena, err) || error_prefix(err, "%s", name);
    json_free(root);
    return ok;
}

bool bundle_load(const char *path, struct bundle *bundle, struct arena *arena, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, BUNDLE_MOST_BYTES, &size, err);
    if (!bytes)
        return false;
    bool ok = bundle_parse(bytes, size, path, bundle, arena, err);
    memory_free(bytes);
    return ok;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_blob(struct json *object, const char *key, const struct blob *blob)
{
    struct text text = { 0 };
    base64_add(&text, blob->bytes, blob->size);
    json_put_string(object, key, text.bytes);
    text_release(&text);
}

static struct json *blob_list(const char *key, const struct blob *blobs, size_t count)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *object = json_new_object();
        put_blob(object, key, &blobs[i]);
        json_push(list, object);
    }
    return list;
}

/* { "key": value } */
static struct json *wrapped(const char *key, struct json *value)
{
    struct json *object = json_new_object();
    json_put(object, key, value);
    return object;
}

static struct json *material_json(const struct bundle *bundle)
{
    struct json *material = json_new_object();
    if (bundle->hint) {
        struct json *key = json_new_object();
        json_put_string(key, "hint", bundle->hint);
        json_put(material, "publicKey", key);
    } else {
        json_put(material, "x509CertificateChain",
                 wrapped("certificates",
                         blob_list("rawBytes", bundle->certificates, bundle->certificate_count)));
    }
    json_put(material, "tlogEntries", json_new_array());
    if (bundle->timestamp_count)
        json_put(material, "timestampVerificationData",
                 wrapped("rfc3161Timestamps", blob_list("signedTimestamp", bundle->timestamps,
                                                        bundle->timestamp_count)));
    return material;
}

void bundle_write(const struct bundle *bundle, struct text *out)
{
    struct json *root = json_new_object(), *envelope = json_new_object();
    struct json *signatures = json_new_array(), *signature = json_new_object();
    json_put_string(root, "mediaType", BUNDLE_MEDIA_TYPE);
    json_put(root, "verificationMaterial", material_json(bundle));
    put_blob(envelope, "payload", &bundle->payload);
    json_put_string(envelope, "payloadType", BUNDLE_PAYLOAD_TYPE);
    put_blob(signature, "sig", &bundle->signature);
    json_put_string(signature, "keyid", "");
    json_push(signatures, signature);
    json_put(envelope, "signatures", signatures);
    json_put(root, "dsseEnvelope", envelope);
    char *text = json_text(root);
    text_add(out, text);
    memory_free(text);
    json_free(root);
}

/* ---- names -------------------------------------------------------------------------------- */

bool bundle_is_named_for(const char *stem, const char *name)
{
    size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0 || name[length] != '.' ||
        !text_ends_with(name, ".sigstore.json"))
        return false;
    for (int role = 0; role < ROLE_COUNT; role++) {
        size_t word = strlen(role_names[role]);
        const char *rest = name + length + 1;
        if (strncmp(rest, role_names[role], word) == 0 && strchr(".-", rest[word]))
            return true;
    }
    return false;
}
