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

#endif
