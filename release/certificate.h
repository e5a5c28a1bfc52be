/* X.509 certificates and RFC 3161 timestamps: the whole contact surface with those parts of
 * OpenSSL.
 *
 * Both end in authorities that the recipient names in the trust file; none come from the system.
 * Nothing is fetched: no revocation lists, no OCSP. An authority need not be self-signed.
 */
#ifndef RELEASE_CERTIFICATE_H
#define RELEASE_CERTIFICATE_H

#include "release/bundle.h"
#include "release/key.h"

struct text;
struct authority; /* opaque: one or more certificates that are trusted as they are */

/* `name` stands for the source in messages. */
struct authority *authority_parse(const char *pem, size_t size, const char *name,
                                  struct error *err) MUST_USE;
void authority_free(struct authority *authority); /* NULL is fine */

/* The key of the first certificate, when the chain leads to the authority, each certificate is
 * valid at that moment, and the first may sign (key usage digitalSignature, extended usage
 * codeSigning, where it tells of either). `*subject` is its name as one line ("CN=Jane
 * Doe,O=Hospital"). */
struct key *certificate_key(const struct blob *chain, size_t count,
                            const struct authority *authority, int64_t at, const char **subject,
                            struct arena *arena, struct error *err) MUST_USE;

/* Certificates out of PEM, as DER in the arena, the first one first. */
bool certificates_from_pem(const char *pem, size_t size, const char *name, struct blob *chain,
                           size_t most, size_t *count, struct arena *arena,
                           struct error *err) MUST_USE;
/* The public key of a certificate, whoever issued it. */
struct key *certificate_public_key(const struct blob *certificate, struct error *err) MUST_USE;

/* When the authority saw these bytes, if the response says so. */
bool timestamp_verify(const struct blob *response, const void *bytes, size_t size,
                      const struct authority *authority, int64_t *moment,
                      struct error *err) MUST_USE;

/* Whether the response is about these bytes at all, whoever gave it. */
bool timestamp_matches(const struct blob *response, const void *bytes, size_t size,
                       struct error *err) MUST_USE;

/* A request for a timestamp over these bytes (SHA-256, with the authority's certificate asked for),
 * to be sent to an authority by whatever means. */
bool timestamp_request(const void *bytes, size_t size, struct text *request,
                       struct error *err) MUST_USE;

#endif
