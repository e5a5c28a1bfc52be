/* One description of the form, which writes and reads; see manifest.h. */
#include "release/manifest.h"

#include "base/file.h"
#include "base/text.h"
#include "release/moment.h"
#include "release/tar.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const manifest_claim_names[CLAIM_COUNT] = {
    [CLAIM_DATASET] = "dataset_sha256",
    [CLAIM_FIDELITY] = "fidelity_sha256",
    [CLAIM_MEMBERSHIP] = "membership_sha256",
    [CLAIM_MEMORIZATION] = "memorization_sha256",
    [CLAIM_PLAN] = "plan_sha256",
    [CLAIM_POLICY] = "policy_sha256",
    [CLAIM_REPORT_INTERNAL] = "report_internal_sha256",
    [CLAIM_REPORT_PUBLIC] = "report_public_sha256",
    [CLAIM_SYNTHETIC] = "synthetic_sha256",
    [CLAIM_UTILITY] = "utility_sha256",
    [CLAIM_WEIGHTS] = "weights_sha256",
};

const char *const manifest_verdict_names[VERDICT_COUNT] = { "PASSED", "WARNED", "FAILED" };

/* ---- the two directions ---------------------------------------------------------------------- */

/* Either adds to `out`, or holds `bytes` against what would be added. */
struct form {
    struct text *out; /* NULL: reading */
    const char *bytes, *name;
    size_t size, at;
    struct arena *arena;
    struct error *err;
};

static bool refuse(struct form *form, const char *expected)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < form->at; i++) {
        column = form->bytes[i] == '\n' ? 1 : column + 1;
        line += form->bytes[i] == '\n';
    }
    return error_set(form->err, "%s:%zu:%zu: not the canonical form of %s: expected %s", form->name,
                     line, column, MANIFEST_SCHEMA, expected);
}

static bool comes(const struct form *form, const char *text)
{
    size_t length = strlen(text);
    return form->size - form->at >= length && memcmp(form->bytes + form->at, text, length) == 0;
}

/* Exactly this text. */
static bool literal(struct form *form, const char *text)
{
    if (form->out) {
        text_add(form->out, text);
        return true;
    }
    if (comes(form, text)) {
        form->at += strlen(text);
        return true;
    }
    const char *shown = text; /* the message is about what can be seen, at the first difference */
    for (; *text && form->at < form->size && form->bytes[form->at] == *text; text++)
        form->at++;
    while (*shown && (strchr(", \n", *shown) || (*shown == '{' && shown[1] == '\n')))
        shown++;
    char expected[96];
    snprintf(expected, sizeof expected, *shown ? "`%.60s`" : "a comma or a line end", shown);
    return refuse(form, expected);
}

