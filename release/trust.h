/* Whom a recipient believes: trust.yaml, schema lethe/trust/1.
 *
 *     schema: lethe/trust/1
 *     require: { producer: 1, auditor: 1 }     # how many keys have to sign in each role
 *     distinct: yes                            # no key counts in two roles (default)
 *     keys:
 *       - { name: producer-2026, role: producer, file: producer.pub, until: 2028-01-01 }
 *       - name: auditor
 *         role: auditor
 *         pem: |
 *           -----BEGIN PUBLIC KEY-----
 *           …
 *     authorities:                             # X.509: keys whose certificates they issued
 *       - { name: hospital, role: steward, file: ca.pem, subject: "CN=Jane Doe,O=Hospital" }
 *     timestamps:                              # RFC 3161: who may tell when something was signed
 *       - { name: tsa, file: tsa.pem }
 *
 * The recipient gets it from somewhere else than the archive. `from` and `until` say when a key's
 * signatures count; after `until` a signature counts only with a timestamp from before.
 */
#ifndef RELEASE_TRUST_H
#define RELEASE_TRUST_H

#include "release/certificate.h"
#include "release/statement.h"

#define TRUST_SCHEMA "lethe/trust/1"

struct trust_key {
    const char *name;
    enum role role;
    struct key *key;
    struct digest fingerprint;
    int64_t from, until;
};

struct trust_authority {
    const char *name, *subject; /* subject: the only one it may vouch for; NULL: any */
    enum role role;
    struct authority *authority;
};

struct trust {
    int64_t require[ROLE_COUNT];
    bool distinct;
    bool any_role; /* of a key given alone, without a trust file: whatever role it signs in */
    struct trust_key *keys;
    size_t key_count;
    struct trust_authority *authorities, *timestamps;
    size_t authority_count, timestamp_count;
};

/* Names and arrays belong to the arena, keys to the trust: trust_release frees them. Files are
 * relative to the trust file's folder. */
bool trust_load(const char *path, struct trust *trust, struct arena *arena,
                struct error *err) MUST_USE;
/* The same from memory; `folder` NULL: no files are opened, keys have to stand there as PEM. */
bool trust_parse(const char *bytes, size_t size, const char *name, const char *folder,
                 struct trust *trust, struct arena *arena, struct error *err) MUST_USE;
/* One key that is trusted in whatever role it signs; one signature suffices. */
bool trust_single_key(const char *path, struct trust *trust, struct arena *arena,
                      struct error *err) MUST_USE;
void trust_release(struct trust *trust);

#endif
