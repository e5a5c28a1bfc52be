/* lethe keygen: a new key to sign releases with, or the public half of one that there is. */
#include "command.h"
#include "passphrase.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/sidecar.h"

#include <stdio.h>
#include <string.h>

struct options {
    int kind;
    const char *passphrase_file, *from;
    bool no_passphrase, minisign, ssh;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

/* The kinds that new keys are made of. */
static const char *const kinds[] = { "p256", "ed25519", NULL };

static const struct yaml_field options[] = {
    OPTION(kind, YAML_CHOICE, .choices = kinds, .help = "default: p256"),
    OPTION(passphrase_file, YAML_STRING, .metavar = "FILE",
           .help = "its first line encrypts the key; default: asked for"),
    OPTION(from, YAML_STRING, .metavar = "KEY",
           .help = "make no key, but NAME.pub of this one: a file, or pkcs11:..."),
    OPTION(no_passphrase, YAML_BOOL, .help = "leave the private key unencrypted"),
    OPTION(minisign, YAML_BOOL, .help = "write NAME.minisign.pub, too (ed25519 alone)"),
    OPTION(ssh, YAML_BOOL, .help = "write NAME.ssh.pub, too"),
    { 0 },
};

/* The files that may be written: all checked before the first is. */
struct files {
    const char *private_key; /* NULL: the key is elsewhere */
    const char *public_key, *minisign, *ssh;
};

static bool is_free(const char *path, struct error *err)
{
    return path_kind(path) == PATH_NOTHING ||
           error_set(err, "%s: exists already; a key is never overwritten", path);
}

static bool are_free(const struct files *files, struct error *err)
{
    return (!files->private_key || is_free(files->private_key, err)) &&
           is_free(files->public_key, err) && is_free(files->minisign, err) &&
           is_free(files->ssh, err);
}

static bool save_private(const struct options *values, const struct key *key, const char *path,
                         struct error *err)
{
    char phrase[PASSPHRASE_CAPACITY];
    struct passphrase_source source = { values->passphrase_file,
                                        "Passphrase for the new key: ", true };
    if (values->no_passphrase)
        return key_save_private(key, path, NULL, err);
    bool ok = passphrase_ask(&source, phrase, sizeof phrase, err) &&
              key_save_private(key, path, phrase, err);
    secret_clear(phrase, sizeof phrase);
    return ok;
}

static bool save_line(const char *path, const struct key *key,
                      bool (*write)(const struct key *, struct text *, struct error *),
                      struct error *err)
{
    struct text line = { 0 };
    bool ok = write(key, &line, err) && file_write(path, line.bytes, line.length, err);
    text_release(&line);
    return ok;
}

static bool save(const struct options *values, const struct key *key, const struct files *files,
                 struct arena *arena, struct error *err)
{
    const char *pem = key_public_pem(key, arena);
    return (!values->minisign || save_line(files->minisign, key, minisign_public_key, err)) &&
           (!values->ssh || save_line(files->ssh, key, ssh_public_key, err)) &&
           (!files->private_key || save_private(values, key, files->private_key, err)) &&
           file_write(files->public_key, pem, strlen(pem), err);
}

static void print(const struct invocation *invocation, const struct options *values,
                  const struct key *key, const struct files *files)
{
    struct digest fingerprint = key_fingerprint(key);
    char hex[DIGEST_HEX];
    digest_hex(&fingerprint, hex);
    const char *kind = key_kind_names[key_kind(key)];
    if (!invocation->json) {
        if (files->private_key)
            printf("%s: a %s key, to be kept secret%s\n", files->private_key, kind,
                   values->no_passphrase ? "; NOT encrypted" : "");
        printf("%s: its public key, to be given to everybody who verifies\n", files->public_key);
        printf("fingerprint %s\n", hex);
        return;
    }
    struct json *document = json_new_object();
    json_put_string(document, "kind", kind);
    if (files->private_key)
        json_put_string(document, "private_key", files->private_key);
    json_put_string(document, "public_key", files->public_key);
    json_put_string(document, "fingerprint", hex);
    if (files->private_key)
        json_put_bool(document, "encrypted", !values->no_passphrase);
    command_print(document);
}

static struct key *obtain(const struct options *values, struct error *err)
{
    static const enum key_kind of_choice[] = { KEY_P256, KEY_ED25519 };
    return values->from ? signing_key_open(values->from, values->passphrase_file, err)
                        : key_generate(of_choice[values->kind], err);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct error *err = &invocation->err;
    struct arena *arena = &invocation->arena;
    const char *name = invocation->operands[0];
    struct files files = { values->from ? NULL : arena_format(arena, "%s.key", name),
                           arena_format(arena, "%s.pub", name),
                           arena_format(arena, "%s.minisign.pub", name),
                           arena_format(arena, "%s.ssh.pub", name) };
    if (values->no_passphrase && values->passphrase_file)
        return command_refuse(invocation, "give --passphrase-file or --no-passphrase, not both");
    struct key *key = are_free(&files, err) ? obtain(values, err) : NULL;
    bool ok = key && save(values, key, &files, arena, err);
    if (ok)
        print(invocation, values, key, &files);
    key_free(key);
    return ok ? EXIT_YES : command_failed(invocation);
}

const struct command command_keygen = {
    .name = "keygen",
    .operands = "NAME",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "make a key to sign releases with: NAME.key and NAME.pub",
    .details = "The fingerprint is what sha256sum prints for NAME.pub: compare it by telephone.",
    .options = options,
    .size = sizeof(struct options),
    .own_threads = true,
    .run = run,
};