static bool is_plain(char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

static bool string(struct form *form, const char **value)
{
    if (form->out) {
        text_format(form->out, "\"%s\"", *value);
        return true;
    }
    if (!literal(form, "\""))
        return false;
    size_t from = form->at;
    while (form->at < form->size && is_plain(form->bytes[form->at]))
        form->at++;
    *value = arena_substring(form->arena, form->bytes + from, form->at - from);
    return literal(form, "\"");
}

static bool integer(struct form *form, uint64_t *value)
{
    if (form->out) {
        text_format(form->out, "%" PRIu64, *value);
        return true;
    }
    size_t from = form->at;
    uint64_t number = 0;
    for (; form->at < form->size && isdigit((unsigned char)form->bytes[form->at]); form->at++) {
        if (form->at - from > 17) /* 10^18: no size comes near, and no sum of sizes overflows */
            return refuse(form, "a size below 10^18");
        number = 10 * number + (uint64_t)(form->bytes[form->at] - '0');
    }
    size_t digits = form->at - from;
    *value = number;
    return (digits && (digits == 1 || form->bytes[from] != '0')) ||
           refuse(form, "a whole number without zeros in front");
}

static bool bytes_as_hex(struct form *form, unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    if (!literal(form, "\""))
        return false;
    for (size_t i = 0; i < 2 * count; i++) {
        int shift = i % 2 ? 0 : 4;
        if (form->out) {
            text_add_bytes(form->out, &digits[bytes[i / 2] >> shift & 15], 1);
            continue;
        }
        const char *digit = form->at < form->size && form->bytes[form->at]
                                ? strchr(digits, form->bytes[form->at])
                                : NULL;
        if (!digit)
            return refuse(form, count == DIGEST_BYTES ? "64 digits 0-9a-f" : "32 digits 0-9a-f");
        bytes[i / 2] = (unsigned char)((shift ? 0 : bytes[i / 2]) | (digit - digits) << shift);
        form->at++;
    }
    return literal(form, "\"");
}

static bool sha256(struct form *form, struct digest *digest)
{
    return bytes_as_hex(form, digest->bytes, DIGEST_BYTES);
}

static bool sha256_or_null(struct form *form, bool *known, struct digest *digest)
{
    if (!form->out)
        *known = !comes(form, "null");
    return *known ? sha256(form, digest) : literal(form, "null");
}

static bool moment(struct form *form, int64_t *seconds)
{
    char text[MOMENT_TEXT];
    const char *found = moment_text(*seconds, text);
    return string(form, &found) && (form->out || moment_from_text(found, seconds) ||
                                    refuse(form, "a time like 2026-01-31T12:00:00Z"));
}

static bool verdict(struct form *form, enum manifest_verdict *value)
{
    const char *word = form->out ? manifest_verdict_names[*value] : NULL;
    if (!string(form, &word))
        return false;
    for (int i = 0; i < VERDICT_COUNT; i++)
        if (strcmp(word, manifest_verdict_names[i]) == 0) {
            *value = (enum manifest_verdict)i;
            return true;
        }
    return refuse(form, "PASSED, WARNED or FAILED");
}

/* An array with each item on a line of its own. When reading, `*count` grows up to `most`. */
static bool list(struct form *form, void *items, size_t size, size_t *count, size_t most,
                 bool (*item)(struct form *form, void *item))
{
    size_t wanted = *count;
    if (!form->out)
        *count = 0;
    if (!literal(form, "["))
        return false;
    bool more = form->out ? wanted > 0 : !comes(form, "]");
    for (size_t i = 0; more; i++) {
        if (i == most)
            return refuse(form, "an end: there are more items than any release has");
        if (!literal(form, i ? ",\n    " : "\n    ") || !item(form, (char *)items + i * size))
            return false;
        if (!form->out)
            *count = i + 1;
        more = form->out ? i + 1 < wanted : comes(form, ",");
    }
    return literal(form, *count ? "\n  ]" : "]");
}

/* ---- the form -------------------------------------------------------------------------------- */

static bool file_form(struct form *f, void *item)
{
    struct digest_entry *file = item;
    return literal(f, "{\"path\": ") && string(f, &file->path) && literal(f, ", \"sha256\": ") &&
           sha256(f, &file->digest) && literal(f, ", \"size\": ") && integer(f, &file->size) &&
           literal(f, "}");
}

static bool volume_form(struct form *f, void *item)
{
    struct manifest_volume *volume = item;
    return literal(f, "{\"name\": ") && string(f, &volume->name) && literal(f, ", \"sha256\": ") &&
           sha256(f, &volume->sha256) && literal(f, ", \"size\": ") && integer(f, &volume->size) &&
           literal(f, "}");
}

/* Stands there with a digest, or not at all. */
static bool optional_form(struct form *f, struct manifest *m, int claim, const char *key)
{
    bool *known = &m->claims.known[claim];
    if (!f->out)
        *known = comes(f, key);
    return !*known || (literal(f, key) && sha256(f, &m->claims.sha256[claim]));
}

static bool claims_form(struct form *f, struct manifest *m)
{
    static const char *const optional[CLAIM_COUNT] = {
        [CLAIM_FIDELITY] = ",\n    \"fidelity_sha256\": ",
        [CLAIM_MEMBERSHIP] = ",\n    \"membership_sha256\": ",
    };
    for (int i = 0; i < CLAIM_COUNT; i++) {
        if (optional[i]) {
            if (!optional_form(f, m, i, optional[i]))
                return false;
            continue;
        }
        if (i == CLAIM_WEIGHTS && /* "verdict" comes before "weights_sha256" */
            !(literal(f, ",\n    \"verdict\": ") && verdict(f, &m->claims.verdict)))
            return false;
        if (!(literal(f, i ? ",\n    \"" : "\n    \"") && literal(f, manifest_claim_names[i]) &&
              literal(f, "\": ") && sha256_or_null(f, &m->claims.known[i], &m->claims.sha256[i])))
            return false;
    }
    return literal(f, "\n  }");
}

static bool archive_form(struct form *f, struct manifest *m)
{
    return literal(f, "{\"md5\": ") && bytes_as_hex(f, m->archive.md5, sizeof m->archive.md5) &&
           literal(f, ", \"name\": ") && string(f, &m->archive.name) &&
           literal(f, ", \"sha256\": ") && sha256(f, &m->archive.sha256) &&
           literal(f, ", \"size\": ") && integer(f, &m->archive.size) && literal(f, "}");
}

static bool manifest_form(struct form *f, struct manifest *m)
{
    return literal(f, "{\n  \"archive\": ") && archive_form(f, m) &&
           literal(f, ",\n  \"claims\": {") && claims_form(f, m) &&
           literal(f, ",\n  \"created\": ") && moment(f, &m->created) &&
           literal(f, ",\n  \"files\": ") &&
           list(f, m->files, sizeof *m->files, &m->file_count, MANIFEST_MOST_FILES, file_form) &&
           literal(f, ",\n  \"name\": ") && string(f, &m->name) && literal(f, ",\n  \"root\": ") &&
           string(f, &m->root) &&
           literal(f, ",\n  \"schema\": \"" MANIFEST_SCHEMA "\",\n  \"tar\": {\"sha256\": ") &&
           sha256(f, &m->tar.sha256) && literal(f, ", \"size\": ") && integer(f, &m->tar.size) &&
           literal(f, "},\n  \"tool\": {\"name\": ") && string(f, &m->tool_name) &&
           literal(f, ", \"version\": ") && string(f, &m->tool_version) &&
           literal(f, "},\n  \"version\": ") && string(f, &m->version) &&
           literal(f, ",\n  \"volumes\": ") &&
           list(f, m->volumes, sizeof *m->volumes, &m->volume_count, MANIFEST_MOST_VOLUMES,
                volume_form) &&
           literal(f, "\n}\n") && (f->out || f->at == f->size || refuse(f, "the end of the file"));
}

/* ---- what a release can be ------------------------------------------------------------------- */

static bool is_portable(char byte)
{
    return isalnum((unsigned char)byte) || (byte && strchr("._-+", byte));
}

/* Names that Windows gives to devices, whatever their ending. */
static bool is_device_name(const char *part, size_t length)
{
    static const char *const names[] = { "con", "prn", "aux", "nul" };
    size_t stem = strcspn(part, ".");
    stem = stem < length ? stem : length;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (stem == 3 && strncasecmp(part, names[i], 3) == 0)
            return true;
    return stem == 4 && (!strncasecmp(part, "com", 3) || !strncasecmp(part, "lpt", 3)) &&
           isdigit((unsigned char)part[3]);
}

static bool part_is_portable(const char *path, const char *part, size_t length, struct error *err)
{
    const char *reason = NULL;
    if (length == 0)
        reason = "an empty part";
    else if (part[0] == '-')
        reason = "a part that begins with \"-\"";
    else if (part[length - 1] == '.') /* "." and "..", too */
        reason = "a part that ends in \".\"";
    else if (is_device_name(part, length))
        reason = "a part that is the name of a device on other systems";
    for (size_t i = 0; !reason && i < length; i++)
        if (!is_portable(part[i]))
            reason = "a character other than A-Z a-z 0-9 . _ - +";
    return !reason || error_set(err, "\"%s\" is not a portable path: %s", path, reason);
}

bool manifest_path_is_portable(const char *path, struct error *err)
{
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");
        if (!part_is_portable(path, part, length, err))
            return false;
        part += length;
        if (!*part)
            return true;
    }
}

