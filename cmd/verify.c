/* lethe verify, and all of lethe-verify: whether a release is what its signers signed. */
#include "command.h"
#include "safe.h"

#include "base/json.h"
#include "base/text.h"
#include "release/moment.h"
#include "release/verify.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct options {
    const char *trust, *key, *manifest, *extract, *at;
    struct yaml_strings bundle;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(trust, YAML_STRING, .metavar = "FILE",
           .help = "whom you believe, and how many of them it takes"),
    OPTION(key, YAML_STRING, .metavar = "FILE",
           .help = "instead: one public key, whose signature suffices"),
    OPTION(bundle, YAML_STRINGS, .metavar = "FILE",
           .help = "signatures; default: all beside the archive"),
    OPTION(manifest, YAML_STRING, .metavar = "FILE", .help = "default: beside the archive"),
    OPTION(extract, YAML_STRING, .metavar = "FOLDER",
           .help = "write the files there once all has passed"),
    OPTION(at, YAML_STRING, .metavar = "DAY",
           .help = "judge as of that day, like 2026-01-31; default: now"),
    { 0 },
};

/* ---- what is shown --------------------------------------------------------------------------- */

static const char *final_line(struct invocation *invocation, const struct verification *result)
{
    struct text line = { 0 };
    struct arena *arena = &invocation->arena;
    const struct findings *findings = &result->findings;
    size_t count = findings->count + findings->more;
    if (result->answer == ANSWER_YES) {
        text_format(&line, "VERIFIED %s: audit %s, signed by", result->manifest.root,
                    manifest_verdict_names[result->manifest.claims.verdict]);
        bool first = true;
        for (size_t i = 0; i < result->signer_count; i++) {
            const struct signer *signer = &result->signers[i];
            if (signer->counts)
                text_format(&line, "%s %s \"%s\"", first ? "" : " and",
                            role_names[signer->statement.role], signer->name);
            first = first && !signer->counts;
        }
    } else {
        const char *subject = result->has_manifest ? result->manifest.root
                                                   : release_stem(arena, invocation->operands[0]);
        text_format(&line, "NOT VERIFIED: %s: ", subject);
        if (result->answer == ANSWER_UNMET)
            text_add(&line, "authentic, but what you ask for is not met: ");
        if (count == 1)
            text_add(&line, findings->items[0].text);
        else
            text_format(&line, "%zu problems, named above", count);
    }
    const char *copy = safe_text(arena, line.bytes);
    text_release(&line);
    return copy;
}

static void print_signer(struct arena *arena, const struct signer *signer)
{
    char created[MOMENT_TEXT], expires[MOMENT_TEXT], stamped[MOMENT_TEXT];
    const struct statement *says = &signer->statement;
    if (says->kind == STATEMENT_FILES) {
        printf("  %-9s %-10s %s\n", "files", safe_text(arena, signer->name), signer->identity);
        return;
    }
    printf("  %-9s %-10s %s\n", role_names[says->role], safe_text(arena, signer->name),
           safe_text(arena, signer->identity));
    printf("            %s %s", manifest_verdict_names[says->verdict],
           moment_text(says->created, created));
    if (says->expires != INT64_MAX)
        printf(", until %s", moment_text(says->expires, expires));
    if (signer->stamped)
        printf(", timestamp %s", moment_text(signer->stamped, stamped));
    printf("\n");
}

static void print_text(struct invocation *invocation, const struct verification *result)
{
    struct arena *arena = &invocation->arena;
    char size[TEXT_SHORT];
    if (result->answer == ANSWER_YES) { /* nothing that could pass for a partial yes */
        double bytes = 0;
        for (size_t i = 0; i < result->manifest.file_count; i++)
            bytes += (double)result->manifest.files[i].size;
        printf("%s: %zu files, %s\n", result->manifest.root, result->manifest.file_count,
               text_size(size, bytes));
        for (size_t i = 0; i < result->signer_count; i++)
            print_signer(arena, &result->signers[i]);
    }
    if (result->findings.count > 1)
        for (size_t i = 0; i < result->findings.count; i++)
            printf("  %s\n", safe_text(arena, result->findings.items[i].text));
    if (result->findings.more)
        printf("  and %zu more\n", result->findings.more);
    printf("%s\n", final_line(invocation, result));
}

