/* See sidecar.h. */
#include "release/sidecar.h"

#include "base/text.h"
#include "release/base64.h"

#include <string.h>

/* ---- minisign -------------------------------------------------------------------------------- */

enum { KEY_ID = 8, LONG_DIGEST = 64 };

static bool is_ed25519(const struct key *key, struct error *err)
{
    return key_kind(key) == KEY_ED25519 ||
           error_set(err, "minisign knows Ed25519 keys alone, and this is a %s key",
                     key_kind_names[key_kind(key)]);
}

/* minisign tells keys apart by eight bytes that mean nothing; ours are the fingerprint's first. */
static void add_header(const struct key *key, const char *algorithm, struct text *out)
{
    struct digest fingerprint = key_fingerprint(key);
    text_add_bytes(out, algorithm, 2);
    text_add_bytes(out, fingerprint.bytes, KEY_ID);
}

static void add_line(struct text *out, const struct text *bytes)
{
    base64_add(out, bytes->bytes, bytes->length);
    text_add(out, "\n");
}

bool minisign_public_key(const struct key *key, struct text *out, struct error *err)
{
    unsigned char bytes[PUBLIC_KEY_CAPACITY];
    struct text line = { 0 };
    if (!is_ed25519(key, err))
        return false;
    add_header(key, "Ed", &line);
    text_add_bytes(&line, bytes, key_public_bytes(key, bytes));
    text_add(out, "untrusted comment: minisign public key, made by lethe\n");
    add_line(out, &line);
    text_release(&line);
    return true;
}

bool minisign_sign(const struct key *key, const char *archive, const char *comment,
                   struct text *out, struct error *err)
{
    unsigned char digest[LONG_DIGEST];
    struct signature signature, global;
    struct text line = { 0 }, both = { 0 }, last = { 0 };
    if (!is_ed25519(key, err) || !long_digest_file(LONG_BLAKE2B, archive, digest, err) ||
        !key_sign(key, digest, sizeof digest, &signature, err))
        return false;
    text_add_bytes(&both, signature.bytes, signature.size);
    text_add(&both, comment);
    bool ok = key_sign(key, both.bytes, both.length, &global, err);
    if (ok) {
        add_header(key, "ED", &line);
        text_add_bytes(&line, signature.bytes, signature.size);
        text_add_bytes(&last, global.bytes, global.size);
        text_add(out, "untrusted comment: signature made by lethe\n");
        add_line(out, &line);
        text_format(out, "trusted comment: %s\n", comment);
        add_line(out, &last);
    }
    text_release(&line);
    text_release(&both);
    text_release(&last);
    return ok;
}

/* ---- SSHSIG ---------------------------------------------------------------------------------- */

static const struct ssh_names {
    const char *algorithm, *curve;
} ssh_names[KEY_KIND_COUNT] = {
    [KEY_P256] = { "ecdsa-sha2-nistp256", "nistp256" },
    [KEY_ED25519] = { "ssh-ed25519", NULL },
    [KEY_P384] = { "ecdsa-sha2-nistp384", "nistp384" },
};

/* RFC 4251, section 5: a string is its length in four bytes, then its bytes. */
static void add_string(struct text *out, const void *bytes, size_t size)
{
    unsigned char length[4] = { (unsigned char)(size >> 24), (unsigned char)(size >> 16),
                                (unsigned char)(size >> 8), (unsigned char)size };
    text_add_bytes(out, length, 4);
    text_add_bytes(out, bytes, size);
}

static void add_word(struct text *out, const char *word)
{
    add_string(out, word, strlen(word));
}

/* A positive number: no zeros in front, but one where the first bit would make it negative. */
static void add_number(struct text *out, const unsigned char *bytes, size_t size)
{
    unsigned char number[65] = { 0 };
    while (size > 1 && !*bytes) {
        bytes++;
        size--;
    }
    size_t sign = *bytes >> 7;
    memcpy(number + sign, bytes, size);
    add_string(out, number, size + sign);
}

static void add_public_key(const struct key *key, struct text *out)
{
    unsigned char bytes[PUBLIC_KEY_CAPACITY];
    const struct ssh_names *names = &ssh_names[key_kind(key)];
    size_t size = key_public_bytes(key, bytes);
    add_word(out, names->algorithm);
    if (names->curve)
        add_word(out, names->curve);
    add_string(out, bytes, size);
}

bool ssh_public_key(const struct key *key, struct text *out, struct error *err)
{
    struct text blob = { 0 };
    (void)err;
    add_public_key(key, &blob);
    text_format(out, "%s ", ssh_names[key_kind(key)].algorithm);
    base64_add(out, blob.bytes, blob.length);
    text_add(out, " lethe\n");
    text_release(&blob);
    return true;
}

static bool add_signature(const struct key *key, const struct text *bytes, struct text *out,
                          struct error *err)
{
    struct signature signature, raw;
    struct text pair = { 0 };
    const struct ssh_names *names = &ssh_names[key_kind(key)];
    if (!key_sign(key, bytes->bytes, bytes->length, &signature, err) ||
        !signature_to_raw(key, &signature, &raw, err))
        return false;
    add_word(&pair, names->algorithm);
    if (names->curve) {
        struct text numbers = { 0 };
        add_number(&numbers, raw.bytes, raw.size / 2);
        add_number(&numbers, raw.bytes + raw.size / 2, raw.size / 2);
        add_string(&pair, numbers.bytes, numbers.length);
        text_release(&numbers);
    } else {
        add_string(&pair, raw.bytes, raw.size);
    }
    add_string(out, pair.bytes, pair.length);
    text_release(&pair);
    return true;
}

/* Namespace, nothing reserved, digest: in what is signed and in what is sent. */
static void add_terms(struct text *out)
{
    add_word(out, "file");
    add_word(out, "");
    add_word(out, "sha512");
}

static void add_armour(struct text *out, const struct text *blob)
{
    enum { WIDTH = 70 };
    struct text lines = { 0 };
    base64_add(&lines, blob->bytes, blob->length);
    text_add(out, "-----BEGIN SSH SIGNATURE-----\n");
    for (size_t at = 0; at < lines.length; at += WIDTH)
        text_format(out, "%.*s\n", WIDTH, lines.bytes + at);
    text_add(out, "-----END SSH SIGNATURE-----\n");
    text_release(&lines);
}

bool ssh_sign(const struct key *key, const char *archive, struct text *out, struct error *err)
{
    static const unsigned char version[] = { 0, 0, 0, 1 };
    unsigned char digest[LONG_DIGEST];
    struct text bytes = { 0 }, blob = { 0 }, public_key = { 0 };
    if (!long_digest_file(LONG_SHA512, archive, digest, err))
        return false;
    text_add(&bytes, "SSHSIG");
    add_terms(&bytes);
    add_string(&bytes, digest, sizeof digest);
    text_add(&blob, "SSHSIG");
    text_add_bytes(&blob, version, sizeof version);
    add_public_key(key, &public_key);
    add_string(&blob, public_key.bytes, public_key.length);
    add_terms(&blob);
    bool ok = add_signature(key, &bytes, &blob, err);
    if (ok)
        add_armour(out, &blob);
    text_release(&bytes);
    text_release(&blob);
    text_release(&public_key);
    return ok;
}