static bool name_is_portable(const char *what, const char *name, struct error *err)
{
    if (!manifest_path_is_portable(name, err))
        return error_prefix(err, "%s", what);
    return !strchr(name, '/') || error_set(err, "%s \"%s\" holds a slash", what, name);
}

static int by_path_any_case(const void *a, const void *b)
{
    return strcasecmp((*(const struct digest_entry *const *)a)->path,
                      (*(const struct digest_entry *const *)b)->path);
}

/* Two names that a file system without case takes for one, as files or as folders: sorted without
 * case, such names are neighbours, or differ first inside a folder's name. */
static bool alike(const char *a, const char *b)
{
    if (strcasecmp(a, b) == 0)
        return true;
    size_t folder = 0; /* the bytes of the last folder that both share but for case */
    for (size_t i = 0; a[i] && tolower((unsigned char)a[i]) == tolower((unsigned char)b[i]); i++)
        if (a[i] == '/')
            folder = i;
    return strncmp(a, b, folder) != 0;
}

static int path_against(const void *key, const void *item)
{
    return strcasecmp(key, (*(const struct digest_entry *const *)item)->path);
}

/* Whether a folder of the path is also a file; folders that the path before shares were asked for
 * then. */
static bool folders_are_free(const struct digest_entry *const *sorted, size_t i, size_t count,
                             struct error *err)
{
    char folder[TAR_LONGEST_PATH + 1];
    const char *path = sorted[i]->path;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - path);
        if (i && !strncmp(sorted[i - 1]->path, path, length + 1))
            continue;
        snprintf(folder, sizeof folder, "%.*s", (int)length, path);
        if (bsearch(folder, sorted, count, sizeof *sorted, path_against))
            return error_set(err, "\"%s\" is a file and a folder", folder);
    }
    return true;
}