static struct json *signer_json(const struct signer *signer)
{
    char moment[MOMENT_TEXT], hex[DIGEST_HEX];
    struct json *object = json_new_object();
    const struct statement *says = &signer->statement;
    json_put_string(object, "bundle", signer->file);
    json_put_string(object, "statement", statement_kind_names[says->kind]);
    json_put_string(object, "name", signer->name);
    json_put_string(object, "identity", signer->identity);
    json_put_string(object, "fingerprint", digest_hex(&signer->fingerprint, hex));
    json_put_bool(object, "counts", signer->counts);
    if (says->kind == STATEMENT_FILES)
        return object;
    json_put_string(object, "role", role_names[says->role]);
    json_put_string(object, "created", moment_text(says->created, moment));
    if (says->expires != INT64_MAX)
        json_put_string(object, "expires", moment_text(says->expires, moment));
    if (signer->stamped)
        json_put_string(object, "timestamp", moment_text(signer->stamped, moment));
    if (says->kind == STATEMENT_AUDIT)
        json_put_string(object, "verdict", manifest_verdict_names[says->verdict]);
    else
        json_put_string(object, "reason", says->reason);
    return object;
}

static void print_json(struct invocation *invocation, const struct verification *result)
{
    static const char *const answers[] = { "verified", "not verified", "policy unmet" };
    static const char *const kinds[] = { "bad", "policy" };
    struct json *document = json_new_object(), *signers = json_new_array();
    struct json *findings = json_new_array();
    json_put_string(document, "answer", answers[result->answer]);
    json_put_string(document, "line", final_line(invocation, result));
    if (result->has_manifest) {
        char hex[DIGEST_HEX];
        json_put_string(document, "release", result->manifest.root);
        json_put_integer(document, "files", (int64_t)result->manifest.file_count);
        json_put_string(document, "archive_sha256",
                        digest_hex(&result->manifest.archive.sha256, hex));
    }
    for (size_t i = 0; i < result->signer_count; i++)
        json_push(signers, signer_json(&result->signers[i]));
    json_put(document, "signers", signers);
    for (size_t i = 0; i < result->findings.count; i++) {
        struct json *problem = json_new_object();
        json_put_string(problem, "kind", kinds[result->findings.items[i].kind]);
        json_put_string(problem, "text", result->findings.items[i].text);
        json_push(findings, problem);
    }
    json_put(document, "problems", findings);
    command_print(document);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Nothing could be told: that, too, is said in a final line. */
static enum exit_code could_not_tell(struct invocation *invocation)
{
    const char *reason = safe_text(&invocation->arena, invocation->err.message);
    if (!invocation->json) {
        printf("NOT VERIFIED: could not tell: %s\n", reason);
        return EXIT_ERROR;
    }
    struct json *document = json_new_object();
    json_put_string(document, "answer", "could not tell");
    json_put_string(document, "line",
                    arena_format(&invocation->arena, "NOT VERIFIED: could not tell: %s", reason));
    command_print(document);
    return EXIT_ERROR;
}

static enum exit_code verify_with(struct invocation *invocation, const struct trust *trust,
                                  int64_t now)
{
    static const enum exit_code codes[] = {
        [ANSWER_YES] = EXIT_YES, [ANSWER_NO] = EXIT_NO, [ANSWER_UNMET] = EXIT_UNMET
    };
    const struct options *values = invocation->values;
    struct verification result;
    struct verify_job job = { .archive = invocation->operands[0],
                              .manifest = values->manifest,
                              .bundles = values->bundle.items,
                              .bundle_count = values->bundle.count,
                              .trust = trust,
                              .now = now,
                              .extract = values->extract };
    enum exit_code code;
    if (verify(&job, &result, &invocation->arena, &invocation->err)) {
        (invocation->json ? print_json : print_text)(invocation, &result);
        code = codes[result.answer];
    } else {
        code = could_not_tell(invocation);
    }
    verification_release(&result);
    return code;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct trust trust;
    int64_t now = (int64_t)time(NULL);
    if (!values->trust == !values->key)
        return command_refuse(invocation,
                              "give --trust FILE, or --key FILE for a single public key");
    if (values->at && !moment_from_day(values->at, true, &now))
        return command_refuse(invocation, "--at: \"%s\" is not a day like 2026-01-31", values->at);
    bool ok = values->trust
                  ? trust_load(values->trust, &trust, &invocation->arena, &invocation->err)
                  : trust_single_key(values->key, &trust, &invocation->arena, &invocation->err);
    if (!ok)
        return could_not_tell(invocation);
    enum exit_code code = verify_with(invocation, &trust, now);
    trust_release(&trust);
    return code;
}

const struct command command_verify = {
    .name = "verify",
    .operands = "ARCHIVE",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "tell whether a release is what its signers signed",
    .details =
        "Ends in one line: VERIFIED ... or NOT VERIFIED: ... Nothing is fetched, and nothing\n"
        "written unless asked for.",
    .options = options,
    .size = sizeof(struct options),
    .own_threads = true,
    .run = run,
};
