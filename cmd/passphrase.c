/* See passphrase.h. */
#include "passphrase.h"

#include "base/file.h"
#include "release/token.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LARGEST_FILE = 1 << 16 };

static bool from_file(const char *path, char *phrase, size_t capacity, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_FILE, &size, err);
    if (!bytes)
        return false;
    size_t length = strcspn(bytes, "\r\n");
    bool ok = length > 0 && length < capacity;
    if (ok)
        snprintf(phrase, capacity, "%.*s", (int)length, bytes);
    else
        error_set(err, "%s: its first line is no passphrase (1 to %zu bytes)", path, capacity - 1);
    secret_clear(bytes, size);
    memory_free(bytes);
    return ok;
}

/* One line from the terminal, unseen. */
static bool from_terminal(int terminal, const char *prompt, char *phrase, size_t capacity)
{
    struct termios before, silent;
    bool is_terminal = tcgetattr(terminal, &before) == 0;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (is_terminal)
        tcsetattr(terminal, TCSAFLUSH, &silent);
    dprintf(terminal, "%s", prompt);
    size_t length = 0;
    char byte;
    ssize_t got;
    while ((got = read(terminal, &byte, 1)) == 1 && byte != '\n')
        if (length < capacity - 1)
            phrase[length++] = byte;
    phrase[length] = '\0';
    if (is_terminal)
        tcsetattr(terminal, TCSAFLUSH, &before);
    dprintf(terminal, "\n");
    return got == 1 && length > 0;
}

static bool ask_terminal(const struct passphrase_source *source, int terminal, char *phrase,
                         size_t capacity, struct error *err)
{
    char again[PASSPHRASE_CAPACITY];
    if (!from_terminal(terminal, source->prompt, phrase, capacity))
        return error_set(err, "no passphrase was given");
    if (!source->twice)
        return true;
    bool ok =
        from_terminal(terminal, "Once more: ", again, sizeof again) && strcmp(again, phrase) == 0;
    secret_clear(again, sizeof again);
    return ok || error_set(err, "the two passphrases differ");
}

bool passphrase_ask(void *context, char *phrase, size_t capacity, struct error *err)
{
    const struct passphrase_source *source = context;
    if (source->file)
        return from_file(source->file, phrase, capacity, err);
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0)
        return error_set(err,
                         "there is no terminal to ask for the passphrase; give --passphrase-file");
    bool ok = ask_terminal(source, terminal, phrase, capacity, err);
    close(terminal);
    return ok;
}

struct key *signing_key_open(const char *source, const char *passphrase_file, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    bool token = token_is_uri(source);
    struct passphrase_source from = {
        passphrase_file, arena_format(&arena, "%s for %s: ", token ? "PIN" : "Passphrase", source),
        false
    };
    struct passphrase passphrase = { passphrase_ask, &from };
    struct key *key = (token ? token_open_key : key_open_private)(source, &passphrase, err);
    arena_release(&arena);
    return key;
}