/* No two paths that some file system takes for one, and no file that is a folder elsewhere. */
static bool check_alike(const struct manifest *manifest, struct error *err)
{
    size_t count = manifest->file_count;
    const struct digest_entry **sorted = memory_grow(NULL, count, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &manifest->files[i];
    qsort(sorted, count, sizeof *sorted, by_path_any_case);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (i && alike(sorted[i - 1]->path, sorted[i]->path))
            ok = error_set(err, "\"%s\" and \"%s\" differ only in upper and lower case",
                           sorted[i - 1]->path, sorted[i]->path);
        else
            ok = folders_are_free(sorted, i, count, err);
    }
    free(sorted);
    return ok;
}

static bool check_file(const struct manifest *manifest, size_t i, struct error *err)
{
    const struct digest_entry *file = &manifest->files[i];
    if (!manifest_path_is_portable(file->path, err))
        return false;
    if (!tar_path_fits(manifest->root, file->path))
        return error_set(err, "\"%s\" is too long for a ustar archive", file->path);
    if (file->size > TAR_LARGEST_FILE)
        return error_set(err, "\"%s\": %" PRIu64 " bytes; a ustar archive holds less than 8 GiB",
                         file->path, file->size);
    return !i || strcmp(manifest->files[i - 1].path, file->path) < 0 ||
           error_set(err, "\"%s\" does not come after \"%s\" in byte order", file->path,
                     manifest->files[i - 1].path);
}

static bool check_names(const struct manifest *manifest, struct error *err)
{
    size_t name = strlen(manifest->name);
    if (!name_is_portable("name", manifest->name, err) ||
        !name_is_portable("version", manifest->version, err) ||
        !name_is_portable("root", manifest->root, err) ||
        !name_is_portable("archive", manifest->archive.name, err))
        return false;
    if (strncmp(manifest->root, manifest->name, name) || manifest->root[name] != '-' ||
        strcmp(manifest->root + name + 1, manifest->version))
        return error_set(err, "root \"%s\" is not \"%s-%s\"", manifest->root, manifest->name,
                         manifest->version);
    if (strncmp(manifest->archive.name, manifest->root, strlen(manifest->root)) ||
        strcmp(manifest->archive.name + strlen(manifest->root), ".tar.zst"))
        return error_set(err, "archive \"%s\" is not \"%s.tar.zst\"", manifest->archive.name,
                         manifest->root);
    return (manifest->created >= 0 && manifest->created < INT64_C(1) << 33) ||
           error_set(err, "created: not between 1970 and 2242");
}

