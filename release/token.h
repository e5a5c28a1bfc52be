/* Private keys on smart cards and in security modules, by PKCS#11 through p11-kit.
 *
 *     if (token_is_uri(source))
 *         key = token_open_key("pkcs11:token=Release;object=producer", &passphrase, err);
 *
 * A URI after RFC 7512 has to fit one token and one key on it. Modules are those that are
 * registered with p11-kit (opensc-pkcs11, softhsm2 and others do so when they are installed), or
 * the one that the URI names by "?module-path=". The PIN is asked for as a passphrase is; in the
 * URI, where every process could read it, it is refused. It is given once: a wrong one is never
 * tried again.
 *
 * The key is an ordinary one from then on (key.h), but signing happens on the token, and needs no
 * OpenSSL engine, provider, or configuration.
 */
#ifndef RELEASE_TOKEN_H
#define RELEASE_TOKEN_H

#include "release/key.h"

bool token_is_uri(const char *source);

struct key *token_open_key(const char *uri, const struct passphrase *pin,
                           struct error *err) MUST_USE;

#endif
