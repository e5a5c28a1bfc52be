/* Passphrases: from a file, or asked for on the terminal, never from the command line, where every
 * process could read them. */
#ifndef CMD_PASSPHRASE_H
#define CMD_PASSPHRASE_H

#include "release/key.h"

/* `context` is a struct passphrase_source. */
struct passphrase_source {
    const char *file;   /* its first line; NULL: the terminal */
    const char *prompt; /* "Passphrase for producer.key: " */
    bool twice;         /* for a new key: has to be given twice alike */
};
bool passphrase_ask(void *context, char *phrase, size_t capacity, struct error *err);

/* The private key to sign with: a file, a URI for OpenSSL, or one on a token ("pkcs11:…"). What
 * opens it, passphrase or PIN, is asked for when it is needed. */
struct key *signing_key_open(const char *source, const char *passphrase_file,
                             struct error *err) MUST_USE;

#endif