static bool check_volumes(const struct manifest *manifest, struct error *err)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < manifest->volume_count; i++) {
        const struct manifest_volume *volume = &manifest->volumes[i];
        if (!name_is_portable("volume", volume->name, err))
            return false;
        if (i && strcmp(volume[-1].name, volume->name) >= 0)
            return error_set(err, "volume \"%s\" does not come after \"%s\"", volume->name,
                             volume[-1].name);
        sum += volume->size;
    }
    if (!manifest->volume_count)
        return true;
    if (manifest->volume_count == 1)
        return error_set(err, "one volume; a split archive has at least two");
    return sum == manifest->archive.size ||
           error_set(err, "the volumes have %" PRIu64 " bytes, the archive %" PRIu64, sum,
                     manifest->archive.size);
}

static bool check_all(const struct manifest *manifest, struct error *err)
{
    if (!check_names(manifest, err) || !check_volumes(manifest, err))
        return false;
    for (int i = 0; i < 2; i++) {
        const char *word = i ? manifest->tool_version : manifest->tool_name;
        if (!*word || word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789._-+~ ")])
            return error_set(err, "tool: \"%s\" is neither name nor version", word);
    }
    if (!manifest->file_count || manifest->file_count > MANIFEST_MOST_FILES)
        return error_set(err, "%zu files; a release has 1 to %d", manifest->file_count,
                         MANIFEST_MOST_FILES);
    for (size_t i = 0; i < manifest->file_count; i++)
        if (!check_file(manifest, i, err))
            return false;
    if (!check_alike(manifest, err))
        return false;
    uint64_t size = tar_size(manifest->root, manifest->files, manifest->file_count);
    return size == manifest->tar.size ||
           error_set(err, "the tar has %" PRIu64 " bytes, but its files make %" PRIu64,
                     manifest->tar.size, size);
}

/* Whether a release can be like this: see the top of manifest.h. */
static bool check(const struct manifest *manifest, const char *name, struct error *err)
{
    return check_all(manifest, err) || error_prefix(err, "%s", name);
}

/* ---- in and out ------------------------------------------------------------------------------ */

bool manifest_parse(const char *bytes, size_t size, const char *name, struct manifest *manifest,
                    struct arena *arena, struct error *err)
{
    struct form form = { .bytes = bytes, .size = size, .name = name, .arena = arena, .err = err };
    if (size > MANIFEST_MOST_BYTES)
        return error_set(err, "%s: %zu bytes, larger than any manifest", name, size);
    size_t lines = 0; /* an item takes a line, so that bounds their number */
    for (size_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    size_t volumes = lines < MANIFEST_MOST_VOLUMES ? lines : MANIFEST_MOST_VOLUMES;
    *manifest = (struct manifest){ 0 };
    manifest->files = arena_array(arena, struct digest_entry, lines + 1);
    manifest->volumes = arena_array(arena, struct manifest_volume, volumes + 1);
    return manifest_form(&form, manifest) && check(manifest, name, err);
}

bool manifest_load(const char *path, struct manifest *manifest, struct arena *arena,
                   struct error *err)
{
    size_t size;
    char *bytes = file_read(path, MANIFEST_MOST_BYTES, &size, err);
    if (!bytes)
        return false;
    bool ok = manifest_parse(bytes, size, path, manifest, arena, err);
    memory_free(bytes);
    return ok;
}

bool manifest_write(const struct manifest *manifest, struct text *out, struct error *err)
{
    struct manifest copy = *manifest; /* the form takes what it may also fill in */
    struct form form = { .out = out, .err = err };
    text_clear(out);
    return check(manifest, "manifest", err) && manifest_form(&form, &copy);
}
