/* Sigstore bundles, version 0.3, of one kind: a DSSE envelope with one signature, and the hint of
 * the public key (or a chain of X.509 certificates) that belongs to it.
 *
 * An attacker writes bundles, too, so reading knows exactly the keys that the format has and
 * refuses all others; base64 has one spelling; nothing in a bundle is believed but as a hint for
 * which of the keys that the recipient trusts is to be tried. `keyid` has to be empty: nobody may
 * rely on it. The payload that was verified is the very bytes that are parsed afterwards
 * (statement.h).
 *
 * Formats: sigstore protobuf-specs (bundle v0.3, as JSON), DSSE 1.0 (pre-authentication encoding).
 */
#ifndef RELEASE_BUNDLE_H
#define RELEASE_BUNDLE_H

#include "base/arena.h"

#define BUNDLE_MEDIA_TYPE   "application/vnd.dev.sigstore.bundle.v0.3+json"
#define BUNDLE_PAYLOAD_TYPE "application/vnd.in-toto+json"
enum { BUNDLE_MOST_BYTES = 512 << 20, BUNDLE_MOST_CERTIFICATES = 16, BUNDLE_MOST_TIMESTAMPS = 8 };

struct text;

struct blob {
    const unsigned char *bytes;
    size_t size;
};

struct bundle {
    struct blob payload, signature;
    const char *hint; /* the key's fingerprint; NULL when there are certificates */
    struct blob certificates[BUNDLE_MOST_CERTIFICATES]; /* DER, the signer's first */
    size_t certificate_count;
    struct blob timestamps[BUNDLE_MOST_TIMESTAMPS]; /* RFC 3161 responses over the signature, DER */
    size_t timestamp_count;
};

/* `name` stands for the source in messages; all belongs to the arena. */
bool bundle_parse(const char *bytes, size_t size, const char *name, struct bundle *bundle,
                  struct arena *arena, struct error *err) MUST_USE;
bool bundle_load(const char *path, struct bundle *bundle, struct arena *arena,
                 struct error *err) MUST_USE;
/* The document is added to `out`. */
void bundle_write(const struct bundle *bundle, struct text *out);

/* What is signed: DSSE's pre-authentication encoding, "DSSEv1 LENGTH TYPE LENGTH PAYLOAD". */
void dsse_encode(struct text *out, const char *type, const void *payload, size_t size);

/* Whether a file of that name is a bundle of the release: STEM.ROLE[-LABEL].KIND.sigstore.json.
 * Those of brain-1.0.1 are none of brain-1.0. */
bool bundle_is_named_for(const char *stem, const char *name);

#endif
