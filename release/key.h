/* Keys and raw signatures: the whole contact surface with OpenSSL's signing (EVP, PEM, OSSL_STORE).
 *
 *     struct key *key = key_open_private("producer.key", &(struct passphrase){ ask, &job }, err);
 *     if (!key || !key_sign(key, bytes, size, &signature, err)) …
 *     key_free(key);
 *
 * P-256 (what everybody's tools and cards can do, the default), Ed25519, and P-384 because OpenSSF
 * Model Signing's vectors use it. A curve fixes its digest, so a signature names no algorithm that
 * a stranger could choose: the key does.
 *
 * Private keys are PKCS#8, encrypted with AES-256 and scrypt (N = 2^14, r = 8: 16 MB, the most that
 * every OpenSSL reads by default), or anything that OpenSSL's OSSL_STORE opens by its URI, or stay
 * with a holder, as on a smart card (token.h). A key's fingerprint is the SHA-256 of its public key
 * as PEM: what `sha256sum KEY.pub` prints, and the "hint" of a Sigstore bundle.
 */
#ifndef RELEASE_KEY_H
#define RELEASE_KEY_H

#include "base/digest.h"

enum key_kind { KEY_P256, KEY_ED25519, KEY_P384, KEY_KIND_COUNT };
extern const char *const key_kind_names[KEY_KIND_COUNT + 1]; /* "p256" …; NULL at the end */

struct key; /* opaque: a public key, perhaps with the private one */

/* Where the passphrase comes from when one is needed: at most `capacity` bytes, terminated. */
struct passphrase {
    bool (*ask)(void *context, char *phrase, size_t capacity, struct error *err);
    void *context;
};

enum { SIGNATURE_CAPACITY = 160, PASSPHRASE_CAPACITY = 1024, PUBLIC_KEY_CAPACITY = 128 };

struct signature {
    unsigned char bytes[SIGNATURE_CAPACITY]; /* ECDSA: DER */
    size_t size;
};

void key_free(struct key *key); /* NULL is fine */

struct key *key_generate(enum key_kind kind, struct error *err) MUST_USE;
/* `source` is a file, or a URI for OSSL_STORE. `passphrase` may be NULL: then none is asked for. */
struct key *key_open_private(const char *source, const struct passphrase *passphrase,
                             struct error *err) MUST_USE;
/* Exactly one PEM public key; `name` stands for the source in messages. */
struct key *key_parse_public(const char *pem, size_t size, const char *name,
                             struct error *err) MUST_USE;
struct key *key_load_public(const char *path, struct error *err) MUST_USE;

/* A private key that never leaves where it is. It is asked to sign a message's digest, or for
 * Ed25519 the message itself, and answers in raw form (below). */
struct key_holder {
    bool (*sign)(void *context, const unsigned char *bytes, size_t size, struct signature *raw,
                 struct error *err);
    void (*release)(void *context);
    void *context;
};
/* The public half is as key_public_bytes gives it. Takes the holder over when it succeeds; `name`
 * stands for the source in messages. */
struct key *key_of_holder(enum key_kind kind, const unsigned char *public_bytes, size_t size,
                          const struct key_holder *holder, const char *name,
                          struct error *err) MUST_USE;

/* Writes the private key as PKCS#8, for its owner alone; encrypted unless `phrase` is NULL. */
bool key_save_private(const struct key *key, const char *path, const char *phrase,
                      struct error *err) MUST_USE;

enum key_kind key_kind(const struct key *key);
/* PEM of the public key; in the arena. */
const char *key_public_pem(const struct key *key, struct arena *arena);
struct digest key_fingerprint(const struct key *key);
/* Ed25519: 32 bytes; a curve: 4, x, y. Returns their number. */
size_t key_public_bytes(const struct key *key, unsigned char bytes[PUBLIC_KEY_CAPACITY]);

bool key_sign(const struct key *key, const void *bytes, size_t size, struct signature *signature,
              struct error *err) MUST_USE;
/* Whether it is this key's signature over these bytes. Nothing but yes and no: whatever is wrong
 * with a signature, it is none. */
bool key_verify(const struct key *key, const void *bytes, size_t size, const void *signature,
                size_t signature_size);

/* ECDSA signatures as r and s, each as long as the curve's numbers, one after the other: the form
 * of DSSE's examples, SSH and cards. Ed25519's is the same in both. */
bool key_verify_raw(const struct key *key, const void *bytes, size_t size, const void *signature,
                    size_t signature_size);
bool signature_to_raw(const struct key *key, const struct signature *signature,
                      struct signature *raw, struct error *err) MUST_USE;

/* Digests that other tools' formats sign: of a whole file, 64 bytes. */
enum long_digest { LONG_SHA512, LONG_BLAKE2B };
bool long_digest_file(enum long_digest kind, const char *path, unsigned char digest[64],
                      struct error *err) MUST_USE;

/* From here on OpenSSL reads no configuration and loads no engine or provider that a file or the
 * environment names, nor knows ciphers by name: for a verifier, which needs none of it, and whose
 * answer must not depend on it. To be called before anything else. */
void key_ignore_configuration(void);

/* Overwrites a secret, in a way that no compiler leaves out. */
void secret_clear(void *secret, size_t size);

#endif
