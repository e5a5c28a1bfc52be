/* lethe sign: say in a role what a release is, or take it back. */
#include "command.h"
#include "passphrase.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/moment.h"
#include "release/sidecar.h"
#include "release/sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    int role;
    const char *key, *passphrase_file, *certificates, *label, *withdraw, *timestamp;
    int64_t days;
    bool minisign, ssh, timestamp_request;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(role, YAML_CHOICE, .choices = role_names, .help = "default: producer"),
    OPTION(key, YAML_STRING, .metavar = "KEY",
           .help = "private key: a file, or pkcs11:token=...;object=..."),
    OPTION(passphrase_file, YAML_STRING, .metavar = "FILE",
           .help = "its first line opens the key, a PIN likewise; default: asked for"),
    OPTION(days, YAML_INTEGER, .minimum = 0, .maximum = 36500, .metavar = "N",
           .help = "until the statement expires (default 365; 0: never)"),
    OPTION(certificates, YAML_STRING, .metavar = "FILE",
           .help = "the key's X.509 certificate and chain (PEM), put into the bundles"),
    OPTION(label, YAML_STRING, .metavar = "WORD",
           .help = "in the bundles' names, when several sign in one role"),
    OPTION(withdraw, YAML_STRING, .metavar = "REASON",
           .help = "take the release back; needs its manifest alone"),
    OPTION(timestamp_request, YAML_BOOL, .help = "write a request for an RFC 3161 timestamp, too"),
    OPTION(timestamp, YAML_STRING, .metavar = "FILE",
           .help = "add this RFC 3161 response to the bundle that is given as argument"),
    OPTION(minisign, YAML_BOOL, .help = "sign for minisign, too: ARCHIVE.minisig"),
    OPTION(ssh, YAML_BOOL, .help = "sign for ssh-keygen -Y verify, too: ARCHIVE.sig"),
    { 0 },
};

static bool write_sidecar(struct invocation *invocation, const struct key *key, bool minisign,
                          int64_t now, struct signed_files *written)
{
    struct arena *arena = &invocation->arena;
    const char *archive = invocation->operands[0];
    char moment[MOMENT_TEXT];
    struct text text = { 0 };
    const char *path = arena_format(arena, "%s.%s", archive, minisign ? "minisig" : "sig");
    const char *comment =
        arena_format(arena, "file:%s signed:%s", path_name(archive), moment_text(now, moment));
    bool ok = (minisign ? minisign_sign(key, archive, comment, &text, &invocation->err)
                        : ssh_sign(key, archive, &text, &invocation->err)) &&
              file_write(path, text.bytes, text.length, &invocation->err);
    text_release(&text);
    if (ok)
        written->paths[written->count++] = path;
    return ok;
}

static enum exit_code print(const struct invocation *invocation, const struct signed_files *written)
{
    if (!invocation->json) {
        for (size_t i = 0; i < written->count; i++)
            printf("%s\n", written->paths[i]);
        return EXIT_YES;
    }
    struct json *document = json_new_object(), *list = json_new_array();
    for (size_t i = 0; i < written->count; i++)
        json_push_string(list, written->paths[i]);
    json_put(document, "written", list);
    command_print(document);
    return EXIT_YES;
}

static enum exit_code refuse_archive(struct invocation *invocation, const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        fprintf(stderr, "  %s\n", findings->items[i].text);
    command_failed(invocation);
    return findings->count ? EXIT_NO : EXIT_ERROR;
}

static enum exit_code sign_with(struct invocation *invocation, const struct key *key)
{
    const struct options *values = invocation->values;
    struct findings findings;
    struct signed_files written;
    int64_t now;
    if (!moment_now(&now, &invocation->err))
        return command_failed(invocation);
    struct sign_job job = {
        .archive = invocation->operands[0],
        .key = key,
        .certificates = values->certificates,
        .label = values->label,
        .withdraw = values->withdraw,
        .request = values->timestamp_request,
        .says = { .role = (enum role)values->role,
                  .created = now,
                  .expires = values->days ? now + values->days * 86400 : INT64_MAX,
                  .tool_version = LETHE_VERSION,
                  .reason = values->withdraw },
    };
    if (values->withdraw)
        job.says.expires = INT64_MAX;
    findings_init(&findings);
    bool ok = sign_release(&job, &written, &findings, &invocation->arena, &invocation->err) &&
              (!values->minisign || write_sidecar(invocation, key, true, now, &written)) &&
              (!values->ssh || write_sidecar(invocation, key, false, now, &written));
    enum exit_code code = ok ? print(invocation, &written) : refuse_archive(invocation, &findings);
    findings_release(&findings);
    return code;
}

static enum exit_code add_timestamp(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    const char *bundle = invocation->operands[0];
    struct signed_files written = { .paths = { bundle }, .count = 1 };
    if (values->key || values->withdraw)
        return command_refuse(invocation,
                              "--timestamp adds to a bundle that is there; it takes no key");
    if (!sign_add_timestamp(bundle, values->timestamp, &invocation->err))
        return command_failed(invocation);
    return print(invocation, &written);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (values->timestamp)
        return add_timestamp(invocation);
    if (!values->key)
        return command_refuse(invocation,
                              "give the private key with --key; lethe keygen makes one");
    if (values->withdraw && !*values->withdraw)
        return command_refuse(invocation, "--withdraw needs a reason");
    if (values->label && (!manifest_path_is_portable(values->label, &invocation->err) ||
                          strpbrk(values->label, "/.")))
        return command_refuse(invocation, "--label: letters, digits, _ and + alone");
    struct key *key = signing_key_open(values->key, values->passphrase_file, &invocation->err);
    if (!key)
        return command_failed(invocation);
    enum exit_code code = sign_with(invocation, key);
    key_free(key);
    return code;
}

static void set_defaults(void *values)
{
    ((struct options *)values)->days = 365;
}

const struct command command_sign = {
    .name = "sign",
    .operands = "ARCHIVE --key KEY | BUNDLE --timestamp FILE",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "sign a release in a role, or withdraw it",
    .details = "The archive is held against its manifest first. The bundles are written beside it.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .own_threads = true,
    .run = run,
};
