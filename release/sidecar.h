/* Signatures for recipients who have only minisign or only OpenSSH: over the archive's bytes, with
 * no statement; lethe's own verifier does not count them.
 *
 *   ARCHIVE.minisig   minisign's prehashed form: Ed25519 over BLAKE2b-512, and over its comment
 *   ARCHIVE.sig       SSHSIG (OpenSSH's PROTOCOL.sshsig), namespace "file", over SHA-512
 */
#ifndef RELEASE_SIDECAR_H
#define RELEASE_SIDECAR_H

#include "release/key.h"

struct text;

/* Public keys as these tools read them: for `minisign -p`, and a line for authorized_keys or
 * allowed_signers. minisign knows Ed25519 alone, OpenSSH that and P-256. */
bool minisign_public_key(const struct key *key, struct text *out, struct error *err) MUST_USE;
bool ssh_public_key(const struct key *key, struct text *out, struct error *err) MUST_USE;

/* `comment` is signed with it; no line end in it. */
bool minisign_sign(const struct key *key, const char *archive, const char *comment,
                   struct text *out, struct error *err) MUST_USE;
bool ssh_sign(const struct key *key, const char *archive, struct text *out,
              struct error *err) MUST_USE;

#endif
