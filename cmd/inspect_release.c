/* lethe inspect ARCHIVE: what a release says of itself. Nothing here is checked but the manifest's
 * form, and that is said on every line that could be mistaken for an answer. */
#include "inspect.h"
#include "safe.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/bundle.h"
#include "release/moment.h"
#include "release/verify.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BUNDLES = 64, MOST_SHOWN = 20 };

/* A bundle beside the archive, as it describes itself. */
struct claim {
    const char *file, *hint;
    struct statement statement;
    bool readable;
};

struct claims {
    struct claim items[MOST_BUNDLES];
    size_t count;
};

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct claim *)a)->file, ((const struct claim *)b)->file);
}

static void read_claim(struct claim *claim, const char *path, struct arena *arena)
{
    struct bundle bundle;
    claim->readable = bundle_load(path, &bundle, arena, NULL) &&
                      statement_parse(bundle.payload.bytes, bundle.payload.size, "",
                                      &claim->statement, arena, NULL);
    claim->hint = claim->readable && bundle.hint ? bundle.hint : "a certificate";
}

static bool read_claims(const char *archive, struct claims *claims, struct arena *arena,
                        struct error *err)
{
    const char *folder = path_parent(arena, archive);
    const char *prefix = arena_format(arena, "%s.", release_stem(arena, archive));
    DIR *stream = opendir(folder);
    if (!stream)
        return error_set_errno(err, "%s: cannot be listed", folder);
    for (struct dirent *entry; claims->count < MOST_BUNDLES && (entry = readdir(stream));) {
        if (!text_starts_with(entry->d_name, prefix) ||
            !text_ends_with(entry->d_name, ".sigstore.json"))
            continue;
        struct claim *claim = &claims->items[claims->count++];
        *claim = (struct claim){ .file = safe_text(arena, entry->d_name) };
        read_claim(claim, path_join(arena, folder, entry->d_name), arena);
    }
    closedir(stream);
    qsort(claims->items, claims->count, sizeof *claims->items, by_file);
    return true;
}

/* "auditor: PASSED, 2026-05-28T20:10:00Z" */
static const char *claim_words(const struct claim *claim, struct arena *arena)
{
    char moment[MOMENT_TEXT];
    const struct statement *says = &claim->statement;
    if (!claim->readable)
        return "not a bundle that lethe can read";
    if (says->kind == STATEMENT_FILES)
        return arena_format(arena, "digests of %zu files", says->file_count);
    return arena_format(arena, "%s says %s, %s", role_names[says->role],
                        says->kind == STATEMENT_AUDIT ? manifest_verdict_names[says->verdict]
                                                      : "WITHDRAWN",
                        moment_text(says->created, moment));
}

static void print_text(const struct manifest *manifest, const struct claims *claims,
                       struct arena *arena)
{
    char size[TEXT_SHORT], moment[MOMENT_TEXT], hex[DIGEST_HEX];
    printf("%s: UNVERIFIED; what follows is what it says of itself. lethe verify tells more.\n",
           manifest->root);
    printf("  packed     %s by %s %s\n", moment_text(manifest->created, moment),
           manifest->tool_name, manifest->tool_version);
    printf("  archive    %s, %s", manifest->archive.name,
           text_size(size, (double)manifest->archive.size));
    printf(", in %zu volume%s\n", manifest->volume_count ? manifest->volume_count : 1,
           manifest->volume_count ? "s" : "");
    printf("  verdict    %s (unverified)\n", manifest_verdict_names[manifest->claims.verdict]);
    for (int i = 0; i < CLAIM_COUNT; i++)
        if (manifest->claims.known[i])
            printf("  %-22s %s\n", manifest_claim_names[i],
                   digest_hex(&manifest->claims.sha256[i], hex));
    for (size_t i = 0; i < claims->count; i++)
        printf("  %s: %s (unverified)\n", claims->items[i].file,
               claim_words(&claims->items[i], arena));
    printf("  %zu files:\n", manifest->file_count);
    for (size_t i = 0; i < manifest->file_count && i < MOST_SHOWN; i++)
        printf("    %12" PRIu64 "  %s\n", manifest->files[i].size, manifest->files[i].path);
    if (manifest->file_count > MOST_SHOWN)
        printf("    ... and %zu more; --json lists all\n", manifest->file_count - MOST_SHOWN);
}

static struct json *files_json(const struct manifest *manifest)
{
    struct json *list = json_new_array();
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < manifest->file_count; i++) {
        struct json *file = json_new_object();
        json_put_string(file, "path", manifest->files[i].path);
        json_put_integer(file, "size", (int64_t)manifest->files[i].size);
        json_put_string(file, "sha256", digest_hex(&manifest->files[i].digest, hex));
        json_push(list, file);
    }
    return list;
}

static void print_json(const struct manifest *manifest, const struct claims *claims,
                       struct arena *arena)
{
    char moment[MOMENT_TEXT], hex[DIGEST_HEX];
    struct json *document = json_new_object(), *digests = json_new_object();
    struct json *bundles = json_new_array();
    json_put_string(document, "release", manifest->root);
    json_put_bool(document, "verified", false);
    json_put_string(document, "created", moment_text(manifest->created, moment));
    json_put_string(document, "verdict_unverified",
                    manifest_verdict_names[manifest->claims.verdict]);
    for (int i = 0; i < CLAIM_COUNT; i++)
        if (manifest->claims.known[i])
            json_put_string(digests, manifest_claim_names[i],
                            digest_hex(&manifest->claims.sha256[i], hex));
    json_put(document, "claims_unverified", digests);
    for (size_t i = 0; i < claims->count; i++) {
        struct json *bundle = json_new_object();
        json_put_string(bundle, "bundle", claims->items[i].file);
        json_put_string(bundle, "says_unverified", claim_words(&claims->items[i], arena));
        json_put_string(bundle, "hint", claims->items[i].hint);
        json_push(bundles, bundle);
    }
    json_put(document, "bundles", bundles);
    json_put(document, "files", files_json(manifest));
    command_print(document);
}

enum exit_code inspect_release(struct invocation *invocation, const char *path)
{
    static struct claims claims;
    struct arena *arena = &invocation->arena;
    struct manifest manifest;
    const char *ending = ".manifest.json";
    const char *archive = path;
    if (text_ends_with(path, ending))
        archive = arena_format(arena, "%.*s.tar.zst", (int)(strlen(path) - strlen(ending)), path);
    if (!manifest_load(release_beside(arena, archive, ending), &manifest, arena,
                       &invocation->err) ||
        !read_claims(archive, &claims, arena, &invocation->err))
        return command_failed(invocation);
    (invocation->json ? print_json : print_text)(&manifest, &claims, arena);
    return EXIT_YES;
}
